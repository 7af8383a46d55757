"""What a model says of a batch: log-probabilities of the tokens, the mass of word boundaries, and its last states.

Logits are made in blocks of positions and, where gradients are wanted, made again on the way back: of a whole batch they would
need more memory than everything else.
"""
# B documents, T positions, D width, V ids, P positions of a block

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...core.errors import InvalidInput
from .chunks import Pairs, Side

__all__ = ["Scores", "by_blocks", "logits", "score", "taught"]


@dataclass(frozen=True, eq=False)
class Scores:
    """What one model says of its side of a batch.

    Args:
        log_probs: of each token given those before it, float32 (B, T), <= 0; 0 for the first, which nobody predicts.
        boundary: logarithm of the probability that after this token a word ends, float32 (B, T), <= 0.
        states: what the output layer reads, (B, T, D).
        head: the output layer.
    """

    log_probs: Tensor
    boundary: Tensor
    states: Tensor
    head: nn.Linear


def score(model: nn.Module, side: Side, *, block: int = 512) -> Scores:
    """One forward pass; with gradients, unless torch is told that none are wanted.

    Args:
        model: a causal model of transformers, whose logits are its output layer on its last states and nothing more.
        side: what it reads.
        block: positions whose logits are held together.
    Raises: InvalidInput: an id that the model does not know; logits that are scaled or capped behind the output layer.
    """
    head = _head(model)
    if int(side.ids.max()) >= head.out_features:
        raise InvalidInput(
            f"id {int(side.ids.max())}, but the model knows 0 … {head.out_features - 1}; whose ids are they?"
        )
    states_BTD = model.base_model(input_ids=side.ids, use_cache=False).last_hidden_state  # type: ignore[operator]
    targets_BT = F.pad(side.ids[:, 1:], (0, 1))

    def said(states_PD: Tensor, targets_P: Tensor) -> tuple[Tensor, Tensor]:
        logits_PV = logits(head, states_PD)
        total_P = logits_PV.logsumexp(-1)
        picked_P = logits_PV.gather(-1, targets_P[:, None])[:, 0] - total_P
        ends_P = logits_PV[:, side.boundary].logsumexp(-1) - total_P
        # Rounding may put the mass of nearly everything above 1.
        return picked_P.clamp(max=0), ends_P.clamp(max=0)

    picked, boundary = by_blocks(said, states_BTD.flatten(0, 1), targets_BT.flatten(), block=block)
    shape = side.ids.shape
    return Scores(F.pad(picked.view(shape)[:, :-1], (1, 0)), boundary.view(shape), states_BTD, head)


def logits(head: nn.Linear, states_PD: Tensor, rows: Tensor | None = None) -> Tensor:
    """Logits in float32 or better, whatever the body ran in: differences of likelihoods are lost in half precision.

    Args:
        head: the output layer.
        states_PD: what it reads.
        rows: the ids that are wanted; None for all.
    Returns: (P, V).
    """
    dtype = torch.promote_types(states_PD.dtype, torch.float32)
    weight, bias = (None if t is None else t if rows is None else t[rows] for t in (head.weight, head.bias))
    assert weight is not None
    with torch.autocast(states_PD.device.type, enabled=False):
        return F.linear(states_PD.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))


def by_blocks(said: Callable[..., tuple[Tensor, ...]], *inputs: Tensor, block: int) -> list[Tensor]:
    """Outputs of `said`, which treats positions one by one, on blocks of them; what lies between is not kept for gradients."""
    parts = zip(*(one.split(block) for one in inputs))
    made = [checkpoint(said, *part, use_reentrant=False) if torch.is_grad_enabled() else said(*part) for part in parts]
    return [torch.cat(some) for some in zip(*made)]


def taught(teacher: nn.Module, batches: Any, *, block: int = 512) -> Iterator[tuple[Pairs, Scores]]:
    """Batches together with what the teacher says of them; a list of it serves several students.

    Args:
        teacher: as for `score`; in whichever mode it is.
        batches: of `Pairs`, on its device.
        block: as for `score`.
    """
    for pairs in batches:
        with torch.no_grad():
            said = score(teacher, pairs.teacher, block=block)
        yield pairs, said


def _head(model: nn.Module) -> nn.Linear:
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # type: ignore[operator]
    if not isinstance(head, nn.Linear):
        raise InvalidInput(
            f"a {type(model).__name__} has no output layer over ids; give a causal model of transformers"
        )
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if (value := getattr(model.config, name, None)) not in (None, 1):
            raise InvalidInput(
                f"the logits of this model are changed behind its output layer ({name}={value}); that is not read"
            )
    return head
