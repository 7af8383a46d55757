"""Cross-entropy at k places further on, over the labels that there are; head by head, so that logits of one alone are held."""
# B batch, T positions, D width, V ids, P predicted positions, K heads beside the model's own

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....core.errors import InvalidInput
from ....models.batches import IGNORED, Batch
from ....models.tables import output_layer
from .heads import CaftHeads
from .trunk import states_of

__all__ = ["HeadLosses", "check_batch", "evaluate_heads", "head_losses", "label_counts", "loss_sum", "targets"]


def check_batch(batch: Batch, heads: int) -> None:
    """Raises: InvalidInput: labels that are not as many as ids, or rows too short for so many heads."""
    ids, labels = batch["input_ids"], batch["labels"]
    if ids.dim() != 2 or labels.shape != ids.shape:
        raise InvalidInput(
            f"labels {tuple(labels.shape)} for input_ids {tuple(ids.shape)}; both must be (B, T), label t being that of id t"
        )
    if ids.shape[1] <= heads:
        raise InvalidInput(
            f"rows of {ids.shape[1]} ids, but {heads} heads look further ahead; they need {heads + 1} or more"
        )


def targets(batch: Batch, k: int) -> Tensor:
    """What head k is to predict at each position, int64 (B, T - 1 - k); -100 where nothing.

    Position t predicts the label at t + 1 + k, if that position sees t: what follows padding or another example of a packed row
    is no continuation. The model's own head, k = 0, predicts whatever has a label, as `models.training.train` does.
    """
    labels = batch["labels"][:, 1 + k :]
    mask = batch.get("mask")
    if mask is None or k == 0:
        return labels
    size = batch["labels"].shape[1]
    sees = mask.expand(labels.shape[0], 1, size, size)[:, 0].diagonal(-1 - k, dim1=1, dim2=2)
    return torch.where(sees, labels, IGNORED)


def label_counts(batch: Batch, heads: int) -> Tensor:
    """How many labels each head has, int64 (K + 1,)."""
    return torch.stack([(targets(batch, k) != IGNORED).sum() for k in range(heads + 1)])


def loss_sum(model: nn.Module, heads: CaftHeads | None, states_BTD: Tensor, batch: Batch, k: int) -> Tensor:
    """Sum of -log p over the labels of head k, in nats, a scalar of float32 or better; 0 where there is none."""
    target_BS = targets(batch, k)
    valid_BS = target_BS != IGNORED
    if heads is None or k == 0:
        made_BTD, head = states_BTD, output_layer(model)
    else:
        made_BTD, head = heads(model, states_BTD, batch, k), heads.unembedding(model, k)
    # Only what has a label is projected: where prompts are long, that is a small part.
    logits_PV = head(made_BTD[:, : -1 - k][valid_BS])
    dtype = torch.promote_types(logits_PV.dtype, torch.float32)
    return F.cross_entropy(logits_PV.to(dtype), target_BS[valid_BS], reduction="sum")


def head_losses(model: nn.Module, heads: CaftHeads | None, batch: Batch, *, before_last_layer: bool = False) -> Tensor:
    """L_0 … L_K: mean of -log p of the token 1 + k places further on, for the model's own head and the K others.

    Args:
        model: a causal model of transformers, or a `Transformer`.
        heads: None for none.
        batch: of `input_ids` and `labels`, both int64 (B, T), labels -100 where nothing is predicted; perhaps `mask` and
            `positions`, see `models.training.logits_of`.
        before_last_layer: whether the heads read what the last layer reads; see `HeadPretraining`.
    Returns: float32 or better (K + 1,), in nats, with gradients; 0 for a head without a label.
    Raises: InvalidInput: labels that are not aligned, rows of no more than K ids.
    """
    count = 0 if heads is None else len(heads)
    check_batch(batch, count)
    final = states_of(model, batch)
    read = states_of(model, batch, before_last_layer=True) if before_last_layer and count else final
    sums = [loss_sum(model, heads, read if k else final, batch, k) for k in range(count + 1)]
    return torch.stack(sums) / label_counts(batch, count).clamp(min=1)


@dataclass(frozen=True)
class HeadLosses:
    """What `evaluate_heads` gives.

    Args:
        each: L_0 … L_K, the mean over all labels of all batches, in nats, float64 (K + 1,); 0 for a head without a label.
        counts: labels of each, int64 (K + 1,).
    """

    each: np.ndarray
    counts: np.ndarray

    def score(self, alpha: float = 0.8) -> float:
        """Σ α^k L_k over all heads, the model's own included: by which the authors choose among models; less is better."""
        return float((alpha ** np.arange(self.each.size) * self.each).sum())


@torch.no_grad()
def evaluate_heads(
    model: nn.Module, heads: CaftHeads | None, batches: Iterable[Batch], *, before_last_layer: bool = False
) -> HeadLosses:
    """Losses of all heads on held-out batches, in evaluation mode; each label weighs the same, however it is batched.

    Raises: InvalidInput: no batch, or one that `head_losses` refuses.
    """
    count = 0 if heads is None else len(heads)
    sums, counts = np.zeros(count + 1), np.zeros(count + 1, np.int64)
    parts = [model] if heads is None else [model, heads]
    modes = [part.training for part in parts]
    for part in parts:
        part.eval()
    for batch in batches:
        means = head_losses(model, heads, batch, before_last_layer=before_last_layer).double().cpu().numpy()
        held = label_counts(batch, count).cpu().numpy()
        sums, counts = sums + means * held, counts + held
    for part, mode in zip(parts, modes):
        part.train(mode)
    if not counts[0]:
        raise InvalidInput("no batch with a label to evaluate on")
    return HeadLosses(sums / counts.clip(1), counts)
