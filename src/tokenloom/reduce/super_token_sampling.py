"""Super token sampling as a reducer: soft superpixels, each a mean of the tokens around it, from which the grid can be restored.

Huang et al. 2023, arXiv 2211.11167, section 3.2. Each token belongs to at most nine super tokens, those of its own cell and of
the cells around it; see `models.super_token_attention` for the rule and for attention among super tokens.
"""
# B batch, H, W rows and columns of tokens, N = H * W, M super tokens, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from ..models.super_token_attention import associate
from .budgets import check_budget, check_features, tokens_kept
from .pooling import check_grid
from .signals import Signal, given

__all__ = ["SuperTokenSampling", "SuperTokens"]


@dataclass(frozen=True)
class SuperTokens:
    """How tokens belong to super tokens.

    Args:
        association: Q, in which each token divides itself among its super tokens, as a map of M rows; what went outside the
            grid is missing from it.
        sample: W = Q / the sums of its rows, which turns tokens into super tokens.
    """

    association: TokenMap
    sample: TokenMap

    def restore(self, y_BMD: Tensor) -> Tensor:
        """Tokens from super tokens, each the sum of its own by its parts in them, Qᵀ Y: (B, N, D).

        `sample.lift` gives weighted means instead, which differ where super tokens are of unequal size, and at the border.
        Raises: InvalidInput: another number of rows or items.
        """
        return self.back().apply(y_BMD)

    def back(self) -> TokenMap:
        """The same as a map from M to N tokens, of N rows; `back() @ sample` is what sampling and restoring do to the tokens."""
        return TokenMap.dense(self.association.matrix().transpose(1, 2).contiguous())


@dataclass(frozen=True)
class SuperTokenSampling:
    """Means over soft superpixels; needs the features and their grid.

    Args:
        cell: rows and columns of tokens that begin as one super token; the grid has ⌈H / h⌉ ⌈W / w⌉ of them. (1, 1) changes nothing.
        iterations: of grouping and taking means.
        mask_border: leave out what is outside the grid. Without, as published, super tokens outside are zeros that take their
            part of the tokens at the border, and padding counts as tokens that are zero: rows of W may sum to less than 1.
        hard: each token goes to the one super token that it belongs to most, and super tokens are plain means. Those that no
            token goes to are left out; the others keep their order.
        keep: instead of a cell, super tokens or a fraction of the tokens; the most nearly square cell gives exactly so many.
    Raises: InvalidInput: neither or both of cell and keep, impossible ones, iterations below 1.

    >>> x = 4 * torch.eye(2)[[0, 0, 0, 1, 1, 1, 1, 1]][None]  # a border that is not that of the cells
    >>> found = SuperTokenSampling(cell=(1, 4), hard=True)(x, grid=(1, 8))
    >>> found.matrix()[0].bool().int().tolist()
    [[1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1, 1]]
    """

    cell: tuple[int, int] | None = None
    iterations: int = 1
    mask_border: bool = False
    hard: bool = False
    keep: int | float | None = None

    def __post_init__(self) -> None:
        if (self.cell is None) == (self.keep is None):
            raise InvalidInput(
                f"cell={self.cell} and keep={self.keep}; exactly one of them says how many super tokens there are"
            )
        if self.keep is not None:
            check_budget(self.keep)
        if self.cell is not None and (len(self.cell) != 2 or min(self.cell) < 1):
            raise InvalidInput(f"cell={self.cell}; it must be rows and columns of tokens, at least 1 x 1")
        if self.iterations < 1:
            raise InvalidInput(f"iterations={self.iterations}; it must be at least 1")

    @property
    def needs(self) -> Mapping[str, Signal]:
        """The grid."""
        return {"grid": Signal("grid")}

    def __call__(self, x_BND: Tensor, *, grid: tuple[int, int] | None = None) -> TokenMap:
        """W for `x_BND`, floating point (B, N, D), tokens in raster order; super tokens are in raster order too.

        Raises: InvalidInput: a grid that has not N cells, a number that no cell gives, features that are not finite. MissingSignal.
        """
        return self.super_tokens(x_BND, grid=grid).sample

    def super_tokens(self, x_BND: Tensor, *, grid: tuple[int, int] | None = None) -> SuperTokens:
        """The same, with what restores the tokens."""
        grid = given(grid, "grid", self)
        check_features(x_BND)
        batch, n, width = x_BND.shape
        check_grid(grid, n)
        cell = _cell_of(tokens_kept(self.keep, n), grid) if self.keep is not None else self.cell
        assert cell is not None
        if cell == (1, 1):
            identity = TokenMap.identity(batch, n, x_BND.device)
            return SuperTokens(identity, identity)
        x_BCHW = x_BND.detach().float().transpose(1, 2).reshape(batch, width, *grid)
        found = associate(x_BCHW, cell, iterations=self.iterations, mask_border=self.mask_border)
        target_N9 = _rows(found.cells, cell, grid, x_BND.device)
        share_BN9 = _in_raster_order(found.weight_BMP9, found.cells, cell, grid)
        share_BN9 = share_BN9.masked_fill(target_N9 < 0, 0)
        if self.hard:
            return _hard(target_N9, share_BN9, found.sums_BM.shape[1])
        target_BN9 = target_N9.expand(batch, -1, -1)
        sums_BL = found.sums_BM.gather(1, target_BN9.clamp(min=0).flatten(1))
        sample_BN9 = share_BN9 / (sums_BL.view(target_BN9.shape) + 1e-12)
        size = found.sums_BM.shape[1]
        return SuperTokens(TokenMap.merge(target_BN9, size, share_BN9), TokenMap.merge(target_BN9, size, sample_BN9))


