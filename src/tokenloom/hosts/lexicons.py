"""Lexicons from outside: an analyser by its language, or a file, that is a word list or a hunspell dictionary."""

import warnings
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any

from ..core.casing import capital, lower
from ..core.errors import CorpusError, InvalidInput, MissingExtra
from ..core.lexicon import Lexicon, WordList
from .analysers import ANALYSERS, Analyser, Analysis

__all__ = ["Hunspell", "load_lexicon", "read_word_list"]


def load_lexicon(source: str | Path, language: str | None = None) -> Lexicon:
    """What is known of a language's words; it is asked in lower case, see `core.casing.lower`.

    Args:
        source: a language that has an analyser: "de", "fi" or "tr"; or a file: a word list, see `read_word_list`, or a
            hunspell dictionary, NAME.dic with NAME.aff beside it.
        language: of a file, for its letters' case.
    Raises: InvalidInput: neither such a language nor a file, a list without words, a dictionary without rules.
        MissingExtra: the analyser is not installed; the message says how to install it.
        CorpusError: a file that cannot be read.
    """
    if str(source) in ANALYSERS:
        return ANALYSERS[str(source)]()
    path = Path(source)
    if not path.is_file():
        raise InvalidInput(
            f"{str(source)!r} is no file, and no language with an analyser here: those are {', '.join(ANALYSERS)}; for "
            "another give a word list, one word a line, or a hunspell dictionary, NAME.dic with NAME.aff beside it"
        )
    return Hunspell(path, language) if path.suffix == ".dic" else read_word_list(path, language)


def read_word_list(path: str | Path, language: str | None = None) -> WordList:
    """A word list from a file: UTF-8, one word a line, and behind a tab perhaps its parts, `evlerimizden<TAB>ev|ler|imiz|den`.

    The first part is the root and a word itself; a later part that is no word of the list is an affix, and one that is
    is a root too, as in compounds. Words are kept in lower case. A heading that begins with `word<TAB>` and further
    columns are passed over.

    Raises: InvalidInput: there is no word, or parts that are not those of the word. CorpusError: not readable as UTF-8.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} cannot be read as a word list: {error}") from error
    rows = [lower(line, language).split("\t") for line in lines if line.strip()]
    rows = rows[1:] if rows and rows[0][0] == "word" and len(rows[0]) > 1 else rows
    parts = {row[0].strip(): row[1].strip().split("|") if len(row) > 1 else [row[0].strip()] for row in rows}
    for word, cut in parts.items():
        if "".join(cut) != word or "" in cut:
            raise InvalidInput(f"{path}: {'|'.join(cut)!r} is not {word!r} cut into parts")
    if not parts:
        raise InvalidInput(f"{path} has no words; a word list has one on each line")
    words = {*parts, *(cut[0] for cut in parts.values())}
    affixes = {part for cut in parts.values() for part in cut[1:]} - words
    return WordList(words, affixes, {word: [part for part in cut if part in words] for word, cut in parts.items()
                                     if len(cut) > 1})  # fmt: skip


class Hunspell(Analyser):
    """A hunspell dictionary, read by the package spylls 0.1.7 (MPL-2.0): stems, the rules of affixes, and compounds.

    A rule may stand for several affixes at once: in Turkish dictionaries `lerimizden` is one.

    Args:
        path: NAME.dic; NAME.aff is beside it.
        language: for the case of its letters; words are also looked up with a capital.
    Raises: MissingExtra: spylls is not installed. InvalidInput: there is no NAME.aff. CorpusError: a file that cannot be read.
    """

    def __init__(self, path: str | Path, language: str | None = None) -> None:
        path = Path(path)
        if not path.with_suffix(".aff").is_file():
            raise InvalidInput(
                f"{path} has no {path.with_suffix('.aff').name} beside it, which has the rules of affixes"
            )
        try:
            from spylls.hunspell import Dictionary
        except ImportError as error:
            raise MissingExtra(
                f"{path}: dictionaries are read by the package 'spylls': pip install spylls==0.1.7"
            ) from error
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files to Python to close
                found = Dictionary.from_files(str(path.with_suffix("")))
        except Exception as error:  # whatever a broken file makes of its reader
            raise CorpusError(f"{path} cannot be read as a hunspell dictionary: {error}") from error
        self._forms = found.lookuper.good_forms
        rules = chain.from_iterable((*found.aff.SFX.values(), *found.aff.PFX.values()))
        super().__init__(
            language or "", {lower(added, language) for rule in rules for added in [rule.add] if added.isalpha()}
        )

    def _analyse(self, word: str) -> list[Analysis]:
        both = dict.fromkeys([word, capital(word, self.language)])
        return [self._read(form) for asked in both for form in self._forms(asked)]

    def _read(self, form: Any) -> Analysis:
        # A compound has parts, a word is its only one; affixes with a 2 are outside of those without.
        morphs, roots = [], set()
        for part in getattr(form, "parts", [form]):
            text = lower(part.text, self.language)
            before = [rule for rule in (part.prefix2, part.prefix) if rule]
            after = [rule for rule in (part.suffix, part.suffix2) if rule]
            if any(rule.strip for rule in (*before, *after)):
                cut = [text]  # Haus → Häuser: what is left of the stem is no part of the word
            else:
                lengths = [[len(rule.add) for rule in rules] for rules in (before, after)]
                middle = len(text) - sum(map(sum, lengths))
                ends = accumulate((*lengths[0], middle, *lengths[1]), initial=0)
                cut = [text[i:j] for i, j in pairwise(ends)]
            roots.add(lower(part.stem, self.language))
            morphs += cut
        return Analysis(tuple(filter(None, morphs)), frozenset(roots))
