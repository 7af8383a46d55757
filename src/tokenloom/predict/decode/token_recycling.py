"""Token Recycling: what a model thought of besides what it wrote is kept, and proposed when its token comes again.

Luo et al. 2025, "Turning Trash into Treasure", ACL, arXiv 2408.08696, section 3. A matrix holds for each id the k most likely ids
behind it when it was last seen; a tree of such successors is run in one forward pass, which corrects the matrix in passing. There is
no draft model and no training.

Differs from the authors' code: sampling is exact (the model draws, and the tree is descended where it drew a candidate); tokens
behind the end or beyond the limit are not returned; where an id is in a tree several times, the last node decides its row.
"""
# N nodes of a tree, V ids, k candidates of each

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from ...core.draft_tree import DraftTree
from ...core.errors import InvalidInput, StoreError
from ...core.pretrained import load_files, save_files
from .drafting import Draft
from .session import CausalSession, Step
from .verification import Accepted

__all__ = ["TokenRecycling", "choose_tree", "forward_costs", "published_tree"]


@cache
def published_tree() -> DraftTree:
    """80 candidates behind the root on six levels, the authors' template "2.2.2".

    It is made for GPUs, where a pass of 81 tokens costs hardly more than one of a token.
    """
    # How many children each node has.
    children = {
        (): 8,
        (0,): 8, (1,): 4, (2,): 3, (3,): 2, (4,): 1, (5,): 1, (6,): 1, (7,): 1,
        (0, 0): 8, (0, 1): 3, (0, 2): 2, (0, 3): 1, (0, 4): 1, (0, 5): 1, (0, 6): 1, (0, 7): 1,
        (1, 0): 2, (1, 1): 1, (2, 0): 1, (3, 0): 1, (4, 0): 1, (5, 0): 1,
        (0, 0, 0): 5, (0, 0, 1): 2, (0, 0, 2): 1, (0, 0, 3): 1, (0, 0, 4): 1, (0, 1, 0): 1, (0, 2, 0): 1,
        (1, 0, 0): 1, (2, 0, 0): 1, (3, 0, 0): 1,
        (0, 0, 0, 0): 3, (0, 0, 0, 1): 1, (0, 0, 0, 2): 1, (0, 0, 1, 0): 1, (0, 1, 0, 0): 1, (1, 0, 0, 0): 1,
        (0, 0, 0, 0, 0): 2, (0, 0, 0, 1, 0): 1,
    }  # fmt: skip
    return DraftTree.from_paths([(*path, rank) for path, count in children.items() for rank in range(count)])


# Of what SmolLM2-135M accepted of the published tree, half falls to the best candidate, and a quarter to the best behind it. On one core
# of a CPU, where 4 tokens cost 1.5 passes of one and 16 cost 2, these two pay in any case, and hardly any other does.
_DEFAULT = ((0,), (0, 0))


