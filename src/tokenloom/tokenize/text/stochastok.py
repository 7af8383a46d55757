"""StochasTok: randomly split tokens into equivalent smaller tokens while training, so that a model learns their insides.

Sims, Foster, Kaleb, Nguyen, Lee, Foerster, Teh, Lu 2025, "StochasTok: Improving Fine-Grained Subword Understanding in
LLMs", arXiv 2506.01687, section 3. It stands between "tokenize" and "batch" and needs the vocabulary alone, no merge
list: so it works over BPE, Unigram, WordPiece or any other vocabulary.

Differs from the authors' code: one explicit generator and one stream per document; tables are looked up by bytes, not
by position in a list; time is O(n + attempts), not O(n * attempts), under the same law.
"""
# n tokens in, N = floor(n p) attempts, K splits in the table, V ids

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, overload

import numpy as np
from numba import njit

from ...core.byte_index import BASE, byte_index, extend, find
from ...core.errors import InvalidInput, require
from ...core.seeds import stream_seeds
from ...core.segmentation import Ragged, Segmentation
from ...core.splitmix import below, draw
from ...core.vocabulary import Vocabulary

__all__ = ["ResplitCollator", "SplitTable", "StochasTok", "split_table"]


@dataclass(frozen=True, eq=False)
class SplitTable:
    """Every way to write a token as two tokens, in compressed rows.

    Args:
        indptr: the splits of id t are rows `indptr[t]` to `indptr[t + 1]` of `pairs`: int32 (V + 1,).
        pairs: left and right half: int32 (K, 2), by ascending length of the left half.
    """

    indptr: np.ndarray
    pairs: np.ndarray

    def __getitem__(self, token: int) -> np.ndarray:
        """The splits of one id, int32 (k, 2); k = 0 for a token that cannot be split."""
        return self.pairs[self.indptr[token] : self.indptr[token + 1]]


def split_table(vocab: Vocabulary) -> SplitTable:
    """All binary splits of all tokens: splits(t) = [(id(t[:j]), id(t[j:])) for j in 1 … len(t) - 1, both halves known].

    Halves are ordinary tokens, normal or byte; special and unused ids neither split nor appear. Where a normal and a
    byte token share their bytes, the normal one is meant. O(total bytes) hash look-ups.

    Raises: VocabularyError: two normal tokens have the same bytes, so that a split would be ambiguous.

    >>> vocab = Vocabulary([b"a", b"b", b"ab", b"aba"])
    >>> split_table(vocab)[3].tolist()
    [[2, 0]]
    """
    slots = byte_index(vocab)
    indptr = np.zeros(len(vocab) + 1, np.int32)
    _splits(vocab.buffer, vocab.offsets, vocab.kinds, slots, indptr, np.empty((0, 2), np.int32))
    pairs = np.empty((int(indptr[-1]), 2), np.int32)
    _splits(vocab.buffer, vocab.offsets, vocab.kinds, slots, indptr, pairs)
    return SplitTable(indptr, pairs)


