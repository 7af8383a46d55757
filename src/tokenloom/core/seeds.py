"""Independent random streams by counting: the same numbers for any number of workers and any chunking.

A 64-bit seed per document is a pure function of what names the document (seed, epoch, index), so whoever meets the
document draws the same. The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
"""

import numpy as np

from .errors import InvalidInput

__all__ = ["GAMMA", "MIX_1", "MIX_2", "stream_seeds"]

GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * MIX_1
    x = (x ^ (x >> np.uint64(27))) * MIX_2
    return x ^ (x >> np.uint64(31))


def stream_seeds(*names: int | np.ndarray) -> np.ndarray:
    """One 64-bit seed per element of the broadcast `names`, whole numbers 0 … 2^64 - 1; order matters.

    Raises: InvalidInput: a negative or fractional name.

    >>> a, b = stream_seeds(7, 0, np.arange(3)), stream_seeds(7, 0, np.arange(1, 3))
    >>> a.dtype, bool((a[1:] == b).all())
    (dtype('uint64'), True)
    """
    state = np.zeros(1, np.uint64)
    for name in names:
        array = np.atleast_1d(np.asarray(name))
        if array.dtype.kind not in "iu" or (array.size and array.min() < 0):
            raise InvalidInput(f"seeds are made of whole numbers 0 … 2^64 - 1, got {name!r}")
        state = _mix(state + GAMMA + _mix(array.astype(np.uint64) + GAMMA))
    return state
