"""The questions of CharBench: words of a text, a fixed number of each length, a quarter of them for each of four tasks.

Uzan, Pinter 2025, arXiv 2508.02591, section 3.
"""
# N items, n words of one length, L characters of a word

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ...core.errors import InvalidInput

__all__ = ["COUNT_TASKS", "INDEX_TASKS", "TASKS", "CharBench", "Items", "Prompt", "english_words"]

COUNT_TASKS = ("count_unique_chars", "count_character_frequency")
INDEX_TASKS = ("find_first_occurrence", "find_last_occurrence")
TASKS = COUNT_TASKS + INDEX_TASKS

_BEFORE = (
    "How many unique characters appear in the string '",
    "How many times does the character '{}' appear in the string '",
    "What is the index of the first occurrence of the character '{}' in the string '",
    "What is the index of the last occurrence of the character '{}' in the string '",
)
_AFTER = ("'?", "'?", "'?\nStart counting from 0.", "'?\nStart counting from 0.")
_INSTRUCTION = "Answer with the final number only, without words. Upper and lower case are different characters."
_ENGLISH = re.compile(r"\b[a-zA-Z]+\b")


def english_words(texts: Iterable[str]) -> Iterator[str]:
    """The words of texts that are of letters a-z and A-Z alone, as they are written, each once, in the order of the texts.

    >>> list(english_words(["The null of the nan: naïve, x2, the end."]))
    ['The', 'null', 'of', 'the', 'nan', 'end']
    """
    seen: set[str] = set()
    for text in texts:
        for word in dict.fromkeys(_ENGLISH.findall(text)):
            if word not in seen:
                seen.add(word)
                yield word


@dataclass(frozen=True)
class Prompt:
    """A text and the word in it that is asked about: `before + word + after`.

    Args:
        before: what stands before the word.
        word: it.
        after: what stands after it.
    """

    before: str
    word: str
    after: str

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.before + self.word + self.after


@dataclass(frozen=True, eq=False)
class Items:
    """N questions in arrays.

    Args:
        words: what is asked about, strings (N,).
        tasks: index into `TASKS`, int8 (N,).
        letters: the character asked about, strings (N,); "" where all are counted.
        answers: the right numbers, int64 (N,).
    """

    words: np.ndarray
    tasks: np.ndarray
    letters: np.ndarray
    answers: np.ndarray

    def __len__(self) -> int:
        return self.words.size

    def __getitem__(self, chosen: np.ndarray | slice) -> "Items":
        """Some of the questions: a slice, indices, or a mask."""
        return Items(self.words[chosen], self.tasks[chosen], self.letters[chosen], self.answers[chosen])

    @property
    def lengths(self) -> np.ndarray:
        """Characters of each word, int64 (N,)."""
        return np.char.str_len(self.words).astype(np.int64)

    def of(self, task: str) -> np.ndarray:
        """Which items are of this task, bool (N,).

        Raises: InvalidInput: no such task.
        """
        if task not in TASKS:
            raise InvalidInput(f"no task {task!r}; there are {', '.join(TASKS)}")
        return self.tasks == TASKS.index(task)

    def questions(self) -> list[str]:
        """The questions alone, in the words of the paper."""
        return [before + word + after for before, word, after in self._parts()]

    def prompts(self, *, spelled: bool = False) -> list[Prompt]:
        """An instruction to answer with a number, and the question.

        Args:
            spelled: tell the characters of the word one by one before the question, so that no token hides them.
        """
        prompts = []
        for before, word, after in self._parts():
            told = f"The characters of '{word}', one by one: {' '.join(word)}\n" if spelled else ""
            prompts.append(Prompt(f"{_INSTRUCTION}\n{told}Question: {before}", word, after))
        return prompts

    def bare(self) -> list[Prompt]:
        """The words alone, as the paper tokenizes them for its features."""
        return [Prompt("", word, "") for word in self.words.tolist()]

    def _parts(self) -> Iterator[tuple[str, str, str]]:
        for word, task, letter in zip(self.words.tolist(), self.tasks.tolist(), self.letters.tolist()):
            yield _BEFORE[task].format(letter), word, _AFTER[task]