@dataclass(frozen=True)
class StochasTok:
    """Split random tokens into two tokens of the same vocabulary, again and again; the bytes stay the same.

    Of n tokens, N = floor(n * proportion) times: choose a position uniformly in the *current*, growing sequence; if its
    token can be split, replace it by one of its splits, chosen uniformly; else the attempt is spent. (Algorithm 1.)

    Args:
        vocab: the vocabulary whose ids are split.
        proportion: attempts per token, >= 0; may exceed 1. The paper's default is 0.1; 0.01 to 0.2 work there.
        max_splits: at most so many successful splits per document (or call), >= 0; None for no limit.
    Raises:
        InvalidInput: a negative or non-finite proportion, a negative limit.
        VocabularyError: see `split_table`.

    >>> vocab = Vocabulary([b"a", b"b", b"c", b"ab", b"abc"], special=[b"<end>"])
    >>> look = StochasTok(vocab, proportion=9.0)
    >>> seg = Segmentation([4, 3], [0, 3, 5], b"abcab")
    >>> look(seg, rng=np.random.default_rng(0)).tokens()
    [b'a', b'b', b'c', b'a', b'b']
    """

    vocab: Vocabulary
    proportion: float = 0.1
    max_splits: int | None = None
    table: SplitTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.proportion) and self.proportion >= 0):
            raise InvalidInput(f"proportion={self.proportion}; it must be a finite number >= 0, 0.1 is usual")
        if self.max_splits is not None and self.max_splits < 0:
            raise InvalidInput(f"max_splits={self.max_splits}; it must be >= 0, or None for no limit")
        object.__setattr__(self, "table", split_table(self.vocab))

    @overload
    def __call__(self, x: Segmentation, *, rng: np.random.Generator) -> Segmentation: ...
    @overload
    def __call__(self, x: Ragged, *, rng: np.random.Generator) -> Ragged: ...
    @overload
    def __call__(self, x: np.ndarray | Sequence[int], *, rng: np.random.Generator) -> np.ndarray: ...
    def __call__(
        self, x: Segmentation | Ragged | np.ndarray | Sequence[int], *, rng: np.random.Generator
    ) -> Segmentation | Ragged | np.ndarray:
        """Split `x`; the same kind of object comes back.

        Args:
            x: ids of one document, whole numbers of shape (n,); or a Segmentation; or a batch of documents, each of
                which is split by itself.
            rng: one 64-bit seed is drawn from it per document.
        Returns: ids as int32 of shape (n + splits,); a refinement of the segmentation; a batch.
        Raises: InvalidInput: an id outside the vocabulary.
        """
        if not isinstance(rng, np.random.Generator):
            raise InvalidInput(f"rng is {rng!r}; pass numpy.random.default_rng(seed)")
        documents = len(x) if isinstance(x, Ragged) else 1
        seeds = rng.integers(0, 2**64, documents, np.uint64)
        if isinstance(x, Ragged):
            return self.expand_batch(x, seeds)
        ids, first = self._expand(x.ids if isinstance(x, Segmentation) else x, seeds[0])
        if not isinstance(x, Segmentation):
            return ids
        return Segmentation(ids, _offsets(ids, first, x.offsets, self.vocab.offsets), x.data)

    def expand_batch(self, batch: Ragged, seeds: np.ndarray) -> Ragged:
        """Split each document from its own seed, so that the result depends on neither batching nor workers.

        Args:
            batch: the documents.
            seeds: uint64 (documents,), see `tokenloom.core.seeds.stream_seeds`.
        Raises: InvalidInput: an id outside the vocabulary, or another number of seeds.
        """
        self.vocab.check_ids(batch.ids)
        if seeds.shape != (len(batch),) or seeds.dtype != np.uint64:
            raise InvalidInput(f"{len(batch)} documents need as many uint64 seeds, got {seeds.dtype} {seeds.shape}")
        if not self.table.pairs.size:
            return batch
        return Ragged(
            *_expand_documents(
                batch.ids, batch.starts, seeds, self.table.indptr, self.table.pairs, self.proportion, self._limit
            )
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the splits beside the vocabulary and the seed, as JSON values."""
        return {"name": "StochasTok", "proportion": self.proportion, "max_splits": self.max_splits}

    @property
    def _limit(self) -> int:
        return np.iinfo(np.int64).max if self.max_splits is None else self.max_splits

    def _expand(self, ids: np.ndarray | Sequence[int], seed: np.uint64) -> tuple[np.ndarray, np.ndarray]:
        """The split ids, and where the pieces of each of the n tokens begin, int64 (n + 1,)."""
        ids = np.ascontiguousarray(self.vocab.check_ids(ids), np.int32)
        if ids.ndim != 1:
            raise InvalidInput(f"ids have shape {ids.shape}; one document has shape (n,)")
        return _expand_one(ids, seed, self.table.indptr, self.table.pairs, self.proportion, self._limit)


@dataclass
class ResplitCollator:
    """Batch examples for a causal language model, split anew in every epoch.

    What an example becomes depends on its ids, `seed` and the epoch alone: not on the batch, the order or the number of
    loader workers. Call `set_epoch` before each pass; the number is shared with running workers.

    Args:
        look: the splitter.
        pad_id: fills up shorter examples; masked out and never predicted.
        length: longer results are cut to so many tokens; None for no limit.
        seed: >= 0.
    """

    look: StochasTok
    pad_id: int
    length: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        torch = require("torch", "torch")
        if self.seed < 0:
            raise InvalidInput(f"seed={self.seed}; it must be >= 0")
        self.look.vocab.check_ids([self.pad_id])
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the splits of this pass, `epoch` >= 0."""
        self._epoch.fill_(epoch)

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Split and pad `examples`, each with "input_ids" of shape (n,) and perhaps "labels" of the same shape.

        Returns: int64 tensors "input_ids", "attention_mask" and "labels" of shape (B, longest). Both halves of a token
            whose label is -100 are not predicted either; padding neither.
        """
        torch = require("torch", "torch")
        rows, labels = [], []
        for example in examples:
            ids = np.ascontiguousarray(example["input_ids"], np.int32)
            name = np.frombuffer(_digest(ids), np.uint64)
            row, first = self.look._expand(ids, stream_seeds(self.seed, int(self._epoch), name)[0])
            label = row.astype(np.int64)
            if "labels" in example:
                ignored = np.asarray(example["labels"]) == -100
                label[np.repeat(ignored, np.diff(first))] = -100
            rows.append(row[: self.length])
            labels.append(label[: self.length])
        width = max((row.size for row in rows), default=0)
        input_ids = torch.full((len(rows), width), self.pad_id)
        attention_mask, target = torch.zeros_like(input_ids), torch.full_like(input_ids, -100)
        for i, (row, label) in enumerate(zip(rows, labels)):
            input_ids[i, : row.size] = torch.from_numpy(row.astype(np.int64))
            attention_mask[i, : row.size] = 1
            target[i, : row.size] = torch.from_numpy(label)
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": target}


def _digest(ids: np.ndarray) -> bytes:
    return blake2b(ids.tobytes(), digest_size=8).digest()


# -- splitting ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _split_pool(pool, link, n, attempts, seed, indptr, pairs, limit):
    """Attempt splits in a pool of n tokens; returns the tokens it holds afterwards.

    `pool[:n]` are the tokens, `link[:n]` is -1. A split keeps the left half in its slot and links the right half, put
    at the end of the pool, behind it. Slots and positions correspond one to one, so that a uniform slot is a uniform
    position of the growing sequence: the law of Algorithm 1 without moving a token.
    """
    state, size, left = seed, n, limit
    for _ in range(attempts):
        if left == 0:
            break
        state, z = draw(state)
        state, slot = below(z >> np.uint64(32), state, np.uint64(size))
        token = pool[slot]
        begin = indptr[token]
        choices = indptr[token + 1] - begin
        if choices == 0:
            continue
        row = begin
        if choices > 1:
            state, choice = below(z & np.uint64(0xFFFFFFFF), state, np.uint64(choices))
            row = begin + np.int64(choice)
        pool[slot] = pairs[row, 0]
        pool[size] = pairs[row, 1]
        link[size] = link[slot]
        link[slot] = size
        size += 1
        left -= 1
    return size


@njit(cache=True, nogil=True)
def _expand_one(ids, seed, indptr, pairs, proportion, limit):
    n = ids.size
    attempts = np.int64(np.floor(n * proportion)) if pairs.size else 0
    room = n + min(attempts, limit)
    pool, link = np.empty(room, np.int32), np.empty(room, np.int32)
    pool[:n] = ids
    link[:n] = -1
    size = _split_pool(pool, link, n, attempts, seed, indptr, pairs, limit)
    out, first = np.empty(size, np.int32), np.empty(n + 1, np.int64)
    at = 0
    for i in range(n):
        first[i] = at
        slot = np.int32(i)
        while slot >= 0:
            out[at] = pool[slot]
            slot = link[slot]
            at += 1
    first[n] = at
    return out, first


@njit(cache=True, nogil=True)
def _expand_documents(ids, starts, seeds, indptr, pairs, proportion, limit):
    longest, total = 0, ids.size
    for d in range(starts.size - 1):
        n = starts[d + 1] - starts[d]
        attempts = min(np.int64(np.floor(n * proportion)), limit)
        longest = max(longest, n + attempts)
        total += attempts
    pool, link = np.empty(longest, np.int32), np.empty(longest, np.int32)
    out, out_starts = np.empty(total, np.int32), np.zeros(starts.size, np.int64)
    at = 0
    for d in range(starts.size - 1):
        n = starts[d + 1] - starts[d]
        pool[:n] = ids[starts[d] : starts[d + 1]]
        link[:n] = -1
        attempts = np.int64(np.floor(n * proportion))
        _split_pool(pool, link, n, attempts, seeds[d], indptr, pairs, limit)
        for i in range(n):
            slot = np.int32(i)
            while slot >= 0:
                out[at] = pool[slot]
                slot = link[slot]
                at += 1
        out_starts[d + 1] = at
    return out[:at], out_starts


@njit(cache=True, nogil=True)
def _offsets(ids, first, offsets, vocab_offsets):
    """Cuts of the split tokens inside the cuts of the whole ones.

    Counted from the right: where a token owns fewer bytes in the text than in the vocabulary, it is its word mark at
    the beginning that the text lacks. Never outside the whole token, whatever a normaliser did.
    """
    cuts = np.empty(ids.size + 1, np.int64)
    for i in range(first.size - 1):
        at = offsets[i + 1]
        for k in range(first[i + 1] - 1, first[i], -1):
            at = max(offsets[i], at - (vocab_offsets[ids[k] + 1] - vocab_offsets[ids[k]]))
            cuts[k] = at
        cuts[first[i]] = offsets[i]
    cuts[ids.size] = offsets[offsets.size - 1]
    return cuts


# -- the table ---------------------------------------------------------------------------------------------------------
@njit(cache=True, nogil=True)
def _splits(buffer, offsets, kinds, slots, indptr, pairs):
    """Count the splits of each token into `indptr`; write them where `pairs` has room."""
    longest = 0
    for token in range(offsets.size - 1):
        longest = max(longest, offsets[token + 1] - offsets[token])
    power, head = np.ones(longest + 1, np.uint64), np.zeros(longest + 1, np.uint64)
    for k in range(longest):
        power[k + 1] = power[k] * BASE
    row = np.int32(0)
    for token in range(offsets.size - 1):
        begin, length = offsets[token], offsets[token + 1] - offsets[token]
        if kinds[token] <= 1:
            for k in range(length):
                head[k + 1] = extend(head[k], buffer[begin + k])
            for j in range(1, length):
                left, _ = find(buffer, offsets, slots, head[j], begin, j)
                if left < 0:
                    continue
                tail = head[length] - head[j] * power[length - j]
                right, _ = find(buffer, offsets, slots, tail, begin + j, length - j)
                if right >= 0:
                    if row < pairs.shape[0]:
                        pairs[row, 0], pairs[row, 1] = left, right
                    row += np.int32(1)
        indptr[token + 1] = row
