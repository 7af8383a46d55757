"""M³: one model for few and for many visual tokens, against models trained for one number of them.

pip download --no-deps scikit-learn==1.9.1      # its wheel holds 1,797 digits of handwriting, 8 x 8
tokenloom evidence matryoshka-m3 -- --archives FOLDER
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..core.errors import require
from .digit_grid import DIGITS
from .packages import check_run
from .result import Figure, Picture, run_seeds, write_result
from .token_budgets import FULL, MIX, QUICK, budget_trial, means, spread

__all__ = ["run"]

TRAININGS = ["all tokens", "nested", "sampled"]
COLOURS = {"all tokens": "#4c4c4c", "nested": "#0a6fb5", "sampled": "#d1860a"}
LABELS = {
    "all tokens": "all tokens",
    "nested": "nested",
    "sampled": "sampled, twice the steps",
}


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Train in three ways and ask with 1, 4 and 16 tokens; some eight minutes a seed.

    Args:
        out: folder of result.json, the picture, and the finished trials and trained models in .trials.
        archives: folder of the package; needed unless quick.
        seeds: of weights, pictures and questions.
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
    _draw(found, out / "scales.png")
    scales = list(found[0]["nested"]["fine"])
    write_result(
        out,
        system="matryoshka-m3",
        sentence=_sentence(found),
        settings={**settings, "questions": MIX, "sampled": "twice the steps"},
        seeds=list(range(seeds)),
        figures=[
            *(
                Figure(f"right answers to {kind} questions, {m} of {scales[-1]} tokens",
                       {name: [one[name][kind][m] for one in found] for name in TRAININGS}, paper, "share of questions")
                for kind, paper in (("coarse", "9 of 576 tokens do about as well as all on COCO-style sets"),
                                    ("fine", "documents and OCR need all tokens"))
                for m in scales
            ),
            *(
                Figure(what, {name: [one[name]["oracle"][k] for one in found] for name in TRAININGS},
                       "far fewer tokens at a higher accuracy than all of them", unit)
                for k, what, unit in ((0, "right at some number of tokens", "share of questions"),
                                      (1, "fewest tokens that give the right answer", "mean over questions"))
            ),
            Figure("visual tokens read in training", {name: [one[name]["read"] for one in found] for name in TRAININGS},
                   "766 a picture nested, 576 otherwise", "for each picture and step of the first"),
        ],
        pictures=[Picture("scales.png", "Right answers by number of visual tokens, for three ways of training; mean and deviation over seeds.")],
        ledger=tl.Ledger(),
        details={"trials": found},
    )  # fmt: skip


def _sentence(found: list[dict[str, Any]]) -> str:
    some, whole = list(means(found, "nested", "fine"))[-2:]

    def at(kind: str, m: int) -> str:
        fixed, nested, sampled = (f"{means(found, name, kind)[m]:.0%}" for name in TRAININGS)
        return f"{nested} nested, {fixed} on all tokens alone, {sampled} on drawn numbers"

    each = ", ".join(f"{one['nested']['fine'][str(whole)]:.0%}" for one in found)
    fewest = float(np.mean([one["nested"]["oracle"][1] for one in found]))
    return (
        f"With {some} of {whole} tokens coarse questions are answered right in {at('coarse', some)}; fine ones in "
        f"{at('fine', some)}. With all tokens fine questions are right in {at('fine', whole)}; the seeds of the "
        f"nested training gave {each}. Had one known which number is "
        f"enough, {fewest:.1f} tokens a question would do for the nested model. With {some} tokens the fine "
        "question is bounded, for each is a mean of several digits; one token can still tell the halves apart, for it is a mean "
        "of what the projector made of each patch and its place. Drawn numbers had twice the steps. The encoder is a linear "
        "patch embedding and the questions are two; what real pictures need is not shown."
    )


def _draw(found: list[dict[str, Any]], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, kind, title in zip(
        axes, ("coarse", "fine"), ("which half has more ink", "which digit is at row r, column c")
    ):
        for name in TRAININGS:
            values = means(found, name, kind)
            axis.errorbar(
                range(len(values)), list(values.values()), spread(found, name, kind),
                marker="o", capsize=3, color=COLOURS[name], label=LABELS[name],
            )  # fmt: skip
        axis.set_xticks(range(len(values)), list(map(str, values)))
        axis.set(xlabel="visual tokens", title=title, ylim=(0, 1.03))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("right answers, share")
    axes[1].legend(frameon=False, fontsize=8, title="trained on", title_fontsize=8, loc="upper left")
    figure.savefig(path, dpi=120)
