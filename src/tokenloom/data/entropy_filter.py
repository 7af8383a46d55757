"""Leave out documents that are far more regular or far more random than the others, while they stream by.

Used by the fifth generation of the KL3M tokenizers (Bommarito, Katz, Bommarito 2025, arXiv 2503.17247). Differs from the
authors' code: the limits are percentiles of all documents seen; theirs come from the documents that were kept, so that they
close in on the middle.
"""

import math
from bisect import insort
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from ..core.errors import InvalidInput

__all__ = ["EntropyFilter", "entropy"]


def entropy(items: Iterable[Hashable]) -> float:
    """Bits of an item drawn from `items`, by how often each occurs: - sum p log2 p; 0 for none.

    >>> entropy("abab"), entropy("to be or not to be".split())
    (1.0, 1.9182958340544893)
    """
    counts = Counter(items).values()
    total = sum(counts)
    return -sum(n / total * math.log2(n / total) for n in counts) + 0.0


@dataclass(frozen=True)
class EntropyFilter:
    """Keep a document whose entropies of characters and of words both lie between two percentiles of those seen so far.

    Words are what stands between white space. The document itself is not among those seen.

    Args:
        share: left out at each end, from 0 to below 0.5.
        first: documents that are all kept, >= 1.
    Raises: InvalidInput: a number out of range.

    >>> texts = ["one two three"] * 3 + ["one one one", "three two one"]
    >>> list(EntropyFilter(first=3)(texts))
    ['one two three', 'one two three', 'one two three', 'three two one']
    """

    share: float = 0.1
    first: int = 1000

    def __post_init__(self) -> None:
        if not 0 <= self.share < 0.5:
            raise InvalidInput(f"share={self.share}; it is from 0 to below 0.5")
        if self.first < 1:
            raise InvalidInput(f"first={self.first}; there is nothing to compare with before one document is seen")

    def __call__(self, texts: Iterable[str]) -> Iterator[str]:
        """The documents that are kept, in their order; two numbers are remembered for each that was seen."""
        seen: tuple[list[float], list[float]] = ([], [])
        for text in texts:
            # Rounded, or the order in which equal shares are summed would decide.
            values = [round(entropy(items), 9) for items in (text, text.split())]
            if len(seen[0]) < self.first or all(map(self._between, seen, values)):
                yield text
            for known, value in zip(seen, values):
                insort(known, value)

    def _between(self, known: list[float], value: float) -> bool:
        return _percentile(known, self.share) <= value <= _percentile(known, 1 - self.share)


def _percentile(values: list[float], share: float) -> float:
    """Of ascending values, linear between two of them."""
    place = share * (len(values) - 1)
    low = math.floor(place)
    return values[low] + (place - low) * (values[min(low + 1, len(values) - 1)] - values[low])
