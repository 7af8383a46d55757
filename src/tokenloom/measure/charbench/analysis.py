"""Right and wrong, and what goes with it.

Uzan, Pinter 2025, arXiv 2508.02591, sections 4 and 5. A reply that is no number is wrong, and so is one that is missing:
all models are compared on the same items.
"""
# N items, K columns held fixed

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import InvalidInput
from ..correlations import Correlation, correlation
from .features import FEATURES
from .items import COUNT_TASKS, INDEX_TASKS, TASKS, Items

__all__ = [
    "Accuracy",
    "Effect",
    "Scores",
    "accuracy_by",
    "effects",
    "error_overlap",
    "mean_correlations",
    "mixed_case",
    "parse",
    "rank_biserial",
    "score",
]

# More digits than any answer, fewer than float64 would round.
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}")


def parse(reply: str) -> int | None:
    """The reply as a whole number in decimal digits, white space around it apart; None if it is anything else.

    >>> parse(" 3\\n"), parse("3."), parse("three"), parse("")
    (3, None, None, None)
    """
    reply = reply.strip()
    return int(reply) if _NUMBER.fullmatch(reply) else None


@dataclass(frozen=True)
class Accuracy:
    """How many of n are right.

    Args:
        n: items.
        accuracy: share of right ones, 0 … 1; NaN for none.
        stderr: sqrt(accuracy (1 - accuracy) / n).
    """

    n: int
    accuracy: float
    stderr: float

    @classmethod
    def of(cls, correct: np.ndarray) -> "Accuracy":
        """Of booleans (n,)."""
        n = correct.size
        p = float(correct.mean()) if n else math.nan
        return cls(n, p, math.sqrt(p * (1 - p) / n) if n else math.nan)


@dataclass(frozen=True, eq=False)
class Scores:
    """How a model did on N items.

    Args:
        correct: bool (N,).
        invalid: no number, or no reply at all: bool (N,).
        overall: of all items.
        by_task: of each task that occurs.
        bias: for each task of counting that occurs, the mean of reply - answer over wrong numbers; NaN where there are none.
    """

    correct: np.ndarray
    invalid: np.ndarray
    overall: Accuracy
    by_task: Mapping[str, Accuracy]
    bias: Mapping[str, float]


def score(items: Items, given: Sequence[str | int | None] | np.ndarray) -> Scores:
    """Compare replies, or numbers, with the answers.

    Args:
        items: N questions.
        given: what was replied to each: text, a whole number, or None where no reply came.
    Raises: InvalidInput: another number of replies, or no items.
    """
    if len(given) != len(items) or not len(items):
        raise InvalidInput(f"{len(given)} replies to {len(items)} items; need one each, at least one")
    replied = np.array([_number(reply) for reply in given])
    correct, invalid = replied == items.answers, np.isnan(replied)
    present = [task for task in TASKS if items.of(task).any()]
    return Scores(
        correct,
        invalid,
        Accuracy.of(correct),
        {task: Accuracy.of(correct[items.of(task)]) for task in present},
        {
            task: _mean((replied - items.answers)[items.of(task) & ~correct & ~invalid])
            for task in COUNT_TASKS
            if task in present
        },
    )


def _number(reply: str | int | None) -> float:
    number = parse(reply) if isinstance(reply, str) else reply
    if number is None or number != number:
        return math.nan
    return float(max(-1e15, min(number, 1e15)))  # what float64 does not hold is wrong, whatever it is


def error_overlap(left: np.ndarray, right: np.ndarray) -> float:
    """Jaccard overlap of the errors of two models: wrong in both / wrong in either; NaN if neither errs.

    Args:
        left: whether one was right, bool (N,).
        right: whether the other was, bool (N,).

    >>> error_overlap(np.array([True, False, False]), np.array([False, False, True]))
    0.3333333333333333
    """
    left, right = np.asarray(left, bool), np.asarray(right, bool)
    either = int((~(left & right)).sum())
    return int((~(left | right)).sum()) / either if either else math.nan


