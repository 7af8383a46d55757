"""Other ways to make the rows of a new vocabulary, with which TokenAdapt is compared: ReTok, FOCUS, TransTokenizer.

`FVT`, `Mean` and `Random` are in `transfer.composition`. None of the three was read in the authors' code; see each.
"""
# N new ids, O old ids, n tokens of the new vocabulary only, S shared tokens, D width

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput, require
from ..core.tokenizer import Tokenizer
from .composition import FVT, Pairs, unshared
from .neighbours import nearest
from .rows import Origin, Rows, ragged_rows

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

__all__ = ["FOCUS", "ReTok", "TransTokenizer", "links", "sparsemax", "static_vectors", "train_tables_only"]


@dataclass(frozen=True)
class ReTok(FVT):
    """The rows of FVT, after which the tables alone are trained: see `train_tables_only`.

    Gu et al. 2024, "ReTok: Replacing Tokenizer to Enhance Representation Efficiency in Large Language Model", arXiv 2410.04335.
    """


def train_tables_only(model: PreTrainedModel) -> list[nn.Parameter]:
    """Freeze a model but for its input and output embeddings, an output bias included; once each where they are tied.

    Returns: what is to be trained, for an optimiser.
    """
    model.requires_grad_(False)
    parts = model.get_input_embeddings(), model.get_output_embeddings()
    tables = [table for part in parts if part is not None for table in part.parameters()]
    for table in tables:
        table.requires_grad_(True)
    return list(dict.fromkeys(tables))


