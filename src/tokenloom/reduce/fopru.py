"""FoPru: keep the tokens, or the rows of tokens, that receive most attention in the vision encoder.

Jiang et al. 2024, "FoPru: Focal Pruning for Efficient Large Vision-Language Models", arXiv 2411.14164. With rows, lines of text
and of tables stay whole. There is no public code; that attention is counted over all queries, not that of the class token alone,
is our reading of the paper, and `score` offers either. With `score="cls"` it is the baseline that others call class attention.
"""
# B batch, N patches, M kept, R rows kept, h rows, w columns, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, check_scores, tokens_kept, top
from .signals import Signal, given

__all__ = ["FoPru"]


@dataclass(frozen=True)
class FoPru:
    """Keep the most attended tokens or rows.

    Args:
        keep: tokens, or a fraction of them. With rows a fraction is of the rows, rounded, and 1 at least, so that the share of
            tokens differs from it; a number of tokens must be one of whole rows.
        strategy: "rank" for single tokens, "rows" for rows of the grid, by the sum of their tokens.
        score: "received" for attention from all tokens, "cls" for that of the class token.
        layer: block of the vision encoder; None for the one that the features come from.
        per_crop: rank the tokens of each crop of a picture by themselves; rows always are.
    Raises: InvalidInput: a value that is none of these.

    >>> attention = torch.tensor([[0.1, 0.2, 0.4, 0.3]])
    >>> FoPru(keep=2)(torch.ones(1, 4, 8), attention_BN=attention).index_BM.tolist()
    [[2, 3]]
    """

    keep: int | float
    strategy: Literal["rank", "rows"] = "rank"
    score: Literal["received", "cls"] = "received"
    layer: int | None = None
    per_crop: bool = False

    def __post_init__(self) -> None:
        check_budget(self.keep)
        if self.strategy not in ("rank", "rows"):
            raise InvalidInput(f"strategy={self.strategy!r}; there are 'rank' and 'rows'")
        if self.score not in ("received", "cls"):
            raise InvalidInput(f"score={self.score!r}; there are 'received' and 'cls'")
        self.needs  # noqa: B018  (refuses layer 0)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Attention in one layer; the grid of patches for rows, and where crops are told apart."""
        attention = Signal(f"{self.score}_attention", self.layer)
        grid = {"grid": Signal("grid")} if self.per_crop or self.strategy == "rows" else {}
        return {"attention": attention, **grid}

    def __call__(
        self, x_BND: Tensor, *, attention_BN: Tensor | None = None, grid: tuple[int, int] | None = None
    ) -> TokenMap:
        """Choose patches of `x_BND`, floating point (B, N, D), by their scores alone; the lower index of equals.

        Args:
            attention_BN: score of each patch, any scale; floating point.
            grid: rows and columns of the patches.
        Returns: a selection in the original order.
        Raises: InvalidInput: a grid that has not N patches, `keep` exceeds N or is no number of whole rows, features or scores
            that are not finite. MissingSignal: the attention, or a grid that is needed, is not given.
        """
        scores_BN = given(attention_BN, f"{self.score}_attention", self).float()
        if "grid" in self.needs:
            given(grid, "grid", self)
        check_features(x_BND)
        n = x_BND.shape[1]
        check_scores(scores_BN, x_BND.shape[:2], "attention_BN")
        if grid is not None and (grid[0] < 1 or grid[0] * grid[1] != n):
            raise InvalidInput(f"a grid of {grid[0]} x {grid[1]} for {n} patches")
        if self.strategy == "rank":
            return TokenMap.keep(top(scores_BN, tokens_kept(self.keep, n)).sort(1).values, of=n)
        assert grid is not None
        h, w = grid
        if isinstance(self.keep, int) and tokens_kept(self.keep, n) % w:
            raise InvalidInput(f"keep={self.keep} is no number of whole rows, which have {w} tokens")
        count = tokens_kept(self.keep, h) if isinstance(self.keep, float) else self.keep // w
        rows_BR = top(scores_BN.view(-1, h, w).sum(2), count).sort(1).values
        cells_BRw = rows_BR[..., None] * w + torch.arange(w, device=x_BND.device)
        return TokenMap.keep(cells_BRw.flatten(1), of=n)
