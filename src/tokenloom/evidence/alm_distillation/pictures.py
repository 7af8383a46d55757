"""The pictures of the experiments."""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require

__all__ = ["draw_curves", "draw_together"]

_COLOURS = {
    "SFT": "#4c4c4c",
    "MinED + SFT": "#d1860a",
    "ALM": "#2a8f4c",
    "ALM + SFT": "#0a6fb5",
    "SFT + ALM + hidden": "#a03c8c",
}
_TITLES = {
    "new tokenizer": "SmolLM2, a new BPE of its own",
    "bytes": "SmolLM2, bytes",
    "families": "Gemma 3 teaches SmolLM2",
}


def draw_curves(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A column for each of the first three experiments: bits per byte above, distance to the teacher below."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 6), layout="constrained")
    rows = figure.subplots(2, 3, sharex="col")
    for column, (name, title) in zip(rows.T, _TITLES.items()):
        for axis, what in zip(column, ("bits", "distance")):
            for label in found[name][0]["curves"]:
                curves = [one["curves"][label] for one in found[name]]
                values = np.array([[point[what] for point in curve] for curve in curves])
                # Each seed has texts of its own, which make more of a difference than any method: changes are averaged.
                change = values - values[:, :1]
                steps = [point["step"] for point in curves[0]]
                axis.plot(steps, change.mean(0), marker="o", markersize=4, color=_COLOURS[label], label=label)
                for one in change:
                    axis.plot(steps, one, color=_COLOURS[label], linewidth=0.6, alpha=0.5)
            axis.axhline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
            axis.spines[["top", "right"]].set_visible(False)
        column[0].set_title(title, fontsize=10)
        column[0].legend(frameon=False, fontsize=8)
        column[1].set_xlabel("steps")
    rows[0, 0].set_ylabel("held-out bits per byte,\nsince before the training")
    rows[1, 0].set_ylabel("distance of chunk likelihoods\nto the teacher's, nats, since before")
    figure.savefig(path, dpi=110)


def draw_together(found: list[dict[str, Any]], path: Path) -> None:
    """Bits per byte of two models on one tokenizer and of their mean, before and after the training; a dot for each seed."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(7, 2.8), layout="constrained")
    axis = figure.subplots()
    rows = {
        **{f"{label}, its own tokenizer": ([one["teachers"][label] for one in found],) for label in found[0]["teachers"]},
        **{
            f"{label}, the new one": tuple([one["curves"][label][k]["bits"] for one in found] for k in (0, -1))
            for label in found[0]["curves"]
        },
        "both averaged, the new one": tuple(
            [one["both"][f"{when}, mean of probabilities"] for one in found] for when in ("untrained", "trained")
        ),
    }  # fmt: skip
    for place, series in enumerate(rows.values()):
        colours = ("#999999",) if len(series) == 1 else ("#d1860a", "#0a6fb5")
        for values, colour in zip(series, colours):
            axis.plot(values, np.full(len(values), -place), "o", color=colour, markersize=6)
    axis.set_yticks([-k for k in range(len(rows))], rows)
    axis.set(xlabel="held-out bits per byte; a dot for each seed")
    for what, colour in (
        ("as published", "#999999"),
        ("new tokenizer, untrained", "#d1860a"),
        ("new tokenizer, ALM + SFT", "#0a6fb5"),
    ):
        axis.plot([], [], "o", color=colour, label=what)
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
