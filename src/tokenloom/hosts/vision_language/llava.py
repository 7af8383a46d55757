"""LLaVA: a CLIP or SigLIP tower, a projector of single tokens, and a language model that reads the patches in raster order."""
# K pictures, or crops of them, T tokens of the tower, N tokens behind the projector, D width

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...core.errors import InvalidInput
from .pictures import GridPicture, Picture
from .recording import RECORDED, attention_layers, has_class_token, recording, resolved

__all__ = ["Encoded", "Llava", "counted_positions"]

Requests = Mapping[str, tuple[str, int | None]]
"""What a reducer asks for: name → kind of signal and block."""


@dataclass(frozen=True)
class Encoded:
    """What the vision tower and the projector made of K pictures or crops.

    Args:
        output: as transformers returns it, for the language model.
        projected_KND: behind the projector.
        tower_KTD: before it, prefix tokens first.
        signals: by the name that the reducer gave them, first axis K; of each token where they have such an axis.
        grid: rows and columns of patches.
        prefix: tokens before the patches in the tower.
        beside: tokens before the patches behind the projector.
    """

    output: Any
    projected_KND: Tensor
    tower_KTD: Tensor
    signals: dict[str, Tensor]
    grid: tuple[int, int]
    prefix: int
    beside: int


class Llava:
    """The door to a `LlavaForConditionalGeneration`.

    Args:
        model: of this class.
        requests: of the reducer.
    Raises: InvalidInput: the tower cannot answer a request.
    """

    visual_inputs = ("pixel_values", "image_sizes", "vision_feature_layer", "vision_feature_select_strategy")

    def __init__(self, model: Any, requests: Requests) -> None:
        self.model, self.requests = model, requests
        self.needs_prefix = any(kind == "prefix" for kind, _ in requests.values())
        self._recorded({})

    @property
    def placeholder(self) -> int:
        """The id that stands for one token of a picture."""
        return int(self.model.config.image_token_id)

    @property
    def visual_ids(self) -> list[int]:
        """All ids in a prompt that are not text."""
        return [self.placeholder]

    def pictures(self, call: Mapping[str, Any]) -> tuple[list[Picture], Any]:
        """Encode the pictures of a call: each as the reducer sees it, and the output of the encoder to put them into."""
        done = self._encoded(call, pixel_values=call["pixel_values"], **_given(call, ("image_sizes",)))
        before = 0 if self.needs_prefix else done.prefix
        found: list[Picture] = []
        for k in range(len(done.projected_KND)):
            one = slice(k, k + 1)
            tokens_ND = done.projected_KND[k]
            signals: dict[str, Any] = {
                name: value[one] if self.requests[name][0] == "cls_query" else value[one, before:]
                for name, value in done.signals.items()
            }
            for kind, value in (("grid", done.grid), ("prefix", done.prefix), ("offset", done.prefix)):
                signals |= self._structure(kind, value)
            if self.needs_prefix:
                x_BND, project = done.tower_KTD[one], self.model.model.multi_modal_projector
                found.append(GridPicture(tokens_ND, x_BND, signals, done.beside, done.prefix, project))
            else:
                found.append(GridPicture(tokens_ND, tokens_ND[None, done.beside :], signals, done.beside))
        return found, done.output

    def positions(self, call: Mapping[str, Any], *, generating: bool) -> Tensor:
        """Positions of a whole prompt, int64 (B or 1, T): those of the call, or as the model would give them itself."""
        if call.get("position_ids") is not None:
            return call["position_ids"]
        return counted_positions(call["input_ids"], call["attention_mask"], generating=generating)

    def compact(self, call: Mapping[str, Any], *, generating: bool) -> Tensor:
        """Positions of a shortened prompt, if it is counted anew."""
        return counted_positions(call["input_ids"], call["attention_mask"], generating=generating)

    def others(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """What else comes from an encoder: nothing."""
        return {}

    def _structure(self, kind: str, value: Any) -> dict[str, Any]:
        return {name: value for name, (asked, _) in self.requests.items() if asked == kind}

    def _recorded(self, call: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
        """The requests that the tower answers while it runs, with their blocks."""
        asked = {name: request for name, request in self.requests.items() if request[0] in RECORDED}
        if not asked:
            return {}
        tower = self.model.model.vision_tower
        default = self._feature_layers(call)[-1] % (len(attention_layers(tower)) + 1)
        return {name: resolved(tower, kind, layer, default) for name, (kind, layer) in asked.items()}

    def _feature_layers(self, call: Mapping[str, Any]) -> list[int]:
        found = call.get("vision_feature_layer")
        found = self.model.config.vision_feature_layer if found is None else found
        return [found] if isinstance(found, int) else list(found)

    def _encoded(self, call: Mapping[str, Any], **pixels: Any) -> Encoded:
        """Run the tower and the projector once."""
        inner, tower = self.model.model, self.model.model.vision_tower
        strategy = call.get("vision_feature_select_strategy") or self.model.config.vision_feature_select_strategy
        if strategy == "default" and not has_class_token(tower):
            raise InvalidInput(
                f"vision_feature_select_strategy='default' drops the first token, but {type(tower).__name__} has no class token; it must be 'full'"
            )
        options = _given(call, ("vision_feature_layer", "vision_feature_select_strategy"))
        recorded = self._recorded(call)
        projected: list[Tensor] = []
        hook = inner.multi_modal_projector.register_forward_hook(lambda module, args, out: projected.append(out))
        layers = attention_layers(tower) if recorded else []
        try:
            with recording(layers, set(recorded.values())) as record:
                output = inner.get_image_features(**pixels, **options, return_dict=True)
        finally:
            hook.remove()
        tower_KTD = torch.cat([output.hidden_states[layer] for layer in self._feature_layers(call)], dim=-1)
        side = int(tower.config.patch_size)
        height, width = pixels["pixel_values"].shape[-2:]
        grid = height // side, width // side
        prefix = int(has_class_token(tower))
        signals = {name: record[request] for name, request in recorded.items()}
        for name, (kind, _) in recorded.items():
            if kind == "received_attention":
                signals[name] = signals[name] / tower_KTD.shape[1]
        beside = 0 if strategy == "default" else prefix
        return Encoded(output, projected[0], tower_KTD, signals, grid, prefix, beside)


def counted_positions(input_ids: Tensor, attention_mask: Tensor, *, generating: bool) -> Tensor:
    """Positions of text as transformers counts them, int64 (B, T): padding too in a forward pass, without it when generating."""
    if generating:
        return (attention_mask.long().cumsum(-1) - 1).masked_fill(attention_mask == 0, 0)
    return torch.arange(input_ids.shape[1], device=input_ids.device).expand(input_ids.shape)


def _given(call: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: call[name] for name in names if call.get(name) is not None}
