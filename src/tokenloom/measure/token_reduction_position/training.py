"""Whether training is steady when tokens are left out of what is read, or out of the loss."""
# S seeds, T steps

import numpy as np

from ...core.errors import InvalidInput

__all__ = ["loss_spread", "spikes", "steps_to"]


def loss_spread(losses_ST: np.ndarray) -> float:
    """Standard deviation of the loss between seeds, the mean over steps.

    Raises: InvalidInput: fewer than two seeds.
    """
    losses_ST = np.asarray(losses_ST, np.float64)
    if losses_ST.ndim != 2 or len(losses_ST) < 2:
        raise InvalidInput(f"losses have shape {losses_ST.shape}; the spread is between two seeds or more")
    return float(losses_ST.std(0, ddof=1).mean())


def spikes(norms_T: np.ndarray, factor: float = 3.0) -> float:
    """Share of steps whose gradient is more than `factor` times as long as the median one.

    >>> spikes(np.array([1.0, 1.0, 1.0, 9.0]))
    0.25
    """
    norms_T = np.asarray(norms_T, np.float64)
    if not norms_T.size or factor <= 0:
        raise InvalidInput(f"{norms_T.size} gradients, and factor={factor}; there must be one, and factor above 0")
    return float((norms_T > factor * np.median(norms_T)).mean())


def steps_to(losses_T: np.ndarray, target: float) -> int | None:
    """The first step, from 1 on, at which the loss is not above `target`; None if it never is.

    >>> steps_to(np.array([3.0, 2.0, 1.0]), 2.0)
    2
    """
    reached = np.flatnonzero(np.asarray(losses_T) <= target)
    return int(reached[0]) + 1 if reached.size else None
