"""Other people's analysers of words, each as a lexicon: Turkish by zeyrek, Finnish by Voikko, German by HanTa.

An analyser takes a word apart, in several ways where it can be read in several; what it cannot take apart is no word.
None of the packages is a dependency of tokenloom: each says how to install it.
"""

import copy
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, product
from typing import Any, NamedTuple

from ..core.errors import MissingExtra

__all__ = ["ANALYSERS", "Analyser", "Analysis", "Finnish", "German", "Turkish"]


class Analysis(NamedTuple):
    """One way to read a word.

    Args:
        morphs: its parts as they stand in the word, none of them empty.
        roots: those that are no affixes, as they stand in the word and as a dictionary has them.
    """

    morphs: tuple[str, ...]
    roots: frozenset[str]


class Analyser(ABC):
    """A lexicon that takes words apart; what it has found for a word it remembers. Words are given in lower case.

    Args:
        language: its code.
        affixes: all forms of its affixes.
    """

    def __init__(self, language: str, affixes: Iterable[str]) -> None:
        self.language, self.affixes = language, frozenset(affixes)
        self._found: dict[str, tuple[Analysis, ...]] = {}

    @abstractmethod
    def _analyse(self, word: str) -> Iterable[Analysis]:
        """All readings of a word that is not empty."""

    def analyses(self, word: str) -> tuple[Analysis, ...]:
        """The different readings of `word`; none where it is no word."""
        if (found := self._found.get(word)) is None:
            found = self._found[word] = tuple(dict.fromkeys(self._analyse(word))) if word else ()
        return found

    def is_word(self, text: str) -> bool:
        """Whether there is a reading."""
        return bool(self.analyses(text))

    def roots(self, word: str) -> set[str]:
        """Roots of all readings, as they stand in the word and as a dictionary has them; of a compound, all its roots."""
        return set().union(*(reading.roots for reading in self.analyses(word)))

    def is_affix(self, text: str) -> bool:
        """Whether `text` is one affix in one of its forms."""
        return text in self.affixes

    def segments(self, word: str) -> list[tuple[str, ...]]:
        """The different ways to cut `word` into morphs, which put together are the word."""
        return list(dict.fromkeys(r.morphs for r in self.analyses(word) if "".join(r.morphs) == word))


class Turkish(Analyser):
    """zeyrek 0.1.3 (MIT), the analyser and dictionaries of Zemberek: some 700 words a second.

    Circumflexes and apostrophes make no difference. Affixes are all that its grammar makes after any stem.

    Raises: MissingExtra: zeyrek is not installed.
    """

    def __init__(self) -> None:
        try:
            from zeyrek import MorphAnalyzer, attributes, morphotactics, rulebasedanalyzer, tr
        except ImportError as error:
            raise _missing("Turkish", "zeyrek==0.1.3") from error
        logging.getLogger("zeyrek").setLevel(logging.ERROR)  # it warns of every analysis that it finds
        zemberek = MorphAnalyzer()
        self._plain, self._search = tr.normalize_circumflex, zemberek.analyzer.search
        self._stems = zemberek.morphotactics.stem_transitions
        self._begin, self._read = morphotactics.SearchPath.initial, rulebasedanalyzer.parse_analysis
        self._forget = attributes.calculate_phonetic_attributes.cache_clear
        super().__init__("tr", self._suffixes(attributes.PhoneticAttribute, morphotactics.generate_surface))

    def _analyse(self, word: str) -> Iterator[Analysis]:
        plain = self._plain(word).replace("'", "").replace("’", "")
        # The search changes the sounds of the stems it is given and of those it has remembered, so that what it finds
        # would depend on the words before.
        self._forget()
        stems = [copy.copy(stem) for stem in self._stems.prefix_matches(plain)]
        for stem in stems:
            stem.attrs = set(stem.attrs)
        for path in self._search([self._begin(stem, plain[len(stem.surface) :]) for stem in stems]):
            found = self._read(path)
            surfaces = [surface for _, surface in found.morphemes if surface]
            roots = frozenset({surfaces[0], found.dict_item.root})
            if len(plain) == len(word):  # what differs are circumflexes
                surfaces = list(_cut(word, map(len, surfaces)))
            yield Analysis(tuple(surfaces), roots | {surfaces[0]})

    def _suffixes(self, sound: Any, spell: Any) -> Iterator[str]:
        """Every suffix of the grammar, spelt after every kind of stem."""
        last = (sound.LastLetterVowel, sound.LastLetterConsonant, sound.LastLetterVoiceless)
        place, lips = (sound.LastVowelBack, sound.LastVowelFrontal), (sound.LastVowelRounded, sound.LastVowelUnrounded)
        stems = chain(self._stems.single_stems.values(), *self._stems.multi_stems.values())
        waiting = list({id(stem.to_): stem.to_ for stem in stems}.values())
        seen = set(map(id, waiting))
        while waiting:
            for suffix in waiting.pop().outgoing:
                yield from filter(None, (spell(suffix, set(sounds)) for sounds in product(last, place, lips)))
                if id(suffix.to_) not in seen:
                    seen.add(id(suffix.to_))
                    waiting.append(suffix.to_)


