"""How well compounds are split, and how many a tokenizer cuts across a seam.

Minixhofer, Pfeiffer, Vulić 2023, "CompoundPiece", arXiv 2305.14214, sections 4 and 5.
"""
# W words

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..core.errors import InvalidInput
from ..core.tokenizer import Tokenizer

__all__ = ["SplitScores", "hardness", "score_splits"]


@dataclass(frozen=True)
class SplitScores:
    """Splits of words against the right ones.

    Args:
        exact: share of words split as is right.
        compounds: of those that are compounds; 0 where there are none.
        whole: of those that are not.
        precision: share of the seams found that are right; 1 where none is found.
        recall: share of the right seams that are found; 1 where there is none.
    """

    exact: float
    compounds: float
    whole: float
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def score_splits(found: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> SplitScores:
    """Compare constituents, which put together are the word, with the right ones.

    Raises: InvalidInput: no words, another number of words, or two that are not the same word.

    >>> score_splits([["Haus", "boot"], ["Banane"]], [["Haus", "boot"], ["Ban", "ane"]]).recall
    0.5
    """
    if not right or len(found) != len(right):
        raise InvalidInput(f"{len(found)} words are split, {len(right)} are right")
    hits = made = there = 0
    same: dict[bool, list[bool]] = {True: [], False: []}
    for ours, theirs in zip(found, right):
        if "".join(ours) != "".join(theirs):
            raise InvalidInput(f"{list(ours)} and {list(theirs)} are not the same word")
        seams, wanted = _seams(ours), _seams(theirs)
        hits, made, there = hits + len(seams & wanted), made + len(seams), there + len(wanted)
        same[len(theirs) > 1].append(seams == wanted)
    compounds, whole = (sum(same[kind]) / len(same[kind]) if same[kind] else 0.0 for kind in (True, False))
    return SplitScores(
        exact=(sum(same[True]) + sum(same[False])) / len(right),
        compounds=compounds,
        whole=whole,
        precision=hits / made if made else 1.0,
        recall=hits / there if there else 1.0,
    )


def hardness(tokenizer: Tokenizer, compounds: Sequence[Sequence[str]], *, before: str = "") -> tuple[float, float]:
    """The share of compounds that are hard: some seam is inside a token.

    Args:
        tokenizer: cuts each compound by itself.
        compounds: constituents, two at least.
        before: what stands before each compound; the paper has nothing there.
    Returns: the share, and tokens per compound.
    Raises: InvalidInput: no compound, or one of a single constituent.

    >>> from tokenloom.hosts import load_tokenizer
    >>> hardness(load_tokenizer("bytes"), [["Haus", "boot"]])
    (0.0, 8.0)
    """
    if not compounds or min(map(len, compounds)) < 2:
        raise InvalidInput("hardness is that of compounds, each of two constituents at least")
    hard = tokens = 0
    for parts in compounds:
        seg = tokenizer.encode(before + "".join(parts))
        *seams, _ = accumulate((len(part.encode()) for part in parts), initial=len(before.encode()))
        hard += not set(seams[1:]) <= set(seg.boundaries().tolist())
        tokens += len(seg)
    return hard / len(compounds), tokens / len(compounds)


def _seams(parts: Sequence[str]) -> set[int]:
    return set(list(accumulate(map(len, parts)))[:-1])
