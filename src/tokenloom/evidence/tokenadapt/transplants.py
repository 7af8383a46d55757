"""One new vocabulary, and the rows for it by each method, measured right after the transplant."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require
from ...transfer.baselines import FOCUS, ReTok, TransTokenizer, static_vectors
from ...transfer.composition import Mean, Random
from ...transfer.rows import Rows
from ...transfer.tokenadapt import Encoder, Estimates, TokenAdapt
from ...transfer.transplanting import Method, transplant
from .sources import measure, measured, models_of, texts_of, vocabulary_of

__all__ = ["METHODS", "trial"]

METHODS = ("Random", "Mean", "FVT, ReTok", "FOCUS", "FOCUS, rest mean", "TransTokenizer", "TransTokenizer, rest mean",
           "TokenAdapt, local", "TokenAdapt, global", "TokenAdapt")  # fmt: skip


def trial(archives: str | None, models: str, kind: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Make one new vocabulary, and the rows for it by each method: "bits" → method → text → bits per byte."""
    rng = np.random.default_rng(seed)
    texts = texts_of(archives, settings["megabytes"], rng)
    model, old, encoder = models_of(archives, Path(models))
    new = vocabulary_of(kind, Path(models), settings["size"], texts)
    held = measured(settings["bytes measured"])
    made = methods(encoder, new, texts, settings, rng)
    bits = {"before": measure(model, old, held)}
    counts, shares = {}, {}
    for name, method in made.items():
        generator = require("torch", "torch").Generator().manual_seed(seed)
        done = transplant(copy.deepcopy(model), new, old=old, method=method, generator=generator)
        bits[name], counts[name] = measure(done.model, new, held), done.rows.counts()
        shares = {text: float((done.rows.origin[new.encode(data).ids] > 0).mean()) for text, data in held.items()}
    lengths = {text: [len(tok.encode(data)) for tok in (old, new)] for text, data in held.items()}
    scored = sum(n + len(made) * m for n, m in lengths.values())
    return {"bits": bits, "rows": counts, "new tokens in the text": shares, "tokens": lengths, "tokens scored": scored}


def methods(encoder: Encoder, new: Any, texts: list[str], settings: dict[str, Any], rng: np.random.Generator) -> dict[str, Method]:  # fmt: skip
    """All of `METHODS`; what several have in common is made once."""
    lines = [line[:120] for text in texts for line in text.splitlines() if len(line) > 20]
    some = [lines[i] for i in rng.permutation(len(lines))[: settings["sentences"]]]
    kept: list[Estimates] = []

    def mixed(weight: float) -> Method:
        method = TokenAdapt(encoder, global_weight=weight)

        def rows(old: Any, new: Any, pairs: Any) -> Any:
            if not kept:
                kept.append(method.estimates(old, new, pairs))
            return method.mixed(kept[0], old, new, pairs)

        return rows

    focus = _once(FOCUS(static_vectors(new, texts, settings["width"], rng=rng)))
    translated = _once(TransTokenizer([(line, line) for line in some]))
    made = (Random(), Mean(), ReTok(), focus, _rest_mean(focus), translated, _rest_mean(translated),
            mixed(0.0), mixed(1.0), mixed(0.3))  # fmt: skip
    return dict(zip(METHODS, made))


def _once(method: Method) -> Method:
    """A method that is asked for the rows of one vocabulary only, and answers the second time from memory."""
    kept: list[Rows] = []

    def rows(old: Any, new: Any, pairs: Any) -> Rows:
        if not kept:
            kept.append(method(old, new, pairs))
        return kept[0]

    return rows


def _rest_mean(method: Method) -> Method:
    """The mean of all old rows in place of the rows that a method draws."""
    return lambda old, new, pairs: replace(method(old, new, pairs), noise=0.0)
