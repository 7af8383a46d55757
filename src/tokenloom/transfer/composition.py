"""Rows of tokens from the rows of their pieces, and the plainest of methods, with which others are compared.

FVT: Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression", EMNLP industry track: the mean of the rows of
the pieces that the old tokenizer makes of a token. ReTok (Gu et al. 2024, arXiv 2410.04335) begins with the same rows.
"""
# O old ids, N new ids, n pieces of a token

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import TokenizerError
from ..core.tokenizer import Tokenizer
from ..core.vocabulary import Kind, Vocabulary
from .rows import Origin, Rows, ragged_rows

__all__ = ["FVT", "Mean", "Random", "pieces_of", "unshared"]

# No vocabulary joins it with what stands behind it.
_SIGN = "◆".encode()

Pairs = tuple[np.ndarray, np.ndarray]


def pieces_of(tokenizer: Tokenizer, tokens: Sequence[bytes]) -> list[np.ndarray]:
    """The ids that `tokenizer` makes of each token inside a text: int32 (n,); special ids, the unknown one among them, are left out.

    A token with a byte that the vocabulary lacks has none (SmolLM2 has no b"\\xc0"). A tokenizer that puts a word mark before a text gets a sign before each token, and what it makes of that is taken off.

    >>> from tokenloom.hosts import load_tokenizer
    >>> [ids.tolist() for ids in pieces_of(load_tokenizer("bytes"), [b" a", b"\\xc3"])]
    [[32, 97], [195]]
    """
    vocab = tokenizer.vocab
    text = vocab.kinds <= Kind.BYTE
    marks = bool(tokenizer.encode("a").ids.size) and vocab.decode(tokenizer.encode("a").ids) == b" a"
    found = []
    for token, ids in zip(tokens, _encoded(tokenizer, tokens)):
        if marks and ids.size:
            seg = tokenizer.encode(_SIGN + token)
            if len(_SIGN) in seg.offsets:
                ids = seg.ids[seg.offsets[:-1] >= len(_SIGN)]
        found.append(ids[text[ids]])
    return found


def _encoded(tokenizer: Tokenizer, tokens: Sequence[bytes]) -> Sequence[np.ndarray]:
    try:
        return tokenizer.encode_batch(tokens)
    except TokenizerError:
        return [_one(tokenizer, token) for token in tokens]  # to find out which they are


def _one(tokenizer: Tokenizer, token: bytes) -> np.ndarray:
    try:
        return tokenizer.encode(token).ids
    except TokenizerError:
        return np.zeros(0, np.int32)


def unshared(new: Vocabulary, pairs: Pairs) -> np.ndarray:
    """New ids of text that have no old one: int64, ascending."""
    missing = new.kinds <= Kind.BYTE
    missing[pairs[1]] = False
    return np.flatnonzero(missing)


@dataclass(frozen=True)
class FVT:
    """A new token is the mean of the pieces that the old tokenizer makes of it."""

    def __call__(self, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Rows:
        """Rows for the vocabulary of `new`; `pairs` are the shared ids, see `shared_ids`."""
        ids = unshared(new.vocab, pairs)
        pieces = pieces_of(old, [new.vocab[i] for i in ids.tolist()])
        weights = [np.full(len(one), 1 / max(1, len(one))) for one in pieces]
        made = ragged_rows(pieces, weights, len(old.vocab))
        return Rows.copied(old.vocab, new.vocab, pairs).with_rows(ids, made, Origin.COMPOSED)


@dataclass(frozen=True)
class Mean:
    """A new token is the mean of all old rows."""

    def __call__(self, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Rows:
        """As for `FVT`."""
        return Rows.copied(old.vocab, new.vocab, pairs, noise=0.0)


@dataclass(frozen=True)
class Random:
    """A new token is drawn: normal, with the mean and deviation of all values of the old table."""

    def __call__(self, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Rows:
        """As for `FVT`."""
        return Rows.copied(old.vocab, new.vocab, pairs, per_dimension=False)
