"""GlobalCom2: the thumbnail of a picture of high resolution decides how much, and what, each crop may keep.

Liu et al. 2025, "Global Compression Commander", arXiv 2501.05179. Where the class token attends to the thumbnail, crops get more of
the budget; in a crop, a patch is kept for its own attention and for that of the thumbnail at its place.

Differs from the authors' code: padding is found as transformers does; the thumbnail stays in raster order; a crop that shows
anything keeps a token at least; at `keep=1.0` all is kept, which their budgets would not give to dull crops.
"""
# C crops, the thumbnail first, N patches of a crop, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, check_scores, top
from .crops import Crops
from .selections import best_of_each, keep_where
from .signals import Signal, given

__all__ = ["GlobalCom2"]


@dataclass(frozen=True)
class GlobalCom2:
    """Divide a picture's budget among its crops, and keep the best patches of each.

    Args:
        keep: R, the share of patches that is kept, in (0, 1]; a float, because the number of valid ones differs from picture to
            picture.
        tau: temperature of the division; the authors' 10 is for sums of CLIP's logits, and with small scores makes all budgets
            equal. "auto" is the standard deviation of the sums.
        score: "cls_logits" for attention of the class token before the softmax; "received_attention" for encoders without one,
            where `tau="auto"` is wanted.
        layer: block of the vision encoder that is asked; the authors' is the last, behind the one that features come from.
        sort_thumbnail: keep the thumbnail's patches in raster order; False for the order of their scores, as published.
    Raises: InvalidInput: a value that is none of these.
    """

    keep: float
    tau: float | Literal["auto"] = 10.0
    score: Literal["cls_logits", "received_attention"] = "cls_logits"
    layer: int = -1
    sort_thumbnail: bool = True

    def __post_init__(self) -> None:
        check_budget(self.keep)
        if not isinstance(self.keep, float):
            raise InvalidInput(f"keep={self.keep}; it must be a share of the patches, a float in (0, 1]")
        if self.tau != "auto" and (isinstance(self.tau, str) or not self.tau > 0):
            raise InvalidInput(f"tau={self.tau!r}; it must be > 0, or 'auto'")
        if self.score not in ("cls_logits", "received_attention"):
            raise InvalidInput(f"score={self.score!r}; there are 'cls_logits' and 'received_attention'")
        Signal(self.score, self.layer)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """A score of each patch, and where the crops lie."""
        return {"scores": Signal(self.score, self.layer), "crops": Signal("crops")}

    def __call__(self, x_CND: Tensor, *, scores_CN: Tensor | None = None, crops: Crops | None = None) -> TokenMap:
        """Choose patches of all crops of one picture, `x_CND`, floating point (C, N, D), by their scores alone.

        Args:
            scores_CN: of each patch; floating point.
            crops: where they lie.
        Returns: a selection of valid patches, of different numbers in each crop; the lower index of equals.
        Raises: InvalidInput: another number of crops or patches than `crops` says, features or scores that are not finite, more
            crops than patches on a side. MissingSignal: the scores or the crops are not given.
        """
        scores_CN = given(scores_CN, self.score, self).float()
        crops = given(crops, "crops", self)
        assert crops is not None
        check_features(x_CND)
        if x_CND.shape[:2] != (crops.count, crops.side**2):
            raise InvalidInput(f"features of {x_CND.shape[0]} crops and {x_CND.shape[1]} patches, but there are {crops.count} of {crops.side**2}")  # fmt: skip
        check_scores(scores_CN, x_CND.shape[:2], "scores_CN")
        valid_CN = crops.valid.to(x_CND.device)
        shares_C = torch.cat([torch.tensor([self.keep], dtype=torch.float64), self.budgets(scores_CN[0], crops).cpu()])
        # Rounded at 7 digits before it is cut, so that 0.29 of 100 is 29.
        sizes = valid_CN.sum(1).tolist()
        counts = [min(size, max(1, int(round(size * share, 7)))) for size, share in zip(sizes, shares_C.tolist())]
        both_CN = self._guided(scores_CN, valid_CN, crops)
        kept_CN = best_of_each(both_CN.masked_fill(~valid_CN, -torch.inf), torch.tensor(counts, device=x_CND.device))
        found = keep_where(kept_CN & valid_CN)
        if self.sort_thumbnail or found.index_BM is None:
            return found
        index_CM = found.index_BM.clone()
        index_CM[0, : counts[0]] = top(scores_CN[:1], counts[0])[0]
        return TokenMap.keep(index_CM, of=x_CND.shape[1])

    def budgets(self, thumbnail_N: Tensor, crops: Crops) -> Tensor:
        """The share r of each crop, float64 (C - 1,), from the scores of the thumbnail.

        With S the sums of the scores of the thumbnail where each crop lies, r = min(1, R (1 + softmax(S / tau) - 1 / n)).

        Raises: InvalidInput: more crops than patches on a side.
        """
        if max(crops.rows, crops.columns) > crops.side:
            raise InvalidInput(f"{crops.rows} x {crops.columns} crops for a thumbnail of {crops.side} x {crops.side} patches")  # fmt: skip
        scores = thumbnail_N.double().view(crops.side, crops.side)
        # The last cell of a row or column takes what does not divide.
        cell = torch.arange(crops.side, device=scores.device)
        row = (cell // (crops.side // crops.rows)).clamp(max=crops.rows - 1)
        column = (cell // (crops.side // crops.columns)).clamp(max=crops.columns - 1)
        sums = scores.new_zeros(crops.count - 1)
        sums.index_add_(0, (row[:, None] * crops.columns + column).flatten(), scores.flatten())
        tau = sums.std(unbiased=False) if self.tau == "auto" else self.tau
        # Equal sums have no deviation to be divided by.
        share = ((sums - sums.max()) / (tau if tau > 0 else 1)).softmax(0)
        if self.keep == 1:
            return torch.ones_like(share)
        return (self.keep + self.keep * (share - 1 / len(share))).clamp(max=1)

    def _guided(self, scores_CN: Tensor, valid_CN: Tensor, crops: Crops) -> Tensor:
        """Scores of the crops' valid patches, each crop's of length 1, plus those of the thumbnail there, likewise."""
        top_, bottom, left, right = crops.area
        thumbnail = scores_CN[0].view(1, 1, crops.side, crops.side)
        above = interpolate(
            thumbnail, (max(1, bottom - top_), max(1, right - left)), mode="bilinear", align_corners=False
        )
        row_CN, column_CN = crops.canvas.to(scores_CN.device).unbind(2)
        place_CN = ((row_CN - top_) * above.shape[3] + column_CN - left).masked_fill(~valid_CN, 0)
        place_CN[0] = 0  # on no canvas
        above_CN = above.flatten()[place_CN].masked_fill(~valid_CN, 0)
        own_CN = scores_CN.masked_fill(~valid_CN, 0)
        both_CN = normalize(own_CN, dim=1) + normalize(above_CN, dim=1)
        # The thumbnail is judged by itself, and not even rounded.
        both_CN[0] = scores_CN[0]
        return both_CN
