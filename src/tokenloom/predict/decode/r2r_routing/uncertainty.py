"""What the router is compared with: routing by the small model's uncertainty, and by chance."""
# N places, K largest logits

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ....core.errors import InvalidInput
from .states import States

__all__ = ["AleatoricRouting", "EntropyRouting", "EpistemicRouting", "RandomRouting"]


@dataclass(frozen=True)
class EntropyRouting:
    """The entropy of the small model's distribution, in nats; the authors route from 0.45 on."""

    @property
    def k(self) -> int:
        """Logits it needs."""
        return 1

    def __call__(self, states: States) -> Tensor:
        """Entropies, float64 (N,)."""
        return states.entropy_N


@dataclass(frozen=True)
class AleatoricRouting:
    """Aleatoric uncertainty of a Dirichlet distribution whose evidence are the K largest logits a_i, S their sum:

    AU = -Σ a_i / S · (ψ(a_i + 1) - ψ(S + 1))

    Logits are no evidence below 0, and count as 0 then. Ma et al. 2025 (LogTokU), arXiv 2502.00290.

    Args:
        k: K.
    Raises: InvalidInput: k below 1.
    """

    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidInput(f"k={self.k}; it must be at least 1")

    def __call__(self, states: States) -> Tensor:
        """Uncertainties, float64 (N,), 0 where there is no evidence at all."""
        a_NK, total_N1 = _evidence(states, self.k)
        share_NK = a_NK / total_N1.clamp(min=torch.finfo(torch.float64).tiny)
        return -(share_NK * (torch.digamma(a_NK + 1) - torch.digamma(total_N1 + 1))).sum(1)


@dataclass(frozen=True)
class EpistemicRouting:
    """Epistemic uncertainty from the K largest logits, EU = K / (S + K) as in `AleatoricRouting`.

    Args:
        k: K.
    Raises: InvalidInput: k below 1.
    """

    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidInput(f"k={self.k}; it must be at least 1")

    def __call__(self, states: States) -> Tensor:
        """Uncertainties, float64 (N,), in (0, 1]."""
        _, total_N1 = _evidence(states, self.k)
        return self.k / (total_N1[:, 0] + self.k)


@dataclass(frozen=True)
class RandomRouting:
    """Uniform numbers in [0, 1): a threshold of 1 - r routes a share r of the tokens.

    Args:
        generator: draws them.
    """

    generator: torch.Generator

    @property
    def k(self) -> int:
        """Logits it needs."""
        return 1

    def __call__(self, states: States) -> Tensor:
        """Numbers, float64 (N,)."""
        return torch.rand(len(states), generator=self.generator, dtype=torch.float64)


def _evidence(states: States, k: int) -> tuple[Tensor, Tensor]:
    if states.logits_NK.shape[1] < k:
        raise InvalidInput(f"states with {states.logits_NK.shape[1]} logits, of which {k=} are wanted")
    a_NK = states.logits_NK[:, :k].double().clamp(min=0)
    return a_NK, a_NK.sum(1, keepdim=True)
