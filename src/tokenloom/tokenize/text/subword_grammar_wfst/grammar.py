"""The grammar as data: categories of words, their prefixes (the initial parts: stems), infixes and suffixes, and what may follow what.

A file has a table for each category: lists of stems in the form of the dictionary, lists of prefixes, infixes and suffixes
in classes, and an order table. Sound changes are written as further lists: a list of prefixes may be one of stems with
something dropped at the end and something else added. See tamil.toml.
"""
# C classes, M morphemes, W words

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np

from ....core.automaton import Automaton, branches
from ....core.errors import InvalidInput
from .script import JOINERS, is_consonant, is_vowel, letters, spell
from .units import MARK, Unit

__all__ = ["LANGUAGES", "Class", "Grammar", "Morpheme"]

LANGUAGES = ("tamil", "kannada")
_KINDS = ("prefix", "infix", "suffix")
_KANNADA = range(0x0C80, 0x0D00)
ZWNJ = JOINERS[0]


@dataclass(frozen=True)
class Morpheme:
    """A string of a grammar.

    Args:
        letters: see `script.letters`.
        category, name: of its class.
        kind: "prefix", "infix" or "suffix".
        stem: of a prefix, the form of the dictionary.
    """

    letters: str
    category: str
    name: str
    kind: str
    stem: str = ""


@dataclass(frozen=True, eq=False)
class Class:
    """Strings that may stand in the same place.

    Args:
        category, name, kind: as of its morphemes.
        follows: names of the classes of the same category that may come next.
        ends: whether a word may end here.
        morphemes: sorted by letters.
    """

    category: str
    name: str
    kind: str
    follows: tuple[str, ...]
    ends: bool
    morphemes: tuple[Morpheme, ...]


