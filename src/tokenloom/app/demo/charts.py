"""The two charts of the page as inline SVG: they take its fonts and colours, so that they suit a phone and a dark page."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bits_chart", "learning_chart"]

# Stand for what the style sheet of the page decides, until the picture is text.
_INK, _SERIES = "#010203", ("#010204", "#010205")
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tokenloom",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
}


def learning_chart(learnt: Mapping[str, np.ndarray]) -> str:
    """Bits per byte over the steps of each training, each point the mean of the steps around it."""
    with _chart("Bits per byte of the text trained on, by step") as (axes, svg):
        for (condition, curve), colour in zip(learnt.items(), _SERIES):
            span = max(1, curve.size // 20)
            smooth = np.convolve(curve, np.full(span, 1 / span), "valid")
            axes.plot(np.arange(smooth.size) + (span + 1) / 2, smooth, color=colour, linewidth=2, label=condition)
        axes.set_xlabel("step")
        axes.set_ylabel("bits per byte, training")
    return svg[0]


def bits_chart(bits: Mapping[str, Mapping[float, float]]) -> str:
    """Bits per byte of held-out text, by how much it is split, a bar for each model."""
    with _chart("Bits per byte of held-out text, by how much it is split") as (axes, svg):
        width = 0.8 / len(bits)
        for k, ((condition, by_proportion), colour) in enumerate(zip(bits.items(), _SERIES)):
            places = np.arange(len(by_proportion)) + (k - (len(bits) - 1) / 2) * width
            bars = axes.bar(places, list(by_proportion.values()), width * 0.94, color=colour, label=condition)
            axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=9)
        proportions = next(iter(bits.values()))
        axes.set_xticks(range(len(proportions)), ["unsplit" if p == 0 else f"p = {p:g}" for p in proportions])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("bits per byte, held out")
    return svg[0]


@contextmanager
def _chart(label: str) -> Iterator[tuple["Axes", list[str]]]:
    """Axes to draw on; when the block ends, the SVG is in the list."""
    matplotlib = require("matplotlib", "plot")
    from matplotlib.figure import Figure

    svg: list[str] = []
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(5.4, 2.9), layout="constrained")
        axes = figure.add_subplot()
        yield axes, svg
        axes.grid(axis="y", color=_INK, alpha=0.15, linewidth=0.7)
        figure.legend(loc="outside upper left", ncols=2)
        buffer = StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    for colour, name in ((_INK, "currentColor"), *((c, f"var(--series-{k})") for k, c in enumerate(_SERIES))):
        text = text.replace(colour, name)
    svg.append(text)
