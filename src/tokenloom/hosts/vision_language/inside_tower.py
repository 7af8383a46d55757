"""Fewer tokens inside the vision tower of a LLaVA: what leaves it is what the language model sees."""
# K pictures, T tokens of the tower, N patches, M tokens that leave it, D width

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ...core.errors import InvalidInput
from ...core.token_map import TokenMap
from . import FAMILIES
from .before_decoder import reduced_calls
from .llava import Llava
from .pictures import Picture, Rows
from .recording import attention_layers
from .report import Report
from .vision_blocks import Reduced, reduce_in_blocks

__all__ = ["reduce_inside_tower"]


@contextmanager
def reduce_inside_tower(
    model: Any,
    reducers: Mapping[int, Any],
    *,
    positions: Literal["kept", "compact"] = "kept",
    generator: torch.Generator | None = None,
) -> Iterator[Report]:
    """While the context lasts, blocks of the vision tower reduce its tokens, and prompts are shortened to what is left.

    Args:
        model: a `LlavaForConditionalGeneration`. LLaVA-NeXT and Qwen-VL put their tower's tokens together by the grid, which is
            lost.
        reducers: by block of the tower, from 1 on, as `reduce_in_blocks` takes them.
        positions: of what is left; "kept" as they were, "compact" counted anew.
        generator: for reducers that draw.
    Yields: what was done in the last call; the maps are those of the patches.
    Raises: InvalidInput: another model, or a block behind the one that features are taken from.
    """
    names = {FAMILIES.get(kind.__name__) for kind in type(model).__mro__}
    if "llava" not in names:
        raise InvalidInput(f"{type(model).__name__} cannot do with fewer tokens inside its vision tower; LlavaForConditionalGeneration and vision transformers alone can")  # fmt: skip
    tower = model.model.vision_tower
    with reduce_in_blocks(tower, reducers, generator=generator) as reduced:
        family = _ReducedLlava(model, reduced)
        if max(reducers) > family.last_block:
            raise InvalidInput(
                f"a reducer in block {max(reducers)}, but features are taken from block {family.last_block}"
            )
        with reduced_calls(model, family, {}, lambda x, signals: signals["left"], positions=positions) as report:
            yield report


class _ReducedLlava(Llava):
    def __init__(self, model: Any, reduced: Reduced) -> None:
        super().__init__(model, {})
        self.reduced = reduced
        blocks = len(attention_layers(model.model.vision_tower))
        self.last_block = min(layer % (blocks + 1) for layer in self._feature_layers({}))

    def pictures(self, call: Mapping[str, Any]) -> tuple[list[Picture], Any]:
        if call.get("vision_feature_layer") is not None:
            raise InvalidInput(
                "vision_feature_layer is given; with reducers inside the tower it must be the model's own"
            )
        done = self._encoded(call, pixel_values=call["pixel_values"])
        whole, beside = self.reduced.token_map, done.beside
        assert whole is not None
        found: list[Picture] = []
        for k, features_MD in enumerate(done.projected_KND):
            left = _without_class_token(whole.item(k), done.prefix)
            found.append(_Left(features_MD, beside + done.grid[0] * done.grid[1], beside, left))
        return found, done.output


@dataclass(frozen=True)
class _Left:
    """A picture that has been reduced already."""

    tokens_ND: Tensor
    length: int
    beside: int
    left: TokenMap

    @property
    def x_BND(self) -> Tensor:
        return self.tokens_ND[None]

    @property
    def signals(self) -> dict[str, Any]:
        return {"left": self.left}

    def spread(self, values_BQN: Tensor) -> Tensor:
        raise AssertionError("nothing is asked about the text")

    def rows(self, token_map: TokenMap) -> Rows:
        place_M = token_map.positions_BM[0]
        first = torch.arange(self.beside, device=place_M.device)
        return Rows(self.tokens_ND, torch.cat((first, self.beside + place_M)))


def _without_class_token(token_map: TokenMap, prefix: int) -> TokenMap:
    """The map of the patches alone, of one item."""
    if not prefix:
        return token_map
    weight = token_map.matrix()
    alone = weight.new_zeros(weight.shape[2])
    alone[0] = 1
    if not torch.equal(weight[0, 0], alone) or bool((weight[0, 1:, 0] != 0).any()):
        raise InvalidInput("the class token did not stay first and by itself in the tower; the projector would take a patch for it")  # fmt: skip
    if token_map.index_BM is not None:
        return TokenMap.keep(token_map.index_BM[:, 1:] - 1, of=token_map.shape[2] - 1)
    return TokenMap.dense(weight[:, 1:, 1:])
