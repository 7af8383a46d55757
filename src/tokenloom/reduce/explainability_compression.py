"""Explainability-guided compression: predict from the first layer's attention on which visual tokens an answer will depend.

"Generic Token Compression in Multimodal Large Language Models from an Explainability Perspective" 2025, arXiv 2506.01097. Attention
weights times their gradients say, after the answer, which tokens mattered (Chefer, Gur, Wolf 2021, arXiv 2103.15679, without
its normalisation); a small convolutional network learns to say so before it, from the first layer alone, and what it ranks low
never enters the language model. There is no public code; the width of the convolutions, their norms and the scale of their
input are our choice.
"""
# B items, N visual tokens, M tokens kept, T positions, H heads, Q text tokens, A ids of an answer, C channels

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from ..hosts.vision_language.relevance import attention_gradients, visual_span
from ..models.saved_modules import load_module, save_module
from .budgets import check_budget, check_features, check_scores, tokens_kept, top
from .signals import Signal, given

__all__ = [
    "Compressor",
    "ExplainabilityCompression",
    "compression_loss",
    "relevance",
    "relevance_targets",
    "train_compressor",
    "visual_relevance",
]


# -- A: relevance ------------------------------------------------------------------------------------------------------


def relevance(attention: Sequence[Tensor], gradient: Sequence[Tensor], query: int, columns: range) -> Tensor:
    """How much each of some positions mattered to what a query position says.

    R = I; for each layer from the first: R <- R + mean over heads of (attention * gradient)^+ R. Asked for is one row of R, and
    that is a vector which goes down from the last layer, r <- r + r C: O(T²) a layer instead of O(T³).

    Args:
        attention: weights of each layer, the first one first, (B, H, T, T).
        gradient: of a logit by these; ones instead give attention rollout.
        query: the position whose logit it is.
        columns: positions asked about.
    Returns: float32 (B, columns), not negative.
    Raises: InvalidInput: no layer, not as many gradients of the same shapes, positions that are none.
    """
    if not attention or [a.shape for a in attention] != [g.shape for g in gradient]:
        raise InvalidInput(f"attention of {len(attention)} layers and gradients of {len(gradient)}; each layer has both, of one shape")  # fmt: skip
    batch, _, length, _ = attention[0].shape
    if not (0 <= query < length and columns and columns[0] >= 0 and columns[-1] < length):
        raise InvalidInput(f"query {query} and columns {columns.start} to {columns.stop} of {length} positions")
    row_BT = F.one_hot(torch.tensor([query], device=attention[0].device), length).float().expand(batch, -1)
    for weights, slopes in zip(reversed(attention), reversed(gradient)):
        mattered_BTT = (weights.float() * slopes.float()).relu().mean(1)
        row_BT = row_BT + (row_BT[:, None] @ mattered_BTT)[:, 0]
    return row_BT[:, columns.start : columns.stop]


def visual_relevance(model: Any, inputs: Mapping[str, Tensor], answer_BA: Tensor) -> Tensor:
    """R_v: how much each visual token mattered to the answers of a model, the mean over the ids of each answer.

    Args:
        model: of transformers, with one picture in each prompt.
        inputs: its keyword arguments for the prompts.
        answer_BA: int64, what it answered. Train only on answers that are right: to others the right tokens mattered less.
    Returns: float32 (B, N), not negative.
    Raises: InvalidInput: no answer, visual tokens that are not one run of columns, attention without gradients.
    """
    span = visual_span(inputs["input_ids"], model.config.image_token_id)
    found = [
        relevance(each.attention, each.gradient, each.query, span)
        for each in attention_gradients(model, inputs, answer_BA)
    ]
    return torch.stack(found).mean(0)


# -- B: what the compressor learns -------------------------------------------------------------------------------------


def relevance_targets(relevance_BN: Tensor, share: float = 0.5) -> Tensor:
    """R*: the higher half of the relevance as a distribution, zero elsewhere.

    Args:
        relevance_BN: floating point, not negative.
        share: of the tokens that are not set to zero.
    Raises: InvalidInput: negative or not finite, or an item to which nothing mattered.

    >>> relevance_targets(torch.tensor([[3.0, 1.0, 0.5, 1.0]])).tolist()
    [[0.75, 0.25, 0.0, 0.0]]
    """
    check_scores(relevance_BN, relevance_BN.shape[:2], "relevance_BN")
    if bool((relevance_BN < 0).any()):
        raise InvalidInput("relevance is negative somewhere; it is a sum of what is not")
    kept_BM = top(relevance_BN, tokens_kept(float(share), relevance_BN.shape[1]))
    higher_BN = torch.zeros_like(relevance_BN).scatter(1, kept_BM, relevance_BN.gather(1, kept_BM))
    sums_B1 = higher_BN.sum(1, keepdim=True)
    if bool((sums_B1 == 0).any()):
        raise InvalidInput(f"nothing mattered to item {int((sums_B1[:, 0] == 0).int().argmax())}; leave it out")
    return higher_BN / sums_B1


def compression_loss(log_probs_BN: Tensor, target_BN: Tensor) -> Tensor:
    """KL(R* || predicted), the mean over items; where R* is zero nothing is added.

    Args:
        log_probs_BN: what a `Compressor` gives.
        target_BN: R*, of `relevance_targets`.
    """
    return (torch.xlogy(target_BN, target_BN) - target_BN * log_probs_BN).sum(1).mean()


