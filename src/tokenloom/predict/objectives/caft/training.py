"""The loop of all stages: heads alone, or the model with the heads; the conventions are those of `models.training.train`."""
# B batch, T positions, D width, K heads beside the model's own

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ....core.errors import InvalidInput
from ....core.ledger import Ledger
from ....models.batches import Batch
from ....models.tables import output_layer
from ....models.training import learning_rate
from .heads import CaftHeads
from .losses import check_batch, label_counts, loss_sum
from .stages import CAFT, HeadPretraining
from .trunk import check_trunk, states_of

__all__ = ["Trained", "train_caft"]


@dataclass(frozen=True)
class Trained:
    """What `train_caft` gives; model and heads were trained in place.

    Args:
        losses: L_0 … L_K of each step, in nats, float64 (steps, K + 1); nan for a head of weight 0, which was not run.
        weights: what each was multiplied with, float64 (steps, K + 1).
        ledger: what it cost; activated parameters count those of the model and of its heads once per token.
    """

    losses: np.ndarray
    weights: np.ndarray
    ledger: Ledger


def train_caft(
    model: nn.Module,
    heads: CaftHeads | None,
    batches: Iterable[Batch],
    stage: CAFT | HeadPretraining,
    *,
    steps: int,
    lr: float,
    warmup: int = 0,
    min_lr: float | None = None,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    clip: float = 1.0,
    accumulate: int = 1,
    precision: Literal["no", "bf16"] = "no",
    seed: int = 0,
    progress: Callable[[int, np.ndarray], None] | None = None,
) -> Trained:
    """Train heads (`HeadPretraining`), or the model with their help (`CAFT`), in place, on the device where they are.

    Of the model, `CAFT` trains what requires gradients: with LoRA, the adapters alone. Afterwards everything requires gradients,
    or not, as before.

    Args:
        model: a causal model of transformers, or a `Transformer`.
        heads: None for plain fine-tuning.
        batches: of `input_ids` and `labels`, both int64 (B, T), labels -100 where nothing is predicted; perhaps `mask` and
            `positions`. At least `steps * accumulate` of them.
        stage: which loss, and what is trained.
        steps: of AdamW.
        lr: highest learning rate. The authors': 1e-4 for heads, 5e-6 for all of the model, 1e-5 for LoRA, with 8 billion weights.
        warmup: steps until it is reached, fewer than `steps`.
        min_lr: the rate of the last step; None for a tenth of `lr`.
        weight_decay: of matrices; vectors are never decayed.
        betas: of AdamW.
        clip: largest norm of the gradient.
        accumulate: batches per step; each label of a head weighs the same, as in one large batch.
        precision: "bf16" runs in bfloat16 what may be; weights stay as they are.
        seed: of dropout; torch's global generator is left as it was.
        progress: called after each step with its number and the losses, float64 (K + 1,).
    Raises: InvalidInput: settings out of range, no heads to train, batches that end early, predict nothing or are not aligned, a
        loss that is not finite.
    """
    min_lr = lr / 10 if min_lr is None else min_lr
    if min(steps, accumulate) < 1 or not 0 <= warmup < steps:
        raise InvalidInput(
            f"{steps=} and {accumulate=} must be at least 1, and {warmup=} at least 0 and less than steps"
        )
    if not (0 <= min_lr <= lr and 0 < lr < math.inf and clip > 0 and weight_decay >= 0):
        raise InvalidInput(f"{lr=}, {min_lr=}, {clip=}, {weight_decay=}; need 0 <= min_lr <= lr, lr > 0, clip > 0")
    if precision not in ("no", "bf16"):
        raise InvalidInput(f"{precision=}; it must be 'no' or 'bf16'")
    heads_alone, count = isinstance(stage, HeadPretraining), 0 if heads is None else len(heads)
    if heads_alone and not count:
        raise InvalidInput("no heads, but heads alone are to be trained; give CaftHeads of at least 1")
    check_trunk(model)
    trained = _trained(model, heads, stage)
    if not trained:
        raise InvalidInput("no weight of the model requires gradients, so there is nothing to train")
    device = trained[0].device
    autocast = torch.autocast(device.type, torch.bfloat16, precision == "bf16")
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=lr, betas=betas, fused=device.type in ("cpu", "cuda"))
    parts = [model] if heads is None else [model, heads]
    parameters = sum(p.numel() for part in parts for p in part.parameters())
    losses, weights = np.full((steps, count + 1), np.nan), np.empty((steps, count + 1))
    ledger, source = Ledger(), iter(batches)

    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), _only(trained, parts):
        torch.manual_seed(seed)
        model.train(not heads_alone)
        if heads is not None:
            heads.train(isinstance(stage, HeadPretraining) or stage.train_heads)
        for step in range(1, steps + 1):
            for group in adamw.param_groups:
                group["lr"] = learning_rate(step, steps=steps, lr=lr, warmup=warmup, min_lr=min_lr)
            chosen = [{name: value.to(device) for name, value in b.items()} for b in islice(source, accumulate)]
            if len(chosen) < accumulate:
                raise InvalidInput(f"batches ended in step {step} of {steps}; {steps * accumulate} are needed")
            for batch in chosen:
                check_batch(batch, count)
            weights[step - 1] = stage.weights(count, (step - 1) / steps)
            counts = sum(label_counts(batch, count) for batch in chosen).tolist()  # type: ignore[union-attr]
            used = [k for k in range(count + 1) if weights[step - 1, k] > 0]
            if not any(counts[k] for k in used):
                raise InvalidInput(f"step {step}: no label that is used but -100, so nothing is predicted")
            # A mean over the step and not over its batches: one with few labels must not weigh as much as a full one.
            scales = {k: (weights[step - 1, k], max(counts[k], 1)) for k in used}
            sums = np.sum([_backward(model, heads, stage, batch, scales, autocast) for batch in chosen], axis=0)
            losses[step - 1, used] = sums[used] / np.maximum(counts, 1)[used]
            if not np.isfinite(losses[step - 1, used]).all():
                raise InvalidInput(
                    f"the losses of step {step} are {losses[step - 1].tolist()}; try a lower lr than {lr}"
                )
            nn.utils.clip_grad_norm_(trained, clip)
            adamw.step()
            adamw.zero_grad()
            seen = sum(batch["input_ids"].numel() for batch in chosen)
            ledger += Ledger(accumulate, seen, seen * parameters)
            if progress is not None:
                progress(step, losses[step - 1])
    return Trained(losses, weights, ledger)


