"""What the experiments on M³ and TokenFLEX share: one model, trained in four ways, asked with few and with many visual tokens.

A fine question needs one patch of sixteen (which digit is at a row and a column), a coarse one all of them, but no detail (which
half has more ink). Fewer tokens are means over blocks of patches, behind the projector.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..measure.digit_grid import KINDS, DigitGrids, DigitGridTask, Loss, answers
from ..measure.oracle_budget import oracle_budget
from ..reduce.matryoshka_m3 import nested_loss
from ..reduce.pooling import block_pooling
from ..reduce.tokenflex import TokenCounts, sampled_loss
from .digit_grid import read_digits, trained_digit_grid

__all__ = ["FULL", "MIX", "QUICK", "TRAININGS", "budget_trial", "means", "spread"]

MIX = {"digit": 0.75, "ink": 0.25}
FULL: dict[str, Any] = {"side": 4, "steps": 3200, "tested": 2000}
QUICK: dict[str, Any] = {"side": 2, "steps": 10, "tested": 60}
TRAININGS = ("all tokens", "some tokens", "nested", "sampled")
"""The last has twice the steps."""


def counts_of(side: int) -> TokenCounts:
    """Tokens of the scales of a grid, fewest first, and TokenFLEX's shares of steps: 1, 4 and 16 of 16, or 1 and 4 of 4."""
    return TokenCounts((1, 4, 16), (0.2, 0.3, 0.5)) if side == 4 else TokenCounts((1, 4), (0.5, 0.5))


def loss_of(training: str, side: int) -> Loss:
    """What is learnt from a batch."""
    counts = counts_of(side)

    def loss(model: Any, grids: DigitGrids, rng: np.random.Generator) -> Tensor:
        if training == "nested":
            return nested_loss(model, **grids.lessons, scales=counts.counts).loss
        tokens = {"all tokens": counts.counts[-1], "some tokens": counts.counts[-2]}.get(training) or counts(rng)
        return sampled_loss(model, **grids.lessons, tokens=tokens)

    return loss


def budget_trial(
    archives: str | None, cache: str, seed: int, side: int, steps: int, tested: int, trainings: Sequence[str]
) -> dict[str, Any]:
    """Train, and ask about digits of other people with each number of tokens.

    Sampled training has twice the steps, for half of them see all tokens; it still reads fewer visual tokens
        than nested training.
    Returns: for each training: shares of right answers to fine and coarse questions, by tokens; the oracle's share and mean
        tokens; visual tokens that the language model read in training, for each picture of the others' number of steps.
    """
    source = None if archives is None else Path(archives)
    _, held_out = read_digits(source)
    grids = DigitGridTask(side=side, mix=MIX).draw(held_out, tested, rng=np.random.default_rng((seed, 2)))
    fine_B = (grids.kinds_B == KINDS.index("digit")).numpy()
    counts, found = counts_of(side), {}
    scales = counts.counts
    for training in trainings:
        model = trained_digit_grid(
            source, Path(cache), seed, name=training.replace(" ", "-"), loss=loss_of(training, side),
            mix=MIX, steps=steps * (2 if training == "sampled" else 1), side=side,
        )  # fmt: skip
        right_MB = np.stack([_right(model, grids, side, tokens) for tokens in scales])
        oracle = oracle_budget(right_MB, scales)
        read = {
            "all tokens": scales[-1],
            "some tokens": scales[-2],
            "nested": sum(scales),
            "sampled": 2 * counts.mean,
        }
        found[training] = {
            "fine": {str(m): float(right[fine_B].mean()) for m, right in zip(scales, right_MB)},
            "coarse": {str(m): float(right[~fine_B].mean()) for m, right in zip(scales, right_MB)},
            "oracle": [oracle.accuracy, oracle.tokens],
            "read": float(read[training]),
        }
    return found


def _right(model: Any, grids: DigitGrids, side: int, tokens: int) -> np.ndarray:
    pooling = block_pooling((side, side), round(side / tokens**0.5))
    # Positions counted anew, as in training.
    return (answers(model, grids, pooling, positions="compact") == grids.answers_B).numpy()


def means(found: list[dict[str, Any]], training: str, kind: str) -> dict[int, float]:
    """Tokens → mean over seeds."""
    return {int(m): float(np.mean([one[training][kind][m] for one in found])) for m in found[0][training][kind]}


def spread(found: list[dict[str, Any]], training: str, kind: str) -> np.ndarray | None:
    """Standard deviation over seeds for each number of tokens; None for one seed."""
    values = np.array([list(one[training][kind].values()) for one in found])
    return values.std(0, ddof=1) if len(values) > 1 else None
