"""TokenAdapt: a token that only the new vocabulary has is made of its old pieces and of the old tokens that mean the like.

Sharthak, Pahalwan, Kamath, Shirawalmath 2025, "Achieving Tokenizer Flexibility in Language Models through Heuristic Adaptation and
Supertoken Learning", arXiv 2505.09738, the half on transplants; the other half is `tokenize.text.supertokens`. Text is compared by
its bytes where the authors compare the spelling of tokens, so tokenizers of different families share what they can.
"""
# n tokens of the new vocabulary only, P their pieces one after the other, O old ids, k neighbours, D width of the encoder

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput
from ..core.tokenizer import Tokenizer
from ..core.vocabulary import Kind, Vocabulary
from .composition import Pairs, pieces_of, unshared
from .neighbours import nearest
from .rows import Origin, Rows, ragged_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Encoder", "Estimates", "TokenAdapt"]

Encoder = Callable[[list[str]], np.ndarray]

# Pairs of vectors whose cosines are computed at once.
_BLOCK = 8192


@dataclass(frozen=True, eq=False)
class Estimates:
    """The two estimates of the tokens that only the new vocabulary has, as weights of old rows.

    Args:
        ids: of the tokens, int64 (n,), ascending.
        local: of the pieces, a CSR array of float64 (n, O); a row sums to 1, or is empty where no piece is known.
        neighbours: of the like tokens, the same; empty where the token is no text, or no old token is alike.
        twins: how many of the k neighbours the encoder cannot tell from the token or from a nearer neighbour, int64 (n,). An
            encoder that ignores case and space finds " the", "The" and "the" for "THE": three neighbours, three twins.
    """

    ids: np.ndarray
    local: csr_array
    neighbours: csr_array
    twins: np.ndarray


