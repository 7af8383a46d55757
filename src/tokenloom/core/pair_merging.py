"""Byte-pair encoding over flat arrays of whole numbers: make given merges in pieces, and learn new ones.

Units are whatever a method encodes (bytes, atoms, residues); ids 0 … alphabet - 1 are units, then one per merge.
"""
# U units or symbols, P pieces, K pairs, M merges, V = alphabet + M ids

from collections.abc import Sequence

import numpy as np
from numba import njit

from .errors import InvalidInput, VocabularyError
from .seeds import MIX_1

__all__ = ["check_merges", "look", "merge_pieces", "pair_table", "slot_of"]

# Up to so many symbols a scan for the best pair is faster than a heap.
_SCAN = 48


def check_merges(merges: np.ndarray | Sequence[tuple[int, int]], alphabet: int) -> np.ndarray:
    """`merges`, (M, 2), as int32: parts exist when they are joined, ids 0 … alphabet - 1 from the beginning, no pair is twice.

    Raises: VocabularyError: otherwise, with the first that is wrong. InvalidInput: an empty alphabet.
    """
    if alphabet < 1:
        raise InvalidInput(f"an alphabet of {alphabet} units; it must be >= 1")
    made = np.asarray(merges, np.int64).reshape(-1, 2)
    late = made >= alphabet + np.arange(len(made))[:, None]
    if (wrong := np.flatnonzero((late | (made < 0)).any(axis=1))).size:
        at = int(wrong[0])
        raise VocabularyError(
            f"merge {at} joins {made[at].tolist()}, but only ids 0 to {alphabet + at - 1} exist by then"
        )
    _, first = np.unique(made, axis=0, return_index=True)
    if first.size < len(made):
        at = int(np.setdiff1d(np.arange(len(made)), first)[0])
        raise VocabularyError(f"merge {at} joins {made[at].tolist()} a second time")
    return made.astype(np.int32)


def pair_table(merges: np.ndarray, results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hash table pair → rank and result for `merge_pieces`.

    Args:
        merges: pairs, int (M, 2), the earliest first; no pair twice.
        results: what each becomes, int (M,).
    Returns: keys int64 and values int32 (slots, 2), -1 where empty.
    """
    slots = 1 << max(4, int(2 * len(merges)).bit_length())
    keys, values = np.full(slots, -1, np.int64), np.full((slots, 2), -1, np.int32)
    _enter(np.ascontiguousarray(merges, np.int32), np.ascontiguousarray(results, np.int32), keys, values)
    return keys, values


@njit(cache=True, nogil=True)
def slot_of(key, slots):
    """Where the search for a pair begins in a table of `slots`."""
    h = np.uint64(key) * MIX_1
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(slots - 1))


@njit(cache=True, nogil=True)
def _enter(merges, results, keys, values):
    for rank in range(merges.shape[0]):
        key = np.int64(merges[rank, 0]) << 32 | np.int64(merges[rank, 1])
        at = slot_of(key, keys.size)
        while keys[at] >= 0:
            at = (at + 1) & (keys.size - 1)
        keys[at], values[at, 0], values[at, 1] = key, rank, results[rank]


@njit(cache=True, nogil=True)
def look(left, right, keys):
    """The slot of a pair, or -1."""
    key = np.int64(left) << 32 | np.int64(right)
    at = slot_of(key, keys.size)
    while keys[at] >= 0:
        if keys[at] == key:
            return at
        at = (at + 1) & (keys.size - 1)
    return -1


@njit(cache=True, nogil=True)
def merge_pieces(units, starts, keys, values):
    """Merge inside each piece: the earliest of all possible merges first, the leftmost of equals, until none is left.

    Args:
        units: int32 (U,).
        starts: where each piece begins, and the end, int64 (P + 1,).
        keys, values: of `pair_table`.
    Returns: symbols int32, and where each piece begins among them, int64 (P + 1,). O(n log n) for a piece of n units.
    """
    out, n = np.empty(units.size, np.int32), 0
    edges = np.zeros(starts.size, np.int64)
    longest = 0
    for piece in range(starts.size - 1):
        longest = max(longest, starts[piece + 1] - starts[piece])
    ranks, made = np.empty(longest, np.int32), np.empty(longest, np.int32)
    following, before = np.empty(longest, np.int32), np.empty(longest, np.int32)
    heap = np.empty(3 * longest if longest > _SCAN else 0, np.int64)
    for piece in range(starts.size - 1):
        begin, parts = starts[piece], starts[piece + 1] - starts[piece]
        symbols = out[n : n + parts]
        symbols[:] = units[begin : begin + parts]
        for k in range(parts - 1):
            at = look(symbols[k], symbols[k + 1], keys)
            ranks[k], made[k] = (values[at, 0], values[at, 1]) if at >= 0 else (-1, -1)
        if parts <= _SCAN:
            n += _by_scan(symbols, parts, ranks, made, keys, values)
        else:
            n += _by_heap(symbols, parts, ranks, made, following, before, heap, keys, values)
        edges[piece + 1] = n
    return out[:n].copy(), edges


@njit(cache=True, nogil=True)
def _by_scan(symbols, parts, ranks, made, keys, values):
    while parts > 1:
        best = -1
        for k in range(parts - 1):
            if ranks[k] >= 0 and (best < 0 or ranks[k] < ranks[best]):
                best = k
        if best < 0:
            break
        symbols[best] = made[best]
        parts -= 1
        for k in range(best + 1, parts):
            symbols[k] = symbols[k + 1]
        for k in range(best + 1, parts - 1):
            ranks[k], made[k] = ranks[k + 1], made[k + 1]
        for k in range(max(0, best - 1), min(best + 1, parts - 1)):
            at = look(symbols[k], symbols[k + 1], keys)
            ranks[k], made[k] = (values[at, 0], values[at, 1]) if at >= 0 else (-1, -1)
    return parts


@njit(cache=True, nogil=True)
def _by_heap(symbols, parts, ranks, made, following, before, heap, keys, values):
    """Entries of the heap are rank << 32 | position; one whose rank is no longer that of its position is stale."""
    size = 0
    for k in range(parts):
        following[k], before[k] = k + 1, k - 1
        if k < parts - 1 and ranks[k] >= 0:
            size = _push(heap, size, np.int64(ranks[k]) << 32 | k)
    ranks[parts - 1] = -1
    while size:
        top = heap[0]
        size = _pop(heap, size)
        here = np.int64(top & 0x7FFFFFFF)
        if ranks[here] != top >> 32:
            continue
        gone = following[here]
        symbols[here] = made[here]
        ranks[gone] = -1
        following[here] = following[gone]
        if following[here] < parts:
            before[following[here]] = here
        for left in (np.int64(before[here]), here):
            if left < 0:
                continue
            ranks[left] = -1
            if following[left] < parts:
                at = look(symbols[left], symbols[following[left]], keys)
                if at >= 0:
                    ranks[left], made[left] = values[at, 0], values[at, 1]
                    size = _push(heap, size, np.int64(ranks[left]) << 32 | left)
    n, k = 0, 0
    while k < parts:
        symbols[n] = symbols[k]
        n, k = n + 1, following[k]
    return n


@njit(cache=True, nogil=True)
def _push(heap, size, entry):
    at = size
    while at and heap[(at - 1) >> 1] > entry:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = entry
    return size + 1


@njit(cache=True, nogil=True)
def _pop(heap, size):
    size -= 1
    entry, at = heap[size], 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = entry
    return size