@dataclass(frozen=True)
class CharBench:
    """Make the questions from words: of each length as many, of which each task gets a quarter; no word is asked twice.

    count_unique_chars: how many different characters. count_character_frequency: how often a character occurs.
    find_first_occurrence, find_last_occurrence: its least and greatest index, from 0. The character is that at a uniformly
    random position of the word. Case counts: "Hello" and "HELLO" are two words, "l" and "L" two characters.

    Args:
        per_length: words of each length, a multiple of 4. The paper has 25,000.
        shortest: characters of the shortest words.
        longest: of the longest.
        english: words are of letters a-z and A-Z alone; otherwise of any characters, which are counted, not bytes.
    Raises: InvalidInput: settings out of range.

    >>> items = CharBench(per_length=4, shortest=4, longest=4)(["null", "Anna", "noon", "seen"], rng=np.random.default_rng(1))
    >>> for question, answer in zip(items.questions()[:3], items.answers):
    ...     print(question, answer)
    How many unique characters appear in the string 'null'? 3
    How many times does the character 'A' appear in the string 'Anna'? 1
    What is the index of the first occurrence of the character 'n' in the string 'noon'?
    Start counting from 0. 0
    """

    per_length: int = 25_000
    shortest: int = 4
    longest: int = 10
    english: bool = True

    def __post_init__(self) -> None:
        if self.per_length < 1 or self.per_length % len(TASKS):
            raise InvalidInput(
                f"per_length={self.per_length}; {len(TASKS)} tasks share it, so it is a multiple of them"
            )
        if not 1 <= self.shortest <= self.longest:
            raise InvalidInput(f"shortest={self.shortest}, longest={self.longest}; need 1 <= shortest <= longest")

    def __call__(self, words: Iterable[str], *, rng: np.random.Generator) -> Items:
        """Draw words and characters; the same words in the same order and the same generator state give the same items.

        Args:
            words: a list, perhaps of `english_words`; repeats count once, words of other lengths not at all.
            rng: draws the words of each length, their tasks and the characters.
        Returns: items by length, then by task; 7 · 25,000 by default.
        Raises: InvalidInput: too few words of some length, or one that is no word by the rule.
        """
        buckets: dict[int, list[str]] = {length: [] for length in range(self.shortest, self.longest + 1)}
        for word in dict.fromkeys(words):
            if self.english and not (word.isascii() and word.isalpha()):
                raise InvalidInput(f"{word!r} is not of letters a-z and A-Z alone; leave it out or set english=False")
            if "\0" in word:
                raise InvalidInput(f"{word!r} holds a zero character, which arrays of strings do not keep")
            if len(word) in buckets:
                buckets[len(word)].append(word)
        for length, bucket in buckets.items():
            if len(bucket) < self.per_length:
                raise InvalidInput(
                    f"per_length={self.per_length}, but there are {len(bucket)} words of length {length}; give more words"
                )
        parts = [_of_length(bucket, self.per_length, rng) for bucket in buckets.values()]
        return Items(*map(np.concatenate, zip(*parts)))


def _of_length(bucket: list[str], count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Words, tasks, letters and answers of `count` words of one length; a quarter for each task."""
    words = np.array(bucket)[rng.permutation(len(bucket))[:count]]
    codes_nL = words.view(np.uint32).reshape(count, -1)
    positions = rng.integers(0, codes_nL.shape[1], count)
    asked_n = codes_nL[np.arange(count), positions]
    tasks = np.repeat(np.arange(len(TASKS), dtype=np.int8), count // len(TASKS))
    here_nL = codes_nL == asked_n[:, None]
    answers = np.choose(
        tasks,
        [
            1 + (np.diff(np.sort(codes_nL, axis=1), axis=1) != 0).sum(1),
            here_nL.sum(1),
            here_nL.argmax(1),
            codes_nL.shape[1] - 1 - here_nL[:, ::-1].argmax(1),
        ],
    )
    letters = np.where(tasks == TASKS.index("count_unique_chars"), "", asked_n.view("U1"))
    return words, tasks, letters, answers.astype(np.int64)
