"""A character model that has nothing to do with the network: n-grams with Witten-Bell smoothing.

p(c | h) = (count(h c) + T(h) p(c | h without its first character)) / (count(h) + T(h)), where T(h) is how many different
characters follow h; Witten and Bell 1991, IEEE Transactions on Information Theory 37.
"""
# R texts, N characters of each, G n-grams

from dataclasses import dataclass

import numpy as np

__all__ = ["Grams", "count_grams"]


@dataclass(frozen=True)
class Grams:
    """Counts of one length.

    Args:
        grams_G: codes of n-grams, ascending.
        counts_G: of each.
        contexts: codes of n-grams without their last character, ascending.
        totals: how many characters follow each.
        kinds: how many different ones.
    """

    grams_G: np.ndarray
    counts_G: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True)
class Judge:
    """Ask with ids (R, N): bits of each character behind those before it in its row, float64 (R, N)."""

    vocab_size: int
    lengths: tuple[Grams, ...]

    def __call__(self, ids_RN: np.ndarray) -> np.ndarray:
        p_RN = np.full(ids_RN.shape, 1 / self.vocab_size)
        for n, known in enumerate(self.lengths, 1):
            if n > ids_RN.shape[1]:
                break
            codes = _codes(ids_RN, n, self.vocab_size)
            count, (total, kinds) = (
                _found(known.grams_G, codes, known.counts_G)[0],
                _found(known.contexts, codes // self.vocab_size, known.totals, known.kinds),
            )
            shorter = p_RN[:, n - 1 :]
            p_RN[:, n - 1 :] = np.where(total, (count + kinds * shorter) / np.maximum(total + kinds, 1), shorter)
        return -np.log2(p_RN)


def count_grams(ids_N: np.ndarray, *, longest: int, vocab_size: int) -> Judge:
    """Count all n-grams of up to `longest` characters.

    >>> bits = count_grams(np.array([0, 1, 0, 1, 0, 2]), longest=1, vocab_size=4)(np.array([[0, 3]]))
    >>> (2**-bits).round(4).tolist()  # of 6 characters 3 are 0, of 3 kinds: (3 + 3 / 4) / 9 and (0 + 3 / 4) / 9
    [[0.4167, 0.0833]]
    """
    lengths = []
    for n in range(1, longest + 1):
        grams_G, counts_G = np.unique(_codes(ids_N[None], n, vocab_size), return_counts=True)
        contexts, first, kinds = np.unique(grams_G // vocab_size, return_index=True, return_counts=True)
        lengths.append(Grams(grams_G, counts_G, contexts, np.add.reduceat(counts_G, first), kinds))
    return Judge(vocab_size, tuple(lengths))


def _codes(ids_RN: np.ndarray, n: int, vocab_size: int) -> np.ndarray:
    """A number for each run of n characters, int64 (R, N - n + 1)."""
    runs = np.lib.stride_tricks.sliding_window_view(ids_RN.astype(np.int64), n, axis=1)
    return runs @ vocab_size ** np.arange(n - 1, -1, -1)


def _found(known: np.ndarray, asked: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
    """Values of what is known, 0 of what is not."""
    at = np.searchsorted(known, asked).clip(max=len(known) - 1)
    return [np.where(known[at] == asked, value[at], 0) for value in values]
