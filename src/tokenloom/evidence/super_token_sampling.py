"""Super token sampling: a small backbone with and without it, its speed, and its groups as superpixels of photographs.

pip download --no-deps scikit-image==0.26.0 scikit-learn==1.9.1
tokenloom evidence super-token-sampling -- --archives FOLDER

The backbones learn scikit-learn's digits, enlarged to 32 pixels, so that the first stage has 64 places; 397 digits of other
writers are asked. Superpixels are judged by the strongest twentieth of a photograph's edges, and by how much of its colour the
means of the groups explain. Nothing here was chosen by what it gave.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import tokenloom as tl

from ..core.errors import require
from ..models.stvit import STViT, STViTBlock
from ..models.super_token_attention import SuperTokenAttention
from ..reduce.super_token_sampling import SuperTokenSampling
from .digit_grid import read_digits
from .packages import check_run
from .photographs import PHOTOGRAPHS, SHOWN, photographs, square
from .result import Figure, Picture, run_trials, write_result
from .superpixels import borders, lab, score, slic, strong_edges

__all__ = ["run", "trial"]

FULL: dict[str, Any] = {"steps": 240, "side": 224, "cell": 14}
QUICK: dict[str, Any] = {"steps": 6, "side": 56, "cell": 14}
ATTENTIONS = {"super tokens": 2, "all places": 1, "no attention": 1}  # side of the first stage's cells
COMPACTNESS = 10  # SLIC's own, of place beside colour


def run(
    out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False,
    progress: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """Write result.json, a chart and, of real photographs, their superpixels.

    Args:
        archives: folder with the packages' archives; generated digits and noise without.
        seeds: of initial weights and batches.
    Raises: CorpusError: an archive is not there. InvalidInput: none named, unless quick.
    """
    check_run(archives, PHOTOGRAPHS, seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    common = {**settings, "archives": None if archives is None else str(archives)}
    runs = {"groups": {**common, "what": "groups", "seed": 0}, "speed": {**common, "what": "speed", "seed": 0}}
    runs |= {f"seed-{seed}": {**common, "what": "learning", "seed": seed} for seed in range(seeds)}
    found = run_trials(trial, runs, out / ".trials", workers=workers, progress=progress)
    groups, speed, learned = found.pop("groups"), found.pop("speed"), list(found.values())
    accuracy = {name: [one[name] for one in learned] for name in ATTENTIONS}
    figures = [
        Figure("digits of other writers named rightly", accuracy, paper="ImageNet: STViT-S 83.6%; no backbone with attention among all places in its place"),
        Figure("edges of photographs within a pixel of a border between groups", {n: [v["recall"]] for n, v in groups.items()}),
        Figure("pixels within a pixel of such a border", {n: [v["border"]] for n, v in groups.items()}),
        Figure("colour explained by the means of groups", {n: [v["explained"]] for n, v in groups.items()}),
        Figure("attention over a map of 56 x 56 x 64", {n: [v] for n, v in speed.items()}, unit="CPU ms"),
    ]  # fmt: skip
    pictures = [Picture("backbone-and-superpixels.png", "Left: digits named rightly, three seeds. Right: edges found and colour explained, mean of the photographs.")]  # fmt: skip
    _draw(accuracy, groups, out / "backbone-and-superpixels.png")
    if archives is not None:
        _show(archives, settings, out / "superpixels.png")
        pictures.append(Picture("superpixels.png", "Borders of 256 groups: the grid that all begin with, super tokens of three iterations, SLIC."))  # fmt: skip
    write_result(
        out, system="super-token-sampling", sentence=_sentence(accuracy, groups, speed), settings=settings,
        seeds=list(range(seeds)), figures=figures, pictures=pictures,
        ledger=tl.Ledger(forward_passes=seeds * len(ATTENTIONS) * (settings["steps"] + 1)),
    )  # fmt: skip


def trial(what: str, archives: str | None, seed: int, steps: int, side: int, cell: int) -> dict[str, Any]:
    """One part of the experiment: what backbones learn, how fast attention is, or how good superpixels are."""
    if what == "learning":
        return {name: _learned(name, archives, seed, steps) for name in ATTENTIONS}
    if what == "speed":
        x = torch.randn(1, 64, 56, 56, generator=torch.Generator().manual_seed(0))
        return {name: _milliseconds(SuperTokenAttention(64, 1, (c, c)), x) for name, c in (("super tokens, 8 x 8", 8), ("all places", 1))}  # fmt: skip
    scores: dict[str, list[dict[str, float]]] = {}
    for picture in _pictures(archives, side).values():
        edges, lab_HW3 = strong_edges(picture), lab(picture)
        for name, group_HW in _groups(picture, cell).items():
            scores.setdefault(name, []).append(score(group_HW, edges, lab_HW3))
    return {
        name: {key: float(np.mean([one[key] for one in found])) for key in found[0]} for name, found in scores.items()
    }


class _Nothing(torch.nn.Module):
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x_BCHW)


def _learned(name: str, archives: str | None, seed: int, steps: int) -> float:
    """Train a backbone; how many digits it names rightly."""
    taught, asked = read_digits(None if archives is None else Path(archives))
    generator, cell = torch.Generator().manual_seed(seed), ATTENTIONS[name]
    model = STViT(
        widths=(16, 32), depths=(2, 1), heads=(1, 2), cells=(cell, 1), layer_scales=(None, None), projection=64, classes=10,
        channels=1, generator=generator,
    )  # fmt: skip
    for block in model.modules():
        if name == "no attention" and isinstance(block, STViTBlock):
            block.attention = _Nothing()  # type: ignore[assignment]
    x, labels = _enlarged(taught.ink_SHW), torch.from_numpy(taught.labels_S)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(x), (32,), generator=generator)
        loss = F.cross_entropy(model(x[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.inference_mode():
        named = model(_enlarged(asked.ink_SHW)).argmax(1)
    return float((named == torch.from_numpy(asked.labels_S)).float().mean())


def _enlarged(ink_SHW: np.ndarray) -> torch.Tensor:
    return F.interpolate(2 * torch.from_numpy(ink_SHW)[:, None] - 0.6, scale_factor=4, mode="bilinear")


def _milliseconds(attend: torch.nn.Module, x: torch.Tensor) -> float:
    times = []
    with torch.inference_mode():
        for _ in range(7):
            start = time.process_time()
            attend(x)
            times.append(time.process_time() - start)
    return 1000 * float(np.median(times))


def _pictures(archives: str | Path | None, side: int) -> dict[str, np.ndarray]:
    if archives is None:
        blocks = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        return {"blocks": np.kron(blocks, np.ones((13, 13, 1), np.uint8))[:side, :side]}
    return {name: square(picture, side) for name, picture in photographs(archives).items()}


def _groups(picture: np.ndarray, cell: int) -> dict[str, np.ndarray]:
    """Groups of pixels by each method, int (H, W); colour and place as in SLIC, (L, a, b, 10 x / S, 10 y / S)."""
    height, width = picture.shape[:2]
    place = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), 2) * COMPACTNESS / cell
    raw_ND = torch.from_numpy(np.concatenate([lab(picture), place], 2).reshape(-1, 5)).float()
    centred_ND = raw_ND - raw_ND.mean(0)
    # On a sphere dot products order like distances, nearly so if it is large.
    squares_N1 = centred_ND.square().sum(1, keepdim=True)
    sphere_ND = torch.cat([centred_ND, (9 * squares_N1.max() - squares_N1).sqrt()], 1)
    grid = (height, width)

    def sampled(x_ND: torch.Tensor, iterations: int) -> np.ndarray:
        found = SuperTokenSampling((cell, cell), iterations, mask_border=True, hard=True)(x_ND[None], grid=grid)
        assert found.target_BNK is not None
        return found.target_BNK.view(grid).numpy()

    near = SuperTokenSampling((cell, cell)).super_tokens(raw_ND[None], grid=grid).association.target_BNK
    assert near is not None
    return {
        "grid": (np.arange(height) // cell)[:, None] * -(-width // cell) + np.arange(width) // cell,
        "super tokens, raw": sampled(raw_ND, 3),
        "super tokens, 1 iteration": sampled(sphere_ND, 1),
        "super tokens, 3": sampled(sphere_ND, 3),
        "super tokens, 5": sampled(sphere_ND, 5),
        "SLIC, 5": slic(raw_ND, near[0]).view(grid).numpy(),
    }


def _sentence(accuracy: Mapping[str, list[float]], groups: Mapping[str, Any], speed: Mapping[str, float]) -> str:
    rate = {name: f"{np.mean(values):.1%}" for name, values in accuracy.items()}
    fast, slow = speed.values()
    gain = np.mean(accuracy["all places"]) - np.mean(accuracy["no attention"])
    needed = "these digits need no attention" if gain < 0.01 else f"attention is worth {gain:.1%}"
    told = {
        name: f"{v['recall']:.0%} ({v['border']:.0%} of all pixels; {v['explained']:.1%})" for name, v in groups.items()
    }
    return (
        f"A backbone of two stages names {rate['super tokens']} of the digits with super tokens of four places in the first, "
        f"{rate['all places']} with attention among all places, and {rate['no attention']} with none: {needed}, and "
        f"ImageNet was not tried. Over 56 x 56 places the attention takes {fast:.1f} ms instead of "
        f"{slow:.0f} on one core. As superpixels, the share of strong edges within a pixel of a border, and in brackets of all "
        f"pixels, and the colour explained: {told['grid']} for the grid, {told['super tokens, 3']} for three iterations, "
        f"{told['super tokens, 5']} for five, {told['SLIC, 5']} for SLIC. Features lie on a sphere for it; raw colours and places, "
        f"for which dot products are no measure of likeness, give {told['super tokens, raw']}. No borders drawn by people were "
        "there to compare with."
    )


def _draw(accuracy: Mapping[str, list[float]], groups: Mapping[str, Any], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9.5, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))
    values = np.array(list(accuracy.values()))
    spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
    left.errorbar(range(len(values)), values.mean(1), spread, fmt="o", capsize=4, color="#0a6fb5")
    left.set_xlim(-0.5, len(values) - 0.5)
    left.set_xticks(range(len(values)), [name.replace(" ", "\n") for name in accuracy], fontsize=8)
    left.set(ylabel="digits named rightly", ylim=(None, 1))
    for offset, what, colour, label in ((-0.28, "recall", "#0a6fb5", "edges at a border"), (0, "border", "#a8a8a8", "all pixels at a border"), (0.28, "explained", "#2a8f4c", "colour explained")):  # fmt: skip
        right.bar(
            np.arange(len(groups)) + offset, [one[what] for one in groups.values()], 0.27, color=colour, label=label
        )
    right.set_xticks(range(len(groups)), [name.replace("tokens, ", "tokens,\n") for name in groups], fontsize=8)
    right.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _show(archives: Path, settings: Mapping[str, Any], path: Path) -> None:
    """Three photographs with the borders of their groups."""
    pictures, names = _pictures(archives, settings["side"]), ("grid", "super tokens, 3", "SLIC, 5")
    figure = require("matplotlib.figure", "plot").Figure(figsize=(8.4, 8.6), layout="constrained")
    axes = figure.subplots(len(SHOWN), len(names))
    for row, shown in enumerate(SHOWN):
        groups = _groups(pictures[shown], settings["cell"])
        for column, name in enumerate(names):
            at = borders(groups[name])
            axes[row, column].imshow(np.where(at[..., None], np.array([255, 235, 60], np.uint8), pictures[shown]))
            axes[row, column].set_axis_off()
            axes[0, column].set_title(name, fontsize=9)
    figure.savefig(path, dpi=110)
