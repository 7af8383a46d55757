"""From logits to the distribution that is sampled: temperature, then the k most probable, then the nucleus.

The order, and what is kept of equal values, are those of transformers, so that the same settings mean the same distribution.
Nucleus: Holtzman et al. 2020, arXiv 1904.09751.
"""
# V ids

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.errors import InvalidInput

__all__ = ["Warp", "drawn", "happens"]


@dataclass(frozen=True)
class Warp:
    """Settings of sampling.

    Args:
        temperature: logits are divided by it; 0 for the most probable id alone, the lowest of equals.
        top_k: ids that are left; those equal to the last are left, too.
        top_p: the fewest of the most probable ids that have this much together are left; 1 for all.
    Raises: InvalidInput: numbers out of range.

    >>> Warp(top_k=2)(torch.tensor([3.0, 3.0, 1.0, 1.0])).tolist()
    [0.5, 0.5, 0.0, 0.0]
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InvalidInput(f"temperature={self.temperature}; it must be 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise InvalidInput(f"top_k={self.top_k}; it must be at least 1")
        if not 0 < self.top_p <= 1:
            raise InvalidInput(f"top_p={self.top_p}; it must be in (0, 1]")

    @property
    def greedy(self) -> bool:
        """Whether nothing is drawn."""
        return self.temperature == 0

    def __call__(self, logits: Tensor) -> Tensor:
        """Probabilities, float64 of the shape (…, V) of `logits`.

        Raises: InvalidInput: NaN among them.
        """
        if bool(logits.isnan().any()):
            raise InvalidInput("logits are NaN")
        if self.greedy:
            return torch.zeros_like(logits, dtype=torch.float64).scatter(-1, logits.argmax(-1, keepdim=True), 1)
        scaled = logits.double() / self.temperature
        if self.top_k is not None:
            least = scaled.topk(min(self.top_k, scaled.shape[-1]), dim=-1).values[..., -1:]
            scaled = scaled.masked_fill(scaled < least, -torch.inf)
        if self.top_p < 1:
            ascending, order = scaled.sort(dim=-1)
            outside = ascending.softmax(-1).cumsum(-1) <= 1 - self.top_p
            outside[..., -1] = False
            scaled = scaled.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf)
        return scaled.softmax(-1)


def drawn(p_V: Tensor, generator: torch.Generator) -> int:
    """An id with the probabilities `p_V`, floating point, from one number of the generator."""
    total_V = p_V.double().cumsum(0)
    u = torch.rand((), generator=generator, dtype=torch.float64, device=generator.device).to(p_V.device) * total_V[-1]
    # Rounding could lead behind the last id that has any probability.
    return min(int(torch.searchsorted(total_V, u, right=True)), int(p_V.nonzero()[-1]))


def happens(probability: float, generator: torch.Generator) -> bool:
    """Whether something of this probability happens, from one number of the generator; always from 1 on."""
    return float(torch.rand((), generator=generator, dtype=torch.float64, device=generator.device)) < probability
