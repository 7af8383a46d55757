"""TransPrune: inside a language model, keep the visual tokens that layers change most and that the question looks at.

Attention alone favours tokens near the end of the picture; how much a token is turned and scaled from module to module does
not depend on where it stands. Li et al. 2025, arXiv 2507.20630, section 3.
Where paper and authors' code differ, the defaults are the code's, from which the published numbers come.
"""
# B batch, N visual tokens that are left, M kept, Q text tokens behind the picture, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_features, check_scores, top
from .signals import Signal, given
from .transitions import Transition, transition_scores

__all__ = ["TransPrune"]


@dataclass(frozen=True)
class TransPrune:
    """Drop visual tokens in stages between decoder layers.

    score = alpha * T + (1 - alpha) * I; T is the sum of `transition_scores` over the accumulated layers that have run, I the
    attention of the text behind the picture in the layer that comes next, its mean over heads and text tokens; both sum to 1.

    Args:
        layers: after which of the decoder's layers tokens are dropped, from 1 on, ascending.
        ratios: how many are left after each, as a fraction of the first number; int(N * ratio), as in the code.
        accumulated: layers whose transitions are added up.
        alpha: weight of the transitions. 0 needs none of them, 1 no attention.
        cosine: "signed" as in the code, or "abs" as in the paper; see `transition_scores`.
        over: "all" positions in its softmax as in the code, or the "image" as in the paper.
    Raises: InvalidInput: layers that do not ascend, ratios that grow or lie outside (0, 1], nothing accumulated before the first.

    The defaults are those of LLaVA-1.5-7B and LLaVA-NeXT-7B, which have 32 layers. Positions of tokens are the model's matter:
    `attach(model, TransPrune(), positions="compact")` numbers what is left anew after each stage, as the code does.
    """

    layers: tuple[int, ...] = (7, 9, 12)
    ratios: tuple[float, ...] = (0.875, 0.625, 0.125)
    accumulated: tuple[int, ...] = (7, 8, 9, 10, 11, 12)
    alpha: float = 0.5
    cosine: Literal["signed", "abs"] = "signed"
    over: Literal["all", "image"] = "all"

    def __post_init__(self) -> None:
        if not self.layers or self.layers[0] < 1 or list(self.layers) != sorted(set(self.layers)):
            raise InvalidInput(f"layers={self.layers}; they must ascend from 1 on")
        if len(self.ratios) != len(self.layers) or not all(0 < ratio <= 1 for ratio in self.ratios):
            raise InvalidInput(
                f"ratios={self.ratios}; there must be one in (0, 1] for each of {len(self.layers)} layers"
            )
        if list(self.ratios) != sorted(self.ratios, reverse=True):
            raise InvalidInput(f"ratios={self.ratios}; they are of the first number of tokens and must not grow")
        if not self.accumulated or not 1 <= min(self.accumulated) <= self.layers[0]:
            raise InvalidInput(
                f"accumulated={self.accumulated}; one layer at least must have run before tokens are dropped after layer {self.layers[0]}"
            )
        if not 0 <= self.alpha <= 1:
            raise InvalidInput(f"alpha={self.alpha}; it must lie in [0, 1]")
        if self.cosine not in ("signed", "abs") or self.over not in ("all", "image"):
            raise InvalidInput(
                f"cosine={self.cosine!r}, over={self.over!r}; they must be 'signed' or 'abs', and 'all' or 'image'"
            )

    def needs(self, layer: int) -> Mapping[str, Signal]:
        """Transitions of all layers from the first accumulated one on, and attention in the layer after `layer`."""
        transitions = {"transitions": Signal("transitions", min(self.accumulated))} if self.alpha > 0 else {}
        return transitions | ({"attention": Signal("text_attention", layer + 1)} if self.alpha < 1 else {})

    def __call__(
        self,
        x_BND: Tensor,
        *,
        layer: int,
        total: int,
        transitions: Mapping[int, Transition] | None = None,
        attention_BQN: Tensor | None = None,
    ) -> TokenMap:
        """Choose among the visual tokens that are left after `layer`; the lower index of equals.

        Args:
            x_BND: floating point; only its shape matters.
            total: visual tokens at first.
            transitions: of each layer by its number.
            attention_BQN: of text to visual tokens in the next layer, after the softmax over all keys, the mean over heads.
        Returns: a selection in the original order.
        Raises: MissingSignal: transitions or attention are not there. InvalidInput: another layer, a budget of no token or of
            more than are left, values that do not fit or are not finite.
        """
        check_features(x_BND)
        if layer not in self.layers:
            raise InvalidInput(f"layer={layer}; tokens are dropped after layers {self.layers}")
        n, ratio = x_BND.shape[1], self.ratios[self.layers.index(layer)]
        m = int(total * ratio)
        if not 1 <= m <= n:
            raise InvalidInput(f"ratio {ratio} of {total} tokens is {m}; it must be from 1 to {n}, which are left")
        scores_BN = torch.zeros(x_BND.shape[:2], device=x_BND.device)
        if self.alpha > 0:
            recorded = given(transitions, "transitions", self)
            chosen = [given(recorded.get(at), "transitions", self) for at in self.accumulated if at <= layer]
            parts = [transition_scores(one, cosine=self.cosine, over=self.over) for one in chosen]
            for part_BN in parts:
                check_scores(part_BN, x_BND.shape[:2], "transitions")
            scores_BN = scores_BN + self.alpha * _to_one(torch.stack(parts).sum(0))
        if self.alpha < 1:
            seen_BN = given(attention_BQN, "text_attention", self).float().mean(1)
            check_scores(seen_BN, x_BND.shape[:2], "attention_BQN")
            scores_BN = scores_BN + (1 - self.alpha) * _to_one(seen_BN)
        return TokenMap.keep(top(scores_BN, m).sort(1).values, of=n)


def _to_one(scores_BN: Tensor) -> Tensor:
    # 1e-8 is the code's.
    return scores_BN / (scores_BN.sum(1, keepdim=True) + 1e-8)
