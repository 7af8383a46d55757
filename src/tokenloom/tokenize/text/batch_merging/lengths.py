"""How many merges make sequences how short: the curve from which a number of merges is chosen."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ....core.errors import InvalidInput
from ....core.segmentation import Ragged

if TYPE_CHECKING:
    from . import BatchMerging

__all__ = ["LengthCurve", "length_curve", "together"]


@dataclass(frozen=True, eq=False)
class LengthCurve:
    """How long sequences are after so many merges.

    Args:
        lengths: mean tokens of a sequence after 0, 1, 2, … merges of its batch, float64, never rising; the last with no valid
            pair left anywhere.
    """

    lengths: np.ndarray

    def merges_for(self, share: float) -> int:
        """The fewest merges that go this share, 0 … 1, of the way from the given tokens to the shortest sequences.

        Raises: InvalidInput: a share outside 0 … 1.
        """
        if not 0 <= share <= 1:
            raise InvalidInput(f"share={share}; it goes from 0 (no merges) to 1 (no valid pair left)")
        wanted = self.lengths[0] - share * (self.lengths[0] - self.lengths[-1])
        # A rounding error must not cost a merge.
        return int(np.argmax(self.lengths <= wanted * (1 + 1e-12)))

    def reduction(self, merges: int) -> float:
        """1 - length after `merges` / length at first."""
        return float(1 - self.lengths[min(merges, self.lengths.size - 1)] / self.lengths[0])


def length_curve(merging: "BatchMerging", batches: Iterable[Ragged]) -> LengthCurve:
    """Merge a sample of batches to the end, and tell the mean length of their sequences on the way.

    Raises: InvalidInput: there is no sequence.

    >>> from tokenloom.core.vocabulary import Vocabulary
    >>> from tokenloom.tokenize.text.batch_merging import BatchMerging
    >>> vocab = Vocabulary([b"a", b"b"])
    >>> curve = length_curve(BatchMerging(vocab), [Ragged.of([[0, 1, 0, 1]]), Ragged.of([[0, 1]])])
    >>> curve.lengths.tolist(), curve.merges_for(0.5), curve.reduction(1)
    ([3.0, 1.5, 1.0], 1, 0.5)
    """
    totals, sequences = np.zeros(1, np.int64), 0
    for batch in batches:
        totals = together([totals, merging(batch).totals])
        sequences += len(batch)
    if not sequences or not totals[0]:
        raise InvalidInput("there is no sequence to measure the lengths of")
    return LengthCurve(totals / sequences)


def together(totals: list[np.ndarray]) -> np.ndarray:
    """The sum of totals of which each stays what it is in the end."""
    longest = max((one.size for one in totals), default=1)
    padded = [np.pad(one, (0, longest - one.size), mode="edge") for one in totals]
    return np.sum([np.zeros(longest, np.int64), *padded], axis=0)
