"""Which token may follow which: two tokens stand side by side only if merging what they are made of never joins them.

Byte-pair encoding keeps taking the best pair. Inside a token it does so in an order that no neighbour changes, for at a
border that stays nothing is merged. So a sequence of tokens is the one that is encoded if and only if each two neighbours by
themselves are; and of two, only the symbols at the border matter, and when they change. The order of the merges may be any,
as in files that SentencePiece's scores were turned into.
"""
# V ids, M merges, E merges inside all tokens together

import numpy as np
from numba import njit

from .pair_merging import look, pair_table

__all__ = ["MergeHistories"]

_NEVER = np.int64(1) << 40


class MergeHistories:
    """How each id comes about, merge by merge.

    Args:
        merges: pairs of ids, the earliest first, int (M, 2); no pair twice.
        results: the id that each becomes, int (M,).
        units: ids that a text consists of before merging, those of each id one after the other: int32.
        starts: where the units of each id begin, and the end: int64 (V + 1,); ids that no text produces have none.

    >>> histories = MergeHistories(np.array([[0, 1], [2, 0]]), np.array([2, 3]), np.array([0, 1, 0, 1, 0, 1, 0]), np.array([0, 1, 2, 4, 7]))
    >>> histories.follows(0).tolist()  # "a" before "a", "b" (merged to "ab"), "ab", "aba"
    [True, False, True, True]
    """

    reached: np.ndarray

    def __init__(self, merges: np.ndarray, results: np.ndarray, units: np.ndarray, starts: np.ndarray) -> None:
        keys, values = pair_table(merges, results)
        pairs = np.asarray(merges, np.int32).reshape(-1, 2)
        order = np.argsort(pairs[:, 0], kind="stable")
        heads = np.searchsorted(pairs[order, 0], np.arange(len(starts)))
        units, starts = np.ascontiguousarray(units, np.int32), np.ascontiguousarray(starts, np.int64)
        self.reached, *history = _histories(units, starts, keys, values)
        self._arrays = (keys, values, np.ascontiguousarray(pairs[order, 1]), heads, units, starts, *history)

    def follows(self, token: int) -> np.ndarray:
        """The ids that stay apart from `token` when they come after it: bool (V,); False for those that are never encoded."""
        return _follows(token, self.reached, *self._arrays)


@njit(cache=True, nogil=True)
def _rank(left, right, keys, values):
    """When the pair is merged, and into what; never for a pair that is not."""
    at = look(left, right, keys)
    return (np.int64(values[at, 0]), values[at, 1]) if at >= 0 else (_NEVER, np.int32(-1))


@njit(cache=True, nogil=True)
def _histories(units, starts, keys, values):
    """Whether each id is what its units are encoded as, bool (V,); and of each merge on the way its rank and the first and
    the last symbol after it, (E,), with where the merges of each id begin, (V + 1,)."""
    n = starts.size - 1
    reached = np.zeros(n, np.bool_)
    ranks, firsts, lasts = (
        np.empty(units.size, np.int64),
        np.empty(units.size, np.int32),
        np.empty(units.size, np.int32),
    )
    begins, size = np.zeros(n + 1, np.int64), 0
    for token in range(n):
        symbols = units[starts[token] : starts[token + 1]].copy()
        parts = symbols.size
        while parts > 1:
            best, where, made = _NEVER, 0, np.int32(-1)
            for k in range(parts - 1):
                rank, into = _rank(symbols[k], symbols[k + 1], keys, values)
                if rank < best:
                    best, where, made = rank, k, into
            if best == _NEVER:
                break
            symbols[where] = made
            parts -= 1
            symbols[where + 1 : parts] = symbols[where + 2 : parts + 1].copy()
            ranks[size], firsts[size], lasts[size] = best, symbols[0], symbols[parts - 1]
            size += 1
        reached[token] = parts == 1 and symbols[0] == token
        begins[token + 1] = size
    return reached, ranks[:size].copy(), firsts[:size].copy(), lasts[:size].copy(), begins


@njit(cache=True, nogil=True)
def _follows(left, reached, keys, values, rights, heads, units, starts, ranks, firsts, lasts, begins):
    apart = np.zeros(reached.size, np.bool_)
    if not reached[left]:
        return apart
    # The symbols that are merged with some last symbol of the left token: most right tokens never begin with one.
    merged = np.zeros(reached.size, np.bool_)
    for i in range(begins[left] - 1, begins[left + 1]):
        a = units[starts[left + 1] - 1] if i < begins[left] else lasts[i]
        merged[rights[heads[a] : heads[a + 1]]] = True
    for right in range(reached.size):
        if not reached[right]:
            continue
        some = merged[units[starts[right]]]
        for j in range(begins[right], begins[right + 1]):
            some |= merged[firsts[j]]
        if not some:
            apart[right] = True
            continue
        i, j = begins[left], begins[right]
        a, b = units[starts[left + 1] - 1], units[starts[right]]
        border, _ = _rank(a, b, keys, values)
        while True:
            before = ranks[i] if i < begins[left + 1] else _NEVER
            behind = ranks[j] if j < begins[right + 1] else _NEVER
            # Of equal ranks the leftmost pair is merged first: in the left token, at the border, in the right one.
            if border < before and border <= behind and border < _NEVER:
                break
            if before == _NEVER and behind == _NEVER:
                apart[right] = True
                break
            if before <= behind:
                changed, a = lasts[i] != a, lasts[i]
                i += 1
            else:
                changed, b = firsts[j] != b, firsts[j]
                j += 1
            if changed:
                border, _ = _rank(a, b, keys, values)
    return apart
