"""What every reducer is compared with: tokens at random, and tokens spread evenly.

The most attended tokens are `FoPru`, by all queries or by the class token; means of tokens are pooling.
"""
# B batch, N patches, M kept, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, tokens_kept, top
from .signals import Signal, given

__all__ = ["Linspace", "Random", "UniformGrid"]


@dataclass(frozen=True)
class Random:
    """Keep tokens at random, without replacement.

    Args:
        keep: tokens, or a fraction of them.
    Raises: InvalidInput: `keep` is no budget.

    >>> Random(keep=2)(torch.ones(1, 5, 4), generator=torch.Generator().manual_seed(0)).index_BM.tolist()
    [[0, 3]]
    """

    keep: int | float

    def __post_init__(self) -> None:
        check_budget(self.keep)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Nothing but a generator."""
        return {}

    def __call__(self, x_BND: Tensor, *, generator: torch.Generator | None = None) -> TokenMap:
        """Choose tokens of `x_BND`, floating point (B, N, D), in the original order.

        Args:
            generator: is drawn from item by item, so that a batch is what its items are one after the other.
        Raises: InvalidInput: no generator, `keep` exceeds N, features that are not finite.
        """
        if not isinstance(generator, torch.Generator):
            raise InvalidInput("give generator=torch.Generator().manual_seed(seed)")
        check_features(x_BND)
        n = x_BND.shape[1]
        m = tokens_kept(self.keep, n)
        drawn_BN = torch.rand(x_BND.shape[:2], generator=generator, device=generator.device, dtype=torch.float64)
        return TokenMap.keep(top(drawn_BN, m).sort(1).values.to(x_BND.device), of=n)


@dataclass(frozen=True)
class UniformGrid:
    """Keep the patches at the middles of the cells of a coarser grid, and fill the budget with the most varied of the others.

    Of the coarse grids of at most M cells that fit into the grid, the one whose cells are nearest to squares, and of those the
    one of most cells, but never less than half of M; the rest of the budget goes to the patches whose features vary most.

    Args:
        keep: tokens, or a fraction of them.
    Raises: InvalidInput: `keep` is no budget.

    >>> UniformGrid(keep=4)(torch.ones(1, 16, 8), grid=(4, 4)).index_BM.tolist()
    [[5, 7, 13, 15]]
    """

    keep: int | float

    def __post_init__(self) -> None:
        check_budget(self.keep)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """The grid of patches."""
        return {"grid": Signal("grid")}

    def __call__(self, x_BND: Tensor, *, grid: tuple[int, int] | None = None) -> TokenMap:
        """Choose patches of `x_BND`, floating point (B, N, D), in the original order.

        Args:
            grid: rows and columns of the patches.
        Raises: InvalidInput: the grid has not N patches, `keep` exceeds N, features that are not finite. MissingSignal: no grid.
        """
        h, w = given(grid, "grid", self)
        check_features(x_BND)
        n = x_BND.shape[1]
        if h < 1 or h * w != n:
            raise InvalidInput(f"a grid of {h} x {w} for {n} patches")
        m = tokens_kept(self.keep, n)
        a, b = _coarse(h, w, m)
        middles_N = _middles(h, a, x_BND.device)[:, None] * w + _middles(w, b, x_BND.device)
        varied_BN = x_BND.float().var(2, unbiased=False)
        varied_BN[:, middles_N.flatten()] = torch.inf
        return TokenMap.keep(top(varied_BN, m).sort(1).values, of=n)


@dataclass(frozen=True)
class Linspace:
    """Keep M tokens at equal steps of the sequence, the first and the last among them: round(linspace(0, N - 1, M)).

    Args:
        keep: tokens, or a fraction of them.
    Raises: InvalidInput: `keep` is no budget.

    >>> Linspace(keep=3)(torch.ones(1, 9, 4)).index_BM.tolist()
    [[0, 4, 8]]
    """

    keep: int | float

    def __post_init__(self) -> None:
        check_budget(self.keep)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Nothing."""
        return {}

    def __call__(self, x_BND: Tensor) -> TokenMap:
        """Choose tokens of `x_BND`, floating point (B, N, D), in the original order.

        Raises: InvalidInput: `keep` exceeds N, features that are not finite.
        """
        check_features(x_BND)
        batch, n, _ = x_BND.shape
        m = tokens_kept(self.keep, n)
        index_M = torch.linspace(0, n - 1, m, dtype=torch.float64, device=x_BND.device).round().long()
        return TokenMap.keep(index_M.expand(batch, m), of=n)


def _coarse(h: int, w: int, m: int) -> tuple[int, int]:
    """Rows and columns of the coarse grid."""

    def squareness(size: tuple[int, int]) -> tuple[float, int]:
        stretch = (h / size[0]) / (w / size[1])
        return max(stretch, 1 / stretch), -size[0] * size[1]

    fitting = [(a, min(w, m // a)) for a in range(1, min(h, m) + 1)]
    return min((size for size in fitting if 2 * size[0] * size[1] >= m), key=squareness)


def _middles(length: int, parts: int, device: torch.device) -> Tensor:
    """The middle of each of `parts` equal parts, the later of two, int64."""
    return (2 * torch.arange(parts, device=device) + 1) * length // (2 * parts)
