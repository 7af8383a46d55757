"""What was kept: how well it covers the rest, where it lies, and whether it stays the same."""
# N tokens, M kept, D width

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import InvalidInput

__all__ = ["Cover", "Slant", "cover", "jaccard", "patch_centre", "purity", "redundancy", "slant", "spread"]


@dataclass(frozen=True)
class Cover:
    """How the tokens that are left stand for all; distances are 1 - cosine, from 0 to 2.

    Args:
        closest: distance of the two left tokens nearest to each other; infinite for one. High: diverse.
        mean: distance of a token to the nearest that is left, the mean over all. Low: little is lost.
        farthest: and the largest.
    """

    closest: float
    mean: float
    farthest: float


def cover(x_ND: np.ndarray, left_MD: np.ndarray) -> Cover:
    """How well the tokens that are left, kept or merged, stand for all.

    Args:
        x_ND: features of all tokens, none all zero.
        left_MD: of those that are left.
    Raises: InvalidInput: nothing is left, widths that differ, features that have no direction.

    >>> x = np.array([[1.0, 0], [2, 0], [0, 1]])
    >>> cover(x, x[[0, 2]])
    Cover(closest=1.0, mean=0.0, farthest=0.0)
    """
    x_ND, left_MD = _unit(x_ND), _unit(left_MD)
    if x_ND.shape[1] != left_MD.shape[1]:
        raise InvalidInput(f"tokens of width {x_ND.shape[1]}, and of {left_MD.shape[1]} where they are left")
    # Rounding must not make a token farther than nowhere from itself.
    nearest_N = np.maximum(1 - (x_ND @ left_MD.T).max(1), 0).round(12)
    return Cover(1 - float(_most_alike(left_MD).max()), float(nearest_N.mean()), float(nearest_N.max()))


def redundancy(left_MD: np.ndarray) -> float:
    """Cosine of a token that is left with the one most like it, the mean; 1 where all have a copy.

    Raises: InvalidInput: features that have no direction, or fewer than two tokens.
    """
    if len(left_MD) < 2:
        raise InvalidInput("one token has no other to be compared with")
    return float(_most_alike(_unit(left_MD)).mean())


def _unit(x_ND: np.ndarray) -> np.ndarray:
    x_ND = np.asarray(x_ND, np.float64)
    if x_ND.ndim != 2 or not len(x_ND):
        raise InvalidInput(f"features have shape {x_ND.shape}; there must be a token at least")
    lengths_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    if not (np.isfinite(lengths_N1).all() and lengths_N1.all()):
        raise InvalidInput("features are not finite, or all zero, and have no direction")
    return x_ND / lengths_N1


def _most_alike(unit_MD: np.ndarray) -> np.ndarray:
    """The largest cosine of each token with another, (M,)."""
    similar_MM = unit_MD @ unit_MD.T
    np.fill_diagonal(similar_MM, -np.inf)
    return similar_MM.max(1)


def _indices(kept: np.ndarray, n: int) -> np.ndarray:
    kept = np.asarray(kept)
    if kept.ndim != 1 or not np.issubdtype(kept.dtype, np.integer):
        raise InvalidInput(f"kept is {kept.dtype} of {kept.ndim} axes; it must be integers, one for each kept token")
    if not kept.size or kept.min() < 0 or kept.max() >= n or np.unique(kept).size != kept.size:
        raise InvalidInput(f"kept must hold at least one of {n} tokens, and none twice")
    return kept


def jaccard(left: np.ndarray, right: np.ndarray) -> float:
    """Of the tokens that either set holds, the share that both hold: 1 for equal sets, 0 where they share nothing.

    The stability of a reducer is that of what it keeps of a picture and of the same picture with noise, or with another seed.
    Raises: InvalidInput: both are empty.

    >>> jaccard(np.array([1, 2, 3]), np.array([2, 3, 4]))
    0.5
    """
    union = np.union1d(left, right).size
    if not union:
        raise InvalidInput("two empty sets have no similarity")
    return np.intersect1d(left, right).size / union


