"""The two pictures of the evidence."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require

__all__ = ["draw_density", "draw_misread"]

_COLOURS = ("#4c4c4c", "#0a6fb5", "#d1860a", "#7a3fa0")

Trials = Sequence[Mapping[str, Any]]


def draw_density(trials: Trials, path: Path) -> None:
    """Tokens per character by size: a panel for each kind of held-out text, a line for each training."""
    made = trials[0]["made"]
    sizes = list(next(iter(made.values())))
    names = list(next(iter(made.values()))[sizes[0]]["density"])
    figure, axes = _figure(min(4, len(names)), ceil(len(names) / 4))
    for name, axis in zip(names, axes):
        for colour, who in zip(_COLOURS, made):
            values = np.array([[t["made"][who][size]["density"][name] for size in sizes] for t in trials])
            axis.plot(values.mean(0), color=colour, marker="o", label=who)
            axis.fill_between(range(len(sizes)), values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
        axis.set_title(name, fontsize=10)
        axis.set(xticks=range(len(sizes)), xticklabels=[f"{int(size):,}" for size in sizes])
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    axes[0].set(ylabel="tokens per character", xlabel="ids")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def draw_misread(trials: Trials, path: Path) -> None:
    """What is gained and lost with a bound, against what it costs: a point for each trial."""
    figure, axes = _figure(3, 1)
    panels = {
        "f1": "cuts in the same places, F1",
        "changed": "tokens gone per edited character",
        "changed bytes": "bytes in the tokens that are gone",
    }
    for (key, title), axis in zip(panels.items(), axes):
        for colour, name in zip(_COLOURS, trials[0]["misread"]):
            found = [t["misread"][name] for t in trials]
            axis.scatter([f["density"] for f in found], [f[key] for f in found], color=colour, label=name, s=18)
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="tokens per character of the right text")
        axis.locator_params(axis="x", nbins=5)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def _figure(columns: int, rows: int) -> tuple[Any, list[Any]]:
    size = (3.6 * columns, 3.0 * rows)
    figure = require("matplotlib.figure", "plot").Figure(figsize=size, layout="constrained")
    axes = list(np.ravel(figure.subplots(rows, columns)))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes
