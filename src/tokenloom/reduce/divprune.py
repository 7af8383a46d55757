"""DivPrune: keep the tokens that are farthest from each other.

Choosing M of N tokens whose closest pair is as far apart as possible is the max-min diversity problem; picking the farthest
token again and again is within a factor of two of the best. Alvar et al. 2025, arXiv 2503.02175, section 3.
Differs from the authors' code: a chosen token is never chosen again when all that remain are its copies; cosines are compared in
float32, a token is not compared with itself.
"""
# B batch, N tokens, M tokens kept, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, tokens_kept
from .farthest import farthest_first
from .signals import Signal

__all__ = ["DivPrune"]


@dataclass(frozen=True)
class DivPrune:
    """Keep tokens of a picture that are as different as can be; needs the features only, no attention and no text.

    The distance of two tokens is 1 - cosine.

    Args:
        keep: tokens, or a fraction of them.
        eps: shorter tokens count as this long, so that one that is all zero is at distance 1 from all others; with 0 such a token
            is refused.
    Raises: InvalidInput: `keep` is no budget, `eps` is negative.

    >>> x = torch.eye(3).repeat_interleave(2, 0)[None]  # three pairs of equal tokens
    >>> DivPrune(keep=3)(x).index_BM.tolist()
    [[0, 2, 4]]
    """

    keep: int | float
    eps: float = 0.0

    def __post_init__(self) -> None:
        check_budget(self.keep)
        if not self.eps >= 0:
            raise InvalidInput(f"eps={self.eps}; it must be >= 0")

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Nothing but the features."""
        return {}

    def __call__(self, x_BND: Tensor, *, protect_BN: Tensor | None = None) -> TokenMap:
        """Choose tokens of `x_BND`, floating point (B, N, D); the lower index of equals.

        Args:
            protect_BN: tokens that are kept whatever they are, as part of the budget, and that no other is compared with, such
                as the ends of lines of LLaVA-NeXT, which are all the same; bool.
        Returns: a selection in the original order.
        Raises: InvalidInput: `keep` exceeds N, features that are not finite, a token that is all zero, more protected tokens
            than are kept.
        """
        order_BM = self.order(x_BND) if protect_BN is None else self._beside(x_BND, protect_BN)
        return TokenMap.keep(order_BM.sort(1).values, of=x_BND.shape[1])

    def order(self, x_BND: Tensor) -> Tensor:
        """The same tokens in the order in which they are picked, int64 (B, M): two or more of the first serve smaller budgets.

        Raises: InvalidInput: as above.
        """
        m = self._budget(x_BND)
        return farthest_first(self._directions(x_BND), m)

    def _budget(self, x_BND: Tensor) -> int:
        check_features(x_BND)
        return tokens_kept(self.keep, x_BND.shape[1])

    def _directions(self, x_BND: Tensor) -> Tensor:
        wide_BND = x_BND.detach().float()
        lengths_BN = wide_BND.norm(dim=2)
        if not bool(((lengths_BN > 1e-15) & (lengths_BN < 1e15)).all()):
            # Squares of such lengths leave the range of float32, or the features themselves do.
            wide_BND = x_BND.detach().double()
            largest_BN1 = wide_BND.abs().amax(2, keepdim=True)
            lengths_BN = (wide_BND / largest_BN1.where(largest_BN1 > 0, 1)).norm(dim=2) * largest_BN1[..., 0]
        if self.eps == 0 and bool((lengths_BN == 0).any()):
            b, n = (lengths_BN == 0).nonzero()[0].tolist()
            raise InvalidInput(
                f"token {n} of item {b} is all zero and has no direction to compare; eps > 0 would take it"
            )
        return (wide_BND / lengths_BN.clamp(min=self.eps)[..., None]).float()

    def _beside(self, x_BND: Tensor, protect_BN: Tensor) -> Tensor:
        """Protected tokens of each item, then the farthest of the others."""
        m = self._budget(x_BND)
        if protect_BN.shape != x_BND.shape[:2] or protect_BN.dtype != torch.bool:
            raise InvalidInput(f"protect_BN is {protect_BN.dtype} of {tuple(protect_BN.shape)}; it must be bool {tuple(x_BND.shape[:2])}")  # fmt: skip
        if (most := int(protect_BN.sum(1).max())) > m:
            raise InvalidInput(f"{most} tokens of an item are protected, but {m} are kept")
        picks = []
        for x_ND, protect_N in zip(x_BND, protect_BN):
            kept, rest = protect_N.nonzero()[:, 0], (~protect_N).nonzero()[:, 0]
            if len(kept) < m:
                far = farthest_first(self._directions(x_ND[None, rest]), m - len(kept))[0]
                kept = torch.cat([kept, rest[far]])
            picks.append(kept)
        return torch.stack(picks)
