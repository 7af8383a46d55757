"""SuperBPE, tried in small: bytes per token by the transition point, at three sizes, on texts that were not trained on.

python -m tokenloom.evidence.english FOLDER --out english.txt
python -m tokenloom.evidence.english FOLDER --text austen --out austen.txt
python -m tokenloom.evidence.english FOLDER --text sqlite --out sqlite.txt
tokenloom evidence superbpe -- --text english.txt --held-out austen.txt --held-out sqlite.txt
"""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import tokenloom as tl

from ..core.cuts import O200K_WORDS, cut_all
from ..core.errors import InvalidInput, require
from ..data import sample
from ..data.documents import read_corpus
from ..tokenize.text.bpe import bpe_tokenizer, learn_merges
from ..tokenize.text.superbpe import count_lines
from .result import Figure, Picture, run_seeds, run_trials, write_result

__all__ = ["cost", "run", "trial"]

SHARES = (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95, 1.0)
FULL: dict[str, Any] = {"sizes": [8000, 16000, 32000], "megabytes": 20, "megabytes of the cost": 50}
QUICK: dict[str, Any] = {"sizes": [1000, 2000], "megabytes": 0.2, "megabytes of the cost": 0.2}
SENTENCE = "By the way, I am a fan of the Milky Way."
# What is measured of each tokenizer: its unit, and what the paper and its result files report.
MEASURES = {
    "bytes per token": (
        "held-out text",
        "200k ids, 10 GB: BPE 4.457, a token a word 4.689, t = 0 6.243, .1 6.610, .2 6.628, .3 and .4 6.634, .5 6.618, "
        ".6 6.567, .7 6.478, .8 6.337, .9 6.092",
    ),
    "tokens of several words": ("among the ids", ""),
    "ids for 99 % of the tokens": ("share", "BPE .57, t = .9 .70, t = .4 .90"),
}


def run(
    out: Path,
    *,
    text: Path | None = None,
    held_out: Annotated[list[Path] | None, typer.Option()] = None,
    seeds: int = 3,
    workers: int = 2,
    quick: bool = False,
) -> None:
    """Train at ten transition points, three sizes and on three samples of the text; some ten minutes on two cores.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        text: paragraphs with blank lines between them; each seed draws 20 MB of them, and the measured training 50 MB.
        held_out: texts of another origin, on which tokens are counted.
        seeds: samples of the text.
        workers: processes.
        quick: the embedded samples instead, to see that it runs.
    """
    if seeds < 1 or workers < 1:
        raise InvalidInput(f"{seeds=} and {workers=} must be at least 1")
    if not quick and (text is None or not held_out):
        raise InvalidInput(
            "say what to read: --text FILE --held-out FILE, see tokenloom.evidence.english; or try --quick"
        )
    settings = QUICK if quick else FULL
    sizes, megabytes, heavy = settings.values()
    files = [] if quick else [str(path) for path in (text, *(held_out or ())) if path is not None]
    # With a second worker it runs in a fresh process, whose memory is its own.
    whole = {"files": files, "megabytes": heavy, "size": max(sizes)}
    spent = run_trials(cost, {"cost": whole}, out / ".trials", workers=2)["cost"]
    found = run_seeds(
        trial, {"files": files, "sizes": sizes, "megabytes": megabytes}, out / ".trials", seeds=seeds, workers=workers
    )
    texts = [key for key in found[0][f"{max(sizes)} 1"] if key.startswith("bytes per token of")]
    _draw(found, sizes, out / "transition.png")
    write_result(
        out,
        system="superbpe",
        sentence=_sentence(found, sizes, texts, spent, heavy),
        settings={**settings, "shares": SHARES, "texts": [Path(file).name for file in files] or "embedded samples"},
        seeds=list(range(seeds)),
        figures=[
            *(_figure(found, key, size, *told) for key, told in MEASURES.items() for size in sizes),
            *(_figure(found, key, max(sizes), "held-out text") for key in texts),
            Figure("bytes per word", {"a token a word": [one["bound"] for one in found]}, "4.689", "held-out text"),
            Figure(f"training on {heavy:g} MB, {max(sizes):,} ids", {key: [value] for key, value in spent.items()}),
        ],
        pictures=[Picture("transition.png", "Where words end to bound tokens, and what that gives on held-out texts.")],
        ledger=tl.Ledger(bytes=int(megabytes * 1e6) * seeds),
        details={"trials": found},
    )


def trial(files: list[str], sizes: list[int], megabytes: float, seed: int) -> dict[str, Any]:
    """Train on some megabytes of paragraphs drawn by `seed`: "size share" of the transition → what came out."""
    words, lines = count_lines(_drawn(files[:1], megabytes, seed))
    held = {Path(file).name: "\n\n".join(read_corpus([file], split="paragraph")) for file in files[1:]}
    held = held or {"en-literary": sample("en-literary")}
    n_words = cut_all(list(held.values()), O200K_WORDS)[0].size - 1
    found: dict[str, Any] = {"bound": sum(len(text.encode()) for text in held.values()) / n_words}
    for size in sizes:
        for share in SHARES:
            if share == 1:
                tok = bpe_tokenizer(learn_merges(words, 256, size - 256), O200K_WORDS, name="bpe")
            else:
                tok = tl.SuperBPE(size, max(256, round(share * size)), special=()).learn(words, lines)
            found[f"{size} {share:g}"] = _measured(tok, held)
    return found


