"""What a small model that answers questions on grids of digits still answers: one that was trained without any reducer."""
# Q questions, N cells, V words

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...measure.digit_grid import DigitGrids, DigitGridTask
from ...measure.token_reduction_position import agreement, divergence, jaccard, probes, recall_by_depth, slant
from ...models.digit_grid import PATCH, digit_grid_words
from ...reduce.attaching import attach
from ...reduce.prumerge import PruMerge
from ..digit_grid import read_digits, trained_digit_grid
from .panel import before, between, drawn

__all__ = ["ask"]

SIDE = 4
NOISE = 0.1  # standard deviation of pixels, which go from -1 to 1


def ask(archives: str | None, models: str, seed: int, keep: float, questions: int, steps: int) -> dict[str, Any]:
    """reducer → measure → value, for one trained model; "nothing reduced" is among the reducers."""
    where = None if archives is None else Path(archives)
    model = trained_digit_grid(where, Path(models), seed, blocks=1, steps=steps)
    rng = np.random.default_rng(1000 + seed)
    asked = {
        kind: DigitGridTask(side=SIDE, mix={kind: 1.0}).draw(read_digits(where)[1], questions, rng=rng)
        for kind in ("digit", "any")
    }
    noise = torch.randn(asked["digit"].pixels.shape, generator=torch.Generator().manual_seed(seed))
    asked["noise"] = DigitGrids(**{**vars(asked["digit"]), "pixels": asked["digit"].pixels + NOISE * noise})
    # Rows of cells from the bottom up; the question names no place.
    rows = asked["any"].pixels.unflatten(2, (SIDE, PATCH)).flip(2).flatten(2, 3)
    asked["flipped"] = DigitGrids(**{**vars(asked["any"]), "pixels": rows})
    reducers: dict[str, Any] = {
        **before(keep, (SIDE, SIDE), blocks=len(model.model.vision_tower.encoder.layers)),
        "PruMerge": PruMerge(neighbours=SIDE, keep=keep),
        **between(keep, SIDE * SIDE),
    }
    full = {kind: _logits(model, grids) for kind, grids in asked.items()}
    found = {"nothing reduced": _measured(asked, full, full, {})}
    for name, reducer in reducers.items():
        logits, kept = {}, {}
        for kind, grids in asked.items():
            generator = torch.Generator().manual_seed(seed) if drawn(reducer) else None
            with attach(model, reducer, generator=generator) as attached:
                parts, maps = [], []
                for start in range(0, len(grids), 200):
                    parts.append(_logits(model, grids[start : start + 200]))
                    maps += [one.sources_BMN[0, :, -SIDE * SIDE :] for one in attached.maps]
            logits[kind], kept[kind] = np.concatenate(parts), maps
        found[name] = _measured(asked, full, logits, kept)
    return found


def _slants(kept: Mapping[str, list[Any]]) -> dict[str, float]:
    """By place and by content, where the tokens that are left are tokens that were there."""
    pairs = [[rows.any(0).nonzero()[:, 0].numpy() for rows in pair] for pair in zip(kept["any"], kept["flipped"])]
    told = [
        slant(pair[0], pair[1], (SIDE, SIDE)) for pair in pairs if all(0 < len(kept) < SIDE * SIDE for kept in pair)
    ]
    if not told:
        return {}
    place, content = (float(np.mean(values)) for values in zip(*((one.place, abs(one.content)) for one in told)))
    return {"slant, place": place, "slant, content": content}


@torch.no_grad()
def _logits(model: Any, grids: DigitGrids) -> np.ndarray:
    return model(**grids.inputs, logits_to_keep=1, use_cache=False).logits[:, -1].double().numpy()


def _measured(asked: Any, full: Any, logits: Any, kept: Any) -> dict[str, Any]:
    """Accuracy, invention, nearness to the answers from all tokens, and whether the asked cell is among the tokens left."""
    digit, any_ = asked["digit"], asked["any"]
    right = logits["digit"].argmax(-1) == digit.answers_B.numpy()
    words = digit_grid_words(SIDE)
    yes = logits["any"][:, words["yes"]] > logits["any"][:, words["no"]]
    answered = probes(yes, any_.answers_B.numpy() == words["yes"])
    cell = digit.relevant_BN.float().argmax(1).numpy()
    both = [np.concatenate([one[kind] for kind in ("digit", "any")]) for one in (full, logits)]
    found: dict[str, Any] = {
        "accuracy, digit": float(right.mean()),
        "accuracy, is there": answered.accuracy,
        "F1, is there": answered.f1,
        "yes": answered.yes,
        "yes, invented": float((yes & (any_.answers_B.numpy() != words["yes"])).mean()),
        "divergence": divergence(*both),
        "agreement": agreement(*both),
        "accuracy by depth": recall_by_depth(right, cell / (SIDE * SIDE - 1), 4).tolist(),
    }
    if kept:
        inside = [{view: rows.any(0).numpy() for view, rows in zip(("digit", "noise"), pair)} for pair in zip(kept["digit"], kept["noise"])]  # fmt: skip
        found["tokens"] = float(np.mean([len(rows) for rows in kept["digit"]]))
        found |= _slants(kept)
        found["survival"] = float(np.mean([one["digit"][c] for one, c in zip(inside, cell)]))
        # What keeps no patch at all keeps the same with noise.
        found["stability, noise"] = float(np.mean([
            jaccard(*(np.flatnonzero(v) for v in one.values())) if any(v.any() for v in one.values()) else 1.0 for one in inside
        ]))  # fmt: skip
    return found
