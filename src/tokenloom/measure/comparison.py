"""Tokenizers side by side: every figure as a record with its interval and the number of cases that it rests on."""
# G stretches of text, R resamples, V vocabulary, S rows, L languages, W words

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isnan
from typing import Any

import numpy as np

from ..core.lexicon import Lexicon
from ..core.tokenizer import Tokenizer
from .distribution import renyi_efficiency, text_ids, token_entropy
from .morphology import Boundaries, boundaries
from .parity import Parallel, parallel_tokens
from .profile import Profile, TextProfile, profile
from .resampling import basic_interval, resample
from .tokenization_standards import integrity_of_counts

__all__ = ["METRICS", "Comparison", "Metric", "Record", "Word", "compare"]

RESAMPLES = 1000
ENTROPY_RESAMPLES = 200
LEXICON_RESAMPLES = 50
# With fewer stretches of text the bootstrap knows too little of how they differ.
FEWEST_STRETCHES = 8


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

# name → what is summed, divided by what; of tokenizers' sums, or of the text's where those lack it.
_RATIOS = {
    "bytes per token": ("bytes", "tokens"),
    "characters per token": ("characters", "tokens"),
    "words per token": ("words", "tokens"),
    "fertility": ("word pieces", "words"),
    "continued words": ("words cut", "words"),
    "joining tokens": ("joining", "tokens"),
    "white tokens": ("white", "tokens"),
    "fragments": ("fragments", "tokens"),
    "unknown bytes": ("unknown bytes", "bytes"),
    "changed bytes": ("changed bytes", "bytes"),
    "tokens per number": ("number pieces", "numbers"),
    "whole numbers": ("numbers whole", "numbers"),
}


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


