"""Charts as inline SVG: they take the fonts and colours of their page, so that they suit a phone and a dark page."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Literal

from ..core.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SERIES", "chart"]

# Stand for what the style sheet of the page decides, until the picture is text.
_INK, SERIES = "#010203", tuple(f"#0102{shade:02x}" for shade in range(4, 12))
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


@contextmanager
def chart(
    label: str, size: tuple[float, float] = (5.4, 2.9), *, grid: Literal["x", "y", "both"] = "y", legend: bool = True
) -> Iterator[tuple["Axes", list[str]]]:
    """Axes to draw on with the colours of `SERIES`; when the block ends, the SVG is in the list.

    Args:
        label: what the chart shows, for those who cannot see it.
        size: inches.
        grid: the axis that has lines.
        legend: whether what was drawn with a label is explained above.
    """
    matplotlib = require("matplotlib", "plot")
    from matplotlib.figure import Figure

    svg: list[str] = []
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        yield axes, svg
        axes.grid(axis=grid, color=_INK, alpha=0.15, linewidth=0.7)
        if legend:
            figure.legend(loc="outside upper left", ncols=3)
        buffer = StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    for colour, name in ((_INK, "currentColor"), *((c, f"var(--series-{k})") for k, c in enumerate(SERIES))):
        text = text.replace(colour, name)
    svg.append(text)
