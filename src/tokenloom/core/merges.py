"""Byte-level BPE: the words inside which it merges, and the merge that makes each token, from the vocabulary alone."""

import numpy as np
from numba import njit

from .byte_index import BASE, byte_index, extend, find
from .errors import VocabularyError
from .vocabulary import Kind, Vocabulary

__all__ = ["GPT2_PATTERN", "merges_of"]

# The words of GPT-2: contractions, and letters, digits and signs each with at most one space before them.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def merges_of(vocab: Vocabulary) -> np.ndarray:
    """The two tokens that merging joins into each token, where a lower id means an earlier merge.

    BPE on the bytes of a token, with only the tokens of lower id, ends in exactly the pair that it was merged from.

    Args:
        vocab: a byte-level BPE vocabulary: all 256 single bytes, then merges by rising id.
    Returns: int32 (V, 2), left and right; (-1, -1) for single bytes, special and unused ids.
    Raises: VocabularyError: a single byte is missing, or a token does not end in two parts (no BPE vocabulary).

    >>> vocab = Vocabulary([bytes([i]) for i in range(256)] + [b"an", b"ban", b"anan", b"banan"])
    >>> merges_of(vocab)[256:].tolist()
    [[97, 110], [98, 256], [256, 256], [257, 256]]
    """
    single = (vocab.lengths == 1) & (vocab.kinds <= Kind.BYTE)
    missing = np.setdiff1d(np.arange(256), vocab.buffer[vocab.offsets[:-1][single]])
    if missing.size:
        raise VocabularyError(f"byte 0x{missing[0]:02x} is no token; a byte-level BPE vocabulary has all 256")
    merges, bad = _merges(vocab.buffer, vocab.offsets, vocab.kinds, byte_index(vocab))
    if bad >= 0:
        raise VocabularyError(
            f"id {bad} ({vocab[int(bad)]!r}) is not the merge of two earlier ids; this is no BPE vocabulary by rising id"
        )
    return merges


@njit(cache=True, nogil=True)
def _merges(buffer, offsets, kinds, slots):
    n = offsets.size - 1
    merges = np.full((n, 2), -1, np.int32)
    longest = 1
    for token in range(n):
        longest = max(longest, offsets[token + 1] - offsets[token])
    power, head = np.ones(longest + 1, np.uint64), np.zeros(longest + 1, np.uint64)
    for k in range(longest):
        power[k + 1] = power[k] * BASE
    ends, joined = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    for token in range(n):
        begin, length = offsets[token], offsets[token + 1] - offsets[token]
        if kinds[token] != Kind.NORMAL or length < 2:
            continue
        for k in range(length):
            head[k + 1] = extend(head[k], buffer[begin + k])
        # Part k is the bytes ends[k] … ends[k + 1]; joined[k] the rank of parts k and k + 1 together.
        parts = length
        for k in range(parts + 1):
            ends[k] = k
        for k in range(parts - 1):
            joined[k] = _rank(buffer, offsets, slots, head, power, begin, k, k + 2)
        while parts > 2:
            best = -1
            for k in range(parts - 1):
                if 0 <= joined[k] < token and (best < 0 or joined[k] < joined[best]):
                    best = k
            if best < 0:
                return merges, token
            parts -= 1
            for k in range(best + 1, parts + 1):
                ends[k] = ends[k + 1]
            for k in range(best + 1, parts - 1):
                joined[k] = joined[k + 1]
            for k in range(max(0, best - 1), min(best + 1, parts - 1)):
                joined[k] = _rank(buffer, offsets, slots, head, power, begin, ends[k], ends[k + 2])
        merges[token, 0] = _rank(buffer, offsets, slots, head, power, begin, 0, ends[1])
        merges[token, 1] = _rank(buffer, offsets, slots, head, power, begin, ends[1], length)
    return merges, -1


@njit(cache=True, nogil=True)
def _rank(buffer, offsets, slots, head, power, begin, low, high):
    """The id of bytes `low` to `high` of the token at `begin`, or -1; `head` are the hashes of its beginnings."""
    length = high - low
    return find(buffer, offsets, slots, head[high] - head[low] * power[length], begin + low, length)[0]
