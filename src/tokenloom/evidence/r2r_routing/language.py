"""A language of reasoning whose meaning can be checked: chains of sums, differences and products modulo ten, in synonymous wordings.

    question  start 7 first+3 second*3 third-1 fourth+2 ?
    answer    then first first+3 turns 7 into 0 exactly . now second second*3 makes 0 of 0 . … so the answer is 1 <end>

What begins a sentence, how it says what it says and what ends it are drawn from four wordings each: to choose another one changes
nothing. An operation with the step it belongs to is one token, so that a network of one layer can look it up.
"""
# B questions

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...models.batches import IGNORED
from ...predict.decode.r2r_routing import Comparison

__all__ = [
    "DIGITS",
    "END",
    "ENDS",
    "TOKENS",
    "Meaning",
    "batches",
    "final",
    "meaning",
    "question",
    "same_meaning",
    "spoken",
]

STEPS = ("first", "second", "third", "fourth")
SIGNS = ("+", "-", "*")
LARGEST = 3  # operand
OPENINGS = ("then", "now", "next", "so")
SAYINGS = ("turns {before} into {after}", "applied to {before} gives {after}", "makes {after} of {before}", "takes {before} to {after}")  # fmt: skip
CLOSINGS = (".", "exactly .", "as asked .", "of course .")
LAST = ("so the answer is {after}", "that leaves {after}", "we arrive at {after}", "the result is {after}")

_OPERATIONS = [f"{step}{sign}{n}" for step in STEPS for sign in SIGNS for n in range(1, LARGEST + 1)]
_WORDS = {
    word for group in (OPENINGS, SAYINGS, CLOSINGS, LAST) for text in group for word in text.split() if "{" not in word
}
TOKENS = ["<pad>", "<end>", "start", "?", *map(str, range(10)), *STEPS, *_OPERATIONS, *sorted(_WORDS - set(STEPS))]
ID = {token: i for i, token in enumerate(TOKENS)}
END, ENDS = ID["<end>"], frozenset([ID["."]])
DIGITS = frozenset(ID[str(n)] for n in range(10))


def question(rng: np.random.Generator) -> tuple[list[str], list[tuple[str, int, int]]]:
    """The words of a question, and its steps: the operation, the digit before, the digit after."""
    before = int(rng.integers(10))
    words, steps = ["start", str(before)], []
    for step in STEPS:
        sign, n = SIGNS[rng.integers(len(SIGNS))], int(rng.integers(1, LARGEST + 1))
        after = {"+": before + n, "-": before - n, "*": before * n}[sign] % 10
        steps.append((f"{step}{sign}{n}", before, after))
        words.append(steps[-1][0])
        before = after
    return [*words, "?"], steps


def answer(steps: Sequence[tuple[str, int, int]], rng: np.random.Generator) -> list[str]:
    """The words of an answer, in wordings that are drawn."""

    def one_of(texts: Sequence[str]) -> str:
        return texts[int(rng.integers(len(texts)))]

    sentences = [
        f"{one_of(OPENINGS)} {step} {operation} {one_of(SAYINGS).format(before=before, after=after)} {one_of(CLOSINGS)}"
        for step, (operation, before, after) in zip(STEPS, steps)
    ]
    return " ".join([*sentences, one_of(LAST).format(after=steps[-1][2]), "<end>"]).split()


def batches(batch: int, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
    """Questions with answers, forever; the answers are to be predicted."""
    while True:
        rows = []
        for _ in range(batch):
            words, steps = question(rng)
            rows.append((spoken(words), spoken(answer(steps, rng))))
        length = max(len(asked) + len(answered) for asked, answered in rows)
        ids_BT = torch.zeros(batch, length, dtype=torch.int64)
        labels_BT = torch.full_like(ids_BT, IGNORED)
        for row, (asked, answered) in enumerate(rows):
            ids_BT[row, : len(asked) + len(answered)] = torch.tensor(asked + answered)
            labels_BT[row, len(asked) : len(asked) + len(answered)] = torch.tensor(answered)
        yield {"input_ids": ids_BT, "labels": labels_BT}


def spoken(words: Sequence[str]) -> list[int]:
    """The ids of words."""
    return [ID[word] for word in words]


@dataclass(frozen=True)
class Meaning:
    """What a sentence says: an operation, the digit before and the digit after; the last one of an answer names a digit only."""

    operation: str | None
    before: str | None
    after: str


def meaning(ids: Sequence[int]) -> Meaning | None:
    """What a sentence means, whatever its wording; None if it is none of this language.

    >>> meaning(spoken("now second second*3 makes 6 of 2 exactly .".split()))
    Meaning(operation='second*3', before='2', after='6')
    >>> meaning(spoken("now second third*3 makes 6 of 2 .".split())) is None
    True
    """
    words = [TOKENS[i] for i in ids]
    if words and words[-1] == "<end>":
        for form in LAST:
            found = _matched(form.split(), words[:-1])
            if found is not None:
                return Meaning(None, None, found["after"])
        return None
    if len(words) < 3 or words[0] not in OPENINGS or words[1] not in STEPS or words[2] not in _OPERATIONS or not words[2].startswith(words[1]):  # fmt: skip
        return None
    for saying in SAYINGS:
        for closing in CLOSINGS:
            found = _matched(f"{saying} {closing}".split(), words[3:])
            if found is not None:
                return Meaning(words[2], found["before"], found["after"])
    return None


def _matched(form: Sequence[str], words: Sequence[str]) -> dict[str, str] | None:
    if len(form) != len(words):
        return None
    found = {}
    for wanted, word in zip(form, words):
        if wanted.startswith("{") and word.isdigit():
            found[wanted[1:-1]] = word
        elif wanted != word:
            return None
    return found


def same_meaning(both: Comparison) -> int:
    """The verifier: 1 if the two sentences mean different things, 0 if not, -1 if neither means anything."""
    large, small = meaning(both.large), meaning(both.small)
    return -1 if large is None and small is None else int(large != small)


def final(ids: Sequence[int]) -> str | None:
    """The digit that an answer ends with."""
    words = [TOKENS[i] for i in ids]
    return words[-2] if len(words) > 1 and words[-1] == "<end>" and words[-2].isdigit() else None
