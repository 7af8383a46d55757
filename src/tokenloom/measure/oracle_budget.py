"""How few tokens would have been enough, had one known for each question."""
# M budgets, B questions

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import InvalidInput

__all__ = ["OracleBudget", "oracle_budget"]


@dataclass(frozen=True)
class OracleBudget:
    """What the best choice of a budget for each question would reach.

    Args:
        accuracy: share of questions that are answered right at some budget.
        tokens: of the smallest such budget, the mean; of the largest budget where none is right.
    """

    accuracy: float
    tokens: float


def oracle_budget(right_MB: np.ndarray, tokens: Sequence[int]) -> OracleBudget:
    """The oracle of M³ (Cai et al. 2025, arXiv 2405.17430, section 4): for each question the fewest tokens that answer it.

    It looks at the answers, so it is no method, but says how far one could get that chooses well.

    Args:
        right_MB: bool, whether each question was answered right at each budget.
        tokens: of the budgets, in any order.
    Raises: InvalidInput: not one row for each budget, or no question.

    >>> oracle_budget(np.array([[True, True, False], [False, True, False]]), [16, 4])
    OracleBudget(accuracy=0.6666666666666666, tokens=12.0)
    """
    if right_MB.ndim != 2 or len(right_MB) != len(tokens) or right_MB.size == 0:
        raise InvalidInput(f"right_MB has shape {right_MB.shape}, for {len(tokens)} budgets; each has a row of answers")
    budgets = np.asarray(tokens)[:, None]
    fewest_B = np.where(right_MB, budgets, budgets.max()).min(0)
    return OracleBudget(float(right_MB.any(0).mean()), float(fewest_B.mean()))
