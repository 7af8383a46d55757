"""Where a text is cut before merging: words by a regular expression, places by a function, or nowhere."""
# N characters, C cuts

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import regex

from .errors import InvalidInput
from .merges import GPT2_PATTERN

__all__ = [
    "CL100K_PATTERN",
    "O200K_PATTERN",
    "O200K_WORDS",
    "SPACED",
    "Cut",
    "byte_positions",
    "cut_points",
    "pattern_of",
]

Cut = str | Callable[[str], np.ndarray] | None

# tiktoken writes `\p{N}{1,3}+`, possessive (see hosts/ranks.py). Elsewhere this is its older, equal form.
CL100K_PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K_PATTERN, O200K_WORDS = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{behind}|"
    rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{behind}|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for behind in (_CONTRACTION, "")
)

# Patterns that always cut before a single space between two characters that are neither white space nor controls, and
# find the same words on both sides when the text is cut there.
SPACED = {GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN, O200K_WORDS}


@cache
def pattern_of(pattern: str) -> regex.Pattern:
    """The compiled pattern, by the package `regex`.

    Raises: InvalidInput: no regular expression.
    """
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise InvalidInput(f"pattern {pattern!r} is no regular expression: {error}") from error


def cut_points(text: str, cut: Cut) -> np.ndarray:
    """Where `text` is cut, in characters: int64 (C,), rising strictly from 0 to N; (1,) for no text.

    Args:
        text: N characters.
        cut: a regular expression, whose matches and the stretches between them are pieces; a function from a text to
            cut points, ends included or not; None for one piece.
    Raises: InvalidInput: not a regular expression, or cut points outside the text.

    >>> cut_points("ab cd!", GPT2_PATTERN).tolist()
    [0, 2, 5, 6]
    """
    points: Any = []
    if isinstance(cut, str):
        points = [edge for match in pattern_of(cut).finditer(text) for edge in match.span()]
    elif cut is not None and text:
        points = cut(text)
    points = np.unique(np.concatenate([[0], np.asarray(points, np.int64).ravel(), [len(text)]])).astype(np.int64)
    if points[0] < 0 or points[-1] > len(text):
        raise InvalidInput(f"cut points go from {points[0]} to {points[-1]}; the text has {len(text)} characters")
    return points


def cut_all(texts: Sequence[str], cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    """`cut_points` of many texts, in characters of all of them one after the other, in less time.

    Returns: where pieces begin, and the end, int64 (C,), never falling; pieces of each text, int64 (texts,), of which
        some may be empty.
    """
    if isinstance(cut, str) and _covers(cut):
        words = list(map(pattern_of(cut).findall, texts))
        numbers = np.fromiter(map(len, words), np.int64, len(texts))
        lengths = np.fromiter(map(len, chain.from_iterable(words)), np.int64, numbers.sum())
        points = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        if np.array_equal(np.diff(points[np.cumsum([0, *numbers])]), [len(text) for text in texts]):
            return points, numbers
    ends = np.cumsum([0, *(len(text) for text in texts)])
    each = [cut_points(text, cut) for text in texts]
    points = np.concatenate([*(found[:-1] + begin for found, begin in zip(each, ends)), ends[-1:]])
    return points, np.array([found.size - 1 for found in each], np.int64)


@cache
def _covers(pattern: str) -> bool:
    """Whether matches may be expected to leave nothing out, so that their lengths say where they are: a matter of speed."""
    words, text = pattern_of(pattern), "Words, 12 numbers; signs!\n"
    # With groups, findall would return those instead of the matches.
    return not words.groups and sum(map(len, words.findall(text))) == len(text)


def byte_positions(data: np.ndarray) -> np.ndarray:
    """Where each character of valid UTF-8, uint8 (bytes,), begins, and the end: int64 (N + 1,)."""
    return np.append(np.flatnonzero((data & 0xC0) != 0x80), data.size)
