"""The law of chunk lengths in Supertokens: how a text is cut at random, and where it may be expected to be cut.

Sharthak, Pahalwan, Kamath, Shirawalmath 2025, arXiv 2505.09738; the authors' code is the definition, for their paper gives
the law in words. A chunk is a renewal: where one ends the next begins, whatever stands there.
"""
# N characters, C chunks

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isclose
from types import MappingProxyType

import numpy as np
import regex
from numba import njit

from ...core.errors import InvalidInput
from ...core.splitmix import below, draw, unit

__all__ = ["GAUSSIAN", "ChunkLaw"]

# The authors' default, whose probabilities sum to 1.10.
_PUBLISHED = {
    "4-5": 0.044,
    "6-7": 0.091,
    "8-9": 0.146,
    "10-11": 0.171,
    "12-13": 0.185,
    "14-15": 0.171,
    "16-17": 0.146,
    "18-19": 0.091,
    "20-21": 0.044,
    "22-23": 0.011,
}
GAUSSIAN: Mapping[str, float] = MappingProxyType({key: value / 1.1 for key, value in _PUBLISHED.items()})

_KEY = regex.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class ChunkLaw:
    """The law of chunk lengths: a range of characters by its probability, then a length in it, uniformly.

    Args:
        ranges: "a-b" → probability; 1 <= a <= b, probabilities from 0 to 1 that sum to 1. The default is the authors' law,
            divided by its sum of 1.10; mean 12.6 characters.
    Raises: InvalidInput: a key that is no range, probabilities that do not sum to 1.

    >>> ChunkLaw({"2-2": 1.0}).cut(5, seed=0).tolist()
    [0, 2, 4, 5]
    """

    ranges: Mapping[str, float] = field(default_factory=lambda: GAUSSIAN)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", dict(self.ranges))  # nobody changes it afterwards
        if not self.ranges:
            raise InvalidInput("a chunk law without ranges; write {'4-12': 1.0}, say")
        for key, probability in self.ranges.items():
            if not (found := _KEY.fullmatch(str(key))):
                raise InvalidInput(f"{key!r} is no range of lengths; write 'a-b', such as '4-5'")
            low, high = int(found[1]), int(found[2])
            if not 1 <= low <= high < 1 << 31:
                raise InvalidInput(
                    f"range {key!r}: lengths go from 1 to 2^31 - 1, and the first is not above the second"
                )
            if not (isinstance(probability, int | float) and 0 <= probability <= 1):
                raise InvalidInput(f"range {key!r} has probability {probability!r}; it must be from 0 to 1")
        if not isclose(total := sum(self.ranges.values()), 1, abs_tol=1e-9):
            raise InvalidInput(f"the probabilities sum to {total:.6g}, not to 1; divide each by it if that is meant")

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Least and greatest length of each range, int64 (ranges, 2)."""
        return np.array([[int(number) for number in key.split("-")] for key in self.ranges], np.int64)

    @cached_property
    def _shares(self) -> np.ndarray:
        return np.array(list(self.ranges.values()), np.float64)

    @cached_property
    def lengths(self) -> np.ndarray:
        """The probability of each length 0, 1, 2, … far from the end of a text: float64 (greatest length + 1,)."""
        law = np.zeros(self._bounds.max() + 1)
        for (low, high), share in zip(self._bounds, self._shares):
            law[low : high + 1] += share / (high - low + 1)
        return law

    @property
    def mean(self) -> float:
        """Characters of a chunk, on average, in a long text."""
        return float(self.lengths @ np.arange(self.lengths.size))

    def cut(self, size: int, seed: int | np.integer) -> np.ndarray:
        """Cut a text of `size` characters into chunks: points from 0 to `size`, int64 (C + 1,).

        Only the last chunk may have a length that the law does not give.

        Args:
            size: N, >= 0.
            seed: 0 to 2^64 - 1.
        """
        return _cut(size, np.uint64(seed), np.cumsum(self._shares), self._bounds)

    def cut_as_published(self, size: int, generator: random.Random) -> np.ndarray:
        """`cut`, with the draws of the authors' code: the same chunks as theirs for the same state of `generator`."""
        ranges, points = self._bounds.tolist(), [0]
        least = int(self._bounds[:, 0].min())
        while (rest := size - points[-1]) > 0:
            if rest < least:
                points.append(size)
                break
            low, high = generator.choices(ranges, weights=self._shares.tolist(), k=1)[0]
            points.append(points[-1] + generator.randint(min(low, rest), min(high, rest)))
        return np.array(points, np.int64)

    def chances(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """For each length, the probability that `cut` makes a chunk of it at each character of a text.

        It is b(i) p(c), where b(i) = sum_c b(i - c) p(c) is the probability that a chunk begins at character i, from
        b(0) = 1 on to 1 / mean; near the end p depends on what is left.

        Args:
            size: N, >= 0.
        Returns: pairs of a length, from 1, and float64 (N,); lengths that cannot occur are left out.

        >>> {length: chances.tolist() for length, chances in ChunkLaw({"1-2": 1.0}).chances(3)}
        {1: [0.5, 0.25, 0.75], 2: [0.5, 0.25, 0.0]}
        """
        begins = _begins(size, self._shares, self._bounds)
        for length in range(1, min(size, int(self._bounds.max())) + 1):
            chances = _chances(length, begins, self._shares, self._bounds)
            if chances.any():
                yield length, chances


@njit(cache=True, nogil=True)
def _cut(size, seed, cumulated, bounds):
    points, n, state = np.zeros(size + 1, np.int64), 0, seed
    least = bounds[:, 0].min()
    while points[n] < size:
        rest = size - points[n]
        length = rest
        if rest >= least:
            state, bits = draw(state)
            k = min(np.searchsorted(cumulated, unit(bits) * cumulated[-1], side="right"), cumulated.size - 1)
            low, high = min(bounds[k, 0], rest), min(bounds[k, 1], rest)
            state, bits = draw(state)
            state, more = below(bits >> np.uint64(32), state, np.uint64(high - low + 1))
            length = low + np.int64(more)
        points[n + 1] = points[n] + length
        n += 1
    return points[: n + 1].copy()


@njit(cache=True, nogil=True)
def _share(length, rest, shares, bounds):
    """The probability that a chunk has `length` characters where `rest` are left."""
    if rest < bounds[:, 0].min():
        return 1.0 if length == rest else 0.0
    share = 0.0
    for k in range(shares.size):
        low, high = min(bounds[k, 0], rest), min(bounds[k, 1], rest)
        if low <= length <= high:
            share += shares[k] / (high - low + 1)
    return share


@njit(cache=True, nogil=True)
def _begins(size, shares, bounds):
    """The probability that a chunk begins at each character, and at the end: float64 (N + 1,)."""
    begins, longest = np.zeros(size + 1), bounds[:, 1].max()
    begins[0] = 1
    for i in range(size):
        for length in range(1, min(longest, size - i) + 1):
            begins[i + length] += begins[i] * _share(length, size - i, shares, bounds)
    return begins


@njit(cache=True, nogil=True)
def _chances(length, begins, shares, bounds):
    chances = np.empty(begins.size - 1)
    for i in range(chances.size):
        chances[i] = begins[i] * _share(length, chances.size - i, shares, bounds)
    return chances
