"""The two pictures of the evidence."""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require

__all__ = ["draw"]

_COLOURS = ("#06395c", "#0a6fb5", "#5aa0d6", "#a9d0ee")


def draw(taught: dict[str, Any], gaps: dict[str, dict[str, dict[str, Any]]], path: Path) -> None:
    """Losses of the heads while they are taught; and, by way and seed, the gain over next-token fine-tuning.

    Args:
        gaps: what is measured → way → "values", and "mean", "low", "high" of the difference, all shares.
    """
    figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 3.4), layout="constrained")
    left, *rest = figure.subplots(1, 1 + len(gaps), width_ratios=[1.1, *[1] * len(gaps)])
    losses = np.array(taught["heads, training"])
    # Losses of single batches are noisy: means over a twentieth of the steps.
    size = max(len(losses) // 20, 1)
    smooth = losses[: len(losses) // size * size].reshape(-1, size, losses.shape[1]).mean(1)
    for k, colour in enumerate(_COLOURS):
        left.plot((np.arange(len(smooth)) + 0.5) * size, smooth[:, k], color=colour, label=f"{k + 2} ahead")
    left.plot([len(losses)] * 4, taught["shuffled"][1:], "x", color="#d1860a", label="shuffled text")
    left.axhline(taught["unigram"], color="#4c4c4c", linestyle="--", linewidth=1)
    left.set(xlabel="steps of stage 1", ylabel="loss of a head, nats a character", ylim=(0, 2 * taught["unigram"]))
    left.legend(frameon=False, fontsize=8)
    for axis, (what, by_way) in zip(rest, gaps.items()):
        for row, (gap, colour) in enumerate(zip(by_way.values(), ("#5aa0d6", "#06395c", "#d1860a"))):
            values = 100 * np.array(gap["values"])
            axis.plot(values, np.full(values.size, row - 0.12), "o", color=colour, alpha=0.5, markersize=5)
            spread = [[100 * (gap["mean"] - gap["low"])], [100 * (gap["high"] - gap["mean"])]]
            axis.errorbar(100 * gap["mean"], row + 0.12, xerr=spread, fmt="D", color=colour, capsize=4, markersize=5)
        axis.axvline(0, color="#4c4c4c", linewidth=0.8)
        names = [way.replace(", ", ",\n") for way in by_way] if axis is rest[0] else [""] * len(by_way)
        axis.set_yticks(range(len(by_way)), names)
        axis.set_ylim(len(by_way) - 0.5, -0.5)
        axis.set_title(what, fontsize=10)
        axis.set_xlabel("points above next-token")
    for axis in (left, *rest):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
