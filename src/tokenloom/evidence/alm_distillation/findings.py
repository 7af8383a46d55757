"""What the experiments found: the figures, and one honest statement."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..result import Figure
from .training import ends

__all__ = ["figures", "sentence"]

Found = Mapping[str, list[dict[str, Any]]]

_PAPER = {
    "new tokenizer": "Gemma2 to Qwen2's tokenizer, mean of 7 benchmarks: SFT 51.6, MinED 53.0, ALM+SFT 54.9, ALM 55.1",
    "bytes": "Gemma2 to bytes, mean of 7 benchmarks: SFT 46.5, ALM 50.6, SFT + ALM + hidden 51.3",
    "families": "a mathematical model of 8B to one of 2B, mean of GSM8K and MATH: SFT 51.7, ALM 52.6, ALM+SFT 53.3",
}
_TITLES = {"new tokenizer": "a new tokenizer", "bytes": "bytes", "families": "Gemma 3 teaches SmolLM2"}


def figures(found: Found) -> list[Figure]:
    """For each of the first three experiments bits per byte and distances in the end, then the mean of two models, then chunks."""
    made = []
    for name, title in _TITLES.items():
        some = found[name]
        begin = {what: [next(iter(one["curves"].values()))[0][what] for one in some] for what in ("bits", "distance")}
        bits = {"teacher": [one["teacher"] for one in some], "untrained": begin["bits"], **ends(some, "bits")}
        distances = {"untrained": begin["distance"], **ends(some, "distance")}
        made += [
            Figure(f"{title}: held-out bits per byte", bits, _PAPER[name], "bits per byte"),
            Figure(f"{title}: distance of held-out chunk likelihoods to the teacher's", distances, unit="nats, mean of absolute values"),
        ]  # fmt: skip
    some = found["together"]
    made.append(
        Figure(
            "two models on one new tokenizer: held-out bits per byte",
            {
                **{f"{label}, its own tokenizer": [one["teachers"][label] for one in some] for label in some[0]["teachers"]},
                **{f"{label}, untrained": [one["curves"][label][0]["bits"] for one in some] for label in some[0]["curves"]},
                **{f"{label}, trained": values for label, values in ends(some, "bits").items()},
                **{f"both, {how}": [one["both"][how] for one in some] for how in some[0]["both"]},
            },
            "mean of three models of at most 3.2B on one tokenizer, 7 benchmarks: 60.8; the best of them alone 59.3",
            "bits per byte",
        )
    )  # fmt: skip
    for what, values in found["new tokenizer"][0]["alignments"].items():
        for (name, unit), value in zip((("chunks", "for 1,000 bytes"), ("chunks of one token each", "share")), values):
            made.append(Figure(f"SmolLM2's tokens and {what}: {name}", {"value": [value]}, unit=unit))
    return made


def sentence(found: Found, settings: Mapping[str, Mapping[str, Any]]) -> str:
    """What was seen in each experiment, and what was not."""
    told = [_compared(name, found[name], settings[name]["steps"]) for name in _TITLES]
    chunks = "; ".join(f"{name} {one[1]:.0%}" for name, one in found["new tokenizer"][0]["alignments"].items())
    some = found["together"]
    alone = {label: float(np.mean(values)) for label, values in ends(some, "bits").items()}
    begin = {label: float(np.mean([one["curves"][label][0]["bits"] for one in some])) for label in alone}
    both = {how: float(np.mean([one["both"][how] for one in some])) for how in some[0]["both"]}
    mean, before, best = (
        both["trained, mean of probabilities"],
        both["untrained, mean of probabilities"],
        min(alone.values()),
    )
    gain = best - mean
    told.append(
        "Together: on one new tokenizer, after "
        + f"{settings['together']['steps']} steps of ALM + SFT each, "
        + " and ".join(f"{label} is at {value:.3f} ({begin[label]:.3f} untrained)" for label, value in alone.items())
        + f", and the mean of their probabilities at {mean:.3f} ({before:.3f}), {abs(gain):.3f} "
        + ("better" if gain > 0 else "worse")
        + " than the better of the two."
    )  # fmt: skip
    seeds = len(some)
    return " ".join(told) + (
        f" Of the chunks of SmolLM2's tokens with others, one token on each side: {chunks}. {seeds} seed{'s' * (seeds > 1)}. Every "
        "set of losses gets the same batches, but ALM and MinED also the teacher's pass over them, which is not counted. Bodies are "
        "frozen (with Gemma as the teacher, all but the last layers), and steps of some 500 tokens, 1,000 for bytes, are far from the "
        "paper's 5,000 of 32,768 and its benchmarks: what wins in the long run is not shown."
    )


def _compared(name: str, some: list[dict[str, Any]], steps: int) -> str:
    bits = {label: float(np.mean(values)) for label, values in ends(some, "bits").items()}
    distance = {label: float(np.mean(values)) for label, values in ends(some, "distance").items()}
    first = [next(iter(one["curves"].values()))[0] for one in some]
    begin, apart = (float(np.mean([point[what] for point in first])) for what in ("bits", "distance"))
    gains = {label: bits["SFT"] - value for label, value in bits.items() if label != "SFT"}
    return (
        f"{_TITLES[name][0].upper() + _TITLES[name][1:]}, {steps} steps, {np.mean([one['bytes']['held out'] for one in some]) / 1000:.0f} kB "
        f"held out: from {begin:.3f} bits per byte (the teacher: {np.mean([one['teacher'] for one in some]):.3f}) to "
        + ", ".join(f"{value:.3f} ({label})" for label, value in bits.items())
        + "; against SFT that is "
        + ", ".join(f"{abs(gain):.4f} {'better' if gain > 0 else 'worse'} ({label})" for label, gain in gains.items())
        + f"; likelihoods of chunks, {apart:.3f} nats from the teacher's before, are then "
        + ", ".join(f"{value:.3f} ({label})" for label, value in distance.items())
        + " from them."
    )
