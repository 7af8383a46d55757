"""WECHSEL: a model of one language gets the vocabulary of another, each new token made of the old ones that mean the like.

Minixhofer, Paischer, Rekabsaz 2022, "WECHSEL: Effective initialization of subword embeddings for cross-lingual transfer of
monolingual language models", NAACL, arXiv 2112.06598. Static word vectors of both languages are turned into one space by a
dictionary; every token of either vocabulary gets a vector there; a new row is the weighted mean of the old rows of its
nearest tokens.

Differs from the authors' code: neighbours are ids, not strings, so that added tokens do no harm; special tokens are nobody's
neighbours by their spelling; tokens that are no UTF-8 alone are drawn instead of sharing what "�" has; of two
widths the larger is reduced; an output bias follows the same weights.
"""
# O old ids, N new ids, D width of the word vectors, k neighbours

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import InvalidInput
from ..core.tokenizer import Tokenizer
from ..core.vocabulary import Kind
from .composition import Pairs
from .neighbours import nearest_rows
from .rows import Origin, Rows
from .word_vectors import WordVectors, procrustes, subword_vectors

__all__ = ["WECHSEL", "aligned"]


@dataclass(frozen=True, eq=False)
class WECHSEL:
    """A new token is the weighted mean of the old tokens nearest to it among word vectors; weights = softmax(cosine / temperature).

    Tokens without a vector are drawn, normal with mean and deviation of each dimension of the old table.

    Args:
        old_vectors: of the language of the model.
        new_vectors: of the language of the new tokenizer.
        dictionary: pairs of an old word and a new one, a few hundred at least; None where the vectors are in one space already.
        neighbours: old tokens in a mean.
        temperature: above 0; the lower, the more the nearest counts.
        max_words: for vectors without n-grams, how many words each tokenizer cuts, the most frequent first; None for all.
        copy_shared: keep the rows of text that both vocabularies hold, too. The authors keep those of special tokens only: the
            same letters may be another word.
    Raises: InvalidInput: `neighbours` below 1, a temperature that is not positive, `max_words` below 1.
    """

    old_vectors: WordVectors
    new_vectors: WordVectors
    dictionary: Sequence[tuple[str, str]] | None
    neighbours: int = 10
    temperature: float = 0.1
    max_words: int | None = None
    copy_shared: bool = False

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise InvalidInput(f"neighbours={self.neighbours}; it must be >= 1")
        if not 0 < self.temperature < np.inf:
            raise InvalidInput(f"temperature={self.temperature}; it must be above 0 and finite")
        if self.max_words is not None and self.max_words < 1:
            raise InvalidInput(f"max_words={self.max_words}; it must be >= 1")

    def __call__(self, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Rows:
        """Rows for the vocabulary of `new`; `pairs` are the shared ids, see `shared_ids`.

        Raises: InvalidInput: more neighbours than old ids, or no pair of the dictionary with both words known.
        """
        if not self.copy_shared:
            special = new.vocab.kinds[pairs[1]] == Kind.SPECIAL
            pairs = pairs[0][special], pairs[1][special]
        vectors_OD, vectors_ND = aligned(
            old, new, self.old_vectors, self.new_vectors, self.dictionary, max_words=self.max_words
        )
        known = np.asarray(vectors_ND.any(axis=1))
        known[pairs[1]] = False
        ids = np.flatnonzero(known)
        made = nearest_rows(vectors_ND[ids], vectors_OD, self.neighbours, temperature=self.temperature)
        return Rows.copied(old.vocab, new.vocab, pairs).with_rows(ids, made, Origin.NEIGHBOURS)


def aligned(
    old: Tokenizer,
    new: Tokenizer,
    old_vectors: WordVectors,
    new_vectors: WordVectors,
    dictionary: Sequence[tuple[str, str]] | None,
    *,
    max_words: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the tokens of two vocabularies in one space: those of the old are turned to those of the new.

    Args:
        dictionary: pairs of an old word and a new one; None where the vectors are in one space already.
        max_words: as for `subword_vectors`.
    Returns: float32 (O, D) and (N, D), with D the smaller width of the two; rows of zeros for tokens of which nothing is known.
    Raises: InvalidInput: no pair has both words among the vectors.
    """
    width = min(old_vectors.width, new_vectors.width)
    old_vectors, new_vectors = (v if v.width == width else v.reduced(width) for v in (old_vectors, new_vectors))
    vectors_OD, vectors_ND = (
        subword_vectors(tokenizer, vectors, max_words=max_words)
        for tokenizer, vectors in ((old, old_vectors), (new, new_vectors))
    )
    if dictionary is not None:
        vectors_OD = (vectors_OD @ procrustes(old_vectors, new_vectors, dictionary)).astype(np.float32)
    return vectors_OD, vectors_ND
