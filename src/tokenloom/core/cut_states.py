"""What a pattern that finds words may still do: an automaton over texts and their cuts.

Where a text is cut may depend on what comes next: GPT-2's pattern leaves the last of several spaces to the word behind it.
For a text that goes on, cuts are therefore a guess that later characters bear out or not. The guesses that some
continuation bears out form a regular language; its automaton is found by asking the pattern, as Myhill and Nerode have it:
beginnings are one state if the same continuations, cut in the same ways, can follow them.
"""
# K classes of characters, S states

import random
from functools import cache, lru_cache
from itertools import product
from typing import Any

import numpy as np
import regex

from .cuts import pattern_of
from .errors import InvalidInput

__all__ = ["CUT", "JOINED", "CutStates", "cut_by", "cut_states"]

JOINED, CUT = 0, 1

# So many characters tell states apart; the second number is tried where the first does not do.
_DEPTHS = (2, 3)
_MOST_STATES = 400
_PROBES = 2000
# All characters; a surrogate is none.
_CODES = np.concatenate([np.arange(0xD800), np.arange(0xE000, 0x110000)]).astype("<u4")
_ATOM = regex.compile(
    r"(?P<syntax>\(\?[a-zA-Z:=!<>-]*|\{\d*,?\d*\}|[()|*+?^$])"
    r"|(?P<atom>\[\^?\]?(?:\\[pP]\{[^}]*\}|\\.|\[:\^?[a-z]+:\]|[^\]\\])*\]|\\[pP]\{[^}]*\}|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.)",
    regex.DOTALL,
)


