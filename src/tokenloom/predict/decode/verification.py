"""Which drafted tokens a model would have written itself: three rules, after each of which the output is exactly the model's own.

Greedy: a candidate is right if it is the model's first choice. Sample and match: for candidates that were looked up and not
drawn, the model draws, and the walk goes on if it drew a candidate. Rejection: for candidates that were drawn from a known
distribution q, each is accepted with probability min(1, p / q), and what is left of p stands in for p after a rejection (Leviathan
et al. 2023, arXiv 2211.17192; for several candidates without replacement Miao et al. 2024, arXiv 2305.09781, and Jeon et al. 2024,
arXiv 2402.14160).
"""
# N nodes of a tree, V ids

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...core.draft_tree import DraftTree
from ...core.errors import InvalidInput
from .sampling import drawn, happens

__all__ = ["Accepted", "greedy", "rejection", "sample_and_match"]


@dataclass(frozen=True)
class Accepted:
    """What a verification ends with.

    Args:
        nodes: that are right, from the root down; the root is always one.
        token: what the model writes behind the last of them.
    """

    nodes: tuple[int, ...]
    token: int


def greedy(tree: DraftTree, tokens_N: np.ndarray, choices_N: np.ndarray) -> Accepted:
    """The longest path of candidates that are each the model's choice behind their parent.

    Args:
        tree: N nodes.
        tokens_N: integers, of each node.
        choices_N: integers, the model's most probable id behind each node.
    Raises: InvalidInput: other numbers than one for each node.
    """
    _check(tree, tokens_N, choices_N)
    nodes, node = [0], 0
    while (right := [child for child in tree.children(node) if tokens_N[child] == choices_N[node]]):  # fmt: skip
        # Two candidates that are equal may have different children.
        node = max(right, key=lambda child: _reach(tree, child, tokens_N, choices_N)) if len(right) > 1 else right[0]
        nodes.append(int(node))
    return Accepted(tuple(nodes), int(choices_N[node]))


def sample_and_match(tree: DraftTree, tokens_N: np.ndarray, p_NV: Tensor, generator: torch.Generator) -> Accepted:
    """The model draws behind each node, and the walk goes on for as long as what it draws is a candidate.

    Args:
        tree: N nodes, whose tokens do not depend on anything drawn for them.
        tokens_N: integers, of each node.
        p_NV: the model's probabilities behind each node, as they are to be sampled.
        generator: one number for each token of the output.
    Raises: InvalidInput: other numbers than one for each node.
    """
    _check(tree, tokens_N, p_NV)
    nodes, node = [0], 0
    while True:
        token = drawn(p_NV[node], generator)
        right = [int(child) for child in tree.children(node) if tokens_N[child] == token]
        if not right:
            return Accepted(tuple(nodes), token)
        node = right[0]
        nodes.append(node)


def rejection(
    tree: DraftTree, tokens_N: np.ndarray, q_NV: Tensor, p_NV: Tensor, generator: torch.Generator
) -> Accepted:
    """Candidates of a node are tried one after the other, and the residual of all that failed is drawn from in the end.

    Args:
        tree: N nodes. The candidates of a node were drawn from its q in the order of their ranks, without replacement.
        tokens_N: integers, of each node.
        q_NV: the distribution that each node's candidates were drawn from; rows of leaves are not looked at.
        p_NV: the model's probabilities behind each node, as they are to be sampled.
        generator: one number for each candidate that is tried, and one for the last token.
    Raises: InvalidInput: other numbers than one for each node, a candidate that its q can not have given.
    """
    _check(tree, tokens_N, p_NV)
    _check(tree, tokens_N, q_NV)
    nodes, node = [0], 0
    while True:
        p_V, q_V = p_NV[node].double(), q_NV[node].double()
        found = None
        for child in tree.children(node).tolist():
            token = int(tokens_N[child])
            if not q_V[token] > 0:
                raise InvalidInput(
                    f"node {child} has token {token}, which has no probability in what it was drawn from"
                )
            if happens(float(p_V[token] / q_V[token]), generator):
                found = child
                break
            p_V, q_V = _residual(p_V, q_V), q_V.index_fill(0, torch.tensor([token], device=q_V.device), 0)
            q_V = q_V / q_V.sum() if bool(q_V.any()) else q_V
        if found is None:
            return Accepted(tuple(nodes), drawn(p_V, generator))
        node = found
        nodes.append(node)


def _residual(p_V: Tensor, q_V: Tensor) -> Tensor:
    """(p - q)+ as a distribution; after a rejection it has mass, but for what rounding takes."""
    left_V = (p_V - q_V).clamp(min=0)
    return left_V / left_V.sum() if bool(left_V.any()) else p_V


def _reach(tree: DraftTree, node: int, tokens_N: np.ndarray, choices_N: np.ndarray) -> int:
    """How many right candidates can be had below one."""
    right = [child for child in tree.children(node) if tokens_N[child] == choices_N[node]]
    return 1 + max((_reach(tree, child, tokens_N, choices_N) for child in right), default=0)


def _check(tree: DraftTree, *values: np.ndarray | Tensor) -> None:
    for value in values:
        if len(value) != len(tree):
            raise InvalidInput(f"{len(value)} rows for a tree of {len(tree)} nodes")
