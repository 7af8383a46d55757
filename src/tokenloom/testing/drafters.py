"""The laws of drafters: whatever one proposes, the text is the model's own."""
# N nodes of a tree, V ids

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.draft_tree import DraftTree

__all__ = ["check_drafter"]


def check_drafter(
    make: Callable[[], Any],
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    generate: Callable[..., Any],
    max_new_tokens: int = 24,
) -> None:
    """Greedy text is the same with a drafter as without, from prompt to prompt, and what is drafted is what a draft must be.

    Args:
        make: a drafter, fresh.
        model: in float64, or texts may part where logits are equal but for rounding.
        prompts: ids.
        generate: `tokenloom.generate`.
        max_new_tokens: of each text.
    Raises: AssertionError: naming the law.
    """
    drafter = make()
    name, draft = type(drafter).__name__, drafter.draft

    def watched(ids: Sequence[int]) -> Any:
        made = draft(ids)
        tokens_N, q_NV = np.asarray(made.tokens_N), made.q_NV
        assert isinstance(made.tree, DraftTree), f"{name}: a draft has a DraftTree, not a {type(made.tree).__name__}"
        assert tokens_N.shape == (len(made.tree),), (
            f"{name}: {tokens_N.shape} tokens for a tree of {len(made.tree)} nodes"
        )
        assert tokens_N[0] == ids[-1], (
            f"{name}: a draft begins with id {tokens_N[0]}, not with the last known {ids[-1]}"
        )
        if q_NV is not None:
            q_NV = np.asarray(q_NV, np.float64)
            assert len(q_NV) == len(made.tree), f"{name}: {len(q_NV)} distributions for {len(made.tree)} nodes"
            for node in range(len(made.tree)):
                candidates = tokens_N[made.tree.children(node)]
                assert len({*candidates.tolist()}) == len(candidates), f"{name}: node {node} has a candidate twice"
                if len(candidates):
                    assert abs(q_NV[node].sum() - 1) < 1e-6, f"{name}: q of node {node} adds up to {q_NV[node].sum()}"
                    assert (q_NV[node, candidates] > 0).all(), f"{name}: node {node} has a candidate that q cannot give"
        return made

    drafter.draft = watched
    for prompt in prompts:
        alone = generate(model, prompt, max_new_tokens=max_new_tokens).ids
        drafted = generate(model, prompt, drafter, max_new_tokens=max_new_tokens).ids
        assert drafted == alone, f"{name}: behind {list(prompt)} it is {drafted}, and {alone} without"
