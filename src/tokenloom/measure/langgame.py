"""LangGame: six kinds of multiple-choice questions about the letters of common words.

Sims et al. 2025 (StochasTok), arXiv 2506.01687, section 4 and appendix; texts and sampling follow the authors' dataset
script where it and the paper differ. Differs from that script: one explicit generator; where a synonym is the empty
word no double space is left; what cannot be asked of the given words is refused at once, not given up after 100 draws.
"""
# k options

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from string import ascii_lowercase
from typing import Literal

import numpy as np

from ..core.errors import InvalidInput
from .questions import Question, check_kinds, check_words, pick

__all__ = ["KINDS", "SUBSTRING_KINDS", "LangGame"]

KINDS = ("most", "contains", "starts", "ends", "longest", "shortest")
SUBSTRING_KINDS = ("contains", "starts", "ends")

_OPTION = ("word", "", "string", "option", "choice", "option word", "option string")
_OPTIONS = ("options", "choices", "option words", "option strings")
_THE = ("the", "the possible", "the available")
_WHICH = ("Which {option}", "What {option}", "Which of {the} {options}")
_LIST = ("{the} {options}:", "{the} {options} are:", "These are {the} {options}:")
_ASKED = {
    "most": "has the most letter '{}'s?",
    "contains": "contains '{}'?",
    "starts": "starts with '{}'?",
    "ends": "ends with '{}'?",
    "longest": "is the longest?",
    "shortest": "is the shortest?",
}
_NEEDS = {
    "most": "one with some letter at least twice and {} with it at most once",
    "contains": "one with a part that {} others do not contain",
    "starts": "one with a beginning that {} others do not have",
    "ends": "one with an ending that {} others do not have",
    "longest": "one of at least 7 letters and {} of at most 4",
    "shortest": "one of at most 3 letters and {} of at least 6",
}


