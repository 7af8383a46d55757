"""Where tokens sit: in a sequence, on a grid, on grids from coarse to fine, in an octree, or on several tracks side by side.

A layout gives each token the coordinates that rotary or learned positions are made of, a level and a track. It does not say in
which order the tokens become known; that is a `Schedule`.
"""
# N tokens, A axes

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InvalidInput

__all__ = ["Layout", "morton", "unmorton"]


@dataclass(frozen=True, eq=False)
class Layout:
    """Coordinates, level and track of each token.

    Args:
        positions_NA: floating point, along each axis; of a grid rows before columns, in steps of its finest level.
        level_N: int64, 0 for the coarsest.
        track_N: int64.
    Raises: InvalidInput: shapes that do not fit together.

    >>> Layout.levels([(1, 1), (2, 2)]).positions_NA.tolist()
    [[0.5, 0.5], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """

    positions_NA: np.ndarray
    level_N: np.ndarray
    track_N: np.ndarray

    def __post_init__(self) -> None:
        if self.positions_NA.ndim != 2 or {self.level_N.shape, self.track_N.shape} != {self.positions_NA.shape[:1]}:
            raise InvalidInput(
                f"positions of {self.positions_NA.shape}, levels of {self.level_N.shape}, tracks of {self.track_N.shape}; "
                "they must be (N, axes), (N,) and (N,)"
            )

    def __len__(self) -> int:
        return len(self.positions_NA)

    @classmethod
    def sequence(cls, n: int) -> Layout:
        """One axis."""
        return cls.grid(n)

    @classmethod
    def grid(cls, *sides: int) -> Layout:
        """Cells in raster order, the last axis fastest.

        Raises: InvalidInput: no axis, or a side below 1.
        """
        _check_sides(sides)
        return _made(np.indices(sides).reshape(len(sides), -1).T)

    @classmethod
    def levels(cls, sizes: Sequence[Sequence[int]]) -> Layout:
        """Grids one after the other, coarse to fine; a cell of a coarse one sits in the middle of what it covers of the last.

        Args:
            sizes: sides of each grid.
        Raises: InvalidInput: grids of different numbers of axes.
        """
        if not sizes or len({len(sides) for sides in sizes}) > 1:
            raise InvalidInput(f"sizes={sizes}; all grids must have as many axes")
        finest = np.array(sizes[-1])
        parts = []
        for sides in sizes:
            width = finest / np.array(sides)
            parts.append((cls.grid(*sides).positions_NA + 0.5) * width - 0.5)
        return _made(np.concatenate(parts), level_N=np.repeat(np.arange(len(parts)), [len(part) for part in parts]))

    @classmethod
    def octree(cls, codes: Sequence[np.ndarray]) -> Layout:
        """Cubes that are not empty, level by level; each in the middle of the smallest cubes that it covers.

        Args:
            codes: `morton` codes of each level, the root's first; the sides of a level are half of those before.
        Raises: InvalidInput: a cube whose parent is missing.
        """
        parts = []
        for level, codes_N in enumerate(codes):
            if level and (orphans := np.setdiff1d(np.asarray(codes_N) >> 3, codes[level - 1])).size:
                raise InvalidInput(
                    f"level {level} has cubes in cube {orphans[0]} of the level above, which is not there"
                )
            width = 2 ** (len(codes) - 1 - level)
            parts.append((unmorton(np.asarray(codes_N)) + 0.5) * width - 0.5)
        return _made(np.concatenate(parts), level_N=np.repeat(np.arange(len(parts)), [len(part) for part in parts]))

    @classmethod
    def tracks(cls, *layouts: Layout) -> Layout:
        """Several layouts one after the other, each a track; what is aligned has equal positions.

        Raises: InvalidInput: none, or of different numbers of axes.
        """
        if not layouts or len({one.positions_NA.shape[1] for one in layouts}) > 1:
            raise InvalidInput("tracks must have as many axes as each other, and there must be one")
        return cls(
            np.concatenate([one.positions_NA for one in layouts]),
            np.concatenate([one.level_N for one in layouts]),
            np.repeat(np.arange(len(layouts)), [len(one) for one in layouts]),
        )


def morton(cells_N3: np.ndarray) -> np.ndarray:
    """One number for each cell of a cube: bits of x, y and z in turn, that of x lowest; int64 (N,).

    A cell's code shifted right by 3 bits is that of the cell twice as wide around it, and the 3 bits say which child it is.

    Args:
        cells_N3: integers from 0 to 1023.
    Raises: InvalidInput: another shape or range.

    >>> morton(np.array([[1, 0, 0], [0, 1, 0], [2, 3, 1]])).tolist()
    [1, 2, 30]
    """
    cells_N3 = np.asarray(cells_N3)
    if (
        cells_N3.ndim != 2
        or cells_N3.shape[1] != 3
        or (cells_N3.size and not 0 <= cells_N3.min() <= cells_N3.max() < 1024)
    ):
        raise InvalidInput(f"cells of shape {cells_N3.shape}; they must be (N, 3), from 0 to 1023")
    bits = (cells_N3[:, :, None].astype(np.int64) >> np.arange(10)) & 1
    return (bits << (3 * np.arange(10) + np.arange(3)[:, None])).sum((1, 2))


def unmorton(codes_N: np.ndarray) -> np.ndarray:
    """The cells of codes, int64 (N, 3)."""
    bits = (np.asarray(codes_N, np.int64)[:, None, None] >> (3 * np.arange(10) + np.arange(3)[:, None])) & 1
    return (bits << np.arange(10)).sum(2)


def _check_sides(sides: Sequence[int]) -> None:
    if not sides or min(sides) < 1:
        raise InvalidInput(f"sides of {tuple(sides)}; each must be at least 1")


def _made(positions_NA: np.ndarray, level_N: np.ndarray | None = None) -> Layout:
    n = len(positions_NA)
    level_N = np.zeros(n, np.int64) if level_N is None else level_N
    return Layout(positions_NA.astype(np.float64), level_N, np.zeros(n, np.int64))
