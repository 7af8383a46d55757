"""Attention among super tokens: pixels are grouped softly around cell means, the groups attend, and pixels take from them.

Huang et al. 2023, "Vision Transformer with Super Token Sampling", CVPR, arXiv 2211.11167, section 3.2. A pixel belongs to the
super tokens of its own cell and of the eight around it, so that the cost is linear in the number of pixels. As in the authors'
code, neighbours outside the map are zero vectors that take their part of each pixel, and pixels that pad the map to whole cells
are zeros that count in the means: what is near the border shrinks. `mask_border` leaves both out.
"""
# B batch, C channels, H, W rows and columns of pixels, h, w of a cell, M cells, P = h * w, heads G

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import InvalidInput

__all__ = ["Association", "GridAttention", "SuperTokenAttention", "associate"]


@dataclass(frozen=True)
class Association:
    """How much each pixel belongs to the nine super tokens around it.

    Args:
        pixels_BMPC: the map cell by cell, padded with zeros at the right and the bottom.
        weight_BMP9: Q; the nine of a pixel, in raster order, sum to 1, those outside the map included.
        sums_BM: of each super token, over its pixels.
        cells: rows and columns of cells.
        cell: h and w.
        size: H and W, without padding.
    """

    pixels_BMPC: Tensor
    weight_BMP9: Tensor
    sums_BM: Tensor
    cells: tuple[int, int]
    cell: tuple[int, int]
    size: tuple[int, int]

    def sample(self) -> Tensor:
        """Super tokens, (B, C, M rows, M columns): sums over pixels, Qᵀ X, divided by the sums of Q."""
        totals_BCmn = _folded(self.pixels_BMPC.transpose(2, 3) @ self.weight_BMP9, self.cells)
        return totals_BCmn / (self.sums_BM.view(-1, 1, *self.cells) + 1e-12)

    def restore(self, tokens_BCmn: Tensor) -> Tensor:
        """Pixels from super tokens, Q S: (B, C, H, W); nothing comes from outside the map."""
        (m, n), (h, w) = self.cells, self.cell
        pixels_BMCP = _around(tokens_BCmn) @ self.weight_BMP9.transpose(2, 3)
        batch, _, width, _ = pixels_BMCP.shape
        whole = pixels_BMCP.view(batch, m, n, width, h, w).permute(0, 3, 1, 4, 2, 5).reshape(batch, width, m * h, n * w)
        return whole[:, :, : self.size[0], : self.size[1]]


