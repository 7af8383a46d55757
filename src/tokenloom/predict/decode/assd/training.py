"""How an any-order model learns: some tokens are given, the others come one by one, and all are predicted in one call.

Guo and Ermon 2025, arXiv 2504.20456: the tokens that are given are a random set, and both they and the others come in
ascending order, so that there are 2^N orders to learn and not N! (the binary lattice). The share to be predicted grows in training.
"""
# B batch, N positions, V ids

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....core.errors import InvalidInput
from ....models.batches import IGNORED, Batch, BatchSource, windows
from ....models.two_stream import TwoStream

__all__ = ["AnySubsetObjective", "MaskRates", "subsets"]


@dataclass(frozen=True)
class MaskRates:
    """Which share of the tokens is to be predicted: from `low` to `high`, both of which rise linearly from `start`.

    Args:
        start, low, high: shares, 0 < start <= low <= high < 1.
        steps: of training until `low` and `high` are reached, at least 1.
    Raises: InvalidInput: numbers out of range.

    >>> MaskRates(steps=100)(0), MaskRates(steps=100)(50), MaskRates(steps=100)(1000)
    ((0.15, 0.15), (0.5, 0.57), (0.85, 0.99))
    """

    start: float = 0.15
    low: float = 0.85
    high: float = 0.99
    steps: int = 5000

    def __post_init__(self) -> None:
        if not 0 < self.start <= self.low <= self.high < 1 or self.steps < 1:
            raise InvalidInput(f"{self}; needed are 0 < start <= low <= high < 1 and steps of at least 1")

    def __call__(self, step: int) -> tuple[float, float]:
        """Lowest and highest share at a step, from 0 on."""
        done = min(step / self.steps, 1.0)
        return self.start + (self.low - self.start) * done, self.start + (self.high - self.start) * done


class _Subsets:
    def __init__(self, source: BatchSource, rates: MaskRates, accumulate: int, rng: np.random.Generator) -> None:
        self.source, self.rates, self.accumulate, self.rng = source, rates, accumulate, rng
        self.given = 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.source:
            step, part = divmod(self.given, self.accumulate)
            low, high = self.rates(step)
            rate = low + (high - low) * (part + self.rng.random()) / self.accumulate
            shape = batch["input_ids"].shape
            blanks = max(int(rate * shape[1]), 1)
            blank_BN = torch.from_numpy(self.rng.random(shape).argsort(1) < blanks)
            labels_BN = torch.where(blank_BN, batch["input_ids"], IGNORED)
            self.given += 1
            yield {
                "input_ids": batch["input_ids"],
                "labels": F.pad(labels_BN, (1, 0), value=IGNORED),
                "positions": blank_BN.cumsum(1) * blank_BN,
            }

    def state_dict(self) -> dict[str, Any]:
        return {"source": self.source.state_dict(), "given": self.given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.source.load_state_dict(state["source"])
        self.given = state["given"]


def subsets(
    ids: np.ndarray, *, length: int, batch: int, rates: MaskRates, rng: np.random.Generator, accumulate: int = 1
) -> BatchSource:
    """What `train` teaches an `AnySubsetObjective` with: windows of a text, of which random tokens are given and the others come in
    ascending order. All windows of a batch have as many blanks, ⌊rate · length⌋.

    Args:
        ids: integers, as for `windows`, without the mask.
        length: ids of a window.
        batch: windows of a batch.
        rates: of the tokens to be predicted; the rate of a batch is drawn between the lowest and the highest.
        rng: draws windows, rates and blanks.
        accumulate: that of `train`: the rates of one step are drawn each in its own part of the range.
    Raises: InvalidInput: no window fits, a number below 1.
    """
    if accumulate < 1:
        raise InvalidInput(f"accumulate={accumulate}; it must be at least 1")
    return _Subsets(windows(ids, length=length, batch=batch, rng=rng), rates, accumulate, rng)


class AnySubsetObjective(nn.Module):
    """A `TwoStream` as `train` takes it: the mean of -log p(x_i | what is known before i) over the blanks.

    Args:
        model: trained in place.
    """

    def __init__(self, model: TwoStream) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BN: Tensor, *, mask: Tensor | None = None, positions: Tensor) -> Tensor:
        """Logits (B, N + 1, V), the last row empty: `train` expects the logits of a token in the row before it.

        Args:
            ids_BN: int64.
            mask: None; what is seen follows from the order.
            positions: int64 (B, N), when each token becomes known, as for `TwoStream.predictions`.
        Raises: InvalidInput: the mask among the ids.
        """
        if bool((ids_BN == self.model.config.mask_id).any()):
            raise InvalidInput(f"the text holds id {self.model.config.mask_id}, which is the mask")
        return F.pad(self.model.predictions(ids_BN, positions), (0, 0, 0, 1))
