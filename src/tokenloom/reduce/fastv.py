"""FastV: after an early decoder layer, keep the visual tokens that the last token of the prompt looks at.

Chen et al. 2024, arXiv 2403.06764, section 4. In the authors' code K counts layers from 0 and tokens are missing from layer K
on; our `layer` counts from 1 those that see all tokens, which is the same number. K = 0, which there means random tokens, is
not offered.
"""
# B batch, N visual tokens, M kept, Q text tokens behind the picture, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, check_scores, tokens_kept, top
from .signals import Signal, given

__all__ = ["FastV"]


@dataclass(frozen=True)
class FastV:
    """Keep the visual tokens with the highest attention from the last row of one decoder layer, the mean over heads.

    Args:
        keep: tokens, or a fraction of them, rounded.
        layer: how many layers see all tokens; the attention is that of the last of them. From 1 on.
    Raises: InvalidInput: `keep` is no budget, or `layer` is below 1.
    """

    keep: int | float = 0.5
    layer: int = 2

    def __post_init__(self) -> None:
        check_budget(self.keep)
        if self.layer < 1:
            raise InvalidInput(f"layer={self.layer}; at least one layer must have run")

    @property
    def layers(self) -> tuple[int, ...]:
        """After which layers it works."""
        return (self.layer,)

    def needs(self, layer: int) -> Mapping[str, Signal]:
        """Attention of the layer that has run."""
        return {"attention": Signal("text_attention", layer)}

    def __call__(self, x_BND: Tensor, *, layer: int, total: int, attention_BQN: Tensor | None = None) -> TokenMap:
        """Choose among the visual tokens; the lower index of equals.

        Args:
            x_BND: floating point; only its shape matters.
            attention_BQN: of text to visual tokens in this layer, after the softmax over all keys, the mean over heads; its
                last row is used.
        Returns: a selection in the original order.
        Raises: MissingSignal: no attention. InvalidInput: another layer, more tokens than there are, attention that does not fit
            or is not finite.
        """
        check_features(x_BND)
        if layer != self.layer:
            raise InvalidInput(f"layer={layer}; tokens are dropped after layer {self.layer}")
        n = x_BND.shape[1]
        last_BN = given(attention_BQN, "text_attention", self)[:, -1:].float().mean(1)
        check_scores(last_BN, x_BND.shape[:2], "attention_BQN")
        return TokenMap.keep(top(last_BN, tokens_kept(self.keep, n)).sort(1).values, of=n)
