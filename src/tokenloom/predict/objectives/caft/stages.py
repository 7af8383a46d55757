"""What is trained when, and on which sum of losses; the share of the extra heads over the course of fine-tuning."""
# K heads beside the model's own

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....core.errors import InvalidInput

__all__ = ["CAFT", "HeadPretraining", "SineUntil", "constant", "linear", "reflected_sine", "sine"]


def reflected_sine(progress: float) -> float:
    """sin((1 - s) π/2): all at first, nothing in the end.

    >>> [round(reflected_sine(s), 3) for s in (0, 0.3, 1)]
    [1.0, 0.891, 0.0]
    """
    return math.sin((1 - progress) * math.pi / 2)


def sine(progress: float) -> float:
    """sin(s π/2): nothing at first, all in the end.

    >>> [round(sine(s), 3) for s in (0, 0.3, 1)]
    [0.0, 0.454, 1.0]
    """
    return math.sin(progress * math.pi / 2)


def linear(progress: float) -> float:
    """s."""
    return float(progress)


def constant(progress: float) -> float:
    """1."""
    return 1.0


@dataclass(frozen=True)
class SineUntil:
    """sin(s/ratio π/2) up to `ratio`, then 1.

    Args:
        ratio: of the steps, in (0, 1].
    Raises: InvalidInput: another ratio.

    >>> [round(SineUntil(0.6)(s), 3) for s in (0, 0.3, 1)]
    [0.0, 0.707, 1.0]
    """

    ratio: float

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise InvalidInput(f"ratio={self.ratio}; it must be in (0, 1]")

    def __call__(self, progress: float) -> float:
        return sine(progress / self.ratio) if progress < self.ratio else 1.0


@dataclass(frozen=True)
class HeadPretraining:
    """Stage 1, and 1b: the heads alone learn, the model stays as it is. The loss is Σ α^k L_k over k = 1 … K.

    Args:
        alpha: α, at least 0.
        before_last_layer: whether heads read what the model's last layer reads, as in the authors' code, whose heads start as the
            second-to-last layer. Fine-tuning gives them the states behind the final norm all the same, of another scale and a layer
            further on, so that what they learnt fits badly. False: those states here, too.
    Raises: InvalidInput: an alpha below 0.
    """

    alpha: float = 0.8
    before_last_layer: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < math.inf:
            raise InvalidInput(f"alpha={self.alpha}; it must be at least 0")

    def weights(self, heads: int, progress: float) -> np.ndarray:
        """What each loss is multiplied with, float64 (K + 1,)."""
        return np.array([0.0, *(self.alpha**k for k in range(1, heads + 1))])


@dataclass(frozen=True)
class CAFT:
    """Stage 2: the model learns from its own head and, through the others, to know what comes after.

    L = L_0 + Σ β α^k γ(s) L_k over k = 1 … K, where s is the share of the steps that are done.

    Args:
        alpha: α, at least 0; the first extra head has α, not 1.
        beta: β, at least 0; 0 is plain fine-tuning.
        gamma: γ, from s in [0, 1] to [0, 1]: `reflected_sine`, `sine`, `linear`, `constant`, `SineUntil(ratio)`.
        train_heads: whether the heads learn as well.
        freeze_unembedding: whether the output layer stays as it is. With tied embeddings that is the input embedding, too. With LoRA
            it makes no difference, unless an adapter is on that layer.
    Raises: InvalidInput: an alpha or beta below 0.

    >>> CAFT().weights(2, 0.0).round(6).tolist()
    [1.0, 0.008, 0.0064]
    """

    alpha: float = 0.8
    beta: float = 0.01
    gamma: Callable[[float], float] = reflected_sine
    train_heads: bool = False
    freeze_unembedding: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.alpha < math.inf and 0 <= self.beta < math.inf):
            raise InvalidInput(f"alpha={self.alpha} and beta={self.beta}; both must be at least 0")

    def weights(self, heads: int, progress: float) -> np.ndarray:
        """What each loss is multiplied with, float64 (K + 1,)."""
        share = self.beta * self.gamma(progress)
        return np.array([1.0, *(share * self.alpha**k for k in range(1, heads + 1))])

    def __call__(self, losses: Tensor, progress: float) -> Tensor:
        """The loss, a scalar, for a training loop of one's own.

        Args:
            losses: L_0 … L_K, (K + 1,), from `head_losses`.
            progress: share of the steps that are done, in [0, 1].
        Raises: InvalidInput: a progress outside.
        """
        if not 0 <= progress <= 1:
            raise InvalidInput(f"progress={progress}; it is the share of the steps that are done, in [0, 1]")
        weights = torch.from_numpy(self.weights(losses.numel() - 1, progress))
        return (weights.to(losses) * losses).sum()
