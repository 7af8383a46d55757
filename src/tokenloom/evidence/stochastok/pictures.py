"""The two pictures of the evidence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require

__all__ = ["draw_addition", "draw_language"]

_COLOURS = ("#4c4c4c", "#d1860a", "#0a6fb5", "#7a3fa0", "#2a8f4c")

_TITLES = {
    "as trained on": "asked with each number one token",
    "digit by digit": "asked digit by digit",
    "all others": "asked with one number whole",
}

Trials = Sequence[Mapping[str, Any]]


def draw_addition(trials: Mapping[str, Trials], path: Path) -> None:
    """Accuracy while training goes on: a panel for each way to cut the question, a line for each method."""
    ways = [name for name in next(iter(trials.values()))[0]["curve"][0] if name != "step"]
    figure, axes = _figure(len(ways), 3.2, sharey=True)
    for way, axis in zip(ways, axes):
        for colour, (method, runs) in zip(_COLOURS, trials.items()):
            steps = [point["step"] for point in runs[0]["curve"]]
            values = np.array([[point[way] for point in run["curve"]] for run in runs])
            axis.plot(steps, values.mean(0), color=colour, label=method)
            axis.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
        axis.set_title(_TITLES[way], fontsize=10)
        axis.set(xlabel="training steps")
    axes[0].set(ylabel="right answers", ylim=(-0.02, 1.02))
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def draw_language(trials: Mapping[float, Trials], path: Path) -> None:
    """Bits per byte, LangGame and probes by proportion; distances by layer."""
    figure, axes = _figure(4, 3.6)
    panels: list[tuple[str, dict[str, tuple[str, ...]]]] = [
        ("bits per byte (lower is better)", {"plain text": ("bits plain",), "text split, p = 0.5": ("bits split",)}),
        (
            "LangGame (0 chance, 1 perfect)",
            {
                "words of the fine-tuning": ("langgame", "words of the fine-tuning"),
                "other words": ("langgame", "other words"),
            },
        ),
        ("read off embeddings (AUC, 0.5 chance)", {"letters": ("letters",), "first letter": ("first letter",)}),
    ]
    for (title, lines), axis in zip(panels, axes):
        for colour, (label, keys) in zip(_COLOURS[1:], lines.items()):
            there = [p for p, runs in trials.items() if keys[0] in runs[0]]
            values = np.array([[_at(run, keys) for run in trials[p]] for p in there])
            spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
            axis.errorbar(range(len(there)), values.mean(1), spread, color=colour, label=label, marker="o", capsize=3)
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="proportion p", xticks=range(len(there)), xticklabels=[f"{p:g}" for p in there])
        axis.legend(frameon=False)
    for colour, (p, runs) in zip(_COLOURS, trials.items()):
        values = np.array([run["distances"] for run in runs])
        axes[3].plot(values.mean(0), color=colour, marker="o", label=f"p = {p:g}")
    layers = values.shape[1]
    axes[3].set_title("distance of a word's tokenizations", fontsize=10)
    axes[3].set(xlabel="layer (0: embeddings)", xticks=range(layers))
    axes[3].legend(frameon=False)
    figure.savefig(path, dpi=120)


def _at(run: Any, keys: Sequence[str]) -> float:
    for key in keys:
        run = run[key]
    return run


def _figure(panels: int, height: float, sharey: bool = False) -> tuple[Any, Any]:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(3.6 * panels, height), layout="constrained")
    axes = figure.subplots(1, panels, sharey=sharey)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes
