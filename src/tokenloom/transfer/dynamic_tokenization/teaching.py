"""Teach a hypernetwork the rows of a model: each token that can be cut into others is to be told from these.

The identity stage of ZeTT (Minixhofer, Ponti, Vulić 2024, arXiv 2405.07883, section 3.2) regresses rows from the pieces of
the tokenizer of the hypernetwork. Here that is the tokenizer of the model itself, which makes one piece of each token; so a
token is cut at random into two or more others, as a merged token consists of several.
"""
# N tokens, L pieces, E width of a row

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ...core.errors import InvalidInput
from ...core.segmentation import Ragged
from ...core.vocabulary import Vocabulary
from ...models.hypernetwork import Hypernetwork
from ...models.training import learning_rate
from ...tokenize.text.stochastok import StochasTok
from .embedders import ModelRows, padded

__all__ = ["RowTeaching", "splittable"]


def splittable(vocab: Vocabulary) -> np.ndarray:
    """Ids of text that can be cut into two others, int64, ascending.

    >>> splittable(Vocabulary([b"a", b"b", b"ab", b"abc"])).tolist()
    [2]
    """
    return np.flatnonzero(np.diff(StochasTok(vocab, proportion=1.0).table.indptr) > 0)


@dataclass(frozen=True)
class RowTeaching:
    """Least squares of rows, each dimension measured by its deviation.

    Args:
        steps: of AdamW, at least 1.
        batch: tokens of a step.
        lr: highest learning rate, reached after a twentieth of the steps, then a half cosine down to 0.
        more: probabilities of 2, 3, 4 … pieces at most; as many as the hypernetwork reads, or fewer.
        betas, weight_decay: of AdamW, as published.
        clip: largest norm of the gradient; 0.1 as published for a model that is trained for days, more where time is short.
    Raises: InvalidInput: a number out of range.
    """

    steps: int
    batch: int = 512
    lr: float = 2e-3
    more: tuple[float, ...] = (0.6, 0.25, 0.15)
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    clip: float = 1.0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or self.lr <= 0 or self.clip <= 0:
            raise InvalidInput(
                f"steps={self.steps}, batch={self.batch}, lr={self.lr}, clip={self.clip}; all must be positive"
            )
        if not self.more or min(self.more) < 0 or abs(sum(self.more) - 1) > 1e-9:
            raise InvalidInput(f"more={self.more}; probabilities sum to 1")

    def __call__(
        self,
        hypernetwork: Hypernetwork,
        rows: ModelRows,
        vocab: Vocabulary,
        *,
        rng: np.random.Generator,
        tokens: np.ndarray | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> np.ndarray:
        """Train `hypernetwork` in place, whose affine maps are fitted first.

        Args:
            rows: of the model.
            vocab: of the model.
            rng: draws tokens and cuts.
            tokens: ids to be learnt, all splittable; None for all that are.
            progress: called after each step with its number and loss.
        Returns: the loss of each step, float64 (steps,); 1 is that of the mean row.
        Raises: InvalidInput: no token to learn, one that cannot be cut, more pieces than the hypernetwork reads, a
            hypernetwork for rows of another width.
        """
        if len(self.more) + 1 > hypernetwork.config.pieces:
            raise InvalidInput(
                f"lessons of {len(self.more) + 1} pieces, but the hypernetwork reads {hypernetwork.config.pieces}"
            )
        cut = [StochasTok(vocab, proportion=float(k)) for k in range(1, len(self.more) + 1)]
        known = splittable(vocab)
        tokens = known if tokens is None else np.asarray(tokens)
        if not tokens.size or not np.isin(tokens, known).all():
            raise InvalidInput(f"{tokens.size} tokens to learn, all of which must be splittable into others")
        everything = rows.source(torch.arange(len(vocab)))
        if everything.shape[1] != hypernetwork.config.source:
            raise InvalidInput(
                f"rows of the model have {everything.shape[1]} values, but the hypernetwork {hypernetwork.config.source}"
            )
        hypernetwork.fit_input(everything)
        variance_E = everything.float().var(0).clamp_min(1e-12)

        def lesson(ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            look = cut[rng.choice(len(cut), p=self.more)]
            seeds = rng.integers(1 << 63, size=ids.size, dtype=np.uint64)
            return padded(list(look.expand_batch(Ragged(ids, np.arange(ids.size + 1)), seeds)))

        some = rng.choice(tokens, min(tokens.size, 8 * self.batch), replace=False)
        ids_NL, valid_NL = lesson(some)
        hypernetwork.train()
        with torch.no_grad():
            hypernetwork.fit_output(hypernetwork(everything[ids_NL], valid_NL).rows, everything[some])
        adamw = torch.optim.AdamW(
            hypernetwork.parameters(), lr=self.lr, betas=self.betas, weight_decay=self.weight_decay
        )
        losses = np.empty(self.steps)
        for step in range(1, self.steps + 1):
            rate = learning_rate(step, steps=self.steps, lr=self.lr, warmup=self.steps // 20, min_lr=0.0)
            for group in adamw.param_groups:
                group["lr"] = rate
            chosen = rng.choice(tokens, min(tokens.size, self.batch), replace=False)
            ids_NL, valid_NL = lesson(chosen)
            made_NE = hypernetwork(everything[ids_NL], valid_NL).rows
            loss = ((made_NE - everything[chosen]) ** 2 / variance_E).mean()
            adamw.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(hypernetwork.parameters(), self.clip)
            adamw.step()
            losses[step - 1] = loss.item()
            if progress is not None:
                progress(step, losses[step - 1])
        hypernetwork.eval()
        return losses
