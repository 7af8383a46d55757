"""SparseVLM: in stages, keep the visual tokens that the words about the picture look at, and recycle the best of the others.

Zhang et al. 2024, arXiv 2410.04417, section 3; version 1.0 of the authors' code. Differs from it: no noise breaks
ties of density, the lower index does; and a recycled token is the mean of its cluster, without 1e-6 in the denominator.
"""
# B batch, N visual tokens that are left, V at first, M kept, R recycled, C clusters, Q text tokens behind the picture, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, check_scores, tokens_kept, top
from .signals import MissingSignal, Signal, given

__all__ = ["BUDGETS", "SparseVLM", "density_peaks", "raters"]

BUDGETS = {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)}
"""Tokens kept in the three stages, of LLaVA-1.5's 576, for the mean number of tokens over all layers that the paper names."""


@dataclass(frozen=True)
class SparseVLM:
    """Keep visual tokens by the attention of those text tokens that fit the picture best.

    Args:
        layers: after which of the decoder's layers, from 1 on, ascending. The attention is that of the layer that has run.
        keep: tokens kept in each stage, or fractions of the first number of tokens; see `BUDGETS`. Recycled ones come on top.
        recycle: cluster the best 30% of the dropped tokens, ten to a cluster or so, and put the means behind those kept.
    Raises: InvalidInput: layers that do not ascend, not one budget for each.

    The defaults are those of LLaVA-1.5-7B for 192 tokens. In the authors' code positions are numbered anew after each stage:
    `attach(model, SparseVLM(), positions="compact")`.
    """

    layers: tuple[int, ...] = (3, 7, 16)
    keep: tuple[int | float, ...] = BUDGETS[192]
    recycle: bool = True

    def __post_init__(self) -> None:
        if not self.layers or self.layers[0] < 1 or list(self.layers) != sorted(set(self.layers)):
            raise InvalidInput(f"layers={self.layers}; they must ascend from 1 on")
        if len(self.keep) != len(self.layers):
            raise InvalidInput(f"keep={self.keep}; there must be one budget for each of {len(self.layers)} layers")
        for keep in self.keep:
            check_budget(keep)

    def needs(self, layer: int) -> Mapping[str, Signal]:
        """Attention of the layer that has run, and the text's embeddings; `first_BVD` is asked for by name."""
        return {"attention": Signal("text_attention", layer), "text": Signal("text_features")}

    def __call__(
        self,
        x_BND: Tensor,
        *,
        layer: int,
        total: int,
        attention_BQN: Tensor | None = None,
        text_BQD: Tensor | None = None,
        first_BVD: Tensor | None = None,
    ) -> TokenMap:
        """Choose and merge among the visual tokens that are left after `layer`.

        Args:
            x_BND: floating point; their distances decide what is recycled together.
            total: V.
            attention_BQN: of text to visual tokens in this layer, the mean over heads.
            text_BQD: the text behind the picture where the language model begins.
            first_BVD: the visual tokens there, all of them.
        Returns: kept tokens in their order, then recycled ones.
        Raises: MissingSignal: one of them is not there. InvalidInput: another layer, more tokens than are left, values that do
            not fit or are not finite.
        """
        check_features(x_BND)
        if layer not in self.layers:
            raise InvalidInput(f"layer={layer}; tokens are dropped after layers {self.layers}")
        attention_BQN, text_BQD = (given(value, kind, self) for value, kind in ((attention_BQN, "text_attention"), (text_BQD, "text_features")))  # fmt: skip
        if first_BVD is None:
            raise MissingSignal("SparseVLM needs first_BVD, the visual tokens where the language model begins")
        batch, n, _ = x_BND.shape
        m = tokens_kept(self.keep[self.layers.index(layer)], total)
        if m > n:
            raise InvalidInput(f"{m} tokens are to be kept after layer {layer}, but {n} are left")
        raters_BQ = raters(first_BVD, text_BQD).float()
        if attention_BQN.shape != (batch, raters_BQ.shape[1], n):
            raise InvalidInput(
                f"attention_BQN has shape {tuple(attention_BQN.shape)}; it must be {(batch, raters_BQ.shape[1], n)}"
            )
        scores_BN = (attention_BQN.float() * raters_BQ[..., None]).sum(1) / raters_BQ.sum(1, keepdim=True)
        check_scores(scores_BN, x_BND.shape[:2], "attention_BQN")
        order_BN = top(scores_BN, n)
        kept_BM = order_BN[:, :m].sort(1).values
        if m == n or not self.recycle:
            return TokenMap.keep(kept_BM, of=n)
        recycled_BR = order_BN[:, m : m + int((n - m) * 0.3) + 1]
        clusters = recycled_BR.shape[1] // 10 + 1
        chosen = recycled_BR[..., None].expand(-1, -1, x_BND.shape[2])
        cluster_BR = density_peaks(x_BND.gather(1, chosen), clusters)
        target_BN = torch.full((batch, n), -1, dtype=torch.int64, device=x_BND.device)
        target_BN.scatter_(1, kept_BM, torch.arange(m, device=x_BND.device).expand(batch, -1))
        target_BN.scatter_(1, recycled_BR, m + cluster_BR)
        return TokenMap.merge(target_BN, m + clusters)


