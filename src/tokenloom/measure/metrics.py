"""What can be said of a tokenizer, each figure with its formula and its source, and the record in which it is said."""

from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

__all__ = ["METRICS", "Metric", "Record"]


@dataclass(frozen=True)
class Metric:
    """What a figure is.

    Args:
        title: what it is called.
        formula: how it comes about, in words.
        unit: "" for a ratio or a count, "share" for one between 0 and 1, or what is told per what.
        better: "more", "less", or "" where neither is better as such.
        source: where it was published; "" for what needs no source.
    """

    title: str
    formula: str
    unit: str = ""
    better: str = ""
    source: str = ""


_RUST, _PETROV, _ZOUHAR = (
    "Rust et al. 2021, arXiv 2012.15613",
    "Petrov et al. 2023, arXiv 2305.15425",
    "Zouhar et al. 2023, arXiv 2306.16842",
)
_BAYRAM, _MINIXHOFER = "Bayram et al. 2025, arXiv 2502.07057", "Minixhofer, Pfeiffer, Vulić 2023, arXiv 2305.14214"

# fmt: off
METRICS: dict[str, Metric] = {
    "tokens": Metric("tokens", "tokens of the text"),
    "relative tokens": Metric("tokens, relative to the first", "tokens divided by those of the first tokenizer, on the same stretches of text", "", "less"),
    "bytes per token": Metric("bytes per token", "bytes / tokens", "bytes per token", "more"),
    "characters per token": Metric("characters per token", "code points / tokens", "characters per token", "more"),
    "words per token": Metric("words per token", "words / tokens", "words per token", "more"),
    "fertility": Metric("fertility", "tokens that hold some of a word, mean over words", "tokens per word", "less", _RUST),
    "continued words": Metric("continued words", "words that are cut / words", "share", "less", _RUST),
    "joining tokens": Metric("tokens across words", "tokens that hold some of two words or more / tokens", "share"),
    "white tokens": Metric("tokens of white space alone", "tokens of ASCII white space only / tokens", "share", "less"),
    "fragments": Metric("tokens that cut a character", "tokens that begin or end inside a character / tokens", "share", "less"),
    "unknown bytes": Metric("unknown text", "bytes for which there is only the unknown token / bytes", "share", "less"),
    "changed bytes": Metric("changed text", "bytes of tokens that do not spell them: normalised or dropped / bytes", "share", "less"),
    "tokens per number": Metric("tokens per number", "tokens that hold some of a run of digits, mean over runs", "tokens per number"),
    "whole numbers": Metric("numbers in one token", "runs of digits that are not cut / runs of digits", "share"),
    "vocabulary": Metric("vocabulary", "ids that can stand for text; special and unused ones are left out", "ids"),
    "used": Metric("vocabulary used", "ids that occur / ids that can stand for text; grows with the text", "share"),
    "entropy": Metric("entropy", "-sum p log2 p of single tokens; of so much text, for more text has more", "bits per token"),
    "entropy per byte": Metric("entropy per byte", "entropy × tokens / bytes: what a model pays that knows frequencies only", "bits per byte", "less"),
    "renyi efficiency": Metric("Rényi efficiency, order 2.5", "log2(sum p^2.5) / (1 - 2.5) / log2 V", "", "more", _ZOUHAR),
    "language tokens": Metric("tokens of aligned text", "tokens of the same content in each language", "tokens"),
    "language bytes per token": Metric("bytes per token, aligned text", "bytes / tokens", "bytes per token", "more"),
    "premium": Metric("premium", "tokens / those of the same content in the base language", "", "less", _PETROV),
    "worst premium": Metric("highest premium", "the largest premium of all languages", "", "less", _PETROV),
    "boundary precision": Metric("boundaries, precision", "cuts inside words that are between morphemes / cuts inside words", "share", "more"),
    "boundary recall": Metric("boundaries, recall", "places between morphemes that are cut / places between morphemes", "share", "more"),
    "boundary f1": Metric("boundaries, F1", "harmonic mean of both", "share", "more"),
    "hard words": Metric("hard words", "words with a seam inside a token / words with a seam", "share", "less", _MINIXHOFER),
    "tokens per listed word": Metric("tokens per listed word", "tokens that hold some of the word, mean over the list", "tokens per word", "less"),
    **{
        f"{kind} of {what}": Metric(f"%{label}, {what}", f"{what} that are {means} / those that were judged", "share", "more", _BAYRAM)
        for kind, label, means in (("words", "TR", "words, roots or affixes"), ("pure", "Pure", "roots or affixes"))
        for what in ("distinct tokens", "occurrences", "bytes")
    },
    "speed": Metric("encoding speed", "bytes / seconds, wall time, all cores, after a warm-up", "MB/s", "more"),
}
# fmt: on


@dataclass(frozen=True)
class Record:
    """One figure of one tokenizer.

    Args:
        tokenizer: its name.
        metric: a key of `METRICS`.
        value: nan where there is nothing to divide by.
        low: lower end of the interval, nan where there is none: a count, or too little text.
        high: its upper end.
        n: what the value was divided by: tokens, words, … ; the value itself for counts.
        language: of aligned text, "" elsewhere.
    """

    tokenizer: str
    metric: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    language: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with None for what is not there, and with title and unit."""
        values = {key: None if isinstance(v, float) and isnan(v) else v for key, v in asdict(self).items()}
        return {**values, "title": METRICS[self.metric].title, "unit": METRICS[self.metric].unit}
