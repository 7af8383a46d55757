"""LLaVA-NeXT: a picture as a thumbnail and crops of a larger canvas, whose padding is cut off and whose rows end in newlines."""
# C crops of a picture, the thumbnail first, N patches of each, T tokens in the prompt, L of them newlines, M rows of a map,
# Q text tokens, K crops of all pictures, D width

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...core.errors import InvalidInput
from ...core.token_map import TokenMap
from .llava import Encoded, Llava, Requests
from .names import get_anyres_image_grid_shape
from .pictures import GridPicture, Picture, Rows

__all__ = ["CroppedPicture", "LlavaNext"]

_PER_CROP = {"grid", "crops", "prefix", "offset", "cls_query"}
"""What a reducer can only be given crop by crop; one that asks for none of it sees all tokens as one pool."""


class LlavaNext(Llava):
    """The door to a `LlavaNextForConditionalGeneration`.

    Args:
        model: of this class.
        requests: of the reducer. If one is of the grid, the crops, the class token's query or the tokens before the patches (or
            their number), pictures are `CroppedPicture`s; else one pool of tokens in the prompt's order, newlines among them, for which signals
            of patches are 0.
        newlines: "rows" keeps those behind rows of the canvas that have tokens, "all" or "none".
    Raises: InvalidInput: the tower cannot answer a request.
    """

    def __init__(self, model: Any, requests: Requests, newlines: str) -> None:
        super().__init__(model, requests)
        self.newlines = newlines
        self.per_crop = any(kind in _PER_CROP for kind, _ in requests.values())

    def pictures(self, call: Mapping[str, Any]) -> tuple[list[Picture], Any]:
        """Encode the pictures of a call: each as the reducer sees it, and the output of the encoder to put them into."""
        sizes = call.get("image_sizes")
        if sizes is None:
            raise InvalidInput("no image_sizes; LLaVA-NeXT needs the height and width of each picture")
        sizes = torch.as_tensor(sizes)
        done = self._encoded(call, pixel_values=call["pixel_values"], image_sizes=sizes)
        found: list[Picture] = []
        at = 0
        for k, packed_TD in enumerate(done.output.pooler_output):
            size = sizes[k : k + 1]
            shape = get_anyres_image_grid_shape(
                size[0], self.model.config.image_grid_pinpoints, self.model.config.vision_config.image_size
            )
            part = slice(at, at + 1 + shape[0] * shape[1])
            at = part.stop
            source_T = self._sources(done.projected_KND[part], size)
            if self.per_crop:
                found.append(self._cropped(done, part, packed_TD, source_T, (*shape, done.grid[0], *size[0].tolist())))
            else:
                found.append(self._pool(done, part, packed_TD, source_T))
        return found, done.output

    def _sources(self, crops_CND: Tensor, size: Tensor) -> Tensor:
        """For each token in the prompt the crop and patch c N + n that it is, int64 (T,); -1 for a newline."""
        numbers_CN = torch.arange(1, 1 + crops_CND.shape[0] * crops_CND.shape[1], device=crops_CND.device)
        # What packs the features packs their numbers too, and puts 0 for newlines.
        (packed_T1,), _ = self.model.model.pack_image_features(
            [numbers_CN.view(*crops_CND.shape[:2], 1)],
            size,
            vision_feature_select_strategy="full",
            image_newline=torch.zeros(1, device=crops_CND.device),
        )
        return packed_T1[:, 0] - 1

    def _pool(self, done: Encoded, part: slice, packed_TD: Tensor, source_T: Tensor) -> Picture:
        signals = {}
        for name, value in done.signals.items():
            patches = value[part, done.prefix :].flatten(0, 1)
            signals[name] = torch.cat((patches, torch.zeros_like(patches[:1])))[source_T][None]
        return GridPicture(packed_TD, packed_TD[None], signals)

    def _cropped(
        self, done: Encoded, part: slice, packed_TD: Tensor, source_T: Tensor, crops: tuple[int, ...]
    ) -> Picture:
        before = 0 if self.needs_prefix else done.prefix
        signals: dict[str, Any] = {
            name: value[part] if self.requests[name][0] == "cls_query" else value[part, before:]
            for name, value in done.signals.items()
        }
        for kind, value in (("grid", done.grid), ("prefix", done.prefix), ("offset", done.prefix), ("crops", crops)):
            signals |= self._structure(kind, value)
        project = self.model.model.multi_modal_projector if self.needs_prefix else None
        x_CND = done.tower_KTD[part] if self.needs_prefix else done.projected_KND[part]
        prefix = done.prefix if self.needs_prefix else 0
        return CroppedPicture(packed_TD, x_CND, signals, source_T, prefix, project, self.newlines)