def accuracy_by(values: np.ndarray, correct: np.ndarray) -> dict[float, Accuracy]:
    """Accuracy for each value of a feature, ascending; items whose value is NaN are left out.

    >>> accuracy_by(np.array([1, 2, 2]), np.array([True, True, False]))[2.0].accuracy
    0.5
    """
    known = ~np.isnan(values)
    return {float(value): Accuracy.of(correct[values == value]) for value in np.unique(values[known])}


def mixed_case(items: Items) -> np.ndarray:
    """Where case matters, bool (N,): both cases of the character occur in the word; where all are counted, any of both.

    The paper splits the tasks of indexing by the character, the others by the word.
    """
    indexed = np.logical_or.reduce([items.of(task) for task in INDEX_TASKS])
    lower, upper = np.char.lower(items.letters), np.char.upper(items.letters)
    both = (np.char.find(items.words, lower) >= 0) & (np.char.find(items.words, upper) >= 0) & (lower != upper)
    of_word = (np.char.lower(items.words) != items.words) & (np.char.upper(items.words) != items.words)
    return np.where(indexed, both, of_word)


def rank_biserial(values: np.ndarray, correct: np.ndarray) -> float:
    """By how much likelier a right item has the larger value than a wrong one, -1 to 1, equal values aside.

    P(right > wrong) - P(right < wrong) over all pairs; unlike Pearson's r it does not shrink when nearly all are right.
    NaN where all are right or none.

    >>> rank_biserial(np.array([1, 2, 3, 3]), np.array([False, False, True, True]))
    1.0
    """
    n, right = correct.size, int(correct.sum())
    if right in (0, n):
        return math.nan
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float(2 * (ranks[correct].mean() - ranks[~correct].mean()) / n)


@dataclass(frozen=True)
class Effect:
    """How a feature goes with being right, within one task.

    Args:
        pearson: with the feature alone, as in the paper.
        partial: with gold and word_length held fixed, linearly.
        within: among items of equal gold and equal word_length only: both held fixed whatever the shape of their influence.
        rank_biserial: see there.
    """

    pearson: Correlation
    partial: Correlation
    within: Correlation
    rank_biserial: float


def effects(items: Items, table: Mapping[str, np.ndarray], correct: np.ndarray) -> dict[str, dict[str, Effect]]:
    """Task → feature → `Effect`, for each task that occurs and each feature that it has.

    Longer words have longer tokens and other answers, so a correlation with the length of tokens alone says little: read
    `partial` and `within`. What does not vary has r = NaN.

    Args:
        items: N questions.
        table: of `features`.
        correct: whether each was answered rightly, bool (N,).
    Raises: InvalidInput: another number of answers, or a task with one item.
    """
    if correct.shape != (len(items),):
        raise InvalidInput(f"correct has shape {correct.shape}, but there are {len(items)} items")
    found: dict[str, dict[str, Effect]] = {}
    for task in TASKS:
        here = items.of(task)
        if not here.any():
            continue
        y = correct[here]
        fixed = np.column_stack([table["gold"][here], table["word_length"][here]])
        _, cell = np.unique(fixed, axis=0, return_inverse=True)
        cells = np.eye(int(cell.max()) + 1)[cell.ravel()][:, 1:]
        found[task] = {}
        for name in FEATURES:
            x = table[name][here]
            if not np.isnan(x).any():
                found[task][name] = Effect(
                    correlation(x, y),
                    correlation(x, y, given_NK=fixed),
                    correlation(x, y, given_NK=cells),
                    rank_biserial(x, y),
                )
    return found


def mean_correlations(models: Sequence[Mapping[str, Mapping[str, Effect]]]) -> dict[str, dict[str, float]]:
    """Task → feature → Pearson's r, the mean over models; those for which it is NaN are left out, NaN if that leaves none.

    Args:
        models: what `effects` gives, for each model.
    """
    means: dict[str, dict[str, float]] = {}
    for task in TASKS:
        found = [model[task] for model in models if task in model]
        names = [name for name in FEATURES if any(name in one for one in found)]
        if found:
            means[task] = {
                name: _mean(np.array([one[name].pearson.r for one in found if name in one])) for name in names
            }
    return means


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else math.nan
