"""Tokenization standards: of the tokens that a text becomes, how many are words, roots or affixes of its language.

Bayram, Fincan, Gümüş, Karakaş, Diri, Yıldırım 2025, "Tokenization Standards for Linguistic Integrity: Turkish as a Benchmark",
arXiv 2502.07057. Five numbers: ids of the vocabulary, tokens of the text, seconds, %TR (valid: words, roots or affixes) and
%Pure (roots or affixes), the last two over the different tokens. The paper asks a remote service about words; here a lexicon
answers. What the service does not send back the paper does not count; here each token is of a class that the result tells.

Over different tokens a percentage says nothing of frequency and is kind to tokenizers that use few tokens; so both
percentages come over three denominators: different tokens (the paper's), occurrences, and bytes of the different tokens.
"""
# V vocabulary

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, get_args

import numpy as np

from ..core.casing import lower
from ..core.errors import InvalidInput
from ..core.lexicon import Lexicon
from ..core.tokenizer import Tokenizer, as_bytes
from ..core.vocabulary import Kind, Vocabulary
from .correlations import Correlation, correlation

__all__ = [
    "PUBLISHED",
    "Amount",
    "Integrity",
    "Published",
    "Share",
    "Spaces",
    "Timing",
    "integrity_of_counts",
    "linguistic_integrity",
    "score_correlations",
]

Spaces = Literal["merged", "apart", "kept"]


@dataclass(frozen=True)
class Amount:
    """How much of the tokens.

    Args:
        unique: different tokens.
        occurrences: how often they stand in the text, together.
        bytes: of the different tokens, each once, in UTF-8.
    """

    unique: int = 0
    occurrences: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Share:
    """A part of a whole, over three denominators; percentages are nan where the whole is nothing.

    >>> half = Share(Amount(1, 30, 2), Amount(2, 40, 8))
    >>> half.unique, half.occurrences, half.bytes, str(half)
    (50.0, 75.0, 25.0, '50.00 % of 2 tokens, 75.00 % of 40 occurrences, 25.00 % of 8 bytes')
    """

    part: Amount
    of: Amount

    @property
    def unique(self) -> float:
        """Percent of the different tokens, as published."""
        return _percent(self.part.unique, self.of.unique)

    @property
    def occurrences(self) -> float:
        """Percent of their occurrences."""
        return _percent(self.part.occurrences, self.of.occurrences)

    @property
    def bytes(self) -> float:
        """Percent of the bytes of the different tokens."""
        return _percent(self.part.bytes, self.of.bytes)

    def __str__(self) -> str:
        return (
            f"{self.unique:.2f} % of {self.of.unique:,} tokens, {self.occurrences:.2f} % of {self.of.occurrences:,} "
            f"occurrences, {self.bytes:.2f} % of {self.of.bytes:,} bytes"
        )


@dataclass(frozen=True)
class Timing:
    """How long it takes, on one thread.

    Args:
        seconds: to encode the text and to decode each of its ids by itself, as published; mostly Python's loop.
        bytes_per_second: of encoding alone.
    """

    seconds: float
    bytes_per_second: float


@dataclass(frozen=True)
class Integrity:
    """The five numbers, and what became of all tokens: judged, without letters, or fragments.

    Args:
        vocabulary: ids.
        tokens: that the text becomes.
        valid: %TR: of the judged tokens those that are a word or an affix.
        pure: %Pure: those that are an affix or a root of some judged token. It depends on the text, and can exceed `valid`.
        pure_alone: those that are an affix or a root of themselves, whatever else the text has.
        letterless: white space, digits and signs: not judged.
        fragments: ids that stand for no characters by themselves, such as parts of a character and [UNK]: not judged.
        timing: None where only counts were given.
    """

    vocabulary: int
    tokens: int
    valid: Share
    pure: Share
    pure_alone: Share
    letterless: Amount
    fragments: Amount
    timing: Timing | None = None

    def metrics(self) -> dict[str, float]:
        """The five numbers as published, seconds only where they were measured."""
        five = {
            "vocabulary": self.vocabulary,
            "tokens": self.tokens,
            "%TR": self.valid.unique,
            "%Pure": self.pure.unique,
        }
        return five if self.timing is None else {**five, "seconds": self.timing.seconds}


