"""What several reducers do with keys and masses before they compare and merge tokens."""
# B batch, T tokens, H heads, C width of a key, D width

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.errors import InvalidInput
from .budgets import check_scores

__all__ = ["check_masses", "unit_keys"]


def unit_keys(keys_BTHC: Tensor, x_BTD: Tensor) -> Tensor:
    """The mean over heads with length 1 (0 where the mean is 0), float32 (B, T, C), without gradient.

    Raises: InvalidInput: not one key for each token of `x_BTD`, or not finite.
    """
    batch, n = x_BTD.shape[:2]
    if keys_BTHC.dim() != 4 or keys_BTHC.shape[:2] != (batch, n):
        raise InvalidInput(f"keys have shape {tuple(keys_BTHC.shape)}; it must be ({batch}, {n}, heads, width)")
    with torch.no_grad():
        mean_BTC = keys_BTHC.float().mean(2)
        if not bool(torch.isfinite(mean_BTC.sum())):  # which no infinite or missing value survives
            raise InvalidInput("keys are not finite")
        return normalize(mean_BTC, dim=2)


def check_masses(mass_BT: Tensor, shape: Sequence[int]) -> None:
    """Refuse masses that no mean can be weighted by.

    Raises: InvalidInput: not one per token, not finite, or not above 0.
    """
    check_scores(mass_BT, shape, "mass")
    if not bool((mass_BT > 0).all()):
        raise InvalidInput(f"a mass of {float(mass_BT.min())}; each token stands for something, at first for 1")
