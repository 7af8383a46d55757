"""FLASH: several tokens drafted in one pass of a small head, which reads a few latents in place of a picture's hundreds of tokens.

"FLASH: Latent-Aware Semi-Autoregressive Speculative Decoding for Multimodal Tasks", 2025, arXiv 2505.12728. The head reads the
model's own features, those that its output layer turns into logits, as EAGLE does (Li et al. 2024, arXiv 2401.15077), and says
what the next K of them will be. What is accepted comes back with its true features.

Differs from the authors' code, which decodes with another, autoregressive head: the drafting loop is ours. Candidates of a level do
not depend on those above. Keys and values of what is known are kept, so that a pass runs the new tokens alone. A tree deeper than K
is drafted in several passes, the later ones from the head's own predictions; with K = 1 that is an autoregressive drafter.
"""
# N nodes of a tree, P levels below the root, V ids, D width, K futures

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ....core.draft_tree import DraftTree
from ....core.errors import InvalidInput
from ....core.ledger import Ledger
from ....hosts.vision_language.relevance import visual_span
from ....models.tables import embeddings, output_layer
from ....models.transformer import Cache
from ..drafting import Draft
from ..sampling import drawn
from ..session import CausalSession, Step
from ..verification import Accepted
from .head import FlashHead, LatentPooling
from .training import OwnAnswers, flash_losses, own_answers, train_flash

__all__ = [
    "FLASH",
    "FlashHead",
    "LatentPooling",
    "OwnAnswers",
    "flash_losses",
    "flash_tree",
    "own_answers",
    "train_flash",
]

_ROOT = DraftTree.chain(0)
# Every id must have a chance in what candidates are drawn from, or a tree could ask for more of them than there are.
_FLOOR = 1e-6


@cache
def flash_tree() -> DraftTree:
    """25 candidates behind the root on five levels, the authors' tree."""
    children = {
        (): 4,
        (0,): 3, (1,): 2, (2,): 2, (3,): 1,
        (0, 0): 3, (0, 1): 2, (0, 2): 2, (1, 0): 1,
        (0, 0, 0): 3,
        (0, 0, 0, 0): 2,
    }  # fmt: skip
    return DraftTree.from_paths([(*path, rank) for path, count in children.items() for rank in range(count)])