@dataclass(frozen=True)
class Grammar:
    """Which sequences of subwords are words.

    Args:
        data: as a grammar file has it, JSON values: `language`; `piece`, the cost of each piece (1 unless told); `undo`, pairs of
            an ending that the next word brings about and what stands there otherwise; and for each category `stems`,
            `prefix`, `infix`, `suffix`, `order` and `cost`, its own cost (0 unless told).
    Raises: InvalidInput: an empty string, one with a position mark or white space, a class that is missing, not reachable or
        from which no word ends, or a stem without the ending that is to be dropped.

    >>> toy = Grammar({"noun": {"prefix": {"stem": "cat dog"}, "suffix": {"plural": "s"},
    ...                         "order": {"stem": "plural end", "plural": "end"}}})
    >>> [found.letters for found in toy.morphemes]
    ['cat', 'dog', 's']
    """

    data: Mapping[str, Any]

    def __post_init__(self) -> None:
        for category in {c.category for c in self.classes}:
            known = {c.name: c for c in self.classes if c.category == category}
            reached = {name for name, c in known.items() if c.kind == "prefix"}
            ending = {name for name, c in known.items() if c.ends}
            for _ in known:
                reached |= {name for before in reached for name in known[before].follows}
                ending |= {name for name, c in known.items() if ending & set(c.follows)}
            for name in known:
                if name not in reached:
                    raise InvalidInput(f"{category}.{name} comes after nothing: no order leads to it from a prefix")
                if name not in ending:
                    raise InvalidInput(
                        f"{category}.{name} leads to no end of a word: its final state cannot be reached"
                    )

    @classmethod
    def of(cls, language: str) -> "Grammar":
        """The grammar of one of `LANGUAGES` that travels with the package.

        Raises: InvalidInput: another language.
        """
        if language not in LANGUAGES:
            raise InvalidInput(f"no grammar of {language!r}; there are {', '.join(LANGUAGES)}")
        return cls.from_toml((files(__package__) / f"{language}.toml").read_text(encoding="utf-8"))

    @classmethod
    def from_toml(cls, text: str) -> "Grammar":
        """The grammar that a file holds.

        Raises: InvalidInput: no TOML, or as for the class.
        """
        try:
            return cls(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"the grammar is no TOML: {error}") from error

    def with_stems(self, category: str, stems: Mapping[str, Iterable[str]]) -> "Grammar":
        """The grammar with more stems, in the form of the dictionary: list → stems.

        Raises: InvalidInput: there is no such list of stems, or as for the class.
        """
        known = dict(self._categories.get(category, {}).get("stems", {}))
        for name, new in stems.items():
            if name not in known:
                raise InvalidInput(f"{category} has no stems {name!r}, but {', '.join(known) or 'none'}")
            known[name] = sorted({*_words(known[name]), *new})
        return Grammar({**self.data, category: {**self.data[category], "stems": known}})

    @property
    def piece_cost(self) -> float:
        """Added to a path for each morpheme."""
        return float(self.data.get("piece", 1))

    @property
    def undo(self) -> list[tuple[str, str]]:
        """Endings, in letters, that the next word brings about, and what stands there otherwise."""
        return [(letters(now), letters(before)) for now, before in self.data.get("undo", ())]

    @property
    def _categories(self) -> dict[str, Mapping[str, Any]]:
        return {name: value for name, value in self.data.items() if isinstance(value, Mapping)}

    @cached_property
    def classes(self) -> tuple[Class, ...]:
        """All classes, category by category."""
        return tuple(one for name, value in self._categories.items() for one in _classes(name, value))

    @cached_property
    def morphemes(self) -> tuple[Morpheme, ...]:
        """All morphemes, class by class; their places are the outputs of the automaton."""
        return tuple(morpheme for one in self.classes for morpheme in one.morphemes)

    @cached_property
    def class_of(self) -> np.ndarray:
        """The place of each morpheme's class, int64 (M,)."""
        return np.repeat(np.arange(len(self.classes)), [len(one.morphemes) for one in self.classes])

    @cached_property
    def fixed_costs(self) -> np.ndarray:
        """What each morpheme costs before any is weighed: float64 (M,)."""
        own = [float(self._categories[m.category].get("cost", 0)) * (m.kind == "prefix") for m in self.morphemes]
        return self.piece_cost + np.array(own, np.float64)

    @cached_property
    def automaton(self) -> Automaton:
        """Reads the letters of a word, writes its morphemes; state 0 begins, state 1 + c is behind class c."""
        return self._automaton([one.kind == "prefix" for one in self.classes], [one.ends for one in self.classes])

    @cached_property
    def heads(self) -> Automaton:
        """Reads one prefix that something may follow, and no more."""
        prefix = [one.kind == "prefix" for one in self.classes]
        return self._automaton(prefix, [one.kind == "prefix" and bool(one.follows) for one in self.classes])

    @cached_property
    def tails(self) -> Automaton:
        """Reads infixes and suffixes to the end of a word, as they may follow some prefix."""
        after = {(one.category, name) for one in self.classes if one.kind == "prefix" for name in one.follows}
        begins = [(one.category, one.name) in after for one in self.classes]
        return self._automaton(begins, [one.ends and one.kind == "suffix" for one in self.classes])

    def _automaton(self, begins: Sequence[bool], ends: Sequence[bool]) -> Automaton:
        place = {(one.category, one.name): c for c, one in enumerate(self.classes)}
        before: list[list[int]] = [[0] * begin for begin in begins]  # the states from which each class may come
        for c, one in enumerate(self.classes):
            for name in one.follows:
                before[place[one.category, name]].append(1 + c)
        parts: list[np.ndarray] = []
        states, morphemes = 1 + len(self.classes), 0
        for c, one in enumerate(self.classes):
            tree = branches([m.letters for m in one.morphemes], first_node=states, end=1 + c)
            tree[2] += np.where(tree[2] >= 0, morphemes, 0)
            root = tree[0] < 0
            parts += [tree[:, ~root], *(np.vstack([np.full(root.sum(), state), tree[1:, root]]) for state in before[c])]
            states = max(states, 1 + int(tree[3].max(initial=0)))
            morphemes += len(one.morphemes)
        source, label, output, target = np.concatenate(parts, axis=1) if parts else np.zeros((4, 0), np.int64)
        final = np.full(states, np.inf)
        final[1 : 1 + len(ends)] = np.where(ends, 0.0, np.inf)
        costs = np.append(self.fixed_costs, 0.0)
        return Automaton(source, label, output, costs[output], target, final)

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units that words of the grammar can have, sorted.

        A piece depends on its morpheme, on the consonants that a seam before it gives it, and on those that it gives away,
        which depend on whether a vowel or a consonant comes next.
        """
        known = {(one.category, one.name): one for one in self.classes}
        after = {
            one: list(
                dict.fromkeys(
                    (_kind(m.letters), known[one.category, n])
                    for n in one.follows
                    for m in known[one.category, n].morphemes
                )
            )
            for one in self.classes
        }
        found: set[Unit] = set()
        # A class, the letters that it is given, the kind of its own first letter, and whether a unit stands before it.
        waiting = [(one, "", "", False) for one in self.classes if one.kind == "prefix"]
        seen = set(waiting)
        while waiting:
            one, given, kind, begun = waiting.pop()
            for morpheme in one.morphemes:
                if kind and _kind(morpheme.letters) != kind:
                    continue
                whole = given + morpheme.letters
                if one.ends:
                    found.add(Unit(spell(whole), not begun, True))
                for next_kind, next_ in after[one]:
                    for size, joiner in _given(whole, next_kind):
                        kept = whole[: len(whole) - size]
                        if kept:
                            found.add(Unit(spell(kept) + joiner, not begun, False))
                        state = (next_, whole[len(kept) :], next_kind, begun or bool(kept))
                        if state not in seen:
                            seen.add(state)
                            waiting.append(state)
        return tuple(sorted(found))


def _kind(string: str) -> str:
    """Of the first letter: what decides whether letters before it belong to its akshara."""
    return "vowel" if is_vowel(string[0]) else "consonant" if is_consonant(string[0]) else "other"


def _given(string: str, next_kind: str) -> list[tuple[int, str]]:
    """How many letters at the end of a string belong to the akshara that begins the next, and what is written between."""
    run = 0
    while run < len(string) and is_consonant(string[-1 - run]):
        run += 1
    if not run or next_kind == "other":
        return [(0, "")]
    if ord(string[-1]) in _KANNADA:
        return [(run, "")] if next_kind == "vowel" else [(run, ""), (0, ZWNJ)]
    return [(1 if next_kind == "vowel" else 0, "")]


def _words(strings: str | Iterable[str]) -> list[str]:
    return strings.split() if isinstance(strings, str) else list(strings)


def _classes(category: str, value: Mapping[str, Any]) -> list[Class]:
    stems, order = value.get("stems", {}), value.get("order", {})
    made = []
    kinds = {name: kind for kind in _KINDS for name in value.get(kind, {})}
    if sum(len(value.get(kind, {})) for kind in _KINDS) > len(kinds):
        raise InvalidInput(f"{category} has two classes of one name among its prefixes, infixes and suffixes")
    for name in order:
        if name not in kinds:
            raise InvalidInput(f"{category} has an order for {name!r}, which is no class")
    for name, kind in kinds.items():
        where = f"{category}.{name}"
        follows = _words(order.get(name, ""))
        for next_ in follows:
            if next_ != "end" and kinds.get(next_, "prefix") == "prefix":
                raise InvalidInput(f"{where} leads to {next_!r}, which is no class of infixes or suffixes, nor 'end'")
        if kind == "infix" and "end" in follows:
            raise InvalidInput(f"{where} is a class of infixes, but words end there; make it one of suffixes")
        strings = value[kind][name]
        if isinstance(strings, Mapping):
            if strings.get("stems") not in stems:
                raise InvalidInput(
                    f"{where} is made of stems {strings.get('stems')!r}, which are not in {category}.stems"
                )
            pairs = [(_changed(stem, strings, where), stem) for stem in _words(stems[strings["stems"]])]
        else:
            pairs = [(letters(string), string if kind == "prefix" else "") for string in _words(strings)]
        for string, stem in pairs:
            if not string or MARK in string or string.split() != [string]:
                raise InvalidInput(f"{where} has {stem or string!r}: empty, or with a space or the mark {MARK!r} in it")
        if not pairs:
            raise InvalidInput(f"{where} is an empty list")
        morphemes = [Morpheme(string, category, name, kind, stem) for string, stem in sorted(dict(pairs).items())]
        made.append(
            Class(category, name, kind, tuple(n for n in follows if n != "end"), "end" in follows, tuple(morphemes))
        )
    return made


def _changed(stem: str, change: Mapping[str, str], where: str) -> str:
    string, drop = letters(stem), letters(change.get("drop", ""))
    if not string.endswith(drop):
        raise InvalidInput(f"{where}: the stem {stem!r} does not end with {change['drop']!r}, which is to be dropped")
    return string[: len(string) - len(drop)] + letters(change.get("add", ""))
