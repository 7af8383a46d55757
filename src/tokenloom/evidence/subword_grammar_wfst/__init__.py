"""Subword grammars of Tamil and Kannada, tried on interface strings: coverage of unseen forms, and noisy phone strings.

apt-get download libreoffice-l10n-ta libreoffice-l10n-kn    # of Debian 12
pip download --no-deps tamilmorph==0.93
tokenloom evidence subword-grammar-wfst -- --archives FOLDER

There are no recordings: what is recognised are synthetic phone strings, changed by a seeded channel. The grammars were
written with the embedded samples in sight; nothing of these is tested.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.errors import require
from ...tokenize.text.subword_grammar_wfst import STEPS
from ..packages import check_run
from ..result import Figure, Picture, run_trials, write_result
from .sources import MORPHOLOGY, TEXTS
from .trial import NOISE, OWN, SYSTEMS, trial

__all__ = ["run", "trial"]

FULL: dict[str, Any] = {"held_out": 0.2, "pieces": 1000, "spoken": 150}
QUICK: dict[str, Any] = {"held_out": 0.2, "pieces": 50, "spoken": 6}


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Weigh the grammars, cut held-out strings, and recognise them from noisy phones; some ten minutes on two cores.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of what is held out, and of the noise.
        workers: processes.
        quick: the small embedded samples instead, to see that it runs.
    """
    check_run(
        archives,
        [MORPHOLOGY, *(package for package, _, _ in TEXTS.values())],
        seeds=seeds,
        workers=workers,
        quick=quick,
    )
    settings = QUICK if quick else FULL
    source = None if archives is None else str(archives)
    runs = {
        f"{language}-{seed}": {"archives": source, "language": language, "seed": seed, **settings}
        for seed in range(seeds)
        for language in TEXTS
    }
    results = run_trials(trial, runs, out / ".trials", workers=workers)
    found = {language: [results[f"{language}-{seed}"] for seed in range(seeds)] for language in TEXTS}
    _draw(found, out / "coverage.png")
    figures = []
    for language, trials in found.items():
        grammars = list(trials[0]["steps"])
        for what, key in (("unseen forms", "steps"), ("unseen forms with a letter changed", "changed")):
            figures += [
                Figure(
                    f"{language}, {what}: by {step}",
                    {g: [one[key][g][step] for one in trials] for g in grammars},
                    "",
                    "share of types",
                )
                for step in STEPS
            ]
        for name, key, unit in (
            ("pieces per held-out word", "pieces", ""),
            ("held-out forms outside equally many units", "outside", "share of types"),
            ("synthetic phones, no audio: word error rate", "wer", ""),
            ("synthetic phones, no audio: errors in seen words", "seen", "share of reference words"),
            ("synthetic phones, no audio: errors in unseen words", "unseen", "share of reference words"),
        ):  # fmt: skip
            paper = "Tamil −12.39, Kannada −13.56 points of WER against words, with recordings" if key == "wer" else ""
            figures.append(
                Figure(f"{language}, {name}", {s: [one[key][s] for one in trials] for s in trials[0][key]}, paper, unit)
            )
    write_result(
        out,
        system="subword-grammar-wfst",
        sentence=_sentence(found),
        settings={**settings, "noise": NOISE, "texts": [p.name for p, _, _ in TEXTS.values()] if archives else "embedded samples"},
        seeds=list(range(seeds)),
        figures=figures,
        pictures=[Picture("coverage.png", "How unseen word forms are cut (left); word errors on synthetic phone strings (right).")],
        ledger=tl.Ledger(bytes=sum(one["bytes"] for trials in found.values() for one in trials)),
        details=found,
    )  # fmt: skip


def _mean(trials: Sequence[dict[str, Any]], *keys: str) -> float:
    values: list[Any] = list(trials)
    for key in keys:
        values = [one[key] for one in values]
    return float(np.mean(values))


