"""The picture: %TR by denominator and by lexicon, and the published table."""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require
from ...measure.tokenization_standards import PUBLISHED
from .trials import CLAIM, DENOMINATORS

__all__ = ["cells", "draw"]


def cells(shown: dict[str, list[Any]], *keys: Any) -> dict[str, list[float]]:
    """Tokenizer → what stands under the keys, for each seed."""

    def at(cell: Any) -> float:
        for key in keys:
            cell = cell[key]
        return float(cell)

    return {name: [at(cell) for cell in found] for name, found in shown.items()}


def draw(shown: dict[str, list[Any]], path: Path) -> None:
    """Bars are 1.96 standard deviations over resampled questions."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(12, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1.25, 1))
    lexicons = list(next(iter(shown.values()))[0]["shares"])
    main = lexicons[0]
    colours = ("#0a6fb5", "#d1860a", "#2a8f4c", "#4c4c4c")
    y = np.arange(len(shown))[::-1]
    for k, (by, colour, marker) in enumerate(zip(DENOMINATORS, colours, "osD")):
        values = [np.mean(found) for found in cells(shown, "shares", main, "%TR", k).values()]
        spread = [1.96 * np.std(np.array(found[0]["resampled"])[:, k]) for found in shown.values()]
        label = "different tokens" if by == "unique" else "their bytes" if by == "bytes" else by
        left.errorbar(values, y, xerr=spread, fmt=marker, color=colour, capsize=2, markersize=5, label=label)
    for lexicon, colour, marker in zip(lexicons, colours, "os^v"):
        values = [np.mean(found) for found in cells(shown, "shares", lexicon, "%TR", 1).values()]
        middle.plot(values, y, marker, color=colour, markersize=5, label=lexicon)
    for axis, what in ((left, f"by {main}"), (middle, "of occurrences")):
        axis.set_yticks(y, list(shown) if axis is left else [""] * len(shown))
        axis.set(xlabel=f"words, roots or affixes, %, {what}", xlim=(0, 100))
        axis.grid(axis="y", color="#e4e4e4")
        axis.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    # Where names would lie upon each other they go to the left, or below.
    places = {"llama-3.1": (-6, -3, "right"), "Mistral-Nemo": (-6, -3, "right"), "aya-expanse": (0, -14, "center"),
              "gemma-2": (0, 8, "center")}  # fmt: skip
    for name, row in PUBLISHED.items():
        right.plot(row.valid, row.score, "o", color=colours[1] if name in CLAIM else colours[3])
        dx, dy, side = places.get(name, (6, -3, "left"))
        right.annotate(name, (row.valid, row.score), (dx, dy), textcoords="offset points", ha=side, fontsize=8)
    right.plot([], [], "o", color=colours[1], label="the four of the claim")
    right.plot([], [], "o", color=colours[3], label="the others of its table")
    right.set(xlabel="published %TR", ylabel="published score, %", xlim=(38, 54), ylim=(20, 92))
    right.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1))
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
