"""What proposes tokens to a model that checks them."""
# N nodes of a tree, V ids

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from ...core.draft_tree import DraftTree
from .session import CausalSession, Step
from .verification import Accepted

__all__ = ["Draft", "Drafter"]


@dataclass(frozen=True)
class Draft:
    """Candidates for what comes behind the last known token.

    Args:
        tree: N nodes; node 0 is that token.
        tokens_N: integers, of each node.
        q_NV: the distributions that the candidates of each node were drawn from, without replacement, in the order of their ranks.
            None if nothing was drawn, so that candidates do not depend on chance.
    """

    tree: DraftTree
    tokens_N: np.ndarray
    q_NV: Tensor | None = None


class Drafter(Protocol):
    """Proposes candidates, and may learn from what the model made of them. What it proposes changes the speed, never the output.

    `needs_hidden`: whether `begin` and `learn` are to be given hidden states. `needs_prompt`: whether `begin` is to be given
    logits behind all tokens of a prompt.
    """

    @property
    def needs_hidden(self) -> bool: ...

    @property
    def needs_prompt(self) -> bool: ...

    def begin(self, session: CausalSession, ids: Sequence[int], step: Step | None) -> None:
        """A prompt: all its `ids`, and what the model made of all but the last; None for a prompt of one token."""

    def draft(self, ids: Sequence[int]) -> Draft:
        """Candidates behind `ids`: the prompt and what was written since; the last is not cached yet."""

    def learn(self, draft: Draft, step: Step, accepted: Accepted) -> None:
        """What the model made of the nodes of a draft, and which of them stay."""
