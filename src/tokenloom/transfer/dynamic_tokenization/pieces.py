"""The pieces of any token: longest match over the bytes of a vocabulary, and what a tokenizer makes of a token."""
# K strings, n pieces

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from ...core.errors import InvalidInput
from ...core.tokenizer import Tokenizer
from ...core.trie import child, trie_of
from ...core.vocabulary import Kind, Vocabulary
from ..composition import pieces_of

__all__ = ["LongestMatch", "spelled_pieces"]


class LongestMatch:
    """Cut bytes by the longest token that begins at a place, again and again.

    Args:
        vocab: its tokens of text; of ids that spell the same the preferred one is taken.

    >>> match = LongestMatch(Vocabulary([b"a", b"b", b"ab"]))
    >>> match(b"abba").tolist()
    [2, 1, 0]
    """

    def __init__(self, vocab: Vocabulary) -> None:
        text = np.flatnonzero(vocab.kinds <= Kind.BYTE)
        self._ids = np.array([i for i in text.tolist() if vocab.id_of(vocab[i]) == i], np.int32)
        tokens = [vocab[i] for i in self._ids.tolist()]
        starts = np.cumsum([0, *map(len, tokens)])
        self._table, self._string_of = trie_of(np.frombuffer(b"".join(tokens), np.uint8), starts)

    def __call__(self, data: bytes) -> np.ndarray:
        """Ids of the tokens of `data`, int32 (n,).

        Raises: InvalidInput: no token begins with some byte of it.
        """
        found, n = _longest(np.frombuffer(data, np.uint8), self._table, self._string_of)
        if n < 0:
            raise InvalidInput(f"no token begins with what is at byte {-n - 1} of {data[:40]!r}")
        return self._ids[found[:n]]


@njit(cache=True, nogil=True)
def _longest(data, table, string_of):
    """The strings, and how many; -1 - k where none begins at byte k."""
    found, n, at = np.empty(data.size, np.int32), 0, 0
    while at < data.size:
        node, best, end = np.int64(0), np.int32(-1), at
        for k in range(at, data.size):
            node = child(table, node, data[k])
            if node < 0:
                break
            if string_of[node] >= 0:
                best, end = string_of[node], k + 1
        if best < 0:
            return found, -1 - at
        found[n] = best
        n, at = n + 1, end
    return found, n


def spelled_pieces(tokenizer: Tokenizer, tokens: Sequence[bytes], match: LongestMatch) -> list[np.ndarray]:
    """The ids that `tokenizer` makes of each token, int32 (n,); where they do not spell it, those of the longest match.

    WordPiece, for one, reads a token by itself as the beginning of a word, which the end of a word is not.

    Args:
        match: over the vocabulary of `tokenizer`.
    """
    pieces = pieces_of(tokenizer, tokens)
    vocab = tokenizer.vocab
    return [ids if vocab.decode(ids) == token else match(token) for ids, token in zip(pieces, tokens)]