@dataclass(frozen=True)
class LangGame:
    """Questions such as "Which word has the most letter 'e's? The options: [ a, tree, one, or]. Answer:".

    The kind is uniform over `kinds`. Most of a letter: the letter is uniform over a-z, the answer has at least two of
    it, the others at most one. Contains, starts, ends: the substring is one of a random word, the answer; the others
    have none such. Longest: at least 7 letters against at most 4. Shortest: at most 3 against at least 6. Within these
    bounds words are uniform. A letter or substring for which there are too few words is drawn again.
    The options are listed with the answer first and then rotated by a uniform amount.

    Args:
        words: lower-case a-z, no repeats; the paper takes the 1,000 most common of English.
        options: k, at least 2.
        kinds: which of `KINDS`; each as often as it is named.
        substrings: lengths of substrings, uniform: "up to three" letters, as published; for the test of unseen lengths
            "up to half" of the answer's letters (fine-tune on these) and "beyond half", up to the whole word (ask
            these, of `SUBSTRING_KINDS` alone). The paper contradicts itself on which half is held out; this is how
            most of it reads.
    Raises: InvalidInput: unknown settings, unfit words, or too few of them for k options of some kind.

    >>> game = LangGame(["a", "on", "be", "or", "strawberry", "believe", "morning", "settled"])
    >>> question = game(1, rng=np.random.default_rng(6))[0]
    >>> question.text
    "The available choices are: [ morning, or, strawberry, be]. Which of the available choices starts with 'st'? Answer:"
    >>> question.right
    'strawberry'
    """

    words: Sequence[str]
    options: int = 4
    kinds: Sequence[str] = KINDS
    substrings: Literal["up to three", "up to half", "beyond half"] = "up to three"

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(self, "kinds", tuple(self.kinds))
        check_words(self.words)
        check_kinds(self.kinds, KINDS)
        if self.options < 2:
            raise InvalidInput(f"options={self.options}; a choice is among at least 2")
        if self.substrings not in ("up to three", "up to half", "beyond half"):
            raise InvalidInput(f"substrings={self.substrings!r}; choose 'up to three', 'up to half' or 'beyond half'")
        for kind in self.kinds:
            if not any(self._enough(kind, asked) for asked in self._hardest(kind)):
                raise InvalidInput(
                    f"options={self.options}, but for {kind!r} the {len(self.words)} words would need "
                    f"{_NEEDS[kind].format(self.options - 1)}; give more words or fewer options"
                )

    def __call__(self, n: int, *, rng: np.random.Generator) -> list[Question]:
        """Make `n` questions; the same generator state gives the same questions.

        Raises: InvalidInput: `n` below 0.
        """
        if n < 0:
            raise InvalidInput(f"n={n}; it must be at least 0")
        return [self._question(rng) for _ in range(n)]

    def _question(self, rng: np.random.Generator) -> Question:
        kind = pick(self.kinds, rng)
        others: list[str] = []
        while len(others) < self.options - 1:  # ends: the settings were checked to leave something to ask
            asked, answer = self._draw(kind, rng)
            right, wrong = _rule(kind, asked)
            order = rng.permutation(len(self.words))
            answer = answer or next(word for i in order if right(word := self.words[i]))
            others = list(islice((word for i in order if wrong(word := self.words[i])), self.options - 1))
        turn = int(rng.integers(self.options))
        listed = (*others[self.options - 1 - turn :], answer, *others[: self.options - 1 - turn])
        return Question(_text(kind, asked, listed, rng), listed, turn, kind)

    def _draw(self, kind: str, rng: np.random.Generator) -> tuple[str, str]:
        """What is asked about, and its answer, empty where any word that fits will do."""
        if kind == "most":
            return pick(self._letters, rng), ""
        if kind not in SUBSTRING_KINDS:
            return "", ""
        word = pick(self._long_enough, rng)
        low, high = self._lengths(word)
        length = int(rng.integers(low, high + 1))
        return pick(list(_parts(kind, word, length)), rng), word

    def _enough(self, kind: str, asked: str) -> bool:
        """Whether the words can answer it with k options."""
        right, wrong = _rule(kind, asked)
        return any(map(right, self.words)) and sum(map(wrong, self.words)) >= self.options - 1

    def _hardest(self, kind: str) -> Iterator[str]:
        """Of all that can be asked about, what the fewest words fit: if none of it leaves enough others, nothing does."""
        if kind == "most":
            yield from ascii_lowercase
        elif kind in SUBSTRING_KINDS:
            for word in self._long_enough:
                yield from _parts(kind, word, self._lengths(word)[1])
        else:
            yield ""

    @cached_property
    def _letters(self) -> list[str]:
        """The letters that "most" can ask about; drawing from all 26 until one of these comes is the same."""
        return [letter for letter in ascii_lowercase if self._enough("most", letter)]

    @cached_property
    def _long_enough(self) -> list[str]:
        """The words that have substrings of the lengths that are asked about."""
        return [word for word in self.words if self._lengths(word)[0] <= self._lengths(word)[1]]

    def _lengths(self, word: str) -> tuple[int, int]:
        """Shortest and longest substring of a word; none where the first exceeds the second."""
        if self.substrings == "up to three":
            return 1, min(3, len(word))
        return (1, len(word) // 2) if self.substrings == "up to half" else (len(word) // 2 + 1, len(word))


def _rule(kind: str, asked: str) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
    """Whether a word can be the answer, and whether it can be one of the others."""
    match kind:
        case "most":
            return lambda word: word.count(asked) >= 2, lambda word: word.count(asked) <= 1
        case "contains":
            return lambda word: asked in word, lambda word: asked not in word
        case "starts":
            return lambda word: word.startswith(asked), lambda word: not word.startswith(asked)
        case "ends":
            return lambda word: word.endswith(asked), lambda word: not word.endswith(asked)
        case "longest":
            return lambda word: len(word) >= 7, lambda word: len(word) <= 4
        case _:
            return lambda word: len(word) <= 3, lambda word: len(word) >= 6


def _parts(kind: str, word: str, length: int) -> Iterator[str]:
    """The substrings of a word that a kind asks about: anywhere, at the start or at the end."""
    last = len(word) - length
    for start in {"contains": range(last + 1), "starts": (0,), "ends": (last,)}[kind]:
        yield word[start : start + length]


def _text(kind: str, asked: str, listed: Sequence[str], rng: np.random.Generator) -> str:
    synonyms = {"option": pick(_OPTION, rng), "options": pick(_OPTIONS, rng), "the": pick(_THE, rng)}
    which = pick(_WHICH, rng).format(**synonyms).rstrip() + " " + _ASKED[kind].format(asked)
    options = pick(_LIST, rng).format(**synonyms) + f" [ {', '.join(listed)}]."
    parts = [part[0].upper() + part[1:] for part in (which, options)]
    return " ".join(parts if rng.integers(2) else parts[::-1]) + " Answer:"
