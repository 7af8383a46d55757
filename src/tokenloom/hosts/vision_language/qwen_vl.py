"""Qwen2-VL and Qwen2.5-VL: pictures of any size, four patches merged to one token, positions on three axes."""
# S patches of all pictures, G patches merged to one token, N tokens of a picture, B prompts, T tokens of each, D width

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...core.errors import InvalidInput
from .llava import Requests, counted_positions
from .names import get_vision_window_index
from .pictures import GridPicture, Picture
from .recording import RECORDED, attention_layers, recording, resolved

__all__ = ["QwenVL"]


class QwenVL:
    """The door to a `Qwen2VLForConditionalGeneration` or `Qwen2_5_VLForConditionalGeneration`.

    Signals of the tower's patches are averaged over those that are merged to one token, so that attention received is the mean
    over all queries of the picture, also in blocks that attend in windows; there is no class token, and no prefix.

    Args:
        model: of one of these classes.
        requests: of the reducer.
    Raises: InvalidInput: the tower cannot answer a request.
    """

    visual_inputs = ("pixel_values", "pixel_values_videos", "image_grid_thw", "video_grid_thw", "second_per_grid_ts")

    def __init__(self, model: Any, requests: Requests) -> None:
        self.model, self.requests = model, requests
        tower = model.model.visual
        asked = {name: request for name, request in requests.items() if request[0] in RECORDED}
        last = len(attention_layers(tower))
        self.recorded = {name: resolved(tower, kind, layer, last) for name, (kind, layer) in asked.items()}

    @property
    def placeholder(self) -> int:
        """The id that stands for one token of a picture."""
        return int(self.model.config.image_token_id)

    @property
    def visual_ids(self) -> list[int]:
        """All ids in a prompt that are not text."""
        return [self.placeholder, int(self.model.config.video_token_id)]

    def pictures(self, call: Mapping[str, Any]) -> tuple[list[Picture], Any]:
        """Encode the pictures of a call: each as the reducer sees it, and the output of the encoder to put them into."""
        grids, tower = call.get("image_grid_thw"), self.model.model.visual
        if grids is None:
            raise InvalidInput("no image_grid_thw; Qwen-VL needs the grid of each picture")
        if bool((grids[:, 0] != 1).any()):
            raise InvalidInput(f"image_grid_thw has {int(grids[:, 0].max())} frames; a picture has 1")
        layers = attention_layers(tower) if self.recorded else []
        with recording(layers, set(self.recorded.values())) as record:
            output = self.model.model.get_image_features(call["pixel_values"], grids, return_dict=True)
        merged = {name: self._merged(record[request][0], grids) for name, request in self.recorded.items()}
        side = int(tower.spatial_merge_size)
        found: list[Picture] = []
        at = 0
        for tokens_ND, (_, height, width) in zip(output.pooler_output, grids.tolist()):
            part = slice(at, at + len(tokens_ND))
            at = part.stop
            signals: dict[str, Any] = {name: value[None, part] for name, value in merged.items()}
            for name, (kind, _) in self.requests.items():
                if kind == "received_attention":
                    signals[name] = signals[name] / (height * width)
                elif kind == "grid":
                    signals[name] = (height // side, width // side)
                elif kind in ("prefix", "offset"):
                    signals[name] = 0
            found.append(GridPicture(tokens_ND, tokens_ND[None], signals))
        return found, output

    def positions(self, call: Mapping[str, Any], *, generating: bool) -> Tensor:
        """Positions of a whole prompt: those of the call, or as the model would give them itself, int64 (3, B, T), (4, B, T) for generation."""
        if (known := call.get("position_ids")) is not None:
            return known if known.dim() == 3 else known.expand(3, -1, -1)
        if call.get("mm_token_type_ids") is None:
            raise InvalidInput(
                "no mm_token_type_ids; Qwen-VL needs them, as the processor returns them, to place pictures"
            )
        names = ("mm_token_type_ids", "image_grid_thw", "video_grid_thw", "second_per_grid_ts", "attention_mask")
        grids = {name: call[name] for name in names if call.get(name) is not None}
        found, _ = self.model.model.get_rope_index(call["input_ids"], **grids)
        return self._with_text(found, call) if generating else found

    def compact(self, call: Mapping[str, Any], *, generating: bool) -> Tensor:
        """Positions of a shortened prompt, if it is counted anew: the same on all axes."""
        counted = counted_positions(call["input_ids"], call["attention_mask"], generating=True)
        found = counted.expand(3, -1, -1)
        return self._with_text(found, call) if generating else found

    def others(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Videos, which are not reduced but must be encoded when pictures are."""
        if call.get("pixel_values_videos") is None:
            return {}
        videos = self.model.model.get_video_features(
            call["pixel_values_videos"], call["video_grid_thw"], return_dict=True
        )
        return {"video": videos}

    def _merged(self, values_S: Tensor, grids: Tensor) -> Tensor:
        """Means over the patches of each token, in the order of the prompt."""
        tower = self.model.model.visual
        tokens = values_S.unflatten(0, (-1, int(tower.spatial_merge_size) ** 2)).float().mean(1)
        if not hasattr(tower, "window_size"):
            return tokens
        index_N, _ = get_vision_window_index(grids, tower.spatial_merge_size, tower.window_size, tower.patch_size)
        return tokens[index_N.argsort().to(tokens.device)]

    def _with_text(self, positions_3BT: Tensor, call: Mapping[str, Any]) -> Tensor:
        """The mask is made from positions of text, which come first."""
        text_BT = counted_positions(call["input_ids"], call["attention_mask"], generating=True)
        return torch.cat((text_BT[None], positions_3BT))
