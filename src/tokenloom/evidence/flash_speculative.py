"""FLASH on a captioner that is trained here: passes, arithmetic and seconds of three drafters of one width.

tokenloom evidence flash-speculative

Pictures and captions are made, and nothing is downloaded. Steps and learning rates were chosen on a captioner of seed 0 and on
pictures that are in no experiment.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ..core.draft_tree import DraftTree
from ..core.errors import require
from ..core.ledger import Ledger
from ..measure.scenes import LONGEST, caption_accuracy, scenes, train_captioner
from ..models.scene_captioner import SCENE_WORDS, captioner_model
from ..predict.decode.flash_speculative import FLASH, FlashHead, OwnAnswers, flash_tree, own_answers, train_flash
from ..predict.decode.generating import Generated, generate
from .packages import check_run
from .result import Figure, Picture, run_seeds, write_result

__all__ = ["run", "trial"]

DEPTH = 4
FULL: dict[str, Any] = {
    "width": 128,
    "layers": 4,
    "captioner_steps": 300,
    "answers": 1600,
    "head_steps": 600,
    "tested": 60,
    "counted": 10,
}
QUICK: dict[str, Any] = {
    "width": 16,
    "layers": 1,
    "captioner_steps": 3,
    "answers": 8,
    "head_steps": 3,
    "tested": 1,
    "counted": 1,
}
# Drafter → futures, latents.
HEADS: dict[str, tuple[int, int | None]] = {
    "one future, four passes": (1, None),
    "FLASH, all 64 visual tokens": (DEPTH, None),
    "FLASH, 8 latents": (DEPTH, 8),
}
TREE = "FLASH, 8 latents, tree"
WAYS = [*HEADS, TREE]


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 1, quick: bool = False) -> None:
    """Train a captioner and three drafters, and caption other pictures; some four minutes a seed.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        archives: not used.
        seeds: of the captioner, the drafters and the pictures.
        workers: processes; with more than one they slow each other down, and seconds mean little.
        quick: models that have hardly been trained, to see that it runs.
    """
    check_run(None, [], seeds=seeds, workers=workers, quick=True)  # nothing is needed
    settings = QUICK if quick else FULL
    found = run_seeds(trial, settings, out / ".trials", seeds=seeds, workers=workers)
    _draw(found, out / "flash.png")

    def figure(
        name: str, value: Callable[[dict[str, Any]], float], ways: list[str], paper: str = "", unit: str = ""
    ) -> Figure:
        return Figure(name, {way: [value(one["ways"][way]) for one in found] for way in ways}, paper, unit)

    write_result(
        out,
        system="flash-speculative",
        sentence=_sentence(found),
        settings={**settings, "heads": {name: list(kind) for name, kind in HEADS.items()}, "depth": DEPTH, "float": 32, "threads": 1},
        seeds=list(range(seeds)),
        figures=[
            Figure("ids of greedy captions that are right", {"captioner": [one["accuracy"] for one in found]}, "", "share"),
            figure("tokens for each pass of the captioner", _rate, WAYS, "", "tokens"),
            figure("the same, sampled at temperature 1", lambda way: way["sampled"], WAYS, "", "tokens"),
            figure("drafter's arithmetic for each drafted token", lambda way: way["flops"], list(HEADS), "", "floating-point operations"),
            figure("passes of the captioner", lambda way: way["passes"], ["alone", *WAYS], "", "for each caption"),
            figure("passes of the drafter", lambda way: way["drafter_passes"], WAYS, "", "for each caption"),
            figure("seconds of the drafter", lambda way: way["drafter_seconds"], WAYS, "", "for each caption"),
            figure("seconds in all", lambda way: way["seconds"], ["alone", *WAYS],
                   "2.68 and 2.55 times the speed with 7B and 13B models on GPUs, at best", "for each caption"),
            figure("captions that are those of the captioner alone", lambda way: way["same"], WAYS, "all", "share"),
        ],
        pictures=[Picture("flash.png", "Left: how often a candidate stays, by depth. Middle: arithmetic. Right: seconds of a caption.")],
        ledger=sum((Ledger(**way["ledger"]) for one in found for way in one["ways"].values()), Ledger()),
        details={"trials": found},
    )  # fmt: skip


def trial(
    seed: int, width: int, layers: int, captioner_steps: int, answers: int, head_steps: int, tested: int, counted: int
) -> dict[str, Any]:
    """Accuracy of the captioner; way → means over captions of passes, seconds, tokens; of each depth how often a candidate stays."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model = captioner_model(width=width, layers=layers, seed=seed)
    train_captioner(model, steps=captioner_steps, rng=rng)
    accuracy = caption_accuracy(model, scenes(200 if tested > 10 else 4, rng=rng))
    lessons = _lessons(model, answers, rng)
    test = scenes(tested, rng=rng)
    prompts = [{name: value[i : i + 1] for name, value in test.inputs.items()} for i in range(tested)]
    generate(model, prompts[0], max_new_tokens=4)  # warms up
    alone = [_timed(model, prompt, None) for prompt in prompts]
    found: dict[str, Any] = {"alone": _told(alone, alone)}
    losses = {}
    drafters = {}
    for name, (futures, latents) in HEADS.items():
        head = FlashHead(width=width, heads=4, futures=futures, latents=latents, generator=generator)
        done = train_flash(
            head, model, lessons, steps=head_steps, generator=generator, batch=16, lr=3e-3, warmup=head_steps // 10
        )
        losses[name] = done.losses[-(head_steps // 10 or 1) :].mean(0).tolist()
        drafters[name] = FLASH(head, DraftTree.chain(DEPTH), image_token=SCENE_WORDS["<image>"])
    drafters[TREE] = FLASH(drafters["FLASH, 8 latents"].head, _four_levels(), image_token=SCENE_WORDS["<image>"])
    for name, drafter in drafters.items():
        watched = Watched(drafter)
        found[name] = _told([_timed(model, prompt, watched) for prompt in prompts], alone)
        sampled = [
            generate(model, prompt, drafter, max_new_tokens=LONGEST, temperature=1.0, generator=generator)
            for prompt in prompts
        ]
        found[name]["sampled"] = _mean_rate(sampled)
        counting = Watched(drafter, count=True)
        for prompt in prompts[:counted]:
            generate(model, prompt, counting, max_new_tokens=LONGEST)
        found[name]["flops"] = counting.flops / (DEPTH * counting.drafts)
        found[name]["weights"] = sum(weight.numel() for weight in drafter.head.parameters())
    return {"accuracy": accuracy, "losses": losses, "ways": found}


class Watched:
    """A drafter whose passes, seconds and, if asked for, floating-point operations are counted."""

    needs_hidden, needs_prompt = True, False

    def __init__(self, drafter: FLASH, *, count: bool = False) -> None:
        self.drafter, self.count = drafter, count
        self.seconds, self.flops, self.drafts = 0.0, 0, 0

    def _done(self, work: Callable[..., Any], *given: Any) -> Any:
        start = time.perf_counter()
        if self.count:
            with FlopCounterMode(display=False) as counter:
                made = work(*given)
            self.flops += counter.get_total_flops()
        else:
            made = work(*given)
        self.seconds += time.perf_counter() - start
        return made

    def begin(self, *given: Any) -> None:
        """As the drafter's."""
        self._done(self.drafter.begin, *given)

    def draft(self, *given: Any) -> Any:
        """As the drafter's."""
        self.drafts += 1
        return self._done(self.drafter.draft, *given)

    def learn(self, *given: Any) -> None:
        """As the drafter's."""
        self._done(self.drafter.learn, *given)


def _four_levels() -> DraftTree:
    """The published tree without its fifth level."""
    tree = flash_tree()
    kept = int((tree.depths_N <= DEPTH).sum())
    return DraftTree(tree.parents_N[:kept], tree.ranks_N[:kept])


def _lessons(model: Any, count: int, rng: np.random.Generator) -> list[OwnAnswers]:
    end, image = SCENE_WORDS["<end>"], SCENE_WORDS["<image>"]
    parts = [min(200, count - start) for start in range(0, count, 200)]
    return [own_answers(model, scenes(n, rng=rng).inputs, new=LONGEST, end=end, image_token=image) for n in parts]


def _timed(model: Any, prompt: dict[str, Any], drafter: Watched | None) -> tuple[Generated, float, float, int]:
    """A caption; seconds in all and of the drafter; the drafter's passes."""
    before, start = 0.0 if drafter is None else drafter.seconds, time.perf_counter()
    done = generate(model, prompt, drafter, max_new_tokens=LONGEST)
    seconds = time.perf_counter() - start
    if drafter is None:
        return done, seconds, 0.0, 0
    return done, seconds, drafter.seconds - before, drafter.drafter.ledger.forward_passes


def _mean_rate(captions: list[Generated]) -> float:
    return sum(len(one.ids) for one in captions) / sum(len(one.steps) for one in captions)


def _told(rows: list[Any], alone: list[Any]) -> dict[str, Any]:
    captions = [row[0] for row in rows]
    deep = max((len(one.offered) for one in captions), default=0)
    offered, accepted = (
        [sum(getattr(one, what)[depth] if depth < len(one.offered) else 0 for one in captions) for depth in range(deep)]
        for what in ("offered", "accepted")
    )
    return {
        "rate": _mean_rate(captions),
        "passes": float(np.mean([len(one.steps) for one in captions])),
        "seconds": float(np.mean([row[1] for row in rows])),
        "drafter_seconds": float(np.mean([row[2] for row in rows])),
        "drafter_passes": float(np.mean([row[3] for row in rows])),
        "same": float(np.mean([row[0].ids == right[0].ids for row, right in zip(rows, alone)])),
        "stays": [a / o if o else 0.0 for a, o in zip(accepted, offered)],
        "ledger": sum((one.ledger for one in captions), Ledger()).as_dict(),
    }


def _rate(way: dict[str, Any]) -> float:
    return float(way["rate"])


def _mean(found: list[dict[str, Any]], way: str, what: str) -> float:
    return float(np.mean([one["ways"][way][what] for one in found]))


def _sentence(found: list[dict[str, Any]]) -> str:
    single, whole, pooled = HEADS

    def stays(way: str) -> str:
        return " ".join(f"{value:.2f}" for value in np.mean([one["ways"][way]["stays"] for one in found], axis=0))

    def share(way: str) -> str:
        return f"{np.median([one['ways'][way]['seconds'] / one['ways']['alone']['seconds'] for one in found]):.2f}"

    lost = 1 - _mean(found, pooled, "rate") / _mean(found, whole, "rate")
    parted = 1 - min(_mean(found, way, "same") for way in WAYS)
    told = f"Up to {parted:.1%} of the captions" if parted else "None of the captions"
    return (
        f"On captions of which the captioner gets {np.mean([one['accuracy'] for one in found]):.1%} of the ids right, FLASH with four futures and "
        f"8 latents for 64 visual tokens gives {_mean(found, pooled, 'rate'):.2f} tokens for each pass of the captioner, {_mean(found, whole, 'rate'):.2f} with all visual "
        f"tokens ({lost:.1%} fewer by the latents), and a head with one future that runs four times {_mean(found, single, 'rate'):.2f}. For each "
        f"drafted token it takes {_mean(found, pooled, 'flops') / _mean(found, single, 'flops'):.2f} of the latter's arithmetic ({_mean(found, whole, 'flops') / _mean(found, single, 'flops'):.2f} without latents), and one pass for each "
        f"of the captioner's in place of four; but it has {_mean(found, pooled, 'weights') / _mean(found, single, 'weights'):.1f} times the weights at the same width. Behind candidates that stay the next one stays with frequency {stays(pooled)} from depth 1 on, for one future "
        f"{stays(single)}. With the tree of 23 it is {_mean(found, TREE, 'rate'):.2f} tokens. Seconds of a caption, of those without a drafter: {share(pooled)}, "
        f"{share(whole)} and {share(single)}, with the tree {share(TREE)}, the medians of the seeds on a machine that had other work as well. {told} differ from those of the captioner alone. Captions are from one template, so that most words follow from others; a model of 0.8M weights on one core of a CPU spends its time "
        "on calls and not on arithmetic, so that seconds do not carry over to large models."
    )  # fmt: skip


def _draw(found: list[dict[str, Any]], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    colours = dict(zip(["alone", *WAYS], ("#4c4c4c", "#d1860a", "#7ab8e0", "#0a6fb5", "#2a8f4c")))
    for way in WAYS:
        values = np.array([one["ways"][way]["stays"] for one in found])
        spread = values.std(0, ddof=1) if len(values) > 1 else None
        left.errorbar(
            range(1, values.shape[1] + 1), values.mean(0), spread, marker="o", capsize=3, color=colours[way], label=way
        )
    left.set(xlabel="depth", ylabel="a candidate stays", ylim=(0, 1.02))
    left.set_xticks(range(1, DEPTH + 1))
    for axis, what, label, scale, ways in (
        (middle, "flops", "thousand operations for a drafted token", 1e-3, list(HEADS)),
        (right, "seconds", "seconds of a caption", 1.0, ["alone", *WAYS]),
    ):
        for row, way in enumerate(ways):
            each = [one["ways"][way][what] * scale for one in found]
            axis.barh(row, np.mean(each), color=colours[way])
            axis.plot(each, [row] * len(each), ".", color="black", markersize=4)
            if what == "seconds":
                axis.barh(
                    row,
                    _mean(found, way, "drafter_seconds"),
                    color="white",
                    alpha=0.55,
                    hatch="///",
                    edgecolor=colours[way],
                )
        axis.set_yticks(range(len(ways)), [way.replace(", ", ",\n", 1) for way in ways], fontsize=7)
        axis.invert_yaxis()
        axis.set_xlabel(label + (" (hatched: drafter)" if what == "seconds" else ""), fontsize=8)
    figure.legend(*left.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside upper center", ncols=4)
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
