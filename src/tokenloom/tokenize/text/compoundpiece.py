"""CompoundPiece: split compound words into their parts, and build a subword vocabulary that respects the parts.

Minixhofer, Pfeiffer, Vulić 2023, "CompoundPiece: Evaluating and Improving Decompounding Performance of Language Models",
arXiv 2305.14214. Words that some people write with a hyphen teach where words without one have their seams; the words of a
corpus are split there, and a Unigram vocabulary is trained on the parts. To use the vocabulary no splitter is needed.

Differs from the authors' code: the splitter is a small boundary model (decompounder.py), not ByT5; the search for the best
cut is a dynamic programme, to the same cuts.
"""
# n characters of a word, m constituents

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp

import numpy as np
import regex
from numba import njit

from ...core.errors import InvalidInput
from ...hosts.json_tokenizer import JsonTokenizer
from ...hosts.train import unigram_of_counts
from ...hosts.utf8 import valid_runs
from .decompounder import Decompounder, Taught

__all__ = ["CompoundPiece", "corrupt", "hyphen_lessons", "hyphenated", "piece_counts", "segment_by", "word_counts"]


# -- step 1: from dictionary forms to substrings -----------------------------------------------------------------------


def segment_by(word: str, constituents: Sequence[str], *, prefix: bool = False) -> list[str] | None:
    """Cut `word` where its constituents, given as dictionary forms, fit best.

    A part is longer or shorter than its constituent by an offset, at most as long as that, and has at least one character;
    the sum of the Levenshtein distances of parts and constituents, in lower case, is least. Of equals the last is taken in
    the order of the rising sum of offsets without their signs, then of rising offsets from the left: a linking letter goes
    to the part before it.

    Args:
        word: the compound, without a hyphen.
        constituents: at least two, none empty.
        prefix: take the first of equals instead of the last.
    Returns: the parts, which put together are the word; None where no lengths fit.
    Raises: InvalidInput: fewer than two constituents, an empty one, a word with a hyphen.

    >>> segment_by("Bundestagswahl", ["Bundestag", "Wahl"]), segment_by("Schwimmbad", ["schwimmen", "Bad"])
    (['Bundestags', 'wahl'], ['Schwimm', 'bad'])
    """
    if len(constituents) < 2:
        raise InvalidInput(f"{word!r} has {len(constituents)} constituents; a compound has two at least")
    if not all(constituents):
        raise InvalidInput(f"{word!r} has an empty constituent among {list(constituents)}")
    if "-" in word:
        raise InvalidInput(f"{word!r} has a hyphen; it is cut there already")
    starts = np.cumsum([0, *map(len, constituents)])
    lengths = _best_lengths(_codes(word), _codes("".join(constituents)), starts, prefix)
    if not lengths.size:
        return None
    edges = np.cumsum([0, *lengths]).tolist()
    return [word[begin:end] for begin, end in pairwise(edges)]


def _codes(text: str) -> np.ndarray:
    # Letter by letter, because a few become two in lower case.
    return np.array([ord(c.lower()) if len(c.lower()) == 1 else ord(c) for c in text], np.uint32)


@njit(cache=True, nogil=True)
def _best_lengths(word, parts, starts, prefix):
    """Characters of each part, int64 (m,), or none; suffix by suffix, so that of equals the left offset decides."""
    n, m = word.size, starts.size - 1
    far = np.int64(1 << 40)
    # Distance and the sum of |offsets|, least distance first; the sum is wanted large, or small for `prefix`.
    cost = np.full((m + 1, n + 1), far, np.int64)
    choice = np.zeros((m + 1, n + 1), np.int64)
    cost[m, n] = 0
    sign = 1 if prefix else -1
    row = np.empty(parts.size + 1, np.int64)
    for k in range(m - 1, -1, -1):
        size = starts[k + 1] - starts[k]
        for begin in range(n):
            row[: size + 1] = np.arange(size + 1)
            for length in range(1, min(2 * size, n - begin) + 1):
                before, row[0] = row[0], length
                for j in range(size):
                    different = word[begin + length - 1] != parts[starts[k] + j]
                    before, row[j + 1] = row[j + 1], min(before + different, row[j] + 1, row[j + 1] + 1)
                rest = cost[k + 1, begin + length]
                if rest >= far // 2:
                    continue
                total = rest + (row[size] << 20) + sign * abs(length - size)
                better = total < cost[k, begin] or (total == cost[k, begin] and not prefix)
                if better:
                    cost[k, begin], choice[k, begin] = total, length
    lengths, at = np.empty(m, np.int64), 0
    if cost[0, 0] >= far // 2:
        return lengths[:0]
    for k in range(m):
        lengths[k] = choice[k, at]
        at += lengths[k]
    return lengths


