"""A growing tree of strings of whole numbers (bytes, characters): which of many stored strings begin here?

A node is a string that was stored, or the beginning of one; node 0 is the empty string. The way from a node to the next is
looked up in one hash table, so that an alphabet of any size costs nothing and a step is one memory access.
"""
# S slots, N nodes

import numpy as np
from numba import njit

from .seeds import MIX_1

__all__ = ["child", "empty_table", "enter", "trie_of"]


def empty_table(nodes: int) -> np.ndarray:
    """A table with room for so many nodes: int64 (S, 2), rows of key and node, key -1 where empty."""
    return np.full((1 << max(4, (2 * nodes).bit_length()), 2), -1, np.int64)


@njit(cache=True, nogil=True)
def child(table, node, unit):
    """The node of the string of `node` and one more `unit`, -1 where there is none."""
    return table[_slot(table, node, unit), 1]


@njit(cache=True, nogil=True)
def enter(table, node, unit, new):
    """Make `new` the node of the string of `node` and one more `unit`, which must not have one yet."""
    at = _slot(table, node, unit)
    table[at, 0], table[at, 1] = (np.int64(node) << 32) | np.int64(unit), new


@njit(cache=True, nogil=True)
def _slot(table, node, unit):
    """Where the key lies, or the empty slot where it would."""
    key = (np.int64(node) << 32) | np.int64(unit)
    h = np.uint64(key) * MIX_1
    at = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(table.shape[0] - 1))
    while table[at, 0] != key and table[at, 0] >= 0:
        at = (at + 1) & (table.shape[0] - 1)
    return at


def trie_of(units: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tree of K different strings.

    Args:
        units: of all strings one after the other, whole numbers 0 … 2^31 - 1, (U,).
        starts: where each begins, and the end: int64 (K + 1,).
    Returns: the table, and the string that each node is, int32 (N,), -1 for a mere beginning.

    >>> table, string_of = trie_of(np.frombuffer(b"anant", np.uint8), np.array([0, 2, 5]))  # b"an" and b"ant"
    >>> at = child(table, child(table, 0, ord("a")), ord("n"))
    >>> int(string_of[at]), int(child(table, at, ord("x")))
    (0, -1)
    """
    string_of = np.full(units.size + 1, -1, np.int32)
    table = empty_table(string_of.size)
    return table, string_of[: _fill(table, string_of, units, starts)].copy()


@njit(cache=True, nogil=True)
def _fill(table, string_of, units, starts):
    size = 1
    for string in range(starts.size - 1):
        node = np.int64(0)
        for k in range(starts[string], starts[string + 1]):
            below = child(table, node, units[k])
            if below < 0:
                below = np.int64(size)
                enter(table, node, units[k], below)
                size += 1
            node = below
        string_of[node] = string
    return size
