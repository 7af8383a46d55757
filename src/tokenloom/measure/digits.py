"""Single digits of 8 x 8 pixels, handwritten or generated, to make pictures of."""
# S samples, H, W 8 pixels

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.errors import InvalidInput

__all__ = ["Digits", "generated_digits"]

_SIDE = 8


@dataclass(frozen=True, eq=False)
class Digits:
    """Pictures of single digits, to make grids of.

    Args:
        ink_SHW: float32 (S, 8, 8), from 0 (paper) to 1.
        labels_S: int64 (S,), 0 to 9; each digit is there.
    Raises: InvalidInput: other shapes or values.
    """

    ink_SHW: np.ndarray
    labels_S: np.ndarray

    def __post_init__(self) -> None:
        if self.ink_SHW.shape != (self.labels_S.size, _SIDE, _SIDE):
            raise InvalidInput(f"{self.labels_S.size} labels for pictures of shape {self.ink_SHW.shape}; each is 8 x 8")
        if self.ink_SHW.size == 0 or not 0 <= self.ink_SHW.min() <= self.ink_SHW.max() <= 1:
            raise InvalidInput("ink must be from 0 to 1")
        if set(self.labels_S.tolist()) != set(range(10)):
            raise InvalidInput(f"the labels are {sorted(set(self.labels_S.tolist()))}; each digit 0 to 9 must be there")

    def __getitem__(self, samples: slice) -> Digits:
        """Some of the samples."""
        return Digits(self.ink_SHW[samples], self.labels_S[samples])


# Three columns of five rows for each digit, as bits from the top left.
_GLYPHS = (0b111101101101111, 0b010110010010111, 0b111001111100111, 0b111001111001111, 0b101101111001001,
           0b111100111001111, 0b111100111101111, 0b111001010010010, 0b111101111101111, 0b111101111001111)  # fmt: skip


def generated_digits(each: int, *, rng: np.random.Generator) -> Digits:
    """Digits of fifteen dots, moved about, of uneven ink: for tests, which need no package.

    Args:
        each: samples of each digit.
        rng: draws where they are, how dark their dots are, and stains.
    """
    bits = (np.array(_GLYPHS)[:, None] >> np.arange(14, -1, -1) & 1).reshape(10, 5, 3)
    labels_S = np.repeat(np.arange(10), each)
    ink_SHW = np.zeros((labels_S.size, _SIDE, _SIDE), np.float32)
    down_S, right_S = rng.integers(0, 4, labels_S.size), rng.integers(0, 6, labels_S.size)
    rows = down_S[:, None, None] + np.arange(5)[:, None]
    columns = right_S[:, None, None] + np.arange(3)
    samples = np.arange(labels_S.size)[:, None, None]
    ink_SHW[samples, rows, columns] = bits[labels_S] * rng.uniform(0.6, 1, (labels_S.size, 5, 3))
    return Digits(np.maximum(ink_SHW, rng.uniform(0, 0.2, ink_SHW.shape)).astype(np.float32), labels_S)
