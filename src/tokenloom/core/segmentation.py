"""A text and where it is cut: the object that every text tokenizer returns and every text method reads.

A segmentation is a partition of a byte string into tokens. Token `i` owns `data[offsets[i]:offsets[i + 1]]`; tokens that
own no byte (special tokens, image slots) have width zero. Bytes, not characters: a token may end inside a character, and
invalid UTF-8 is data like any other.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, overload

import numpy as np

from .drawing import Drawing
from .errors import SegmentationError

__all__ = ["Alignment", "Block", "Ragged", "Segmentation", "align"]


def _frozen(values: Any, dtype: type[np.integer], name: str) -> np.ndarray:
    """A read-only one-dimensional copy of whole numbers in `dtype`; nothing is rounded or wrapped."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise SegmentationError(f"{name} has {array.ndim} dimensions; it must have one")
    if array.size and array.dtype.kind not in "iu":
        raise SegmentationError(f"{name} has dtype {array.dtype}; it must hold whole numbers")
    if array.size and not (array.min() >= np.iinfo(dtype).min and array.max() <= np.iinfo(dtype).max):
        raise SegmentationError(f"{name} goes from {array.min()} to {array.max()}, which {np.dtype(dtype)} cannot hold")
    if not (isinstance(values, np.ndarray) and array.dtype == dtype and _immutable(array)):
        array = array.astype(dtype)
        array.flags.writeable = False
    return array


