"""Byte-pair encoding: the trainer on which SuperBPE, Supertokens, KL3M and others stand.

Sennrich, Haddow, Birch 2016, "Neural Machine Translation of Rare Words with Subword Units", arXiv 1508.07909; on bytes as
in GPT-2. Pieces of the corpus are counted as they stream by; then the pair that occurs most often becomes a token, again
and again. Of pairs that occur equally often the smaller (left id, right id) comes first, as in `tokenizers`, to which the
merges are identical.
"""
# U units, P different pieces, M merges

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...core.cuts import SPACED, Cut, byte_positions, cut_all, cut_points
from ...core.errors import InvalidInput, VocabularyError
from ...core.merges import GPT2_PATTERN
from ...core.pair_encoding import PairEncoder
from ...core.pair_learning import NO_VETO, Veto, learn_pairs
from ...core.pair_merging import check_merges, merge_pieces, pair_table
from ...core.tally import Tally, between_seams, seams
from ...hosts.json_tokenizer import JsonTokenizer
from ...hosts.ranks import byte_level_json
from ...hosts.surface import to_alphabet
from ...hosts.utf8 import valid_runs

__all__ = [
    "BPE",
    "BYTE_OF_UNIT",
    "UNIT_OF_BYTE",
    "Pieces",
    "Veto",
    "bpe_tokenizer",
    "count_all",
    "count_pieces",
    "learn_merges",
    "spell",
]

# Unit k is the byte whose character comes k-th in the alphabet of GPT-2, where ties between pairs are settled.
BYTE_OF_UNIT = np.array(sorted(range(256), key=lambda byte: to_alphabet(bytes([byte]))), np.uint8)
UNIT_OF_BYTE = np.argsort(BYTE_OF_UNIT).astype(np.int32)

_BATCH = 1 << 23  # bytes of text looked at together
_DISTINCT = 1 << 26  # bytes of different stretches held before their words are found


@dataclass(frozen=True, eq=False)
class Pieces:
    """Different pieces of a corpus, within which merges happen.

    Args:
        units: of all pieces one after the other, int32 (U,).
        starts: where each piece begins, and the end, int64 (P + 1,).
        counts: how often each occurs, int64 (P,), >= 1.
    """

    units: np.ndarray
    starts: np.ndarray
    counts: np.ndarray


def count_pieces(texts: Iterable[str | bytes], cut: Cut, *, progress: Callable[[int], None] | None = None) -> Pieces:
    """The different pieces of a corpus, as units of bytes (`UNIT_OF_BYTE`).

    Memory grows with the different pieces, not with the corpus. Bytes that are not UTF-8 are left out.

    Args:
        texts: read once; each is cut by itself.
        cut: a regular expression (what it does not match is a piece too), a function from a text to cut points in
            characters, or None: a text is one piece.
        progress: called with the bytes read so far, now and then.
    Raises: InvalidInput: not a regular expression, or there is no text at all.

    >>> pieces = count_pieces(["to be or not to be"], GPT2_PATTERN)
    >>> sorted(pieces.counts.tolist()), pieces.starts.size - 1
    ([1, 1, 1, 1, 2], 5)
    """
    return count_all(texts, [cut], progress=progress)[0]


def count_all(
    texts: Iterable[str | bytes], cuts: Sequence[Cut], *, progress: Callable[[int], None] | None = None
) -> list[Pieces]:
    """`count_pieces` for several ways to cut, in one reading of `texts`."""
    counters = [_Counter(cut) for cut in cuts]
    for data, starts in _batches(texts, progress):
        for counter in counters:
            counter.add(data, starts)
    return [counter.pieces() for counter in counters]


class _Counter:
    """The pieces of one cut, from batches of texts."""

    def __init__(self, cut: Cut) -> None:
        cut_points("", cut)  # refuses a bad pattern before anything is read
        self._cut = cut
        self._pieces = Tally()
        # Most stretches between spaces repeat: words are looked for in the different ones only.
        self._stretches = Tally() if isinstance(cut, str) and cut in SPACED else None

    def add(self, data: np.ndarray, starts: np.ndarray) -> None:
        if self._stretches is None:
            ones = np.ones(starts.size - 1, np.int64)
            _cut(_texts(data, starts), data, starts, ones, self._cut, self._pieces)
            return
        cuts = seams(data, starts)
        self._stretches.add(data, cuts, np.ones(cuts.size - 1, np.int64))
        if self._stretches.starts[-1] > _DISTINCT:
            self._cut_stretches()

    def pieces(self) -> Pieces:
        self._cut_stretches()
        if not len(self._pieces):
            raise InvalidInput("there is no text to train on")
        return Pieces(UNIT_OF_BYTE[self._pieces.data], self._pieces.starts, self._pieces.counts)

    def _cut_stretches(self) -> None:
        if self._stretches is None:
            return
        data, starts, counts = self._stretches.data, self._stretches.starts, self._stretches.counts
        # One after the other, those with a seam at both ends form a text with the same words, which costs one search.
        joined = between_seams(data, starts)
        for chosen in (joined, ~joined):
            lengths = np.diff(starts)[chosen]
            some, edges = data[np.repeat(chosen, np.diff(starts))], np.concatenate([[0], np.cumsum(lengths)])
            texts = [some.tobytes().decode()] if chosen is joined else _texts(some, edges)
            _cut(texts, some, edges, counts[chosen], self._cut, self._pieces)
        self._stretches = Tally()


