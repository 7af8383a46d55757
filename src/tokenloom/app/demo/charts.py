"""The two charts of the page."""

from collections.abc import Mapping

import numpy as np

from ..chart import SERIES, chart

__all__ = ["bits_chart", "learning_chart"]


def learning_chart(learnt: Mapping[str, np.ndarray]) -> str:
    """Bits per byte over the steps of each training, each point the mean of the steps around it."""
    with chart("Bits per byte of the text trained on, by step") as (axes, svg):
        for (condition, curve), colour in zip(learnt.items(), SERIES):
            span = max(1, curve.size // 20)
            smooth = np.convolve(curve, np.full(span, 1 / span), "valid")
            axes.plot(np.arange(smooth.size) + (span + 1) / 2, smooth, color=colour, linewidth=2, label=condition)
        axes.set_xlabel("step")
        axes.set_ylabel("bits per byte, training")
    return svg[0]


def bits_chart(bits: Mapping[str, Mapping[float, float]]) -> str:
    """Bits per byte of held-out text, by how much it is split, a bar for each model."""
    with chart("Bits per byte of held-out text, by how much it is split") as (axes, svg):
        width = 0.8 / len(bits)
        for k, ((condition, by_proportion), colour) in enumerate(zip(bits.items(), SERIES)):
            places = np.arange(len(by_proportion)) + (k - (len(bits) - 1) / 2) * width
            bars = axes.bar(places, list(by_proportion.values()), width * 0.94, color=colour, label=condition)
            axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=9)
        proportions = next(iter(bits.values()))
        axes.set_xticks(range(len(proportions)), ["unsplit" if p == 0 else f"p = {p:g}" for p in proportions])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("bits per byte, held out")
    return svg[0]
