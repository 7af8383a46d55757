"""VisionZip: keep the patches that the class token looks at, and the class token; merge the others into a few.

Yang et al. 2024, arXiv 2412.04467, section 3.2, and the authors' code, which adds to each merged token the mean of the tokens
that it stands for: it is the sum of two vectors and about twice as long as a patch.
"""
# B batch, T tokens with the class token, M kept, H heads, C width of a key

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, check_scores, tokens_kept, top
from .keys import unit_keys
from .signals import Signal, given

__all__ = ["VisionZip"]


@dataclass(frozen=True)
class VisionZip:
    """Dominant tokens by the attention of the class token, then contextual ones, made from the rest.

    Args:
        keep: all tokens left, the class token among them, or a fraction of all; 1.0 changes nothing.
        contextual: the part of them that is merged. The default is that of the authors, 10 of 64, 20 of 128 and 30 of 192.
        average: make contextual tokens plain means of what goes into them, which is ours.
    Raises: InvalidInput: `keep` is no budget, `contextual` not in [0, 1).

    >>> attention = torch.tensor([[0.5, 0.1, 0.2, 0.1, 0.05, 0.05]])  # the class token's own first
    >>> x = torch.eye(6)[None]
    >>> found = VisionZip(keep=3, contextual=0.34)(x, attention_BT=attention, keys_BTHC=x[:, :, None], prefix=1)
    >>> found.positions_BM.tolist(), found.matrix()[0, 2].tolist()
    ([[0, 2, 1]], [0.0, 1.0, 0.0, 0.3333333432674408, 0.3333333432674408, 0.3333333432674408])
    """

    keep: int | float
    contextual: float = 10 / 64
    average: bool = False

    def __post_init__(self) -> None:
        check_budget(self.keep)
        if not 0 <= self.contextual < 1:
            raise InvalidInput(f"contextual={self.contextual}; it must be a part of what is kept, in [0, 1)")

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Attention of the class token, keys, and the class token itself."""
        return {"attention": Signal("cls_attention"), "keys": Signal("keys"), "prefix": Signal("prefix")}

    def __call__(
        self,
        x_BTD: Tensor,
        *,
        attention_BT: Tensor | None = None,
        keys_BTHC: Tensor | None = None,
        prefix: int | None = None,
    ) -> TokenMap:
        """Keep and merge tokens of `x_BTD`, floating point (B, T, D), the class token first.

        Returns: dominant tokens in their order, then contextual ones, in the order of the patches that they began with. Their
            rows sum to 2 unless `average`, or nothing else went there.
        Raises: InvalidInput: `keep` exceeds T, no class token or more tokens before the patches, values that are not finite.
            MissingSignal.
        """
        attention_BT, keys_BTHC = given(attention_BT, "cls_attention", self), given(keys_BTHC, "keys", self)
        check_features(x_BTD)
        batch, n, _ = x_BTD.shape
        if given(prefix, "prefix", self) != 1:
            raise InvalidInput(f"{prefix=}; VisionZip is made for one class token before the patches")
        check_scores(attention_BT, x_BTD.shape[:2], "attention_BT")
        unit_BTC = unit_keys(keys_BTHC, x_BTD)
        keep = tokens_kept(self.keep, n)
        if keep == n:
            return TokenMap.identity(batch, n, x_BTD.device)
        merged = min(round(keep * self.contextual), keep - 1)  # the class token stays
        scores_BT = attention_BT.detach().float().clone()
        scores_BT[:, 0] = torch.inf
        order_BT = top(scores_BT, n)
        dominant_BM = order_BT[:, : keep - merged].sort(1).values
        rest_BR = order_BT[:, keep - merged :].sort(1).values
        rows_B = torch.arange(batch, device=x_BTD.device)[:, None]
        target_BT = torch.full((batch, n), -1, device=x_BTD.device)
        target_BT[rows_B, dominant_BM] = torch.arange(keep - merged, device=x_BTD.device)
        share_BT = torch.ones(batch, n, device=x_BTD.device)
        if merged:
            target_BR, share_BR = self._contextual(unit_BTC[rows_B, rest_BR], merged)
            target_BT[rows_B, rest_BR] = keep - merged + target_BR
            share_BT[rows_B, rest_BR] = share_BR
        return TokenMap.merge(target_BT, keep, share_BT)

    def _contextual(self, unit_BRC: Tensor, merged: int) -> tuple[Tensor, Tensor]:
        """Which merged token each patch goes into, and with what weight."""
        batch, n, _ = unit_BRC.shape
        step = max(1, n // merged)
        first_R = torch.zeros(n, dtype=torch.bool, device=unit_BRC.device)
        first_R[: step * merged : step] = True
        nearest_BR = (unit_BRC @ unit_BRC[:, first_R].transpose(1, 2)).max(2).indices
        own_R = first_R.cumsum(0) - 1
        target_BR = torch.where(first_R, own_R, nearest_BR)
        joined_BR = (~first_R).float().expand(batch, -1)
        counts_BM = joined_BR.new_zeros(batch, merged).scatter_add(1, target_BR, joined_BR)
        if self.average:
            return target_BR, 1 / (1 + counts_BM).gather(1, target_BR)
        return target_BR, torch.where(first_R, 1.0, 1 / counts_BM.clamp(min=1).gather(1, target_BR))
