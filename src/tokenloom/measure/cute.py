"""The CUTE subset: eight kinds of questions about the letters of words, as multiple choice.

Edman, Schmid, Fraser 2024, "CUTE: Measuring LLMs' Understanding of Their Tokens", arXiv 2409.15452, in the form that
Sims et al. 2025 (StochasTok), arXiv 2506.01687, evaluate: made of the words of LangGame, wrong options as told there.
Words and letters are drawn as in CUTE's scripts, except that no letter is put for itself and no answer is empty.
StochasTok's generator is not published: wording and the bounds marked "ours" are chosen here.
"""
# k options

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np

from ..core.errors import InvalidInput
from .questions import Question, check_kinds, check_words, pick

__all__ = ["KINDS", "Cute", "levenshtein"]

KINDS = (
    "spelling",
    "inverse spelling",
    "contains",
    "orthographic",
    "insertion",
    "deletion",
    "substitution",
    "swapping",
)

# Draws that may fail in a row, such as three words for two distances, before the words are found unfit.
RETRIES = 1000


@dataclass(frozen=True)
class Cute:
    """Questions such as 'Swap "t" and "r" in "there". Answer:'; the kind is uniform over `kinds`.

    spelling: the letters with spaces between them. inverse spelling: the word of such letters; wrong are other words.
    contains: whether a letter is in a word, Yes and No, each right half of the time. orthographic: which of two words
    is closer to a third in Levenshtein distance; the distances differ by at least 2 (ours). insertion, deletion,
    substitution: a letter is put after, left out, or put for, every one of another. swapping: two letters that the word
    has once each. Wrong options of these four and of spelling are the right one after one exchange of two letters or
    one substitution. The right option is at any place among the wrong ones with equal chances.

    Args:
        words: lower-case a-z, no repeats; those of at least 3 letters are asked about.
        options: k, 2 … 26, as an answer of one letter has 25 wrong ones; contains and orthographic always have 2.
        kinds: which of `KINDS`; each as often as it is named.
    Raises: InvalidInput: unknown settings, unfit words, or fewer than `options` (and 3) of at least 3 letters.

    >>> question = Cute(["there", "where", "strawberry"], options=3)(1, rng=np.random.default_rng(7))[0]
    >>> question.text, question.options, question.right
    ('Swap "h" and "r" in "where". Answer:', ('wrehe', 'wbehe', 'wrehw'), 'wrehe')
    """

    words: Sequence[str]
    options: int = 4
    kinds: Sequence[str] = KINDS

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(self, "kinds", tuple(self.kinds))
        check_words(self.words)
        check_kinds(self.kinds, KINDS)
        if not 2 <= self.options <= 26:
            raise InvalidInput(f"options={self.options}; a choice is among 2 … 26")
        if len(self._eligible) < max(3, self.options):
            raise InvalidInput(
                f"options={self.options}, but only {len(self._eligible)} of {len(self.words)} words have at least 3 "
                f"letters; need {max(3, self.options)}: more words or fewer options"
            )

    @property
    def _eligible(self) -> list[str]:
        return [word for word in self.words if len(word) >= 3]

    def __call__(self, n: int, *, rng: np.random.Generator) -> list[Question]:
        """Make `n` questions; the same generator state gives the same questions.

        Raises: InvalidInput: `n` below 0, or words of which a kind finds no question in 1,000 draws.
        """
        if n < 0:
            raise InvalidInput(f"n={n}; it must be at least 0")
        words = self._eligible
        return [self._question(words, rng) for _ in range(n)]

    def _question(self, words: list[str], rng: np.random.Generator) -> Question:
        kind = pick(self.kinds, rng)
        for _ in range(RETRIES):
            drawn = self._draw(kind, words, rng)
            if drawn is not None:
                text, right, wrong = drawn
                turn = int(rng.integers(len(wrong) + 1))
                listed = (*wrong[:turn], right, *wrong[turn:])
                return Question(f"{text} Answer:", listed, turn, kind)
        raise InvalidInput(
            f"{RETRIES} draws from {len(words)} words gave no question of kind {kind!r}; give more words"
        )

    def _draw(self, kind: str, words: list[str], rng: np.random.Generator) -> tuple[str, str, list[str]] | None:
        """Text, right option and wrong ones; None where what was drawn makes no question."""
        word = pick(words, rng)
        a, b = pick(sorted(set(word)), rng), pick(ascii_lowercase, rng)
        match kind:
            case "spelling":
                wrong = _altered(word, self.options - 1, rng)
                return f'Spell out the word "{word}".', " ".join(word), [" ".join(w) for w in wrong]
            case "inverse spelling":
                others = [w for w in words if w != word]
                picks = rng.choice(len(others), self.options - 1, replace=False)
                return f'Write the word that is spelled out: "{" ".join(word)}".', word, [others[i] for i in picks]
            case "contains":
                yes = bool(rng.integers(2))
                letter = a if yes else pick([c for c in ascii_lowercase if c not in word], rng)
                return f'Is there a "{letter}" in "{word}"?', *(("Yes", ["No"]) if yes else ("No", ["Yes"]))
            case "orthographic":
                near, far = (words[i] for i in rng.choice(len(words), 2, replace=False))
                gap = levenshtein(word, far) - levenshtein(word, near)
                if word in (near, far) or abs(gap) < 2:
                    return None
                text = f'Closer in Levenshtein distance to "{word}": "{near}" or "{far}"?'
                return text, *((near, [far]) if gap > 0 else (far, [near]))
            case "insertion":
                text, right = f'Add "{b}" after every "{a}" in "{word}".', word.replace(a, a + b)
            case "deletion":
                text, right = f'Delete every "{a}" in "{word}".', word.replace(a, "")
            case "substitution":
                text, right = f'Substitute "{b}" for every "{a}" in "{word}".', word.replace(a, b)
            case _:
                once = [c for c in word if word.count(c) == 1]
                if len(once) < 2:
                    return None
                a, b = (once[i] for i in rng.choice(len(once), 2, replace=False))
                text, right = f'Swap "{a}" and "{b}" in "{word}".', word.translate(str.maketrans(a + b, b + a))
        # A word of one letter alone leaves nothing; a letter put for itself asks nothing.
        return None if right in ("", word) else (text, right, _altered(right, self.options - 1, rng))


def levenshtein(a: str, b: str) -> int:
    """Fewest insertions, deletions and substitutions of single letters that make `b` of `a`.

    >>> levenshtein("kitten", "sitting")
    3
    """
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (letter != other))
    return row[-1]


def _altered(right: str, count: int, rng: np.random.Generator) -> list[str]:
    """Different strings near `right`: two of its letters exchanged, or one substituted, with even chances."""
    found: list[str] = []
    while len(found) < count:
        letters = list(right)
        if len(letters) > 1 and rng.integers(2):
            i, j = rng.choice(len(letters), 2, replace=False)
            letters[i], letters[j] = letters[j], letters[i]
        else:
            letters[int(rng.integers(len(letters)))] = pick(ascii_lowercase, rng)
        new = "".join(letters)
        if new != right and new not in found:
            found.append(new)
    return found
