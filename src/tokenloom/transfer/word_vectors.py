"""Static vectors of words: what they say of the tokens of a vocabulary, and how two languages come into one space.

Minixhofer, Paischer, Rekabsaz 2022, "WECHSEL", sections 3.1 and 3.2. Vectors of character n-grams are those of fastText: Bojanowski
et al. 2017, arXiv 1607.04606. The alignment is orthogonal Procrustes: Schönemann 1966; Artetxe et al. 2016.
"""
# W words, V ids, D width, P pairs, n strings

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numba import njit

from ..core.errors import InvalidInput, require
from ..core.tokenizer import Tokenizer
from ..core.vocabulary import Kind, Vocabulary

__all__ = ["CharGrams", "WordVectors", "procrustes", "subword_vectors", "token_words"]

_MAPPED = 100_000  # rows that fastText's own reduction looks at


@dataclass(frozen=True, eq=False)
class CharGrams:
    """Vectors of the character n-grams of "<word>", hashed into buckets as fastText does it.

    Args:
        vectors: float32 (buckets, D).
        shortest, longest: characters of an n-gram.
    """

    vectors: np.ndarray
    shortest: int
    longest: int

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or not len(self.vectors) or not np.isfinite(self.vectors).all():
            raise InvalidInput(f"vectors of n-grams, {self.vectors.shape}, must be finite rows, one at least")
        if not 1 <= self.shortest <= self.longest:
            raise InvalidInput(f"n-grams of {self.shortest} … {self.longest} characters; 1 <= shortest <= longest")


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Static vectors of the words of one language.

    Args:
        words: each once, the most frequent first.
        vectors: float32 (W, D). With n-grams, a word's own vector, which is one part of it among others.
        counts: how often each word occurs, or anything in proportion to it: positive, float64 (W,).
        grams: vectors of n-grams, which give every string of some length a vector.
    Raises: InvalidInput: no words, one twice, sizes that do not fit, D = 0, values that are not finite.

    >>> vectors = WordVectors(["dog", "cat"], np.eye(2), [2, 1])
    >>> vectors.of(["cat", "bird"]).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """

    words: Sequence[str]
    vectors: np.ndarray
    counts: np.ndarray
    grams: CharGrams | None = None

    def __post_init__(self) -> None:
        vectors, counts = np.asarray(self.vectors, np.float32), np.asarray(self.counts, np.float64)
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "counts", counts)
        n = len(self.words)
        if not n or vectors.ndim != 2 or len(vectors) != n or not vectors.shape[1] or counts.shape != (n,):
            raise InvalidInput(
                f"{n} words, vectors of shape {vectors.shape}, counts of shape {counts.shape}; "
                "each word needs a vector of width >= 1 and a count"
            )
        if not np.isfinite(vectors).all():
            raise InvalidInput(f"the vector of {self.words[int(np.isfinite(vectors).all(1).argmin())]!r} is not finite")
        if not (np.isfinite(counts) & (counts > 0)).all():
            raise InvalidInput("counts of words must be positive and finite")
        if len(self.index) < n:
            twice = next(word for i, word in enumerate(self.words) if self.index[word] != i)
            raise InvalidInput(f"the word {twice!r} is there twice")
        if self.grams is not None and self.grams.vectors.shape[1] != vectors.shape[1]:
            raise InvalidInput(f"n-grams have width {self.grams.vectors.shape[1]}, words {vectors.shape[1]}")

    @cached_property
    def index(self) -> dict[str, int]:
        """The place of each word."""
        return {word: i for i, word in enumerate(self.words)}

    @property
    def width(self) -> int:
        """D."""
        return self.vectors.shape[1]

    def of(self, strings: Sequence[str]) -> np.ndarray:
        """The vectors of strings, float32 (n, D); rows of zeros where nothing is known.

        With n-grams: the mean of the word's own vector, if it is known, and of its n-grams.
        """
        places = np.array([self.index.get(string, -1) for string in strings], np.int64)
        if self.grams is None:
            return np.where(places[:, None] < 0, np.float32(0), self.vectors[places])
        # Nothing has no n-grams, and neither has what stands for the end of a line in fastText.
        bare = {"", "</s>"} if "</s>" in self.index else {""}
        data = [b"" if string in bare else f"<{string}>".encode() for string in strings]
        starts = np.cumsum([0, *map(len, data)])
        text = np.frombuffer(b"".join(data), np.uint8)
        grams = self.grams
        return _means(text, starts, places, self.vectors, grams.vectors, grams.shortest, grams.longest)

    def whole(self) -> WordVectors:
        """The same without n-grams; each word keeps the vector that it had with them."""
        return replace(self, vectors=self.of(self.words), grams=None)

    def reduced(self, width: int) -> WordVectors:
        """Narrower vectors: the directions in which the most frequent 100,000 words vary most.

        Raises: InvalidInput: `width` is not 1 … D.
        """
        if not 1 <= width <= self.width:
            raise InvalidInput(f"width={width}; it must be 1 … {self.width}")
        sample = self.vectors[:_MAPPED].astype(np.float64)
        # Of a covariance of one word there is only zero.
        _, directions = np.linalg.eigh(np.cov(sample, rowvar=False, bias=True).reshape(self.width, self.width))
        top = directions[:, ::-1][:, :width].astype(np.float32)
        grams = None if self.grams is None else replace(self.grams, vectors=self.grams.vectors @ top)
        return replace(self, vectors=self.vectors @ top, grams=grams)


def token_words(vocab: Vocabulary) -> list[str]:
    """What each id is as a word: its text without the white space around it.

    Special and unused ids, and bytes that are not UTF-8, have "".

    >>> token_words(Vocabulary([b" dog", b"dog", b"\\xc3", b" "], special=[b"<s>"]))
    ['dog', 'dog', '', '', '']
    """
    words = []
    for token, kind in zip(vocab, vocab.kinds.tolist()):
        try:
            words.append(token.decode().strip() if kind <= Kind.BYTE else "")
        except UnicodeDecodeError:
            words.append("")
    return words


def subword_vectors(tokenizer: Tokenizer, vectors: WordVectors, *, max_words: int | None = None) -> np.ndarray:
    """Vectors of the tokens of a vocabulary in the space of the words.

    With n-grams, the vector of a token is that of its text as a word. Without, it is the mean of the words in which the
    tokenizer uses it, weighted by their counts: each word is cut at the beginning of a text and behind a space, and a token of both
    cuts has it twice.

    Args:
        max_words: without n-grams, how many words are cut, the most frequent first; None for all.
    Returns: float32 (V, D), rows of zeros for tokens that nothing is known of, and for special ones.
    Raises: InvalidInput: `max_words` below 1.
    """
    if max_words is not None and max_words < 1:
        raise InvalidInput(f"max_words={max_words}; it must be >= 1")
    if vectors.grams is not None:
        return vectors.of(token_words(tokenizer.vocab))
    sparse = require("scipy.sparse", "transfer")
    words = vectors.words[:max_words]
    shape = (len(tokenizer.vocab), len(words))
    uses = sparse.csr_array(shape, dtype=np.float64)
    for before in ("", " "):
        cut = tokenizer.encode_batch([before + word for word in words])
        columns = np.repeat(np.arange(len(words)), cut.lengths)
        once = np.unique(np.stack([cut.ids.astype(np.int64), columns]), axis=1)
        uses = uses + sparse.csr_array((vectors.counts[once[1]], (once[0], once[1])), shape=shape)
    total = uses.sum(axis=1)
    total[tokenizer.vocab.kinds > Kind.BYTE] = 0
    summed = uses @ vectors.vectors[: len(words)].astype(np.float64)
    used = total > 0
    made = np.zeros((shape[0], vectors.width), np.float32)
    made[used] = summed[used] / total[used, None]
    return made


def procrustes(old: WordVectors, new: WordVectors, dictionary: Iterable[tuple[str, str]]) -> np.ndarray:
    """The rotation that brings the vectors of `old` to those of their translations.

    R = argmin ‖A R - B‖ over orthogonal R = U Vᵀ, with U Σ Vᵀ the singular values of Aᵀ B. Each pair is looked up as it is, in
    lower and in title case on both sides; every hit is a row of A and of B, and those found more than once count so.

    Args:
        old, new: of the same width.
        dictionary: pairs of an old word and a new one.
    Returns: R, float64 (D, D).
    Raises: InvalidInput: widths that differ, or no pair with both words known.
    """
    if old.width != new.width:
        raise InvalidInput(f"vectors have widths {old.width} and {new.width}; reduce the wider ones")
    found = [
        (a, b)
        for pair in dictionary
        for a in _cases(pair[0])
        if a in old.index
        for b in _cases(pair[1])
        if b in new.index
    ]
    if not found:
        raise InvalidInput("no pair of the dictionary has both words among the vectors; are its columns swapped?")
    a_PD, b_PD = (side.of(words).astype(np.float64) for side, words in zip((old, new), zip(*found)))
    rotation, _ = require("scipy.linalg", "transfer").orthogonal_procrustes(a_PD, b_PD)
    return rotation


def _cases(word: str) -> tuple[str, str, str]:
    return word, word.lower(), word.title()


@njit(cache=True, nogil=True)
def _means(text, starts, places, words_WD, grams_BD, shortest, longest):
    n, width = places.size, words_WD.shape[1]
    out = np.zeros((n, width), np.float32)
    total = np.empty(width, np.float64)
    buckets = np.uint64(grams_BD.shape[0])
    for s in range(n):
        parts = 0
        total[:] = 0
        if places[s] >= 0:
            total += words_WD[places[s]]
            parts = 1
        begin, end = starts[s], starts[s + 1]
        for i in range(begin, end):
            if text[i] & 0xC0 == 0x80:  # inside a character
                continue
            h, j, length = np.uint64(2166136261), i, 0
            while j < end and length < longest:
                while True:
                    # fastText takes bytes as signed: those above 127 set the upper bits.
                    byte = np.uint64(text[j]) | np.uint64(0xFFFFFF00 if text[j] > 127 else 0)
                    h = ((h ^ byte) * np.uint64(16777619)) & np.uint64(0xFFFFFFFF)
                    j += 1
                    if j == end or text[j] & 0xC0 != 0x80:
                        break
                length += 1
                # The marks of beginning and end are no n-grams by themselves.
                if length >= shortest and not (length == 1 and (i == begin or j == end)):
                    total += grams_BD[np.int64(h % buckets)]
                    parts += 1
        if parts:
            out[s] = total / parts
    return out
