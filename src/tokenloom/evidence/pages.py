"""Pages of text, scanned and printed, and where ink is on them, for experiments with documents."""
# P pixels of a side, S patches of a side

import io
from pathlib import Path

import numpy as np

from ..core.errors import require
from ..data import sample
from .packages import Package
from .photographs import square

__all__ = ["SCANS", "inked", "printed", "scanned"]

SCANS = Package("pypi", "scikit-image", "0.26.0")
"""The package of two photographed pages."""


def scanned(archives: str | Path) -> dict[str, np.ndarray]:
    """Five square parts of two photographed pages: name → RGB, uint8 (224, 224, 3).

    Raises: CorpusError: the archive is not there. MissingExtra: Pillow is not installed.
    """
    image = require("PIL.Image", "vision")
    found = {}
    for name, parts in (("page", 2), ("text", 3)):
        ((_, content),) = SCANS.read(Path(archives), f"skimage/data/{name}.png")
        pixels = np.asarray(image.open(io.BytesIO(content)).convert("RGB"))
        height, width = pixels.shape[:2]
        for k in range(parts):
            left = round(k * (width - height) / (parts - 1))
            found[f"{name} {k + 1}"] = square(pixels[:, left : left + height])
    return found


def printed(cover: float, rng: np.random.Generator, side: int = 224) -> np.ndarray:
    """A part of a printed page, of which a share of the lines has text: RGB, uint8 (P, P, 3).

    Size of print, grey of ink and paper, and which lines are blank are drawn; a line is full, or ends somewhere.
    """
    image, draw, font = (require(f"PIL.{name}", "vision") for name in ("Image", "ImageDraw", "ImageFont"))
    words = sample("en-literary").split()
    size, paper, ink = int(rng.integers(11, 18)), int(rng.integers(225, 256)), int(rng.integers(0, 80))
    page = image.new("RGB", (side, side), (paper,) * 3)
    pen, letters, pitch = draw.Draw(page), font.load_default(size), round(1.35 * size)
    lines = (side - 8) // pitch
    for line in sorted(rng.permutation(lines)[: round(cover * lines)].tolist()):
        start = int(rng.integers(0, len(words) - 40))
        text = " ".join(words[start : start + 40])
        end = len(text) if rng.random() < 0.7 else int(rng.integers(4, 24))
        pen.text((6, 4 + line * pitch), text[:end], (ink,) * 3, letters)
    return np.asarray(page)


def inked(picture: np.ndarray, side: int = 16) -> np.ndarray:
    """The share of pixels in each patch that are darker by 25 of 255 than what is around them, float (S, S)."""
    image, blur = require("PIL.Image", "vision"), require("PIL.ImageFilter", "vision")
    grey = image.fromarray(picture).convert("L")
    around = np.asarray(grey.filter(blur.BoxBlur(14)), np.float32)
    dark = np.asarray(grey, np.float32) < around - 25
    patch = len(picture) // side
    return dark.reshape(side, patch, side, patch).mean((1, 3))
