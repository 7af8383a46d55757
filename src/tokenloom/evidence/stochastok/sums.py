"""Sums learnt from multi-digit tokens, asked in every tokenization: plain, BPE-dropout and StochasTok.

Sims et al. 2025, arXiv 2506.01687, section 4.3, with smaller numbers and a smaller model, and the loss on the answers only,
which are learnt sooner so. All three see the same sums in the same order, as many tokens, and start from the same weights.
"""

from typing import Any

import numpy as np
import torch

import tokenloom as tl

__all__ = ["METHODS", "addition"]

# Examples fill rows of so many ids, so many rows a step.
ROW, BATCH = 96, 24

METHODS = ("plain", "BPE-dropout", "StochasTok")


def addition(method: str, seed: int, digits: int, width: int, layers: int, steps: int, every: int) -> dict[str, Any]:
    """Train one model; its accuracy on held-out sums every so many steps, by how the question was cut.

    Returns: the accuracies at each such step for questions cut "as trained on" (each number one token), "digit by digit"
        and in "all others" ways; the last losses; the ledger.
    """
    task, vocab = tl.measure.Addition(digits), tl.measure.number_vocabulary(digits)
    # The same sums are held out for all seeds.
    sums, held_out = task.split(rng=np.random.default_rng(0))
    cut = tl.BPEDropout(vocab, 0.1 if method == "BPE-dropout" else 0.0)
    look = tl.StochasTok(vocab, proportion=1.0)

    order, splits = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    examples: list[tuple[np.ndarray, np.ndarray]] = []
    needed = steps * BATCH * ROW
    while needed > 0:
        ids = cut(task.text(order.permutation(sums)) + "$", rng=splits).ids
        if method == "StochasTok":  # in blocks of 1,000 tokens, as the authors do
            ids = look(tl.Ragged.of(np.array_split(ids, max(1, ids.size // 1000))), rng=splits).ids
        examples += _examples(ids)
        needed -= ids.size

    questions = _questions(task, vocab, held_out[:250])
    model = tl.models.Transformer(
        vocab_size=len(vocab),
        width=width,
        layers=layers,
        heads=4,
        context=ROW,
        generator=torch.Generator().manual_seed(seed),
    )
    curve: list[dict[str, float]] = []

    def look_at(step: int, loss: float) -> None:
        if step % every == 0 or step == steps:
            curve.append(
                {"step": step, **{way: _accuracy(model, vocab, digits, asked) for way, asked in questions.items()}}
            )

    packs = tl.models.packs(examples, length=ROW, batch=BATCH, pad_id=0, rng=np.random.default_rng([seed, 2]))
    done = tl.models.train(model, packs, steps=steps, lr=1e-3, warmup=100, seed=seed, progress=look_at)
    return {"curve": curve, "loss": float(done.losses[-100:].mean()), "ledger": done.ledger.as_dict()}


def _examples(ids: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each `$A+B=` with its answer and the `$` after it, whose tokens are single bytes in any tokenization."""
    starts, equals = np.flatnonzero(ids == ord("$")), np.flatnonzero(ids == ord("="))
    return [(ids[start : equal + 1], ids[equal + 1 : end + 1]) for start, equal, end in zip(starts, equals, starts[1:])]


def _questions(
    task: tl.measure.Addition, vocab: tl.Vocabulary, numbers: np.ndarray
) -> dict[str, list[tuple[np.ndarray, str]]]:
    """Every tokenization of each question, with the right answer; two numbers of full length only."""
    asked: dict[str, list[tuple[np.ndarray, str]]] = {"as trained on": [], "digit by digit": [], "all others": []}
    for number in numbers:
        if number % 10**task.digits < 10 ** (task.digits - 1):
            continue
        ways = tl.measure.tokenizations(vocab, task.question(number).encode())
        for ids in ways:
            kind = {len(ways[0]): "as trained on", len(ways[-1]): "digit by digit"}.get(len(ids), "all others")
            asked[kind].append((ids, task.answer(number)))
    return asked


def _accuracy(
    model: tl.models.Transformer, vocab: tl.Vocabulary, digits: int, asked: list[tuple[np.ndarray, str]]
) -> float:
    answers = tl.measure.solve(model, [ids for ids, _ in asked], vocab, digits=digits)
    return float(np.mean([given == right for given, (_, right) in zip(answers, asked)]))