def _sentence(found: dict[str, list[dict[str, Any]]]) -> str:
    parts = []
    for language, trials in found.items():
        covered = {name: sum(_mean(trials, "steps", name, step) for step in STEPS[:2]) for name in trials[0]["steps"]}
        name = list(covered)[-1]
        wrong = sum(_mean(trials, "changed", name, step) for step in STEPS[:2])
        outside = {system: _mean(trials, "outside", system) for system in trials[0]["outside"]}
        wer = {system: _mean(trials, "wer", system) for system in SYSTEMS}
        unseen = {system: _mean(trials, "unseen", system) for system in SYSTEMS}
        parts.append(
            f"{language.capitalize()}: of word forms that the training strings lack, the grammar makes "
            + " and ".join(f"{share:.0%} ({one})" for one, share in covered.items())
            + f", and {wrong:.0%} of the same forms with a random letter changed; affixes alone cut another "
            f"{_mean(trials, 'steps', name, 'affixes'):.0%}. With {_mean(trials, 'units'):,.0f} units, "
            f"{outside[OWN]:.0%} of held-out forms need a unit that is not among them, "
            f"{outside['Unigram units']:.0%} with Unigram over aksharas, {outside['BPE units']:.0%} with BPE, "
            f"{outside['closed word list']:.0%} with the most frequent words. Word error rate on synthetic phone strings: "
            + ", ".join(f"{value:.1%} {system}" for system, value in wer.items())
            + "; of unseen words wrong: "
            + ", ".join(f"{value:.0%} {system}" for system, value in unseen.items())
            + "."
        )  # fmt: skip
    best = {language: min(SYSTEMS[1:], key=lambda one: _mean(trials, "wer", one)) for language, trials in found.items()}
    return (
        " ".join(parts)
        + f" Lowest at an equal number of units: {' and '.join(f'{one} ({language})' for language, one in best.items())}. No audio "
        "and no acoustic model: the phones come from rules, the decoder knows the channel, so this tests the graph, not speech; "
        "the strings are short interface texts, and all unseen words are wrong for a closed list by construction. What the "
        "letter-changed forms show is an upper bound of what the grammar lets in wrongly: some of them are words."
    )


def _draw(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    rows = [(language, name) for language, trials in found.items() for name in trials[0]["steps"]]
    begin = np.zeros(len(rows))
    for step, colour in zip(STEPS, ("#0a6fb5", "#7fb2d9", "#d1860a", "#e8c98f", "#9a9a9a")):
        share = np.array([_mean(found[language], "steps", name, step) for language, name in rows])
        left.barh(range(len(rows)), share, left=begin, color=colour, label=step)
        begin += share
    left.set_yticks(range(len(rows)), [f"{language.capitalize()}\n{name}" for language, name in rows], fontsize=8)
    left.invert_yaxis()
    left.set(xlim=(0, 1), xlabel="unseen forms, share cut by each step")
    left.legend(
        frameon=False, fontsize=8, ncols=5, loc="lower center", bbox_to_anchor=(0.4, 1), handlelength=1, columnspacing=1
    )
    colours = ("#4c4c4c", "#d1860a", "#2a8f4c", "#7fb2d9", "#0a6fb5")
    places = np.array([0, 1, 2, 3.5, 4.5, 5.5])
    groups = [(language, key) for language in found for key in ("wer", "seen", "unseen")]
    for k, (system, colour) in enumerate(zip(SYSTEMS, colours)):
        values = np.array([[one[key][system] for one in found[language]] for language, key in groups])
        spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
        right.bar(places + (k - 2) * 0.17, values.mean(1), 0.16, yerr=spread, color=colour, label=system)
    named = {"wer": "WER", "seen": "seen\nwords", "unseen": "unseen\nwords"}
    right.set_xticks(places, [f"{named[key]}\n{language.capitalize()}" for language, key in groups], fontsize=8)
    right.set(ylabel="word errors, synthetic phones, no audio", ylim=(0, None))
    right.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
