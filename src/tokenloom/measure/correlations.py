"""How strongly two quantities go together, never without the number of cases and an interval."""
# N cases, K quantities held fixed

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ..core.errors import InvalidInput

__all__ = ["Correlation", "correlation"]


@dataclass(frozen=True)
class Correlation:
    """A correlation coefficient and its uncertainty.

    Args:
        r: -1 to 1; NaN where one of the two does not vary (beyond what the quantities held fixed explain).
        n: cases.
        low: lower end of the interval; NaN where there are too few cases or r is NaN.
        high: its upper end.
    """

    r: float
    n: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"r = {self.r:.3f} ({self.low:.2f} … {self.high:.2f}, n = {self.n})"


def correlation(
    x_N: np.ndarray, y_N: np.ndarray, *, given_NK: np.ndarray | None = None, confidence: float = 0.95
) -> Correlation:
    """Pearson's r of two quantities, or their partial correlation; with Fisher's interval.

    tanh(artanh r ± z / sqrt(n - K - 3)). The partial correlation is that of what is left of both after least squares on
    the quantities held fixed and a constant.

    Args:
        x_N: numbers (N,), finite; booleans count as 0 and 1.
        y_N: the same.
        given_NK: quantities held fixed, (N, K); None for none.
        confidence: of the interval, between 0 and 1.
    Raises: InvalidInput: other shapes, fewer than two cases, values that are not finite, `confidence` outside 0 … 1.

    >>> str(correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]))
    'r = 0.800 (-0.28 … 0.99, n = 5)'
    """
    columns = [np.asarray(values, np.float64) for values in (x_N, y_N)]
    given = np.empty((columns[0].size, 0)) if given_NK is None else np.asarray(given_NK, np.float64)
    if any(values.ndim != 1 for values in columns) or given.ndim != 2:
        raise InvalidInput("a correlation is that of two lists of numbers; what is held fixed has a row for each case")
    n, k = columns[0].size, given.shape[1]
    if n < 2 or columns[1].size != n or given.shape[0] != n:
        raise InvalidInput(
            f"{n} and {columns[1].size} numbers, {given.shape[0]} rows held fixed; at least 2 and as many"
        )
    if not all(np.isfinite(values).all() for values in (*columns, given)):
        raise InvalidInput("a correlation of values that are not all finite")
    if not 0 < confidence < 1:
        raise InvalidInput(f"confidence={confidence}; it must be between 0 and 1")
    base = np.column_stack([np.ones(n), given])
    left = [values - base @ np.linalg.lstsq(base, values, rcond=None)[0] for values in columns]
    lengths = [float(np.linalg.norm(values)) for values in left]
    # What least squares leaves of something it explains wholly is rounding, not variation.
    if any(length <= 1e-10 * max(1.0, float(np.linalg.norm(values))) for length, values in zip(lengths, columns)):
        return Correlation(np.nan, n, np.nan, np.nan)
    r = float(np.clip(left[0] @ left[1] / (lengths[0] * lengths[1]), -1, 1))
    if n - k <= 3 or abs(r) == 1:
        return Correlation(r, n, *((r, r) if abs(r) == 1 and n - k > 3 else (np.nan, np.nan)))
    half = NormalDist().inv_cdf((1 + confidence) / 2) / np.sqrt(n - k - 3)
    return Correlation(r, n, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)))