def _cell_of(tokens: int, grid: tuple[int, int]) -> tuple[int, int]:
    """The cell that divides the grid into so many, the most nearly square one and the lower of equals."""
    cells = {(h, w): -(-grid[0] // h) * -(-grid[1] // w) for h in range(1, grid[0] + 1) for w in range(1, grid[1] + 1)}
    fits = [cell for cell, count in cells.items() if count == tokens]
    if not fits:
        below, above = (
            pick(c for c in cells.values() if (c < tokens) == less) for pick, less in ((max, True), (min, False))
        )
        raise InvalidInput(
            f"no cells divide a grid of {grid[0]} x {grid[1]} into {tokens}; the nearest are {below} and {above}"
        )
    return min(fits, key=lambda cell: max(cell) / min(cell))


def _hard(target_N9: Tensor, share_BN9: Tensor, size: int) -> SuperTokens:
    """Each token in one super token."""
    batch, n, _ = share_BN9.shape
    best_BN1 = share_BN9.masked_fill(target_N9 < 0, -1).max(2, keepdim=True).indices
    target_BN = target_N9.expand(batch, -1, -1).gather(2, best_BN1)[..., 0]
    used_BM = torch.zeros(batch, size, dtype=torch.bool, device=target_BN.device).scatter(1, target_BN, True)
    target_BN = (used_BM.cumsum(1) - 1).gather(1, target_BN)
    most = int(used_BM.sum(1).max())
    ones_BN = torch.ones(batch, n, device=target_BN.device)
    return SuperTokens(TokenMap.merge(target_BN, most, ones_BN), TokenMap.merge(target_BN, most))


def _rows(cells: tuple[int, int], cell: tuple[int, int], grid: tuple[int, int], device: torch.device) -> Tensor:
    """The nine super tokens around each token in raster order, -1 outside: int64 (N, 9)."""
    around = torch.tensor([-1, 0, 1], device=device)
    row_H3 = (torch.arange(grid[0], device=device) // cell[0])[:, None] + around
    column_W3 = (torch.arange(grid[1], device=device) // cell[1])[:, None] + around
    row_HW33, column_HW33 = row_H3[:, None, :, None], column_W3[None, :, None, :]
    inside = (row_HW33 >= 0) & (row_HW33 < cells[0]) & (column_HW33 >= 0) & (column_HW33 < cells[1])
    return torch.where(inside, row_HW33 * cells[1] + column_HW33, -1).reshape(-1, 9)


def _in_raster_order(
    weight_BMP9: Tensor, cells: tuple[int, int], cell: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """What stands cell by cell, without padding: (B, N, 9)."""
    batch = len(weight_BMP9)
    whole = weight_BMP9.view(batch, *cells, *cell, 9).transpose(2, 3)
    whole = whole.reshape(batch, cells[0] * cell[0], cells[1] * cell[1], 9)
    return whole[:, : grid[0], : grid[1]].reshape(batch, -1, 9)
