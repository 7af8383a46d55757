"""Encode by byte-pair merges in linear time, without making a single merge.

A sequence of tokens is the one that byte-pair encoding makes if and only if each two neighbours by themselves would be
encoded as these two. So tokens are tried from the longest that matches downwards, each held against its neighbour; where
none fits, the last token is taken back. A place from which there was no way on is not visited again, hence linear time.
"""
# U units, P pieces, M merges, V = alphabet + M ids

import numpy as np
from numba import njit

from .errors import VocabularyError
from .pair_merging import check_merges, look, merge_pieces, pair_table, slot_of

__all__ = ["PairEncoder"]


class PairEncoder:
    """An encoder for merges of which each makes another token; ids 0 … alphabet - 1 are units, then one per merge.

    Args:
        merges: int (M, 2), in order.
        alphabet: units, >= 1.
    Raises: VocabularyError: merges that do not chain or come twice, or do not make one of their tokens out of its units, as
        happens in lists that were not learnt by byte-pair encoding; only making the merges one by one is exact then.

    >>> encoder = PairEncoder(np.array([[0, 1], [3, 2]]), 3)
    >>> ids, starts = encoder(np.array([0, 1, 2, 0, 1], np.int32), np.array([0, 5]))
    >>> ids.tolist(), starts.tolist()
    ([4, 3], [0, 2])
    """

    def __init__(self, merges: np.ndarray, alphabet: int) -> None:
        made = check_merges(merges, alphabet)
        keys, values = pair_table(made, alphabet + np.arange(len(made)))
        parts = np.full((alphabet + len(made), 2), -1, np.int32)
        parts[alphabet:] = made
        units, starts = _spell(parts, alphabet)
        ids, edges = merge_pieces(units, starts, keys, values)
        if (wrong := np.flatnonzero(np.diff(edges) != 1)).size or (
            wrong := np.flatnonzero(ids != np.arange(len(parts)))
        ).size:
            raise VocabularyError(f"the merges do not make id {wrong[0]} out of its units")
        links, nodes, token_of = _trie(units, starts)
        self._arrays = keys, values, parts, links, nodes, token_of, _prefixes(units, starts, links, nodes, token_of)
        self._lengths = np.diff(starts)

    def __call__(self, units: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode each piece by itself, to the ids of `merge_pieces`.

        Args:
            units: int32 (U,), 0 … alphabet - 1.
            starts: where each piece begins, and the end, int64 (P + 1,).
        Returns: ids int32, and where each piece begins among them, int64 (P + 1,).
        """
        return _encode(units, starts, self._lengths, *self._arrays)


@njit(cache=True, nogil=True)
def _spell(parts, alphabet):
    """The units of each id one after the other, int32, and where each id begins, int64 (V + 1,)."""
    lengths = np.ones(parts.shape[0], np.int64)
    for token in range(alphabet, parts.shape[0]):
        lengths[token] = lengths[parts[token, 0]] + lengths[parts[token, 1]]
    starts = np.zeros(parts.shape[0] + 1, np.int64)
    starts[1:] = np.cumsum(lengths)
    units = np.empty(starts[-1], np.int32)
    for token in range(parts.shape[0]):
        at = starts[token]
        if token < alphabet:
            units[at] = token
            continue
        for part in parts[token]:
            units[at : at + lengths[part]] = units[starts[part] : starts[part + 1]]
            at += lengths[part]
    return units, starts


@njit(cache=True, nogil=True)
def _step(links, nodes, node, unit):
    """The node of a trie behind `node` along `unit`, or -1; and the slot where the search ended. The root is 0."""
    key = np.int64(node) << 32 | np.int64(unit)
    at = slot_of(key, links.size)
    while links[at] >= 0:
        if links[at] == key:
            return nodes[at], at
        at = (at + 1) & (links.size - 1)
    return np.int32(-1), at


@njit(cache=True, nogil=True)
def _trie(units, starts):
    """Links (node << 32 | unit) and the nodes they lead to, by hash; and the id that ends at each node, or -1."""
    slots = 16
    while slots < 2 * units.size + 2:
        slots *= 2
    links, nodes = np.full(slots, -1, np.int64), np.empty(slots, np.int32)
    token_of, size = np.full(units.size + 1, -1, np.int32), 1
    for token in range(starts.size - 1):
        node = np.int32(0)
        for k in range(starts[token], starts[token + 1]):
            behind, at = _step(links, nodes, node, units[k])
            if behind < 0:
                behind = np.int32(size)
                links[at], nodes[at] = np.int64(node) << 32 | np.int64(units[k]), behind
                size += 1
            node = behind
        token_of[node] = token
    return links, nodes, token_of[:size].copy()


@njit(cache=True, nogil=True)
def _prefixes(units, starts, links, nodes, token_of):
    """The longest other id with which each id begins, or -1: int32 (V,)."""
    prefixes = np.full(starts.size - 1, -1, np.int32)
    for token in range(starts.size - 1):
        node = np.int32(0)
        for k in range(starts[token], starts[token + 1] - 1):
            node = _step(links, nodes, node, units[k])[0]
            if token_of[node] >= 0:
                prefixes[token] = token_of[node]
    return prefixes


@njit(cache=True, nogil=True)
def _joined(left, right, keys, values):
    """The id that merging the two makes, or -1."""
    at = look(left, right, keys)
    return values[at, 1] if at >= 0 else np.int32(-1)


@njit(cache=True, nogil=True)
def _neighbours(left, right, keys, values, parts):
    """Whether the units of two ids together are encoded as these two.

    The merges that made them are undone, the latest first. If at some time the two parts at the seam could have been merged
    earlier than what was just undone, they would have been; at equal rank the leftmost pair comes first.
    """
    before = np.int64(parts.shape[0])
    while True:
        joined = _joined(left, right, keys, values)
        if 0 <= joined < before:
            return False
        if left > right:
            if parts[left, 0] < 0:
                return True
            before, left = np.int64(left), parts[left, 1]
        else:
            if parts[right, 0] < 0:
                return True
            before, right = np.int64(right) + 1, parts[right, 0]


@njit(cache=True, nogil=True)
def _encode(units, starts, lengths, keys, values, parts, links, nodes, token_of, prefixes):
    out, n = np.empty(units.size, np.int32), 0
    edges = np.zeros(starts.size, np.int64)
    blocked = np.zeros(units.size + 1, np.bool_)  # nothing goes on from here
    for piece in range(starts.size - 1):
        begin, end, first = starts[piece], starts[piece + 1], n
        blocked[end] = False  # the piece before may have marked its beginning, never its end
        at, token = begin, np.int32(-1)
        while at < end:
            if token < 0:
                node, k = np.int32(0), at
                while k < end:
                    node = _step(links, nodes, node, units[k])[0]
                    if node < 0:
                        break
                    if token_of[node] >= 0:
                        token = token_of[node]
                    k += 1
            behind = at + lengths[token]
            if not blocked[behind] and (n == first or _neighbours(out[n - 1], token, keys, values, parts)):
                out[n] = token
                n, at, token = n + 1, behind, np.int32(-1)
            elif prefixes[token] >= 0:
                token = prefixes[token]
            else:
                blocked[at] = True
                n -= 1
                token = out[n]
                at -= lengths[token]
        edges[piece + 1] = n
    return out[:n].copy(), edges
