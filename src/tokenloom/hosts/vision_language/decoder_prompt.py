"""Prompts with a picture inside a decoder: where the visual tokens and the text behind them are, and what became of them."""
# B prompts, T positions, S positions that are left, N visual tokens, Q text tokens behind the picture, D width

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...core.errors import InvalidInput
from ...core.token_map import TokenMap
from ...core.transition import Transition

__all__ = ["Prompt"]


@dataclass
class Prompt:
    """What is known of the prompts of one call, while they go through the layers.

    Args:
        starts: the first visual token of each row.
        total: visual tokens of a row at first.
        count: N, those that are left.
        valid_BS: positions that are left, True where they are no padding.
        first: the visual tokens of each row where the decoder begins, (1, total, D); `text` those behind them, (1, Q, D).
        shortened: `valid_BS` as a layer and its cache see it, by layer, counted from 0; layers that see all are missing.
        changed: arguments for the layers from here on, where they differ from the decoder's.
        attention: of the text to the visual tokens, for each row, by layer, counted from 1.
        transitions: by layer, counted from 1, for each row.
        maps: of each row, from all its visual tokens to those that are left.
    """

    starts: list[int]
    total: int
    count: int
    valid_BS: Tensor
    first: list[Tensor] = field(default_factory=list)
    text: list[Tensor] = field(default_factory=list)
    shortened: dict[int, Tensor] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    attention: dict[int, list[Tensor]] = field(default_factory=dict)
    transitions: dict[int, list[Transition]] = field(default_factory=dict)
    maps: list[TokenMap] = field(default_factory=list)

    @classmethod
    def found(cls, ids_BT: Tensor, mask_BT: Tensor, image_id: int) -> Prompt:
        """Find the placeholders of each row's picture.

        Raises: InvalidInput: none, several blocks of them, unequal numbers, or no text behind them.
        """
        image_BT = ids_BT == image_id
        counts, starts = image_BT.sum(1).tolist(), image_BT.int().argmax(1).tolist()
        for b, (count, start) in enumerate(zip(counts, starts)):
            if not count:
                raise InvalidInput(f"row {b} has no placeholder of an image (id {image_id}); every row needs a picture")
            if not bool(image_BT[b, start : start + count].all()):
                raise InvalidInput(f"row {b} has placeholders of images apart from each other; they must be one block")
        if len(set(counts)) != 1:
            raise InvalidInput(f"rows have {counts} visual tokens; a batch needs equal numbers, so run them one by one")
        prompt = cls(starts, counts[0], counts[0], mask_BT.bool())
        prompt.maps = [TokenMap.identity(1, counts[0], ids_BT.device) for _ in counts]
        for b in range(len(counts)):
            if not prompt.behind(b).numel():
                raise InvalidInput(f"row {b} ends with its picture; there must be text behind it")
        return prompt

    def image(self, row: int) -> slice:
        """Positions of the visual tokens."""
        return slice(self.starts[row], self.starts[row] + self.count)

    def behind(self, row: int) -> Tensor:
        """Positions of the text behind the picture, int64 (Q,)."""
        end = self.image(row).stop
        return self.valid_BS[row, end:].nonzero()[:, 0] + end

    def forget(self) -> None:
        """Let go of what only reductions need; answers are decoded without it."""
        for held in (self.first, self.text, self.changed, self.attention, self.transitions):
            held.clear()

    def transition(self, row: int, gain_2S: Tensor, cosine_2S: Tensor) -> Transition:
        """What a layer did to a row, without its padding."""
        valid_S = self.valid_BS[row]
        start = int(valid_S[: self.starts[row]].sum())
        return Transition(gain_2S[:, None, valid_S], cosine_2S[:, None, valid_S], start, self.count)

    def reduce(self, maps: Sequence[TokenMap]) -> Tensor:
        """Take note of a reduction, a map for each row, all of as many rows.

        Returns: for each position that is left, the one whose place it takes, int64 (B, S).
        """
        places_S = torch.arange(self.valid_BS.shape[1], device=self.valid_BS.device)
        spans = [(self.image(b), token_map.positions_BM[0]) for b, token_map in enumerate(maps)]
        rows = [torch.cat((places_S[: a.start], a.start + kept_M, places_S[a.stop :])) for a, kept_M in spans]
        columns_BS = torch.stack(rows)
        self.count, self.valid_BS = maps[0].shape[1], self.valid_BS.gather(1, columns_BS)
        self.maps = [token_map @ before for token_map, before in zip(maps, self.maps)]
        for layer, parts in self.transitions.items():
            self.transitions[layer] = [part.through(token_map) for part, token_map in zip(parts, maps)]
        return columns_BS
