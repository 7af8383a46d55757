"""Counting byte strings: which pieces a corpus has and how often each, in memory that grows with the different ones only."""
# P different pieces, C cuts, D documents

import numpy as np
from numba import njit

from .byte_index import extend
from .seeds import MIX_1

__all__ = ["Tally", "between_seams", "seams"]

_ROOM = 1 << 12


class Tally:
    """Different byte strings in the order of their first appearance, and how often each was added.

    >>> tally = Tally()
    >>> tally.add(np.frombuffer(b"abcab", np.uint8), np.array([0, 2, 3, 5]), np.array([1, 10, 100]))
    >>> tally.data.tobytes(), tally.starts.tolist(), tally.counts.tolist()
    (b'abc', [0, 2, 3], [101, 10])
    """

    def __init__(self) -> None:
        self._slots = np.full(2 * _ROOM, -1, np.int32)
        self._hashes = np.empty(_ROOM, np.uint64)
        self._buffer = np.empty(16 * _ROOM, np.uint8)
        self._starts = np.zeros(_ROOM + 1, np.int64)
        self._counts = np.zeros(_ROOM, np.int64)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, data: np.ndarray, cuts: np.ndarray, weights: np.ndarray) -> None:
        """Count the pieces of `data`, uint8 (bytes,), between neighbouring `cuts`, int64 (C,), `weights`, int64 (C - 1,), times each.

        `cuts` rise; pieces without a byte or of weight 0 are passed over.
        """
        state = (self._slots, self._hashes, self._buffer, self._starts, self._counts, self._size)
        state = _add(data, cuts, weights, *state)
        self._slots, self._hashes, self._buffer, self._starts, self._counts, self._size = state

    @property
    def data(self) -> np.ndarray:
        """The bytes of all pieces, uint8."""
        return self._buffer[: self._starts[self._size]]

    @property
    def starts(self) -> np.ndarray:
        """Where each piece begins in `data`, and the end: int64 (P + 1,)."""
        return self._starts[: self._size + 1]

    @property
    def counts(self) -> np.ndarray:
        """How often each piece was added: int64 (P,)."""
        return self._counts[: self._size]


@njit(cache=True, nogil=True)
def _add(data, cuts, weights, slots, hashes, buffer, starts, counts, size):
    for piece in range(cuts.size - 1):
        begin, end = cuts[piece], cuts[piece + 1]
        length = end - begin
        if length == 0 or weights[piece] == 0:
            continue
        h = np.uint64(0)
        for k in range(begin, end):
            h = extend(h, data[k])
        at = _slot(h, slots.size)
        while True:
            entry = slots[at]
            if entry < 0:
                break
            if hashes[entry] == h and starts[entry + 1] - starts[entry] == length:
                k = 0
                while k < length and buffer[starts[entry] + k] == data[begin + k]:
                    k += 1
                if k == length:
                    break
            at = (at + 1) & (slots.size - 1)
        if entry >= 0:
            counts[entry] += weights[piece]
            continue
        if size == hashes.size:
            hashes, counts, starts = _larger(hashes, 2 * size), _larger(counts, 2 * size), _larger(starts, 2 * size + 1)
            slots = np.full(2 * slots.size, -1, np.int32)
            for entry in range(size):
                at = _slot(hashes[entry], slots.size)
                while slots[at] >= 0:
                    at = (at + 1) & (slots.size - 1)
                slots[at] = entry
            at = _slot(h, slots.size)
            while slots[at] >= 0:
                at = (at + 1) & (slots.size - 1)
        if starts[size] + length > buffer.size:
            buffer = _larger(buffer, 2 * (buffer.size + length))
        buffer[starts[size] : starts[size] + length] = data[begin:end]
        slots[at], hashes[size], counts[size] = size, h, weights[piece]
        starts[size + 1] = starts[size] + length
        size += 1
    return slots, hashes, buffer, starts, counts, size


@njit(cache=True, nogil=True)
def _slot(h, slots):
    h = (h ^ (h >> np.uint64(32))) * MIX_1
    return np.int64((h ^ (h >> np.uint64(29))) & np.uint64(slots - 1))


@njit(cache=True, nogil=True)
def _larger(array, size):
    grown = np.empty(size, array.dtype)
    grown[: array.size] = array
    return grown


@njit(cache=True, nogil=True)
def seams(data, starts):
    """Where valid UTF-8 texts can be cut without changing their words: before a single space between two other characters.

    Args:
        data: the bytes of D texts, uint8.
        starts: where each begins, and the end, int64 (D + 1,).
    Returns: the cuts with all of `starts`, int64 (C,), ascending.
    """
    cuts, n = np.empty(data.size + starts.size, np.int64), 0
    for document in range(starts.size - 1):
        begin, end = starts[document], starts[document + 1]
        cuts[n] = begin
        n += 1
        for i in range(begin + 1, end - 1):
            if data[i] == 0x20 and not _blank_before(data, begin, i) and not _blank_at(data, i + 1, end):
                cuts[n] = i
                n += 1
    cuts[n] = starts[-1]
    return cuts[: n + 1].copy()


@njit(cache=True, nogil=True)
def between_seams(data, starts):
    """Which pieces begin with a single space, go on with another character and end with one: bool (C - 1,).

    Pieces of this kind, one after the other, meet in seams, whatever texts they are from.
    """
    found = np.zeros(starts.size - 1, np.bool_)
    for piece in range(found.size):
        begin, end = starts[piece], starts[piece + 1]
        found[piece] = (
            end > begin + 1
            and data[begin] == 0x20
            and not _blank_at(data, begin + 1, end)
            and not _blank_before(data, begin, end)
        )
    return found


@njit(cache=True, nogil=True)
def _blank_at(data, i, end):
    """Whether a character begins at byte `i` that is white space or a control."""
    byte = data[i]
    if byte < 0x80:
        return byte <= 0x20 or byte == 0x7F
    second = data[i + 1] if i + 1 < end else 0
    # U+0080 to U+00A0, U+1680, U+2000 to U+207F, U+3000, with some neighbours: to leave a cut out is no fault.
    if byte == 0xC2:
        return second <= 0xA0
    return (byte == 0xE1 and second == 0x9A) or (byte == 0xE2 and second <= 0x81) or (byte == 0xE3 and second == 0x80)


@njit(cache=True, nogil=True)
def _blank_before(data, begin, i):
    """Whether the character that ends before byte `i` is white space or a control."""
    at = i - 1
    while at > begin and data[at] & 0xC0 == 0x80:
        at -= 1
    return _blank_at(data, at, i)
