"""What each reducer leaves of a photograph, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.errors import require
from ..photographs import pixel_values, square
from ..vision_tokens import model_and_photographs, shown
from .panel import before
from .pictures import GRID, blocks_of, maps_of, patches_only

__all__ = ["COLUMNS", "draw_gallery"]

COLUMNS = 4


def draw_gallery(archives: Path, models: Path, out: Path, keep: float) -> list[str]:
    """Write a picture for each of three photographs, `kept-NAME.png`, and return their names.

    Kept patches are as they are, merged ones tinted by group, dropped ones pale.
    """
    dino, photographs = model_and_photographs(archives, models)
    pictures = shown(photographs)
    reducers = before(keep, GRID, blocks=blocks_of(dino.model))
    maps = maps_of(dino.model, pixel_values(list(pictures.values())), reducers, seed=0)
    written = []
    for b, (name, picture) in enumerate(pictures.items()):
        middle = square(picture)
        figure = require("matplotlib.figure", "plot").Figure(figsize=(9, 9.6), layout="constrained")
        axes = np.ravel(figure.subplots(-(-(len(reducers) + 1) // COLUMNS), COLUMNS))
        for axis in axes:
            axis.axis("off")
        axes[0].imshow(middle)
        axes[0].set_title("the photograph", fontsize=9)
        for axis, (reducer, found) in zip(axes[1:], maps.items()):
            patches = patches_only(found, min(b, found.shape[0] - 1))
            axis.imshow(patches.draw(middle, grid=GRID))
            axis.set_title(f"{reducer}, {patches.shape[1]}", fontsize=9)
        figure.savefig(out / f"kept-{name}.png", dpi=100)
        written.append(f"kept-{name}.png")
    return written
