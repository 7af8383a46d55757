"""HiPrune: keep the patches that a middle layer attends to, their neighbours, and what a deep layer attends to.

Liu et al. 2025, "HiPrune: Training-Free Visual Token Pruning via Hierarchical Attention in Vision-Language Models", arXiv
2508.00553. In the middle of a vision encoder attention rests on objects: the patches that receive most of it are anchors, and are
kept with the four around them. In deep layers it rests on tokens that gather what the whole picture shows: these registers fill
the budget. Neither a class token nor a text is needed.

Differs from the authors' code: a kept patch is never taken twice, whatever the scale of the scores; grids of any shape.
"""
# B batch, N patches, M kept, K anchors, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, check_scores, tokens_kept, top
from .pooling import check_grid
from .signals import Signal, given

__all__ = ["HiPrune"]


@dataclass(frozen=True)
class HiPrune:
    """Keep anchors, their neighbours, and registers, of each picture or crop.

    Args:
        keep: tokens, or a fraction of them.
        alpha: share of the budget for anchors with their neighbours, in [0, 1]; there are round(M alpha / 5) anchors.
        layer: the block of the vision encoder whose attention tells the anchors; the authors' 9 is of 24, for CLIP ViT-L, and
            16 of 32 for Qwen2.5-VL. Registers are told by the block that the features come from.
        neighbours: "reference" for the index ± 1 and ± the width of the grid, cut to [0, N - 1], as published: it goes on at
            the ends of rows, and an anchor at the top or bottom edge brings the first or last patch along. "grid" for those
            that touch the anchor.
        overfull: what to do where anchors and neighbours are more than the budget: "refuse", or "drop" the neighbours that
            receive least attention in the middle layer.
    Raises: InvalidInput: a value that is none of these.
    """

    keep: int | float
    alpha: float = 0.1
    layer: int = 9
    neighbours: Literal["reference", "grid"] = "reference"
    overfull: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        check_budget(self.keep)
        if not 0 <= self.alpha <= 1:
            raise InvalidInput(f"alpha={self.alpha}; the share of anchors must be in [0, 1]")
        if self.neighbours not in ("reference", "grid"):
            raise InvalidInput(f"neighbours={self.neighbours!r}; there are 'reference' and 'grid'")
        if self.overfull not in ("refuse", "drop"):
            raise InvalidInput(f"overfull={self.overfull!r}; there are 'refuse' and 'drop'")
        Signal("received_attention", self.layer)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Attention received in two layers, and the grid of patches."""
        return {
            "object_attention": Signal("received_attention", self.layer),
            "deep_attention": Signal("received_attention"),
            "grid": Signal("grid"),
        }

    def __call__(
        self,
        x_BND: Tensor,
        *,
        object_attention_BN: Tensor | None = None,
        deep_attention_BN: Tensor | None = None,
        grid: tuple[int, int] | None = None,
    ) -> TokenMap:
        """Choose patches of `x_BND`, floating point (B, N, D), by scores alone; the lower index of equals.

        Args:
            object_attention_BN: attention that each patch receives in the middle layer, any scale; floating point.
            deep_attention_BN: likewise in the deep layer.
            grid: rows and columns of the patches.
        Returns: a selection in the original order.
        Raises: InvalidInput: the grid has not N patches, `keep` exceeds N, features or scores that are not finite, more anchors
            and neighbours than `keep`. MissingSignal: one of the three is not given.
        """
        object_BN = given(object_attention_BN, "received_attention", self).float()
        deep_BN = given(deep_attention_BN, "received_attention", self).float()
        grid = given(grid, "grid", self)
        check_features(x_BND)
        n = x_BND.shape[1]
        check_grid(grid, n)
        check_scores(object_BN, x_BND.shape[:2], "object_attention_BN")
        check_scores(deep_BN, x_BND.shape[:2], "deep_attention_BN")
        m = tokens_kept(self.keep, n)
        anchors_BK = top(object_BN, round(m * self.alpha / 5))
        level_BN = torch.zeros(deep_BN.shape, dtype=torch.int8, device=x_BND.device)
        level_BN.scatter_(1, self._around(anchors_BK, n, grid[1]), 1).scatter_(1, anchors_BK, 2)
        if self.overfull == "refuse" and (most := int((level_BN > 0).sum(1).max())) > m:
            raise InvalidInput(
                f"{anchors_BK.shape[1]} anchors and their neighbours are {most} patches, but {m} are kept; "
                f"a smaller alpha than {self.alpha} takes fewer anchors, overfull='drop' fewer neighbours"
            )
        # By level, and within a level by the score that counts there.
        order_BN = torch.where(level_BN > 0, object_BN, deep_BN).sort(dim=1, descending=True, stable=True).indices
        levels_BN = level_BN.gather(1, order_BN).sort(dim=1, descending=True, stable=True).indices
        return TokenMap.keep(order_BN.gather(1, levels_BN[:, :m]).sort(1).values, of=n)

    def _around(self, anchors_BK: Tensor, n: int, columns: int) -> Tensor:
        """The neighbours of all anchors, and perhaps anchors again, (B, 4K)."""
        steps_4 = torch.tensor([-1, 1, -columns, columns], device=anchors_BK.device)
        around_BK4 = (anchors_BK[..., None] + steps_4).clamp(0, n - 1)
        if self.neighbours == "grid":
            apart_BK4 = (around_BK4 // columns - anchors_BK[..., None] // columns).abs()
            apart_BK4 = apart_BK4 + (around_BK4 % columns - anchors_BK[..., None] % columns).abs()
            around_BK4 = torch.where(apart_BK4 == 1, around_BK4, anchors_BK[..., None])
        return around_BK4.flatten(1)
