"""Units: subwords that know where in a word they stand, so that words come back from a stream of them.

A unit is a whole word `w`, or its beginning `w_`, a middle part `_w_` or its end `_w`: the same letters in two places are
two units. A sequence of units is well formed if it is accepted by the position automaton, initial → middle* → final, or
whole; gluing repairs what is not, and never drops anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from ....core.errors import InvalidInput

__all__ = ["MARK", "Unit", "glue", "mark", "well_formed"]

MARK = "_"


@dataclass(frozen=True, order=True)
class Unit:
    """A piece of a word and its place.

    Args:
        text: the piece itself, not empty.
        initial: it begins its word.
        final: it ends its word.
    Raises: InvalidInput: no text, or white space in it.

    >>> str(Unit("மர", True, False)), Unit.parse("_தில்")
    ('மர_', Unit(text='தில்', initial=False, final=True))
    """

    text: str
    initial: bool = True
    final: bool = True

    def __post_init__(self) -> None:
        if not self.text or self.text.split() != [self.text]:
            raise InvalidInput(f"{self.text!r} is no piece of a word: it is empty or has white space in it")

    def __str__(self) -> str:
        return f"{MARK * (not self.initial)}{self.text}{MARK * (not self.final)}"

    @classmethod
    def parse(cls, written: str) -> Self:
        """The unit that `str` writes so, for texts in which the mark does not occur.

        Raises: InvalidInput: nothing but marks, or one inside.
        """
        text = written.removeprefix(MARK).removesuffix(MARK)
        if MARK in text:
            raise InvalidInput(f"{written!r} has {MARK!r} inside, which marks the ends of units")
        return cls(text, not written.startswith(MARK), not written.endswith(MARK))


def mark(pieces: Sequence[str]) -> tuple[Unit, ...]:
    """The pieces of one word, marked.

    >>> [str(unit) for unit in mark(["a", "b", "c"])]
    ['a_', '_b_', '_c']
    """
    return tuple(Unit(piece, i == 0, i == len(pieces) - 1) for i, piece in enumerate(pieces))


def glue(units: Iterable[Unit]) -> list[str]:
    """The words of a sequence of units: two are joined where the first goes on and the second continues.

    What does not fit together, such as an end without a beginning, becomes a word of its own.

    >>> glue(map(Unit.parse, ["a_", "_b", "c", "_d", "e_", "f"]))
    ['ab', 'c', 'd', 'e', 'f']
    """
    words: list[str] = []
    open_word = False
    for unit in units:
        if open_word and not unit.initial:
            words[-1] += unit.text
        else:
            words.append(unit.text)
        open_word = not unit.final
    return words


def well_formed(units: Iterable[Unit]) -> bool:
    """Whether the position automaton accepts the sequence.

    >>> well_formed(mark("abc")), well_formed(mark("abc")[1:])
    (True, False)
    """
    open_word = False
    for unit in units:
        if unit.initial == open_word:
            return False
        open_word = not unit.final
    return not open_word
