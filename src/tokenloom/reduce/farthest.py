"""Farthest-first traversal: the greedy answer to max-min diversity and to k-centre.

The next pick is the token whose most similar pick is least similar. What is known of a token's similarity to the picks can
only grow, so the token that looks farthest is compared with picks until it looks so no longer; most pairs are never compared.
"""
# B batch, N tokens, M tokens picked, D width

from __future__ import annotations

from heapq import heapify, heappop, heapreplace

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..core.errors import InvalidInput

__all__ = ["farthest_first"]


def farthest_first(unit_BND: Tensor, m: int, first_B: Tensor | None = None) -> Tensor:
    """Pick the token that is farthest from all picked so far, `m` times; far is a small cosine.

    Memory is O(N). On a CPU some percent of the pairs are compared, in the same order of sums whichever token comes first, so
    that equal tokens are equally far; elsewhere each pick is compared with all tokens.

    Args:
        unit_BND: rows of length 1, or zero, floating point; compared in float32.
        m: picks, from 1 to N.
        first_B: the first pick of each item, int64; None for the token whose nearest neighbour is farthest.
    Returns: int64 (B, M), in the order of the picks; the lower index of equals. No token twice, even where all are equal.
    Raises: InvalidInput: `m` is not from 1 to N.
    """
    if not 1 <= m <= unit_BND.shape[1]:
        raise InvalidInput(f"{m} picks of {unit_BND.shape[1]} tokens")
    unit_BND = unit_BND.detach().float()
    if unit_BND.device.type != "cpu":
        return _eager(unit_BND, m, first_B)
    rows = [unit_ND.contiguous().numpy() for unit_ND in unit_BND]
    firsts = [_loneliest(unit_ND) for unit_ND in rows] if first_B is None else first_B.tolist()
    return torch.from_numpy(np.stack([_traversal(unit_ND, m, first) for unit_ND, first in zip(rows, firsts)]))


def _eager(unit_BND: Tensor, m: int, first_B: Tensor | None) -> Tensor:
    """The same, each pick compared with all tokens at once."""
    if first_B is None:
        first_B = torch.stack([_nearest(unit_ND) for unit_ND in unit_BND]).argmin(1)
    picks_BM = first_B.new_empty(len(unit_BND), m)
    picks_BM[:, 0] = first_B
    near_BN = torch.full(unit_BND.shape[:2], -torch.inf, device=unit_BND.device)
    for k in range(m):
        pick_B1 = picks_BM[:, k, None]
        chosen_BD1 = unit_BND.gather(1, pick_B1[..., None].expand(-1, -1, unit_BND.shape[2])).transpose(1, 2)
        near_BN = torch.maximum(near_BN, (unit_BND @ chosen_BD1)[..., 0]).scatter(1, pick_B1, torch.inf)
        if k + 1 < m:
            picks_BM[:, k + 1] = near_BN.argmin(1)
    return picks_BM


def _nearest(unit_ND: Tensor, block: int = 512) -> Tensor:
    """The similarity of each token to the most similar other one, (N,); blocks on one side of the diagonal serve both."""
    near_N = unit_ND.new_full((len(unit_ND),), -torch.inf)
    for start in range(0, len(unit_ND), block):
        stop = start + block
        similar = unit_ND[start:stop] @ unit_ND[start:].T
        similar.diagonal().fill_(-torch.inf)
        near_N[start:stop] = torch.maximum(near_N[start:stop], similar.amax(1))
        near_N[start:] = torch.maximum(near_N[start:], similar.amax(0))
    return near_N


def _loneliest(unit_ND: np.ndarray) -> int:
    """The token whose nearest other token is farthest, the first of equals."""
    n, width = unit_ND.shape
    bounds_N = np.full(n, -np.inf, np.float32)
    # Photographs need some comparisons a token. In noise nobody has near neighbours, and half of all pairs would be compared
    # one by one; then a product of matrices gives the bounds, less what its sums and ours may differ by.
    found = _least_similar(unit_ND, bounds_N, 32 * n)
    if found < 0:
        bounds_N = _nearest(torch.from_numpy(unit_ND)).numpy() - np.float32(width * 2.0**-22)
        found = _least_similar(unit_ND, bounds_N, n * n)
    return found


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _dot(unit_ND, i, j):
    total = np.float32(0)
    for k in range(unit_ND.shape[1]):
        total += unit_ND[i, k] * unit_ND[j, k]
    return total


@njit(nogil=True, cache=True)
def _second(heap):
    """The least but one, or what is greater than all."""
    if len(heap) < 2:
        return np.float32(np.inf), np.int64(0)
    return heap[2] if len(heap) > 2 and heap[2] < heap[1] else heap[1]


@njit(nogil=True, cache=True)
def _least_similar(unit_ND, near_N, limit):
    """The token whose greatest similarity to another is least; -1 where more than `limit` pairs are compared.

    `near_N` holds lower bounds of these similarities. They grow outward from each token, because what is near in a picture is
    mostly alike.
    """
    n = near_N.size
    for i in range(1, n):
        similar = _dot(unit_ND, i - 1, i)
        near_N[i - 1], near_N[i] = max(near_N[i - 1], similar), max(near_N[i], similar)
    reach_N = np.ones(n, np.int64)
    heap = [(near_N[i], i) for i in range(n)]
    heapify(heap)
    compared = n
    while compared <= limit:
        i, second = heap[0][1], _second(heap)
        while reach_N[i] < n - 1 and (near_N[i], i) < second:
            reach_N[i] += 1
            for j in (i - reach_N[i], i + reach_N[i]):
                if 0 <= j < n:
                    similar = _dot(unit_ND, i, j)
                    near_N[i], near_N[j] = max(near_N[i], similar), max(near_N[j], similar)
                    compared += 1
        if (near_N[i], i) < second:
            return i
        heapreplace(heap, (near_N[i], i))
    return -1


@njit(nogil=True, cache=True)
def _traversal(unit_ND, m, first):
    """Picks, int64 (m,)."""
    n = unit_ND.shape[0]
    picks_M = np.full(m, first, np.int64)
    seen_N = np.ones(n, np.int64)  # with how many picks each token was compared
    heap = [(_dot(unit_ND, first, i), i) for i in range(n) if i != first]
    heapify(heap)
    for t in range(1, m):
        while True:
            (near, i), second = heap[0], _second(heap)
            while seen_N[i] < t and (near, i) < second:
                near = max(near, _dot(unit_ND, picks_M[seen_N[i]], i))
                seen_N[i] += 1
            if (near, i) < second:
                break
            heapreplace(heap, (near, i))
        picks_M[t] = i
        heappop(heap)
    return picks_M
