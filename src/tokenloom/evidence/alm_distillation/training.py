"""What the experiments share: batches with what the teacher says of them, students, their training, and what is measured."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import tokenloom as tl

from ...transfer.alm_distillation import ALM, Loss, Pairs, Scores, distil, pair_texts, score, taught
from .sources import Model, documents

__all__ = ["Lessons", "bits", "compared", "ends", "measured", "said_bits", "trained", "twin"]

POINTS = 4  # evaluations after the first


@dataclass(frozen=True, eq=False)
class Lessons:
    """Batches to learn from and one that is held out, each with what the teacher says of it."""

    batches: list[tuple[Pairs, Scores]]
    test: tuple[Pairs, Scores]

    @classmethod
    def of(
        cls,
        teacher: Model,
        student: tuple[Any, int],
        texts: tuple[list[str], list[str]],
        *,
        steps: int,
        size: int,
        held_out: int,
    ) -> Lessons:
        """Lessons by a teacher.

        Args:
            teacher: whose own tokenizer its side has.
            student: its tokenizer and the special id that stands before each text.
            texts: held out, and to learn from.
            steps: batches.
            size: documents of a batch.
            held_out: documents.
        """

        def pairs(some: list[str]) -> Pairs:
            return pair_texts(some, teacher.tokenizer, student[0], start=(teacher.start, student[1]))

        test, lessons = documents(texts[0])[:held_out], documents(texts[1])[: steps * size]
        # A block of Gemma's logits takes a megabyte for each position.
        ready = taught(teacher.model, map(pairs, [test, *(lessons[i::steps] for i in range(steps))]), block=128)
        return cls(test=next(ready), batches=list(ready))

    @property
    def bytes(self) -> dict[str, int]:
        """Of the texts that are learnt from, and of those held out."""
        return {"distilled": sum(pairs.bytes for pairs, _ in self.batches), "held out": self.test[0].bytes}

    @property
    def teacher(self) -> float:
        """Bits per byte of the teacher."""
        return said_bits(self.test[1].log_probs, self.test[0], "teacher")


def twin(model: nn.Module, own: Iterable[nn.Parameter]) -> Any:
    """A copy with weights of its own, which are those to be trained; all others are frozen, and shared with `model`."""
    mine = {id(weight) for weight in own}
    for weight in model.parameters():
        weight.requires_grad_(id(weight) in mine)
    return copy.deepcopy(model, {id(p): p for p in model.parameters() if id(p) not in mine})


def compared(
    student: nn.Module,
    own: Iterable[nn.Parameter],
    lessons: Lessons,
    losses: Mapping[str, Mapping[str, Loss]],
    *,
    lr: float,
) -> dict[str, Any]:
    """Train a twin of the student with each set of losses on the same batches.

    Returns: bits per byte of the teacher, a curve for each set, bytes of text, and what all of it cost.
    """
    own, begin = list(own), measured(student, lessons.test, 0)
    curves, ledger = {}, tl.Ledger()
    for name, these in losses.items():
        curve, cost = trained(twin(student, own), lessons, these, lr=lr)
        curves[name], ledger = [begin, *curve], ledger + cost
    return {"teacher": lessons.teacher, "curves": curves, "bytes": lessons.bytes, "ledger": ledger.as_dict()}


def trained(
    student: Any, lessons: Lessons, losses: Mapping[str, Loss], *, lr: float
) -> tuple[list[dict[str, float]], tl.Ledger]:
    """Train a student; what held-out text says on the way and in the end, and what that cost."""
    steps = len(lessons.batches)
    every = max(1, steps // POINTS)
    curve = []

    def told(step: int, values: dict[str, float]) -> None:
        if step % every == 0:
            curve.append(measured(student, lessons.test, step))

    # The body of a student in training runs in bfloat16, in two thirds of the time; logits and losses do not.
    with torch.autocast("cpu", torch.bfloat16):
        done = distil(student, lessons.batches, losses, steps=steps, lr=lr, warmup=steps // 10, progress=told)
    return curve, done.ledger


def measured(student: Any, test: tuple[Pairs, Scores], step: int) -> dict[str, float]:
    """Bits per byte, and how far the likelihoods of chunks are from the teacher's, in float32."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        said = score(student, test[0].student)
    theirs, ours, _ = ALM().likelihoods(test[1], said, test[0])
    distance = float((theirs - ours).abs().mean())
    return {"step": step, "bits": said_bits(said.log_probs, test[0], "student"), "distance": distance}


def said_bits(log_probs_BT: torch.Tensor, pairs: Pairs, side: str) -> float:
    """Bits per byte of a batch: -log2 p of all tokens behind the start."""
    lengths = getattr(pairs, side).lengths
    real = torch.arange(log_probs_BT.shape[1]) < lengths[:, None]
    return float(-log_probs_BT[real].double().sum() / np.log(2) / pairs.bytes)


def bits(model: nn.Module, pairs: Pairs) -> float:
    """Bits per byte of a model that answers with log-probabilities, on the student's side."""
    ids_BT = pairs.student.ids
    with torch.no_grad():
        picked = model(ids_BT)[:, :-1].gather(-1, ids_BT[:, 1:, None])[..., 0]
    return said_bits(F.pad(picked, (1, 0)), pairs, "student")


def ends(found: list[dict[str, Any]], what: str) -> dict[str, list[float]]:
    """The last value of each curve, for each trial."""
    return {name: [one["curves"][name][-1][what] for one in found] for name in found[0]["curves"]}