def associate(x_BCHW: Tensor, cell: tuple[int, int], *, iterations: int = 1, mask_border: bool = False) -> Association:
    """Group pixels around super tokens, which begin as the means of their cells.

    Q = softmax over nine of (pixel · super token / √C), super token = mean of its pixels by Q, `iterations` times. Q has no
    gradient, as published; what `sample` gives has that of the pixels.

    Args:
        x_BCHW: floating point.
        cell: rows and columns of pixels in a cell.
        iterations: of the two steps; the last mean is that of `Association.sample`.
        mask_border: leave out what is outside the map.
    Raises: InvalidInput: no map, a cell below 1 x 1, `iterations` below 1.
    """
    if x_BCHW.dim() != 4 or not x_BCHW.is_floating_point() or 0 in x_BCHW.shape:
        raise InvalidInput(f"a map is {x_BCHW.dtype} of {tuple(x_BCHW.shape)}; it must be floating point (B, C, H, W)")
    if len(cell) != 2 or min(cell) < 1:
        raise InvalidInput(f"cell={cell}; it must be rows and columns of pixels, at least 1 x 1")
    if iterations < 1:
        raise InvalidInput(f"iterations={iterations}; it must be at least 1")
    height, width = x_BCHW.shape[2:]
    (h, w), (m, n) = cell, (-(-height // cell[0]), -(-width // cell[1]))
    pixels_BMPC = _by_cell(F.pad(x_BCHW, (0, n * w - width, 0, m * h - height)), cell)
    with torch.no_grad():
        inside_MP1, outside_M19 = _border(x_BCHW, cell)
        counts_M1 = inside_MP1.sum(1) if mask_border else float(h * w)
        tokens_BCmn = (pixels_BMPC.sum(2) / counts_M1).transpose(1, 2).unflatten(2, (m, n))
        for step in range(iterations):
            logits_BMP9 = pixels_BMPC @ _around(tokens_BCmn) * x_BCHW.shape[1] ** -0.5
            if mask_border:
                weight_BMP9 = logits_BMP9.masked_fill(outside_M19, -torch.inf).softmax(3) * inside_MP1
            else:
                weight_BMP9 = logits_BMP9.softmax(3)
            sums_BM = _folded(weight_BMP9.sum(2)[:, :, None], (m, n)).flatten(1)
            found = Association(pixels_BMPC, weight_BMP9, sums_BM, (m, n), cell, (height, width))
            if step + 1 < iterations:
                tokens_BCmn = found.sample()
    return found


class GridAttention(nn.Module):
    """Attention of all places of a map to all, without positions; queries, keys and values of a head lie together.

    Args:
        width: C.
        heads: that divide it.
        bias: of queries, keys and values.
    Raises: InvalidInput: heads that do not divide the width.
    """

    def __init__(self, width: int, heads: int, *, bias: bool = True) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise InvalidInput(f"width={width} is no multiple of heads={heads}")
        self.heads = heads
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=bias)
        self.proj = nn.Conv2d(width, width, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        batch, width, height, breadth = x_BCHW.shape
        qkv = self.qkv(x_BCHW).view(batch, self.heads, 3 * width // self.heads, -1).transpose(2, 3)
        mixed_BGNc = F.scaled_dot_product_attention(*qkv.chunk(3, dim=3))
        return self.proj(mixed_BGNc.transpose(2, 3).reshape(batch, width, height, breadth))


class SuperTokenAttention(nn.Module):
    """Sample super tokens, let them attend to each other, restore the pixels; the size of the map stays.

    Args:
        width: C.
        heads: of the attention.
        cell: rows and columns of pixels that begin as one super token; (1, 1) is attention among all pixels.
        iterations: of the grouping; one is enough, says the paper.
        mask_border: see `associate`.
        refine: whether super tokens attend; without, they are only spread again.
        bias: of queries, keys and values.
    Raises: InvalidInput: heads that do not divide the width, or as for `associate`.

    >>> attend = SuperTokenAttention(width=8, heads=2, cell=(4, 4))
    >>> attend(torch.randn(1, 8, 10, 12)).shape
    torch.Size([1, 8, 10, 12])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        cell: tuple[int, int] = (8, 8),
        *,
        iterations: int = 1,
        mask_border: bool = False,
        refine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if min(cell) < 1 or iterations < 1:
            raise InvalidInput(f"{cell=} and {iterations=} must be at least 1")
        self.cell, self.iterations, self.mask_border = cell, iterations, mask_border
        self.refine = GridAttention(width, heads, bias=bias) if refine else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if self.cell == (1, 1):
            return self.refine(x_BCHW)
        found = associate(x_BCHW, self.cell, iterations=self.iterations, mask_border=self.mask_border)
        return found.restore(self.refine(found.sample()))


def _by_cell(x_BCHW: Tensor, cell: tuple[int, int]) -> Tensor:
    """Pixels cell by cell, (B, M, P, C)."""
    batch, width, height, breadth = x_BCHW.shape
    h, w = cell
    split = x_BCHW.view(batch, width, height // h, h, breadth // w, w).permute(0, 2, 4, 3, 5, 1)
    return split.reshape(batch, -1, h * w, width)


def _border(x_BCHW: Tensor, cell: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Which pixels of each cell are not padding, floating point (M, P, 1); which of nine cells are outside, bool (M, 1, 9)."""
    height, width = x_BCHW.shape[2:]
    m, n = -(-height // cell[0]), -(-width // cell[1])
    ones = x_BCHW.new_ones(1, 1, height, width)
    padded = F.pad(ones, (0, n * cell[1] - width, 0, m * cell[0] - height))
    outside_M19 = _around(x_BCHW.new_ones(1, 1, m, n))[0] == 0
    return _by_cell(padded, cell)[0], outside_M19


def _around(tokens_BCmn: Tensor) -> Tensor:
    """The super tokens of the nine cells around each, zeros outside: (B, M, C, 9)."""
    return F.unfold(tokens_BCmn, 3, padding=1).unflatten(1, (-1, 9)).permute(0, 3, 1, 2)


def _folded(values_BMC9: Tensor, cells: tuple[int, int]) -> Tensor:
    """What each super token is given by the cells around it, added up: (B, C, M rows, M columns)."""
    return F.fold(values_BMC9.permute(0, 2, 3, 1).flatten(1, 2), cells, 3, padding=1)
