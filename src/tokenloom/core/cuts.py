"""Where a text is cut before merging: words by a regular expression, places by a function, or nowhere."""
# N characters, C cuts

from collections.abc import Callable
from functools import cache

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
    if isinstance(cut, str):
        words = pattern_of(cut)
    if not text:
        return np.zeros(1, np.int64)
    if cut is None:
        return np.array([0, len(text)], np.int64)
    if not isinstance(cut, str):
        points = np.unique(np.asarray(cut(text), np.int64))
        if points.size and not 0 <= points[0] <= points[-1] <= len(text):
            raise InvalidInput(f"cut points go from {points[0]} to {points[-1]}; the text has {len(text)} characters")
        return np.unique(np.concatenate([[0], points, [len(text)]]).astype(np.int64))
    if _covers(cut):
        lengths = np.fromiter(map(len, words.findall(text)), np.int64)
        if lengths.sum() == len(text):
            return np.concatenate([[0], np.cumsum(lengths[lengths > 0])])
    spans = np.array([match.span() for match in words.finditer(text)], np.int64)
    return np.unique(np.concatenate([[0], spans.ravel(), [len(text)]]).astype(np.int64))


@cache
def _covers(pattern: str) -> bool:
    """Whether matches may be expected to leave nothing out, so that their lengths say where they are: a matter of speed."""
    words, text = pattern_of(pattern), "Words, 12 numbers; signs!\n"
    # With groups, findall would return those instead of the matches.
    return not words.groups and sum(map(len, words.findall(text))) == len(text)


def byte_positions(data: np.ndarray) -> np.ndarray:
    """Where each character of valid UTF-8, uint8 (bytes,), begins, and the end: int64 (N + 1,)."""
    return np.append(np.flatnonzero((data & 0xC0) != 0x80), data.size)
