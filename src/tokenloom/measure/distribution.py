"""How evenly a tokenizer uses its vocabulary.

A token that appears always or never tells a model little. Zouhar et al. 2023, "Tokenization and the Noiseless Channel",
arXiv 2306.16842, find that the Rényi entropy of the tokens, of order 2.5 and relative to the largest possible, goes with the
quality of translation better than the length of the text does.
"""
# V vocabulary

import numpy as np

from ..core.errors import InvalidInput
from ..core.vocabulary import Kind, Vocabulary

__all__ = ["renyi_efficiency", "renyi_entropy", "text_ids", "token_counts", "token_entropy"]


def token_counts(ids: np.ndarray, vocab: Vocabulary) -> np.ndarray:
    """How often each id occurs: int64 (V,).

    Raises: InvalidInput: an id outside the vocabulary.

    >>> token_counts(np.array([2, 0, 2]), Vocabulary([b"a", b"b", b"c"])).tolist()
    [1, 0, 2]
    """
    return np.bincount(vocab.check_ids(ids), minlength=len(vocab)).astype(np.int64)


def text_ids(vocab: Vocabulary) -> np.ndarray:
    """Which ids can stand for text, special and unused ones left out: bool (V,)."""
    return vocab.kinds <= Kind.BYTE


def renyi_entropy(counts_V: np.ndarray, order: float) -> float:
    """Rényi entropy of the tokens in bits per token; order 1 is Shannon's.

    H_a = log2(sum p^a) / (1 - a); H_1 = -sum p log2 p (Zouhar et al. 2023, definition 3.2).

    Args:
        counts_V: how often each id occurs, (V,), not negative, not all 0; what is expected as well as what is counted.
        order: a, not negative.
    Raises: InvalidInput: negative counts or none, a negative order.

    >>> renyi_entropy(np.array([2, 2, 0]), 2.5)
    1.0
    """
    counts_V = np.asarray(counts_V, np.float64)
    if not order >= 0:
        raise InvalidInput(f"order={order}; it must not be negative")
    if (counts_V.size and counts_V.min() < 0) or not (total := counts_V.sum()) > 0:
        raise InvalidInput("an entropy needs counts that are not negative, and one token at least")
    # Most tokens are rare, so that few counts are different: powers and logarithms of those alone.
    values, ids = np.unique(counts_V[counts_V > 0], return_counts=True)
    p = values / total
    if order == 1:
        return float(-(ids @ (p * np.log2(p)))) + 0.0
    if order == np.inf:
        return float(-np.log2(p.max())) + 0.0
    return float(np.log2(ids @ p**order) / (1 - order)) + 0.0


def token_entropy(counts_V: np.ndarray) -> float:
    """Shannon entropy of single tokens, in bits per token.

    >>> token_entropy(np.array([2, 1, 1]))
    1.5
    """
    return renyi_entropy(counts_V, 1)


def renyi_efficiency(counts_V: np.ndarray, size: int | None = None, order: float = 2.5) -> float:
    """Rényi entropy divided by the largest possible, log2 of the vocabulary: 0 to 1.

    Args:
        counts_V: how often each id occurs, (V,).
        size: ids that could occur; None for `counts_V.size`. With those that do occur it is what the authors' package prints.
        order: the paper's is 2.5, chosen there for translation into German.
    Raises: InvalidInput: as `renyi_entropy`; a size below 2 or below the number of ids that occur.

    >>> renyi_efficiency(np.array([5, 5, 5, 5])), renyi_efficiency(np.array([5, 5, 0, 0]))
    (1.0, 0.5)
    """
    used = int(np.count_nonzero(counts_V))
    size = np.size(counts_V) if size is None else size
    if size < 2 or size < used:
        raise InvalidInput(f"size={size}; it must be at least 2 and not below the {used} ids that occur")
    return renyi_entropy(counts_V, order) / float(np.log2(size))
