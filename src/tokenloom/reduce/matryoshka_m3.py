"""Matryoshka Multimodal Models: visual tokens nested like dolls, so that one model works with few and with many.

Cai, Yang, Gao, Lee 2025, ICLR, arXiv 2405.17430, section 3. The tokens of a coarse scale are the means of square blocks of those
of a finer one; the model is trained on all scales of each picture at once, and for each request one chooses how many it gets.
Pooling acts behind the projector, as in the authors' code: before it would not be the same, for the projector is not linear.
Differs from the authors' code: a scale that no block size gives is refused; there, 100 of 576 tokens silently becomes 144.
"""
# B batch, T ids, h, w rows and columns of the grid, N = h * w tokens, M tokens of a scale, D width

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd, isqrt
from typing import Any

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from ..hosts.vision_language.visual_tokens import run_with_tokens, visual_features
from .budgets import check_budget, check_features, tokens_kept
from .pooling import block_pooling, check_grid
from .signals import Signal, given

__all__ = ["MatryoshkaM3", "NestedLoss", "nested_loss", "possible_scales"]


def possible_scales(grid: tuple[int, int]) -> list[int]:
    """Numbers of tokens that square blocks make of a grid, largest first.

    >>> possible_scales((24, 24))
    [576, 144, 64, 36, 16, 9, 4, 1]
    """
    side = gcd(*grid)
    return [grid[0] * grid[1] // window**2 for window in range(1, side + 1) if side % window == 0]


@dataclass(frozen=True)
class MatryoshkaM3:
    """Pool a grid of tokens to a coarser one; meant for models that were trained so, by `nested_loss`.

    Args:
        keep: tokens, or a fraction of them: one of the `possible_scales` of the grid. 576, 144, 36, 9 and 1 as published.
    Raises: InvalidInput: `keep` is no budget.

    >>> x = torch.tensor([[[0.0], [1], [2], [3], [4], [5], [6], [7], [8], [9], [10], [11], [12], [13], [14], [15]]])
    >>> MatryoshkaM3(keep=4)(x, grid=(4, 4)).apply(x).flatten().tolist()
    [2.5, 4.5, 10.5, 12.5]
    """

    keep: int | float

    def __post_init__(self) -> None:
        check_budget(self.keep)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """The grid."""
        return {"grid": Signal("grid")}

    def __call__(self, x_BND: Tensor, *, grid: tuple[int, int] | None = None) -> TokenMap:
        """Means of blocks of tokens, in raster order.

        Raises: InvalidInput: a number that no block size gives, a grid of other than N cells. MissingSignal: no grid.
        """
        grid = given(grid, "grid", self)
        check_features(x_BND)
        check_grid(grid, x_BND.shape[1])
        return _pooling(grid, tokens_kept(self.keep, x_BND.shape[1]), x_BND)


@dataclass(frozen=True)
class NestedLoss:
    """Loss of one batch at several scales.

    Args:
        loss: their mean, to be minimised.
        by_scale: tokens → loss, detached: a mean hides what gets worse at one of them.
    """

    loss: Tensor
    by_scale: Mapping[int, Tensor]


def nested_loss(
    model: Any,
    input_ids: Tensor,
    pixel_values: Tensor,
    labels: Tensor,
    *,
    scales: Sequence[int],
    attention_mask: Tensor | None = None,
    grid: tuple[int, int] | None = None,
) -> NestedLoss:
    """The training loss: the mean over scales s of -log p(answer | s tokens, question).

    Each picture is encoded once, and read by the language model once for each scale.

    Args:
        model: like LLaVA in transformers: `model.model.get_image_features`, and visual tokens of one picture a prompt.
        input_ids: int64 (B, T), with a placeholder for each of the N tokens.
        pixel_values: as the model takes them.
        labels: int64 (B, T), -100 for what is not predicted.
        scales: S, numbers of tokens, each once.
        attention_mask: (B, T), 0 for padding.
        grid: of the tokens; None if it is a square.
    Raises: InvalidInput: no scale, one twice, one that no block size gives; tokens that do not fill the grid.
    """
    if not scales or len(set(scales)) < len(scales):
        raise InvalidInput(f"scales={list(scales)}; there must be one at least, and each once")
    features_BND = visual_features(model, pixel_values)
    n = features_BND.shape[1]
    grid = (isqrt(n), isqrt(n)) if grid is None else grid
    check_grid(grid, n)
    maps = {scale: _pooling(grid, scale, features_BND) for scale in scales}
    losses = {
        scale: run_with_tokens(
            model,
            input_ids,
            pooling.apply(features_BND),
            attention_mask=attention_mask,
            labels=labels,
            use_cache=False,
        ).loss
        for scale, pooling in maps.items()
    }
    return NestedLoss(torch.stack(list(losses.values())).mean(), {s: loss.detach() for s, loss in losses.items()})


def _pooling(grid: tuple[int, int], tokens: int, x_BND: Tensor) -> TokenMap:
    """Means over as many square blocks as there shall be tokens."""
    n = grid[0] * grid[1]
    if tokens not in (scales := possible_scales(grid)):
        raise InvalidInput(
            f"{tokens} tokens of a grid of {grid[0]} x {grid[1]}; square blocks give {', '.join(map(str, scales))}"
        )
    if tokens == n:
        return TokenMap.identity(len(x_BND), n, x_BND.device)
    return block_pooling(grid, isqrt(n // tokens), batch=len(x_BND), device=x_BND.device)
