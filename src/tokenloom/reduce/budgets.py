"""How many tokens to keep, and which are the best."""
# B batch, N tokens, M tokens kept

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.errors import InvalidInput

__all__ = ["check_budget", "check_features", "check_scores", "tokens_kept", "top"]


def check_budget(keep: int | float) -> None:
    """Refuse what can never be a budget.

    Raises: InvalidInput: an integer below 1, or a fraction outside (0, 1].
    """
    if isinstance(keep, bool) or not isinstance(keep, int | float):
        raise InvalidInput(f"keep={keep!r}; it must be a number of tokens, or a fraction of them as a float")
    if isinstance(keep, int) and keep < 1:
        raise InvalidInput(f"keep={keep}; at least 1 token must be kept")
    if isinstance(keep, float) and not 0 < keep <= 1:
        raise InvalidInput(f"keep={keep}; a fraction must be in (0, 1], a number of tokens is an int")


def tokens_kept(keep: int | float, n: int) -> int:
    """How many of `n` tokens a budget means: an int is their number, a float their share, rounded, and at least 1.

    Rounding is that of Python, to even, as in the published code. 1 is one token, and 1.0 is all of them.
    Raises: InvalidInput: more than there are, or no budget at all.

    >>> tokens_kept(64, 576), tokens_kept(0.334, 576), tokens_kept(1.0, 576)
    (64, 192, 576)
    """
    check_budget(keep)
    if isinstance(keep, int) and keep > n:
        raise InvalidInput(f"keep={keep}, but each item has {n} tokens")
    return keep if isinstance(keep, int) else max(1, round(keep * n))


def check_features(x_BND: Tensor) -> None:
    """Refuse features that no reducer can use.

    Raises: InvalidInput: not three axes, no token, not floating point, not finite.
    """
    if x_BND.dim() != 3 or not x_BND.is_floating_point() or 0 in x_BND.shape:
        raise InvalidInput(f"features are {x_BND.dtype} of {tuple(x_BND.shape)}; they must be floating point (B, N, D)")
    # One sum tells of all in most cases, ten times sooner; it may overflow where nothing is infinite.
    if not bool(torch.isfinite(x_BND.sum())) and not bool(torch.isfinite(x_BND).all()):
        raise InvalidInput("features are not finite")


def check_scores(scores_BN: Tensor, shape: Sequence[int], name: str) -> None:
    """Refuse scores that no ranking can use.

    Args:
        shape: B and N, those of the features.
    Raises: InvalidInput: not one per token, or not finite.
    """
    if scores_BN.shape != tuple(shape):
        raise InvalidInput(
            f"{name} has shape {tuple(scores_BN.shape)}; it must have one value for each token: {tuple(shape)}"
        )
    if not bool(torch.isfinite(scores_BN).all()):
        raise InvalidInput(f"{name} is not finite")


def top(scores_BN: Tensor, m: int) -> Tensor:
    """The `m` highest of each item, highest first, the lower index first among equals: int64 (B, M).

    `torch.topk` promises no order among equals, and differs between devices.
    """
    return scores_BN.sort(dim=1, descending=True, stable=True).indices[:, :m]
