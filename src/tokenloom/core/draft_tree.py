"""Candidate continuations as a tree, all of which one forward pass verifies.

Node 0 is the last token that is known; a child is a candidate for the token behind its parent. In the pass a node sees what is
cached and its own ancestors, at the position of its depth (Miao et al. 2024, SpecInfer, arXiv 2305.09781).
"""
# N nodes, L leaves, D levels with the root

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import InvalidInput

__all__ = ["DraftTree"]


@dataclass(frozen=True, eq=False)
class DraftTree:
    """A tree, by the parent of each node.

    Args:
        parents_N: int64; -1 for the root, which is node 0, and parents come before their children, level by level.
        ranks_N: int64, which of its parent's candidates a node is, from 0 on: those of a parent are all different; 0 for the root.
    Raises: InvalidInput: no root at 0 or another one, a parent behind its child, levels mixed, ranks that are negative or twice there.

    >>> tree = DraftTree.from_paths([[0], [1], [0, 0]])
    >>> tree.parents_N.tolist(), tree.depths_N.tolist(), tree.paths.tolist()
    ([-1, 0, 0, 1], [0, 1, 1, 2], [[0, 2, -1], [0, 1, 3]])
    """

    parents_N: np.ndarray
    ranks_N: np.ndarray

    def __post_init__(self) -> None:
        parents_N, ranks_N = np.asarray(self.parents_N, np.int64), np.asarray(self.ranks_N, np.int64)
        if parents_N.ndim != 1 or parents_N.shape != ranks_N.shape or not len(parents_N):
            raise InvalidInput(
                f"parents of {parents_N.shape} and ranks of {ranks_N.shape}; both must be (N,), with a root"
            )
        behind = parents_N[1:]
        if parents_N[0] != -1 or (behind < 0).any() or (behind >= np.arange(1, len(parents_N))).any():
            raise InvalidInput("node 0 must be the only root, and parents must come before their children")
        if (ranks_N < 0).any() or len({*zip(behind.tolist(), ranks_N[1:].tolist())}) < len(behind):
            raise InvalidInput("candidates of a node must have ranks from 0 on, each once")
        object.__setattr__(self, "parents_N", parents_N)
        object.__setattr__(self, "ranks_N", ranks_N)
        if (np.diff(self.depths_N) < 0).any():
            raise InvalidInput("nodes must come level by level")

    def __len__(self) -> int:
        """N, the root included."""
        return len(self.parents_N)

    @cached_property
    def depths_N(self) -> np.ndarray:
        """How far each node is below the root, int64."""
        depths_N = np.zeros(len(self), np.int64)
        for node in range(1, len(self)):
            depths_N[node] = depths_N[self.parents_N[node]] + 1
        return depths_N

    @cached_property
    def levels(self) -> list[np.ndarray]:
        """Nodes of each depth; the first is the root alone."""
        return np.split(np.arange(len(self)), np.cumsum(np.bincount(self.depths_N))[:-1])

    @cached_property
    def mask(self) -> np.ndarray:
        """Whether a node (row) is another (column) or has it as ancestor, bool (N, N)."""
        mask = np.eye(len(self), dtype=bool)
        for node in range(1, len(self)):
            mask[node] |= mask[self.parents_N[node]]
        return mask

    @cached_property
    def paths(self) -> np.ndarray:
        """From the root to each leaf, int64 (L, D), padded with -1; leaves in their order."""
        leaves = np.setdiff1d(np.arange(len(self)), self.parents_N)
        paths = np.full((len(leaves), self.depths_N.max() + 1), -1)
        for row, node in enumerate(leaves):
            while node >= 0:
                paths[row, self.depths_N[node]] = node
                node = self.parents_N[node]
        return paths

    @cached_property
    def _children(self) -> list[np.ndarray]:
        order = np.lexsort((self.ranks_N, self.parents_N))[1:]  # the root is nobody's child
        return np.split(order, np.cumsum(np.bincount(self.parents_N[1:], minlength=len(self)))[:-1])

    def children(self, node: int) -> np.ndarray:
        """Candidates behind a node, by rank."""
        return self._children[node]

    @classmethod
    def from_paths(cls, paths: Sequence[Sequence[int]]) -> DraftTree:
        """Nodes by the ranks that lead to them: [1, 0] is the best candidate behind the second best behind the root.

        Nodes are numbered level by level, and there in the order of their paths.

        Raises: InvalidInput: an empty or double path, a negative rank, one whose parent is missing.
        """
        ordered = sorted((tuple(map(int, path)) for path in paths), key=lambda path: (len(path), path))
        numbers: dict[tuple[int, ...], int] = {(): 0}
        parents = [-1]
        for path in ordered:
            if path in numbers:
                raise InvalidInput(f"path {list(path)} is {'the root' if not path else 'twice there'}")
            if path[:-1] not in numbers:
                raise InvalidInput(f"path {list(path)} has no parent {list(path[:-1])}")
            numbers[path] = len(parents)
            parents.append(numbers[path[:-1]])
        return cls(np.array(parents), np.array([0, *(path[-1] for path in ordered)]))

    @classmethod
    def chain(cls, length: int) -> DraftTree:
        """One candidate behind another.

        Raises: InvalidInput: a negative length.
        """
        if length < 0:
            raise InvalidInput(f"{length=}; it must be 0 or more")
        return cls(np.arange(-1, length), np.zeros(length + 1, np.int64))
