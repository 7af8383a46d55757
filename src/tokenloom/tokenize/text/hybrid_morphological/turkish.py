"""Turkish: its sounds, its suffixes, and the numbering of the published dictionaries.

In the patterns A is a or e; I is ı, i, u or ü, but behind A, written E, only ı or i; D is d or t, C is c or ç, K is k or ğ.
"""

from collections.abc import Mapping
from dataclasses import replace

from .lexicon import Language, Morph, MorphLexicon, Rule, Sounds
from .patterns import suffixes

__all__ = ["ROOT_RULES", "TURKISH", "published_lexicon"]

_CLASSES = ("aıâ", "eiî", "ouû", "öü")
_SOUNDS = Sounds(
    harmony={letter: number for number, letters in enumerate(_CLASSES) for letter in letters},
    vowels="".join(_CLASSES),
    hard="fstkçşhp",
    upper={"i": "İ", "ı": "I"},
)

_LETTERS = {
    "front": {"A": "ae", "E": "ıi"},
    "class": {"I": "ıiuü"},
    "hard": {"D": "dt", "C": "cç"},
    "before_vowel": {"K": "kğ"},
}
# -(y)lA only where the word ends: -lA also makes verbs.
_SUFFIXES = """
    lAr (y)A nA (y)I nI sI DA nDA DAn nDAn (n)In CA nCA [y]lA ki Im m n ImIz mIz InIz nIz
    lI sIz lIK CI CIK CAğEz DAş sAl ImsI IncI ncI şAr gil lAyEn CAsEnA lAş lAn
    mAK mA (y)Iş (y)An (y)AcAK DIK mIş (y)ArAK (y)Ip (y)IncA (y)IcI (y)AlE mAdAn mAksEzEn Il It t
    yor Iyor Ar Ir r mAz DI sA mAlE (y)AlEm sIn sInIz sInlAr yIm Iz yIz k DIr (y)Iver (y)Abil (y)AmA mI
    ydI ymIş ysA yken ken idi imiş ise iken y
"""
_MORPHS, _RULES = suffixes(_SUFFIXES, _LETTERS)

#: Rules of roots: kitap, kitab- before a vowel; the same with a third form before -cık (sıcak, sıcağ-, sıca-); başla, başlı-.
ROOT_RULES = {
    "voicing": Rule(2, {"before_vowel": 1}),
    "dropping": Rule(3, {"before_vowel": 1, "before": 2}, follower="cık"),
    "progressive": Rule(2, {"before": 1}, follower="yor"),
}

TURKISH = Language(_SOUNDS, {**_RULES, **ROOT_RULES}, _MORPHS)

_PUBLISHED_SIZE = 32768
_EXCEPTIONS = {"saat", "kilovatsaat", "ziraat", "itaat", "istikbal"}
_PUBLISHED_RULES = {
    **ROOT_RULES,
    "dropping": replace(ROOT_RULES["dropping"], follower="ı"),
    "two": Rule(2, {"front": 1}),
    "four": Rule(4, {"class": 1}),
    "la": Rule(4, {"front": 1, "after_vowel_at_end": 2}),
    "da": Rule(4, {"front": 1, "hard": 2}),
    "dı": Rule(8, {"class": 1, "hard": 4}),
    "lık": Rule(8, {"class": 1, "before_vowel": 4}, first_at_end=True),
    "cık": Rule(16, {"class": 1, "hard": 4, "before_vowel": 8}, first_at_end=True),
    "mak": Rule(4, {"front": 1, "before_vowel": 2}, first_at_end=True),
    "acak": Rule(8, {"front": 1, "before_vowel": 2, "after_vowel": 4}),
}
# The first id of each run of ids that have one rule.
_RUNS = {100: "voicing", 2080: "progressive", 2315: "", 20000: "two", 20013: "four", 20023: "la", 20024: "da", 20026: "dı",
         20029: "lık", 20030: "cık", 20031: "mak", 20032: "acak", 20033: ""}  # fmt: skip


def published_lexicon(
    roots: Mapping[str, int], suffixes: Mapping[str, int], strings: Mapping[str, int]
) -> MorphLexicon:
    """The lexicon of the three published dictionaries, string → id, whose ids say what rule a string has.

    Raises: VocabularyError: see `MorphLexicon`.
    """
    morphs: dict[int, Morph] = {}
    for kind, table in (("root", roots), ("suffix", suffixes), ("string", strings)):
        forms: dict[int, list[str]] = {}
        for form, i in table.items():
            forms.setdefault(i, []).append(form)
        for i, found in forms.items():
            run = max((first for first in _RUNS if first <= i), default=2315)
            rule = _RUNS[run] if len(found) > 1 else ""
            if rule == "voicing" and len(found) == 3:
                rule = "dropping"
            special = kind == "root" and i < 7
            morphs[i] = Morph("special" if special else kind, tuple(found), rule, found[0] in _EXCEPTIONS)
    rules = {name: rule for name, rule in _PUBLISHED_RULES.items() if not rule.follower or rule.follower in suffixes}
    return MorphLexicon.of_ids(morphs, rules, _SOUNDS, _PUBLISHED_SIZE)
