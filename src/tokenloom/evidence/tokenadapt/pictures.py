"""The pictures: bits per byte right after each transplant, and while the table is trained."""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require
from .training import HELD
from .transplants import METHODS

__all__ = ["draw_bits", "draw_training"]

_COLOURS = {"Random": "#8a8a8a", "FVT, ReTok": "#2a8f4c", "TokenAdapt": "#0a6fb5"}


def draw_bits(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A panel for each vocabulary, a bar for each method; `found` as `transplants.trial` gives it, for each seed."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True)
    for axis, (kind, ones) in zip(axes, found.items()):
        bits = np.array([[one["bits"][name]["all"] for name in METHODS] for one in ones])
        colours = ["#0a6fb5" if name.startswith("TokenAdapt") else "#9a9a9a" for name in METHODS]
        bars = axis.barh(
            range(len(METHODS)), bits.mean(0), xerr=_spread(bits), color=colours, error_kw={"elinewidth": 1}
        )
        axis.bar_label(bars, labels=[f"{value:.2f}" for value in bits.mean(0)], fontsize=8, padding=3)
        axis.axvline(np.mean([one["bits"]["before"]["all"] for one in ones]), color="#4c4c4c", linestyle="--", linewidth=1)  # fmt: skip
        axis.set(title=kind, xlabel="bits per byte", xlim=(0, 1.2 * bits.max()))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(METHODS)), METHODS, fontsize=9)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=120)


def draw_training(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """How far each start is above the model before, over steps; `curves` as `training.trial` gives them, for each seed."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, where, title in zip(axes, ("all", HELD), ("three texts of other sources", f"{HELD}, same sources")):
        for start, ones in curves.items():
            gaps = np.array([[point[where] - one["before"][where] for point in one["points"]] for one in ones])
            axis.errorbar([point["step"] for point in ones[0]["points"]], gaps.mean(0), _spread(gaps), marker="o",
                          capsize=3, color=_COLOURS[start], label=start)  # fmt: skip
        axis.set(title=title, xlabel="steps of training the table")
        axis.spines[["top", "right"]].set_visible(False)
    # Not before both panels are drawn: they share the axis, and random rows are higher in the second.
    axes[0].set_ylim(0)
    axes[0].set_ylabel("bits per byte above the model before")
    axes[0].legend(frameon=False, fontsize=9, loc="center")
    figure.savefig(path, dpi=120)


def _spread(values: np.ndarray) -> np.ndarray | None:
    """Standard deviation over seeds, the first axis; None of one seed."""
    return values.std(0, ddof=1) if len(values) > 1 else None
