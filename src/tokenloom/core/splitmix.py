"""Random numbers inside compiled loops: SplitMix64 and unbiased numbers below a bound.

A stream is one 64-bit word (see `seeds`), so that a document can own one. Steele, Lea, Flood 2014, "Fast splittable
pseudorandom number generators".
"""

import numpy as np
from numba import njit

from .seeds import GAMMA, MIX_1, MIX_2

__all__ = ["below", "draw", "unit"]


@njit(cache=True, nogil=True)
def draw(state):
    """SplitMix64: the next state and 64 random bits."""
    state = state + GAMMA
    z = (state ^ (state >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return state, z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def below(bits, state, bound):
    """A uniform number below `bound` <= 2^32 from 32 random bits, drawing again where these would favour some.

    Lemire 2019, "Fast random integer generation in an interval".
    """
    product = bits * bound
    low = product & np.uint64(0xFFFFFFFF)
    if low < bound:
        unfair = (np.uint64(0x100000000) - bound) % bound
        while low < unfair:
            state, z = draw(state)
            product = (z >> np.uint64(32)) * bound
            low = product & np.uint64(0xFFFFFFFF)
    return state, product >> np.uint64(32)


@njit(cache=True, nogil=True)
def unit(z):
    """A number in [0, 1) with 53 random bits, from the 64 bits of `draw`."""
    return np.float64(z >> np.uint64(11)) * 2.0**-53
