"""Second: SmolLM2 is to read and write bytes, taught by itself."""

from typing import Any

import torch

from ...transfer.alm_distillation import ALM, HiddenStates, Loss, NextToken, to_bytes
from .sources import load, split
from .training import Lessons, compared, twin

__all__ = ["byte_student"]


def byte_student(
    archives: str | None, models: str | None, seed: int, steps: int, size: int, held_out: int, lr: float
) -> dict[str, Any]:
    """Make the student and train its three tables with each set of losses on the same batches."""
    texts, teacher = split(archives, seed), load(models, "smollm2")
    student = twin(teacher.model, [teacher.model.get_input_embeddings().weight])
    new = to_bytes(student, old=teacher.tokenizer, generator=torch.Generator().manual_seed(seed)).new
    pair = new, int(new.vocab.special_ids[0])
    lessons = Lessons.of(teacher, pair, texts, steps=steps, size=size, held_out=held_out)
    losses: dict[str, dict[str, Loss]] = {
        "SFT": {"sft": NextToken()},
        "ALM": {"alm": ALM()},
        "SFT + ALM + hidden": {"sft": NextToken(), "alm": ALM(), "hidden": HiddenStates()},
    }
    tables = (*student.get_input_embeddings().parameters(), *student.get_output_embeddings().parameters())
    return compared(student, tables, lessons, losses, lr=lr)