class CutStates:
    """The automaton of one or several patterns, applied one after the other.

    A text is read character by character, each with whether it is cut before it. State 0 is the beginning, where a text is
    always cut.

    Args:
        classes: the class of each code point, int8 (0x110000,).
        step: the state after each, int16 (S, 2, K): state, `JOINED` or `CUT`, class; -1 where no text is cut like this.
    """

    def __init__(self, classes: np.ndarray, step: np.ndarray) -> None:
        self.classes, self.step = classes, step

    def classes_of(self, text: str) -> np.ndarray:
        """The class of each character, int8."""
        return self.classes[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")]

    def readings(self, text: str) -> list[tuple[int, list[int]]]:
        """All ways in which `text` may be cut as the beginning of a longer one: the state and the cuts, in characters."""
        # Two ways never lead to one state: the same continuation would bear out both. Cuts are chained, the last first.
        ways: dict[int, Any] = {0: None}
        for at, k in enumerate(self.classes_of(text).tolist()):
            following: dict[int, Any] = {}
            for state, chain in ways.items():
                for how in (JOINED, CUT):
                    if (then := int(self.step[state, how, k])) >= 0:
                        following[then] = (at, chain) if how == CUT else chain
            ways = following
        found = []
        for state, chain in ways.items():
            cuts: list[int] = []
            while chain is not None:
                cuts.append(chain[0])
                chain = chain[1]
            found.append((state, cuts[::-1]))
        return found

    def after(self, text: str, cuts: list[int]) -> int:
        """The state behind `text` cut at `cuts`, or -1."""
        state, places = 0, set(cuts)
        for at, k in enumerate(self.classes_of(text).tolist()):
            state = int(self.step[state, CUT if at in places else JOINED, k])
            if state < 0:
                break
        return state


def cut_by(text: str, patterns: tuple[str, ...]) -> list[int]:
    """Where `text` is cut, in characters: by the first pattern, its pieces by the second, and so on; 0 included.

    >>> cut_by("a12  b", (r"\\p{N}", r" ?\\S+|\\s+(?!\\S)"))
    [0, 1, 2, 3, 4]
    """
    bits = _flags(text, patterns)
    return [at for at in range(len(text)) if bits >> at & 1]


def _flags(text: str, patterns: tuple[str, ...]) -> int:
    """Bit i: whether `text` is cut before character i."""
    pieces = [text]
    for pattern in patterns:
        cut = []
        # A piece is a text of its own: nothing is seen beyond it.
        for piece in pieces:
            last = 0
            for match in pattern_of(pattern).finditer(piece):
                begin, end = match.span()
                cut += [piece[last:begin], piece[begin:end]]
                last = end
            cut.append(piece[last:])
        pieces = cut
    bits = at = 0
    for piece in pieces:
        if piece:
            bits |= 1 << at
            at += len(piece)
    return bits


@lru_cache(maxsize=8)
def cut_states(patterns: tuple[str, ...]) -> CutStates:
    """The automaton of `patterns`.

    Raises: InvalidInput: a pattern that is no regular expression, or that looks further than three characters ahead.
    """
    if not patterns:
        return CutStates(np.zeros(0x110000, np.int8), np.array([[[-1], [1]], [[1], [-1]]], np.int16))
    for pattern in patterns:
        pattern_of(pattern)  # refuses what is none
    every, apart = _classes(patterns)
    classes, letters = _merged(every, apart, patterns)
    for depth in _DEPTHS:
        made = CutStates(classes, _step(letters, patterns, depth))
        if (odd := _unlike(made, apart, letters, patterns)) is None:
            return made
    raise InvalidInput(f"pattern {patterns[-1]!r} looks more than {_DEPTHS[-1]} characters ahead, as in {odd!r}")


def _step(letters: list[str], patterns: tuple[str, ...], depth: int) -> np.ndarray:
    """The transitions, int16 (S, 2, K); beginnings are told apart by continuations of up to `depth` characters."""
    flags = cache(lambda text: _flags(text, patterns))
    words = _words(letters, depth)

    def future(text: str, cuts: int) -> frozenset[tuple[str, int]]:
        """The continuations of `text` cut like this, and how they are cut."""
        n, below = len(text), (1 << len(text)) - 1
        told = ((word, flags(text + word)) for word in words)
        return frozenset((word, given >> n) for word, given in told if given & below == cuts)

    first = future("", 0)
    known, todo, step = {first: 0}, [("", 0, first)], []
    for text, cuts, following in todo:
        row = np.full((2, len(letters)), -1, np.int16)
        for letter, how in sorted({(word[0], given & 1) for word, given in following if word}):
            longer = (text + letter, cuts | how << len(text))
            reached = future(*longer)
            if reached not in known:
                known[reached] = len(known)
                todo.append((*longer, reached))
            row[how, letters.index(letter)] = known[reached]
        step.append(row)
        if len(known) > _MOST_STATES:
            raise InvalidInput(f"pattern {patterns[-1]!r} looks too far ahead: it has more than {_MOST_STATES} states")
    return np.stack(step)


def _words(letters: list[str], depth: int) -> list[str]:
    return ["".join(word) for length in range(depth + 1) for word in product(letters, repeat=length)]


def _unlike(made: CutStates, apart: list[str], letters: list[str], patterns: tuple[str, ...]) -> str | None:
    """A text for which the automaton says otherwise than the patterns; None if none of many does."""
    draw, words = random.Random(0), _words(letters, _DEPTHS[-1])
    for _ in range(_PROBES):
        text = "".join(draw.choices(apart, k=10))
        if made.after(text, cut_by(text, patterns)) < 0:
            return text
        for _, cuts in made.readings(text := text[:6]):
            if not any([at for at in cut_by(text + word, patterns) if at < len(text)] == cuts for word in words):
                return text
    return None


def _classes(patterns: tuple[str, ...]) -> tuple[np.ndarray, list[str]]:
    """Characters that no part of a pattern tells apart are of one class: int64 (0x110000,), and one character of each."""
    atoms = set()
    for pattern in patterns:
        found = list(_ATOM.finditer(pattern))
        atoms |= {match["atom"] for match in found if match["atom"]}
        if any((match["syntax"] or "").startswith("(?") and "i" in match["syntax"] for match in found):
            atoms |= {f"(?i:{match['atom']})" for match in found if match["atom"]}
        if r"\b" in pattern or r"\B" in pattern:
            atoms.add(r"\w")
    told = np.array([_matched(atom) for atom in sorted(atoms)], bool).reshape(-1, _CODES.size)
    keys = np.zeros(_CODES.size, np.int64)
    for byte in np.packbits(told, axis=0).astype(np.int64):
        keys = np.unique(keys * 256 + byte, return_inverse=True)[1]
    _, lowest, classes = np.unique(keys, return_index=True, return_inverse=True)
    every = np.zeros(0x110000, np.int64)
    every[_CODES] = classes
    return every, [chr(_CODES[at]) for at in lowest]


@lru_cache(maxsize=64)
def _matched(atom: str) -> np.ndarray:
    """Whether each character matches: bool, as `_CODES`."""
    told = np.zeros(_CODES.size, bool)
    for match in regex.finditer(f"(?:{atom})+", _CODES.tobytes().decode("utf-32-le")):
        told[match.start() : match.end()] = True
    return told


def _merged(classes: np.ndarray, letters: list[str], patterns: tuple[str, ...]) -> tuple[np.ndarray, list[str]]:
    """The same with one class for characters that can be put for each other: in all short texts, and in many longer ones."""
    table = np.array([_flags("".join(word), patterns) for word in product(letters, repeat=3)])
    table = table.reshape((len(letters),) * 3)
    rows = [b"".join(table.take(k, axis).tobytes() for axis in range(3)) for k in range(len(letters))]
    like = {letter: letters[rows.index(row)] for letter, row in zip(letters, rows)}
    against: dict[str, list[tuple[str, str]]] = {letter: [] for letter in letters}
    draw = random.Random(0)
    for letter in [letter for letter in letters if like[letter] != letter] * (4 * _PROBES):
        before, behind = ("".join(draw.choices(letters, k=k)) for k in (3, 3))
        if _alike(before, letter, like[letter], behind, patterns):
            continue
        against[letter].append((before, behind))
        kept = [other for other in letters if like[other] == other]
        fits = (other for other in kept if all(_alike(b, letter, other, e, patterns) for b, e in against[letter]))
        like[letter] = next(fits, letter)
    kept = [letter for letter in letters if like[letter] == letter]
    return np.array([kept.index(like[letter]) for letter in letters], np.int8)[classes], kept


def _alike(before: str, letter: str, other: str, behind: str, patterns: tuple[str, ...]) -> bool:
    if letter == other:
        return True
    return _flags(before + letter + behind, patterns) == _flags(before + other + behind, patterns)
