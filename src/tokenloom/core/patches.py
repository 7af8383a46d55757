"""Pictures of what became of a picture's patches."""
# M tokens out, N patches

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InvalidInput, require

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_patches"]

# Okabe and Ito's colours for all kinds of colour vision; groups that touch differ in most cases, and have a line between.
_COLOURS = np.array(
    [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]]
)


def draw_patches(image: Any, grid: tuple[int, int], weight_MN: np.ndarray) -> Image:
    """Kept patches as they are, merged ones tinted and outlined by group, dropped ones grey and pale.

    A patch that went to several rows is shown in that where it weighs most.

    Args:
        image: a picture of PIL, or an array (height, width, 3) of bytes.
        grid: rows and columns of patches; the picture is scaled so that they are at least 14 pixels wide.
        weight_MN: of patches in tokens, as of `TokenMap.matrix`.
    Returns: a picture of PIL.
    Raises: InvalidInput: a grid that has not N patches. MissingExtra: Pillow is not installed.
    """
    rows, columns = grid
    if rows < 1 or rows * columns != weight_MN.shape[1]:
        raise InvalidInput(f"a grid of {rows} x {columns} for {weight_MN.shape[1]} patches")
    pil = require("PIL.Image", "vision")
    picture = (image if hasattr(image, "resize") and hasattr(image, "convert") else pil.fromarray(image)).convert("RGB")
    side = max(14, round(max(picture.width / columns, picture.height / rows)))
    pixels = np.asarray(picture.resize((columns * side, rows * side)), np.float32)
    present = (weight_MN != 0).any(0)
    # A row more, so that there is one where all patches are dropped.
    group = np.where(present, np.abs(np.pad(weight_MN, ((0, 1), (0, 0)))).argmax(0), -1)
    merged = present & (np.bincount(group[present], minlength=len(weight_MN) + 1)[group] > 1)
    group, present, merged = (
        np.kron(a.reshape(grid), np.ones((side, side), a.dtype)) for a in (group, present, merged)
    )
    pale = 0.25 * pixels.mean(2, keepdims=True) + 0.75 * 235
    tinted = 0.65 * pixels + 0.35 * _COLOURS[group % len(_COLOURS)]
    shown = np.where(present[..., None], np.where(merged[..., None], tinted, pixels), pale)
    edge = np.zeros(group.shape, bool)
    edge[1:] |= group[1:] != group[:-1]
    edge[:, 1:] |= group[:, 1:] != group[:, :-1]
    shown[edge] = 40
    return pil.fromarray(shown.round().astype(np.uint8))
