"""Learn byte-pair merges over flat arrays: the most frequent pair becomes a symbol, again and again.

A pair with a new symbol in it can arise only in the merge that makes this symbol. So all places of a pair are known at that
moment and lie in one stretch, its count only falls afterwards, and a heap whose counts are checked when they come up is
exact. A merge costs the places of its pair and the different neighbours of the new symbol; nothing is counted twice.
"""
# U symbols at first, P pieces, K pairs, V ids, M merges

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from .pair_merging import slot_of
from .splitmix import draw, unit

__all__ = ["NO_VETO", "Veto", "learn_pairs"]

# Merges between two reports of progress.
_STEPS = 256


@dataclass(frozen=True)
class Veto:
    """Merges that are never made, told as data to the compiled loop.

    Args:
        max_length: units of a symbol at most; None for no limit.
        space: the unit that parts words, -1 for none.
        max_words: non-empty parts of a symbol split at `space`, at most; None for no limit.
        apart: pairs of units that are never neighbours inside a learnt symbol.
        dropout: probability that a merge whose right part begins with `space` is dropped for good when its turn comes.
        seed: of the dropout.
    """

    max_length: int | None = None
    space: int = -1
    max_words: int | None = None
    apart: tuple[tuple[int, int], ...] = ()
    dropout: float = 0.0
    seed: int = 0


NO_VETO = Veto()


