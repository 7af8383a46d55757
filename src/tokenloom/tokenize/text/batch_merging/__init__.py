"""Batch-level merging: the most frequent pair of neighbouring tokens of a batch becomes one token, again and again.

Feher, Vulić, Minixhofer 2024, "Retrofitting (Large) Language Models with Dynamic Tokenization", arXiv 2411.18553, section 3:
byte-pair encoding of which the units are the tokens of a batch, and which forgets its merges when the batch is done.

Differs from the authors' code: special tokens are never merged (there, one before a broken character may be under some
boundaries); punctuation is told by ASCII digits and signs; the memory of which pairs are valid is bounded.
"""
# N tokens of a batch, V ids of the vocabulary

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Literal, get_args

import numpy as np
import regex

from ....core.cuts import cut_points
from ....core.errors import InvalidInput, VocabularyError
from ....core.merges import GPT2_PATTERN
from ....core.segmentation import Ragged
from ....core.trie import empty_table
from ....core.vocabulary import Kind, Vocabulary
from ....hosts.surface import from_alphabet
from .counting import begin, join, recount
from .lengths import LengthCurve, length_curve, together

__all__ = ["BatchMerging", "Boundary", "LengthCurve", "MergedBatch", "length_curve", "read_alphabet"]

Boundary = Literal["sentence", "pretokens", "word", "word_hyphen"]

_SPACES = b"\t\n "
_SIGNS = frozenset(b".,!?;:()-\"'\\/`$%&*+<=>@[]^_{|}~")
_WORD = regex.compile(r"\P{White_Space}+")
_REMEMBERED = 1 << 16


@dataclass(frozen=True, eq=False)
class MergedBatch:
    """A batch after its merges.

    Args:
        ids: of each sequence; ids of the vocabulary, and from V on the new tokens.
        firsts: the place in the given sequence where each token begins: the label of a word is that of its first token.
        new: the bytes of id V, V + 1, …; each is in the batch and none in the vocabulary.
        totals: tokens of all sequences after 0, 1, 2, … merges, int64 (merges + 1,).
    """

    ids: Ragged
    firsts: Ragged
    new: tuple[bytes, ...]
    totals: np.ndarray

    @property
    def merges(self) -> int:
        """How many merges were made: fewer than allowed where no valid pair was left."""
        return self.totals.size - 1


