"""Cover encodings: all token sequences of which a text is the beginning, the last token reaching to its end or beyond.

A language model over tokens gives a text that goes on the probability of its covers: each continuation is encoded in one way,
and that way begins with exactly one of them. Phan et al. 2024, arXiv 2410.09303. A sequence is *valid* if the encoding of
some text begins with it: where two tokens are of one word, merging does not join them (merge_histories.py); and some
continuation is cut into words as the sequence says (cut_states.py).

A token that ends inside a character is taken for valid where some character can follow; whether that character has a token of
its own instead is not asked.
"""
# N ordinary tokens, sorted by their bytes, V ids

from bisect import bisect_left
from functools import lru_cache

import numpy as np
from numba import njit

from .cut_states import CUT, JOINED, CutStates
from .errors import InvalidInput
from .merge_histories import MergeHistories
from .vocabulary import Kind, Vocabulary

__all__ = ["Covers", "States", "whole_characters"]

# For each way of reading: the state of the automaton; how the character was begun whose bytes are not all there; these bytes.
States = tuple[tuple[int, int, bytes], ...]

# Tables of pairs that are kept may take so many bytes.
_KEPT = 1 << 28


class Covers:
    """What may follow what in the encodings of one tokenizer.

    Args:
        vocab: bytes and kinds of ids; special and unused ones are of no text.
        histories: how merging makes the tokens.
        cuts: how texts are cut into words.
        pieces: characters that have a token of their own, and so are never written as single bytes; None where bytes are
            what is merged.

    `tokens` are the ids that a text may have, int32 (N,), sorted by their bytes; the methods speak of their rows.
    """

    start: States = ((0, CUT, b""),)

    def __init__(
        self, vocab: Vocabulary, histories: MergeHistories, cuts: CutStates, pieces: set[str] | None = None
    ) -> None:
        self._histories, self._cuts = histories, cuts
        self._own = np.zeros(0x110000, bool)
        self._own[[ord(piece) for piece in pieces or ()]] = True
        usable = histories.reached & (vocab.kinds <= Kind.BYTE)
        if pieces is not None:
            own = [i for i in np.flatnonzero(vocab.kinds == Kind.BYTE) if vocab[i][0] < 128 and self._own[vocab[i][0]]]
            usable[own] = False
        ids = sorted(np.flatnonzero(usable).tolist(), key=lambda i: (vocab[i], i))
        self.tokens = np.array(ids, np.int32)
        self.lengths = vocab.lengths[self.tokens]
        self.bytes = [vocab[i] for i in ids]
        self._buffer = np.frombuffer(b"".join(self.bytes), np.uint8)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._first = self._buffer[self._starts[:-1]]
        self._row = {i: row for row, i in enumerate(ids)}
        self._inside = np.zeros((256, 256), bool)
        behind = np.setdiff1d(np.arange(1, self._buffer.size), self._starts)
        self._inside[self._buffer[behind - 1], self._buffer[behind]] = True
        self._read_tokens()
        self._pairs = lru_cache(maxsize=max(16, _KEPT // max(1, len(ids))))(self._pairs_of)
        self._alive = lru_cache(maxsize=max(16, _KEPT // max(1, len(ids))))(self._alive_after)
        self._unfinished = lru_cache(maxsize=None)(self._classes_behind)

    def _read_tokens(self) -> None:
        """The classes of the whole characters of each token, and of those that may end the last one, as bits."""
        texts, ends, tails = [], [0], np.full(len(self.bytes), -1, np.int64)
        self._plain = np.ones(len(self.bytes), bool)
        self._heads = []
        for row, token in enumerate(self.bytes):
            text, tail, broken = "", b"", token[0] & 0xC0 == 0x80
            if broken:
                self._heads.append(row)
            else:
                try:
                    text, tail = whole_characters(token)
                except InvalidInput:
                    broken = True
            if tail:
                tails[row] = self._classes_behind(tail)
            self._plain[row] = not broken
            texts.append(text)
            ends.append(ends[-1] + len(text))
        self._classes, self._edges, self._tails = self._cuts.classes_of("".join(texts)), np.array(ends), tails

    def _classes_behind(self, tail: bytes) -> int:
        """Bit k: whether a character of class k begins with the bytes `tail`, and may be written in several tokens."""
        first, last = _codes_behind(tail)
        codes = np.arange(first, last)[~self._own[first:last]]
        return int(sum(1 << int(k) for k in np.unique(self._cuts.classes[codes])))

    def rows_of(self, prefix: bytes) -> tuple[int, int]:
        """The first row that begins with `prefix`, and the one after the last."""
        low = bisect_left(self.bytes, prefix)
        return low, bisect_left(self.bytes, True, low, key=lambda token: not token.startswith(prefix))

    def rows_after(self, low: int, high: int, depth: int) -> tuple[int, np.ndarray]:
        """Of rows that share their first `depth` bytes: the first that has more, and the next byte of all from there, uint8."""
        if depth == 0:
            return low, self._first[low:high]
        first = low + int(np.searchsorted(self.lengths[low:high] > depth, True))
        return first, self._buffer[self._starts[first:high] + depth]

    def follow(self, states: States, last: int | None) -> np.ndarray:
        """The tokens that may come next: bool (N,).

        Args:
            states: of `start` or `advance`.
            last: the id before; None at the beginning.
        """
        found = np.zeros(self.tokens.size, bool)
        for state, how, tail in states:
            if tail:
                apart = self._pairs(last)
                for row in self._heads:
                    found[row] |= apart[row] and self._read(state, how, tail + self.bytes[row], bool(tail)) is not None
                continue
            found |= self._alive(state, CUT)
            if last is not None:
                found |= self._alive(state, JOINED) & self._pairs(last)
        return found

    def advance(self, states: States, last: int | None, token: int) -> States:
        """The states after one more token, an id; none if it may not come next."""
        row = self._row[int(token)]
        joined = last is not None and bool(self._pairs(last)[row])
        found = set()
        for state, how, tail in states:
            hows = ([how] if joined else []) if tail else [CUT, JOINED] if joined else [CUT]
            found |= {self._read(state, how, tail + self.bytes[row], bool(tail)) for how in hows}
        return tuple(sorted(found - {None}))  # type: ignore[arg-type]

    def settled(self, data: bytes) -> tuple[int, States]:
        """The last place in `data` that is between two tokens whatever follows, with all before it encoded in one way.

        Returns: its byte, 0 where there is none, and the states there.
        Raises: InvalidInput: `data` is not the beginning of valid UTF-8.
        """
        text, tail = whole_characters(data)
        ways = self._cuts.readings(text)
        differ = set().union(*(cuts for _, cuts in ways)) - set(ways[0][1]).intersection(*(cuts for _, cuts in ways))
        end = len(data) - len(tail)
        for at in range(len(text), 0, -1):
            if end < len(data) and not self._inside[data[end - 1], data[end]] and not any(cut < at for cut in differ):
                before = text[:at]
                return end, ((self._cuts.after(before, [cut for cut in ways[0][1] if cut < at]), JOINED, b""),)
            end -= len(text[at - 1].encode())
        return 0, self.start

    def _pairs_of(self, last: int) -> np.ndarray:
        return self._histories.follows(last)[self.tokens]

    def _alive_after(self, state: int, how: int) -> np.ndarray:
        """Whether the word goes on (`JOINED`), or a new one begins (`CUT`), with each token: bool (N,)."""
        return _alive(self._cuts.step, state, how, self._classes, self._edges, self._tails, self._plain)

    def _read(self, state: int, how: int, data: bytes, pieced: bool) -> tuple[int, int, bytes] | None:
        """The state after some bytes, of which the first is cut off from those before or not; None if that cannot be."""
        try:
            text, tail = whole_characters(data)
        except InvalidInput:
            return None
        if pieced and text and self._own[ord(text[0])]:
            return None
        for k in self._cuts.classes_of(text).tolist():
            state, how = int(self._cuts.step[state, how, k]), JOINED
            if state < 0:
                return None
        if not tail:
            return state, JOINED, b""
        classes = self._unfinished(tail)
        step = self._cuts.step[state, how]
        return (state, how, tail) if any(classes >> k & 1 and step[k] >= 0 for k in range(step.size)) else None


@njit(cache=True, nogil=True)
def _alive(step, state, how, classes, edges, tails, plain):
    alive = plain.copy()
    for row in range(plain.size):
        if not plain[row]:
            continue
        at, border = np.int64(state), how
        for k in range(edges[row], edges[row + 1]):
            at, border = np.int64(step[at, border, classes[k]]), 0
            if at < 0:
                break
        if at >= 0 and tails[row] >= 0:
            some = False
            for k in range(step.shape[2]):
                some |= (tails[row] >> k) & 1 == 1 and step[at, border, k] >= 0
            alive[row] = some
        else:
            alive[row] = at >= 0
    return alive


def whole_characters(data: bytes) -> tuple[str, bytes]:
    """The characters of the beginning of a text, and the bytes behind them that are only the beginning of one.

    Raises: InvalidInput: no text of valid UTF-8 begins with `data`.

    >>> whole_characters("né".encode()[:2])
    ('n', b'\\xc3')
    """
    for size in range(4):
        head, tail = data[: len(data) - size], data[len(data) - size :]
        try:
            text = head.decode()
        except UnicodeDecodeError as error:
            if size == min(3, len(data)):
                raise InvalidInput(f"no text begins with {data!r}: byte {error.start} is not UTF-8") from error
            continue
        if tail:
            _codes_behind(tail)
        return text, tail
    raise AssertionError("the loop returns or raises")


def _codes_behind(tail: bytes) -> tuple[int, int]:
    """The first code point whose UTF-8 begins with `tail`, its incomplete bytes, and the one after the last."""
    lead = tail[0]
    size = 2 if 0xC2 <= lead < 0xE0 else 3 if 0xE0 <= lead < 0xF0 else 4 if 0xF0 <= lead < 0xF5 else 0
    if not 0 < len(tail) < size or any(byte & 0xC0 != 0x80 for byte in tail[1:]):
        raise InvalidInput(f"no character begins with {tail!r}")
    code = lead & (0x7F >> size)
    for byte in tail[1:]:
        code = code << 6 | byte & 0x3F
    shift = 6 * (size - len(tail))
    first, last = max(code << shift, (0x80, 0x800, 0x10000)[size - 2]), min(code + 1 << shift, 0x110000)
    if 0xD800 <= first < 0xE000:
        first = 0xE000
    if 0xD800 < last <= 0xE000:
        last = 0xD800
    if first >= last:
        raise InvalidInput(f"no character begins with {tail!r}")
    return first, last
