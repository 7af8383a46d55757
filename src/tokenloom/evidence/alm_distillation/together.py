"""Fourth: SmolLM2 and Gemma 3 are brought to one new tokenizer, and speak together."""

from typing import Any

import torch

import tokenloom as tl

from ...tokenize.text.bpe import BPE
from ...transfer.alm_distillation import ALM, Ensemble, NextToken
from ...transfer.transplanting import transplant
from .sources import load, split
from .training import Lessons, bits, measured, trained, twin

__all__ = ["together"]


def together(
    archives: str | None,
    models: str | None,
    seed: int,
    vocab_size: int,
    steps: int,
    size: int,
    held_out: int,
    lr: float,
) -> dict[str, Any]:
    """Give each the new tokenizer, let it teach itself (ALM + SFT, its table alone), and average what the two say."""
    texts = split(archives, seed)
    new = BPE(vocab_size)(texts[1])
    pair = new, int(new.vocab.special_ids[0])
    curves, before, teachers, students, ledger = {}, {}, {}, {}, tl.Ledger()
    for name, label in (("smollm2", "SmolLM2"), ("gemma", "Gemma 3")):
        teacher = load(models, name)
        lessons = Lessons.of(teacher, pair, texts, steps=steps, size=size, held_out=held_out)
        student = twin(teacher.model, [teacher.model.get_input_embeddings().weight])
        transplant(student, new, old=teacher.tokenizer, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            # One token begins and ends texts here, and gets the row of an end; but Gemma is lost without its own beginning.
            row = teacher.model.get_input_embeddings().weight[teacher.start]
            student.get_input_embeddings().weight[pair[1]] = row
        before[label] = twin(student, [])
        students[label] = twin(student, [student.get_input_embeddings().weight])
        curve, cost = trained(students[label], lessons, {"alm": ALM(), "sft": NextToken()}, lr=lr)
        curves[label] = [measured(before[label], lessons.test, 0), *curve]
        teachers[label], ledger = lessons.teacher, ledger + cost
    pairs = lessons.test[0]
    return {
        "teachers": teachers,
        "curves": curves,
        "both": {
            "untrained, mean of probabilities": bits(Ensemble(list(before.values())), pairs),
            "trained, mean of probabilities": bits(Ensemble(list(students.values())), pairs),
            "trained, mean of logs": bits(Ensemble(list(students.values()), mean="logs"), pairs),
        },
        "bytes": lessons.bytes,
        "ledger": ledger.as_dict(),
    }
