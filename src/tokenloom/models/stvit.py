"""STViT: a vision backbone whose first stages attend among super tokens, and whose last ones among all places.

Huang et al. 2023, arXiv 2211.11167, section 3.3 and table 1, and the authors' code: a stem of convolutions, four stages, each of
blocks of convolutional positions, super token attention and a convolutional feed-forward part.
"""
# B batch, C channels, H, W rows and columns

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import InvalidInput
from .saved_modules import load_module, save_module
from .super_token_attention import SuperTokenAttention

__all__ = ["STVIT_SIZES", "STViT", "STViTBlock", "STViTConfig"]

_LATE = (None, None, 1e-6, 1e-6)

STVIT_SIZES: dict[str, dict[str, object]] = {
    "S": {"widths": (64, 128, 320, 512), "depths": (3, 5, 9, 3), "heads": (1, 2, 5, 8), "drop_path": 0.1},
    "B": {"widths": (96, 192, 384, 512), "depths": (4, 6, 14, 6), "heads": (2, 3, 6, 8), "drop_path": 0.4,
          "layer_scales": _LATE},
    "L": {"widths": (96, 192, 448, 640), "depths": (4, 7, 19, 8), "heads": (2, 3, 7, 10), "drop_path": 0.6,
          "layer_scales": _LATE},
}  # fmt: skip
"""The published sizes, as keywords of `STViT`: 25, 52 and 95 million parameters, for pictures of 224 pixels."""


