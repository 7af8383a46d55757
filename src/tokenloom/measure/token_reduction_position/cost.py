"""What fewer tokens save, counted; and from which length on it is more than the reducer costs."""
# L layers

from collections.abc import Sequence

import numpy as np

from ...core.errors import InvalidInput

__all__ = ["break_even", "cache_bytes", "prefill_flops"]


def prefill_flops(tokens_L: Sequence[int], *, width: int, hidden: int, projections: int = 3) -> int:
    """Multiplications and additions of reading a prompt: the sum over layers of 4 n d² + 2 n² d + c n d m.

    The formula by which the papers on pruning compare themselves (FastV, HiPrune, TransPrune), with the tokens that are left in
    each layer; it leaves out embeddings, norms, the output layer and the fewer keys of grouped queries. As in those papers one
    multiplication with its addition counts as one.

    Args:
        tokens_L: n, tokens in each layer.
        width: d.
        hidden: m, of the feed-forward layers.
        projections: c, matrices of a feed-forward layer: 3 if gated, else 2.
    Raises: InvalidInput: no layer, or numbers below 1.

    >>> prefill_flops([10, 5], width=4, hidden=8) == sum(4 * n * 16 + 2 * n * n * 4 + 3 * n * 4 * 8 for n in (10, 5))
    True
    """
    if not len(tokens_L) or min(*tokens_L, width, hidden, projections) < 1:
        raise InvalidInput(f"{list(tokens_L)} tokens, {width=}, {hidden=}, {projections=}; all must be at least 1")
    return sum(4 * n * width**2 + 2 * n * n * width + projections * n * width * hidden for n in tokens_L)


def cache_bytes(tokens_L: Sequence[int], *, heads: int, head_width: int, itemsize: int = 2) -> int:
    """Bytes of the keys and values that a prompt leaves in the cache.

    Args:
        tokens_L: tokens in each layer.
        heads: of keys and values.
        head_width: of one head.
        itemsize: bytes of a number.
    Raises: InvalidInput: a negative number.
    """
    if min(*tokens_L, heads, head_width, itemsize, 0) < 0:
        raise InvalidInput(f"tokens {list(tokens_L)}, {heads=}, {head_width=}, {itemsize=}; none can be negative")
    return 2 * sum(tokens_L) * heads * head_width * itemsize


def break_even(lengths: np.ndarray, saved: np.ndarray, overhead: np.ndarray) -> float | None:
    """The number of tokens from which on a reducer saves more than it costs, between the lengths that were measured.

    Args:
        lengths: ascending.
        saved: what the model no longer does, at each length.
        overhead: what the reducer costs, in the same unit.
    Returns: the last crossing from loss to gain, linearly interpolated; the first length if there is always a gain; None if at
        the last one there is none.
    Raises: InvalidInput: lengths that do not ascend, other numbers of values, or NaN among them.

    >>> break_even(np.array([100, 200]), np.array([0.0, 4.0]), np.array([1.0, 1.0]))
    125.0
    """
    lengths, gain = np.asarray(lengths, np.float64), np.asarray(saved, np.float64) - np.asarray(overhead, np.float64)
    if (
        lengths.ndim != 1
        or lengths.shape != gain.shape
        or not lengths.size
        or not (np.diff(lengths) > 0).all()
        or np.isnan(gain).any()
    ):
        raise InvalidInput(f"{lengths.size} lengths, which must ascend, and {gain.size} gains")
    if gain[-1] <= 0:
        return None
    losses = np.flatnonzero(gain <= 0)
    if not losses.size:
        return float(lengths[0])
    k = losses[-1]
    return float(lengths[k] - gain[k] * (lengths[k + 1] - lengths[k]) / (gain[k + 1] - gain[k]))
