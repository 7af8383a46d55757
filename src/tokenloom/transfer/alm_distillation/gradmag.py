"""GradMag: several losses, each as loud as the others where it matters.

Minixhofer et al. 2025, section 3: weights such that the gradients of all losses with respect to the weights of the last layer have
the same norm. Factors before the losses therefore cancel.
"""
# k losses

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...core.errors import InvalidInput

__all__ = ["gradmag", "last_layer"]


def gradmag(losses: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Weights of losses: λ_i = (1 / (‖g_i‖ + 1e-8)) / Σ_j 1 / (‖g_j‖ + 1e-8), constants to later gradients.

    Args:
        losses: scalars, at least one; their graphs stay.
        weights: tensors that require gradients, with respect to which g_i is taken.
    Returns: float32 (k,), summing to 1.
    Raises: InvalidInput: no loss, or nothing to take gradients to.

    >>> w = torch.ones(2, requires_grad=True)
    >>> gradmag([w.sum(), 3 * w.sum()], [w])
    tensor([0.7500, 0.2500])
    """
    if not losses or not weights:
        raise InvalidInput(f"{len(losses)} losses and {len(weights)} weights; at least one of each is needed")
    loud = []
    for loss in losses:
        found = torch.autograd.grad(loss, list(weights), retain_graph=True, allow_unused=True)
        loud.append(
            sum((g.float().square().sum() for g in found if g is not None), torch.zeros((), device=loss.device)).sqrt()
        )
    quiet = 1 / (torch.stack(loud) + 1e-8)
    return (quiet / quiet.sum()).detach()


def last_layer(model: nn.Module) -> list[nn.Parameter]:
    """The weights of the last block of a model: of the last in its first list of modules.

    Raises: InvalidInput: there is no list of modules.
    """
    layers = next((module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)), None)
    if layers is None:
        raise InvalidInput(f"a {type(model).__name__} has no list of layers to find the last of")
    return list(layers[-1].parameters())