@dataclass(frozen=True)
class STViTConfig:
    """What determines an `STViT`; see there."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    cells: tuple[int, ...]
    iterations: int
    layer_scales: tuple[float | None, ...]
    drop_path: float
    projection: int
    classes: int
    channels: int
    mask_border: bool


class STViT(nn.Module):
    """Pictures to the logits of classes.

    Args:
        widths: channels of each stage; each has half the rows and columns of the one before, the first a quarter of the picture's.
        depths: blocks of each stage.
        heads: of each stage's attention.
        cells: side of each stage's cells; 1 is attention among all places. (16, 8, 2, 1) is for pictures of 384 pixels and more.
        iterations: of the grouping.
        layer_scales: what the two parts of a block are multiplied by at first, learnt; None for no such factor.
        drop_path: share of samples that the last block's parts leave out in training; blocks before it leave out less, the
            first none.
        projection: channels behind the last stage.
        classes: logits.
        channels: of a picture.
        mask_border: see `super_token_attention.associate`.
        generator: draws the initial weights; None for seed 0.
    Raises: InvalidInput: stages of unequal number, or numbers that do not fit together.

    >>> STViT(widths=(8, 16), depths=(1, 1), heads=(1, 2), cells=(4, 1), layer_scales=(None, None), classes=3)(
    ...     torch.randn(2, 3, 32, 32)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int],
        cells: Sequence[int] = (8, 4, 1, 1),
        iterations: int = 1,
        layer_scales: Sequence[float | None] = (None, None, None, None),
        drop_path: float = 0.0,
        projection: int = 1024,
        classes: int = 1000,
        channels: int = 3,
        mask_border: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len({len(widths), len(depths), len(heads), len(cells), len(layer_scales)}) != 1 or not widths:
            raise InvalidInput(
                f"{widths=}, {depths=}, {heads=}, {cells=}, {layer_scales=}; one of each for every stage"
            )
        if (
            min(*widths, *depths, *heads, *cells, iterations, projection, classes, channels) < 1
            or not 0 <= drop_path < 1
        ):
            raise InvalidInput(f"sizes must be at least 1, and {drop_path=} in [0, 1)")
        self.config = STViTConfig(
            tuple(widths), tuple(depths), tuple(heads), tuple(cells), iterations, tuple(layer_scales), drop_path, projection,
            classes, channels, mask_border,
        )  # fmt: skip
        seed = 0 if generator is None else int(torch.randint(1 << 62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):  # torch's own initial weights draw from its global generator
            torch.manual_seed(seed)
            self._build(self.config)

    def _build(self, config: STViTConfig) -> None:
        blocks = sum(config.depths)
        drops = iter([config.drop_path * k / max(1, blocks - 1) for k in range(blocks)])
        self.stem = _stem(config.channels, config.widths[0])
        stages = []
        for width, depth, heads, cell, scale in zip(config.widths, config.depths, config.heads, config.cells, config.layer_scales):  # fmt: skip
            stages.append(nn.Sequential(*(
                STViTBlock(width, heads, (cell, cell), iterations=config.iterations, layer_scale=scale, drop_path=next(drops),
                           mask_border=config.mask_border)
                for _ in range(depth)
            )))  # fmt: skip
        self.stages = nn.ModuleList(stages)
        self.between = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide, wider, 3, stride=2, padding=1), nn.BatchNorm2d(wider))
            for wide, wider in pairwise(config.widths)
        )
        self.proj = nn.Conv2d(config.widths[-1], config.projection, 1)
        self.norm = nn.BatchNorm2d(config.projection)
        self.head = nn.Linear(config.projection, config.classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def features(self, x_BCHW: Tensor) -> list[Tensor]:
        """The maps behind each stage, at 4, 8, 16 … pixels a place, for detection and segmentation."""
        found = []
        x = self.stem(x_BCHW)
        for k, stage in enumerate(self.stages):
            x = stage(x if k == 0 else self.between[k - 1](x))
            found.append(x)
        return found

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits, (B, classes), of pictures, floating point (B, channels, H, W)."""
        x = F.silu(self.norm(self.proj(self.features(x_BCHW)[-1])))
        return self.head(x.mean((2, 3)))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and, last, tokenloom.json with their digests.

        Raises: StoreError: a file cannot be written.
        """
        save_module(self, folder, asdict(self.config))

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> STViT:
        """Load what `save_pretrained` wrote.

        Raises: StoreError: another kind, or a file that is not the one that was written.
        """
        return load_module(cls, folder)


class STViTBlock(nn.Module):
    """Positions from a 3 x 3 convolution of each channel; super token attention; a convolutional feed-forward part.

    Args:
        width: C.
        heads: of the attention.
        cell: see `SuperTokenAttention`; `iterations` and `mask_border`, too.
        layer_scale: what both parts are multiplied by at first; None for no such factor.
        drop_path: share of samples for which a part is left out in training.
        ratio: width inside the feed-forward part, in widths.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        cell: tuple[int, int] = (8, 8),
        *,
        iterations: int = 1,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        ratio: int = 4,
        mask_border: bool = False,
    ) -> None:
        super().__init__()
        self.position = _residual_convolution(width)
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = SuperTokenAttention(width, heads, cell, iterations=iterations, mask_border=mask_border)
        self.norm2 = nn.BatchNorm2d(width)
        self.enter, self.leave = nn.Conv2d(width, ratio * width, 1), nn.Conv2d(ratio * width, width, 1)
        self.middle = _residual_convolution(ratio * width)
        self.drop_path = drop_path
        self.scales = None if layer_scale is None else nn.Parameter(torch.full((2, width, 1, 1), layer_scale))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        x = x_BCHW + self.position(x_BCHW)
        normed = self.norm1(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()
        x = x + self._part(0, self.attention(normed))
        inner = F.gelu(self.enter(self.norm2(x)))
        return x + self._part(1, self.leave(inner + self.middle(inner)))

    def _part(self, k: int, y_BCHW: Tensor) -> Tensor:
        """Scaled, and in training left out for some samples; the others make up for it."""
        if self.scales is not None:
            y_BCHW = self.scales[k] * y_BCHW
        if not self.training or self.drop_path == 0:
            return y_BCHW
        stays_B111 = torch.rand(len(y_BCHW), 1, 1, 1, device=y_BCHW.device) >= self.drop_path
        return y_BCHW * stays_B111 / (1 - self.drop_path)


def _residual_convolution(width: int) -> nn.Conv2d:
    """3 x 3, each channel for itself; its user adds what it is of."""
    return nn.Conv2d(width, width, 3, padding=1, groups=width)


def _stem(channels: int, width: int) -> nn.Sequential:
    """Four convolutions, the first and the third of stride 2."""
    layers: list[nn.Module] = []
    for into, out, stride in (
        (channels, width // 2, 2),
        (width // 2, width // 2, 1),
        (width // 2, width, 2),
        (width, width, 1),
    ):
        layers += [nn.Conv2d(into, out, 3, stride=stride, padding=1), nn.GELU(), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers)
