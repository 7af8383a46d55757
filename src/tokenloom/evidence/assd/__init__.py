"""ASSD, tried on English prose and Python code: blanks filled several at a time, exactly, by one small network.

pip download --no-deps scancode-toolkit==32.5.0 scikit-learn==1.9.1    # books and medical texts; 13 MB of Python
tokenloom evidence assd -- --archives FOLDER

Texts are 64 characters, of which four at random places are given. A model of n-grams, which has read other parts of the same
sources and knows nothing of the network, tells how likely what was written is.
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...measure.resampling import basic_interval, resample
from ..packages import check_run
from ..result import Figure, Picture, run_seeds, write_result
from .pictures import draw_calls, draw_infilling
from .trials import GIVEN, LENGTH, LONGEST, METHODS, RATES, SOURCES, K, trial

__all__ = ["run"]

FULL: dict[str, Any] = {
    "width": 128, "layers": 4, "batch": 16, "steps": 1800, "windows": 120, "ks": [2, 3, 5, 10, 20], "shown": 3
}  # fmt: skip
QUICK: dict[str, Any] = {"width": 32, "layers": 1, "batch": 4, "steps": 30, "windows": 4, "ks": [2, 5], "shown": 2}
PAPER = {
    "perplexity": "107.9 one by one, 107.6 ASSD, 111.7 with bigrams (GPT-2 large)",
    "calls": "486.0, 434.1 and 422.0 for 95 % of 512 tokens: 1, 0.89 and 0.87",
    "tokens per round": "2.24 ASSD, 1.15 with bigrams",
    "entropy": "7.65, 7.64 and 7.64, of 512 tokens",
    "seconds": "18.2, 16.5 and 16.8 for 512 tokens",
}


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Train the network and fill the same texts in four ways; some five minutes a seed.

    Args:
        out: folder of result.json, the pictures, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of weights, batches, texts and blanks.
        workers: processes.
        quick: a smaller network on the embedded samples instead, to see that it runs.
    """
    check_run(archives, [package for package, _, _ in SOURCES.values()], seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    source = None if archives is None else str(archives)
    found = run_seeds(trial, {"archives": source, **settings}, out / ".trials", seeds=seeds, workers=workers)
    gaps = {name: {what: _gaps(found, name, what) for what in ("judge", "network")} for name in SOURCES}
    draw_infilling(found[0], out / "infilling.png")
    draw_calls(found, {name: gap["judge"] for name, gap in gaps.items()}, out / "calls.png")
    write_result(
        out,
        system="assd",
        sentence=_sentence(found, gaps),
        settings={**settings, "k": K, "characters": LENGTH, "given": GIVEN, "ngrams": LONGEST, "mask_rates": RATES, "texts": list(SOURCES) if archives else "embedded samples"},
        seeds=list(range(seeds)),
        figures=[figure for name in SOURCES for figure in _figures(found, name)],
        pictures=[
            Picture("infilling.png", "What ASSD (k = 5) wrote into blanks of held-out texts, first seed, not chosen: with blanks, filled, and as they were. Black was given; the darker, the earlier written. ↵ ends a line, ⇥ is four spaces."),
            Picture("calls.png", "Left: how much less likely texts are for the n-gram model than those of sequential sampling, with 95 % intervals. "
                    "Right: calls of the network per token, by guesses a round."),
        ],
        ledger=sum((tl.Ledger(**one["ledger"]) for one in found), tl.Ledger()),
        details={
            "less likely than one by one, bits per character, and the interval": gaps,
            "shown": {name: found[0][name]["shown"] for name in SOURCES},
            "calls per token, by guesses a round": {name: [one[name]["by k"] for one in found] for name in SOURCES},
            "characters of each text learnt": found[0]["size"],
            "loss at the end, nats per blank": [one["loss"] for one in found],
        },
    )  # fmt: skip


def _figures(found: list[dict[str, Any]], name: str) -> list[Figure]:
    def each(what: Any) -> dict[str, list[float]]:
        return {method: [float(what(one[name]["filled"][method])) for one in found] for method in METHODS}

    def with_real(what: Any) -> dict[str, list[float]]:
        return each(what) | {"real text": [float(what(one[name]["real"])) for one in found]}

    blanks = LENGTH - GIVEN
    return [
        Figure(f"{name}: perplexity for the n-gram model", with_real(lambda m: 2 ** np.mean(m["judge"])), PAPER["perplexity"], "per character"),
        Figure(f"{name}: bits for the network itself", with_real(lambda m: np.mean(m["network"])), "", "per blank"),
        Figure(f"{name}: entropy of the characters of a text", with_real(lambda m: np.mean(m["entropy"])), PAPER["entropy"], "bits"),
        Figure(f"{name}: calls of the network", each(lambda m: np.mean(m["calls"]) / blanks), PAPER["calls"], "per token"),
        Figure(f"{name}: tokens a round", each(lambda m: blanks * len(m["rounds"]) / sum(m["rounds"])), PAPER["tokens per round"]),
        Figure(f"{name}: time", each(lambda m: m["seconds"]), PAPER["seconds"], "CPU seconds a text"),
        Figure(f"{name}: most calls for a text", each(lambda m: max(m["calls"]) / blanks), "at most 1", "per token"),
    ]  # fmt: skip


def _gaps(found: list[dict[str, Any]], name: str, what: str) -> dict[str, list[float]]:
    """By method: bits more than sequential sampling of the same texts, mean over all seeds' texts, and its 95 % interval."""
    gaps = {}
    for method in [method for method in METHODS if method != "one by one"]:
        more, base = (np.concatenate([one[name]["filled"][m][what] for one in found]) for m in (method, "one by one"))
        often = resample(len(more), 4000, np.random.default_rng(0))
        mean = float((more - base).mean())
        gaps[method] = [mean, *basic_interval(mean, often @ (more - base) / len(more))]
    return gaps


def _sentence(found: list[dict[str, Any]], gaps: dict[str, Any]) -> str:
    def mean(what: Any) -> float:
        return float(np.mean([what(one[name]["filled"]) for one in found for name in SOURCES]))

    def gap(name: str, method: str, what: str = "judge") -> str:
        value, low, high = gaps[name][what][method]
        return f"{value:+.3f} ({low:+.3f} … {high:+.3f})"

    blanks = LENGTH - GIVEN
    rate = {m: mean(lambda filled, m=m: np.mean(filled[m]["calls"]) / blanks) for m in METHODS}
    rounds = {m: mean(lambda f, m=m: blanks * len(f[m]["rounds"]) / sum(f[m]["rounds"])) for m in METHODS}
    most = (
        max(
            max(one[name]["filled"][m]["calls"])
            for one in found
            for name in SOURCES
            for m in METHODS
            if m[:4] == "ASSD"
        )
        / blanks
    )
    seconds = {m: mean(lambda filled, m=m: filled[m]["seconds"]) for m in METHODS}
    outside = [
        f"{method} in {name}"
        for name in SOURCES
        for method in ("ASSD", "ASSD, bigrams")
        if not gaps[name]["judge"][method][1] <= 0 <= gaps[name]["judge"][method][2]
    ]
    told = "All intervals of ASSD hold 0" if not outside else f"Outside its interval is {' and '.join(outside)}"
    return (
        f"With {GIVEN} of {LENGTH} characters given, ASSD (k = {K}) takes {rate['ASSD']:.2f} calls of the network per character and "
        f"writes {rounds['ASSD']:.2f} a round; with bigrams {rate['ASSD, bigrams']:.2f} and {rounds['ASSD, bigrams']:.2f}. The most that a "
        f"text took is {most:.2f} calls per character. The bits per character that an independent n-gram model needs more than for sequential "
        f"sampling of the same texts, with 95 % intervals: "
        + "; ".join(
            f"{name}, ASSD {gap(name, 'ASSD')}, with bigrams {gap(name, 'ASSD, bigrams')}, all at once {gap(name, 'at once')}"
            for name in SOURCES
        )
        + f". {told}. For the network itself ASSD's texts differ from sequential ones by "
        + " and ".join(f"{gap(name, 'ASSD', 'network')} bits per blank in {name}" for name in SOURCES)
        + f", those filled at once by {gaps['English']['network']['at once'][0]:+.1f} and {gaps['Python']['network']['at once'][0]:+.1f}. A text took {seconds['one by one'] * 1e3:.0f} ms of CPU time one by one, {seconds['ASSD'] * 1e3:.0f} with ASSD and "
        f"{seconds['ASSD, bigrams'] * 1e3:.0f} with bigrams: a call for several tokens costs more than one for one, and drawing costs too. "
        f"That the distribution is the same is shown by the tests, which enumerate it; this shows what it saves. The network is small, "
        f"learnt for some minutes and writes poor text; neither the paper's network and texts nor its benchmarks of code and stories "
        f"were tried."
    )
