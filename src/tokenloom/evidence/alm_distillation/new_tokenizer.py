"""First: SmolLM2 gets another subword tokenizer and is taught by itself; and what two tokenizers agree on in a text."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core.segmentation import align
from ...hosts import load_tokenizer
from ...tokenize.text.bpe import BPE
from ...transfer.alm_distillation import ALM, Loss, MinED, NextToken, nearest_tokens
from ...transfer.transplanting import transplant
from .sources import OTHERS, load, split
from .training import Lessons, compared, twin

__all__ = ["new_tokenizer"]


def new_tokenizer(
    archives: str | None,
    models: str | None,
    seed: int,
    vocab_size: int,
    steps: int,
    size: int,
    held_out: int,
    lr: float,
) -> dict[str, Any]:
    """Train a tokenizer, make the student, train its table with each set of losses on the same batches, and measure."""
    texts, teacher = split(archives, seed), load(models, "smollm2")
    new = BPE(vocab_size)(texts[1])
    start = int(new.vocab.special_ids[0])
    lessons = Lessons.of(teacher, (new, start), texts, steps=steps, size=size, held_out=held_out)
    student = twin(teacher.model, [teacher.model.get_input_embeddings().weight])
    draw = torch.Generator().manual_seed(seed)
    rows = transplant(student, new, old=teacher.tokenizer, generator=draw).rows
    nearest = torch.from_numpy(nearest_tokens(teacher.tokenizer.vocab, new.vocab, {start: teacher.start}))
    losses: dict[str, dict[str, Loss]] = {
        "SFT": {"sft": NextToken()},
        "MinED + SFT": {"mined": MinED(nearest), "sft": NextToken()},
        "ALM": {"alm": ALM()},
        "ALM + SFT": {"alm": ALM(), "sft": NextToken()},
    }
    return {
        **compared(student, [student.get_input_embeddings().weight], lessons, losses, lr=lr),
        "rows": rows.counts(),
        "alignments": alignments(archives, texts[0], teacher.tokenizer, new),
    }


def alignments(archives: str | None, texts: list[str], old: Any, new: Any) -> dict[str, list[float]]:
    """Chunks of SmolLM2's tokens with those of others: how many for 1,000 bytes, and the share of one token on each side."""
    tokenizers = {f"the new BPE of {len(new.vocab):,} ids": new}
    with tempfile.TemporaryDirectory() as folder:
        for k, (name, (package, pattern, file)) in enumerate(OTHERS.items() if archives else ()):
            path = Path(folder) / str(k) / file
            path.parent.mkdir()
            path.write_bytes(next(content for _, content in package.read(Path(str(archives)), pattern)))
            tokenizers[name] = load_tokenizer(path)
        found = {}
        for name, tok in tokenizers.items():
            blocks = [align(old.encode(text), tok.encode(text)) for text in texts]
            sizes = np.concatenate([np.stack([np.diff(one.left), np.diff(one.right)]) for one in blocks], axis=1)
            total = sum(len(text.encode()) for text in texts)
            found[name] = [1000 * sizes.shape[1] / total, float((sizes == 1).all(0).mean())]
    return found
