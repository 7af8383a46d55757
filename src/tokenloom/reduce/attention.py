"""Scores of tokens from the attention weights of a layer, for those who have the weights at hand."""
# B batch, H heads, T tokens with the prefix, N patches

from __future__ import annotations

import torch
from torch import Tensor

from ..core.errors import InvalidInput

__all__ = ["class_attention", "received_attention"]


def received_attention(weights_BHTT: Tensor, *, prefix: int = 0) -> Tensor:
    """How much attention each patch receives, the mean over heads and all queries, those of the prefix included: (B, N).

    Args:
        weights_BHTT: attention after the softmax, such as of transformers' `output_attentions=True`; floating point.
        prefix: tokens before the patches, which are left out of the result.
    Raises: InvalidInput: weights that do not add up to 1 over the keys, no patch behind the prefix.
    """
    return _checked(weights_BHTT, prefix).float().mean((1, 2))[:, prefix:]


def class_attention(weights_BHTT: Tensor, *, prefix: int = 1) -> Tensor:
    """How much attention the class token, which is the first, pays to each patch, the mean over heads: (B, N).

    Args and Raises: as above; there is a prefix.
    """
    if prefix < 1:
        raise InvalidInput(f"prefix={prefix}; the class token is a part of the prefix")
    return _checked(weights_BHTT, prefix)[:, :, 0].float().mean(1)[:, prefix:]


def _checked(weights_BHTT: Tensor, prefix: int) -> Tensor:
    if (
        weights_BHTT.dim() != 4
        or weights_BHTT.shape[2] != weights_BHTT.shape[3]
        or not weights_BHTT.is_floating_point()
    ):
        raise InvalidInput(f"attention is {weights_BHTT.dtype} of {tuple(weights_BHTT.shape)}; it must be (B, H, T, T)")
    if not 0 <= prefix < weights_BHTT.shape[3]:
        raise InvalidInput(f"prefix={prefix} of {weights_BHTT.shape[3]} tokens; a patch must be left")
    # Half precision rounds each weight.
    tolerance = 1e-3 if weights_BHTT.dtype in (torch.float32, torch.float64) else 2e-2
    off = (weights_BHTT.sum(3, dtype=torch.float32) - 1).abs()
    if not bool((off <= tolerance).all()):
        raise InvalidInput(f"attention adds up to 1 ± {float(off.max()):.3g} over the keys; give it after the softmax")
    return weights_BHTT
