"""The router: a small classifier that says from the small model's state how likely its token is to change the path (paper, section 4)."""
# N places, D width of the small model, K logits, W width of the router, V ids

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....core.errors import InvalidInput
from ....models.saved_modules import load_module, save_module
from .labels import Examples
from .states import States

__all__ = ["RouterTraining", "TokenRouter", "train_router"]

Part = Literal["hidden", "token", "logits"]
PARTS: tuple[Part, ...] = ("hidden", "token", "logits")


class TokenRouter(nn.Module):
    """The probability that a token is divergent: z = Linear([h ; E[token] ; Linear(logits)]), residual blocks, one logit.

    A block is x ← x + Drop(W₂ Drop(GELU(W₁ LN(x)))). Make it with `TokenRouter.of(small)`, which copies the embeddings.

    Args:
        vocab_size: ids, V.
        hidden: width of the small model, D.
        k: largest logits that are read.
        width: W.
        blocks: of the backbone.
        expansion: of a block's inner width.
        dropout: in the blocks.
        normalised: bring h and E[token] to mean 0 and variance 1 and take the softmax of the k logits; the authors do not by default.
        parts: of the state that are read.
        generator: draws the initial weights; None for seed 0.

    The defaults are the authors', 56 M weights for a model of width 1536; take a few blocks of 128 for a small model of ten million.
    Raises: InvalidInput: numbers out of range.
    """

    embeddings_VD: Tensor
    """The input embeddings of the small model; they do not learn."""

    def __init__(
        self,
        *,
        vocab_size: int,
        hidden: int,
        k: int = 100,
        width: int = 1024,
        blocks: int = 6,
        expansion: int = 4,
        dropout: float = 0.1,
        normalised: bool = False,
        parts: Sequence[Part] = PARTS,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(vocab_size, hidden, k, width, expansion) < 1 or blocks < 0 or not 0 <= dropout < 1:
            raise InvalidInput(
                f"{vocab_size=}, {hidden=}, {k=}, {width=}, {expansion=} must be at least 1, {blocks=} at least 0, {dropout=} in [0, 1)"
            )
        if not parts or not set(parts) <= set(PARTS) or len(set(parts)) < len(parts):
            raise InvalidInput(f"parts={tuple(parts)}; they are some of {PARTS}")
        self.k, self.hidden, self.normalised, self.parts = k, hidden, normalised, tuple(parts)
        self.settings = {
            "vocab_size": vocab_size, "hidden": hidden, "k": k, "width": width, "blocks": blocks, "expansion": expansion,
            "dropout": dropout, "normalised": normalised, "parts": list(parts),
        }  # fmt: skip
        generator = generator or torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):  # torch's own initial weights
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            self.logits_in = nn.Linear(k, hidden)
            self.join = nn.Linear(hidden * len(self.parts), width)
            self.first = nn.Linear(width, width)
            self.blocks = nn.ModuleList(_Block(width, expansion, dropout) for _ in range(blocks))
            self.norm = nn.LayerNorm(width)
            self.last = nn.Linear(width, 1)
        self.register_buffer("embeddings_VD", torch.zeros(vocab_size, hidden))
        for module in [self.first, *self.blocks.modules(), self.last]:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)

    @classmethod
    def of(cls, small: nn.Module, *, shared: int | None = None, **settings: Any) -> TokenRouter:
        """A router for a small model, as it begins to learn.

        Args:
            small: a causal model of transformers, or a `Transformer`.
            shared: how many of its ids count; None for all.
            settings: of `TokenRouter`, but for `vocab_size` and `hidden`.
        """
        own: Any = small
        embedding = own.get_input_embeddings() if hasattr(own, "get_input_embeddings") else own.embed
        rows_VD = embedding.weight.detach()[:shared].float().cpu().clone()
        router = cls(vocab_size=len(rows_VD), hidden=rows_VD.shape[1], **settings)
        router.embeddings_VD.copy_(rows_VD)
        return router

    @torch.no_grad()
    def forward(self, states: States) -> Tensor:
        """Probabilities of N places, float64 (N,), without gradients; to learn, see `logits`."""
        return self.logits(states).double().sigmoid()

    def logits(self, states: States) -> Tensor:
        """Before the sigmoid, float32 (N,).

        Raises: InvalidInput: states of another width or with another number of logits than the router is for.
        """
        if states.hidden_ND.shape[1] != self.hidden:
            raise InvalidInput(f"states of width {states.hidden_ND.shape[1]}; the router is for width {self.hidden}")
        if states.logits_NK.shape[1] < self.k:
            raise InvalidInput(f"states with {states.logits_NK.shape[1]} logits; the router reads {self.k}")
        if len(states) and int(states.tokens_N.max()) >= len(self.embeddings_VD):
            raise InvalidInput(f"token {int(states.tokens_N.max())}; the router knows {len(self.embeddings_VD)} ids")
        device = self.embeddings_VD.device
        hidden_ND, token_ND = states.hidden_ND.to(device).float(), self.embeddings_VD[states.tokens_N.to(device)]
        logits_NK = states.logits_NK[:, : self.k].to(device)
        if self.normalised:
            hidden_ND, token_ND = (F.layer_norm(x, (self.hidden,)) for x in (hidden_ND, token_ND))
            logits_NK = logits_NK.softmax(1)
        read = {"hidden": hidden_ND, "token": token_ND, "logits": self.logits_in(logits_NK)}
        x_NW = self.first(self.join(torch.cat([read[part] for part in self.parts], 1)))
        for block in self.blocks:
            x_NW = block(x_NW)
        return self.last(self.norm(x_NW))[:, 0]

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors (the embeddings among the weights) and, last, tokenloom.json with their digests."""
        save_module(self, folder, self.settings)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> TokenRouter:
        """What `save_pretrained` wrote, ready for use.

        Raises: StoreError: another kind, or a file that is not the one that was written.
        """
        return load_module(cls, folder).eval()


class _Block(nn.Module):
    def __init__(self, width: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.up, self.down = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)

    def forward(self, x_NW: Tensor) -> Tensor:
        return x_NW + self.dropout(self.down(self.dropout(F.gelu(self.up(self.norm(x_NW))))))


@dataclass(frozen=True)
class RouterTraining:
    """How a router learnt.

    Args:
        losses: of each epoch, the mean over its examples, in nats.
        held_out: the loss on held-out examples behind each epoch.
        best: the epoch, from 0 on, whose weights the router has.
        pos_weight: of a divergent example.
    """

    losses: list[float]
    held_out: list[float]
    best: int
    pos_weight: float


def train_router(
    router: TokenRouter,
    lessons: Examples,
    held_out: Examples,
    *,
    lr: float = 5e-5,
    weight_decay: float = 5e-4,
    batch: int = 1024,
    epochs: int = 50,
    patience: int = 10,
    recall_factor: float = 1.0,
    seed: int = 0,
) -> RouterTraining:
    """Train a router in place: binary cross-entropy, a divergent example weighing (others / divergent ones) · `recall_factor`.

    Args:
        lessons: with both classes.
        held_out: after so many epochs (`patience`) without a lower loss here it ends, and the weights of the lowest stay.
        lr, weight_decay: of AdamW.
        batch: examples of a step.
        epochs: at most.
        recall_factor: more for more recall.
        seed: of order and dropout; torch's global generator is left as it was.
    Raises: InvalidInput: examples of one class only, nothing held out, numbers out of range, states that do not fit.
    """
    if min(batch, epochs, patience) < 1 or not (lr > 0 and weight_decay >= 0 and recall_factor > 0):
        raise InvalidInput(
            f"{batch=}, {epochs=}, {patience=} must be at least 1, {lr=} and {recall_factor=} above 0, {weight_decay=} not below"
        )
    positives = int(lessons.divergent_N.sum())
    if not 0 < positives < len(lessons):
        raise InvalidInput(f"{positives} of {len(lessons)} examples are divergent; a router learns from both kinds")
    if not len(held_out):
        raise InvalidInput("no examples are held out; without them nobody knows when to stop")
    device = router.embeddings_VD.device
    pos_weight = (len(lessons) - positives) / positives * recall_factor
    weight = torch.tensor(pos_weight, device=device)

    def loss_of(some: Examples) -> Tensor:
        wanted_N = some.divergent_N.to(device).float()
        return F.binary_cross_entropy_with_logits(router.logits(some.states), wanted_N, pos_weight=weight)

    adamw = torch.optim.AdamW(router.parameters(), lr=lr, weight_decay=weight_decay)
    order = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    after: list[float] = []
    best, kept = 0, copy.deepcopy(router.state_dict())
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            router.train()
            total = 0.0
            for rows in torch.randperm(len(lessons), generator=order).split(batch):
                loss = loss_of(Examples(lessons.states[rows], lessons.divergent_N[rows]))
                adamw.zero_grad()
                loss.backward()
                adamw.step()
                total += float(loss.detach()) * len(rows)
            losses.append(total / len(lessons))
            router.eval()
            with torch.no_grad():
                after.append(float(loss_of(held_out)))
            if epoch == 0 or after[epoch] < after[best]:
                best, kept = epoch, copy.deepcopy(router.state_dict())
            if epoch - best >= patience:
                break
    router.load_state_dict(kept)
    return RouterTraining(losses, after, best, pos_weight)
