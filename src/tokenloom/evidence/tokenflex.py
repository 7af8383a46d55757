"""TokenFLEX: the number of visual tokens drawn at each step of training, against models trained on one number of them.

pip download --no-deps scikit-learn==1.9.1      # its wheel holds 1,797 digits of handwriting, 8 x 8
tokenloom evidence tokenflex -- --archives FOLDER
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..core.errors import require
from .digit_grid import DIGITS
from .packages import check_run
from .result import Figure, Picture, run_seeds, write_result
from .token_budgets import FULL, MIX, QUICK, budget_trial, means

__all__ = ["run"]

TRAININGS = ["some tokens", "all tokens", "sampled"]
PAPER = [
    "trained on 64: 57.5 of 100 with 64 tokens, 56.2 with 256",
    "trained on 256: 53.3 with 64 tokens, 61.1 with 256",
    "TokenFLEX: 59.1 with 64 tokens, 61.5 with 256",
]


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Train in three ways and ask with 1, 4 and 16 tokens; some four minutes a seed.

    Args:
        out: folder of result.json, the picture, and the finished trials and trained models in .trials.
        archives: folder of the package; needed unless quick.
        seeds: of weights, pictures, questions and numbers of tokens.
        workers: processes.
        quick: generated digits and a smaller grid instead, to see that it runs.
    """
    check_run(archives, [DIGITS], seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    source, cache = None if archives is None else str(archives), str(out / ".trials" / "models")
    found = run_seeds(
        budget_trial,
        {"archives": source, "cache": cache, "trainings": TRAININGS, **settings},
        out / ".trials",
        seeds=seeds,
        workers=workers,
    )
    _draw(found, out / "budgets.png")
    scales = list(found[0]["sampled"]["fine"])
    write_result(
        out,
        system="tokenflex",
        sentence=_sentence(found),
        settings={**settings, "questions": MIX, "shares of steps": [0.2, 0.3, 0.5], "sampled": "twice the steps"},
        seeds=list(range(seeds)),
        figures=[
            *(
                Figure(f"right answers to {kind} questions, trained on {name if name != 'sampled' else 'a drawn number'}",
                       {f"{m} of {scales[-1]} tokens": [one[name][kind][m] for one in found] for m in scales},
                       f"mean of eight sets, {text}", "share of questions")
                for name, text in zip(TRAININGS, PAPER)
                for kind in ("fine", "coarse")
            ),
            Figure("visual tokens read in training", {name: [one[name]["read"] for one in found] for name in TRAININGS},
                   "5.6 against 7.8 billion, at the same number of steps", "for each picture and step of the others"),
        ],
        pictures=[Picture("budgets.png", "Right answers, in percent: rows by training, columns by tokens when asked.")],
        ledger=tl.Ledger(),
        details={"trials": found},
    )  # fmt: skip


def _sentence(found: list[dict[str, Any]]) -> str:
    some, whole = list(means(found, "sampled", "fine"))[-2:]

    def both(name: str, m: int) -> str:
        return f"{means(found, name, 'fine')[m]:.0%} and {means(found, name, 'coarse')[m]:.0%}"

    return (
        f"Fine and coarse questions answered right with {some} of {whole} tokens: {both('sampled', some)} after training on "
        f"drawn numbers, {both('all tokens', some)} after training on {whole}, {both('some tokens', some)} on {some}; with "
        f"{whole}: {both('sampled', whole)}, {both('all tokens', whole)}, {both('some tokens', whole)}. Drawn numbers had twice "
        "the steps, half of them with all tokens, for the fine question is learnt late; the paper has equal steps. Projector "
        "and place of pooling are LLaVA's in all, so that trainings alone are compared: the gated projector is not tried here."
    )


def _draw(found: list[dict[str, Any]], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(8, 2.9), layout="constrained")
    for axis, kind, title in zip(
        figure.subplots(1, 2), ("fine", "coarse"), ("which digit is at row r, column c", "which half has more ink")
    ):
        table = np.array([list(means(found, name, kind).values()) for name in TRAININGS])
        axis.imshow(table, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            axis.text(column, row, f"{value:.0%}", ha="center", va="center")
        scales = list(means(found, "sampled", kind))
        axis.set_xticks(range(len(scales)), list(map(str, scales)))
        names = [f"trained on {scales[-2]}", f"trained on {scales[-1]}", "drawn"]
        axis.set_yticks(range(len(names)), names if kind == "fine" else [""] * len(names))
        axis.set(xlabel="visual tokens when asked", title=title)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    figure.savefig(path, dpi=120)
