"""TokenFLEX: any square number of visual tokens, by adaptive pooling and a gated projector trained on numbers drawn at random.

"TokenFLEX: Unified VLM Training for Flexible Visual Tokens Inference" 2025, arXiv 2504.03154. At each step of training the number
of tokens is drawn anew, so that it costs one forward pass, and fewer tokens than training on the largest number would. There
is no public code; LayerNorm before the projector, its hidden width and its biases are our choice.
"""
# B batch, T ids, g cells of a side of the grid, N tokens of the encoder, M = n * n tokens out, D width in, E width out

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from ..hosts.vision_language.visual_tokens import run_with_tokens, visual_features
from .budgets import check_budget, check_features, tokens_kept
from .pooling import adaptive_pooling, check_grid
from .signals import Signal, given

__all__ = ["TokenCounts", "TokenFLEX", "TokenFLEXProjector", "sampled_loss"]


@dataclass(frozen=True)
class TokenFLEX:
    """Pool a grid of tokens to n x n by adaptive means; meant for models that were trained so, by `sampled_loss`.

    Args:
        keep: tokens, or a fraction of them, a square number (or all): 64, 144 and 256 of 729 as published.
    Raises: InvalidInput: `keep` is no budget.

    >>> x = torch.arange(9.0).view(1, 9, 1)
    >>> TokenFLEX(keep=4)(x, grid=(3, 3)).apply(x).flatten().tolist()
    [2.0, 3.0, 5.0, 6.0]
    """

    keep: int | float

    def __post_init__(self) -> None:
        check_budget(self.keep)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """The grid."""
        return {"grid": Signal("grid")}

    def __call__(self, x_BND: Tensor, *, grid: tuple[int, int] | None = None) -> TokenMap:
        """Means over n x n windows, in raster order; they overlap where n does not divide a side.

        Raises: InvalidInput: a number that is no square, more windows than tokens along a side, a grid of other than N cells.
            MissingSignal: no grid.
        """
        grid = given(grid, "grid", self)
        check_features(x_BND)
        check_grid(grid, x_BND.shape[1])
        return _pooling(grid, tokens_kept(self.keep, x_BND.shape[1]), x_BND)


