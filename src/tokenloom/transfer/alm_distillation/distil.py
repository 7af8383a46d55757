"""The loop that trains a student on several losses at once; the conventions are those of `models.training.train`."""
# k losses

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import InvalidInput
from ...core.ledger import Ledger
from ...models.training import learning_rate
from .chunks import Pairs
from .gradmag import gradmag, last_layer
from .scores import Scores, score

__all__ = ["Distilled", "Loss", "distil"]

Loss = Callable[[Scores, Scores, Pairs], Tensor]
"""From what teacher and student say of a batch to a scalar: `ALM`, `NextToken`, `HiddenStates`, `MinED`."""


@dataclass(frozen=True)
class Distilled:
    """What `distil` gives; the student itself was trained in place.

    Args:
        losses: name → value in each step, float64 (steps,).
        weights: name → what GradMag multiplied it with, float64 (steps,).
        ledger: what the student cost; activated parameters count every parameter once per token.
    """

    losses: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    ledger: Ledger


def distil(
    student: nn.Module,
    batches: Iterable[tuple[Pairs, Scores]],
    losses: Mapping[str, Loss],
    *,
    steps: int,
    lr: float = 1e-5,
    warmup: int = 0,
    min_lr: float = 0.0,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.95),
    clip: float = 1.0,
    block: int = 512,
    progress: Callable[[int, dict[str, float]], None] | None = None,
) -> Distilled:
    """Train the weights of a student that require gradients; several losses are weighed by GradMag.

    Args:
        student: a causal model of transformers; see `score`.
        batches: of documents and what the teacher says of them, see `taught`; one for each step.
        losses: by name.
        steps: of AdamW.
        lr, warmup, min_lr: see `models.training.learning_rate`.
        weight_decay: of matrices; vectors are never decayed.
        betas: of AdamW.
        clip: largest norm of the gradient.
        block: positions whose logits are held together.
        progress: called after each step with its number and the losses.
    Raises: InvalidInput: settings out of range, no loss, nothing to train, batches that end early, a loss that is not finite.
    """
    if steps < 1 or not 0 <= warmup < steps:
        raise InvalidInput(f"{steps=} must be at least 1, and {warmup=} at least 0 and less")
    if not (0 <= min_lr <= lr and 0 < lr < math.inf and clip > 0 and weight_decay >= 0):
        raise InvalidInput(f"{lr=}, {min_lr=}, {clip=}, {weight_decay=}; need 0 <= min_lr <= lr, lr > 0, clip > 0")
    trained = [weight for weight in student.parameters() if weight.requires_grad]
    if not losses or not trained:
        raise InvalidInput(f"{len(losses)} losses and {len(trained)} weights to train; at least one of each is needed")
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=lr, betas=betas)
    last = last_layer(student) if len(losses) > 1 else []
    values = np.empty((steps, len(losses)))
    weights = np.ones((steps, len(losses)))
    ledger, parameters = Ledger(), sum(p.numel() for p in student.parameters())
    source = iter(batches)
    was_training = student.training
    student.train()
    try:
        for step in range(1, steps + 1):
            for group in adamw.param_groups:
                group["lr"] = learning_rate(step, steps=steps, lr=lr, warmup=warmup, min_lr=min_lr)
            pairs, said = _next(source, step, steps)
            # Frozen layers get gradients for GradMag, which needs their size only.
            with _requiring(last):
                mine = score(student, pairs.student, block=block)
                found = [loss(said, mine, pairs) for loss in losses.values()]
                values[step - 1] = [float(one.detach()) for one in found]
                if not np.isfinite(values[step - 1]).all():
                    raise InvalidInput(
                        f"the losses of step {step} are {values[step - 1].tolist()}; try a lower lr than {lr}"
                    )
                total = found[0]
                if len(found) > 1:
                    shares = gradmag(found, last)
                    weights[step - 1] = shares.double().cpu().numpy()
                    total = (shares * torch.stack(found)).sum()
                total.backward(inputs=trained)
            nn.utils.clip_grad_norm_(trained, clip)
            adamw.step()
            adamw.zero_grad()
            # Around a whole training, autocast would go on with the weights as they were when it first read them.
            torch.clear_autocast_cache()
            seen = int(pairs.student.lengths.sum())
            ledger += Ledger(1, seen, seen * parameters, pairs.bytes)
            if progress is not None:
                progress(step, dict(zip(losses, values[step - 1].tolist())))
    finally:
        student.train(was_training)
    return Distilled(dict(zip(losses, values.T)), dict(zip(losses, weights.T)), ledger)


def _next(source: Iterator[tuple[Pairs, Scores]], step: int, steps: int) -> tuple[Pairs, Scores]:
    batch = next(source, None)
    if batch is None:
        raise InvalidInput(f"batches ended in step {step} of {steps}; one is needed for each")
    return batch


@contextmanager
def _requiring(weights: Sequence[nn.Parameter]) -> Iterator[None]:
    """These weights require gradients for a while."""
    before = [weight.requires_grad for weight in weights]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        yield
    finally:
        for weight, required in zip(weights, before):
            weight.requires_grad_(required)