def cost(files: list[str], megabytes: float, size: int) -> dict[str, float]:
    """CPU time of each stage, kernels compiled, and the most memory that the process held, its texts included."""
    import resource  # not on Windows

    tl.SuperBPE(300, 280)(["to be or not to be "])
    drawn, ends = _drawn(files[:1], megabytes, 0), {"begin": time.process_time()}
    tl.SuperBPE(size, size // 2)(drawn, progress=lambda what, *_: ends.update({what: time.process_time()}))
    begin, read, first, second = ends.values()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "counting, CPU s": read - begin,
        "first stage, CPU s": first - read,
        "second stage, CPU s": second - first,
        "peak memory, GiB": peak / 2**30,
    }


def _drawn(files: list[str], megabytes: float, seed: int) -> list[str]:
    """Paragraphs in an order that `seed` draws, up to some megabytes."""
    names = ("en-technical", "en-legal", "code-python")
    paragraphs = list(read_corpus(files, split="paragraph")) if files else "\n\n".join(map(sample, names)).split("\n\n")
    order = np.random.default_rng(seed).permutation(len(paragraphs))
    ends = np.cumsum([len(paragraphs[i].encode()) for i in order])
    return [paragraphs[i] + "\n" for i in order[: int(np.searchsorted(ends, megabytes * 1e6)) + 1]]


def _measured(tok: Any, held: dict[str, str]) -> dict[str, Any]:
    parts = {name: tok.encode(text) for name, text in held.items()}
    counts = np.sort(np.bincount(np.concatenate([part.ids for part in parts.values()])))[::-1]
    several = [token for token in tok.vocab if len(token.split()) > 1]
    return {
        "bytes per token": sum(len(part.data) for part in parts.values()) / sum(map(len, parts.values())),
        **{f"bytes per token of {name}": len(part.data) / len(part) for name, part in parts.items()},
        "tokens of several words": len(several),
        "ids for 99 % of the tokens": int(np.searchsorted(np.cumsum(counts), 0.99 * counts.sum()) + 1) / len(tok.vocab),
        "sentence": [token.decode() for token in tok.encode(SENTENCE).tokens()],
        "examples": [token.decode("utf-8", "replace") for token in several[:: max(1, len(several) // 40)]],
    }


Trials = list[dict[str, Any]]


def _values(found: Trials, size: int, key: str = "bytes per token") -> np.ndarray:
    """Of each transition and each seed, float (shares, seeds)."""
    return np.array([[one[f"{size} {share:g}"][key] for one in found] for share in SHARES])


def _fewer(found: Trials, size: int, key: str = "bytes per token") -> np.ndarray:
    """Tokens saved against BPE of the same seed and size, as a share, float (shares, seeds)."""
    values = _values(found, size, key)
    return 1 - values[-1] / values


def _figure(found: Trials, key: str, size: int, unit: str, paper: str = "") -> Figure:
    names = ["BPE" if share == 1 else f"t = {share:g}" for share in SHARES]
    return Figure(f"{key}, {size:,} ids", dict(zip(names, _values(found, size, key).tolist())), paper, unit)


def _sentence(found: Trials, sizes: list[int], texts: list[str], spent: dict[str, float], heavy: float) -> str:
    parts, inside = [], 0
    for size in sizes:
        fewer = _fewer(found, size)
        best = int(fewer.mean(1).argmax())
        # SHARES[-1] is BPE itself, so inside means that SuperBPE with a later transition, too, is worse.
        inside += int(((fewer.argmax(0) > 0) & (fewer.argmax(0) < len(SHARES) - 2)).sum())
        told = {f"at {SHARES[best]:g}, the best": best, f"at {SHARES[-2]}": -2, "with no first stage": 0}
        parts.append(f"{size:,} ids: " + ", ".join(f"{fewer[at].mean():.1%} {where}" for where, at in told.items()))
    size, late = max(sizes), SHARES.index(0.75)
    each = [f"{_fewer(found, size, key)[late].mean():.1%} of {key.rpartition(' ')[2]}" for key in texts]
    return (
        f"Fewer tokens of held-out text than BPE, by the share of the vocabulary at which words end to bound tokens. {'; '.join(parts)}. "
        f"The optimum is inside, neither at the first nor at the last share, in {inside} of {len(sizes) * len(found)} trials, and broad. "
        f"It depends on the text more than on the transition: at {size:,} ids and 0.75 {', '.join(each)}. The paper's gain is 33 % "
        f"with 200,000 ids and 10 GB. The second stage on {heavy:g} MB at {size:,} ids took {spent['second stage, CPU s']:.0f} CPU seconds, "
        f"the process at most {spent['peak memory, GiB']:.1f} GiB. What the tokens are worth to a model, this does not show: none was trained."
    )


def _draw(found: Trials, sizes: list[int], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for colour, size in zip(("#0a6fb5", "#d1860a", "#2a8f4c"), sizes):
        for axis, values in ((left, _values(found, size)), (right, 100 * _fewer(found, size))):
            spread = values.std(1, ddof=1) if len(found) > 1 else np.zeros(len(SHARES))
            axis.errorbar(SHARES[:-1], values[:-1].mean(1), spread[:-1], marker="o", markersize=4, color=colour,
                          capsize=3, label=f"{size:,} ids")  # fmt: skip
        left.axhline(_values(found, size)[-1].mean(), color=colour, linestyle=":")
    left.plot([], [], color="#4c4c4c", linestyle=":", label="BPE of the same size")
    left.axhline(found[0]["bound"], color="#4c4c4c", linestyle="--", label="a token a word")
    left.set(ylabel="bytes per token, held out")
    right.set(ylabel="tokens fewer than BPE, %", ylim=(0, None))
    for axis in (left, right):
        axis.set(xlabel="transition, as a share of the vocabulary")
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", frameon=False, fontsize=8, ncols=5)
    figure.savefig(path, dpi=120)
