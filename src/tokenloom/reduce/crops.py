"""Where the crops of a picture of high resolution lie, and which of their patches show it.

LLaVA-NeXT and its kin look at a picture twice: shrunk to one crop, the thumbnail, and cut into crops that tile a canvas, on which
the picture is scaled to fit and centred. What is left of the canvas is padding.
"""
# C crops, the thumbnail first, N patches of a crop

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..core.errors import InvalidInput

__all__ = ["Crops"]


@dataclass(frozen=True)
class Crops:
    """The canvas of one picture: C = 1 + rows * columns crops, the thumbnail and then row by row.

    Args:
        rows: of crops.
        columns: of crops.
        side: patches on each side of a crop, so that N = side².
        height: of the picture, in pixels.
        width: likewise.
    Raises: InvalidInput: a value below 1.

    >>> wide = Crops(rows=2, columns=2, side=2, height=50, width=100)
    >>> wide.area, wide.valid.sum(1).tolist()
    ((1, 3, 0, 4), [4, 2, 2, 2, 2])
    """

    rows: int
    columns: int
    side: int
    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "side", "height", "width"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise InvalidInput(f"{name}={value}; crops, patches and pixels are whole numbers, from 1 on")

    @property
    def count(self) -> int:
        """C."""
        return 1 + self.rows * self.columns

    @cached_property
    def area(self) -> tuple[int, int, int, int]:
        """First row, last row + 1, first column and last column + 1 of the canvas that show the picture.

        The published rule, with the rounding of transformers: the picture fills one direction, and of the other half the
        rest, rounded down, is taken from either end.
        """
        canvas_height, canvas_width = self.rows * self.side, self.columns * self.side
        if self.width / self.height > canvas_width / canvas_height:
            shown = int(round(self.height * (canvas_width / self.width), 7))
            padding = (canvas_height - shown) // 2
            return padding, canvas_height - padding, 0, canvas_width
        shown = int(round(self.width * (canvas_height / self.height), 7))
        padding = (canvas_width - shown) // 2
        return 0, canvas_height, padding, canvas_width - padding

    @cached_property
    def canvas(self) -> Tensor:
        """Row and column of each patch on the canvas, and for the thumbnail on its own grid: int64 (C, N, 2)."""
        grid = torch.cartesian_prod(torch.arange(self.side), torch.arange(self.side))
        crops = torch.cartesian_prod(torch.arange(self.rows), torch.arange(self.columns)).view(-1, 1, 2)
        return torch.cat([grid[None], crops * self.side + grid])

    @cached_property
    def valid(self) -> Tensor:
        """Which patches show the picture, bool (C, N); all of the thumbnail."""
        top, bottom, left, right = self.area
        row, column = self.canvas.unbind(2)
        valid = (row >= top) & (row < bottom) & (column >= left) & (column < right)
        valid[0] = True
        return valid