class TokenFLEXProjector(nn.Module):
    """From the encoder's tokens to M tokens for the language model: adaptive means, then W3(SiLU(W1 z) * W2 z).

    It stands where LLaVA has its projector, `model.model.multi_modal_projector`, and makes as many tokens as `tokens` says.

    Args:
        width_in: D, of the encoder.
        width_out: E, of the language model.
        hidden: width inside; None for `width_out`.
        tokens: M, a square number; None for all. It may be set at any time.
        generator: draws the initial weights, uniform within 1 / sqrt(inputs); None for seed 0.
    """

    def __init__(
        self,
        *,
        width_in: int,
        width_out: int,
        hidden: int | None = None,
        tokens: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        hidden = width_out if hidden is None else hidden
        if min(width_in, width_out, hidden) < 1:
            raise InvalidInput(f"{width_in=}, {width_out=} and {hidden=} must be at least 1")
        self.tokens = tokens
        self.norm = nn.LayerNorm(width_in)
        self.gate, self.up, self.down = (
            nn.utils.skip_init(nn.Linear, inputs, outputs)
            for inputs, outputs in ((width_in, hidden), (width_in, hidden), (hidden, width_out))
        )
        generator = generator or torch.Generator().manual_seed(0)
        with torch.no_grad():
            for linear in (self.gate, self.up, self.down):
                for weight in linear.parameters():
                    bound = linear.in_features**-0.5
                    weight.uniform_(-bound, bound, generator=generator)

    def forward(self, x_BND: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """(B, M, E), in raster order.

        Args:
            x_BND: floating point.
            grid: of the tokens; None if it is a square.
        Raises: InvalidInput: tokens that do not fill the grid, or that are fewer than shall be made.
        """
        n = x_BND.shape[1]
        grid = (isqrt(n), isqrt(n)) if grid is None else grid
        check_grid(grid, n)
        if self.tokens is not None:
            x_BND = _pooling(grid, self.tokens, x_BND).apply(x_BND)
        z_BMD = self.norm(x_BND)
        return self.down(F.silu(self.gate(z_BMD)) * self.up(z_BMD))

    @contextmanager
    def making(self, tokens: int) -> Iterator[None]:
        """Make another number of tokens for a while."""
        before, self.tokens = self.tokens, tokens
        try:
            yield
        finally:
            self.tokens = before


@dataclass(frozen=True)
class TokenCounts:
    """How many visual tokens a step of training has.

    Args:
        counts: square numbers.
        shares: how often each is drawn.
    Raises: InvalidInput: no counts, one that is no square, shares that are not as many or do not add up to 1.

    >>> rng = np.random.default_rng(0)
    >>> [TokenCounts()(rng) for _ in range(8)]
    [256, 144, 64, 64, 256, 256, 256, 256]
    """

    counts: tuple[int, ...] = (64, 144, 256)
    shares: tuple[float, ...] = (0.2, 0.3, 0.5)

    def __post_init__(self) -> None:
        for count in self.counts:
            _root(count)
        if not self.counts or len(self.counts) != len(self.shares):
            raise InvalidInput(f"{len(self.counts)} counts and {len(self.shares)} shares; each count has one")
        if not (min(self.shares) >= 0 and abs(sum(self.shares) - 1) <= 1e-9):
            raise InvalidInput(f"shares={self.shares}; they must add up to 1")

    def __call__(self, rng: np.random.Generator) -> int:
        """The count of the next step. Processes that train together draw from generators of the same seed."""
        return self.counts[int(np.searchsorted(np.cumsum(self.shares)[:-1], rng.random(), side="right"))]

    @property
    def mean(self) -> float:
        """Tokens of a step on average."""
        return float(np.dot(self.counts, self.shares))


def sampled_loss(
    model: Any,
    input_ids: Tensor,
    pixel_values: Tensor,
    labels: Tensor,
    *,
    tokens: int,
    attention_mask: Tensor | None = None,
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """The training loss of one step: -log p(answer | `tokens` tokens, question).

    Args:
        model: like LLaVA in transformers; with a `TokenFLEXProjector`, which pools before it projects, or with another, behind
            which is pooled.
        input_ids: int64 (B, T), with a placeholder for each of the N tokens of the encoder.
        pixel_values: as the model takes them.
        labels: int64 (B, T), -100 for what is not predicted.
        tokens: of this step, the same for all items; draw it by `TokenCounts`.
        attention_mask: (B, T), 0 for padding.
        grid: of the encoder's tokens where another projector makes them; None if it is a square.
    Raises: InvalidInput: tokens that are no square, or more than there are along a side.
    """
    projector = model.model.multi_modal_projector
    if isinstance(projector, TokenFLEXProjector):
        with projector.making(tokens):
            tokens_BMD = visual_features(model, pixel_values)
    else:
        features_BND = visual_features(model, pixel_values)
        n = features_BND.shape[1]
        grid = (isqrt(n), isqrt(n)) if grid is None else grid
        check_grid(grid, n)
        tokens_BMD = _pooling(grid, tokens, features_BND).apply(features_BND)
    return run_with_tokens(
        model, input_ids, tokens_BMD, attention_mask=attention_mask, labels=labels, use_cache=False
    ).loss


def _pooling(grid: tuple[int, int], tokens: int, x_BND: Tensor) -> TokenMap:
    """Adaptive means to a square number of tokens; all of them is all of them on any grid."""
    if tokens == grid[0] * grid[1]:
        return TokenMap.identity(len(x_BND), tokens, x_BND.device)
    return adaptive_pooling(grid, (_root(tokens), _root(tokens)), batch=len(x_BND), device=x_BND.device)


def _root(tokens: int) -> int:
    if tokens < 1 or isqrt(tokens) ** 2 != tokens:
        raise InvalidInput(f"{tokens} tokens; TokenFLEX makes square numbers of them")
    return isqrt(tokens)
