"""Sixteen photographs that come with scikit-image and scikit-learn, for experiments with pictures.

pip download --no-deps scikit-image==0.26.0 scikit-learn==1.9.1

They are in the public domain or free to use (see the packages' licences); none is stored here.
"""
# H, W pixels, B pictures, P pixels of a side

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput, require
from .packages import Package

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PHOTOGRAPHS", "SHOWN", "photographs", "pixel_values", "square"]

_IMAGE, _LEARN = Package("pypi", "scikit-image", "0.26.0"), Package("pypi", "scikit-learn", "1.9.1")
PHOTOGRAPHS = (_IMAGE, _LEARN)
"""The packages that hold them."""

SHOWN = ("astronaut", "chelsea", "coffee")
"""Those that figures show: a person, a cat, a cup."""

_FILES = {
    "astronaut": "png", "brick": "png", "camera": "png", "chelsea": "png", "coffee": "png", "coins": "png", "grass": "png",
    "gravel": "png", "hubble_deep_field": "jpg", "ihc": "png", "moon": "png", "motorcycle_left": "png", "retina": "jpg",
    "rocket": "jpg",
}  # fmt: skip
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photographs(archives: str | Path) -> dict[str, np.ndarray]:
    """Name → RGB picture, uint8 (H, W, 3), sorted by name; sides from 300 to 1411 pixels.

    Args:
        archives: the folder of the packages' archives.
    Raises: CorpusError: an archive is not there or lacks a picture. MissingExtra: Pillow is not installed.
    """
    image = require("PIL.Image", "vision")
    wanted = {f"skimage/data/{name}.{kind}": _IMAGE for name, kind in _FILES.items()}
    wanted |= {f"sklearn/datasets/images/{name}.jpg": _LEARN for name in ("china", "flower")}
    found = {}
    for path, package in wanted.items():
        ((_, content),) = package.read(Path(archives), path)
        found[Path(path).stem] = np.asarray(image.open(io.BytesIO(content)).convert("RGB"))
    return dict(sorted(found.items()))


def square(picture: np.ndarray, side: int = 224) -> np.ndarray:
    """The middle of a picture: its shorter side resized to `side` (bicubic), then cut, uint8 (P, P, 3).

    Raises: InvalidInput: no RGB picture.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise InvalidInput(f"a picture is {picture.dtype} of {picture.shape}; it must be uint8 (height, width, 3)")
    image = require("PIL.Image", "vision")
    height, width = picture.shape[:2]
    scale = side / min(height, width)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    resized = np.asarray(image.fromarray(picture).resize(size, image.Resampling.BICUBIC))
    top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
    return resized[top : top + side, left : left + side]


def pixel_values(pictures: Sequence[np.ndarray], side: int = 224) -> Tensor:
    """Their middles, normalised by mean and standard deviation of ImageNet: float32 (B, 3, P, P).

    Raises: InvalidInput: as for `square`.
    """
    import torch

    squares = np.stack([square(picture, side) for picture in pictures]).astype(np.float32) / 255
    normal = (squares - np.array(_MEAN, np.float32)) / np.array(_STD, np.float32)
    return torch.from_numpy(normal).permute(0, 3, 1, 2).contiguous()
