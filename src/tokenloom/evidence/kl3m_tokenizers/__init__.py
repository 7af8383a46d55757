"""KL3M tokenizers, tried in small: legal text against general text, and where short tokens cut what a scanner misread.

tokenloom evidence kl3m-tokenizers -- --archives FOLDER

FOLDER holds archives of packages, see `tokenloom.evidence.english`; what is missing is named.
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ..packages import check_run
from ..result import Figure, Picture, run_seeds, write_result
from .pictures import draw_density, draw_misread
from .trials import CUSTOM, GENERAL, LEGAL, SMALLER, TERMS, trial

__all__ = ["run"]

FULL = {"characters": 8_000_000, "sizes": [8192, 16384, 32768], "character_size": 4096, "lines": 1000, "rate": 0.05}
QUICK = {"characters": 100_000, "sizes": [2048, 4096], "character_size": 512, "lines": 60, "rate": 0.05}


def run(out: Path, *, archives: Path | None = None, seeds: int = 5, workers: int = 2, quick: bool = False) -> None:
    """Train on legal and on general text and compare; some five minutes on two cores, continued if interrupted.

    Args:
        out: folder of result.json, the pictures, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: draws of the training texts and of the noise.
        workers: processes.
        quick: the small embedded samples instead, to see that it runs.
    """
    check_run(archives, [], seeds=seeds, workers=workers, quick=quick)
    settings: dict[str, Any] = QUICK if quick else FULL
    source = None if quick else str(archives)
    trials = run_seeds(trial, {"archives": source, **settings}, out / ".trials", seeds=seeds, workers=workers)
    size = str(settings["sizes"][len(settings["sizes"]) // 2])
    draw_density(trials, out / "density.png")
    draw_misread(trials, out / "misread.png")
    write_result(
        out,
        system="kl3m-tokenizers",
        sentence=_sentence(trials, size),
        settings={**settings, "terms": TERMS, "texts": "embedded samples" if quick else "packages, see texts.py"},
        seeds=list(range(seeds)),
        figures=[*_density(trials, size), *_misread(trials)],
        pictures=[
            Picture("density.png", "Held-out texts, by the size of the vocabulary; bands from least to most over seeds."),
            Picture("misread.png", "Lines with five of a hundred characters misread: what a bound on tokens keeps and costs."),
        ],
        ledger=tl.Ledger(bytes=sum(result["bytes"] for result in trials)),
        details={"trials": trials},
    )  # fmt: skip


def _density(trials: list[dict[str, Any]], size: str) -> list[Figure]:
    def figure(name: str, read: Any, paper: str = "", unit: str = "") -> Figure:
        ours = {who: [read(t["made"][who][size]) for t in trials] for who in (GENERAL, LEGAL, CUSTOM)}
        return Figure(name, ours, paper, unit)

    papers = {
        "legal": "court documents, domain 128k .274, gpt-4o .297, gpt2 .352",
        "general": "domain 128k .206, gpt-4o .203, gpt2 .212",
        "finance": "SEC filings, domain 128k .182, gpt-4o .198, gpt2 .372",
    }
    terms = {"legal": "domain 4.2, gpt-4o 6.5", "financial": "domain 3.1, gpt-4o 3.2"}
    names = trials[0]["made"][LEGAL][size]["density"]
    unit = f"tokens per character, {int(size):,} ids"
    return [
        *(figure(f"{name}, held out", lambda m, n=name: m["density"][n], papers.get(name, ""), unit) for name in names),
        *(
            figure(f"ten {kind} terms", lambda m, k=kind: np.mean(m["terms"][k]), paper, "tokens of a term")
            for kind, paper in terms.items()
        ),
        *(
            figure(
                f"tokens of {first} to {last} characters", lambda m, a=first, b=last: _share(m, a, b), paper, "share"
            )
            for first, last, paper in ((0, 5, "128k 45.8 %"), (6, 10, "128k 40.6 %"))
        ),
    ]


def _share(made: dict[str, Any], first: int, last: int) -> float:
    return sum(made["lengths"][first : last + 1]) / sum(made["lengths"])


def _misread(trials: list[dict[str, Any]]) -> list[Figure]:
    def figure(name: str, read: Any, unit: str, paper: str = "") -> Figure:
        return Figure(
            name, {who: [read(t["misread"][who]) for t in trials] for who in trials[0]["misread"]}, paper, unit
        )

    return [
        figure("cuts in the same places", lambda m: m["f1"], "F1"),
        figure("tokens of the right text that are gone", lambda m: m["changed"], "per edited character"),
        figure("bytes in these tokens", lambda m: m["changed bytes"], "per edited character"),
        figure("the right text", lambda m: m["density"], "tokens per character"),
        figure("ids", lambda m: m["ids"], ""),
        figure(
            "the paper's sentence, misread", lambda m: m["sentence"][0], "tokens", "4k 24, 8k 23, 16k 20, gpt-4o 21"
        ),
        figure("the paper's sentence, right", lambda m: m["sentence"][1], "tokens", "4k 20, 8k 20, 16k 14, gpt-4o 12"),
    ]


def _sentence(trials: list[dict[str, Any]], size: str) -> str:
    def gain(who: str, name: str) -> str:
        ratio = np.mean(
            [t["made"][who][size]["density"][name] / t["made"][GENERAL][size]["density"][name] for t in trials]
        )
        return f"{abs(ratio - 1):.1%} {'fewer' if ratio < 1 else 'more'}"

    def mean(who: str, key: str) -> float:
        return float(np.mean([t["misread"][who][key] for t in trials]))

    names = list(trials[0]["made"][LEGAL][size]["density"])
    kinds = "; ".join(f"{name} {gain(LEGAL, name)}" for name in names)
    bounds = ("3 bytes", "4 bytes", "no bound")
    f1, gone, bytes_gone = (
        ", ".join(f"{mean(who, key):.{digits}f}" for who in bounds)
        for key, digits in (("f1", 3), ("changed", 2), ("changed bytes", 1))
    )
    more = mean("3 bytes", "density") / mean("no bound", "density") - 1
    return (
        f"BPE of {int(size):,} ids trained on licences instead of as much general text makes, of texts it never saw: {kinds} "
        "tokens per character. So it pays on text of its own kind and costs elsewhere, also on other legal text; the paper, "
        "with far broader training texts, finds about as many elsewhere. With the generated custom tokens it is "
        f"{gain(CUSTOM, 'legal')} on held-out licences: they bring next to nothing there. Cuts of misread lines agree with "
        f"those of the right ones at F1 {f1} with a bound of 3 bytes, of 4, and none: the shorter the tokens, the stabler the "
        f"cuts, for {more:.0%} more tokens at 3 bytes. An edited character takes {gone} tokens with it, so more of them with a "
        f"bound, but shorter ones: {bytes_gone} bytes. A smaller vocabulary without a bound, about as costly "
        f"({mean(SMALLER, 'density'):.3f} tokens per character to {mean('3 bytes', 'density'):.3f}), reaches F1 "
        f"{mean(SMALLER, 'f1'):.3f} too: short tokens bring the stability, not the bound as such. No model was trained on either."
    )