def linguistic_integrity(
    tokenizer: Tokenizer,
    texts: Iterable[str],
    lexicon: Lexicon,
    *,
    language: str | None = None,
    spaces: Spaces = "merged",
) -> Integrity:
    """Measure a tokenizer on texts, each encoded by itself; the paper's is one text with all questions and options.

    Args:
        texts: one character at least.
        lexicon: of the language of the texts, asked in lower case.
        language: its code, for lower case: in Turkish, I is ı.
        spaces: what white space at the ends of a token means. "merged": nothing, `␣ev` and `ev` are one token. "apart":
            nothing, but they are two tokens. "kept": it is part of the token, so that only `ev` is a word.
    Raises: InvalidInput: there is no text, or no such rule. TokenizerError: the tokenizer cannot encode some of it.

    >>> from tokenloom.core.lexicon import WordList
    >>> from tokenloom.tokenize.text.bpe import BPE
    >>> tokenizer = BPE(265)(["ev evler kedi kediler " * 9])
    >>> tokenizer.encode("ev evler kediler").tokens()
    [b'ev', b' ev', b'ler', b' kedi', b'ler']
    >>> found = linguistic_integrity(tokenizer, ["ev evler kediler"], WordList(["ev"], ["ler"]), language="tr")
    >>> str(found.valid)
    '66.67 % of 3 tokens, 80.00 % of 5 occurrences, 55.56 % of 9 bytes'
    """
    texts = list(texts)
    if not any(texts):
        raise InvalidInput("there is no text; tokens of one character at least are judged")
    _check(spaces)
    begin = perf_counter()
    ids = tokenizer.encode_batch(texts, threads=1).ids
    encoded = perf_counter()
    for i in ids:
        tokenizer.decode(np.array([i]))
    timing = Timing(perf_counter() - begin, sum(len(as_bytes(text)) for text in texts) / (encoded - begin))
    counts_V = np.bincount(ids, minlength=len(tokenizer.vocab))
    return integrity_of_counts(tokenizer.vocab, counts_V, lexicon, language=language, spaces=spaces, timing=timing)


def integrity_of_counts(
    vocab: Vocabulary,
    counts_V: np.ndarray,
    lexicon: Lexicon,
    *,
    language: str | None = None,
    spaces: Spaces = "merged",
    timing: Timing | None = None,
) -> Integrity:
    """The same from how often each id occurs, int (V,), where that is known; other arguments as for `linguistic_integrity`.

    Raises: InvalidInput: counts of another length, below 0, or all 0; no such rule for white space.
    """
    _check(spaces)
    counts_V = np.asarray(counts_V)
    if counts_V.shape != (len(vocab),) or counts_V.dtype.kind not in "iu" or not counts_V.any() or counts_V.min() < 0:
        raise InvalidInput(
            f"counts of shape {counts_V.shape}, dtype {counts_V.dtype}; {len(vocab)} whole numbers, not all 0"
        )
    judged, letterless, fragments = Counter[str](), Counter[str](), Counter[bytes]()
    for i in np.flatnonzero(counts_V).tolist():
        count, text = int(counts_V[i]), _decoded(vocab, i)
        if text is None:
            fragments[vocab[i]] += count
            continue
        text = text.strip() if spaces == "merged" else text
        (judged if any(map(str.isalpha, text)) else letterless)[text] += count
    # What the lexicon is asked, each once: roots of one token may be credited to another.
    asked = {text: lower(text if spaces == "kept" else text.strip(), language) for text in judged}
    roots = {word: lexicon.roots(word) for word in set(asked.values())}
    anywhere = set().union(*roots.values())
    affixes = set(filter(lexicon.is_affix, roots))
    words = set(filter(lexicon.is_word, roots))
    own = {word for word, found in roots.items() if word in found}
    whole = _amount(judged)

    def share(known: set[str]) -> Share:
        return Share(_amount({text: count for text, count in judged.items() if asked[text] in known}), whole)

    return Integrity(
        vocabulary=len(vocab),
        tokens=int(counts_V.sum()),
        valid=share(words | affixes),
        pure=share(anywhere | affixes),
        pure_alone=share(own | affixes),
        letterless=_amount(letterless),
        fragments=Amount(len(fragments), sum(fragments.values()), sum(map(len, fragments))),
        timing=timing,
    )


