"""Layers, one plain transformer, and the published architectures."""

# Made from catalogue.toml by `make generate`; do not edit.

from ..core.lazy import lazy as _lazy

_NAMES = {
    "Hypernetwork": "tokenloom.models.hypernetwork:Hypernetwork",
    "STViT": "tokenloom.models.stvit:STViT",
    "Transformer": "tokenloom.models.transformer:Transformer",
    "TwoStream": "tokenloom.models.two_stream:TwoStream",
    "pack": "tokenloom.models.batches:pack",
    "packs": "tokenloom.models.batches:packs",
    "train": "tokenloom.models.training:train",
    "windows": "tokenloom.models.batches:windows",
}
__getattr__, __dir__ = _lazy(__name__, _NAMES)

__all__ = [
    "Hypernetwork",
    "STViT",
    "Transformer",
    "TwoStream",
    "pack",
    "packs",
    "train",
    "windows",
]
