"""Pairs of neighbours, where they stand, and what a merge does to them.

A pair with a new symbol in it may be there already, for a symbol is what it spells. So counts rise as well as fall, and what
is known of a pair is an upper bound until it is counted again.
"""
# N places

import numpy as np
from numba import njit

from ....core.trie import child, enter

__all__ = ["begin", "join", "recount"]

# A pair: its symbols, the last of its places, how many places it has, and the first; some may be lost.
_LEFT, _RIGHT, _LAST, _COUNT, _FIRST = range(5)


@njit(cache=True, nogil=True)
def begin(symbols, starts, table):
    """Neighbours of each place, the table of pairs, the pairs, the places of all pairs in chains, and how many there are."""
    n = symbols.size
    following, before = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    # N - 1 neighbours at first, and each of at most N - 1 joins makes two more.
    pairs, chains = np.zeros((3 * n, 5), np.int64), np.empty((3 * n, 2), np.int32)
    sizes, stamp = np.zeros(3, np.int64), np.zeros(n, np.int64)
    for sequence in range(starts.size - 1):
        for i in range(starts[sequence], starts[sequence + 1] - 1):
            following[i], before[i + 1] = i + 1, i
            _add(symbols[i], symbols[i + 1], i, table, pairs, chains, sizes)
    return following, before, stamp, table, pairs, chains, sizes


@njit(cache=True, nogil=True)
def _add(left, right, place, table, pairs, chains, sizes):
    """Note a place of a pair; returns the pair."""
    row = child(table, left, right)
    if row < 0:
        row = sizes[0]
        enter(table, left, right, row)
        pairs[row, _LEFT], pairs[row, _RIGHT], pairs[row, _LAST], pairs[row, _FIRST] = left, right, -1, place
        sizes[0] += 1
    chains[sizes[1], 0], chains[sizes[1], 1] = place, pairs[row, _LAST]
    pairs[row, _LAST] = sizes[1]
    sizes[1] += 1
    pairs[row, _FIRST] = min(pairs[row, _FIRST], place) if pairs[row, _COUNT] else place
    pairs[row, _COUNT] += 1
    return row


@njit(cache=True, nogil=True)
def recount(symbols, row, following, before, stamp, table, pairs, chains, sizes):
    """How often a pair still occurs, and where first; lost places are taken out of its chain."""
    left, right = pairs[row, _LEFT], pairs[row, _RIGHT]
    count, first, kept = 0, np.int64(symbols.size), -1
    at = pairs[row, _LAST]
    pairs[row, _LAST] = -1
    while at >= 0:
        place, below = chains[at]
        if symbols[place] == left and following[place] >= 0 and symbols[following[place]] == right:
            if kept < 0:
                pairs[row, _LAST] = at
            else:
                chains[kept, 1] = at
            kept = at
            count += 1
            first = min(first, np.int64(place))
        at = below
    if kept >= 0:
        chains[kept, 1] = -1
    pairs[row, _COUNT], pairs[row, _FIRST] = count, first
    return count, first


@njit(cache=True, nogil=True)
def join(symbols, row, new, following, before, stamp, table, pairs, chains, sizes):
    """Make one symbol of a pair everywhere; returns how often, and the pairs that occur more often now."""
    left, right = pairs[row, _LEFT], pairs[row, _RIGHT]
    places = np.empty(pairs[row, _COUNT], np.int32)
    at, k = pairs[row, _LAST], 0
    while at >= 0:
        places[k] = chains[at, 0]
        at, k = chains[at, 1], k + 1
    places.sort()
    sizes[2] += 1
    made = 0
    for i in places:
        j = following[i]
        if symbols[i] != left or j < 0 or symbols[j] != right:
            continue  # the pair before overlapped with it
        symbols[i], symbols[j] = new, -1
        following[i] = following[j]
        if following[i] >= 0:
            before[following[i]] = i
        stamp[i] = sizes[2]
        places[made] = i
        made += 1
    changed, k = np.empty(2 * made, np.int64), 0
    for i in places[:made]:
        if before[i] >= 0:
            changed[k] = _add(symbols[before[i]], symbols[i], before[i], table, pairs, chains, sizes)
            k += 1
        # If what follows was made just now, the pair is noted from there.
        if following[i] >= 0 and stamp[following[i]] != sizes[2]:
            changed[k] = _add(symbols[i], symbols[following[i]], i, table, pairs, chains, sizes)
            k += 1
    return made, changed[:k]