class FLASH:
    """A drafter from a trained head.

    Args:
        head: for the model that it drafts for, and in the same dtype.
        tree: candidates; None for a chain of as many as the head has futures. `flash_tree()` is the authors'.
        image_token: the placeholder of visual tokens; None for text alone, or a head that has been trained to take it as such.
        temperature: of what candidates are drawn from, with `generator`.
        generator: to draw candidates without replacement; None for the most probable ones.
    Raises: InvalidInput: a temperature that is not above 0.

    >>> from tokenloom.models.transformer import Transformer
    >>> from tokenloom.predict.decode.generating import generate
    >>> model = Transformer(vocab_size=20, width=16, layers=1, heads=2)
    >>> drafter = FLASH(FlashHead(width=16, heads=2, futures=3, latents=None))
    >>> found = generate(model, [3, 1, 4], drafter, max_new_tokens=9)
    >>> found.ids == generate(model, [3, 1, 4], max_new_tokens=9).ids, drafter.ledger.forward_passes == len(found.steps)
    (True, True)
    """

    needs_hidden, needs_prompt = True, False

    def __init__(
        self,
        head: FlashHead,
        tree: DraftTree | None = None,
        *,
        image_token: int | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        if not 0 < temperature < float("inf"):
            raise InvalidInput(f"{temperature=}; it must be above 0")
        self.head = head.eval()
        self.tree = DraftTree.chain(head.config.futures) if tree is None else tree
        self.image_token, self.temperature, self.generator = image_token, temperature, generator
        self.ledger = Ledger()
        """Passes and rows of the head since the last prompt; its parameters count once a row."""
        self._size = sum(weight.numel() for weight in head.parameters())
        self._cache = Cache([])
        self._new: list[Tensor] = []
        self._ready = False

    @torch.no_grad()
    def begin(self, session: CausalSession, ids: Sequence[int], step: Step | None) -> None:
        """See `Drafter`.

        Raises: InvalidInput: a model of another width, or with fewer ids than the tree has candidates; an `image_token` that is
            not in the prompt, or with other tokens in between; more latents than visual tokens.
        """
        if (most := int(self.tree.ranks_N.max())) >= session.vocab_size:
            raise InvalidInput(f"the tree asks for candidate {most}, but the model has {session.vocab_size} ids")
        self._embed, self._unembed = embeddings(session.model), output_layer(session.model)
        if (width := self._unembed.weight.shape[1]) != self.head.config.width:
            raise InvalidInput(f"the head is {self.head.config.width} wide, and the model {width}")
        span = None if self.image_token is None else visual_span(torch.tensor([list(ids)]), self.image_token)
        self.ledger, self._cache, self._ready = Ledger(), Cache([]), False
        self._new.clear()
        if span is not None and span.stop == len(ids):
            raise InvalidInput(f"the prompt ends with placeholder {self.image_token}; text must follow a picture")
        if step is not None:
            assert step.hidden_ND is not None
            self._read(step.hidden_ND, ids[1:], span)

    @torch.no_grad()
    def draft(self, ids: Sequence[int]) -> Draft:
        """See `Drafter`: one pass of the head, unless the tree is deeper than it has futures."""
        depth = len(self.tree.levels) - 1
        if not self._ready or not depth:
            return Draft(_ROOT, np.array(ids[-1:]))
        features_KD = self._run(torch.cat(self._new, 1), self._cache)
        self._new.clear()
        logits = [self._unembed(features_KD)]
        ahead = Cache(list(self._cache.pairs))
        while sum(map(len, logits)) < depth:
            rows = self.head.rows(features_KD[None], self._embed(logits[-1].argmax(-1))[None])
            features_KD = self._run(rows, ahead)
            logits.append(self._unembed(features_KD))
        return self._candidates(torch.cat(logits)[:depth].float(), ids[-1])

    @torch.no_grad()
    def learn(self, draft: Draft, step: Step, accepted: Accepted) -> None:
        """See `Drafter`: the true features of what stays take the place of those that were predicted."""
        assert step.hidden_ND is not None
        nodes = list(accepted.nodes)
        self._read(step.hidden_ND[nodes], [*draft.tokens_N[nodes[1:]].tolist(), accepted.token], None)

    def _read(self, features_LD: Tensor, following: Sequence[int], span: range | None) -> None:
        """Take features, and the tokens behind them, for the next pass."""
        next_LD = self._embed(torch.tensor(list(following), device=features_LD.device))
        self._new.append(self.head.rows(features_LD[None], next_LD[None], span))
        # A row without its next token, as those up to the end of a picture are, is no place to draft from.
        self._ready |= span is None or span.stop < len(features_LD)

    def _run(self, rows_1RD: Tensor, cache: Cache) -> Tensor:
        """Features that follow the last row, (K, D)."""
        self.ledger += Ledger(1, rows_1RD.shape[1], self._size * rows_1RD.shape[1])
        return self.head(rows_1RD, cache, wanted=1)[0, 0]

    def _candidates(self, logits_PV: Tensor, root: int) -> Draft:
        """Of each level by its own distribution, behind whichever node."""
        tree, tokens_N = self.tree, np.empty(len(self.tree), np.int64)
        tokens_N[0] = root
        if self.generator is None:
            best_PR = logits_PV.topk(int(tree.ranks_N.max()) + 1).indices.cpu().numpy()
            tokens_N[1:] = best_PR[tree.depths_N[1:] - 1, tree.ranks_N[1:]]
            return Draft(tree, tokens_N)
        q_PV = (logits_PV.double() / self.temperature).softmax(-1)
        q_PV = (1 - _FLOOR) * q_PV + _FLOOR / q_PV.shape[1]
        for node in range(len(tree)):
            if not len(tree.children(node)):
                continue
            left_V = q_PV[tree.depths_N[node]].clone()
            for child in tree.children(node):
                tokens_N[child] = drawn(left_V, self.generator)
                left_V[tokens_N[child]] = 0
        # Leaves have no candidates; any row stands for theirs.
        return Draft(tree, tokens_N, q_PV[torch.from_numpy(tree.depths_N).clamp(max=len(q_PV) - 1).to(q_PV.device)])
