"""Supertokens, tried in small: bytes per token by vocabulary and corpus size, beside word BPE and SuperBPE.

python -m tokenloom.evidence.english FOLDER --out english.txt
python -m tokenloom.evidence.english FOLDER --text austen --out austen.txt
python -m tokenloom.evidence.english FOLDER --text sqlite --out sqlite.txt
tokenloom evidence supertokens -- --text english.txt --held-out austen.txt --held-out sqlite.txt
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import tokenloom as tl

from ..core.cuts import O200K_WORDS
from ..core.errors import InvalidInput, require
from ..data import sample
from ..data.documents import read_corpus
from ..tokenize.text.bpe import Pieces, bpe_tokenizer, learn_merges, spell
from ..tokenize.text.superbpe import count_lines
from ..tokenize.text.supertokens import chunk_pieces, expected_pieces
from .result import Figure, Picture, run_seeds, write_result

__all__ = ["run", "trial"]

FULL: dict[str, Any] = {
    "megabytes": [0.2, 2, 20],
    "sizes": [2000, 4000, 8000, 16000, 32000],
    "passes": [1, 2, 4, 8, 16, 32],
}
QUICK: dict[str, Any] = {"megabytes": [0.05, 0.2], "sizes": [500, 1000], "passes": [1, 4]}
METHODS = ("word BPE", "SuperBPE", "Supertokens")
# Of the comparison with expected counts: bytes of text, which grow twentyfold, and ids.
LIMIT, LIMIT_SIZE = 60_000, 1000


def run(
    out: Path,
    *,
    text: Path | None = None,
    held_out: Annotated[list[Path] | None, typer.Option()] = None,
    seeds: int = 3,
    workers: int = 2,
    quick: bool = False,
) -> None:
    """Train three methods at several vocabulary and corpus sizes and count tokens; some ten minutes on two cores.

    Args:
        out: folder of result.json, the pictures, and the finished trials in .trials.
        text: paragraphs with blank lines between them; each seed draws some megabytes of them.
        held_out: texts of another origin, on which tokens are counted.
        seeds: samples of the text, and cuts.
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
    files = [] if quick else [str(path) for path in (text, *(held_out or ())) if path is not None]
    found = run_seeds(trial, {"files": files, **settings}, out / ".trials", seeds=seeds, workers=workers)
    _draw(found, settings, out / "compression.png")
    write_result(
        out,
        system="supertokens",
        sentence=_sentence(found, settings),
        settings={**settings, "law": "the published one, divided by 1.10", "limit": [LIMIT, LIMIT_SIZE],
                  "texts": [Path(file).name for file in files] or "embedded samples"},
        seeds=list(range(seeds)),
        figures=[
            *(
                Figure(f"bytes per token, {size:,} ids, {mb:g} MB",
                       {method: [one[f"{mb:g} {size}"][method]["bytes per token"] for one in found] for method in METHODS},
                       "bar charts only: fewer tokens than word-bounded vocabularies", "held-out text")
                for mb in settings["megabytes"] for size in settings["sizes"]
            ),
            *(
                Figure(f"tokens that {what}, {max(settings['megabytes']):g} MB",
                       {f"{size:,} ids": [one[f"{max(settings['megabytes']):g} {size}"]["Supertokens"][what] for one in found]
                        for size in settings["sizes"]}, unit="share of the merged tokens")
                for what in ("cross a space", "end in a space")
            ),
            Figure("tokens shared with the limit of ever more cuts",
                   {f"{passes} passes": [one["limit"][str(passes)] for one in found] for passes in settings["passes"]},
                   unit="shared of all, Jaccard"),
        ],
        pictures=[Picture("compression.png", "Held-out text by vocabulary and corpus size; right: cuts averaged over passes.")],
        ledger=tl.Ledger(bytes=int(sum(settings["megabytes"]) * 1e6) * seeds),
        details={"trials": found},
    )  # fmt: skip