@dataclass(frozen=True)
class TokenAdapt:
    """A new token t is a mixture, (1 - w) e_local + w e_global; where one of the two is missing it is the other, without both drawn.

    Local: over the pieces b that the old tokenizer makes of t, with cosines c of the encoder's vectors of b and t,

        p = softmax(c),  l = characters of b / characters of t,  weights = softmax((p + l) / 2 T)

    Global: over the k old tokens with the largest cosines s to t, weights = softmax(s / T), 0 where s is below the threshold, and
    normalised again. T is the temperature + 1e-5, as the authors have it.

    What is not UTF-8 by itself has no vector: as a token it has the local estimate only, with equal p; as a piece its c is 0, and
    as an old token it is no neighbour. Characters are counted by their first bytes, so that halves of one are no two.

    Args:
        encoder: texts → their vectors, float (texts, D), of any length; `hosts.sentence_encoder.SentenceEncoder` for instance.
        k: neighbours, at least 1.
        temperature: above 0. High, the local half is FVT's mean; low, it is the best piece.
        global_weight: w, 0 … 1. The paper's table has 0.3 at temperature 0.6.
        threshold: -1 … 1; the authors' results are worse with higher ones.
    Raises: InvalidInput: settings out of range.
    """

    encoder: Encoder
    k: int = 3
    temperature: float = 0.3
    global_weight: float = 0.3
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidInput(f"k={self.k}; at least 1 neighbour is needed")
        if not 0 < self.temperature < np.inf:
            raise InvalidInput(f"temperature={self.temperature}; it must be above 0 and finite")
        if not 0 <= self.global_weight <= 1:
            raise InvalidInput(f"global_weight={self.global_weight}; it is a share, 0 … 1")
        if not -1 <= self.threshold <= 1:
            raise InvalidInput(f"threshold={self.threshold}; cosines are -1 … 1")

    def __call__(self, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Rows:
        """Rows for the vocabulary of `new`; `pairs` are the shared ids, see `shared_ids`.

        Raises: InvalidInput: the encoder gives other shapes, or values that are not finite.
        """
        return self.mixed(self.estimates(old, new, pairs), old, new, pairs)

    def mixed(self, found: Estimates, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Rows:
        """Rows of estimates, which do not depend on the global weight, so that several can be tried."""
        local, other = (np.diff(rows.indptr) > 0 for rows in (found.local, found.neighbours))
        share = np.where(local & other, self.global_weight, other)[:, None]
        mixed = (found.local * (1 - share) + found.neighbours * share).tocsr()
        mixed.eliminate_zeros()
        rows = Rows.copied(old.vocab, new.vocab, pairs, per_dimension=False)
        composed = share[:, 0] < 1
        for some, origin in ((composed, Origin.COMPOSED), (~composed, Origin.NEIGHBOURS)):
            rows = rows.with_rows(found.ids[some], mixed[some], origin)
        return rows

    def estimates(self, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Estimates:
        """Both estimates before they are mixed; arguments and errors as above."""
        ids = unshared(new.vocab, pairs)
        if not ids.size:
            nothing = ragged_rows([], [], len(old.vocab))
            return Estimates(ids, nothing, nothing, ids)
        old_OD, new_nD = self._vectors(old.vocab, new.vocab, ids)
        pieces = pieces_of(old, [new.vocab[i] for i in ids.tolist()])
        sizes = np.array([piece.size for piece in pieces])
        whole_P, piece_P = np.repeat(np.arange(ids.size), sizes), np.concatenate(pieces).astype(np.int64)
        lengths_P = old.vocab.characters[piece_P] / np.maximum(1, new.vocab.characters[ids[whole_P]])
        local_P = self._local(_cosines(new_nD, whole_P, old_OD, piece_P), lengths_P, sizes)
        local = ragged_rows(pieces, np.split(local_P, np.cumsum(sizes)[:-1]), len(old.vocab))
        near_nk, scores_nk = self._neighbours(old_OD, new_nD)
        neighbours = ragged_rows(list(near_nk), list(self._global(scores_nk)), len(old.vocab))
        neighbours.eliminate_zeros()
        return Estimates(ids, local, neighbours, np.where(new_nD.any(1), _twins(old_OD, new_nD, near_nk), 0))

    def _vectors(self, old: Vocabulary, new: Vocabulary, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of all old tokens, float (O, D), and of the new ones, float (n, D); zeros for what is no text."""
        texts = [_text(old, i) for i in range(len(old))] + [_text(new, i) for i in ids.tolist()]
        known = np.array([text is not None for text in texts])
        found = np.asarray(self.encoder([text for text in texts if text is not None]))
        if found.ndim != 2 or len(found) != known.sum():
            raise InvalidInput(f"the encoder made {found.shape} of {known.sum()} texts; it must give a vector for each")
        if not np.isfinite(found).all():
            wrong = np.flatnonzero(known)[~np.isfinite(found).all(1)][0]
            raise InvalidInput(f"the encoder made a vector that is not finite of {texts[wrong]!r}")
        vectors = np.zeros((len(texts), found.shape[1]), found.dtype)
        vectors[known] = found
        return vectors[: len(old)], vectors[len(old) :]

    def _local(self, cosines_P: np.ndarray, lengths_P: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Weights of the pieces, by their shares of the length."""
        return _softmax((_softmax(cosines_P, sizes) + lengths_P) / (2 * (self.temperature + 1e-5)), sizes)

    def _neighbours(self, old_OD: np.ndarray, new_nD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Old ids, int64 (n, k), and their cosines; those of a token without a vector are -inf."""
        known = np.flatnonzero(old_OD.any(1))
        if not known.size:
            return np.zeros((len(new_nD), 0), np.int64), np.zeros((len(new_nD), 0))
        near_nk = known[nearest(new_nD, old_OD[known], min(self.k, known.size))[1]]
        # Again in float64, to which the weights are to be exact.
        scores_nk = _cosines(new_nD, np.arange(len(new_nD))[:, None], old_OD, near_nk)
        scores_nk[~new_nD.any(1)] = -np.inf
        return near_nk, scores_nk

    def _global(self, scores_nk: np.ndarray) -> np.ndarray:
        """Weights of the neighbours; a row of zeros where none is near enough."""
        kept_nk = np.where(scores_nk >= self.threshold, scores_nk, -np.inf)
        top_n1 = kept_nk.max(1, keepdims=True, initial=-np.inf)
        powers_nk = np.exp((kept_nk - np.where(np.isfinite(top_n1), top_n1, 0)) / (self.temperature + 1e-5))
        return powers_nk / np.maximum(powers_nk.sum(1, keepdims=True), 1)


def _text(vocab: Vocabulary, i: int) -> str | None:
    if vocab.kinds[i] > Kind.BYTE:
        return None
    try:
        return vocab[i].decode()
    except UnicodeDecodeError:
        return None


def _cosines(left: np.ndarray, i: np.ndarray, right: np.ndarray, j: np.ndarray) -> np.ndarray:
    """cos(left[i], right[j]) of indices that fit each other, float64, 0 with a row of zeros."""
    i, j = np.broadcast_arrays(i, j)
    found = np.zeros(i.size)
    for at in range(0, i.size, _BLOCK):
        a = left[i.flat[at : at + _BLOCK]].astype(np.float64)
        b = right[j.flat[at : at + _BLOCK]].astype(np.float64)
        norms = np.sqrt((a * a).sum(1) * (b * b).sum(1))
        np.divide((a * b).sum(1), norms, out=found[at : at + _BLOCK], where=norms > 0)
    return found.reshape(i.shape)


def _softmax(values_P: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Of each run of `sizes` values; runs may be empty."""
    runs = sizes[sizes > 0]
    starts = np.cumsum(runs) - runs
    powers = np.exp(values_P - np.repeat(np.maximum.reduceat(values_P, starts), runs))
    return powers / np.repeat(np.add.reduceat(powers, starts), runs)


def _twins(old_OD: np.ndarray, new_nD: np.ndarray, near_nk: np.ndarray) -> np.ndarray:
    """Neighbours with the very vector of the token or of a nearer neighbour, int64 (n,)."""
    vectors = np.ascontiguousarray(np.concatenate([old_OD, new_nD]))
    groups = np.unique(vectors.view((np.void, vectors[0].nbytes)).ravel(), return_inverse=True)[1]
    alike = np.sort(np.column_stack([groups[len(old_OD) :], groups[near_nk]]), axis=1)
    return (alike[:, 1:] == alike[:, :-1]).sum(1)
