"""A lexicon of morphs: roots and suffixes whose sound variants share an id, and the rules that say which variant stands where.

A rule is a sum. Each feature of a place, such as the class of the last vowel before it, has a weight, and the sum of the
features' values times their weights is the number of the form. So a language is data: its sounds, its rules, its morphs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, Self

from ....core.errors import InvalidInput, VocabularyError

__all__ = ["FEATURES", "KINDS", "SPECIALS", "Language", "Morph", "MorphLexicon", "Rule", "Sounds", "unique"]

#: What a place has, and its highest value: the vowel class before it; whether that is a front one; whether the piece before
#: ends in a hard consonant, in a vowel, in a vowel while the word ends here; whether the next morph begins with a vowel, is
#: the rule's follower.
FEATURES = {
    "class": 3,
    "front": 1,
    "hard": 1,
    "after_vowel": 1,
    "after_vowel_at_end": 1,
    "before_vowel": 1,
    "before": 1,
}
KINDS = ("special", "root", "suffix", "string", "unused")
SPECIALS = ("<uppercase>", "<unknown>", " ", "\n", "\t", "<pad>", "<eos>")


@dataclass(frozen=True)
class Rule:
    """Which form of a morph stands at a place: form number = Σ weight · feature, the last form where that is too much.

    Args:
        forms: number of forms, at least 2.
        weights: of `FEATURES`; together they must reach the last form.
        follower: a form of the morph that the feature "before" asks for.
        first_at_end: the published decoder takes the first form of the last token of a text.
    Raises: InvalidInput: an unknown feature, weights that do not reach all forms, "before" without a follower.

    >>> Rule(8, {"class": 1, "hard": 4}).forms  # dı di du dü, behind hard consonants tı ti tu tü
    8
    """

    forms: int
    weights: Mapping[str, int]
    follower: str = ""
    first_at_end: bool = False

    def __post_init__(self) -> None:
        if unknown := [name for name in self.weights if name not in FEATURES]:
            raise InvalidInput(f"no feature {unknown[0]!r}; there are {', '.join(FEATURES)}")
        highest = sum(weight * FEATURES[name] for name, weight in self.weights.items())
        if self.forms < 2 or min(self.weights.values(), default=0) < 1 or highest < self.forms - 1:
            raise InvalidInput(f"weights {dict(self.weights)} reach form {highest}, not each of {self.forms} forms")
        if ("before" in self.weights) != bool(self.follower):
            raise InvalidInput(f"the feature 'before' and a follower belong together, got {self.follower!r}")


@dataclass(frozen=True)
class Sounds:
    """What the rules need to know of a language's letters.

    Args:
        harmony: letter → its vowel class, 0 to 3, odd ones being front vowels; neutral vowels have none.
        vowels: all vowels.
        hard: hard consonants.
        initial: class where no vowel with one came before in the word.
        upper: lower → upper case letters that differ from Unicode's pairs.
    Raises: InvalidInput: a class outside 0 to 3, not single letters.
    """

    harmony: Mapping[str, int]
    vowels: str
    hard: str = ""
    initial: int = 0
    upper: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for letter, value in {**self.harmony, "initial": self.initial}.items():
            if not 0 <= value <= 3:
                raise InvalidInput(f"the vowel class of {letter!r} is {value}; classes are 0 to 3")
        if wrong := [letter for letter in (*self.harmony, *chain(*self.upper.items())) if len(letter) != 1]:
            raise InvalidInput(f"{wrong[0]!r} is not one letter")


@dataclass(frozen=True)
class Morph:
    """One id: its forms, the first of which is the citation form.

    Args:
        kind: one of `KINDS`; "string" is a piece for what has no morphs, "unused" holds the place of an id.
        forms: different strings, in lower case; none for an unused id.
        rule: name of the rule that chooses among several; "" for one form.
        front: its vowels count as front ones, whatever they are, as in Turkish saat, saatler.
    """

    kind: str
    forms: tuple[str, ...]
    rule: str = ""
    front: bool = False


class MorphLexicon:
    """Morphs by id, with the rules and the sounds of their language; answers what a `Lexicon` is asked.

    Args:
        morphs: of id 0, 1, 2, …; the specials `SPECIALS` are among them.
        rules: by name.
        sounds: of the language.
    Raises: VocabularyError: a special is missing, a form is empty, has a space, or belongs to two ids of one kind, the forms
        of a morph are not as many as its rule has, a follower is no suffix.

    >>> sounds = Sounds({"a": 0, "e": 1, "i": 1}, "aei")
    >>> lexicon = MorphLexicon.of(
    ...     [Morph("root", ("ev",)), Morph("suffix", ("lar", "ler"), "two")], {"two": Rule(2, {"front": 1})}, sounds
    ... )
    >>> lexicon.is_word("evler"), lexicon.roots("evler"), lexicon.is_affix("lar"), len(lexicon)
    (True, {'ev'}, True, 9)
    """

    def __init__(self, morphs: Iterable[Morph], rules: Mapping[str, Rule], sounds: Sounds) -> None:
        self.morphs, self.rules, self.sounds = tuple(morphs), dict(rules), sounds
        #: kind → form → id and number of the form
        self.forms: dict[str, dict[str, tuple[int, int]]] = {kind: {} for kind in KINDS}
        for i, morph in enumerate(self.morphs):
            self._enter(i, morph)
        if missing := [name for name in SPECIALS if name not in self.forms["special"]]:
            raise VocabularyError(f"the special {missing[0]!r} is missing; needed are {SPECIALS}")
        for name, rule in self.rules.items():
            if rule.follower and rule.follower not in self.forms["suffix"]:
                raise VocabularyError(f"rule {name} asks for the suffix {rule.follower!r}, which is not there")

    @classmethod
    def of(cls, morphs: Iterable[Morph], rules: Mapping[str, Rule], sounds: Sounds) -> Self:
        """A lexicon with the specials in front of `morphs`."""
        return cls([*(Morph("special", (name,)) for name in SPECIALS), *morphs], rules, sounds)

    @classmethod
    def of_ids(
        cls, morphs: Mapping[int, Morph], rules: Mapping[str, Rule], sounds: Sounds, size: int | None = None
    ) -> Self:
        """A lexicon of morphs that know their ids.

        Args:
            size: ids in all; those without a morph are unused. None asks for every id from 0 to the highest.
        Raises: VocabularyError: an id is missing, or not below `size`.
        """
        ids = range(len(morphs) if size is None else size)
        for i in sorted(morphs):
            if i not in ids:
                raise VocabularyError(f"id {i} is not among 0 … {len(ids) - 1}; {len(morphs)} morphs need dense ids")
        return cls([morphs.get(i, Morph("unused", ())) for i in ids], rules, sounds)

    def _enter(self, i: int, morph: Morph) -> None:
        if morph.kind not in KINDS:
            raise VocabularyError(f"id {i} is of kind {morph.kind!r}; kinds are {', '.join(KINDS)}")
        if (morph.kind == "unused") != (not morph.forms):
            raise VocabularyError(f"id {i} is {morph.kind} and has {len(morph.forms)} forms")
        if morph.rule and morph.rule not in self.rules:
            raise VocabularyError(f"id {i} {morph.forms} has the rule {morph.rule!r}, which is not there")
        wanted = self.rules[morph.rule].forms if morph.rule else 1
        if morph.forms and len(morph.forms) != wanted:
            what = f"rule {morph.rule!r}" if morph.rule else "no rule"
            raise VocabularyError(f"id {i} has {len(morph.forms)} forms {morph.forms}, but {what} is for {wanted}")
        if morph.kind == "string" and morph.rule:
            raise VocabularyError(f"id {i} is the string {morph.forms[0]!r}; strings have no rule")
        known = self.forms[morph.kind]
        for number, form in enumerate(morph.forms):
            if not form:
                raise VocabularyError(f"id {i} has an empty form")
            if morph.kind != "special" and any(c in " \n\t" for c in form):
                raise VocabularyError(f"id {i} has the form {form!r}; space, line end and tab stand alone")
            if form in known:
                raise VocabularyError(f"ids {known[form][0]} and {i} both have the {morph.kind} {form!r}")
            known[form] = i, number

    def __len__(self) -> int:
        return len(self.morphs)

    def __repr__(self) -> str:
        counts = {kind: sum(morph.kind == kind for morph in self.morphs) for kind in KINDS[1:4]}
        return f"MorphLexicon({len(self)} ids, {', '.join(f'{n} {kind}s' for kind, n in counts.items())})"

    def id_of(self, form: str, kind: str) -> int:
        """The id that has this form among those of one kind.

        Raises: VocabularyError: there is none.
        """
        if form not in self.forms[kind]:
            raise VocabularyError(f"no {kind} has the form {form!r}")
        return self.forms[kind][form][0]

    def is_word(self, text: str) -> bool:
        """Whether `text` is a root and suffixes behind it, in whatever forms and order: more is accepted than there is."""
        return bool(self.roots(text))

    def roots(self, word: str) -> set[str]:
        """Citation forms of the roots with which `word` begins and behind which it is suffixes."""
        suffixes, roots = self.forms["suffix"], self.forms["root"]
        # ends[k]: whether word[k:] is a chain of suffixes.
        ends = [False] * len(word) + [True]
        for at in range(len(word) - 1, 0, -1):
            ends[at] = any(ends[end] and word[at:end] in suffixes for end in range(at + 1, len(word) + 1))
        return {
            self.morphs[roots[word[:at]][0]].forms[0]
            for at in range(1, len(word) + 1)
            if ends[at] and word[:at] in roots
        }

    def is_affix(self, text: str) -> bool:
        """Whether `text` is a form of a suffix."""
        return text in self.forms["suffix"]

    @cached_property
    def config(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "sounds": {
                "harmony": dict(self.sounds.harmony),
                "vowels": self.sounds.vowels,
                "hard": self.sounds.hard,
                "initial": self.sounds.initial,
                "upper": dict(self.sounds.upper),
            },
            "rules": {
                name: {
                    "forms": rule.forms,
                    "weights": dict(rule.weights),
                    "follower": rule.follower,
                    "first_at_end": rule.first_at_end,
                }
                for name, rule in self.rules.items()
            },
            "morphs": [[morph.kind, list(morph.forms), morph.rule, morph.front] for morph in self.morphs],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The lexicon that has this `config`.

        Raises: VocabularyError: it is none; InvalidInput: a wrong rule or sound.
        """
        match config:
            case {"sounds": dict(sounds), "rules": dict(rules), "morphs": list(morphs)}:
                pass
            case _:
                raise VocabularyError("a lexicon has sounds, rules and morphs")
        try:
            made = [Morph(kind, tuple(map(str, forms)), rule, front) for kind, forms, rule, front in morphs]
            return cls(made, {name: Rule(**rule) for name, rule in rules.items()}, Sounds(**sounds))
        except (TypeError, AttributeError) as error:
            raise VocabularyError(f"not a lexicon: {error}") from error


