"""When tokens become known: an ordered partition of their positions into steps.

Next-token, next-scale, next-neighbour, any-order and masked prediction differ in this partition alone. The mask of a
transformer, the order of decoding and what a cache may hold follow from it. It knows no model. Where tokens sit is a `Layout`.
"""
# N positions, S steps, T tokens of a sequence with queries

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from .errors import InvalidInput
from .layout import Layout

__all__ = ["Curve", "Queried", "Schedule", "still_masked", "to_mask"]

Curve = Literal["cosine", "arccos", "linear"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """The step at which each position becomes known.

    Args:
        step_N: int64, from 0 to S - 1, each at least once.
        given: the first so many steps are known before anything is predicted, such as a prompt.
    Raises: InvalidInput: a step that no position has, or more given steps than there are.

    >>> two = Schedule.prefix(1) + Schedule.rings(2, 2)
    >>> [group.tolist() for group in two.groups]
    [[0], [1], [2, 3], [4]]
    >>> two.mask()[2].astype(int).tolist()  # sees the prefix, the first ring and its own
    [1, 1, 1, 1, 0]
    """

    step_N: np.ndarray
    given: int = 0

    def __post_init__(self) -> None:
        step_N = np.asarray(self.step_N)
        if step_N.ndim != 1 or step_N.dtype.kind not in "iu":
            raise InvalidInput(f"step_N is {step_N.dtype} of shape {step_N.shape}; it must be integers (N,)")
        used = np.unique(step_N)
        if not np.array_equal(used, np.arange(len(used))):
            raise InvalidInput(f"steps are {used[:8].tolist()} …; they must be all from 0 on")
        if not 0 <= self.given <= len(used):
            raise InvalidInput(f"given={self.given} of {len(used)} steps")
        object.__setattr__(self, "step_N", step_N.astype(np.int64))

    def __len__(self) -> int:
        """How many positions there are."""
        return len(self.step_N)

    @property
    def steps(self) -> int:
        """S."""
        return int(self.step_N.max()) + 1 if len(self.step_N) else 0

    @cached_property
    def order_N(self) -> np.ndarray:
        """Positions as they become known; those of a step ascend."""
        return np.argsort(self.step_N, kind="stable")

    @cached_property
    def groups(self) -> list[np.ndarray]:
        """Positions of each step."""
        return np.split(self.order_N, np.cumsum(np.bincount(self.step_N))[:-1])

    def mask(self, *, strict: bool = False) -> np.ndarray:
        """Who may see whom, bool (N, N): what is known at its own step, or with `strict` what was known before.

        With `strict` the positions of the first step see nothing: attention needs a start that all see, as a prefix is.
        """
        before = np.less if strict else np.less_equal
        return before(self.step_N, self.step_N[:, None])

    def until(self, step: int) -> Schedule:
        """The same, with all that is not known before `step` in one last step: none of it sees the rest of it by a strict mask.

        Raises: InvalidInput: a step that there is not.
        """
        if not 0 <= step < self.steps:
            raise InvalidInput(f"{step=} of {self.steps}")
        return Schedule(np.minimum(self.step_N, step), min(self.given, step + 1))

    def __add__(self, later: Schedule) -> Schedule:
        """Positions of `later` behind these, and its steps after these. What is given stays so if all these are."""
        given = self.given + later.given if self.given == self.steps else self.given
        return Schedule(np.concatenate([self.step_N, later.step_N + self.steps]), given)

    def with_queries(self) -> Queried:
        """A sequence in which each position that is predicted has a query, just before its step, which knows where it is asked.

        The output at a query is the prediction (Uni-3DAR's masked next token). With one position a step the mask is causal.
        """
        order_N, step_N = self.order_N, self.step_N[self.order_N]
        asked_N = step_N >= self.given
        source_T = np.concatenate([order_N[asked_N], order_N])
        query_T = np.arange(len(source_T)) < asked_N.sum()
        when_T = 2 * self.step_N[source_T] + ~query_T
        order_T = np.argsort(when_T, kind="stable")
        used, step_T = np.unique(when_T[order_T], return_inverse=True)
        given = int((used < 2 * self.given).sum())
        return Queried(Schedule(step_T, given), source_T[order_T], query_T[order_T])

    @classmethod
    def raster(cls, n: int) -> Schedule:
        """One after the other."""
        return cls(np.arange(n))

    @classmethod
    def at_once(cls, n: int) -> Schedule:
        """All in one step."""
        return cls(np.zeros(n, np.int64))

    @classmethod
    def prefix(cls, n: int, *, causal: bool = False) -> Schedule:
        """Positions that are given and see each other; with `causal` only those before."""
        made = cls.raster(n) if causal else cls.at_once(n)
        return replace(made, given=made.steps)

    @classmethod
    def blocks(cls, sizes: Sequence[int]) -> Schedule:
        """Runs of positions, each of so many: the groups of a sequence from coarse to fine.

        Raises: InvalidInput: a run below 1.
        """
        if not len(sizes) or min(sizes) < 1:
            raise InvalidInput(f"sizes={list(sizes)}; each must be at least 1")
        return cls(np.repeat(np.arange(len(sizes)), sizes))

    @classmethod
    def levels(cls, layout: Layout) -> Schedule:
        """Level after level of a layout: scales, or an octree from its root."""
        return cls(layout.level_N)

    @classmethod
    def cells(cls, sides: Sequence[int], cell: Sequence[int]) -> Schedule:
        """Blocks of neighbouring positions of a grid, in raster order.

        Raises: InvalidInput: cells that do not tile the grid.
        """
        place_NA = _tiled(sides, cell) // np.array(cell)
        return cls(np.ravel_multi_index(place_NA.T, [side // c for side, c in zip(sides, cell)]))

    @classmethod
    def strided(cls, sides: Sequence[int], stride: Sequence[int]) -> Schedule:
        """Coarse copies of a grid, one for each remainder of the coordinates by `stride`, in raster order of these.

        Raises: InvalidInput: strides that do not divide the sides.
        """
        place_NA = _tiled(sides, stride) % np.array(stride)
        return cls(np.ravel_multi_index(place_NA.T, list(stride)))

    @classmethod
    def rings(cls, *sides: int) -> Schedule:
        """Positions of a grid of any number of axes by the sum of their coordinates: neighbours of what is known."""
        return cls(Layout.grid(*sides).positions_NA.sum(1).astype(np.int64))

    @classmethod
    def pivots(cls, n: int, chosen: np.ndarray) -> Schedule:
        """Some positions first, all others in a second step; `(Schedule.random(p, …) + Schedule.random(n, …))` where both take several.

        Raises: InvalidInput: positions that are not there, none or all of them.
        """
        step_N = np.ones(n, np.int64)
        chosen = np.asarray(chosen)
        if not 0 < len(np.unique(chosen)) < n or chosen.min() < 0 or chosen.max() >= n:
            raise InvalidInput(
                f"{len(chosen)} pivots of {n} positions; there must be some, and not all, from 0 to {n - 1}"
            )
        step_N[chosen] = 0
        return cls(step_N)

    @classmethod
    def random(cls, n: int, steps: int, *, rng: np.random.Generator, curve: Curve = "cosine") -> Schedule:
        """A random order, in steps whose sizes follow `still_masked`."""
        left = np.array([n, *still_masked(n, steps, curve)])
        step_N = np.empty(n, np.int64)
        step_N[rng.permutation(n)] = np.repeat(np.arange(steps), -np.diff(left))
        return cls(step_N)

    @classmethod
    def any_subset(cls, order_N: np.ndarray, *, known: int) -> Schedule:
        """The first `known` positions of an order are one given step, and the others come one by one.

        Raises: InvalidInput: no permutation, or `known` beyond it.
        """
        order_N = np.asarray(order_N)
        n = len(order_N)
        if not np.array_equal(np.sort(order_N), np.arange(n)):
            raise InvalidInput("order_N is no permutation of the positions")
        if not 0 <= known <= n:
            raise InvalidInput(f"{known=} of {n} positions")
        step_N = np.empty(n, np.int64)
        step_N[order_N] = np.maximum(np.arange(n) - max(known - 1, 0), 0)
        return cls(step_N, int(known > 0))


@dataclass(frozen=True, eq=False)
class Queried:
    """A sequence with queries among its tokens.

    Args:
        schedule: of the T tokens, as they stand in the sequence.
        source_T: the position that each is of, int64.
        query_T: whether it asks for it, bool; else it holds it.
    """

    schedule: Schedule
    source_T: np.ndarray
    query_T: np.ndarray


def still_masked(n: int, steps: int, curve: Curve = "cosine") -> np.ndarray:
    """How many of `n` positions are not known after each of so many steps, int64 (steps,); the last is 0.

    cosine: ⌊n cos(π (s + 1) / (2 steps))⌋ (MaskGIT, Chang et al. 2022, arXiv 2202.04200); arccos: ⌊n arccos((s + 1) / steps) 2 / π⌋;
    each at least 1 before the end, and each step takes one at least. linear: ⌊n (steps - s - 1) / steps⌋, in integers.

    Raises: InvalidInput: no step, or more steps than positions for a curve that takes one in each.

    >>> still_masked(16, 4).tolist(), still_masked(12, 6, "linear").tolist()
    ([14, 11, 6, 0], [10, 8, 6, 4, 2, 0])
    """
    if steps < 1 or n < 1 or (curve != "linear" and steps > n):
        raise InvalidInput(f"{steps=} for {n} positions; each step takes one at least")
    if curve not in ("cosine", "arccos", "linear"):
        raise InvalidInput(f"{curve=}; there are 'cosine', 'arccos' and 'linear'")
    part = np.arange(1, steps + 1) / steps
    if curve == "linear":
        return n * (steps - np.arange(1, steps + 1)) // steps
    ideal = np.floor(n * (np.cos(np.pi / 2 * part) if curve == "cosine" else 2 / np.pi * np.arccos(part)))
    left, found = n, []
    for s in range(steps - 1):
        left = int(max(1, min(left - 1, ideal[s])))
        found.append(left)
    return np.array([*found, 0])


def to_mask(scores_N: np.ndarray, count: int, *, among_N: np.ndarray | None = None) -> np.ndarray:
    """The positions of the `count` lowest scores, bool (N,): what is masked, or masked again, after a step; the lower of equals.

    Args:
        scores_N: floating point, such as log-probabilities of what was drawn.
        count: as `still_masked` says.
        among_N: bool, positions that may be masked; None for all.
    Raises: InvalidInput: NaN, or fewer positions than `count`.

    >>> to_mask(np.array([0.5, 0.1, 0.1, 0.9]), 1, among_N=np.array([True, False, True, True])).tolist()
    [False, False, True, False]
    """
    scores_N = np.asarray(scores_N, np.float64)
    among_N = np.ones(len(scores_N), bool) if among_N is None else among_N
    if np.isnan(scores_N).any() or not 0 <= count <= among_N.sum():
        raise InvalidInput(f"{count=} of {among_N.sum()} positions, or a score that is NaN")
    masked_N = np.zeros(len(scores_N), bool)
    masked_N[np.lexsort((scores_N, ~among_N))[:count]] = True
    return masked_N


def _tiled(sides: Sequence[int], parts: Sequence[int]) -> np.ndarray:
    if len(sides) != len(parts) or min(parts) < 1 or any(side % part for side, part in zip(sides, parts)):
        raise InvalidInput(f"{tuple(parts)} does not divide a grid of {tuple(sides)}")
    return Layout.grid(*sides).positions_NA.astype(np.int64)
