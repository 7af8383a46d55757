"""A shuffled order that is computed, not stored: where does index i go? In constant memory, for any number of items.

A Feistel network turns any function into a permutation of 2h-bit numbers: (L, R) → (R, L xor f(R)), a few rounds of it
with f a keyed hash (Luby and Rackoff 1988, who need four). To permute 0 … n - 1 only, results outside are put in again
until one falls inside (cycle walking; Black and Rogaway 2002): each stays on its cycle, so no two meet.
"""

import numpy as np

from ..core.errors import InvalidInput
from ..core.seeds import stream_seeds

__all__ = ["shuffled"]

# Twice what Luby and Rackoff need: the halves are short when there are few items.
_ROUNDS = 8


def shuffled(index: np.ndarray, size: int, key: int) -> np.ndarray:
    """Where a pseudorandom permutation of 0 … size - 1 sends each index.

    Args:
        index: int64 (n,), each 0 … size - 1.
        size: how many items are permuted, 1 … 2^62.
        key: chooses the permutation, 0 … 2^64 - 1.
    Returns: int64 (n,), each 0 … size - 1.
    Raises: InvalidInput: an index or `size` out of range.

    >>> sorted(shuffled(np.arange(5), 5, key=1).tolist())
    [0, 1, 2, 3, 4]
    """
    index = np.asarray(index, np.int64)
    if not 1 <= size <= 1 << 62:
        raise InvalidInput(f"size={size}; it must be 1 … 2^62")
    if index.size and not 0 <= index.min() <= index.max() < size:
        raise InvalidInput(f"indices {index.min()} … {index.max()}; they must lie in 0 … {size - 1}")
    # The smallest even number of bits that holds size - 1: less than 4 * size values, so few steps are walked.
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    out = _feistel(index.astype(np.uint64), half, key)
    while (outside := np.flatnonzero(out >= np.uint64(size))).size:
        out[outside] = _feistel(out[outside], half, key)
    return out.astype(np.int64)


def _feistel(x: np.ndarray, half: int, key: int) -> np.ndarray:
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = x >> shift, x & mask
    for turn in range(_ROUNDS):
        left, right = right, left ^ (stream_seeds(key, turn, right) & mask)
    return (left << shift) | right
