"""The ways through a text: longest chunks, or the better of two paths.

Texts are UTF-8, one after the other; C chunks are numbered by rank and found in a tree of their bytes (`core.trie`).
"""
# T tokens

import numpy as np
from numba import njit

from ....core.trie import child

__all__ = ["RULES", "encode"]

RULES = ("two-path", "reference", "longest")
_LONGEST, _REFERENCE = RULES.index("longest"), RULES.index("reference")


@njit(cache=True, nogil=True)
def encode(data, starts, table, chunk_of, lengths, ids, rule):
    """Ids of texts, int32 (T,), and where each begins, int64 (texts + 1,)."""
    longest = 0
    for text in range(starts.size - 1):
        longest = max(longest, starts[text + 1] - starts[text])
    out, out_starts = np.empty(data.size, np.int32), np.zeros(starts.size, np.int64)
    one, two = np.empty(longest, np.int32), np.empty(longest, np.int32)  # the chunks of both paths, -1 for a character
    n = 0
    for text in range(starts.size - 1):
        at, end = starts[text], starts[text + 1]
        while at < end:
            small, c = _match_two(data, at, end, table, chunk_of)
            if small < 0 or rule == _LONGEST:
                # The reference gives a chunk without a second one no chance, unless it is one character.
                if c >= 0 and (rule != _REFERENCE or lengths[c] == _width(data[at])):
                    out[n] = ids[c]
                    n, at = n + 1, at + lengths[c]
                else:
                    width = _width(data[at])
                    for k in range(at, at + width):
                        out[n] = data[k]
                        n += 1
                    at += width
                continue
            one[0], one_size, one_end, one_ranks = c, 1, at + lengths[c], np.int64(c)
            two[0], two_size, two_end, two_ranks = small, 1, at + lengths[small], np.int64(small)
            while one_end != two_end:
                if one_end > two_end:
                    step, two_end = _step(data, two_end, end, table, chunk_of, lengths)
                    two[two_size] = step
                    two_size, two_ranks = two_size + 1, two_ranks + max(0, step)
                else:
                    step, one_end = _step(data, one_end, end, table, chunk_of, lengths)
                    one[one_size] = step
                    one_size, one_ranks = one_size + 1, one_ranks + max(0, step)
            path, size = one, one_size
            if one_size > two_size or (one_size == two_size and one_ranks > two_ranks):
                path, size = two, two_size
            for p in range(size):
                if path[p] >= 0:
                    out[n] = ids[path[p]]
                    n, at = n + 1, at + lengths[path[p]]
                else:
                    width = _width(data[at])
                    for k in range(at, at + width):
                        out[n] = data[k]
                        n += 1
                    at += width
        out_starts[text + 1] = n
    return out[:n].copy(), out_starts


@njit(cache=True, nogil=True)
def _match_two(data, at, end, table, chunk_of):
    """The second longest and the longest chunk that begin at `at`, -1 where there is none."""
    small, c, node = np.int32(-1), np.int32(-1), np.int64(0)
    while at < end:
        node = child(table, node, data[at])
        if node < 0:
            break
        if chunk_of[node] >= 0:
            small, c = c, chunk_of[node]
        at += 1
    return small, c


@njit(cache=True, nogil=True)
def _step(data, at, end, table, chunk_of, lengths):
    """The longest chunk that begins at `at`, -1 for a character that is none; and where it ends."""
    _, c = _match_two(data, at, end, table, chunk_of)
    return c, at + (lengths[c] if c >= 0 else _width(data[at]))


@njit(cache=True, nogil=True)
def _width(byte):
    """Bytes of the character that begins with `byte`."""
    return 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
