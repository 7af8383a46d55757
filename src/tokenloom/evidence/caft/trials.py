"""A base model with its heads, and the ways in which it is fine-tuned."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import tokenloom as tl

from ...data import sample
from ...models.batches import IGNORED
from ...models.transformer import Transformer
from ...predict.objectives.caft import CAFT, CaftHeads, HeadPretraining, evaluate_heads, train_caft
from ..packages import Package
from .molecules import CHARACTERS, chemistry, ids_of, molecules

__all__ = ["BATCH", "MORE", "ROW", "TEXT", "WAYS", "base", "tuned"]

TEXT = Package("pypi", "scancode-toolkit", "32.5.0")
WINDOW, ROW, BATCH = 128, 96, 8
# What the heads were taught, and β; 0.3 had more right answers than 0.1 and 1 with the molecules of seed 100.
MORE = 0.3
WAYS: dict[str, tuple[str | None, float]] = {
    "next token": (None, 0.0),
    "CAFT, published β = 0.01": ("heads", 0.01),
    f"CAFT, β = {MORE:g}": ("heads", MORE),
    f"heads of shuffled text, β = {MORE:g}": ("shuffled", MORE),
}


def base(
    archives: str | None, folder: str, width: int, layers: int, steps: int, head_steps: int, lines: int
) -> dict[str, Any]:
    """Pretrain on English and lines of chemistry; then teach heads on the same text, and others with what is to be predicted shuffled.

    Returns: held-out losses of each head of each kind, in nats; that of frequencies; losses of training. Models go to `folder`.
    """
    if archives is None:
        text = sample("en-literary")
    else:
        ((_, content),) = TEXT.read(Path(archives), "textcode/data/gibberish/big.txt")
        text = content.decode("utf-8", "replace")
    parts = [ids_of(text), ids_of(chemistry(lines, np.random.default_rng(0)))]
    size = min(map(len, parts))  # as much of each
    blocks = [block for part in parts for block in np.array_split(part[:size], 40)]
    learnt, held = (np.concatenate([b for i, b in enumerate(blocks) if (i % 20 == 0) == out]) for out in (False, True))

    def source(of: np.ndarray, number: int) -> Any:
        return tl.models.windows(of, length=WINDOW, batch=BATCH, rng=np.random.default_rng(number))

    model = Transformer(vocab_size=len(CHARACTERS), width=width, layers=layers, heads=4, context=WINDOW, tied=False)
    ledger = tl.models.train(model, source(learnt, 0), steps=steps, lr=2e-3, warmup=steps // 10).ledger
    some = [batch for batch, _ in zip(source(held, 2), range(24))]
    found: dict[str, Any] = {"before": evaluate_heads(model, CaftHeads(model), some).each.tolist()}
    for name in ("heads", "shuffled"):
        batches = source(learnt, 1) if name == "heads" else map(_shuffled, source(learnt, 1), range(head_steps))
        heads = CaftHeads(model)
        done = train_caft(model, heads, batches, HeadPretraining(), steps=head_steps, lr=1e-3, warmup=head_steps // 10)
        found[name] = evaluate_heads(model, heads, some).each.tolist()
        found[f"{name}, training"] = done.losses[:, 1:].round(4).tolist()
        heads.save_pretrained(Path(folder) / name)
        ledger += done.ledger
    model.save_pretrained(Path(folder) / "model")
    counts = np.bincount(learnt, minlength=len(CHARACTERS)) + 1
    of_held = np.concatenate([batch["labels"].flatten().numpy() for batch in some])
    found["unigram"] = float(-np.log(counts / counts.sum())[of_held].mean())
    return {**found, "characters": len(learnt), "ledger": ledger.as_dict()}


def _shuffled(batch: Any, number: int) -> dict[str, torch.Tensor]:
    """What is to be predicted, in any order: nothing but its frequencies can be learnt."""
    labels = batch["labels"]
    order = torch.from_numpy(np.random.default_rng([3, number]).permutation(labels.numel()))
    return {**batch, "labels": labels.flatten()[order].view_as(labels)}


def tuned(
    folder: str, seed: int, groups: int, examples: int, asked: int, steps: int, every: int, lr: float
) -> dict[str, Any]:
    """Fine-tune the base in all ways on the same pairs in the same batches.

    Returns: by way: after so many steps, the loss and the shares that are right.
    """
    drawn = molecules(examples + asked, groups, np.random.default_rng([1, seed]))
    pairs = [(ids_of(name + "\n"), ids_of("".join(parts) + "\n")) for name, parts in drawn[:examples]]
    found: dict[str, Any] = {}
    ledger = tl.Ledger()
    for way, (which, beta) in WAYS.items():
        model = Transformer.from_pretrained(Path(folder) / "model")
        heads = None if which is None else CaftHeads.from_pretrained(Path(folder) / which, model)
        curve: list[dict[str, float]] = []

        def told(step: int, _: np.ndarray, model: Transformer = model, curve: list[dict[str, float]] = curve) -> None:
            if step % every == 0:
                curve.append({"step": step, **_asked(model, drawn[examples:])})

        batches = tl.models.packs(pairs, length=ROW, batch=BATCH, pad_id=0, rng=np.random.default_rng([2, seed]))
        options: dict[str, Any] = {"steps": steps, "lr": lr, "warmup": steps // 10}
        ledger += train_caft(model, heads, batches, CAFT(beta=beta), progress=told, **options).ledger
        found[way] = curve
    return {"ways": found, "ledger": ledger.as_dict()}


@torch.no_grad()
def _asked(model: Transformer, some: list[tuple[str, list[str]]]) -> dict[str, float]:
    """Shares of answers and of groups that are right, and the loss, each character given those before it.

    An answer is right so if and only if it is when it is written greedily.
    """
    right, groups, losses = [], [], []
    was_training = model.training
    model.eval()
    rows = [ids_of(name + "\n" + "".join(parts) + "\n") for name, parts in some]
    ids = torch.full((len(rows), max(map(len, rows))), IGNORED)
    for row, one in zip(ids, rows):
        row[: len(one)] = torch.from_numpy(one)
    for part, row_ids, mine in zip(_blocks(some), _blocks(ids), _blocks(rows)):
        logits = model(row_ids.clamp(min=0))[:, :-1]
        loss = F.cross_entropy(logits.transpose(1, 2), row_ids[:, 1:], ignore_index=IGNORED, reduction="none")
        for (name, parts), fits, nats, one in zip(part, logits.argmax(-1) == row_ids[:, 1:], loss, mine):
            answer = slice(len(name), len(one) - 1)
            right.append(bool(fits[answer].all()))
            losses += nats[answer].tolist()
            ends = len(name) + np.cumsum([len(p) for p in parts])
            groups += [bool(fits[end - len(p) : end].all()) for p, end in zip(parts, ends) if p.startswith("(")]
    model.train(was_training)
    return {"exact": float(np.mean(right)), "groups": float(np.mean(groups)), "loss": float(np.mean(losses))}


def _blocks(of: Any, size: int = 64) -> list[Any]:
    return [of[first : first + size] for first in range(0, len(of), size)]
