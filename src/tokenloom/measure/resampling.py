"""Intervals of estimates by the bootstrap: how far a figure would move on more text of the same kind.

Efron, Tibshirani 1993, "An Introduction to the Bootstrap". Text depends on what stands beside it, so what is drawn again is
stretches of text, not words (blocks without overlap: Carlstein 1986, Annals of Statistics 14). Texts of another kind are another
matter.
"""
# R resamples, U units

import numpy as np

from ..core.errors import InvalidInput

__all__ = ["basic_interval", "resample"]


def resample(units: int, times: int, rng: np.random.Generator) -> np.ndarray:
    """How often each unit is drawn when as many are drawn as there are, with replacement: int64 (R, U), rows sum to U.

    Raises: InvalidInput: no unit, or `times` below 1.

    >>> resample(3, 2, np.random.default_rng(0)).sum(1).tolist()
    [3, 3]
    """
    if units < 1 or times < 1:
        raise InvalidInput(f"{units=} and {times=} must be at least 1")
    return rng.multinomial(units, np.full(units, 1 / units), times)


def basic_interval(value: float, resampled_R: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """The basic bootstrap interval: 2 value - upper quantile … 2 value - lower quantile.

    What cannot be computed in some resample (nan) is left out.

    Args:
        value: the estimate from all units.
        resampled_R: the same from each resample, (R,).
        confidence: between 0 and 1.
    Returns: lower and upper end; nan where all resamples are.
    Raises: InvalidInput: `confidence` outside 0 … 1.

    >>> basic_interval(5.0, np.array([4.0, 5.0, 6.0, 7.0]), 0.5)
    (3.75, 5.25)
    """
    if not 0 < confidence < 1:
        raise InvalidInput(f"confidence={confidence}; it must be between 0 and 1")
    known = np.asarray(resampled_R, np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(2 * value - high), float(2 * value - low)
