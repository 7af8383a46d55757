"""Multiple choice by log-likelihood: the answer of a model is the option that it finds most probable.

As StochasTok asks its language game (Sims et al. 2025, arXiv 2506.01687, section 4), without the slips of its code:
question and option are encoded separately and their ids joined, so an option that begins with a space brings the only
one; no end of text follows; only the option is scored, not the question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput
from .scoring import log_probs

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ChoiceResult", "choose", "normalised_accuracy", "score_options"]


@dataclass(frozen=True)
class ChoiceResult:
    """How a model did on N questions of k options.

    Args:
        choices: the option chosen, int64 (N,).
        correct: whether it was the right one, bool (N,).
        accuracy: share of right choices, 0 … 1.
        normalised: see `normalised_accuracy`.
        stderr: standard error of `accuracy`, sqrt(accuracy (1 - accuracy) / N).
    """

    choices: np.ndarray
    correct: np.ndarray
    accuracy: float
    normalised: float
    stderr: float


def normalised_accuracy(accuracy: float, options: int) -> float:
    """Accuracy on a scale where 0 is chance and 1 is perfect: (k accuracy - 1) / (k - 1).

    Args:
        accuracy: share of right answers, 0 … 1.
        options: k, the options of a question, at least 2.
    Returns: from -1 / (k - 1), never right, to 1.

    >>> normalised_accuracy(0.25, 4), normalised_accuracy(1.0, 4), normalised_accuracy(0.625, 4)
    (0.0, 1.0, 0.5)
    """
    if options < 2:
        raise InvalidInput(f"options={options}; a choice is among at least 2")
    if not 0 <= accuracy <= 1:
        raise InvalidInput(f"accuracy={accuracy}; it must be in [0, 1]")
    return (options * accuracy - 1) / (options - 1)


def score_options(
    model: nn.Module,
    questions: Sequence[Sequence[int] | np.ndarray],
    options: Sequence[Sequence[Sequence[int] | np.ndarray]],
    *,
    batch: int = 32,
) -> np.ndarray:
    """Log-likelihood of each option given its question: the sum of ln p(id | question, earlier ids of the option).

    Args:
        model: a `Transformer` or a Hugging Face causal model.
        questions: ids of each question, not empty.
        options: for each question the ids of its k options, none empty; encoded apart from the question.
        batch: options of a forward pass.
    Returns: natural logarithms, float64 (N, k).
    Raises: InvalidInput: not as many questions as lists of options, different k, an empty question or option.
    """
    if len(questions) != len(options) or not len(questions):
        raise InvalidInput(
            f"{len(questions)} questions with {len(options)} lists of options; give one each, at least one"
        )
    k = len(options[0])
    sequences, firsts = [], []
    for i, (question, choices) in enumerate(zip(questions, options)):
        if len(choices) != k or k < 2:
            raise InvalidInput(
                f"question {i} has {len(choices)} options, the first {k}; all need the same number, at least 2"
            )
        if not len(question) or not all(len(option) for option in choices):
            raise InvalidInput(f"question {i}: the question or one of its options is empty")
        for option in choices:
            sequences.append(np.concatenate([question, option]).astype(np.int64))
            firsts.append(len(question))
    scores = log_probs(model, sequences, firsts, batch=batch)
    return np.array([score.sum() for score in scores]).reshape(-1, k)


def choose(log_likelihoods: np.ndarray, answers: Sequence[int] | np.ndarray) -> ChoiceResult:
    """Choose the most likely option of each question, the first of equals, and compare with the right ones.

    Args:
        log_likelihoods: of each option, float (N, k), not NaN.
        answers: index of the right option, integers (N,).
    Raises: InvalidInput: shapes that do not fit, an answer outside 0 … k - 1, a NaN.

    >>> result = choose(np.array([[-1.0, -2.0], [-3.0, -4.0]]), [0, 1])
    >>> result.choices.tolist(), result.accuracy, result.normalised
    ([0, 0], 0.5, 0.0)
    """
    scores, right = np.asarray(log_likelihoods, np.float64), np.asarray(answers)
    if scores.ndim != 2 or right.shape != scores.shape[:1] or not right.size:
        raise InvalidInput(
            f"log_likelihoods of shape {scores.shape} and answers of {right.shape}; need (N, k) and (N,)"
        )
    if np.isnan(scores).any():
        raise InvalidInput(
            f"the log-likelihoods of question {int(np.isnan(scores).any(1).argmax())} are not all numbers"
        )
    if not ((right >= 0) & (right < scores.shape[1])).all():
        raise InvalidInput(f"answers must be in 0 … {scores.shape[1] - 1}, got {right.min()} … {right.max()}")
    choices = scores.argmax(1)
    correct = choices == right
    accuracy = float(correct.mean())
    stderr = math.sqrt(accuracy * (1 - accuracy) / right.size)
    return ChoiceResult(choices, correct, accuracy, normalised_accuracy(accuracy, scores.shape[1]), stderr)