def _trained(model: nn.Module, heads: CaftHeads | None, stage: CAFT | HeadPretraining) -> list[nn.Parameter]:
    own = [] if heads is None else list(heads.parameters())
    if isinstance(stage, HeadPretraining):
        return own
    frozen = {id(weight) for weight in output_layer(model).parameters()} if stage.freeze_unembedding else set()
    return [w for w in model.parameters() if w.requires_grad and id(w) not in frozen] + own * stage.train_heads


def _backward(
    model: nn.Module,
    heads: CaftHeads | None,
    stage: CAFT | HeadPretraining,
    batch: Batch,
    scales: dict[int, tuple[float, int]],
    autocast: torch.autocast,
) -> np.ndarray:
    """Gradients of a batch, and the sums of its losses, float64 (K + 1,).

    Each head goes back to the states before the next one makes its logits, and the trunk once, with the sum of what they left there
    (as Gloeckle et al. 2024, arXiv 2404.19737, section 2): with K + 1 logits at a time, these would need most of the memory.
    """
    below = isinstance(stage, HeadPretraining) and stage.before_last_layer
    with autocast:
        states_BTD = states_of(model, batch, before_last_layer=below)
    read_BTD: Tensor = states_BTD.detach().requires_grad_(states_BTD.requires_grad)
    sums = np.zeros(1 if heads is None else len(heads) + 1)
    for k, (weight, count) in scales.items():
        with autocast:
            part = loss_sum(model, heads, read_BTD, batch, k)
        if part.requires_grad:
            (part * weight / count).backward()
        sums[k] = part.item()
    if read_BTD.grad is not None:
        states_BTD.backward(read_BTD.grad)
    return sums


@contextmanager
def _only(trained: Sequence[nn.Parameter], parts: Sequence[nn.Module]) -> Iterator[None]:
    """For a while, of the weights of all parts only those that are trained require gradients; their modes are kept, too."""
    weights = [(weight, weight.requires_grad) for part in parts for weight in part.parameters()]
    modes = [part.training for part in parts]
    chosen = {id(weight) for weight in trained}
    for weight, _ in weights:
        weight.requires_grad_(id(weight) in chosen)
    try:
        yield
    finally:
        for weight, required in weights:
            weight.requires_grad_(required)
        for part, mode in zip(parts, modes):
            part.train(mode)
