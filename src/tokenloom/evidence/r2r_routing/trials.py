"""One seed of the experiment with the checkable language: two models, labels, a router, and the same questions in many ways."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...core.ledger import Ledger
from ...models.training import train
from ...models.transformer import Transformer
from ...predict.decode.generating import generate
from ...predict.decode.r2r_routing import (
    R2R,
    AleatoricRouting,
    Difference,
    EntropyRouting,
    Examples,
    LabelledPath,
    PathFollowing,
    RandomRouting,
    Routed,
    Router,
    TokenRouter,
    examples,
    follow,
    quality,
    threshold_for_rate,
    threshold_for_recall,
    train_router,
)
from . import language

__all__ = ["BUDGETS", "ROUTERS", "trial"]

ROUTERS = ("router", 'router of "different"', "entropy", "aleatoric", "random")
BUDGETS = (0.06, 0.12, 0.25)
RULE = PathFollowing(language.same_meaning, ends=language.ENDS, stop={language.END}, longest=24)
LONGEST = 64  # answers have some 45 tokens
K = 16


def trial(
    seed: int, layers: int, large_steps: int, small_steps: int, lessons: int, held_out: int, asked: int
) -> dict[str, Any]:
    """Labels, judged routers, and for each way of answering its share of right answers, rate and cost."""
    clock, times = time.process_time(), {}
    large = _model(layers=layers, width=64, hidden=None, steps=large_steps, lr=2e-3, seed=seed)
    times["large model"] = time.process_time() - clock
    small = _model(layers=1, width=32, hidden=48, steps=small_steps, lr=6e-3, seed=100 + seed)
    rng = np.random.default_rng(
        [seed, 1]
    )  # not the stream that the models learn from; of 65,610 questions many come again
    ledger = Ledger()
    paths: list[list[LabelledPath]] = []
    for n in (lessons, held_out):
        paths.append([])
        for _ in range(n):
            words, _ = language.question(rng)
            told = generate(large, language.spoken(words), max_new_tokens=LONGEST, end=language.END)
            ledger += told.ledger
            if told.stopped == "end":  # finished answers only, as the authors
                paths[-1].append(RULE.label(large, small, language.spoken(words), told.ids, k=K))
                ledger += paths[-1][-1].ledger
    times["models and labels"] = time.process_time() - clock
    routers, judged, held = _routers(small, paths, seed)
    questions = [language.question(rng) for _ in range(asked)]

    def answered(write: Callable[[list[int]], Routed]) -> dict[str, float]:
        found = [write(language.spoken(words)) for words, _ in questions]
        right = [language.final(one.ids) == str(steps[-1][2]) for one, (_, steps) in zip(found, questions)]
        tokens = sum(len(one.ids) for one in found)
        nonlocal ledger
        ledger += sum((one.ledger for one in found), Ledger())
        return {
            "accuracy": float(np.mean(right)),
            "rate": sum(int(one.by_large_N.sum()) for one in found) / tokens,
            "activated": sum(one.cost for one in found) / tokens,
            "processed": sum(one.ledger.activated_parameters for one in found) / tokens,
            "gap": float(np.mean([gap for one in found for gap in one.gaps] or [0])),
        }

    def route(router: Router, threshold: float) -> dict[str, float]:
        rule = R2R(router, threshold)
        return answered(lambda ids: rule(large, small, ids, max_new_tokens=LONGEST, end=language.END))

    ways: dict[str, Any] = {"small": route(EntropyRouting(), np.inf), "large": route(EntropyRouting(), 0)}
    ways["oracle"] = answered(lambda ids: follow(large, small, ids, RULE, max_new_tokens=LONGEST, end=language.END))
    scores = routers["router"](held.states)
    by_recall = threshold_for_recall(scores, held.divergent_N)
    ways["router, recall 0.95"] = {"threshold": by_recall, **route(routers["router"], by_recall)}
    for name, router in routers.items():
        thresholds = [
            1 - rate if name == "random" else threshold_for_rate(router(held.states), rate) for rate in BUDGETS
        ]
        ways[name] = [{"threshold": value if value < np.inf else None, **route(router, value)} for value in thresholds]
    times["all"] = time.process_time() - clock
    known = np.concatenate([path.kinds_A for path in [*paths[0], *paths[1]]])
    return {
        "shares": {kind.name.lower(): float((known == kind).mean()) for kind in Difference},
        "labelled": len(known),
        "judged": judged,
        "held-out recall": quality(scores, held.divergent_N, by_recall).recall,
        "ways": ways,
        "sizes": {name: _size(model) for name, model in (("large", large), ("small", small), ("router", routers["router"]))},
        "shown": [_shown(R2R(routers["router"], by_recall)(large, small, language.spoken(words), max_new_tokens=LONGEST, end=language.END), words, steps)
                  for words, steps in questions[:4]],
        "ledger": ledger.as_dict(),
        "seconds": times,
    }  # fmt: skip


def _model(*, layers: int, width: int, hidden: int | None, steps: int, lr: float, seed: int) -> Transformer:
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(
        vocab_size=len(language.TOKENS), width=width, layers=layers, heads=width // 16, hidden=hidden, context=96, generator=generator
    )  # fmt: skip
    source = language.batches(32, np.random.default_rng([seed, 0]))
    train(model, source, steps=steps, lr=lr, warmup=min(50, steps // 2), weight_decay=0.01, seed=seed)
    return model


def _routers(
    small: Transformer, paths: list[list[LabelledPath]], seed: int
) -> tuple[dict[str, Router], dict[str, float], Examples]:
    """The routers by name, how well each ranks held-out tokens, and these."""
    held = examples(paths[1])
    routers: dict[str, Any] = {}
    for name, positive in zip(ROUTERS, ("divergent", "different")):
        router = TokenRouter.of(small, k=K, width=32, blocks=1, generator=torch.Generator().manual_seed(seed))
        data = [examples(some, positive) for some in paths]  # type: ignore[arg-type]
        train_router(router, *data, lr=2e-3, batch=256, seed=seed)
        routers[name] = router
    routers |= {
        "entropy": EntropyRouting(),
        "aleatoric": AleatoricRouting(),
        "random": RandomRouting(torch.Generator().manual_seed(seed)),
    }
    judged = {name: quality(router(held.states), held.divergent_N, 0.5).auc for name, router in routers.items()}
    return routers, judged, held


def _shown(found: Routed, words: list[str], steps: list[tuple[str, int, int]]) -> dict[str, Any]:
    """A question and what both models wrote."""
    written = [language.TOKENS[i] for i in found.ids]
    return {"question": words, "right": steps[-1][2], "answer": written, "by large": found.by_large_N.tolist()}


def _size(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters())
