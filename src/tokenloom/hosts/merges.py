"""Where BPE joined each token of a rank file: its last merge, found again by running BPE on the token's bytes."""
# V tokens in rank order, L bytes of one token

import numpy as np
from numba import njit

__all__ = ["merge_points"]

# An odd multiplier: powers of it never become zero modulo 2^64, so that every byte of a slice counts.
_BASE = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def merge_points(buffer, offsets_V):
    """Byte position of the last merge in each token: 0 for single bytes, -1 where lower ranks do not end in two parts.

    Args:
        buffer: bytes of all tokens in rank order, uint8.
        offsets_V: where each token begins, and the end, int64 (V + 1,).
    Returns: int64 (V,).
    """
    count = offsets_V.size - 1
    longest = 1
    for v in range(count):
        longest = max(longest, offsets_V[v + 1] - offsets_V[v])
    mask = 1
    while mask < 2 * count + 2:
        mask *= 2
    mask -= 1
    table = np.full(mask + 1, -1, np.int64)
    powers = np.ones(longest + 1, np.uint64)
    for i in range(longest):
        powers[i + 1] = powers[i] * _BASE
    sums = np.zeros(longest + 1, np.uint64)
    cuts = np.zeros(longest + 1, np.int64)
    joined = np.zeros(longest + 1, np.int64)
    points_V = np.zeros(count, np.int64)
    for v in range(count):
        start = offsets_V[v]
        length = offsets_V[v + 1] - start
        for i in range(length):
            sums[i + 1] = sums[i] * _BASE + np.uint64(buffer[start + i]) + np.uint64(1)
        if length > 1:
            # Only ranks below v are in the table yet: a token is entered after its own turn.
            parts = length
            for i in range(length + 1):
                cuts[i] = i
            for i in range(length - 1):
                joined[i] = _find(table, mask, buffer, offsets_V, start, i, i + 2, sums, powers)
            while parts > 2:
                best, at = count, -1
                for i in range(parts - 1):
                    if 0 <= joined[i] < best:
                        best, at = joined[i], i
                if at < 0:
                    break
                for i in range(at + 1, parts):
                    cuts[i] = cuts[i + 1]
                    joined[i] = joined[i + 1]
                parts -= 1
                if at > 0:
                    joined[at - 1] = _find(
                        table, mask, buffer, offsets_V, start, cuts[at - 1], cuts[at + 1], sums, powers
                    )
                if at < parts - 1:
                    joined[at] = _find(table, mask, buffer, offsets_V, start, cuts[at], cuts[at + 2], sums, powers)
            points_V[v] = cuts[1] if parts == 2 else -1
        slot = _slot(sums[length], mask)
        while table[slot] >= 0:
            slot = (slot + 1) & mask
        table[slot] = v
    return points_V


@njit(cache=True, nogil=True)
def _slot(value, mask):
    # The high half takes part: the low bits of a polynomial hash depend on few bytes only.
    return np.int64((value ^ (value >> np.uint64(29))) & np.uint64(mask))


@njit(cache=True, nogil=True)
def _find(table, mask, buffer, offsets_V, start, low, high, sums, powers):
    """The token that equals bytes `low` to `high` of the one at `start`, or -1."""
    length = high - low
    slot = _slot(sums[high] - sums[low] * powers[length], mask)
    while table[slot] >= 0:
        v = table[slot]
        begin = offsets_V[v]
        if offsets_V[v + 1] - begin == length:
            same = True
            for i in range(length):
                if buffer[begin + i] != buffer[start + low + i]:
                    same = False
                    break
            if same:
                return v
        slot = (slot + 1) & mask
    return np.int64(-1)
