"""The rows of one table that are most like those of another, and weighted sums over them.

WECHSEL looks for like tokens in a space of word vectors, TokenAdapt in that of a sentence encoder; both weigh the nearest by
the softmax of their cosines.
"""
# N queries, O keys, D width, k neighbours

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from ..core.errors import InvalidInput, require

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["nearest", "nearest_rows", "normalised"]


def normalised(vectors_ND: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32 (N, D): u / (|u| + 1e-8); a row of zeros stays one."""
    vectors_ND = np.asarray(vectors_ND, np.float64)
    return (vectors_ND / (np.linalg.norm(vectors_ND, axis=1, keepdims=True) + 1e-8)).astype(np.float32)


def nearest(queries_ND: np.ndarray, keys_OD: np.ndarray, k: int, *, block: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """The `k` keys with the largest cosine to each query; of equals the lower ids.

    A product in float32 finds the candidates; they are ranked by sums in float64 of a fixed order, so that neither the block
    nor the threads of the product show in the result.

    Args:
        queries_ND, keys_OD: vectors of any length, finite, of the same width. The cosine of a row of zeros is 0.
        k: 1 … O.
        block: queries at a time; memory is 4 bytes × `block` × O.
    Returns: cosines, float32 (N, k), descending, and the ids of the keys, int64 (N, k).
    Raises: InvalidInput: `k` or `block` out of range, widths that differ or are 0, values that are not finite.

    >>> scores, ids = nearest(np.array([[2.0, 0.0]]), np.array([[0.0, 3.0], [1.0, 1.0], [5.0, 0.0]]), 2)
    >>> [[f"{score:.3f}" for score in row] for row in scores], ids.tolist()
    ([['1.000', '0.707']], [[2, 1]])
    """
    queries_ND, keys_OD = np.asarray(queries_ND), np.asarray(keys_OD)
    if queries_ND.ndim != 2 or keys_OD.ndim != 2 or queries_ND.shape[1] != keys_OD.shape[1] or not keys_OD.shape[1]:
        raise InvalidInput(f"queries are {queries_ND.shape} and keys {keys_OD.shape}; both need rows of one width >= 1")
    if not 1 <= k <= len(keys_OD):
        raise InvalidInput(f"k={k}, but there are {len(keys_OD)} keys; k must be 1 … {len(keys_OD)}")
    if block < 1:
        raise InvalidInput(f"block={block}; it must be >= 1")
    for name, values in (("queries", queries_ND), ("keys", keys_OD)):
        if not np.isfinite(values).all():
            raise InvalidInput(f"row {np.flatnonzero(~np.isfinite(values).all(1))[0]} of the {name} is not finite")
    queries_ND, keys_OD = normalised(queries_ND), normalised(keys_OD)
    scores_Nk = np.empty((len(queries_ND), k), np.float32)
    ids_Nk = np.empty((len(queries_ND), k), np.int64)
    # Two sums of D products of unit vectors differ by less than 2 D eps; whatever may be among the k is a candidate.
    slack = np.float32(4 * keys_OD.shape[1] * np.finfo(np.float32).eps)
    for at in range(0, len(queries_ND), block):
        some = slice(at, at + block)
        _rank(queries_ND[some] @ keys_OD.T, queries_ND[some], keys_OD, slack, scores_Nk[some], ids_Nk[some])
    return scores_Nk, ids_Nk


@njit(cache=True, nogil=True)
def _rank(rough_BO, queries_BD, keys_OD, slack, scores_Bk, ids_Bk):
    n, k = rough_BO.shape[1], scores_Bk.shape[1]
    heap = np.empty(k, np.float32)
    found = np.empty(n, np.int64)
    for b in range(rough_BO.shape[0]):
        rough = rough_BO[b]
        # A heap of the k largest so far, the least of them on top.
        heap[:] = -np.inf
        for o in range(n):
            if rough[o] > heap[0]:
                at = 0
                while 2 * at + 1 < k:
                    child = 2 * at + 1
                    if child + 1 < k and heap[child + 1] < heap[child]:
                        child += 1
                    if rough[o] <= heap[child]:
                        break
                    heap[at] = heap[child]
                    at = child
                heap[at] = rough[o]
        m = 0
        for o in range(n):
            if rough[o] >= heap[0] - slack:
                found[m] = o
                m += 1
        exact = np.empty(m, np.float64)
        for j in range(m):
            total = 0.0
            for d in range(keys_OD.shape[1]):
                total += np.float64(queries_BD[b, d]) * np.float64(keys_OD[found[j], d])
            exact[j] = total
        order = np.argsort(-exact, kind="mergesort")[:k]  # stable: of equals the lower id comes first
        scores_Bk[b], ids_Bk[b] = exact[order], found[order]


def nearest_rows(
    queries_ND: np.ndarray, keys_OD: np.ndarray, k: int, *, temperature: float, block: int = 1024
) -> csr_array:
    """The nearest keys of each query as weights that sum to 1: w = softmax(cosine / temperature) over them.

    Args:
        queries_ND, keys_OD, k, block: as for `nearest`.
        temperature: above 0; the lower, the more the nearest counts.
    Returns: a scipy CSR array of float64 (N, O) with at most k weights in a row.
    Raises: InvalidInput: as `nearest`, or a temperature that is not positive.

    >>> nearest_rows(np.eye(2)[:1], np.eye(2), 2, temperature=0.5).toarray().round(3).tolist()
    [[0.881, 0.119]]
    """
    sparse = require("scipy.sparse", "transfer")
    if not 0 < temperature < np.inf:
        raise InvalidInput(f"temperature={temperature}; it must be above 0 and finite")
    scores_Nk, ids_Nk = nearest(queries_ND, keys_OD, k, block=block)
    weights_Nk = np.exp((scores_Nk - scores_Nk[:, :1]).astype(np.float64) / temperature)
    weights_Nk /= weights_Nk.sum(1, keepdims=True)
    shape = (len(scores_Nk), len(keys_OD))
    rows = sparse.csr_array((weights_Nk.ravel(), ids_Nk.ravel(), np.arange(0, ids_Nk.size + 1, k)), shape=shape)
    rows.sort_indices()
    return rows