def raters(first_BVD: Tensor, text_BQD: Tensor) -> Tensor:
    """Text tokens that fit the picture better than the mean: bool (B, Q); all of them where none does.

    fit = mean over visual tokens of softmax over text tokens (V Eᵀ).

    Raises: InvalidInput: widths or batches that differ, no text, values that are not finite.
    """
    if (
        first_BVD.dim() != 3
        or text_BQD.dim() != 3
        or first_BVD.shape[::2] != text_BQD.shape[::2]
        or not text_BQD.shape[1]
    ):
        raise InvalidInput(
            f"visual tokens of {tuple(first_BVD.shape)} and text of {tuple(text_BQD.shape)}; they must be (B, V, D) and (B, Q, D)"
        )
    fit_BQ = (first_BVD.float() @ text_BQD.float().transpose(1, 2)).softmax(2).mean(1)
    check_scores(fit_BQ, text_BQD.shape[:2], "the text's fit")
    above_BQ = fit_BQ > fit_BQ.mean(1, keepdim=True)
    return above_BQ | ~above_BQ.any(1, keepdim=True)


def density_peaks(x_BND: Tensor, clusters: int) -> Tensor:
    """Cluster tokens around those that are dense and far from any denser one: the cluster of each token, int64 (B, N).

    distance = ‖x - y‖ / sqrt(D); density = exp(-mean squared distance to the `clusters` nearest tokens, itself among them);
    centres are highest in density * distance to the nearest denser token (the largest distance of all, where none is denser);
    of equally dense ones that with the lower index is denser.
    Du et al. 2016 (DPC-KNN), as TCFormer has it (Zeng et al. 2022, arXiv 2204.08680).

    Raises: InvalidInput: more clusters than tokens, or fewer than 1.
    """
    batch, n, width = x_BND.shape
    if not 1 <= clusters <= n:
        raise InvalidInput(f"clusters={clusters}; it must be from 1 to the number of tokens, {n}")
    x_BND = x_BND.float()
    # Not through the product of the tokens: it would not make the distance of equal ones 0.
    distance_BNN = torch.cdist(x_BND, x_BND, compute_mode="donot_use_mm_for_euclid_dist") / width**0.5
    density_BN = distance_BNN.sort(2).values[..., :clusters].square().mean(2).neg().exp()
    # Two tokens that are next to each other are often as dense; without an order of such, both would become centres.
    earlier_NN = torch.ones(n, n, dtype=torch.bool, device=x_BND.device).tril(-1)
    mine_BN1, other_B1N = density_BN[:, :, None], density_BN[:, None, :]
    denser_BNN = (other_B1N > mine_BN1) | ((other_B1N == mine_BN1) & earlier_NN)
    farthest_B11 = distance_BNN.amax((1, 2), keepdim=True)
    peak_BN = torch.where(denser_BNN, distance_BNN, farthest_B11).amin(2)
    centres_BC = top(peak_BN * density_BN, clusters)
    nearest_BN = distance_BNN.gather(1, centres_BC[..., None].expand(-1, -1, n)).sort(dim=1, stable=True).indices[:, 0]
    return nearest_BN.scatter(1, centres_BC, torch.arange(clusters, device=x_BND.device).expand(batch, -1))