def patch_centre(kept_M: np.ndarray, grid: tuple[int, int]) -> tuple[float, float]:
    """Where the kept patches lie: mean row and mean column, from 0 (first) to 1 (last); 0.5 is the middle.

    Raises: InvalidInput: nothing is kept, or an index outside the grid.

    >>> patch_centre(np.array([6, 7, 8]), (3, 3))
    (1.0, 0.5)
    """
    rows, columns = grid
    kept_M = _indices(kept_M, rows * columns)
    return tuple(float(part.mean() / (size - 1)) if size > 1 else 0.5
                 for part, size in ((kept_M // columns, rows), (kept_M % columns, columns)))  # type: ignore[return-value]  # fmt: skip


def spread(kept_M: np.ndarray, grid: tuple[int, int], blocks: int = 4) -> float:
    """How evenly the kept patches lie over the picture: entropy over `blocks` x `blocks` parts of it, by that of all patches.

    1 is as even as the grid itself, 0 is all in one part.
    Raises: InvalidInput: as for `patch_centre`, or fewer than one or more blocks than rows or columns.
    """
    rows, columns = grid
    kept_M = _indices(kept_M, rows * columns)
    if not 1 < blocks <= min(grid):
        raise InvalidInput(f"blocks={blocks}; a grid of {rows} x {columns} has 2 to {min(grid)}")
    part_N = (np.arange(rows) * blocks // rows)[:, None] * blocks + np.arange(columns) * blocks // columns

    def entropy(parts: np.ndarray) -> float:
        p = np.bincount(parts) / parts.size
        return float(-(p[p > 0] * np.log(p[p > 0])).sum())

    return entropy(part_N.ravel()[kept_M]) / entropy(part_N.ravel())


@dataclass(frozen=True)
class Slant:
    """Whether a reducer prefers a place, or what is there; both in shares of the picture's height.

    Args:
        place: how far below the middle the kept patches lie, whatever is shown: the mean of both pictures.
        content: how far they move with what is shown: half of the difference.
    """

    place: float
    content: float


def slant(kept_M: np.ndarray, flipped_M: np.ndarray, grid: tuple[int, int]) -> Slant:
    """Tell the bias for a place from an interest in what is shown, by a picture and the same picture upside down.

    A reducer that looks at content only keeps the mirrored patches: then `place` is 0. One that looks at place only keeps the
    same ones, and `content` is 0.

    Args:
        kept_M: what is kept of the picture.
        flipped_M: what is kept of the picture upside down.
        grid: rows and columns of patches.

    >>> slant(np.array([6, 7]), np.array([6, 8]), (3, 3))
    Slant(place=0.5, content=0.0)
    """
    row, flipped = patch_centre(kept_M, grid)[0], patch_centre(flipped_M, grid)[0]
    return Slant((row + flipped) / 2 - 0.5, (row - flipped) / 2)


def purity(group_N: np.ndarray, object_N: np.ndarray) -> float:
    """Share of merged patches that belong to the object that is most frequent in their group; 1 if no group mixes objects.

    Args:
        group_N: the group that each patch went to, integer, -1 for dropped ones, which do not count.
        object_N: the object that each patch shows, integer, not negative.
    Raises: InvalidInput: lengths that differ, or every patch was dropped.

    >>> purity(np.array([0, 0, 0, 1, -1]), np.array([5, 5, 2, 2, 2]))
    0.75
    """
    if np.shape(group_N) != np.shape(object_N):
        raise InvalidInput(f"{np.size(group_N)} groups for {np.size(object_N)} patches")
    group_N, object_N = (np.asarray(a)[np.asarray(group_N) >= 0] for a in (group_N, object_N))
    if not group_N.size:
        raise InvalidInput("no patch is in a group")
    counts = np.zeros((group_N.max() + 1, object_N.max() + 1), np.int64)
    np.add.at(counts, (group_N, object_N), 1)
    return float(counts.max(1).sum() / group_N.size)