@dataclass(frozen=True)
class CroppedPicture:
    """A picture that is reduced crop by crop.

    Args:
        tokens_ND: in the prompt's order.
        x_BND: (C, N, D), with the tokens before the patches if `project` is there.
        signals: what the reducer asked for, by name.
        source_T: which patch of which crop, c N + n, each of `tokens_ND` is; -1 for a newline.
        prefix: tokens of `x_BND` before the patches.
        project: to the language model's width, where `x_BND` is not in it.
        newlines: which to keep.
    """

    tokens_ND: Tensor
    x_BND: Tensor
    signals: dict[str, Any]
    source_T: Tensor
    prefix: int
    project: Callable[[Tensor], Tensor] | None
    newlines: str

    @property
    def length(self) -> int:
        """Placeholders in the prompt."""
        return len(self.tokens_ND)

    def spread(self, values_BQN: Tensor) -> Tensor:
        crops, n = self.x_BND.shape[0], self.x_BND.shape[1] - self.prefix
        # Newlines go to one place more; padding stays 0.
        flat_QN = values_BQN.new_zeros(values_BQN.shape[1], crops * n + 1)
        flat_QN[:, self.source_T] = values_BQN[0]
        patches_CQN = flat_QN[:, :-1].unflatten(1, (crops, n)).transpose(0, 1)
        return torch.cat((patches_CQN.new_zeros(*patches_CQN.shape[:2], self.prefix), patches_CQN), 2)

    def rows(self, token_map: TokenMap) -> Rows:
        """The thumbnail's rows as they are; then the canvas line by line, each row where its heaviest patch that is no padding is.

        Rows of padding alone are dropped. A class token goes to the first patch of its crop.
        """
        crops, n = self.x_BND.shape[0], self.x_BND.shape[1] - self.prefix
        place_CN = self.source_T.new_full((crops * n + 1,), -1)
        place_CN[self.source_T] = torch.arange(len(self.source_T), device=self.source_T.device)
        place_CN = place_CN[:-1].view(crops, n)
        features, places = [], []
        for c in range(crops):
            one = token_map.item(min(c, token_map.shape[0] - 1))
            place_M = _places(one.matrix()[0], place_CN[c], self.prefix)
            reduced_MD = one.apply(self.x_BND[c : c + 1])
            reduced_MD = reduced_MD if self.project is None else self.project(reduced_MD)
            features.append(reduced_MD[0, place_M >= 0])
            places.append(place_M[place_M >= 0])
        newline_L = (self.source_T < 0).nonzero()[:, 0]
        canvas_M = torch.cat(places[1:])
        if self.newlines == "rows":
            newline_L = newline_L[torch.searchsorted(newline_L, canvas_M).unique()]
        elif self.newlines == "none":
            newline_L = newline_L[:0]
        order_M = torch.cat((canvas_M, newline_L)).sort(stable=True)
        canvas_MD = torch.cat((*features[1:], self.tokens_ND[newline_L].to(features[0])))[order_M.indices]
        return Rows(torch.cat((features[0], canvas_MD)), torch.cat((places[0], order_M.values)))


def _places(weight_MN: Tensor, place_N: Tensor, prefix: int) -> Tensor:
    """For each row of a crop's map the token in the prompt that it stands for, int64 (M,); -1 for none."""
    shown_N = place_N >= 0
    patches_MN = weight_MN[:, prefix:].masked_fill(~shown_N, 0)
    # The first of equal weights, on every device; where no patch has any, the first that is shown, if there is a class token in it.
    best_M = (patches_MN == patches_MN.amax(1, keepdim=True)).to(torch.uint8).argmax(1)
    lone_M = ~(patches_MN != 0).any(1)
    best_M = torch.where(lone_M, shown_N.to(torch.uint8).argmax(), best_M)
    empty_M = lone_M & ~((weight_MN[:, :prefix] != 0).any(1) & shown_N.any())
    return torch.where(empty_M, -1, place_N[best_M])