@dataclass(frozen=True)
class Word:
    """A word of the text and what it costs.

    Args:
        text: the word.
        occurrences: how often it occurs.
        tokens: that hold some of it, over all occurrences.
        cut: its tokens with a space before it.
    """

    text: str
    occurrences: int
    tokens: int
    cut: tuple[bytes, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that was measured.

    Args:
        tokenizers: name → tokenizer.
        text: the text, whatever the tokenizer; None where only aligned text was measured.
        profiles: what each tokenizer did to it.
        records: all figures.
        parallel: the aligned text, or None.
        base: its language against which premiums are.
        listed: number of words with known morphemes.
    """

    tokenizers: Mapping[str, Tokenizer]
    text: TextProfile
    profiles: Mapping[str, Profile]
    records: tuple[Record, ...]
    parallel: Parallel | None = None
    base: str = ""
    listed: int = 0
    _index: dict[tuple[str, str, str], Record] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._index.update({(r.tokenizer, r.metric, r.language): r for r in self.records})

    def get(self, tokenizer: str, metric: str, language: str = "") -> Record | None:
        """One figure, None where it was not measured."""
        return self._index.get((tokenizer, metric, language))

    def as_dicts(self) -> list[dict[str, Any]]:
        """Tidy rows, one per figure, as a data frame takes them."""
        return [record.as_dict() for record in self.records]

    def costly_words(self, tokenizer: str, count: int = 12) -> list[Word]:
        """The words that cost most tokens beyond one each, over the whole text."""
        extra = self.profiles[tokenizer].pieces - self.text.occurrences
        return self._words(tokenizer, np.argsort(-extra, kind="stable")[:count], extra > 0)

    def finely_cut_words(
        self, tokenizer: str, count: int = 12, *, letters: int = 4, occurrences: int = 2
    ) -> list[Word]:
        """The words with most tokens per character, of those that are long and frequent enough to tell."""
        lengths = np.fromiter(map(len, self.text.words), np.int64, len(self.text.words))
        often = self.text.occurrences
        density = self.profiles[tokenizer].pieces / np.maximum(1, often * lengths)
        fit = (lengths >= letters) & (often >= occurrences)
        return self._words(tokenizer, np.lexsort((-often, -np.where(fit, density, -1)))[:count], fit)

    def _words(self, tokenizer: str, order: np.ndarray, fit: np.ndarray) -> list[Word]:
        found, tok = [], self.tokenizers[tokenizer]
        for i in order[fit[order]].tolist():
            word = self.text.words[i]
            cut = tuple(token for token in tok.encode(f" {word}").tokens() if token)
            found.append(Word(word, int(self.text.occurrences[i]), int(self.profiles[tokenizer].pieces[i]), cut))
        return found

    def never_used(self, tokenizer: str) -> np.ndarray:
        """Ids that can stand for text and do not occur in it, the longest first: int64."""
        vocab = self.tokenizers[tokenizer].vocab
        ids = np.flatnonzero(text_ids(vocab) & (self.profiles[tokenizer].id_counts(len(vocab)) == 0))
        return ids[np.argsort(-vocab.lengths[ids], kind="stable")]

    def longest_used(self, tokenizer: str, count: int = 12) -> np.ndarray:
        """The longest tokens of text that occur: int64."""
        vocab = self.tokenizers[tokenizer].vocab
        ids = np.flatnonzero(text_ids(vocab) & (self.profiles[tokenizer].id_counts(len(vocab)) > 0))
        return ids[np.argsort(-vocab.lengths[ids], kind="stable")][:count]


def compare(
    tokenizers: Mapping[str, Tokenizer],
    texts: Iterable[str],
    *,
    rng: np.random.Generator,
    parallel: Parallel | None = None,
    base: str = "en",
    words: Sequence[Sequence[str]] | None = None,
    lexicon: Lexicon | None = None,
    language: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Measure tokenizers on the same text.

    Intervals are of 95 %, by the basic bootstrap: over stretches of the text, rows of aligned text, words of a list.

    Args:
        tokenizers: name → tokenizer, one at least.
        texts: documents, read once.
        rng: of the resampling; the figures themselves do not depend on it.
        parallel: aligned text, for premiums.
        base: the language whose premium is 1; the first where the aligned text does not have it.
        words: parts of each word, for boundaries.
        lexicon: for %TR and %Pure; one of the language of the text.
        language: its code, for lower case.
        progress: called with the bytes of text read so far.
    Raises: InvalidInput: no tokenizer, no text. TokenizerError: a tokenizer cannot encode some of it.

    >>> from tokenloom.hosts import load_tokenizer
    >>> found = compare({"bytes": load_tokenizer("bytes")}, ["two words, né"], rng=np.random.default_rng(0))
    >>> found.get("bytes", "fertility").value, found.get("bytes", "fertility").n
    (3.6666666666666665, 3)
    """
    text, profiles = profile(tokenizers, texts, progress=progress)
    weights_RG = resample(text.sums["bytes"].size, RESAMPLES, rng)
    if text.sums["bytes"].size < FEWEST_STRETCHES:
        weights_RG = weights_RG[:0]
    first = next(iter(profiles))
    records = [
        record
        for name, tokenizer in tokenizers.items()
        for record in (
            *_of_text(name, text, profiles[name], profiles[first], weights_RG),
            *_of_vocabulary(name, tokenizer, text, profiles[name], weights_RG[:ENTROPY_RESAMPLES]),
            *_of_speed(name, profiles[name], rng),
        )
    ]
    if parallel is not None:
        base = base if base in parallel.languages else parallel.languages[0]
        weights_RS = resample(len(parallel.rows), RESAMPLES, rng)
        for name, tokenizer in tokenizers.items():
            records += _of_languages(name, tokenizer, parallel, parallel.languages.index(base), weights_RS)
    if words is not None:
        weights_RW = resample(len(words), RESAMPLES, rng)
        for name, tokenizer in tokenizers.items():
            records += _of_words(name, boundaries(tokenizer, words), weights_RW)
    if lexicon is not None:
        for name, tokenizer in tokenizers.items():
            records += _of_lexicon(name, tokenizer, profiles[name], lexicon, language, weights_RG[:LEXICON_RESAMPLES])
    return Comparison(
        tokenizers, text, profiles, tuple(records), parallel, base if parallel else "", len(words) if words else 0
    )


def _estimate(name: str, metric: str, part_G: np.ndarray, whole_G: np.ndarray, weights_RG: np.ndarray) -> Record:
    """A ratio of sums, with its interval."""
    part, whole = int(part_G.sum()), int(whole_G.sum())
    if not whole:
        return Record(name, metric, float("nan"), n=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled_R = (weights_RG @ part_G) / (weights_RG @ whole_G)
    low, high = _interval(part / whole, resampled_R)
    if METRICS[metric].unit == "share":
        low, high = max(low, 0.0), min(high, 1.0)  # nan stays nan: it is the first argument
    return Record(name, metric, part / whole, low, high, n=whole)


def _interval(value: float, resampled_R: np.ndarray) -> tuple[float, float]:
    return basic_interval(value, np.where(np.isfinite(resampled_R), resampled_R, np.nan))


def _of_text(name: str, text: TextProfile, own: Profile, first: Profile, weights_RG: np.ndarray) -> Iterator[Record]:
    sums = {**text.sums, **own.sums}
    yield Record(name, "tokens", int(sums["tokens"].sum()), n=int(sums["tokens"].sum()))
    yield _estimate(name, "relative tokens", sums["tokens"], first.sums["tokens"], weights_RG)
    for metric, (part, whole) in _RATIOS.items():
        yield _estimate(name, metric, sums[part], sums[whole], weights_RG)


def _of_vocabulary(
    name: str, tokenizer: Tokenizer, text: TextProfile, own: Profile, weights_RG: np.ndarray
) -> Iterator[Record]:
    vocab = tokenizer.vocab
    able, tokens, size = int(text_ids(vocab).sum()), int(own.sums["tokens"].sum()), int(text.sums["bytes"].sum())
    counts_V = own.id_counts(len(vocab))
    yield Record(name, "vocabulary", able, n=able)
    yield Record(name, "used", np.count_nonzero(counts_V[text_ids(vocab)]) / able, n=able)
    # An id that is not of text, such as the unknown token, may occur too.
    ceiling = max(2, able, int(np.count_nonzero(counts_V)))
    drawn = list(own.drawn(weights_RG, len(vocab)))
    values = [token_entropy(counts_V), renyi_efficiency(counts_V, ceiling)]
    draws = [
        np.array([f(counts) if counts.any() else np.nan for counts in drawn])
        for f in (token_entropy, lambda c: renyi_efficiency(c, ceiling))
    ]
    per_byte_R = draws[0] * (weights_RG @ own.sums["tokens"]) / (weights_RG @ text.sums["bytes"])
    per_byte = values[0] * tokens / size
    for metric, value, drawn_R, n in (
        ("entropy", values[0], draws[0], tokens),
        ("entropy per byte", per_byte, per_byte_R, size),
        ("renyi efficiency", values[1], draws[1], tokens),
    ):
        yield Record(name, metric, value, *_interval(value, _centred(drawn_R, value)), n=n)


def _of_speed(name: str, own: Profile, rng: np.random.Generator) -> Iterator[Record]:
    read, seconds = own.speed.sum(0)
    enough = len(own.speed) >= FEWEST_STRETCHES
    drawn = resample(len(own.speed), RESAMPLES if enough else 1, rng)[: RESAMPLES * enough] @ own.speed
    value = read / seconds / 1e6
    yield Record(name, "speed", value, *_interval(value, drawn[:, 0] / drawn[:, 1] / 1e6), n=int(read))


def _of_languages(
    name: str, tokenizer: Tokenizer, parallel: Parallel, base: int, weights_RS: np.ndarray
) -> Iterator[Record]:
    tokens_SL = parallel_tokens(tokenizer, parallel)
    bytes_SL = np.array([[len(text.encode()) for text in row] for row in parallel.rows])
    for i, language in enumerate(parallel.languages):
        tokens_S = tokens_SL[:, i]
        for record in (
            Record(name, "language tokens", int(tokens_S.sum()), n=int(tokens_S.sum())),
            _estimate(name, "language bytes per token", bytes_SL[:, i], tokens_S, weights_RS),
            _estimate(name, "premium", tokens_S, tokens_SL[:, base], weights_RS),
        ):
            yield replace(record, language=language)
    total_L, drawn_RL = tokens_SL.sum(0), weights_RS @ tokens_SL
    value = float((total_L / total_L[base]).max())
    worst_R = (drawn_RL / drawn_RL[:, [base]]).max(1)
    yield Record(name, "worst premium", value, *_interval(value, worst_R), n=int(total_L[base]))


def _of_words(name: str, found: Boundaries, weights_RW: np.ndarray) -> Iterator[Record]:
    one = np.ones_like(found.tokens)
    yield _estimate(name, "boundary precision", found.shared, found.found, weights_RW)
    yield _estimate(name, "boundary recall", found.shared, found.right, weights_RW)
    yield _estimate(name, "boundary f1", 2 * found.shared, found.found + found.right, weights_RW)
    yield _estimate(name, "hard words", 1 * (found.shared < found.right), 1 * (found.right > 0), weights_RW)
    yield _estimate(name, "tokens per listed word", found.tokens, one, weights_RW)


def _of_lexicon(
    name: str, tokenizer: Tokenizer, own: Profile, lexicon: Lexicon, language: str | None, weights_RG: np.ndarray
) -> Iterator[Record]:
    vocab = tokenizer.vocab
    found = integrity_of_counts(vocab, own.id_counts(len(vocab)), lexicon, language=language)
    drawn = [
        integrity_of_counts(vocab, counts_V, lexicon, language=language)
        for counts_V in own.drawn(weights_RG, len(vocab))
    ]
    for kind, attribute in (("words", "valid"), ("pure", "pure")):
        for what, unit in (("distinct tokens", "unique"), ("occurrences", "occurrences"), ("bytes", "bytes")):
            value = getattr(getattr(found, attribute), unit) / 100
            drawn_R = np.array([getattr(getattr(one, attribute), unit) for one in drawn]) / 100
            n = getattr(getattr(found, attribute).of, unit)
            yield Record(name, f"{kind} of {what}", value, *_interval(value, _centred(drawn_R, value)), n=n)


def _centred(drawn_R: np.ndarray, value: float) -> np.ndarray:
    """Draws moved to the estimate. Fewer kinds of tokens are drawn than there are, so what depends on them is off in all draws;
    the interval is of their spread."""
    return drawn_R + value - np.nanmean(drawn_R) if np.isfinite(drawn_R).any() else drawn_R
