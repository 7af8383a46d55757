"""`tokenloom measure`: what it takes beyond encoding, for fifty megabytes and four tokenizers.

Reads english.txt (`python -m tokenloom.evidence.english`) below the folder that TOKENLOOM_TEST_FILES names, the embedded
samples again and again without; the published vocabularies that are found there, otherwise copies of the embedded one.
"""

import os
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from tokenloom.data import sample, samples
from tokenloom.hosts import load_tokenizer
from tokenloom.measure.comparison import compare
from tokenloom.measure.parity import read_parallel

__all__ = ["run"]

_PUBLISHED = ("r50k_base.tiktoken", "cl100k_base.tiktoken", "o200k_base.tiktoken")


def run(quick: bool) -> list[dict[str, Any]]:
    """Seconds of wall time beyond encoding; theirs is encoding alone."""
    size = (5 if quick else 50) * 10**6
    texts, what = _texts(size)
    paths = [_find(name) for name in _PUBLISHED]
    tokenizers = {"embedded": load_tokenizer("tokenloom-en-16k")}
    for i, path in enumerate(paths):
        tokenizers[path.stem if path else f"embedded, copy {i + 1}"] = load_tokenizer(path or "tokenloom-en-16k")
    began = perf_counter()
    found = compare(tokenizers, texts, rng=np.random.default_rng(0), parallel=read_parallel(sample("udhr-parallel-13")))
    seconds = perf_counter() - began
    encoding = sum(float(own.speed[:, 1].sum()) for own in found.profiles.values())
    note = f"{what}, {len(tokenizers)} tokenizers; seconds beyond encoding, theirs: encoding"
    beyond = seconds - encoding
    return [
        {
            "name": f"measure, {size / 1e6:.0f} MB",
            "ours": beyond,
            "theirs": encoding,
            "ratio": beyond / encoding,
            "bar": f"≤ {90 * size / 50e6:g}",
            "note": note,
        }
    ]


def _find(name: str) -> Path | None:
    root = os.environ.get("TOKENLOOM_TEST_FILES")
    return next(Path(root).rglob(name), None) if root else None


def _texts(size: int) -> tuple[list[str], str]:
    """Documents of about 50,000 characters."""
    if path := _find("english.txt"):
        with path.open(encoding="utf-8") as file:
            text, what = file.read(size), path.name
    else:
        whole = "".join(sample(name) for name in samples() if name.startswith("en-"))
        text, what = (whole * (size // len(whole) + 1))[:size], "samples, repeated"
    return [text[i : i + 50_000] for i in range(0, len(text), 50_000)], what
