"""Whether tokens end where morphemes do: cuts of a tokenizer against a list of segmented words.

Precision and recall of boundaries inside words, as in the Morpho Challenge (Kurimo et al. 2010); a word is *hard* when a seam
lies inside a token (Minixhofer, Pfeiffer, Vulić 2023, CompoundPiece, arXiv 2305.14214, section 5, who ask it of compounds).
"""
# W words

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from ..core.errors import InvalidInput
from ..core.tokenizer import Tokenizer
from .segmenting import segment

__all__ = ["Boundaries", "boundaries", "read_segmentations"]


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Counts for each word; they add up.

    Args:
        shared: places where both the tokenizer and the list cut, int64 (W,).
        found: places inside the word where the tokenizer cuts.
        right: places where the list does.
        tokens: tokens that hold some of the word.
    """

    shared: np.ndarray
    found: np.ndarray
    right: np.ndarray
    tokens: np.ndarray

    @property
    def precision(self) -> float:
        """Share of the tokenizer's cuts that are right; nan where it cuts no word."""
        return _ratio(self.shared.sum(), self.found.sum())

    @property
    def recall(self) -> float:
        """Share of the right cuts that the tokenizer makes; nan where no word has one."""
        return _ratio(self.shared.sum(), self.right.sum())

    @property
    def f1(self) -> float:
        """Harmonic mean of both: twice the shared cuts by all cuts; nan where there is none."""
        return _ratio(2 * self.shared.sum(), self.found.sum() + self.right.sum())

    @property
    def hard(self) -> float:
        """Share of words with a seam inside a token, of those that have a seam; nan where none has."""
        return _ratio((self.shared < self.right).sum(), (self.right > 0).sum())


def read_segmentations(table: str, name: str = "the list") -> list[list[str]]:
    """Words and their morphemes from tab-separated lines: a word, its parts with | between them, what else there is.

    A first line "word<tab>segmentation" is left out. Parts may be written in lower case, but must be as long as the word.

    Returns: the parts of each word, cut from the word as it is written.
    Raises: InvalidInput: a line without parts, or with parts of another length than the word; no words at all.

    >>> read_segmentations("word\\tsegmentation\\nAutobahn\\tauto|bahn\\nevlere\\tev|ler|e")
    [['Auto', 'bahn'], ['ev', 'ler', 'e']]
    """
    words = []
    for number, line in enumerate(table.splitlines(), 1):
        word, *columns = line.split("\t")
        if not line.strip() or (number == 1 and word == "word"):
            continue
        parts = columns[0].split("|") if columns else []
        if not parts or not all(parts) or sum(map(len, parts)) != len(word):
            raise InvalidInput(
                f"{name}, line {number}: {line[:60]!r} is no word, a tab, and its parts with | between them"
            )
        edges = list(accumulate(map(len, parts), initial=0))
        words.append([word[begin:end] for begin, end in pairwise(edges)])
    if not words:
        raise InvalidInput(f"{name} holds no words")
    return words


def boundaries(tokenizer: Tokenizer, words: Sequence[Sequence[str]], *, before: str = " ") -> Boundaries:
    """Compare the cuts inside words with the right ones, in bytes.

    Args:
        words: the parts of each word, one part at least.
        before: what stands before each word; a space, as inside a text. A cut behind it is none inside the word.
    Raises: InvalidInput: no words.

    >>> from tokenloom.hosts import load_tokenizer
    >>> found = boundaries(load_tokenizer("bytes"), [["ev", "ler"], ["su"]])
    >>> found.precision, found.recall, found.hard
    (0.2, 1.0, 0.0)
    """
    if not words:
        raise InvalidInput("no words to compare boundaries of")
    seg = segment(tokenizer, [before + "".join(parts) for parts in words])
    sizes = [[len(part.encode()) for part in parts] for parts in words]
    starts = np.cumsum([0, *(len(before.encode()) + sum(word) for word in sizes)])[:-1] + len(before.encode())
    ends = starts + np.array([sum(word) for word in sizes])
    seams = np.concatenate([start + np.cumsum(word[:-1], dtype=np.int64) for start, word in zip(starts, sizes)])
    cuts = seg.boundaries()
    first, last = np.searchsorted(cuts, starts, side="right"), np.searchsorted(cuts, ends, side="left")
    hits = np.bincount(np.searchsorted(starts, seams[np.isin(seams, cuts)], side="right") - 1, minlength=len(words))
    return Boundaries(
        shared=hits,
        found=last - first,
        right=np.array([len(word) - 1 for word in sizes], np.int64),
        tokens=last - first + 1,
    )


def _ratio(part: np.number, whole: np.number) -> float:
    return float(part / whole) if whole else float("nan")
