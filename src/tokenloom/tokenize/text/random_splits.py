"""Cutting text at random before BPE is trained on it, so that tokens of several words can be learnt.

From the fifth generation of the KL3M tokenizers (Bommarito, Katz, Bommarito 2025, arXiv 2503.17247), where both exist only in
the authors' private build of `tokenizers`, without a seed. Which side a space goes to is read off their example of 32,000
tokens: most end in one.
"""
# N characters

from dataclasses import dataclass

import numpy as np

from ...core.errors import InvalidInput

__all__ = ["RandomChunkSplit", "RandomWhitespaceSplit"]

_SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], np.uint32)


@dataclass(frozen=True)
class RandomWhitespaceSplit:
    """Cut behind a character of white space with a probability, so that tokens of several words can be learnt.

    Args:
        probability: from 0 to 1; the authors use 0.3 to 0.5.
    Raises: InvalidInput: it is no probability.

    >>> RandomWhitespaceSplit(1.0)("of the Code", rng=np.random.default_rng(0)).tolist()
    [3, 7]
    """

    probability: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise InvalidInput(f"probability={self.probability}; it is from 0 to 1")

    def __call__(self, text: str, *, rng: np.random.Generator) -> np.ndarray:
        """Where `text` of N characters is cut: int64, rising, one draw for each character of white space."""
        spaces = np.flatnonzero(np.isin(np.frombuffer(text.encode("utf-32-le"), "<u4"), _SPACES))
        return spaces[rng.random(spaces.size) < self.probability] + 1


@dataclass(frozen=True)
class RandomChunkSplit:
    """Cut into consecutive chunks whose lengths are uniform from `least` to `most` characters; the last may be shorter.

    Raises: InvalidInput: not 1 <= least <= most.

    >>> RandomChunkSplit(2, 2)("abcde", rng=np.random.default_rng(0)).tolist()
    [2, 4]
    """

    least: int = 2
    most: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise InvalidInput(f"least={self.least} and most={self.most}; lengths of chunks need 1 <= least <= most")

    def __call__(self, text: str, *, rng: np.random.Generator) -> np.ndarray:
        """Where `text` of N characters is cut: int64, rising; N // `least` draws."""
        points = np.cumsum(rng.integers(self.least, self.most, size=len(text) // self.least, endpoint=True))
        return points[points < len(text)]
