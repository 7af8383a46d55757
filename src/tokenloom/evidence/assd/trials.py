"""One network for English and Python, character by character, and what it writes into the blanks of texts it does not know."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tokenloom as tl

from ...data import sample
from ...models.two_stream import TwoStream
from ...predict.decode.assd import ASSD, AnySubsetObjective, Infilled, MaskRates, fill_at_once, fill_one_by_one, subsets
from ..packages import Package
from .judge import count_grams

__all__ = ["CHARACTERS", "GIVEN", "LENGTH", "LONGEST", "METHODS", "RATES", "SOURCES", "K", "trial", "written"]

SOURCES = {
    "English": (Package("pypi", "scancode-toolkit", "32.5.0"), "textcode/data/gibberish/big.txt", "en-literary"),
    "Python": (Package("pypi", "scikit-learn", "1.9.1"), "sklearn/*.py", "code-python"),
}
# Where the texts of the picture begin: a paragraph, a function.
BEGINNINGS = {"English": r"(?<=\n\n)\S", "Python": r"(?<=\n)\t?def "}
# Four spaces are one character, as the authors have tokens for runs of spaces.
CHARACTERS = "".join(map(chr, range(32, 127))) + "\n\t"
MASK = len(CHARACTERS)
# The network is small: to longer n-grams most of what it writes is equally strange.
LENGTH, GIVEN, LONGEST, K = 64, 4, 4, 5
# The authors' highest rate, but few blanks are learnt too, such as those of the picture.
RATES = {"start": 0.15, "low": 0.15, "high": 0.99}
METHODS: dict[str, Callable[..., Infilled]] = {
    "one by one": fill_one_by_one,
    "ASSD": ASSD(K),
    "ASSD, bigrams": ASSD(K, "bigram"),
    "at once": fill_at_once,
}


def written(ids: np.ndarray, blank: str = "·") -> str:
    """Characters of ids, as they are."""
    return "".join((CHARACTERS + blank)[i] for i in ids)


def trial(
    archives: str | None,
    seed: int,
    width: int,
    layers: int,
    batch: int,
    steps: int,
    windows: int,
    ks: list[int],
    shown: int,
) -> dict[str, Any]:
    """Train, then fill the blanks of held-out texts in four ways.

    Returns: by text: by method what came out, bits of the network for held-out texts, calls per token for several k; and `shown`.
    """
    learnt, judged, asked = zip(*(_parts(_read(archives, name)) for name in SOURCES))
    size = min(map(len, learnt))  # as much of each
    model = TwoStream(
        vocab_size=MASK + 1, mask_id=MASK, width=width, layers=layers, heads=4, context=LENGTH,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    rates = MaskRates(**RATES, steps=steps // 2)
    ids = np.concatenate([part[:size] for part in learnt])
    source = subsets(ids, length=LENGTH, batch=batch, rates=rates, rng=np.random.default_rng([seed, 0]))
    trained = tl.models.train(AnySubsetObjective(model), source, steps=steps, lr=3e-3, warmup=steps // 10, seed=seed)
    found: dict[str, Any] = {"loss": float(trained.losses[-len(trained.losses) // 10 :].mean())}
    ledger = trained.ledger
    for name, judge_ids, test in zip(SOURCES, judged, asked):
        rng = np.random.default_rng([seed, 1])
        judge = count_grams(judge_ids, longest=LONGEST, vocab_size=MASK)
        rows = np.concatenate([block[: len(block) // LENGTH * LENGTH].reshape(-1, LENGTH) for block in test])
        whole = rng.permutation(rows)[:windows]
        given = rng.random(whole.shape).argsort(1) < GIVEN
        texts, filled = np.where(given, whole, MASK), {}
        for method, fill in METHODS.items():
            begun = time.process_time()
            made = [
                fill(model, t, generator=torch.Generator().manual_seed(1000 * seed + i)) for i, t in enumerate(texts)
            ]
            seconds = time.process_time() - begun
            filled[method] = {**_measured(made, given, model, judge), "seconds": seconds / len(whole)}
            ledger = sum((one.ledger for one in made), ledger)
        by_k = {}
        for k in ks:
            made = [
                ASSD(k)(model, texts[i], generator=torch.Generator().manual_seed(i)) for i in range(len(texts) // 4)
            ]
            by_k[str(k)] = float(np.mean([one.calls for one in made]) / (LENGTH - GIVEN))
            ledger = sum((one.ledger for one in made), ledger)
        real = [Infilled(text, np.zeros(LENGTH, np.int64), tl.Ledger()) for text in whole]
        found[name] = {"filled": filled, "real": _measured(real, given, model, judge), "by k": by_k}
        starts = [b[m.start() :][:LENGTH] for b in test for m in re.finditer(BEGINNINGS[name], written(b[:-LENGTH]))]
        found[name]["shown"] = [_shown(model, starts[i], rng, int(i)) for i in rng.permutation(len(starts))[:shown]]
    return {**found, "size": size, "ledger": ledger.as_dict()}


def _read(archives: str | None, name: str) -> np.ndarray:
    package, pattern, small = SOURCES[name]
    if archives is None:
        text = sample(small)
    else:
        files = package.read(Path(archives), pattern)
        text = "\n".join(content.decode("utf-8", "replace").replace("\r", "") for _, content in files)
    known = {character: i for i, character in enumerate(CHARACTERS)}
    return np.array([known[c] for c in text.replace("    ", "\t") if c in known], np.int64)


def _parts(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Of every twenty blocks thirteen to train on, six for the judge, one to be asked about."""
    blocks = np.array_split(ids, max(20, len(ids) // 2048))
    turns = np.arange(len(blocks)) % 20
    learnt, judged, asked = (
        [block for block, turn in zip(blocks, turns) if low <= turn < high]
        for low, high in ((0, 13), (13, 19), (19, 20))
    )
    return np.concatenate(learnt), np.concatenate(judged), asked


def _measured(made: list[Infilled], given_RN: np.ndarray, model: TwoStream, judge: Any) -> dict[str, Any]:
    """Calls, and how likely each text is for the judge and for the network itself."""
    ids_RN, blank_RN = np.stack([one.ids_N for one in made]), ~given_RN
    step = torch.from_numpy(blank_RN.cumsum(1) * blank_RN)
    with torch.no_grad():
        own_R = -model.scores(torch.from_numpy(ids_RN), step).sum(1).double().numpy() / np.log(2) / blank_RN.sum(1)
    frequencies = [np.unique(row, return_counts=True)[1] / row.size for row in ids_RN]
    return {
        "calls": [one.calls for one in made],
        "rounds": [len(one.tokens_per_round) for one in made],
        "judge": judge(ids_RN).mean(1).round(4).tolist(),
        "network": own_R.round(4).tolist(),
        "entropy": [round(float(-(f * np.log2(f)).sum()), 4) for f in frequencies],
    }


def _shown(model: TwoStream, whole: np.ndarray, rng: np.random.Generator, seed: int) -> dict[str, Any]:
    """A text of which runs of three to eight characters are in turn given and blank."""
    runs = rng.integers(3, 9, LENGTH)
    blank = np.repeat(np.arange(LENGTH) % 2 == 1, runs)[:LENGTH]
    text = np.where(blank, MASK, whole)
    made = ASSD(K)(model, text, generator=torch.Generator().manual_seed(seed))
    return {
        "text": written(whole),
        "given": written(text),
        "filled": written(made.ids_N),
        "rounds": made.rounds_N.tolist(),
        "calls": made.calls,
        "tokens": int(blank.sum()),
    }
