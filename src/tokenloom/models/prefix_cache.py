"""What a causal language model expects next, asked for one sequence after another that begin alike.

Keys and values of the last sequence are kept; of a new one, only what differs is run.
"""
# T positions, V ids

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.errors import InvalidInput
from ..core.ledger import Ledger
from .transformer import Cache, Transformer

__all__ = ["PrefixCache"]


class PrefixCache:
    """Ask `model` what comes after some ids.

    Args:
        model: a `Transformer` or a Hugging Face causal model; put into evaluation mode by the first question.

    `ledger` counts its calls and their tokens.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._ids: list[int] = []
        self._past: Any = None
        self.ledger = Ledger()

    @torch.no_grad()
    def __call__(self, ids: Sequence[int]) -> np.ndarray:
        """Natural logarithms of the probabilities of the next id after `ids`: float64 (V,).

        Raises: InvalidInput: no ids, or one that the model does not know.
        """
        ids = [int(i) for i in ids]
        known = self._model.config.vocab_size  # type: ignore[union-attr]
        if not ids or not 0 <= min(ids) <= max(ids) < known:  # type: ignore[operator]
            raise InvalidInput(f"ids {ids[:8]} …: need at least one, all from 0 to {known - 1}")  # type: ignore[operator]
        self._model.eval()
        same = 0
        # The last id is run in any case: what comes after it is the question.
        while same < min(len(ids) - 1, len(self._ids)) and ids[same] == self._ids[same]:
            same += 1
        self._crop(same)
        device = next(self._model.parameters()).device
        logits_V = self._run(torch.tensor([ids[same:]], device=device))[0, -1]
        self._ids = ids
        self.ledger += Ledger(forward_passes=1, tokens=len(ids) - same)
        return logits_V.double().log_softmax(-1).cpu().numpy()

    def _crop(self, length: int) -> None:
        """Forget all positions from `length` on."""
        if length == 0 or self._past is None:
            self._past = None
        elif length < len(self._ids):
            if isinstance(self._past, Cache):
                self._past = Cache([(k[:, :, :length], v[:, :, :length]) for k, v in self._past.pairs])
            else:
                self._past.crop(length - len(self._ids))

    def _run(self, ids_BT: torch.Tensor) -> torch.Tensor:
        model = self._model
        if isinstance(model, Transformer):
            self._past = Cache([]) if self._past is None else self._past
            return model(ids_BT, cache=self._past)
        if self._past is None:
            from transformers import DynamicCache

            # Without a configuration all layers keep all positions, also those of a sliding window: they can be taken back.
            self._past = DynamicCache()
        # transformers renames the argument from version 5.24 on, and warns of the old name.
        name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
        output = model(input_ids=ids_BT, use_cache=True, **{name: self._past})
        return output.logits
