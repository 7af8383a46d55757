"""TransPrune, tried where one knows which patch an answer depends on, and which patches show nothing.

pip download --no-deps scikit-learn==1.9.1      # its wheel holds 1,797 digits of handwriting, 8 x 8
tokenloom evidence transprune -- --archives FOLDER

A small LLaVA answers "which digit is at row r, column c" on grids of handwritten digits: one patch of sixteen matters. Between
its layers patches are dropped. A second
model learns from grids of which half of the cells are blank and never asked about: do transitions tell ink from paper?
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tokenloom as tl

from ..core.errors import require
from ..core.token_map import TokenMap
from ..measure.digit_grid import DigitGrids, DigitGridTask, Digits, Loss, answers, plain_loss
from ..reduce.attaching import attach
from ..reduce.fastv import FastV
from ..reduce.signals import Signal
from ..reduce.sparsevlm import SparseVLM
from ..reduce.transprune import TransPrune
from .digit_grid import DIGITS, LEARNING, read_digits, trained_digit_grid
from .packages import check_run
from .result import Figure, Picture, run_seeds, write_result

__all__ = ["run", "trial"]

FULL: dict[str, Any] = {"side": 4, "steps": LEARNING["steps"], "blank": 1200, "tested": 200, "parts": [8, 4, 2]}
QUICK: dict[str, Any] = {"side": 2, "steps": 40, "blank": 10, "tested": 30, "parts": [4, 2]}
LAYERS = (1, 2)  # of three; the last one has none behind it
PAPER = (
    "LLaVA-1.5-7B, GQA: both 61.4, transitions alone 58.4; all tasks: 100 % of the accuracy at 41 % of the operations"
)


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Train models, and drop their visual tokens in six ways; some four minutes a seed, of which two train the model.

    Args:
        out: folder of result.json, the picture, and the finished trials and trained models in .trials.
        archives: folder of the package; needed unless quick.
        seeds: of models and questions.
        workers: processes.
        quick: generated digits and a smaller grid instead, to see that it runs.
    """
    check_run(archives, [DIGITS], seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    source, cache = None if archives is None else str(archives), str(out / ".trials" / "models")
    found = run_seeds(
        trial, {"archives": source, "cache": cache, **settings}, out / ".trials", seeds=seeds, workers=workers
    )
    cells = settings["side"] ** 2
    _draw(found, [cells // part for part in settings["parts"]], cells, out / "survival.png")
    write_result(
        out,
        system="transprune",
        sentence=_sentence(found, cells),
        settings={**settings, "learnt": dict(LEARNING["mix"]), "asked": "which digit is at a row and a column"},
        seeds=list(range(seeds)),
        figures=[
            Figure(what, {name: [one[what][name] for one in found] for name in found[0][what]},
                   PAPER if what.startswith("right answers of the run") else "",
                   "share of kept tokens" if what.startswith("ink") else "share of questions")
            for what in found[0]
        ],
        pictures=[Picture("survival.png", "Tokens kept after the first of three layers. Bars: half of all tokens kept, of grids with blank cells; dotted: of all tokens.")],
        ledger=tl.Ledger(),
        details={"trials": found},
    )  # fmt: skip


def trial(
    archives: str | None, cache: str, seed: int, side: int, steps: int, blank: int, tested: int, parts: list[int]
) -> dict[str, dict[str, float]]:
    """Train a model, drop tokens after each layer that has one behind it, and look at what is left: figure → method → share."""
    source = None if archives is None else Path(archives)
    model = trained_digit_grid(source, Path(cache), seed, side=side, steps=steps)
    lessons, held_out = read_digits(source)
    rng, n = np.random.default_rng((seed, 2)), side * side
    grids = DigitGridTask(side=side).draw(held_out, tested, rng=rng)
    found: dict[str, dict[str, float]] = {"right answers": {"all tokens": _right(answers(model, grids), grids)}}
    for layer in LAYERS:
        for kept in (n // part for part in parts):
            where = f"{kept} of {n} after layer {layer}"
            for name, reducer in _methods(kept, n, layer, seed).items():
                for positions in ("kept", "compact"):
                    said_B, made = _reduced(model, grids, reducer, positions)
                    right = f"right answers of the run, {where}, {positions} positions"
                    found.setdefault(right, {})[name] = _right(said_B, grids)
                    # The same tokens from the beginning: what is dropped later may have been read before.
                    alone_B = answers(model, grids, made, positions=positions)
                    right = f"right answers from these tokens alone, {where}, {positions} positions"
                    found.setdefault(right, {})[name] = _right(alone_B, grids)
                there_BM = grids.relevant_BN.gather(1, made.positions_BM)
                found.setdefault(f"asked cell kept, {where}", {})[name] = float(there_BM.any(1).float().mean())
    taught = trained_digit_grid(source, Path(cache), seed, name="blank", loss=_blank_loss(lessons, side), mix={"digit": 1.0}, steps=blank, side=side)  # fmt: skip
    grids = _half_blank(held_out, 2 * tested, side, rng)
    for name, one in (("never seen", model), ("seen and never asked about", taught)):
        found[f"right answers, blank cells {name}"] = {"all tokens": _right(answers(one, grids), grids)}
        for layer in LAYERS:
            methods = _methods(n // 2, n, layer, seed)
            methods["transitions as in the paper"] = TransPrune((layer,), (0.5,), (1, 2), 1, "abs", "image")
            ink = found.setdefault(f"ink, {n // 2} of {n} after layer {layer}, blank cells {name}", {})
            ink["all tokens"] = float((grids.digits_BN >= 0).float().mean())
            for method, reducer in methods.items():
                _, made = _reduced(one, grids, reducer, "kept")
                ink[method] = float((grids.digits_BN.gather(1, made.positions_BM) >= 0).float().mean())
    return found


def _half_blank(digits: Digits, batch: int, side: int, rng: np.random.Generator) -> DigitGrids:
    """About half of `batch` grids with half of the cells blank: those that are asked about a cell with ink."""
    grids = DigitGridTask(side=side, blank=0.5).draw(digits, batch, rng=rng)
    asked_B1 = grids.relevant_BN.int().argmax(1, keepdim=True)
    return grids[grids.digits_BN.gather(1, asked_B1)[:, 0] >= 0]


def _blank_loss(digits: Digits, side: int) -> Loss:
    def loss(model: Any, grids: DigitGrids, rng: np.random.Generator) -> torch.Tensor:
        return plain_loss(model, _half_blank(digits, 2 * len(grids), side, rng), rng)

    return loss


@dataclass(frozen=True)
class Random:
    """Any tokens, after one layer."""

    keep: int
    layers: tuple[int, ...]
    generator: torch.Generator

    def needs(self, layer: int) -> Mapping[str, Signal]:
        """Nothing."""
        return {}

    def __call__(self, x_BND: torch.Tensor, *, layer: int, total: int) -> TokenMap:
        """Draw for each item."""
        batch, n, _ = x_BND.shape
        order_BN = torch.rand(batch, n, generator=self.generator).argsort(1)
        return TokenMap.keep(order_BN[:, : self.keep].sort(1).values, of=n)


def _methods(kept: int, n: int, layer: int, seed: int) -> dict[str, Any]:
    layers, ratios = (layer,), (kept / n,)
    return {
        "random": Random(kept, layers, torch.Generator().manual_seed(seed)),
        "FastV": FastV(kept, layer),
        "SparseVLM, none recycled": SparseVLM(layers, (kept,), recycle=False),
        "transitions": TransPrune(layers, ratios, (1, 2), alpha=1),
        "attention of the question": TransPrune(layers, ratios, (1, 2), alpha=0),
        "TransPrune": TransPrune(layers, ratios, (1, 2)),
    }


def _reduced(model: Any, grids: DigitGrids, reducer: Any, positions: Any) -> tuple[torch.Tensor, TokenMap]:
    """What a model with a reducer says, and the tokens that it kept."""
    with attach(model, reducer, positions=positions) as attached:
        said_B = answers(model, grids, block=len(grids))
    return said_B, TokenMap.keep(torch.cat([one.positions_BM for one in attached.maps]), of=attached.of[0])


def _right(said_B: torch.Tensor, grids: DigitGrids) -> float:
    return float((said_B == grids.answers_B).float().mean())


def _sentence(found: list[dict[str, dict[str, float]]], cells: int) -> str:
    def mean(what: str, name: str) -> float:
        return float(np.mean([one[what][name] for one in found]))

    kept, half = f"{cells // 4} of {cells} after layer", cells // 2
    run = [mean(f"right answers of the run, {kept} 1, kept positions", name) for name in ("random", "TransPrune")]
    alone = {
        (name, positions): mean(f"right answers from these tokens alone, {kept} 1, {positions} positions", name)
        for name in ("random", "TransPrune", "FastV")
        for positions in ("kept", "compact")
    }
    survives = {name: mean(f"asked cell kept, {kept} 1", name) for name in found[0][f"asked cell kept, {kept} 1"]}

    def ink(name: str, taught: bool) -> str:
        cells_of = f"{half} of {cells} after layer {{}}, blank cells {'seen and never asked about' if taught else 'never seen'}"
        return " and ".join(f"{mean('ink, ' + cells_of.format(layer), name):.0%}" for layer in LAYERS)

    return (
        f"With {cells // 4} of {cells} visual tokens kept after the first of three layers, the asked cell is among them in "
        f"{survives['TransPrune']:.0%} of questions by TransPrune, {survives['attention of the question']:.0%} by the question's "
        f"attention alone, {survives['transitions']:.0%} by transitions alone, which stand before the question and cannot know "
        f"it, {survives['random']:.0%} at random, {survives['FastV']:.0%} by FastV and "
        f"{survives['SparseVLM, none recycled']:.0%} by SparseVLM, which take the attention of "
        f"layer 1 itself, not of the next. The answers of the run hardly tell them apart ({run[1]:.0%} "
        f"with TransPrune, {run[0]:.0%} at random, {mean('right answers', 'all tokens'):.0%} with all tokens): so small a model has "
        "mostly read the digit in its first layer. Given only the kept tokens from the beginning it is right in "
        f"{alone['TransPrune', 'kept']:.0%}, {alone['FastV', 'kept']:.0%} (FastV) and {alone['random', 'kept']:.0%} (random), with "
        f"compact positions in {alone['TransPrune', 'compact']:.0%}, {alone['FastV', 'compact']:.0%} and "
        f"{alone['random', 'compact']:.0%}. Where half of the cells are blank and the model has learnt that nobody asks about these, "
        f"the half that transitions keep after layers 1 and 2 has ink in {ink('transitions', True)} of the cells "
        f"({ink('random', True)} at random), by attention {ink('attention of the question', True)}, by both "
        f"{ink('TransPrune', True)}: a gain, but within the spread of three seeds. In a model that never saw a blank cell, "
        f"transitions prefer these: {ink('transitions', False)}. They measure change, not use. The paper's models have 32 layers and "
        "hundreds of tokens of a picture; its gain on benchmarks is neither shown nor disproved here."
    )


def _draw(found: list[dict[str, dict[str, float]]], budgets: list[int], cells: int, path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(12, 4), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    names = list(found[0][f"asked cell kept, {budgets[0]} of {cells} after layer 1"])
    colours = dict(zip(names, ("#8c8c8c", "#d1860a", "#2a8f4c", "#b04a9b", "#4fa3d1", "#0a3f7d")))
    titles = ("asked cell kept, {} of {} after layer 1",
              "right answers from these tokens alone, {} of {} after layer 1, kept positions")  # fmt: skip
    for axis, title, label in zip(axes, titles, ("asked cell kept", "right with these tokens alone")):
        for name in names:
            values = np.array([[one[title.format(kept, cells)][name] for one in found] for kept in budgets])
            spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
            axis.errorbar(budgets, values.mean(1), spread, marker="o", capsize=3, color=colours[name], label=name)
        axis.set(
            xlabel=f"visual tokens kept, of {cells}",
            ylabel=f"{label}, share",
            xticks=budgets,
            ylim=(0, 1.02),
        )
    axes[1].axhline(
        float(np.mean([one["right answers"]["all tokens"] for one in found])), color="black", lw=0.8, ls=":"
    )
    for offset, layer in ((-0.2, 1), (0.2, 2)):
        shares = [one[f"ink, {cells // 2} of {cells} after layer {layer}, blank cells seen and never asked about"] for one in found]  # fmt: skip
        methods = [name for name in shares[0] if name != "all tokens"]
        bars = np.array([[one[name] for one in shares] for name in methods])
        spread = bars.std(1, ddof=1) if bars.shape[1] > 1 else None
        axes[2].barh(np.arange(len(bars)) + offset, bars.mean(1), 0.38, xerr=spread, capsize=3, label=f"after layer {layer}",
                     color="#0a6fb5" if layer == 1 else "#9cc5e3")  # fmt: skip
    axes[2].axvline(float(np.mean([one["all tokens"] for one in shares])), color="black", lw=0.8, ls=":")
    axes[2].set_yticks(range(len(bars)), methods, fontsize=8)
    axes[2].set(xlabel="kept tokens that have ink, share", xlim=(0, 1))
    axes[2].invert_yaxis()
    for axis, columns in zip((axes[0], axes[2]), (2, 2)):
        axis.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=columns)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
