"""How the rows of a new vocabulary are made of those of the old: the one value that every transplant comes down to.

A row of the new table is a weighted sum of rows of the old one, E_new = W E_old, or it had to be drawn at random. The same W
serves the input embeddings, the output embeddings and the output bias of a model, tied or not.
"""
# O old ids, N new ids, H width

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput, require
from ..core.vocabulary import Kind, Vocabulary

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_array
    from torch import Tensor

__all__ = ["Origin", "Rows", "ragged_rows", "shared_ids"]


class Origin(IntEnum):
    """Where a row comes from: one old row, the pieces of its token, like tokens, or chance."""

    COPIED = 0
    COMPOSED = 1
    NEIGHBOURS = 2
    DRAWN = 3


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a new vocabulary.

    Args:
        weights: W, a scipy CSR array of float64 (N, O), not negative; a row sums to 1, or is empty and drawn.
        origin: an `Origin` for each new id, uint8 (N,).
        per_dimension: drawn rows are normal with mean and deviation of each dimension of the old table (WECHSEL); otherwise
            of the table as a whole (TokenAdapt).
        noise: how many deviations drawn rows are wide; 0 makes them the mean.
    Raises: InvalidInput: weights that are negative, not finite, or do not sum to 1; a row that is neither made nor drawn.
    """

    weights: csr_array
    origin: np.ndarray
    per_dimension: bool = True
    noise: float = 1.0

    def __post_init__(self) -> None:
        weights = self.weights
        if self.origin.shape != (weights.shape[0],):
            raise InvalidInput(f"{weights.shape[0]} rows of weights, but {self.origin.size} origins")
        if not np.isfinite(weights.data).all() or (weights.data < 0).any():
            raise InvalidInput("weights of rows must be finite and not negative")
        sums, drawn = weights.sum(axis=1), self.origin == Origin.DRAWN
        if (wrong := np.flatnonzero(np.where(drawn, sums != 0, np.abs(sums - 1) > 1e-6))).size:
            raise InvalidInput(f"the weights of new id {wrong[0]} sum to {sums[wrong[0]]:.6g}; 1, or 0 for a drawn row")

    @classmethod
    def copied(
        cls,
        old: Vocabulary,
        new: Vocabulary,
        pairs: tuple[np.ndarray, np.ndarray],
        *,
        per_dimension: bool = True,
        noise: float = 1.0,
    ) -> Rows:
        """Rows of shared tokens are copies; all others are drawn, until a method knows better.

        Args:
            old, new: the vocabularies.
            pairs: old and new ids that stand for the same, as `shared_ids` gives them.
            per_dimension, noise: as above.
        """
        sparse = require("scipy.sparse", "transfer")
        old_ids, new_ids = pairs
        shape = (len(new), len(old))
        weights = sparse.csr_array((np.ones(new_ids.size), (new_ids, old_ids)), shape=shape)
        origin = np.full(len(new), Origin.DRAWN, np.uint8)
        origin[new_ids] = Origin.COPIED
        return cls(weights, origin, per_dimension, noise)

    def with_rows(self, ids: np.ndarray, weights: csr_array, origin: Origin) -> Rows:
        """The same with the rows of `ids`, int (n,), made by `weights` (n, O); empty rows of it change nothing."""
        sparse = require("scipy.sparse", "transfer")
        made = np.diff(weights.indptr) > 0
        ids, weights = np.asarray(ids)[made], weights[made]
        keep = np.ones(self.origin.size)
        keep[ids] = 0
        place = sparse.csr_array((np.ones(ids.size), (ids, np.arange(ids.size))), shape=(self.origin.size, ids.size))
        total = sparse.csr_array(sparse.diags_array(keep) @ self.weights + place @ weights)
        origins = self.origin.copy()
        origins[ids] = origin
        return replace(self, weights=total, origin=origins)

    @property
    def drawn(self) -> np.ndarray:
        """Which rows are drawn, bool (N,)."""
        return self.origin == Origin.DRAWN

    def counts(self) -> dict[str, int]:
        """How many rows are of each origin."""
        return {origin.name.lower(): int((self.origin == origin).sum()) for origin in Origin}

    def apply(self, table: Tensor, *, generator: torch.Generator) -> Tensor:
        """The new table of an old one; copies are equal bit for bit.

        Args:
            table: (O or more, H), or a bias (O or more,); rows that the old vocabulary does not have are not used.
            generator: of the drawn rows, on the processor.
        Returns: (N, H) or (N,), with the dtype and on the device of `table`.
        Raises: InvalidInput: a table of fewer rows than the old vocabulary, or one that is not finite.
        """
        import torch

        n_old = self.weights.shape[1]
        if table.shape[0] < n_old:
            raise InvalidInput(f"the table has {table.shape[0]} rows, but the old vocabulary {n_old} ids")
        if not torch.isfinite(table).all():
            raise InvalidInput("the table holds values that are not finite")
        old_OH = table.detach().cpu().reshape(table.shape[0], -1)[:n_old]
        values_OH = old_OH.double().numpy()
        new_NH = torch.from_numpy(self.weights @ values_OH).to(table.dtype)
        copies = np.flatnonzero(self.origin == Origin.COPIED)
        new_NH[copies] = old_OH[self.weights[copies].indices]
        if self.drawn.any():
            spread = old_OH.double()
            mean, deviation = (
                (spread.mean(0), spread.std(0, correction=0))
                if self.per_dimension
                else (spread.mean(), spread.std(correction=0))
            )
            normal = torch.randn(int(self.drawn.sum()), new_NH.shape[1], generator=generator, dtype=torch.float64)
            new_NH[torch.from_numpy(self.drawn)] = (mean + self.noise * deviation * normal).to(table.dtype)
        return new_NH.reshape(-1, *table.shape[1:]).to(table.device)


def shared_ids(
    old: Vocabulary, new: Vocabulary, roles: Mapping[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Ids that stand for the same in both vocabularies.

    Text is compared by its bytes, however a tokenizer writes them (`Ġthe` and `▁the` are both b" the"); bytes kept as a fallback
    are compared with such bytes and, where there are none, with text. Special tokens are compared by their spelling, and by
    their role, which wins.

    Args:
        roles: special id of the new vocabulary → that of the old one with the same role.
    Returns: old and new ids, int64 (pairs,) each, ascending by the new ones.
    Raises: InvalidInput: an id of `roles` that is not in its vocabulary.

    >>> old = Vocabulary([b"a", b"b", b"ab"], special=[b"</s>"])
    >>> new = Vocabulary([b"ab", b"c", b"a"], special=[b"<eos>"])
    >>> [ids.tolist() for ids in shared_ids(old, new, {3: 3})]
    [[2, 0, 3], [0, 2, 3]]
    """
    pairs: dict[int, int] = {}
    for i in np.flatnonzero(new.kinds != Kind.UNUSED).tolist():
        special = new.kinds[i] == Kind.SPECIAL
        same = [j for j in old.ids_of(new[i]) if (old.kinds[j] == Kind.SPECIAL) == special]
        if same:
            alike = [j for j in same if old.kinds[j] == new.kinds[i]]
            pairs[i] = (alike or same)[0]
    for i, j in (roles or {}).items():
        if not (0 <= i < len(new) and 0 <= j < len(old)):
            raise InvalidInput(f"role of new id {i} and old id {j}, but there are {len(new)} and {len(old)} ids")
        pairs[i] = j
    ids = np.array(sorted(pairs), np.int64)
    return np.array([pairs[i] for i in ids.tolist()], np.int64), ids


def ragged_rows(lists: Sequence[np.ndarray], weights: Sequence[np.ndarray], width: int) -> csr_array:
    """A CSR array with row k holding `weights[k]` at columns `lists[k]`; weights of equal columns add."""
    sparse = require("scipy.sparse", "transfer")
    indptr = np.cumsum([0, *map(len, lists)])
    columns = np.concatenate([*lists, np.zeros(0, np.int64)])
    values = np.concatenate([*weights, np.zeros(0)])
    made = sparse.csr_array((values, columns, indptr), shape=(len(lists), width))
    made.sum_duplicates()
    return made
