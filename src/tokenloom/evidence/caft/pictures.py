"""The two pictures of the evidence."""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require

__all__ = ["draw"]

_COLOURS = ("#06395c", "#0a6fb5", "#5aa0d6", "#a9d0ee")


def draw(taught: dict[str, Any], gaps: dict[str, dict[str, Any]], path: Path) -> None:
    """Losses of the heads while they are taught; and, by way and seed, the gain over next-token fine-tuning.

    Args:
        gaps: way → "values", and "mean", "low", "high" of their difference, all shares.
    """
    figure = require("matplotlib.figure", "plot").Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
    losses = np.array(taught["heads, training"])
    # Losses of single batches are noisy: means over a twentieth of the steps.
    size = max(len(losses) // 20, 1)
    smooth = losses[: len(losses) // size * size].reshape(-1, size, losses.shape[1]).mean(1)
    for k, colour in enumerate(_COLOURS):
        left.plot((np.arange(len(smooth)) + 0.5) * size, smooth[:, k], color=colour, label=f"{k + 2} ahead")
        left.plot(len(losses), taught["shuffled"][k + 1], "x", color=colour)
    left.axhline(taught["unigram"], color="#4c4c4c", linestyle="--", linewidth=1)
    left.set(xlabel="steps of stage 1", ylabel="loss of a head, nats a character")
    left.legend(frameon=False, fontsize=8)
    for row, (gap, colour) in enumerate(zip(gaps.values(), ("#0a6fb5", "#06395c", "#d1860a"))):
        values = 100 * np.array(gap["values"])
        right.plot(values, np.full(values.size, row - 0.12), "o", color=colour, alpha=0.5, markersize=5)
        spread = [[100 * (gap["mean"] - gap["low"])], [100 * (gap["high"] - gap["mean"])]]
        right.errorbar(100 * gap["mean"], row + 0.12, xerr=spread, fmt="D", color=colour, capsize=4, markersize=5)
    right.axvline(0, color="#4c4c4c", linewidth=0.8)
    right.set_yticks(range(len(gaps)), [way.replace(", ", ",\n") for way in gaps])
    right.set_ylim(len(gaps) - 0.5, -0.5)
    right.set_xlabel("points more molecules right than after next-token fine-tuning")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
