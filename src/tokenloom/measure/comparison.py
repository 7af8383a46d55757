"""Tokenizers side by side: every figure as a record with its interval and the number of cases that it rests on."""
# G stretches of text, R resamples, V vocabulary, S rows, L languages, W words

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..core.lexicon import Lexicon
from ..core.tokenizer import Tokenizer
from .distribution import renyi_efficiency, text_ids, token_entropy
from .metrics import METRICS, Record
from .morphology import Boundaries, boundaries
from .parity import Parallel, parallel_tokens
from .profile import Profile, TextProfile, profile
from .resampling import basic_interval, resample
from .tokenization_standards import integrity_of_counts

__all__ = ["ENTROPY_RESAMPLES", "LEXICON_RESAMPLES", "RESAMPLES", "Comparison", "Word", "compare"]

RESAMPLES = 1000
ENTROPY_RESAMPLES = 200
LEXICON_RESAMPLES = 50
# With fewer stretches of text the bootstrap knows too little of how they differ.
FEWEST_STRETCHES = 8


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
        text: the text, whatever the tokenizer.
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
    # Which id a count is of is nothing to an entropy, and most ids do not occur.
    used, place = np.unique(own.ids, return_inverse=True)
    drawn = list(replace(own, ids=place).drawn(weights_RG, used.size))
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
