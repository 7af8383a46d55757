"""How far two models are apart on "this chunk comes next, or something else does".

Both log-likelihoods are divided by a temperature, τ = 100, so that also chunks of some improbability are heard; what is left of a
probability is then close to 1, and its complement has to be computed as such: half precision, or log(1 - e^y) written out,
would keep nothing of it. Minixhofer et al. 2025, section 3; the formulas of the divergences are those of the authors' code.
"""
# C chunks

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.errors import InvalidInput

__all__ = [
    "EPSILON",
    "Divergence",
    "Renyi",
    "absolute_log_ratio",
    "binary_cross_entropy",
    "limit",
    "log1mexp",
    "ratio",
    "reverse_kl",
    "squared_log_ratio",
    "total_variation",
]

EPSILON = 1e-6  # taken off every logarithm, so that a certain chunk has a complement too

Divergence = Callable[[Tensor, Tensor, float], Tensor]
"""From log-likelihoods of teacher and student, (C,), <= 0, and the temperature to a value for each chunk, (C,)."""


def log1mexp(y: Tensor) -> Tensor:
    """log(1 - e^y) for y < 0, to the last digits at both ends, and so its gradient.

    >>> [f"{y:.6e}" for y in log1mexp(torch.tensor([-1e-6, -50.0], dtype=torch.float64)).tolist()]
    ['-1.381551e+01', '-1.928750e-22']
    """
    # Mächler 2012: each form where it loses nothing. The other gets a harmless value, for its gradient counts as well.
    far = y < -math.log(2)
    return torch.where(
        far, torch.log1p(-torch.exp(torch.where(far, y, -1.0))), torch.log(-torch.expm1(torch.where(far, -0.5, y)))
    )


def binary_cross_entropy(teacher_C: Tensor, student_C: Tensor, temperature: float) -> Tensor:
    """-u log v - (1 - u) log(1 - v): the gradient of the binary KL, but the entropy of u at its minimum."""
    u, v = _shifted(teacher_C, temperature), _shifted(student_C, temperature)
    return -(u.exp() * v - u.expm1() * log1mexp(v))


def reverse_kl(teacher_C: Tensor, student_C: Tensor, temperature: float) -> Tensor:
    """v log(v / u) + (1 - v) log((1 - v) / (1 - u))."""
    u, v = _shifted(teacher_C, temperature), _shifted(student_C, temperature)
    return v.exp() * (v - u) - v.expm1() * (log1mexp(v) - log1mexp(u))


def total_variation(teacher_C: Tensor, student_C: Tensor, temperature: float) -> Tensor:
    """|u - v|."""
    return (_shifted(teacher_C, temperature).expm1() - _shifted(student_C, temperature).expm1()).abs()


def absolute_log_ratio(teacher_C: Tensor, student_C: Tensor, temperature: float) -> Tensor:
    """|log p_T - log p_S|; the temperature does not matter."""
    return (teacher_C - student_C).abs()


def squared_log_ratio(teacher_C: Tensor, student_C: Tensor, temperature: float) -> Tensor:
    """½ ((log p_T - log p_S) / τ)²."""
    return ((teacher_C - student_C) / temperature).square() / 2


def ratio(teacher_C: Tensor, student_C: Tensor, temperature: float) -> Tensor:
    """(r - 1) - log r, with r = (p_T / p_S)^(1/τ)."""
    log_r = (teacher_C - student_C) / temperature
    return log_r.expm1() - log_r


def limit(teacher_C: Tensor, student_C: Tensor, temperature: float) -> Tensor:
    """τ times the binary KL for τ → ∞: a log(a / b) - a + b, with a = -log p_T and b = -log p_S."""
    a, b = EPSILON - teacher_C, EPSILON - student_C
    return a * (a / b).log() - a + b


@dataclass(frozen=True)
class Renyi:
    """log(u^α v^(1-α) + (1 - u)^α (1 - v)^(1-α)) / (α - 1).

    Args:
        alpha: its order, > 0 and not 1; towards 1 it becomes the binary KL.
    """

    alpha: float

    def __post_init__(self) -> None:
        if not (self.alpha > 0 and self.alpha != 1 and math.isfinite(self.alpha)):
            raise InvalidInput(f"alpha={self.alpha}; it must be above 0 and not 1")

    def __call__(self, teacher_C: Tensor, student_C: Tensor, temperature: float) -> Tensor:
        u, v = _shifted(teacher_C, temperature), _shifted(student_C, temperature)
        a = self.alpha
        return torch.logaddexp(a * u + (1 - a) * v, a * log1mexp(u) + (1 - a) * log1mexp(v)) / (a - 1)


def _shifted(log_likelihood_C: Tensor, temperature: float) -> Tensor:
    return log_likelihood_C / temperature - EPSILON