# -- step 2: hyphens as teachers ---------------------------------------------------------------------------------------

_EDGES = regex.compile(r"^[\p{P}\p{S}]+|[\p{P}\p{S}]+$")


def word_counts(texts: Iterable[str | bytes]) -> Counter[str]:
    """The words of texts between white space, without punctuation at their edges, and how often each occurs."""
    counts: Counter[str] = Counter()
    for text in texts:
        for run in valid_runs(text):
            if isinstance(run, str):
                counts.update(run.replace("\u2010", "-").split())
    words: Counter[str] = Counter()
    for word, count in counts.items():
        if trimmed := _EDGES.sub("", word):
            words[trimmed] += count
    return words


def hyphenated(word: str) -> bool:
    """Whether the hyphens of `word` may teach: words of letters, no address, no abbreviation, no number behind letters.

    >>> [hyphenated(word) for word in ("Mund-Nasen-Schutz", "E-Mail", "ODBC-Treiber", "a--b", "Haus")]
    [True, False, False, False, False]
    """
    parts = word.split("-")
    return (
        len(parts) > 1
        and len(word.encode()) <= 64
        and not any(c in ".@{}/[]" for c in word)
        and "--" not in word
        and all(len(part) >= 2 for part in parts)
        and not any(c.isupper() for part in parts for c in part[1:])
        and not any(b.isdigit() and not a.isdigit() for a, b in pairwise(word))
        and not any(all(c.isupper() or c.isdigit() for c in part) for part in parts)
    )


def corrupt(word: str, rng: np.random.Generator, probability: float = 0.999) -> tuple[str, list[int]]:
    """Take the hyphens out, so that nothing but the letters shows where they were.

    The case of the letter behind a hyphen becomes that of the one before with a given probability: lower before upper
    makes lower, upper before lower makes upper, all else stays.

    Returns: the word, and the positions where the hyphens were.

    >>> [corrupt(word, np.random.default_rng(0), 1.0)[0] for word in ("Mund-Nasen-Schutz", "E-Mail-Adresse")]
    ['Mundnasenschutz', 'EMailadresse']
    """
    out: list[str] = []
    cuts = []
    for at, letter in enumerate(word):
        if letter == "-":
            cuts.append(len(out))
            continue
        if at >= 2 and word[at - 1] == "-" and rng.random() < probability:
            before = word[at - 2]
            if before == before.lower() and letter == letter.upper():
                letter = letter.lower()
            elif before == before.upper() and letter == letter.lower():
                letter = letter.upper()
        out.append(letter)
    return "".join(out), cuts


def hyphen_lessons(counts: Mapping[str, int], *, rng: np.random.Generator, probability: float = 0.999) -> list[Taught]:
    """What the hyphens of a corpus teach: words whose hyphens were taken out, and as many common words without one.

    A word is left out if it is seen once; a hyphenated one also if it is seen less than e^-6 times as often as the same
    word written together, in whatever case. Of several ways to hyphenate a word the most frequent stays.

    Args:
        counts: as `word_counts` makes them.
        rng: for the case of letters behind hyphens.
        probability: that their case is changed.
    Returns: words and the positions of their hyphens, sorted by word.
    """
    together: Counter[str] = Counter()
    for word, count in counts.items():
        together[word.lower()] += count
    best: dict[str, str] = {}
    for word in sorted(counts, key=lambda word: (-counts[word], word)):
        if counts[word] > 1 and hyphenated(word):
            joined = word.replace("-", "").lower()
            if counts[word] >= together[joined] * exp(-6):
                best.setdefault(joined, word)
    plain = (word for word, count in counts.items() if count > 1 and word.isalpha() and word.lower() not in best)
    common = sorted(plain, key=lambda word: (-counts[word], word))[: len(best)]
    lessons = [corrupt(word, rng, probability) for word in sorted(best.values())]
    return [*lessons, *((word, []) for word in sorted(common))]


# -- step 5: the vocabulary --------------------------------------------------------------------------------------------

_PIECE = regex.compile(r"(\s*)([\p{P}\p{S}]+|[^\s\p{P}\p{S}]+)")