def trial(files: list[str], megabytes: list[float], sizes: list[int], passes: list[int], seed: int) -> dict[str, Any]:
    """Train on paragraphs drawn by `seed`: "megabytes size" → method → what came out; and the passes against their limit."""
    if files:
        paragraphs, *others = (list(read_corpus([file], split="paragraph")) for file in files)
        held = ["\n\n".join(other) for other in others]
    else:
        names = ("en-technical", "en-legal", "code-python")
        paragraphs, held = [p for name in names for p in sample(name).split("\n\n")], [sample("en-literary")]
    order = np.random.default_rng(seed).permutation(len(paragraphs))
    ends = np.cumsum([len(paragraphs[i].encode()) + 1 for i in order])
    found: dict[str, Any] = {}
    for mb in megabytes:
        drawn = [paragraphs[i] + "\n" for i in order[: int(np.searchsorted(ends, mb * 1e6)) + 1]]
        words, lines = count_lines(drawn)
        chunks = chunk_pieces(drawn, tl.ChunkLaw(), seed)
        top = max(sizes) - 256
        # A smaller vocabulary is a shorter list of merges; only SuperBPE's second stage depends on the size.
        in_words, in_chunks = learn_merges(words, 256, top), _supertokens(chunks, top)
        for size in sizes:
            made = {
                "word BPE": bpe_tokenizer(in_words[: size - 256], O200K_WORDS, name="words"),
                "SuperBPE": tl.SuperBPE(size, max(256, size // 2), special=()).learn(words, lines),
                "Supertokens": bpe_tokenizer(in_chunks[: size - 256], None, normalizer={"type": "NFC"}, name="chunks"),
            }
            found[f"{mb:g} {size}"] = {method: _measured(tok, held) for method, tok in made.items()}
    text = "\n".join(paragraphs[i] for i in order[:2000])[:LIMIT]
    limit = _tokens(_supertokens(expected_pieces([text], tl.ChunkLaw(), scale=10_000), LIMIT_SIZE - 256))
    found["limit"] = {}
    for n in passes:
        tokens = _tokens(_supertokens(chunk_pieces([text], tl.ChunkLaw(), seed, passes=n), LIMIT_SIZE - 256))
        found["limit"][str(n)] = len(tokens & limit) / len(tokens | limit)
    return found


def _supertokens(chunks: Pieces, limit: int) -> np.ndarray:
    return learn_merges(chunks, 256, limit, min_frequency=2, veto=tl.Supertokens(300).veto)


def _tokens(merges: np.ndarray) -> set[bytes]:
    return set(spell(merges)[256:])


def _measured(tok: Any, held: list[str]) -> dict[str, float]:
    merged = [token for token in tok.vocab if len(token) > 1]
    return {
        "bytes per token": sum(len(text.encode()) for text in held) / sum(len(tok.encode(text)) for text in held),
        "cross a space": sum(b" " in token.strip() for token in merged) / len(merged),
        "end in a space": sum(token.endswith(b" ") and token.strip() != b"" for token in merged) / len(merged),
    }


def _mean(found: list[dict[str, Any]], key: str, method: str, what: str = "bytes per token") -> float:
    return float(np.mean([one[key][method][what] for one in found]))


def _sentence(found: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    parts = []
    for mb in settings["megabytes"]:
        changes = []
        for size in settings["sizes"]:
            key = f"{mb:g} {size}"
            words, ours = (_mean(found, key, method) for method in ("word BPE", "Supertokens"))
            over = "more" if _mean(found, key, "SuperBPE") > ours else "fewer"
            changes.append(f"{words / ours - 1:+.1%} at {size:,} ids ({over} than SuperBPE)")
        parts.append(f"trained on {mb:g} MB: " + ", ".join(changes))
    key, n = f"{max(settings['megabytes']):g} {max(settings['sizes'])}", settings["passes"]
    near = [np.mean([one["limit"][str(passes)] for one in found]) for passes in (n[0], n[-1])]
    return (
        "Tokens of held-out text against word BPE of equal size, "
        + "; ".join(parts)
        + f". Of the {max(settings['sizes']):,} "
        f"ids {_mean(found, key, 'Supertokens', 'cross a space'):.0%} cross a space and "
        f"{_mean(found, key, 'Supertokens', 'end in a space'):.0%} end in one, where a prompt that ends at a word cannot "
        f"meet them. One random cut shares {near[0]:.0%} of its tokens with the limit of infinitely many, {n[-1]} cuts "
        f"{near[1]:.0%}, on {LIMIT:,} bytes. English only; no model was trained."
    )


def _draw(found: list[dict[str, Any]], settings: dict[str, Any], path: Path) -> None:
    panels = len(settings["megabytes"]) + 1
    figure = require("matplotlib.figure", "plot").Figure(figsize=(3.4 * panels, 3.4), layout="constrained")
    axes = figure.subplots(1, panels)
    for mb, axis in zip(settings["megabytes"], axes):
        for colour, method in zip(("#4c4c4c", "#d1860a", "#0a6fb5"), METHODS):
            values = np.array(
                [[one[f"{mb:g} {size}"][method]["bytes per token"] for one in found] for size in settings["sizes"]]
            )
            spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
            axis.errorbar(settings["sizes"], values.mean(1), spread, marker="o", capsize=3, color=colour, label=method)
        axis.set_title(f"trained on {mb:g} MB", fontsize=10)
        axis.set(xlabel="ids", xscale="log", ylabel="bytes per token, held out")
        axis.set_xticks(settings["sizes"], [f"{size / 1000:g}k" for size in settings["sizes"]])
        axis.minorticks_off()
    axes[0].legend(frameon=False)
    values = np.array([[one["limit"][str(passes)] for one in found] for passes in settings["passes"]])
    axes[-1].plot(settings["passes"], values, color="#0a6fb5", marker="o", alpha=0.6)
    axes[-1].set_title("tokens shared with the limit", fontsize=10)
    axes[-1].set(xlabel="passes", xscale="log", ylim=(0, 1))
    axes[-1].set_xticks(settings["passes"], [str(n) for n in settings["passes"]])
    axes[-1].minorticks_off()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