# Endings as grammars of Finnish list them, the choice is ours: A, O, U are a, o, u or ä, ö, y after the stem's vowels, and
# V is any vowel. Cases (also after the i of the plural), what only the plural has, possessors and particles, verbs,
# comparison, derivation.
_CASES = "n A tA ssA stA Vn hVn seen llA ltA lle nA ksi kse ttA"
_FINNISH = """
    i j t ne en ien jen den iden itten ten tten siin  ni si nsA mme nne  kin kAAn kO hAn pA kA s
    tte vAt isi nee tAAn dAAn ttiin tiin ttAisiin tAisiin ttU tU nUt neet vA tAvA ttAvA dA lA rA mA koon kOOn kOOt kAA VVn
    mpi mpA mmA in impA immA sti
    inen ise is linen llinen llise lAinen lAise us Us UUs minen mise mis mUs jA ntA nti O U e stO tAr mAtOn tOn ttOmA isUUs
"""


class Finnish(Analyser):
    """Voikko as pyvoikko 0.6 has it (GPL-3): some 900 words a second, compounds cut too.

    It has no list of affixes; a table of some two hundred endings takes its place.

    Raises: MissingExtra: pyvoikko is not installed.
    """

    def __init__(self) -> None:
        try:
            from pyvoikko import analyse
        except ImportError as error:
            raise _missing("Finnish", "pyvoikko==0.6") from error
        self._voikko = analyse
        plural = (f"i{ending}" for ending in _CASES.split())
        super().__init__("fi", chain.from_iterable(map(_harmony, [*_CASES.split(), *plural, *_FINNISH.split()])))

    def _analyse(self, word: str) -> Iterator[Analysis]:
        for found in self._voikko(word):
            yield _read_voikko(found.FSTOUTPUT)


def _read_voikko(told: str) -> Analysis:
    """A reading from Voikko's output, such as `[Ln][Xp]talo[X]talo[Sine][Nm]issa`: dictionary forms between [Xp] and [X]."""
    morphs: list[str] = []
    roots, hidden, cut, root = set(), "", True, False
    for part in re.findall(r"\[[^]]*\]|[^[]+", told):
        if part == "[X]":
            hidden = ""
        elif part.startswith("[X"):
            hidden = part
            # A word of its own begins: of a compound, or of two written as one.
            cut, root = (True, True) if part == "[Xp]" else (cut, root)
        elif part.startswith("["):
            # What nominative tags are followed by belongs to the stem: talo[Sn], kirj[Sn]a.
            cut = cut or (part[1] in "BCFLOPRST" and part != "[Sn]")
        elif hidden:
            roots |= {part.lower()} if hidden == "[Xp]" else set()
        elif cut or not morphs:
            morphs.append(part)
            roots |= {part} if root else set()
            cut = root = False
        else:
            morphs[-1] += part
    return Analysis(tuple(morphs), frozenset(roots))


def _harmony(ending: str) -> set[str]:
    """Both forms of an ending, and one for every vowel V."""
    both = {ending.translate(str.maketrans("AOU", letters)) for letters in ("aou", "äöy")}
    return {form.replace("V", vowel) for form in both for vowel in "aeiouyäö"}


class German(Analyser):
    """HanTa 1.2.1 (LGPL-3), a statistical model of inflection and compounding: some 800 words a second.

    It has a guess for everything, the likeliest; a word is what it takes for one of German and makes of morphs that it has
    learned. It does not cut derivation: `Leistung` is whole.

    Raises: MissingExtra: HanTa is not installed.
    """

    _AFFIXES = ("SUF_", "PREF_", "FUGE", "PTKVZ_", "PRESPART", "ADJ_COMP", "ADJ_SUP")
    _NO_WORDS = ("FM", "XY")  # foreign words, and what is none

    def __init__(self) -> None:
        try:
            from HanTa.HanoverTagger import HanoverTagger
        except ImportError as error:
            raise _missing("German", "HanTa==1.2.1") from error
        self._tagger = HanoverTagger("morphmodel_ger.pgz")
        tags = self._tagger.int2tag
        self._known = {tags[i]: morphs for i, morphs in self._tagger.LP_m_t.items()}
        affixes = (morphs for tag, morphs in self._known.items() if tag.startswith(self._AFFIXES))
        super().__init__("de", (morph for morph in chain.from_iterable(affixes) if morph.isalpha()))

    def _analyse(self, word: str) -> Iterator[Analysis]:
        _, parts, tag = self._tagger.analyze(word, taglevel=3, casesensitive=False)
        if tag in self._NO_WORDS or not all(morph in self._known[kind] for morph, kind in parts):
            return
        forms = self._tagger.analyze(word, taglevel=2, casesensitive=False)[0].split("+")
        stems = [not kind.startswith((*self._AFFIXES, "HYPHEN")) for _, kind in parts]
        roots = {form for (morph, _), own, stem in zip(parts, forms, stems) if stem for form in (morph, own)}
        yield Analysis(tuple(morph for morph, _ in parts if morph), frozenset(roots))


ANALYSERS: dict[str, Callable[[], Analyser]] = {"de": German, "fi": Finnish, "tr": Turkish}


def _missing(language: str, package: str) -> MissingExtra:
    return MissingExtra(
        f"words of {language} are taken apart by the package '{package.split('=')[0]}': pip install {package}"
    )


def _cut(word: str, lengths: Iterable[int]) -> Iterator[str]:
    at = 0
    for length in lengths:
        yield word[at : at + length]
        at += length