@dataclass(frozen=True)
class Published:
    """A row of the paper's table.

    Args:
        vocabulary: ids.
        tokens: of 6,200 questions in Turkish with their options, 1,605,376 characters.
        unique: judged tokens.
        valid: %TR.
        pure: %Pure.
        score: percent of the questions that a model with this tokenizer answers, by the authors' choice of model.
        seconds: to encode, and to decode each id.
    """

    vocabulary: int
    tokens: int
    unique: int
    valid: float
    pure: float
    score: float
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The five numbers, named as those of `Integrity`."""
        return {
            "vocabulary": self.vocabulary,
            "tokens": self.tokens,
            "%TR": self.valid,
            "%Pure": self.pure,
            "seconds": self.seconds,
        }


#: The paper's table without the tokenizers made for Turkish. Its claim, that %TR goes with the score at r = 0.90, is of the
#: first, second, fourth and fifth row.
PUBLISHED: Mapping[str, Published] = {
    "gemma-2": Published(256_000, 497_015, 6_383, 48.63, 37.05, 72.10, 2.95),
    "llama-3.1": Published(128_256, 488_535, 6_823, 45.80, 30.91, 70.42, 3.12),
    "EuroLLM": Published(128_000, 497_173, 5_226, 47.01, 35.17, 51.29, 3.20),
    "Qwen2.5": Published(151_665, 561_866, 5_752, 40.33, 30.15, 61.68, 3.31),
    "aya-expanse": Published(255_029, 434_526, 8_562, 50.67, 32.96, 70.66, 2.77),
    "Mistral-Nemo": Published(131_072, 534_930, 4_354, 45.27, 36.08, 46.89, 3.14),
    "Phi-3.5": Published(32_011, 803_971, 3_640, 43.93, 34.42, 29.37, 4.55),
    "gpt-4o": Published(200_019, 491_137, 7_615, 42.14, 28.68, 84.84, 0.51),
}


def score_correlations(metrics: Sequence[Mapping[str, float]], scores: Sequence[float]) -> dict[str, Correlation]:
    """How strongly each number goes with the score of a task, over models; each with its n and interval.

    Args:
        metrics: of each model's tokenizer, all with the same names.
        scores: of each model. Models differ in more than their tokenizers: this is no effect of the tokenizer.
    Raises: InvalidInput: fewer than two models, another number of scores, or other names.

    >>> rows = [PUBLISHED[name] for name in ("gemma-2", "llama-3.1", "Qwen2.5", "aya-expanse")]
    >>> str(score_correlations([row.metrics() for row in rows], [row.score for row in rows])["%TR"])
    'r = 0.900 (-0.45 … 1.00, n = 4)'
    """
    if len(metrics) < 2 or len(scores) != len(metrics):
        raise InvalidInput(
            f"{len(metrics)} tokenizers and {len(scores)} scores; a correlation needs two at least, and as many"
        )
    if any(row.keys() != metrics[0].keys() for row in metrics):
        raise InvalidInput(f"not all tokenizers have the numbers {', '.join(metrics[0])}")
    y = np.array(scores, np.float64)
    return {name: correlation(np.array([row[name] for row in metrics], np.float64), y) for name in metrics[0]}


def _check(spaces: str) -> None:
    if spaces not in get_args(Spaces):
        raise InvalidInput(f"spaces={spaces!r}; choose {', '.join(map(repr, get_args(Spaces)))}")


def _decoded(vocab: Vocabulary, i: int) -> str | None:
    """What an id stands for by itself, None where that is no characters."""
    if vocab.kinds[i] >= Kind.SPECIAL:
        return None
    try:
        return vocab[i].decode()
    except UnicodeDecodeError:
        return None


def _amount(counts: Mapping[str, int]) -> Amount:
    return Amount(len(counts), sum(counts.values()), sum(len(text.encode()) for text in counts))


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float("nan")