@dataclass(frozen=True)
class Language:
    """What is the same in all lexicons of a language.

    Args:
        sounds: of its letters.
        rules: by name.
        suffixes: all of them.
    """

    sounds: Sounds
    rules: Mapping[str, Rule]
    suffixes: tuple[Morph, ...]

    def lexicon(self, roots: Iterable[Morph], strings: Iterable[str] = ()) -> MorphLexicon:
        """Specials, `roots`, the suffixes and `strings`, in this order.

        Raises: VocabularyError: see `MorphLexicon`.
        """
        made = (Morph("string", (string,)) for string in strings)
        return MorphLexicon.of([*roots, *self.suffixes, *made], self.rules, self.sounds)


def unique(morphs: Iterable[Morph]) -> list[Morph]:
    """Of morphs with the same kind and citation form the first, and where another form is taken, the citation form alone.

    A form is taken if it is the citation form of another, or a form of an earlier one: başlı, with a head, is a word, so that
    başla, begin, which has that form before -yor, does not get it.

    >>> [morph.forms for morph in unique([Morph("root", ("başla", "başlı"), "r"), Morph("root", ("başlı",))])]
    [('başla',), ('başlı',)]
    """
    kept: dict[tuple[str, str], Morph] = {}
    for morph in morphs:
        kept.setdefault((morph.kind, morph.forms[0]), morph)
    taken = set(kept)
    for key, morph in kept.items():
        others = {(morph.kind, form) for form in morph.forms[1:]}
        if len(others) < len(morph.forms) - 1 or others & taken:
            kept[key] = Morph(morph.kind, morph.forms[:1], front=morph.front)
        else:
            taken |= others
    return list(kept.values())