def piece_counts(texts: Iterable[str | bytes]) -> Counter[str]:
    """The pieces of NFKC texts: runs of punctuation and what lies between them, a space before for any white space."""
    counts: Counter[tuple[str, str]] = Counter()
    for text in texts:
        for run in valid_runs(text):
            if isinstance(run, str):
                counts.update(_PIECE.findall(unicodedata.normalize("NFKC", run)))
    pieces: Counter[str] = Counter()
    for (space, piece), count in counts.items():
        pieces[" " * bool(space) + piece] += count
    return pieces


@dataclass(frozen=True)
class CompoundPiece:
    """Train a Unigram vocabulary on the constituents of words, so that its pieces seldom straddle a seam.

    Args:
        vocab_size: ids in all, 256 bytes and special tokens included; fewer where too little repeats itself in the words. The
            authors' monolingual ones have 32,768.
        resolution: counts are divided by it, and pieces seen less often left out; the authors' 16 is for billions of
            words, 1 keeps all.
        special: tokens that no text produces; they get the last ids.
        name: of the tokenizer.
    Raises: InvalidInput: a vocabulary smaller than bytes and special tokens, a resolution below 1.
    """

    vocab_size: int
    resolution: int = 1
    special: tuple[str, ...] = ("<|endoftext|>",)
    name: str = "compoundpiece"

    def __post_init__(self) -> None:
        if self.vocab_size < 256 + len(self.special):
            raise InvalidInput(
                f"vocab_size={self.vocab_size}; 256 bytes and {len(self.special)} special tokens need more"
            )
        if self.resolution < 1:
            raise InvalidInput(f"resolution={self.resolution}; it must be >= 1")

    def __call__(
        self,
        texts: Iterable[str | bytes],
        *,
        rng: np.random.Generator | None = None,
        decompounder: Decompounder | None = None,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> JsonTokenizer:
        """Train on `texts`, read once.

        Args:
            texts: a stream of documents; bytes that are not UTF-8 are left out.
            rng: for a decompounder that learns from the hyphens of `texts`.
            decompounder: splits words; None learns one.
            progress: called with what is being done, how much of it is done, and of how much (None: not known).
        Raises: InvalidInput: there is no text, or neither `decompounder` nor `rng`, or no hyphen to learn from.
        """
        if decompounder is None and not isinstance(rng, np.random.Generator):
            raise InvalidInput("give rng=numpy.random.default_rng(seed), or a decompounder")
        pieces: Counter[str] = Counter()
        words: Counter[str] = Counter()
        for number, text in enumerate(texts, 1):
            pieces.update(piece_counts([text]))
            if decompounder is None:
                words.update(word_counts([text]))
            if progress is not None:
                progress("texts read", number, None)
        if not pieces:
            raise InvalidInput("there is no text to train on")
        if decompounder is None:
            assert rng is not None
            lessons = hyphen_lessons(words, rng=rng)
            if not lessons:
                raise InvalidInput(
                    "no hyphenated word occurs twice in the texts: nothing teaches where words are put together"
                )
            decompounder = Decompounder.learn(lessons, words, rng=rng)
        return self.learn(pieces, decompounder)

    def learn(self, pieces: Mapping[str, int], decompounder: Decompounder | None) -> JsonTokenizer:
        """Train on pieces that are counted already; without a decompounder it is the plain Unigram baseline."""
        kept = {piece: count // self.resolution for piece, count in pieces.items() if count >= self.resolution}
        kept = {piece: count for piece, count in kept.items() if len(piece.encode()) < 32}
        if not kept:
            raise InvalidInput(f"no piece of less than 32 bytes is seen {self.resolution} times")
        return unigram_of_counts(
            _constituents(kept, decompounder), self.vocab_size, special=self.special, name=self.name
        )


def _constituents(pieces: Mapping[str, int], decompounder: Decompounder | None) -> Counter[str]:
    """How often each constituent occurs; one that begins a word keeps the space before it. What has no letter stays whole."""
    words = sorted(pieces)
    bodies = [word.strip() for word in words]
    lettered = [body for body in bodies if any(map(str.isalpha, body))]
    parts = {} if decompounder is None else dict(zip(lettered, decompounder(lettered)))
    counts: Counter[str] = Counter()
    for word, body in zip(words, bodies):
        for k, part in enumerate(parts.get(body, [body])):
            counts[" " * (k == 0 and word[0] == " ") + part] += pieces[word]
    return counts