def _immutable(array: np.ndarray) -> bool:
    """Whether nobody can write to `array`: a read-only view of a writable one is not enough."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        base = array.base
        if base is None:
            return True
        array = base
    return isinstance(array, bytes)


class Segmentation:
    """A byte string and its partition into tokens; immutable, hashable by content.

    Args:
        ids: token ids, whole numbers >= 0, shape (n,); kept as int32.
        offsets: byte positions where tokens begin, and the end, shape (n + 1,); kept as int64. From 0 to `len(data)`,
            never decreasing.
        data: the bytes that are cut.
    Raises: SegmentationError: the three do not form a partition.

    >>> seg = Segmentation([7, 8], [0, 5, 10], b"strawberry")
    >>> seg.tokens(), len(seg), seg[1:].data
    ([b'straw', b'berry'], 2, b'berry')
    """

    __slots__ = ("_hash", "data", "ids", "offsets")

    ids: np.ndarray
    offsets: np.ndarray
    data: bytes
    _hash: int | None

    def __init__(self, ids: Sequence[int] | np.ndarray, offsets: Sequence[int] | np.ndarray, data: bytes) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise SegmentationError(f"data is a {type(data).__name__}; it must be bytes (encode text first)")
        data = bytes(data)
        ids = _frozen(ids, np.int32, "ids")
        offsets = _frozen(offsets, np.int64, "offsets")
        if offsets.size != ids.size + 1:
            raise SegmentationError(f"{ids.size} ids need {ids.size + 1} offsets, got {offsets.size}")
        if ids.size and ids.min() < 0:
            raise SegmentationError(f"id {ids.min()} at position {ids.argmin()}; ids are >= 0")
        if offsets[0] != 0:
            raise SegmentationError(f"offsets begin at {offsets[0]}; they must begin at 0")
        if offsets[-1] != len(data):
            raise SegmentationError(
                f"offsets end at {offsets[-1]}, but the text has {len(data)} bytes; every byte belongs to exactly one token"
            )
        if (backwards := np.flatnonzero(offsets[1:] < offsets[:-1])).size:
            i = int(backwards[0])
            raise SegmentationError(f"offsets fall from {offsets[i]} to {offsets[i + 1]} at position {i + 1}")
        for name, value in (("ids", ids), ("offsets", offsets), ("data", data)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_hash", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Segmentation does not change; make a new one with other {name}")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type, tuple[np.ndarray, np.ndarray, bytes]]:
        return type(self), (self.ids, self.offsets, self.data)

    def __len__(self) -> int:
        return self.ids.size

    def __getitem__(self, tokens: slice) -> "Segmentation":
        """The segmentation of a run of neighbouring tokens; `tokens` is a slice without a step."""
        if not isinstance(tokens, slice):
            raise SegmentationError(
                "a Segmentation is sliced, seg[i:j]; for single tokens use .ids[i] and .tokens()[i]"
            )
        start, stop, step = tokens.indices(len(self))
        if step != 1:
            raise SegmentationError(f"slice with step {step}; only neighbouring tokens form a segmentation")
        stop = max(start, stop)
        cuts = self.offsets[start : stop + 1]
        return Segmentation(self.ids[start:stop], cuts - cuts[0], self.data[cuts[0] : cuts[-1]])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segmentation):
            return NotImplemented
        return (
            self.data == other.data
            and np.array_equal(self.ids, other.ids)
            and np.array_equal(self.offsets, other.offsets)
        )

    def __hash__(self) -> int:
        if self._hash is None:
            digest = hashlib.blake2b(self.ids.tobytes(), digest_size=8)
            digest.update(self.offsets.tobytes())
            digest.update(self.data)
            object.__setattr__(self, "_hash", int.from_bytes(digest.digest(), "little", signed=True))
        return self._hash or 0

    def __repr__(self) -> str:
        shown = [*self[:12].tokens(), *[...] * (len(self) > 12)]
        return f"Segmentation({shown}, {len(self)} tokens, {len(self.data)} bytes)"

    def _repr_html_(self) -> str:
        return self.draw().html

    def tokens(self) -> list[bytes]:
        """The bytes of each token; `b"".join` of them is `data`."""
        cuts = self.offsets.tolist()
        return [self.data[i:j] for i, j in pairwise(cuts)]

    def boundaries(self) -> np.ndarray:
        """Byte positions where the text is cut, both ends included: int64, strictly increasing.

        >>> Segmentation([1, 0, 2], [0, 2, 2, 3], b"abc").boundaries().tolist()
        [0, 2, 3]
        """
        keep = np.ones(self.offsets.size, bool)
        np.not_equal(self.offsets[1:], self.offsets[:-1], out=keep[1:])
        return self.offsets[keep]

    def is_refinement_of(self, other: "Segmentation") -> bool:
        """Whether every cut of `other` is also a cut here, over the same bytes; a segmentation refines itself."""
        return self.data == other.data and bool(np.isin(other.boundaries(), self.boundaries()).all())

    def coarsen(self, starts: Sequence[int] | np.ndarray, ids: Sequence[int] | np.ndarray) -> "Segmentation":
        """Join neighbouring tokens: group `k` is the tokens from `starts[k]` to before `starts[k + 1]`.

        Args:
            starts: token positions, the first 0, strictly increasing, shape (groups,).
            ids: the id of each group, shape (groups,).
        Raises: SegmentationError: `starts` does not divide the tokens into groups of at least one.

        >>> Segmentation([1, 2, 3], [0, 1, 2, 3], b"abc").coarsen([0, 2], [9, 3]).tokens()
        [b'ab', b'c']
        """
        starts = _frozen(starts, np.int64, "starts")
        edges = np.append(starts, len(self))
        if starts.size != len(ids):
            raise SegmentationError(f"{starts.size} groups, but {len(ids)} ids")
        if len(self) == 0 and starts.size == 0:
            return self
        if edges[0] != 0 or (edges[1:] <= edges[:-1]).any():
            raise SegmentationError(
                f"groups must begin with 0 and each hold at least one of the {len(self)} tokens, got starts {starts}"
            )
        return Segmentation(ids, self.offsets[edges], self.data)

    def draw(self) -> Drawing:
        """The text with its tokens in alternating colours: `print(seg.draw())`, or `.html` for a page."""
        return Drawing(self.tokens())


@dataclass(frozen=True)
class Block:
    """The tokens of two segmentations that cover the same stretch of bytes between two common cuts."""

    left: slice
    right: slice


@dataclass(frozen=True, eq=False)
class Alignment(Sequence[Block]):
    """The stretches between neighbouring common cuts of two segmentations; a sequence of `Block`s.

    Args:
        left: first token of each block in the left segmentation, and its length: int64, shape (blocks + 1,).
        right: the same in the right segmentation.
        cuts: byte position of each common cut: int64, shape (blocks + 1,).
    """

    left: np.ndarray
    right: np.ndarray
    cuts: np.ndarray

    def __len__(self) -> int:
        return self.cuts.size - 1

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> list[Block]: ...
    def __getitem__(self, index: int | slice) -> Block | list[Block]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        return Block(slice(int(self.left[i]), int(self.left[i + 1])), slice(int(self.right[i]), int(self.right[i + 1])))


def align(left: Segmentation, right: Segmentation) -> Alignment:
    """Pair the tokens of two segmentations of the same bytes: the smallest blocks on which both agree.

    Blocks lie between neighbouring common cuts, so they cover all bytes once, in order. A token of width zero belongs
    to the block that begins where it stands, at the very end to the last one. Time and memory O(n + m).

    Raises: SegmentationError: the two cut different bytes.

    >>> a = Segmentation([0, 1, 2], [0, 2, 5, 6], b"abcdef")
    >>> b = Segmentation([3, 4, 5], [0, 3, 5, 6], b"abcdef")
    >>> [(a[k.left].tokens(), b[k.right].tokens()) for k in align(a, b)]
    [([b'ab', b'cde'], [b'abc', b'de']), ([b'f'], [b'f'])]
    """
    if left.data != right.data:
        raise SegmentationError(
            f"the two segmentations cut different texts of {len(left.data)} and {len(right.data)} bytes"
        )
    if not left.data:
        # No byte, no cut to agree on: special tokens alone, if any, stand together in one block.
        edges = [0, 0] if len(left) or len(right) else [0]
        tokens = [np.array([0, len(s)][: len(edges)], np.int64) for s in (left, right)]
        return Alignment(tokens[0], tokens[1], np.array(edges, np.int64))
    # Both are sorted, so a stable sort of their concatenation is a merge: neighbours that are equal are common.
    merged = np.concatenate([left.boundaries(), right.boundaries()])
    merged.sort(kind="stable")
    cuts = merged[1:][merged[1:] == merged[:-1]]
    firsts = []
    for seg in (left, right):
        first = np.searchsorted(seg.offsets, cuts, side="left")
        first[0], first[-1] = 0, len(seg)
        firsts.append(first)
    return Alignment(firsts[0], firsts[1], cuts)


class Ragged(Sequence[np.ndarray]):
    """Documents of different lengths in one flat array; immutable.

    Args:
        ids: the ids of all documents one after the other, shape (tokens,); kept as int32.
        starts: where each document begins, and the end, shape (documents + 1,); kept as int64.
    Raises: SegmentationError: `starts` does not divide `ids`.

    >>> batch = Ragged.of([[1, 2], [], [3]])
    >>> len(batch), batch.ids.tolist(), batch.starts.tolist(), batch[2].tolist()
    (3, [1, 2, 3], [0, 2, 2, 3], [3])
    """

    __slots__ = ("ids", "starts")

    ids: np.ndarray
    starts: np.ndarray

    def __init__(self, ids: Sequence[int] | np.ndarray, starts: Sequence[int] | np.ndarray) -> None:
        ids = _frozen(ids, np.int32, "ids")
        starts = _frozen(starts, np.int64, "starts")
        if not starts.size or starts[0] != 0 or starts[-1] != ids.size or (starts[1:] < starts[:-1]).any():
            raise SegmentationError(
                f"starts must go from 0 to the {ids.size} ids and never decrease, got {starts[:8].tolist()}…"
            )
        if ids.size and ids.min() < 0:
            raise SegmentationError(f"id {ids.min()} at position {ids.argmin()}; ids are >= 0")
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "starts", starts)

    __setattr__ = Segmentation.__setattr__

    def __reduce__(self) -> tuple[type, tuple[np.ndarray, np.ndarray]]:
        return type(self), (self.ids, self.starts)

    @classmethod
    def of(cls, documents: Iterable[Sequence[int] | np.ndarray]) -> "Ragged":
        """Join the ids of documents, each of shape (n,)."""
        arrays = [_frozen(document, np.int32, "ids") for document in documents]
        starts = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([a.size for a in arrays], out=starts[1:])
        return cls(np.concatenate(arrays) if arrays else np.empty(0, np.int32), starts)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, int64 (documents,)."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return self.starts.size - 1

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> "Ragged": ...
    def __getitem__(self, index: int | slice) -> "np.ndarray | Ragged":
        """The ids of one document (a read-only view), or a run of neighbouring documents."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise SegmentationError(f"slice with step {step}; only neighbouring documents form a batch")
            starts = self.starts[start : max(start, stop) + 1]
            return Ragged(self.ids[starts[0] : starts[-1]], starts - starts[0])
        i = range(len(self))[index]
        return self.ids[self.starts[i] : self.starts[i + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        for i in range(len(self)):
            yield self[i]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ragged):
            return NotImplemented
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.starts, other.starts)

    def __hash__(self) -> int:
        return hash((self.ids.tobytes(), self.starts.tobytes()))

    def __repr__(self) -> str:
        return f"Ragged({len(self)} documents, {self.ids.size} tokens)"