def train_compressor(
    compressor: Compressor,
    attention_BN: Tensor,
    target_BN: Tensor,
    *,
    epochs: int = 100,
    batch: int = 128,
    lr: float = 1e-3,
    rng: np.random.Generator,
) -> list[float]:
    """Train in place by Adam. The rate is our choice.

    Args:
        attention_BN: what the compressor sees of each item, see there.
        target_BN: R* of each.
        rng: draws the order of the items in each epoch.
    Returns: the mean loss of each epoch, in nats.
    """
    adam = torch.optim.Adam(compressor.parameters(), lr=lr)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for some in np.array_split(rng.permutation(len(target_BN)), -(-len(target_BN) // batch)):
            loss = compression_loss(compressor(attention_BN[some]), target_BN[some])
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item() * len(some)
        losses.append(total / len(target_BN))
    return losses


# -- C: the compressor -------------------------------------------------------------------------------------------------


class Compressor(nn.Module):
    """f: attention that visual tokens receive from the question in the first layer -> how the answer will divide its own.

    Depthwise-separable convolutions along the tokens, each followed by LayerNorm over channels and GELU; then a matrix to one
    channel and a softmax over the tokens. It has no positions, so that it takes any number of tokens. Its input is divided by
    its mean, which makes it the same for pictures of few and of many tokens.

    Args:
        channels: of the convolutions.
        kernel: their width in tokens, odd.
        generator: draws the initial weights, uniform within 1 / sqrt(inputs); None for seed 0.
    Raises: InvalidInput: no channels, or an even width.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        kernel: int = 5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not channels or min(channels) < 1 or kernel < 1 or kernel % 2 == 0:
            raise InvalidInput(
                f"channels={list(channels)} and kernel={kernel}; channels must be at least 1, the kernel odd"
            )
        self.channels, self.kernel = tuple(channels), kernel
        with torch.random.fork_rng(devices=[]):  # torch's own initial weights, replaced below, draw from its generator
            self.layers = nn.ModuleList(_Separable(a, b, kernel) for a, b in pairwise((1, *channels)))
            self.out = nn.Linear(channels[-1], 1)
        self._initialise(generator or torch.Generator().manual_seed(0))

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                bound = module.weight[0].numel() ** -0.5
                for weight in module.parameters():
                    weight.uniform_(-bound, bound, generator=generator)

    def forward(self, attention_BN: Tensor) -> Tensor:
        """Log-probabilities, float32 (B, N).

        Args:
            attention_BN: first-layer attention to each visual token, the mean over heads and question tokens; not negative.
        Raises: InvalidInput: not finite, negative, or all zero in an item.
        """
        check_scores(attention_BN, attention_BN.shape[:2], "attention_BN")
        attention_BN = attention_BN.float()
        if bool((attention_BN < 0).any()) or not bool((attention_BN.sum(1) > 0).all()):
            raise InvalidInput("attention_BN is negative somewhere, or zero everywhere in an item; it is no attention")
        x_BNC = (attention_BN / attention_BN.mean(1, keepdim=True))[..., None]
        for layer in self.layers:
            x_BNC = layer(x_BNC)
        return self.out(x_BNC)[..., 0].log_softmax(1)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and, last, tokenloom.json with their digests.

        Raises: StoreError: a file cannot be written.
        """
        save_module(self, folder, {"channels": self.channels, "kernel": self.kernel})

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Compressor:
        """Load what `save_pretrained` wrote.

        Raises: StoreError: another kind, or a file that is not the one that was written.
        """
        return load_module(cls, folder)


class _Separable(nn.Module):
    """A convolution of each channel by itself, a matrix over channels, LayerNorm, GELU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.along = nn.Conv1d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs)
        self.across, self.norm = nn.Linear(inputs, outputs), nn.LayerNorm(outputs)

    def forward(self, x_BNC: Tensor) -> Tensor:
        return F.gelu(self.norm(self.across(self.along(x_BNC.transpose(1, 2)).transpose(1, 2))))


# -- D: the reducer ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExplainabilityCompression:
    """Keep the visual tokens on which a trained compressor expects the answer to depend; another question keeps others.

    Args:
        compressor: trained on answers of the same model.
        keep: tokens, or a fraction of them; a half and a quarter as published.
    Raises: InvalidInput: `keep` is no budget.
    """

    compressor: Compressor
    keep: int | float

    def __post_init__(self) -> None:
        check_budget(self.keep)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Attention of the question in the language model's first layer."""
        return {"text_attention": Signal("text_attention", layer=1)}

    @torch.no_grad()
    def __call__(self, x_BND: Tensor, *, text_attention_BQN: Tensor | None = None) -> TokenMap:
        """Rank by the first layer's attention, seen by the compressor.

        Args:
            x_BND: features; only their number is used.
            text_attention_BQN: the mean over heads, of all text behind the picture.
        Returns: a selection in the original order; the lower index of equals.
        Raises: InvalidInput: `keep` exceeds N, values that are not finite, another number of tokens. MissingSignal.
        """
        attention_BQN = given(text_attention_BQN, "text_attention", self)
        check_features(x_BND)
        m = tokens_kept(self.keep, x_BND.shape[1])
        attention_BN = attention_BQN.float().mean(1)
        check_scores(attention_BN, x_BND.shape[:2], "text_attention_BQN")
        picks_BM = top(self.compressor(attention_BN), m)
        return TokenMap.keep(picks_BM.sort(1).values, of=x_BND.shape[1])
