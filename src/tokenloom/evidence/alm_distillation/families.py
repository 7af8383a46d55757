"""Third: SmolLM2, with its own tokenizer, learns from Gemma 3, a larger model of another family."""

from typing import Any

from ...transfer.alm_distillation import ALM, Loss, NextToken
from .sources import load, split
from .training import Lessons, compared

__all__ = ["families"]

# The tables fit their tokenizer already. What is to change is what the model says, and weights next to the output change
# that without a way back through the whole body.
LAYERS = 4


def families(
    archives: str | None, models: str | None, seed: int, steps: int, size: int, held_out: int, lr: float
) -> dict[str, Any]:
    """Train the last layers of the student with each set of losses on the same batches."""
    texts, teacher, student = split(archives, seed), load(models, "gemma"), load(models, "smollm2")
    pair = student.tokenizer, student.start
    lessons = Lessons.of(teacher, pair, texts, steps=steps, size=size, held_out=held_out)
    losses: dict[str, dict[str, Loss]] = {
        "SFT": {"sft": NextToken()},
        "ALM": {"alm": ALM()},
        "ALM + SFT": {"alm": ALM(), "sft": NextToken()},
    }
    body = student.model.base_model
    last = (*body.layers[-LAYERS:].parameters(), *body.norm.parameters())
    return compared(student.model, last, lessons, losses, lr=lr)