@dataclass(frozen=True, eq=False)
class FOCUS:
    """A new token is a sparse mean of the shared tokens that its static vector is like: weights = sparsemax(cosines).

    Dobler and de Melo 2023, "FOCUS: Effective Embedding Initialization for Monolingual Specialization of Multilingual Models",
    arXiv 2305.14481. The authors share tokens that differ in case or space only, too.

    Args:
        vectors_ND: static vectors of the new tokens, float (N, D), trained on text that the new tokenizer cut: by
            `static_vectors`, word2vec or fastText. A token with zeros, which the text did not have, is drawn.
    Raises: InvalidInput: vectors that are not finite, or of another shape.
    """

    vectors_ND: np.ndarray

    def __post_init__(self) -> None:
        if self.vectors_ND.ndim != 2 or not np.isfinite(self.vectors_ND).all():
            raise InvalidInput(f"static vectors of shape {self.vectors_ND.shape}; they must be (N, D) and finite")

    def __call__(self, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Rows:
        """Rows for the vocabulary of `new`; `pairs` are the shared ids, see `shared_ids`."""
        if len(self.vectors_ND) != len(new.vocab):
            raise InvalidInput(
                f"{len(self.vectors_ND)} static vectors, but the new vocabulary has {len(new.vocab)} ids"
            )
        rows, ids = Rows.copied(old.vocab, new.vocab, pairs), unshared(new.vocab, pairs)
        known: np.ndarray = np.asarray(self.vectors_ND.any(axis=1))
        ids = ids[known[ids]]
        shared = known[pairs[1]]
        old_ids, keys_SD = pairs[0][shared], self.vectors_ND[pairs[1][shared]]
        if not ids.size or not old_ids.size:
            return rows
        columns, weights = _sparse_means(self.vectors_ND[ids], keys_SD)
        return rows.with_rows(
            ids, ragged_rows([old_ids[some] for some in columns], weights, len(old.vocab)), Origin.NEIGHBOURS
        )


def static_vectors(tokenizer: Tokenizer, texts: Iterable[str], width: int, *, rng: np.random.Generator) -> np.ndarray:
    """Vectors of tokens for `FOCUS`: the directions in which their contexts in `texts` differ most.

    Positive pointwise mutual information of tokens at most five apart, near ones counting more, contexts to the power of 0.75
    as word2vec draws them; then the largest singular values: U S^(1/2).

    Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization"; the authors of FOCUS train fastText.

    Args:
        width: of the vectors, below the size of the vocabulary.
        rng: of the start of the iteration.
    Returns: float64 (N, width), zeros for tokens that the texts do not have.
    Raises: InvalidInput: another width, or texts without two tokens.
    """
    sparse, linalg = require("scipy.sparse", "transfer"), require("scipy.sparse.linalg", "transfer")
    n, batch = len(tokenizer.vocab), tokenizer.encode_batch(texts)
    if not 1 <= width < n:
        raise InvalidInput(f"width={width}; it must be 1 … {n - 1}, below the size of the vocabulary")
    document = np.repeat(np.arange(len(batch)), batch.lengths)
    pairs = sparse.csr_array((n, n))
    for apart in range(1, 6):
        together = document[apart:] == document[:-apart]
        near = batch.ids[:-apart][together], batch.ids[apart:][together]
        pairs = pairs + sparse.csr_array((np.full(near[0].size, 1 / apart), near), shape=(n, n))
    if not pairs.nnz:
        raise InvalidInput("no text has two tokens; static vectors are learnt from neighbours")
    pairs = (pairs + pairs.T).tocoo()
    often = pairs.sum(axis=1)
    contexts = often**0.75 / (often**0.75).sum()
    told = np.maximum(np.log(pairs.data / (often[pairs.row] * contexts[pairs.col])), 0)
    matrix = sparse.csr_array((told, (pairs.row, pairs.col)), shape=(n, n))
    left, values, _ = linalg.svds(matrix, k=width, v0=rng.random(n))
    # What never occurs has zeros, up to rounding.
    return np.where(often[:, None] > 0, left * np.sqrt(values), 0)


def sparsemax(scores_NS: np.ndarray) -> np.ndarray:
    """The point of the simplex that is nearest to each row, float64 (N, S); few of its entries are above 0.

    p = max(z - t, 0), where t makes them sum to 1: t = (sum of the r largest - 1) / r for the largest r with
    1 + r z_(r) > sum of the r largest.

    Martins and Astudillo 2016, "From Softmax to Sparsemax", arXiv 1602.02068, algorithm 1.

    >>> sparsemax(np.array([[0.9, 0.7, 0.1]])).round(3).tolist()
    [[0.6, 0.4, 0.0]]
    """
    sorted_NS = -np.sort(-np.asarray(scores_NS, np.float64), axis=1)
    sums_NS, r_S = np.cumsum(sorted_NS, axis=1), np.arange(1, sorted_NS.shape[1] + 1)
    support_N1 = (1 + r_S * sorted_NS > sums_NS).sum(1, keepdims=True)
    limit_N1 = (np.take_along_axis(sums_NS, support_N1 - 1, axis=1) - 1) / support_N1
    return np.maximum(scores_NS - limit_N1, 0)


def _sparse_means(queries_nD: np.ndarray, keys_SD: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each query the keys with weights above 0, and these; only as many of the nearest are sorted as are needed."""
    columns, weights = [np.zeros(0, np.int64)] * len(queries_nD), [np.zeros(0)] * len(queries_nD)
    left, k = np.arange(len(queries_nD)), min(64, len(keys_SD))
    while left.size:
        scores_nk, near_nk = nearest(queries_nD[left], keys_SD, k)
        weights_nk = sparsemax(scores_nk)
        # Where the last of the k has no weight, neither has any key behind it.
        done = (weights_nk[:, -1] == 0) | (k == len(keys_SD))
        for at, near, some in zip(left[done].tolist(), near_nk[done], weights_nk[done]):
            columns[at], weights[at] = near[some > 0], some[some > 0]
        left, k = left[~done], min(4 * k, len(keys_SD))
    return columns, weights


@dataclass(frozen=True)
class TransTokenizer:
    """A new token is the mean of the old tokens that stand for it in parallel texts, by how often they do; see `links`.

    Remy et al. 2024, "Trans-Tokenization and Cross-lingual Vocabulary Transfers", arXiv 2408.04303. From memory: the authors
    align words with FastAlign and then tokens inside words; here tokens are aligned at once. A token that no text has is drawn.

    Args:
        texts: pairs of a text for the old tokenizer and what corresponds to it for the new: its translation, or the same text.
            Sentences: memory grows with the product of both lengths.
        least: links that a new token and an old one need, to count.
    Raises: InvalidInput: no text, or `least` below 1.
    """

    texts: Sequence[tuple[str, str]]
    least: int = 1

    def __post_init__(self) -> None:
        if not self.texts or self.least < 1:
            raise InvalidInput(f"{len(self.texts)} pairs of texts and least={self.least}; both must be at least 1")

    def __call__(self, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Rows:
        """Rows for the vocabulary of `new`; `pairs` are the shared ids, see `shared_ids`."""
        sides = zip(*self.texts)
        old_ids, new_ids = (list(tok.encode_batch(side)) for tok, side in zip((old, new), sides))
        new_found, old_found, counts = links(new_ids, old_ids)
        ids = unshared(new.vocab, pairs)
        kept = (counts >= self.least) & np.isin(new_found, ids)
        new_found, old_found, counts = new_found[kept], old_found[kept], counts[kept]
        at = np.searchsorted(new_found, ids), np.searchsorted(new_found, ids, side="right")
        some = [slice(*ends) for ends in zip(*at)]
        weights = [counts[one] / max(1, counts[one].sum()) for one in some]
        made = ragged_rows([old_found[one] for one in some], weights, len(old.vocab))
        return Rows.copied(old.vocab, new.vocab, pairs).with_rows(ids, made, Origin.COMPOSED)


def links(
    causes: Sequence[np.ndarray],
    effects: Sequence[np.ndarray],
    *,
    rounds: int = 5,
    tension: float = 4.0,
    nothing: float = 0.08,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which token stands for which in parallel sequences: each effect comes from one cause, or from nothing.

    P(effect f at j comes from cause e at i) ∝ exp(-tension abs(i / I - j / J)) t(f | e), where t is learnt by expectation and
    maximisation, from uniform. In the end each effect is linked to its likeliest cause.

    Dyer, Chahuneau and Smith 2013, "A Simple, Fast, and Effective Reparameterization of IBM Model 2", whose start values the
    defaults are; tension and `nothing` stay as they are, and t has no prior.

    Args:
        causes, effects: ids of each sequence, integers (I,) and (J,), as many sequences of one as of the other.
        rounds: of expectation and maximisation.
        tension: how much links keep to the diagonal.
        nothing: prior that an effect has no cause.
    Returns: causes, effects, and how often they were linked, int64 (pairs,) each, ascending by cause and effect.

    >>> left = [np.array([1, 2]), np.array([2, 3]), np.array([3])]
    >>> right = [np.array([7, 8]), np.array([8, 9]), np.array([9])]
    >>> [array.tolist() for array in links(left, right)]
    [[1, 2, 3], [7, 8, 9], [1, 2, 2]]
    """
    if len(causes) != len(effects):
        raise InvalidInput(f"{len(causes)} sequences of causes, but {len(effects)} of effects")
    both = [(np.asarray(e, np.int64), np.asarray(f, np.int64)) for e, f in zip(causes, effects) if len(e) and len(f)]
    if not both:
        return (np.zeros(0, np.int64),) * 3
    # A row of cells for each effect: its possible causes, and last, -1, that there is none.
    width = 1 + max(int(f.max()) for _, f in both)
    keys_C = np.concatenate([(np.append(e, -1) * width + f[:, None]).ravel() for e, f in both])
    prior_C = np.concatenate([_prior(e.size, f.size, tension, nothing).ravel() for e, f in both])
    sizes = np.concatenate([np.full(f.size, e.size + 1) for e, f in both])
    starts = np.cumsum(sizes) - sizes
    pairs, cell_C = np.unique(keys_C, return_inverse=True)
    cause = np.unique(pairs // width, return_inverse=True)[1]
    t = np.ones(pairs.size)
    for _ in range(rounds):
        joint_C = prior_C * t[cell_C]
        counts = np.bincount(cell_C, joint_C / np.repeat(np.add.reduceat(joint_C, starts), sizes), pairs.size)
        t = counts / np.bincount(cause, counts)[cause]
    joint_C = prior_C * t[cell_C]
    best_C = np.flatnonzero(joint_C > (1 - 1e-9) * np.repeat(np.maximum.reduceat(joint_C, starts), sizes))
    # Of equals the leftmost; two that are equally far from the diagonal are so up to rounding.
    first = np.unique(np.searchsorted(starts, best_C, side="right"), return_index=True)[1]
    linked, counts = np.unique(keys_C[best_C[first]], return_counts=True)
    real = linked >= 0
    return linked[real] // width, linked[real] % width, counts[real]


def _prior(i: int, j: int, tension: float, nothing: float) -> np.ndarray:
    """P(cause) of each effect, float64 (J, I + 1), the last for none."""
    near_JI = np.exp(-tension * np.abs((np.arange(i) + 1) / i - (np.arange(j)[:, None] + 1) / j))
    near_JI *= (1 - nothing) / near_JI.sum(1, keepdims=True)
    return np.column_stack([near_JI, np.full(j, nothing)])