def _batches(
    texts: Iterable[str | bytes], progress: Callable[[int], None] | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Valid texts as flat bytes, and where each begins."""
    held: list[bytes] = []
    size = read = 0
    for text in texts:
        for run in valid_runs(text):
            if isinstance(run, str):
                held.append(run.encode())
                size += len(held[-1])
        if size >= _BATCH or len(held) >= _BATCH >> 4:
            yield _flat(held)
            read += size
            held, size = [], 0
            if progress is not None:
                progress(read)
    yield _flat(held)
    if progress is not None:
        progress(read + size)


def _flat(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=starts[1:])
    return np.frombuffer(b"".join(texts), np.uint8), starts


def _texts(data: np.ndarray, starts: np.ndarray) -> list[str]:
    raw = data.tobytes()
    return [raw[begin:end].decode() for begin, end in pairwise(starts.tolist())]


def _cut(texts: list[str], data: np.ndarray, starts: np.ndarray, weights: np.ndarray, cut: Cut, pieces: Tally) -> None:
    """Cut `texts`, whose bytes are `data`, and add a piece that begins from `starts[k]` on `weights[k]` times."""
    cuts = byte_positions(data)[cut_all(texts, cut)[0]]
    pieces.add(data, cuts, weights[np.searchsorted(starts, cuts[:-1], side="right") - 1])


def learn_merges(
    pieces: Pieces,
    alphabet: int,
    limit: int,
    *,
    min_frequency: int = 1,
    inherited: np.ndarray | Sequence[tuple[int, int]] = (),
    veto: Veto = NO_VETO,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Merges in the order in which they are learnt; ids are 0 … alphabet - 1 for units, then one per merge.

    Each merge joins the pair of neighbours that occurs most often inside the pieces as they are by then, everywhere, from
    left to right; of equals the smaller (left, right).

    Args:
        pieces: what to learn from, units 0 … alphabet - 1.
        alphabet: units, >= 1; 256 for bytes.
        limit: merges in all, the inherited ones included; fewer where no pair is left.
        min_frequency: a pair that occurs less often is not merged, >= 1.
        inherited: merges made in the pieces before any is learnt, (k, 2); they come first in the result.
        veto: what is not merged.
        progress: called with the number of merges so far, now and then.
    Returns: int32 (M, 2), left and right.
    Raises: InvalidInput: a unit outside the alphabet, a limit below the inherited merges, a number out of range.
        VocabularyError: inherited merges that do not chain or come twice.

    >>> pieces = Pieces(np.array([0, 1, 0, 1, 2], np.int32), np.array([0, 5]), np.array([1]))
    >>> learn_merges(pieces, 3, 9).tolist()
    [[0, 1], [3, 2], [3, 4]]
    """
    made = check_merges(inherited, alphabet)
    if limit < len(made):
        raise InvalidInput(f"limit={limit} is less than the {len(made)} inherited merges")
    if min_frequency < 1:
        raise InvalidInput(f"min_frequency={min_frequency}; it must be >= 1")
    if not 0 <= veto.dropout <= 1:
        raise InvalidInput(f"dropout={veto.dropout}; it is a probability from 0 to 1")
    for name in ("max_length", "max_words"):
        if (bound := getattr(veto, name)) is not None and bound < 1:
            raise InvalidInput(f"{name}={bound}; it must be >= 1")
    if pieces.units.size and not (pieces.units.min() >= 0 and pieces.units.max() < alphabet):
        raise InvalidInput(f"units go from {pieces.units.min()} to {pieces.units.max()}; the alphabet has {alphabet}")
    if pieces.units.size >= 1 << 31:
        raise InvalidInput(f"the different pieces have {pieces.units.size} units; 2^31 - 1 are possible")
    symbols, starts = np.ascontiguousarray(pieces.units, np.int32), np.ascontiguousarray(pieces.starts, np.int64)
    if len(made):
        symbols, starts = _merge(symbols, starts, made, alphabet)
    learnt = learn_pairs(
        symbols.copy(),
        starts,
        np.ascontiguousarray(pieces.counts, np.int64),
        made,
        alphabet,
        limit - len(made),
        min_frequency=min_frequency,
        veto=veto,
        progress=None if progress is None else lambda done: progress(len(made) + done),
    )
    return np.concatenate([made, learnt])


def _merge(units: np.ndarray, starts: np.ndarray, merges: np.ndarray, alphabet: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        encode = PairEncoder(merges, alphabet)
    except VocabularyError:  # inherited from elsewhere, and not all of its tokens can be reached
        return merge_pieces(units, starts, *pair_table(merges, alphabet + np.arange(len(merges))))
    return encode(units, starts)


def spell(merges: np.ndarray, bytes_first: np.ndarray = BYTE_OF_UNIT) -> list[bytes]:
    """The bytes of each id: 256 single bytes in the order of `bytes_first`, then one token per merge, int (M, 2)."""
    tokens = [bytes([byte]) for byte in bytes_first.tolist()]
    for left, right in merges.tolist():
        tokens.append(tokens[left] + tokens[right])
    return tokens


def bpe_tokenizer(
    merges: np.ndarray,
    pattern: str | None,
    special: Sequence[str] = (),
    *,
    special_first: bool = False,
    added: Sequence[str] = (),
    normalizer: Mapping[str, object] | None = None,
    bytes_first: np.ndarray = BYTE_OF_UNIT,
    name: str,
) -> JsonTokenizer:
    """The tokenizer that encodes by `merges`; ids are 256 bytes, then merges, `added`, `special`.

    Args:
        merges: of bytes, as from `learn_merges`, (M, 2).
        pattern: the regular expression that finds words, within which merges happen; None for none.
        special: tokens that no text produces.
        special_first: they get the first ids instead of the last.
        added: tokens found in the text before anything else, whatever stands around them.
        normalizer: as in a `tokenizer.json`, such as {"type": "NFC"}; None for none.
        bytes_first: the byte of each of the first 256 ids, uint8 (256,).
        name: of the tokenizer.
    Raises: VocabularyError: merges that do not chain or come twice, or two tokens that are equal.
    """
    merges = check_merges(merges, 256)
    tokens = spell(merges, bytes_first)
    seen: dict[str, int] = {}
    for token in (*added, *special):
        if not token or token in seen:
            raise VocabularyError(f"token {token!r} is empty or given twice")
        seen[token] = len(seen)
    base = len(special) if special_first else 0
    ids = {token: base + i for i, token in enumerate(tokens)}
    if len(ids) < len(tokens):
        twice = next(token for i, token in enumerate(tokens) if ids[token] != base + i)
        raise VocabularyError(f"two merges make the token {twice!r}")
    pairs = [(tokens[left], tokens[right]) for left, right in merges.tolist()]
    top = base + len(tokens)
    plain = {token: top + i for i, token in enumerate(added)}
    specials = {token: (0 if special_first else top + len(added)) + i for i, token in enumerate(special)}
    parsed = byte_level_json(ids, pairs, pattern, specials, name, added=plain, normalizer=normalizer)
    return JsonTokenizer(parsed, name)


@dataclass(frozen=True)
class BPE:
    """Learn byte-level BPE from text: 256 bytes, then merges of the most frequent pairs inside words.

    Args:
        vocab_size: ids in all, special tokens included; fewer where every word has become one token.
        pattern: the regular expression (package `regex`) that finds words; None makes a text one piece.
        special: tokens that no text produces; they get the last ids.
        min_frequency: a pair that occurs less often is not merged.
        max_length: bytes of a token at most; None for no limit.
        name: of the tokenizer.
    Raises: InvalidInput: a vocabulary smaller than the bytes and special tokens, equal or empty special tokens, no regular
        expression, a bound below 1.

    >>> BPE(260)(["low lower lowest " * 3]).encode("lowest").tokens()
    [b'low', b'e', b's', b't']
    """

    vocab_size: int
    pattern: str | None = GPT2_PATTERN
    special: tuple[str, ...] = ("<|endoftext|>",)
    min_frequency: int = 1
    max_length: int | None = None
    name: str = "bpe"

    def __post_init__(self) -> None:
        if self.vocab_size < 256 + len(self.special):
            raise InvalidInput(
                f"vocab_size={self.vocab_size}; 256 bytes and {len(self.special)} special tokens need more"
            )
        if len(set(self.special)) < len(self.special) or "" in self.special:
            raise InvalidInput(f"special tokens {self.special} are empty or equal")
        if self.min_frequency < 1:
            raise InvalidInput(f"min_frequency={self.min_frequency}; it must be >= 1")
        if self.max_length is not None and self.max_length < 1:
            raise InvalidInput(f"max_length={self.max_length}; a token has at least one byte")
        cut_points("", self.pattern)

    def __call__(
        self, texts: Iterable[str | bytes], *, progress: Callable[[str, int, int | None], None] | None = None
    ) -> JsonTokenizer:
        """Train on `texts`, read once.

        Args:
            texts: a stream of documents; bytes that are not UTF-8 are left out.
            progress: called with what is being done, how much of it is done, and of how much (None: not known).
        Returns: the same tokenizer for the same texts in any order.
        Raises: InvalidInput: there is no text.
        """
        pieces = count_pieces(texts, self.pattern, progress=_told(progress, "bytes read", None))
        limit = self.vocab_size - 256 - len(self.special)
        merges = learn_merges(
            pieces,
            256,
            limit,
            min_frequency=self.min_frequency,
            veto=Veto(max_length=self.max_length),
            progress=_told(progress, "merges learnt", limit),
        )
        return bpe_tokenizer(merges, self.pattern, self.special, name=self.name)


def _told(
    progress: Callable[[str, int, int | None], None] | None, what: str, total: int | None
) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(what, done, total)