def learn_pairs(
    symbols: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    made: np.ndarray,
    alphabet: int,
    limit: int,
    *,
    min_frequency: int = 1,
    veto: Veto = NO_VETO,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Up to `limit` further merges, each of the pair with the largest count; of equals the smaller (left, right).

    Args:
        symbols: int32 (U,), U < 2^31, those of all pieces one after the other; written over.
        starts: where each piece begins, and the end, int64 (P + 1,).
        counts: how often each piece occurs, int64 (P,), >= 1.
        made: the merges by which `symbols` were made, int32 (M, 2): ids 0 … alphabet - 1 are units, then one per merge.
        alphabet: units.
        limit: merges to learn.
        min_frequency: of a pair, >= 1.
        veto: what is not merged.
        progress: called with the number of merges learnt, now and then.
    Returns: the learnt merges, int32 (up to `limit`, 2); fewer where no pair is left.
    """
    first, apart, space = alphabet + len(made), np.array(veto.apart, np.int32).reshape(-1, 2), veto.space
    most = np.iinfo(np.int64).max
    bounds = np.array([most if bound is None else bound for bound in (veto.max_length, veto.max_words)], np.int64)
    traits = _traits(np.asarray(made, np.int32).reshape(-1, 2), alphabet, first + limit, space, apart)
    state = _begin(symbols, starts, counts, min_frequency, traits, bounds, space, apart)
    merges, random, done = np.empty((limit, 2), np.int32), veto.seed, 0
    near = np.empty((2 * (first + limit), 4), np.int64), np.full((first + limit, 2), -1, np.int32)
    while done < limit:
        stop = min(limit, done + _STEPS)
        # As an unsigned number: it comes back as a plain one.
        chance = veto.dropout, np.uint64(random)
        state, random, now = _learn(
            state, near, merges, done, stop, first, min_frequency, traits, bounds, space, apart, *chance
        )
        if progress is not None:
            progress(now)
        if now < stop:
            return merges[:now].copy()
        done = now
    return merges


# A pair: its symbols, how often they are neighbours, and the stretch of `places` with the positions of the left one.
_LEFT, _RIGHT, _COUNT, _BEGIN, _END = range(5)


@njit(cache=True, nogil=True)
def _begin(symbols, starts, counts, min_frequency, traits, bounds, space, apart):
    n = symbols.size
    following, before = np.empty(n, np.int32), np.empty(n, np.int32)
    weight = np.empty(n, np.int64)
    for piece in range(starts.size - 1):
        for i in range(starts[piece], starts[piece + 1]):
            before[i] = i - 1 if i > starts[piece] else -1
            following[i] = i + 1 if i + 1 < starts[piece + 1] else -1
            weight[i] = counts[piece]
    keys, rows = np.full(1 << 17, -1, np.int64), np.empty(1 << 17, np.int32)
    pairs, size = np.zeros((1 << 16, 5), np.int64), 0
    row_of = np.empty(n, np.int32)
    for i in range(n):
        if following[i] < 0:
            continue
        left, right = symbols[i], symbols[following[i]]
        at = _slot(keys, left, right)
        if keys[at] < 0:
            if size == pairs.shape[0]:
                pairs, keys, rows = _more_pairs(pairs, keys)
                at = _slot(keys, left, right)
            keys[at], rows[at] = np.int64(left) << 32 | np.int64(right), size
            pairs[size, _LEFT], pairs[size, _RIGHT] = left, right
            size += 1
        row_of[i] = rows[at]
        pairs[rows[at], _COUNT] += weight[i]
        pairs[rows[at], _END] += 1
    used = 0
    heap, waiting = np.empty((1 << 16, 2), np.int64), 0
    for row in range(size):
        occurrences = pairs[row, _END]
        kept = pairs[row, _COUNT] >= min_frequency
        if kept and _allowed(traits, pairs[row, _LEFT], pairs[row, _RIGHT], space, bounds, apart):
            pairs[row, _BEGIN] = pairs[row, _END] = used
            used += occurrences
            heap, waiting = _push(heap, waiting, row, pairs)
        else:
            pairs[row, _BEGIN] = -1
    places = np.empty(used, np.int32)
    for i in range(n):
        if following[i] >= 0 and pairs[row_of[i], _BEGIN] >= 0:
            places[pairs[row_of[i], _END]] = i
            pairs[row_of[i], _END] += 1
    sizes = np.array([size, used, waiting])
    return symbols, following, before, weight, keys, rows, pairs, places, heap, sizes


@njit(cache=True, nogil=True)
def _learn(state, near, merges, done, stop, first, min_frequency, traits, bounds, space, apart, dropout, random):
    symbols, following, before, weight, keys, rows, pairs, places, heap, sizes = state
    size, used, waiting = sizes
    new_pairs, index_of = near
    while done < stop and waiting:
        row = heap[0, 1]
        left, right, count = pairs[row, _LEFT], pairs[row, _RIGHT], pairs[row, _COUNT]
        if heap[0, 0] != count:
            if count >= min_frequency:
                heap[0, 0] = count
                _sink(heap, waiting, pairs)
            else:
                waiting = _pop(heap, waiting, pairs)
            continue
        waiting = _pop(heap, waiting, pairs)
        if dropout > 0 and traits[right, _FIRST] == space:
            random, bits = draw(random)
            if unit(bits) < dropout:
                continue
        new = first + done
        merges[done, 0], merges[done, 1] = left, right
        _join(traits, left, right, new, space, apart)
        done += 1
        begin, end = pairs[row, _BEGIN], pairs[row, _BEGIN]
        for k in range(begin, pairs[row, _END]):
            i = places[k]
            j = following[i] if symbols[i] == left else -1
            if j < 0 or symbols[j] != right:
                continue  # one of the two has been merged since
            # A neighbour made in this very merge: the pair that it was in has been taken off already.
            if before[i] >= 0 and symbols[before[i]] != new:
                _less(pairs, keys, rows, symbols[before[i]], left, weight[i])
            after = following[j]
            if after >= 0:
                _less(pairs, keys, rows, right, symbols[after], weight[i])
                before[after] = i
            symbols[i], symbols[j], following[i] = new, -1, after
            places[end] = i
            end += 1
        # Which pairs the new symbol is in, how often and at how many places; then these places, in order.
        fresh = 0
        for k in range(begin, end):
            for side in range(2):
                i = before[places[k]] if side == 0 else places[k]
                neighbour = _neighbour(symbols, following, i, side, new)
                if neighbour < 0:
                    continue
                at = index_of[neighbour, side]
                if at < 0:
                    at = index_of[neighbour, side] = fresh
                    new_pairs[at, 0], new_pairs[at, 1], new_pairs[at, 2], new_pairs[at, 3] = neighbour, side, 0, 0
                    fresh += 1
                new_pairs[at, 2] += weight[i]
                new_pairs[at, 3] += 1
        for at in range(fresh):
            neighbour, side = new_pairs[at, 0], new_pairs[at, 1]
            left, right = (neighbour, new) if side == 0 else (new, neighbour)
            occurrences, new_pairs[at, 1] = new_pairs[at, 3], -1
            if new_pairs[at, 2] >= min_frequency and _allowed(traits, left, right, space, bounds, apart):
                if size == pairs.shape[0]:
                    pairs, keys, rows = _more_pairs(pairs, keys)
                if used + occurrences > places.size:
                    longer = np.empty(2 * (used + occurrences), np.int32)
                    longer[:used] = places[:used]
                    places = longer
                slot = _slot(keys, left, right)
                keys[slot], rows[slot] = np.int64(left) << 32 | np.int64(right), size
                pairs[size, _LEFT], pairs[size, _RIGHT], pairs[size, _COUNT] = left, right, new_pairs[at, 2]
                pairs[size, _BEGIN] = pairs[size, _END] = used
                new_pairs[at, 1] = size
                heap, waiting = _push(heap, waiting, size, pairs)
                used += occurrences
                size += 1
        for k in range(begin, end):
            for side in range(2):
                i = before[places[k]] if side == 0 else places[k]
                neighbour = _neighbour(symbols, following, i, side, new)
                if neighbour >= 0:
                    row = new_pairs[index_of[neighbour, side], 1]
                    if row >= 0:
                        places[pairs[row, _END]] = i
                        pairs[row, _END] += 1
        for k in range(begin, end):
            for side in range(2):
                i = before[places[k]] if side == 0 else places[k]
                neighbour = _neighbour(symbols, following, i, side, new)
                if neighbour >= 0:
                    index_of[neighbour, side] = -1
    sizes = np.array([size, used, waiting])
    return (symbols, following, before, weight, keys, rows, pairs, places, heap, sizes), random, done


@njit(cache=True, nogil=True)
def _neighbour(symbols, following, i, side, new):
    """What stands beside a new symbol in the pair that begins at place `i`; -1 for nothing.

    Side 0 is the pair with the symbol before, side 1 with the one behind; two new symbols are a pair of side 0 only.
    """
    if i < 0:
        return np.int32(-1)
    if side == 0:
        return symbols[i]
    if following[i] < 0 or symbols[following[i]] == new:
        return np.int32(-1)
    return symbols[following[i]]


# -- pairs by their symbols: open addressing ---------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _slot(keys, left, right):
    """The slot of a pair, or the empty one where it belongs."""
    key = np.int64(left) << 32 | np.int64(right)
    at = slot_of(key, keys.size)
    while keys[at] >= 0 and keys[at] != key:
        at = (at + 1) & (keys.size - 1)
    return at


@njit(cache=True, nogil=True)
def _less(pairs, keys, rows, left, right, weight):
    at = _slot(keys, left, right)
    if keys[at] >= 0:
        pairs[rows[at], _COUNT] -= weight


@njit(cache=True, nogil=True)
def _more_pairs(pairs, keys):
    """Room for twice as many pairs."""
    size = pairs.shape[0]
    grown = np.zeros((2 * size, 5), np.int64)
    grown[:size] = pairs
    keys, rows = np.full(2 * keys.size, -1, np.int64), np.empty(2 * keys.size, np.int32)
    for row in range(size):
        at = _slot(keys, grown[row, _LEFT], grown[row, _RIGHT])
        keys[at], rows[at] = grown[row, _LEFT] << 32 | grown[row, _RIGHT], row
    return grown, keys, rows


# -- a heap of pairs, the next to be merged on top: rows of the count when it came in, and the pair ------------------------


@njit(cache=True, nogil=True)
def _sooner(one_count, one, other_count, other, pairs):
    if one_count != other_count:
        return one_count > other_count
    if pairs[one, _LEFT] != pairs[other, _LEFT]:
        return pairs[one, _LEFT] < pairs[other, _LEFT]
    return pairs[one, _RIGHT] < pairs[other, _RIGHT]


@njit(cache=True, nogil=True)
def _push(heap, waiting, row, pairs):
    if waiting == heap.shape[0]:
        grown = np.empty((2 * waiting, 2), np.int64)
        grown[:waiting] = heap
        heap = grown
    at, count = waiting, pairs[row, _COUNT]
    while at:
        above = (at - 1) >> 1
        if not _sooner(count, row, heap[above, 0], heap[above, 1], pairs):
            break
        heap[at, 0], heap[at, 1] = heap[above, 0], heap[above, 1]
        at = above
    heap[at, 0], heap[at, 1] = count, row
    return heap, waiting + 1


@njit(cache=True, nogil=True)
def _pop(heap, waiting, pairs):
    waiting -= 1
    heap[0, 0], heap[0, 1] = heap[waiting, 0], heap[waiting, 1]
    _sink(heap, waiting, pairs)
    return waiting


@njit(cache=True, nogil=True)
def _sink(heap, waiting, pairs):
    """Put the top where it belongs."""
    at, count, row = 0, heap[0, 0], heap[0, 1]
    while 2 * at + 1 < waiting:
        below = 2 * at + 1
        if below + 1 < waiting and _sooner(
            heap[below + 1, 0], heap[below + 1, 1], heap[below, 0], heap[below, 1], pairs
        ):
            below += 1
        if not _sooner(heap[below, 0], heap[below, 1], count, row, pairs):
            break
        heap[at, 0], heap[at, 1] = heap[below, 0], heap[below, 1]
        at = below
    heap[at, 0], heap[at, 1] = count, row


# -- what a veto looks at: length, words, first and last unit, forbidden neighbours of each symbol, int32 (V, 5) -----------

_LENGTH, _WORDS, _FIRST, _LAST, _BAD = range(5)


@njit(cache=True, nogil=True)
def _traits(made, alphabet, top, space, apart):
    traits = np.zeros((top, 5), np.int32)
    for symbol in range(alphabet):
        traits[symbol, _LENGTH], traits[symbol, _WORDS] = 1, symbol != space
        traits[symbol, _FIRST], traits[symbol, _LAST] = symbol, symbol
    for k in range(made.shape[0]):
        _join(traits, made[k, 0], made[k, 1], alphabet + k, space, apart)
    return traits


@njit(cache=True, nogil=True)
def _words(traits, left, right, space):
    """Words of two symbols together; one that goes on across the seam counts once."""
    across = traits[left, _LAST] != space and traits[right, _FIRST] != space
    return traits[left, _WORDS] + traits[right, _WORDS] - across


@njit(cache=True, nogil=True)
def _bad(traits, left, right, apart):
    if traits[left, _BAD] or traits[right, _BAD]:
        return True
    for k in range(apart.shape[0]):
        if traits[left, _LAST] == apart[k, 0] and traits[right, _FIRST] == apart[k, 1]:
            return True
    return False


@njit(cache=True, nogil=True)
def _join(traits, left, right, symbol, space, apart):
    traits[symbol, _LENGTH] = traits[left, _LENGTH] + traits[right, _LENGTH]
    traits[symbol, _WORDS] = _words(traits, left, right, space)
    traits[symbol, _FIRST], traits[symbol, _LAST] = traits[left, _FIRST], traits[right, _LAST]
    traits[symbol, _BAD] = _bad(traits, left, right, apart)


@njit(cache=True, nogil=True)
def _allowed(traits, left, right, space, bounds, apart):
    return (
        traits[left, _LENGTH] + traits[right, _LENGTH] <= bounds[0]
        and _words(traits, left, right, space) <= bounds[1]
        and not _bad(traits, left, right, apart)
    )
