"""Several models on one tokenizer as one: the mean of what they say of the next token.

Minixhofer et al. 2025, section 4: models that were brought to one tokenizer can be averaged step by step.
"""
# B texts, T positions, V ids

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ...core.errors import InvalidInput
from ...models.training import logits_of

__all__ = ["Ensemble"]


@dataclass(frozen=True)
class _Config:
    vocab_size: int


class Ensemble(nn.Module):
    """A causal model whose distribution is the mean of those of others.

    Args:
        models: `Transformer`s or causal models of transformers, at least one, that know as many ids.
        mean: of "probabilities", or of their "logs", and then normalised.
    Raises: InvalidInput: no model, models of different numbers of ids.
    """

    def __init__(
        self, models: Sequence[nn.Module], *, mean: Literal["probabilities", "logs"] = "probabilities"
    ) -> None:
        super().__init__()
        sizes = [model.config.vocab_size for model in models]  # type: ignore[union-attr]
        if len(set(sizes)) != 1:
            raise InvalidInput(f"models of {sizes} ids; an ensemble needs at least one, and all on one tokenizer")
        self.models, self.mean = nn.ModuleList(models), mean
        self.config = _Config(int(sizes[0]))  # type: ignore[arg-type]

    def forward(self, ids_BT: Tensor, *, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """Log-probabilities of the next id, float32 (B, T, V); `mask` and `positions` as for `Transformer`."""
        given = {"input_ids": ids_BT, "mask": mask, "positions": positions}
        batch = {name: value for name, value in given.items() if value is not None}
        logs = torch.stack([logits_of(model, batch).float().log_softmax(-1) for model in self.models])
        if self.mean == "probabilities":
            return logs.logsumexp(0) - math.log(len(self.models))
        return logs.mean(0).log_softmax(-1)

    @torch.no_grad()
    def generate(
        self, ids_BT: Tensor, *, new: int, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Continue each row by `new` ids, all models in step: (B, T + new); greedily, or sampled at `temperature`.

        Every step reads the text anew, for not every model keeps what it has read (`ByteEmbedding`).
        Raises: InvalidInput: sampling without a generator.
        """
        if temperature > 0 and generator is None:
            raise InvalidInput("sampling needs a torch.Generator")
        for _ in range(new):
            logs_BV = self(ids_BT)[:, -1]
            if temperature > 0:
                step = torch.multinomial((logs_BV / temperature).softmax(-1), 1, generator=generator)
            else:
                step = logs_BV.argmax(-1, keepdim=True)
            ids_BT = torch.cat([ids_BT, step], 1)
        return ids_BT
