"""Multiple-choice questions in words: what a benchmark makes, a fine-tuning learns from and a model is asked."""
# N questions, k options

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput
from .choice import ChoiceResult, choose, score_options

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Answers", "Encode", "Question", "ask", "check_kinds", "check_words", "examples", "hold_out", "pick"]

Encode = Callable[[str], Sequence[int] | np.ndarray]
"""Text to ids, without special tokens: `lambda text: tok.encode(text).ids`."""


@dataclass(frozen=True)
class Question:
    """One question with exactly one right answer.

    Args:
        text: what is asked, up to and including "Answer:"; no space at its end.
        options: the possible answers, all different, without the space that stands before them.
        answer: index of the right one.
        kind: the type of the question within its benchmark.
    Raises: InvalidInput: fewer than 2 options, equal ones, no such answer, or a space where two would be joined.
    """

    text: str
    options: tuple[str, ...]
    answer: int
    kind: str

    def __post_init__(self) -> None:
        if len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise InvalidInput(f"options are {self.options}; need at least 2, all different")
        if not 0 <= self.answer < len(self.options):
            raise InvalidInput(f"answer={self.answer}; it must be in 0 … {len(self.options) - 1}")
        if (
            not self.text
            or self.text[-1].isspace()
            or any(not option or option[0].isspace() for option in self.options)
        ):
            raise InvalidInput(
                f"{self.text!r} with options {self.options}: none may be empty, and the one space between a question and "
                "its option is put there when they are joined"
            )

    @property
    def right(self) -> str:
        """The right answer."""
        return self.options[self.answer]


@dataclass(frozen=True)
class Answers:
    """How a model answered N questions, which may have different numbers of options.

    Args:
        choices: index of the option chosen, int64 (N,).
        correct: whether it was the right one, bool (N,).
        accuracy: share of right choices, 0 … 1.
        normalised: mean over questions of (k correct - 1) / (k - 1); 0 is chance, 1 perfect.
        by_kind: the same for each kind of question.
    """

    choices: np.ndarray
    correct: np.ndarray
    accuracy: float
    normalised: float
    by_kind: Mapping[str, ChoiceResult]


def examples(questions: Iterable[Question], encode: Encode) -> list[tuple[np.ndarray, np.ndarray]]:
    """Questions and right answers as ids, to fine-tune on with `models.batches.packs`, loss on the answer only.

    They are encoded as `ask` encodes them: question and " " + answer apart, so that both see the same ids.
    """
    return [(np.asarray(encode(q.text)), np.asarray(encode(" " + q.right))) for q in questions]


def ask(model: nn.Module, questions: Sequence[Question], encode: Encode, *, batch: int = 32) -> Answers:
    """Let a model choose the option with the largest log-likelihood after each question.

    Question and " " + option are encoded apart and their ids joined: one space between them, nothing after.

    Args:
        model: a `Transformer` or a Hugging Face causal model.
        questions: at least one; those of one kind have the same number of options.
        encode: text to ids, as in the model's training.
        batch: options of a forward pass.
    Raises: InvalidInput: no question, or a question that `encode` makes nothing of.
    """
    if not questions:
        raise InvalidInput("no question to ask")
    choices = np.empty(len(questions), np.int64)
    by_kind: dict[str, ChoiceResult] = {}
    gains = np.empty(len(questions))
    for kind in sorted({q.kind for q in questions}):
        places = [i for i, q in enumerate(questions) if q.kind == kind]
        asked = [questions[i] for i in places]
        options = [[encode(" " + option) for option in q.options] for q in asked]
        scores = score_options(model, [encode(q.text) for q in asked], options, batch=batch)
        result = by_kind[kind] = choose(scores, [q.answer for q in asked])
        k = scores.shape[1]
        choices[places] = result.choices
        gains[places] = (k * result.correct - 1) / (k - 1)
    correct = choices == np.array([q.answer for q in questions])
    return Answers(choices, correct, float(correct.mean()), float(gains.mean()), by_kind)


def hold_out(words: Sequence[str], share: float, *, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Split words by chance into those to fine-tune on and those that only the evaluation may show.

    A model that answers about words its fine-tuning never showed knows their letters, not the answers.

    Args:
        words: all of them, without repeats.
        share: of the second part, between 0 and 1.
        rng: draws the split.
    Returns: both parts in the order of `words`, together all of them.
    Raises: InvalidInput: a part would be empty.
    """
    held = round(share * len(words)) if 0 < share < 1 else 0
    if not 0 < held < len(words):
        raise InvalidInput(f"share={share} of {len(words)} words leaves one part empty")
    chosen = np.zeros(len(words), bool)
    chosen[rng.permutation(len(words))[:held]] = True
    return [w for w, c in zip(words, chosen) if not c], [w for w, c in zip(words, chosen) if c]


def check_words(words: Sequence[str]) -> None:
    """Words that questions about letters can be made of.

    Raises: InvalidInput: a word that is not of letters a-z alone, or one that is there twice.
    """
    seen: set[str] = set()
    for i, word in enumerate(words):
        if not (word.isascii() and word.isalpha() and word.islower()):
            raise InvalidInput(f"word {i} is {word!r}; words are of lower-case letters a-z only")
        if word in seen:
            raise InvalidInput(f"the word {word!r} is there twice; each question must have exactly one right answer")
        seen.add(word)


def check_kinds(kinds: Sequence[str], known: Sequence[str]) -> None:
    """Kinds of questions that a benchmark has.

    Raises: InvalidInput: none, or one that it does not have.
    """
    if not kinds or not set(kinds) <= set(known):
        raise InvalidInput(f"kinds={tuple(kinds)}; choose from {', '.join(map(repr, known))}")


def pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    """One of the choices, all equally likely."""
    return choices[int(rng.integers(len(choices)))]