class TokenRecycling:
    """A drafter that looks up what came after a token before. One matrix serves all prompts, and is better the more it has seen.

    Args:
        tree: candidates; None for a small one that pays on a CPU. `published_tree()` for GPUs, `choose_tree` for your own machine.
        k: candidates kept for each id.
        update_on_prompt: learn from the prompt's own tokens, too; the authors do not.
        keep: whether the matrix stays from prompt to prompt.
    Raises: InvalidInput: k below 1, or a tree that asks for more candidates.

    >>> from tokenloom.models.transformer import Transformer
    >>> from tokenloom.predict.decode.generating import generate
    >>> model, drafter = Transformer(vocab_size=20, width=16, layers=1, heads=2), TokenRecycling()
    >>> found = generate(model, [3, 1, 4], drafter, max_new_tokens=60)
    >>> found.ids == generate(model, [3, 1, 4], max_new_tokens=60).ids, found.tokens_per_forward > 1
    (True, True)
    """

    needs_hidden = False

    def __init__(
        self, tree: DraftTree | None = None, *, k: int = 8, update_on_prompt: bool = False, keep: bool = True
    ) -> None:
        if k < 1:
            raise InvalidInput(f"{k=}; it must be at least 1")
        self.tree = DraftTree.from_paths([path for path in _DEFAULT if max(path) < k]) if tree is None else tree
        if (most := int(self.tree.ranks_N.max())) >= k:
            raise InvalidInput(f"the tree asks for candidate {most}, but {k=} are kept, from 0 on")
        self.k, self.needs_prompt, self.keep = k, update_on_prompt, keep
        self.matrix_Vk: Tensor | None = None
        """The k ids that were last most likely behind each id, best first, int64; None before the first prompt."""
        self.passes, self.stayed_N = 0, np.zeros(len(self.tree), np.int64)
        """Drafts so far, and how often each node stayed; what `choose_tree` goes by."""

    def begin(self, session: CausalSession, ids: Sequence[int], step: Step | None) -> None:
        """See `Drafter`.

        Raises: InvalidInput: a model with other ids than the matrix, or with fewer than k.
        """
        size = session.vocab_size
        if size < self.k:
            raise InvalidInput(f"k={self.k}, but the model has {size} ids")
        if self.matrix_Vk is not None and len(self.matrix_Vk) != size:
            raise InvalidInput(f"the matrix is of {len(self.matrix_Vk)} ids, and the model has {size}")
        if self.matrix_Vk is None or not self.keep:
            self.matrix_Vk = torch.zeros(size, self.k, dtype=torch.int64, device=session.device)
        self.matrix_Vk = self.matrix_Vk.to(session.device)
        if self.needs_prompt and step is not None:
            self._update(np.asarray(ids[:-1]), step.logits_NV)

    def draft(self, ids: Sequence[int]) -> Draft:
        """See `Drafter`."""
        assert self.matrix_Vk is not None
        matrix_Vk, tree = self.matrix_Vk.cpu().numpy(), self.tree
        tokens_N = np.empty(len(tree), np.int64)
        tokens_N[0] = ids[-1]
        for nodes in tree.levels[1:]:
            tokens_N[nodes] = matrix_Vk[tokens_N[tree.parents_N[nodes]], tree.ranks_N[nodes]]
        return Draft(tree, tokens_N)

    def learn(self, draft: Draft, step: Step, accepted: Accepted) -> None:
        """See `Drafter`: every node counts, whether it stays or not."""
        if draft.tree is self.tree:
            self.passes += 1
            self.stayed_N[list(accepted.nodes)] += 1
        self._update(draft.tokens_N, step.logits_NV)

    def _update(self, tokens_N: np.ndarray, logits_NV: Tensor) -> None:
        assert self.matrix_Vk is not None
        # Of several nodes with one token the last decides, which indexed assignment does not promise.
        _, first = np.unique(tokens_N[::-1], return_index=True)
        last = torch.from_numpy(len(tokens_N) - 1 - first).to(logits_NV.device)
        rows = torch.from_numpy(tokens_N).to(logits_NV.device)[last]
        self.matrix_Vk[rows] = logits_NV[last].topk(self.k, dim=1).indices

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, matrix.safetensors and, last, tokenloom.json with their digests.

        Raises: StoreError: nothing has been seen yet, or a file cannot be written.
        """
        if self.matrix_Vk is None:
            raise StoreError("nothing to save: there is no matrix before the first prompt")
        config = {"k": self.k, "update_on_prompt": self.needs_prompt, "keep": self.keep,
                  "parents": self.tree.parents_N.tolist(), "ranks": self.tree.ranks_N.tolist()}  # fmt: skip
        files = {
            "config.json": json.dumps(config).encode() + b"\n",
            "matrix.safetensors": save({"matrix": self.matrix_Vk.int().cpu()}),
        }
        save_files(os.fspath(folder), type(self).__name__, files)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> TokenRecycling:
        """What `save_pretrained` wrote.

        Raises: StoreError: another kind, or a file that is not the one that was written.
        """
        saved = load_files(os.fspath(folder))
        if saved.kind != cls.__name__:
            raise StoreError(f"{folder} holds a {saved.kind}, not a {cls.__name__}")
        config = json.loads(saved.files["config.json"])
        tree = DraftTree(np.array(config["parents"]), np.array(config["ranks"]))
        found = cls(tree, k=config["k"], update_on_prompt=config["update_on_prompt"], keep=config["keep"])
        found.matrix_Vk = load(saved.files["matrix.safetensors"])["matrix"].long()
        return found


def forward_costs(
    model: nn.Module, sizes: Sequence[int] = (1, 2, 4, 8, 16, 32, 81), *, cached: int = 64, repeats: int = 3
) -> dict[int, float]:
    """Seconds of a forward pass of so many tokens behind `cached` ones: the fastest of `repeats`, on this machine as it is now.

    Raises: InvalidInput: a size or a number below 1, or a model whose cache cannot be cut.
    """
    if min(*sizes, cached, repeats, 1) < 1:
        raise InvalidInput(f"sizes={tuple(sizes)}, {cached=} and {repeats=} must be at least 1")
    session, seconds = CausalSession(model), dict.fromkeys(sizes, float("inf"))
    session.extend([0] * cached, last=True)
    for size in seconds:
        for _ in range(repeats + 1):  # the first one warms up
            start = time.perf_counter()
            session.extend([0] * size)
            seconds[size] = min(seconds[size], time.perf_counter() - start)
            session.keep(cached)
    return seconds


def choose_tree(drafter: TokenRecycling, costs: Mapping[int, float]) -> DraftTree:
    """The part of a drafter's tree that gives most tokens a second, from what stayed of it so far and what passes cost.

    A pass over n nodes beside the root gives 1 + Σ p(node) tokens, p being how often a node stayed. A child stays no more often than
    its parent, so the best n nodes are the n that stayed most; and n is the one for which the tokens divided by the costs are most.

    Args:
        drafter: that has been used with a large tree, such as `published_tree()`.
        costs: of passes, by their tokens, as `forward_costs` measures; between them they are interpolated.
    Raises: InvalidInput: a drafter that has not been used, no cost of one token, costs that are not above 0.
    """
    if not drafter.passes:
        raise InvalidInput("the drafter has not been used yet; generate some text with it first")
    if 1 not in costs or not all(cost > 0 for cost in costs.values()):
        raise InvalidInput(f"costs={dict(costs)}; they must be above 0, and that of one token among them")
    sizes = sorted(costs)
    # Of equal nodes the one nearer the root, which is the parent if one is the other's.
    order_N = np.argsort(-drafter.stayed_N[1:], kind="stable") + 1
    order_N = order_N[: sizes[-1] - 1]
    tokens = 1 + np.cumsum([0.0, *drafter.stayed_N[order_N] / drafter.passes])
    seconds = np.interp(np.arange(1, len(tokens) + 1), sizes, [costs[size] for size in sizes])
    nodes = np.sort(order_N[: int(np.argmax(tokens / seconds))])
    place_N = np.full(len(drafter.tree), -1)
    place_N[[0, *nodes]] = np.arange(len(nodes) + 1)
    parents_N = np.array([-1, *place_N[drafter.tree.parents_N[nodes]]])
    return DraftTree(parents_N, np.array([0, *drafter.tree.ranks_N[nodes]]))
