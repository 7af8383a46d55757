"""Bytes → id inside compiled loops: a hash table over the flat buffer of a vocabulary.

Tokens are found by a polynomial hash modulo 2^64: the hash of a tail follows from those of the whole and of the head,
so a token of L bytes costs L steps, not L^2. Equal hashes are always checked byte by byte.
"""

import numpy as np
from numba import njit

from .errors import VocabularyError
from .seeds import MIX_1
from .vocabulary import Kind, Vocabulary

__all__ = ["BASE", "byte_index", "extend", "find"]

BASE = np.uint64(0x100000001B3)


def byte_index(vocab: Vocabulary) -> np.ndarray:
    """The hash table of the ordinary tokens of `vocab`, int32 of a power of two slots, -1 where empty.

    Where a normal and a byte token share their bytes, the normal one is found.

    Raises: VocabularyError: two normal tokens have the same bytes, so that the way back is ambiguous.
    """
    order = np.argsort(vocab.kinds, kind="stable")
    order = order[vocab.kinds[order] <= Kind.BYTE].astype(np.int32)
    slots = np.full(1 << max(4, int(order.size * 2).bit_length()), -1, np.int32)
    first, second = _enter(vocab.buffer, vocab.offsets, vocab.kinds, order, slots)
    if first >= 0:
        raise VocabularyError(
            f"ids {first} and {second} both stand for {vocab[int(first)]!r}; give one of them another token or mark it unused"
        )
    return slots


@njit(cache=True, nogil=True)
def extend(h, byte):
    """The hash of some bytes and one more."""
    return h * BASE + np.uint64(byte) + np.uint64(1)


@njit(cache=True, nogil=True)
def _slot(h, slots):
    h = (h ^ (h >> np.uint64(32))) * MIX_1
    return np.int64((h ^ (h >> np.uint64(29))) & np.uint64(slots.size - 1))


@njit(cache=True, nogil=True)
def find(buffer, offsets, slots, h, begin, length):
    """The id of `buffer[begin : begin + length]` whose hash is `h`, or -1; and the slot where the search ended."""
    at = _slot(h, slots)
    while slots[at] >= 0:
        token = slots[at]
        start = offsets[token]
        if offsets[token + 1] - start == length:
            k = 0
            while k < length and buffer[start + k] == buffer[begin + k]:
                k += 1
            if k == length:
                return token, at
        at = (at + 1) & (slots.size - 1)
    return np.int32(-1), at


@njit(cache=True, nogil=True)
def _enter(buffer, offsets, kinds, order, slots):
    """Put the tokens of `order` in the hash table; returns two normal ones with the same bytes, or (-1, -1)."""
    for token in order:
        h = np.uint64(0)
        for k in range(offsets[token], offsets[token + 1]):
            h = extend(h, buffer[k])
        found, at = find(buffer, offsets, slots, h, offsets[token], offsets[token + 1] - offsets[token])
        if found < 0:
            slots[at] = token
        elif kinds[token] == 0:
            return found, token
    return np.int32(-1), np.int32(-1)
