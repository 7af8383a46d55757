"""The doors to vision-language models of transformers: what is between the vision tower and the language model.

One file for each family; `open_family` finds it. A family encodes the pictures of a call, records the signals that are asked for
by their kinds, and knows the positions of a prompt. It knows nothing of reducers.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ...core.errors import InvalidInput, MissingExtra

__all__ = ["FAMILIES", "TOWERS", "open_family"]

FAMILIES = {
    "LlavaForConditionalGeneration": "llava",
    "LlavaNextForConditionalGeneration": "llava_next",
    "Qwen2VLForConditionalGeneration": "qwen_vl",
    "Qwen2_5_VLForConditionalGeneration": "qwen_vl",
}
"""Classes of transformers whose pictures can be reduced before the language model, and the files that know them."""

TOWERS = ("CLIPVisionModel", "SiglipVisionModel", "ViTModel", "Dinov2Model")
"""Classes of transformers that are vision transformers alone."""


def open_family(model: Any, requests: Mapping[str, tuple[str, int | None]], newlines: str = "rows") -> Any:
    """The adapter of a model's family; its class, or one that it descends from, is one of `FAMILIES`.

    Args:
        model: what transformers loaded.
        requests: signals that the adapter is to give, by name: their kinds and blocks.
        newlines: of LLaVA-NeXT.
    Raises: InvalidInput: another class, or a request that it cannot answer. MissingExtra: transformers lacks what is needed.
    """
    name = next((kind.__name__ for kind in type(model).__mro__ if kind.__name__ in FAMILIES), None)
    if name is None:
        raise InvalidInput(
            f"{type(model).__name__} is of no family that is known: {', '.join(FAMILIES)}; or alone {', '.join(TOWERS)}"
        )
    has = hasattr(model.model, "get_image_features") and hasattr(model, "generate")
    if not has or "mm_encoder_outputs" not in inspect.signature(type(model).forward).parameters:
        raise MissingExtra(
            f"{name} of this version of transformers takes no `mm_encoder_outputs`; it needs transformers 5.23 or newer"
        )
    if FAMILIES[name] == "llava":
        from .llava import Llava

        return Llava(model, requests)
    if FAMILIES[name] == "llava_next":
        from .llava_next import LlavaNext

        return LlavaNext(model, requests, newlines)
    from .qwen_vl import QwenVL

    return QwenVL(model, requests)