@dataclass(frozen=True)
class BatchMerging:
    """Merge the most frequent pair of neighbours in all sequences of a batch, as often as is allowed.

    Each round counts all neighbours that may be merged, overlapping ones too (a a a has two pairs), takes the pair that
    occurs most often, of equals the one met first, and joins it everywhere, from left to right. Tokens are what they spell:
    it does not matter by which merges.

    Whether a pair may be merged depends on what the two spell together. White space (tab, space, line feed) inside it, beside
    other bytes, forbids it, and so do two line feeds alone; special tokens stay alone. Then by boundary:

    - "sentence": all else may be merged;
    - "pretokens": it must be one word to the pre-tokenizer of the model;
    - "word": it must be one word between white space, not empty;
    - "word_hyphen": and a sign, but "-", is not joined to what is none. Signs are tokens of the vocabulary with a sign of
      ASCII and no digit.

    What is not UTF-8 cannot be looked at, and may be merged.

    Args:
        vocab: what the ids of a batch stand for.
        boundary: as above.
        pretokens: the pre-tokenizer for "pretokens": a regular expression, or a function from a text to words, such as
            `hosts.pretokens.pretokenizer_of` gives.
        per_sequence: count and merge in each sequence by itself, so that its tokens do not depend on the batch; `merges` is
            then for each.
    Raises: InvalidInput: an unknown boundary, no regular expression.

    >>> vocab = Vocabulary([b" m", b"R", b"NA", b" is", b" an"])
    >>> merged = BatchMerging(vocab)(Ragged.of([[0, 1, 2, 3], [4, 0, 1, 2]]), merges=2)
    >>> merged.new, [ids.tolist() for ids in merged.ids], merged.totals.tolist()
    ((b' mRNA',), [[5, 3], [4, 5]], [8, 6, 4])
    """

    vocab: Vocabulary
    boundary: Boundary = "pretokens"
    pretokens: str | Callable[[str], Sequence[Any]] = GPT2_PATTERN
    per_sequence: bool = False
    _valid: Callable[[bytes, bytes], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.boundary not in get_args(Boundary):
            raise InvalidInput(f"boundary={self.boundary!r}; it must be one of {', '.join(get_args(Boundary))}")
        if isinstance(self.pretokens, str):
            cut_points("", self.pretokens)
        object.__setattr__(self, "_valid", lru_cache(_REMEMBERED)(self._may_merge))

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """Another process begins with an empty memory."""
        return type(self), (self.vocab, self.boundary, self.pretokens, self.per_sequence)

    def __call__(self, batch: Ragged, merges: int | None = None) -> MergedBatch:
        """Merge `batch`.

        Args:
            batch: the ids of each sequence.
            merges: at most so many; None until no valid pair is left.
        Raises: InvalidInput: `merges` below 0, an id outside the vocabulary.
        """
        if merges is not None and merges < 0:
            raise InvalidInput(f"merges={merges}; it must be >= 0, or None for all")
        ids = self.vocab.check_ids(batch.ids)
        spelled, symbols = self._symbols(ids)
        symbol_of = {token: symbol for symbol, token in enumerate(spelled) if token is not None}
        if not self.per_sequence:
            live, totals = self._merge(symbols, batch.starts, spelled, symbol_of, merges)
        else:
            parts = [
                self._merge(symbols[low:high], np.array([0, high - low]), spelled, symbol_of, merges)
                for low, high in zip(batch.starts[:-1], batch.starts[1:])
            ]
            live = np.concatenate([*(part for part, _ in parts), np.zeros(0, bool)])
            totals = together([totals for _, totals in parts])
        return self._result(batch, symbols, live, spelled, totals)

    def _symbols(self, ids: np.ndarray) -> tuple[list[bytes | None], np.ndarray]:
        """What each symbol spells, None for a token that stays alone, and the symbol of each token, int32 (N,)."""
        known, inverse = np.unique(ids, return_inverse=True)
        spelled: list[bytes | None] = []
        of_bytes: dict[bytes, int] = {}
        symbol_of = np.empty(known.size, np.int32)
        for k, i in enumerate(known.tolist()):
            token = self.vocab[i] if self.vocab.kinds[i] <= Kind.BYTE else None
            if token is None or token not in of_bytes:
                spelled.append(token)
            symbol_of[k] = len(spelled) - 1 if token is None else of_bytes.setdefault(token, len(spelled) - 1)
        return spelled, symbol_of[inverse]

    def _merge(
        self,
        symbols: np.ndarray,
        starts: np.ndarray,
        spelled: list[bytes | None],
        symbol_of: dict[bytes, int],
        merges: int | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Write the merged symbols into `symbols`; returns which places begin a token, bool (N,), and the totals."""
        state = begin(symbols, starts, empty_table(3 * symbols.size))
        pairs = state[4]
        size = int(state[6][0])
        # The most frequent on top, of equals the one met first. An entry may promise too much, never too little: places of
        # a pair are lost when its neighbours merge, and it is counted again when its turn comes.
        heap = [(-count, first, row) for row, (count, first) in enumerate(pairs[:size, 3:].tolist())]
        heapify(heap)
        forbidden: set[int] = set()
        totals = [symbols.size]
        while heap and (merges is None or len(totals) <= merges):
            count, first, row = heap[0]
            if row in forbidden:
                heappop(heap)
                continue
            now, place = recount(symbols, row, *state)
            if (-now, place) != (count, first):
                if now:
                    heapreplace(heap, (-now, place, row))
                else:
                    heappop(heap)
                continue
            heappop(heap)
            left, right = (spelled[symbol] for symbol in pairs[row, :2].tolist())
            if left is None or right is None or not self._valid(left, right):
                forbidden.add(row)
                continue
            if (new := symbol_of.get(left + right)) is None:
                new = symbol_of[left + right] = len(spelled)
                spelled.append(left + right)
            made, changed = join(symbols, row, new, *state)
            totals.append(totals[-1] - made)
            for k in np.unique(changed).tolist():
                heappush(heap, (-int(pairs[k, 3]), int(pairs[k, 4]), k))
        return symbols >= 0, np.array(totals, np.int64)

    def _result(
        self, batch: Ragged, symbols: np.ndarray, live: np.ndarray, spelled: list[bytes | None], totals: np.ndarray
    ) -> MergedBatch:
        places = np.flatnonzero(live)
        edges = np.searchsorted(places, batch.starts)
        ids = batch.ids[places].copy()
        # What was not merged keeps its id, also where another id spells the same.
        ends = np.append(places[1:], symbols.size)
        ends = np.minimum(ends, batch.starts[np.searchsorted(batch.starts, places, side="right")])
        merged = np.flatnonzero(ends - places > 1)
        used, inverse = np.unique(symbols[places[merged]], return_inverse=True)
        new: list[bytes] = []
        id_of = np.empty(used.size, np.int32)
        for k, symbol in enumerate(used.tolist()):
            token = spelled[symbol]
            assert token is not None
            known = [i for i in self.vocab.ids_of(token) if self.vocab.kinds[i] <= Kind.BYTE]
            if not known:
                new.append(token)
            id_of[k] = known[0] if known else len(self.vocab) + len(new) - 1
        ids[merged] = id_of[inverse]
        begins = np.repeat(batch.starts[:-1], np.diff(edges))
        return MergedBatch(Ragged(ids, edges), Ragged(places - begins, edges), tuple(new), totals)

    def _may_merge(self, left: bytes, right: bytes) -> bool:
        both = left + right
        if any(byte in _SPACES for byte in both[1:]) and (both == b"\n\n" or not all(b in _SPACES for b in both)):
            return False
        if self.boundary == "sentence":
            return True
        try:
            text = both.decode()
        except UnicodeDecodeError:
            return True
        if self.boundary == "pretokens":
            if isinstance(self.pretokens, str):
                return cut_points(text, self.pretokens).size == 2
            return len(self.pretokens(text)) == 1
        if len(_WORD.findall(text)) != 1:
            return False
        return self.boundary == "word" or right == b"-" or self._sign(left) or not self._sign(right)

    def _sign(self, token: bytes) -> bool:
        return (
            token in self.vocab and any(byte in _SIGNS for byte in token) and not any(48 <= byte < 58 for byte in token)
        )


def read_alphabet(batch: Iterable[Sequence[str]], special: Collection[str]) -> tuple[Vocabulary, Ragged]:
    """The vocabulary and the ids of token strings in the byte alphabet of GPT-2, as other libraries show tokens.

    Args:
        batch: the tokens of each sequence.
        special: tokens that stay as they are.
    Raises: VocabularyError: a token with a character that is not of the alphabet, and that is not special.

    >>> vocab, ids = read_alphabet([["<s>", "Ġa", "b"]], special=["<s>"])
    >>> vocab[:], vocab.special_ids.tolist(), ids[0].tolist()
    ([b'<s>', b' a', b'b'], [0], [0, 1, 2])
    """
    index: dict[str, int] = {}
    sequences = [[index.setdefault(token, len(index)) for token in tokens] for tokens in batch]
    spelled, kinds = [], []
    for token in index:
        try:
            spelled.append(token.encode("utf-8", "surrogatepass") if token in special else from_alphabet(token))
        except UnicodeEncodeError as error:
            raise VocabularyError(
                f"token {token!r} has a character outside the byte alphabet; name it among the special tokens"
            ) from error
        kinds.append(Kind.SPECIAL if token in special else Kind.NORMAL)
    return Vocabulary(spelled, kinds=kinds), Ragged.of(sequences)
