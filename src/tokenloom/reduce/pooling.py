"""Means over windows of a grid of tokens, as maps: blocks that tile it, or the windows of torch's adaptive pooling."""
# B batch, h, w rows and columns of the grid, N = h * w tokens, M windows, K windows that a token is in

from __future__ import annotations

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap

__all__ = ["adaptive_pooling", "block_pooling", "check_grid"]


def check_grid(grid: tuple[int, int], n: int) -> None:
    """Refuse a grid that has not `n` cells.

    Raises: InvalidInput: so it is.
    """
    if len(grid) != 2 or min(grid) < 1 or grid[0] * grid[1] != n:
        raise InvalidInput(f"a grid of {' x '.join(map(str, grid))} for {n} tokens; they must fill it in raster order")


def block_pooling(
    grid: tuple[int, int], window: int, *, batch: int = 1, device: torch.device | str = "cpu"
) -> TokenMap:
    """Means over blocks of `window` x `window` tokens, in raster order: W is 1 / window² where it is not zero.

    Raises: InvalidInput: the blocks do not tile the grid.

    >>> block_pooling((2, 4), 2).apply(torch.arange(8.0).view(1, 8, 1)).flatten().tolist()
    [2.5, 4.5]
    """
    if window < 1 or grid[0] % window or grid[1] % window:
        raise InvalidInput(f"blocks of {window} x {window} do not tile a grid of {grid[0]} x {grid[1]}")
    return adaptive_pooling(grid, (grid[0] // window, grid[1] // window), batch=batch, device=device)


def adaptive_pooling(
    grid: tuple[int, int], size: tuple[int, int], *, batch: int = 1, device: torch.device | str = "cpu"
) -> TokenMap:
    """What `torch.nn.functional.adaptive_avg_pool2d` does, as a map.

    Window i of n along an axis of g covers floor(i g / n) … ceil((i + 1) g / n) - 1: where n does not divide g, neighbours share
    a row or a column of tokens, which then count twice, and the mean of all tokens is not kept.

    Args:
        grid: h and w.
        size: rows and columns of windows, at most as many as of tokens.
        batch: B, items, which have all the same map.
        device: of the map.
    Raises: InvalidInput: more windows than tokens along an axis.

    >>> adaptive_pooling((1, 3), (1, 2)).matrix().tolist()
    [[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]]
    """
    if not (1 <= size[0] <= grid[0] and 1 <= size[1] <= grid[1]):
        raise InvalidInput(f"{size[0]} x {size[1]} windows on a grid of {grid[0]} x {grid[1]}; there can be no more windows than tokens along an axis")  # fmt: skip
    (row_h2, share_h2), (column_w2, share_w2) = (_windows(g, n, device) for g, n in zip(grid, size))
    row_hw22, column_hw22 = row_h2[:, None, :, None], column_w2[None, :, None, :]
    target_hw22 = torch.where((row_hw22 < 0) | (column_hw22 < 0), -1, row_hw22 * size[1] + column_hw22)
    share_hw22 = share_h2[:, None, :, None] * share_w2[None, :, None, :]
    used_K = (target_hw22 >= 0).flatten(0, 1).any(0).flatten()  # one of four, where no windows overlap
    target_NK, share_NK = (values.reshape(grid[0] * grid[1], 4)[:, used_K] for values in (target_hw22, share_hw22))
    target_BNK, share_BNK = (values.expand(batch, -1, -1) for values in (target_NK, share_NK))
    return TokenMap.merge(target_BNK, size[0] * size[1], share_BNK)


def _windows(g: int, n: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """The one or two windows of each of `g` tokens, -1 for none, and 1 / their lengths: int64 and float32 (g, 2)."""
    at, first = torch.arange(g, device=device), torch.arange(n, device=device)
    starts, ends = first * g // n, -(-(first + 1) * g // n)
    # The last window that has begun at a token, and the one before if it has not ended.
    last = torch.searchsorted(starts, at, right=True) - 1
    before = torch.where((last > 0) & (ends[(last - 1).clamp(min=0)] > at), last - 1, -1)
    windows = torch.stack([last, before], 1)
    return windows, torch.where(windows < 0, 0, 1 / (ends - starts)[windows.clamp(min=0)])
