"""Folders of modules that keywords and weights determine: config.json, model.safetensors and the manifest."""

import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar

from safetensors.torch import load, save
from torch import nn

from ..core.errors import StoreError
from ..core.pretrained import load_files, save_files

__all__ = ["load_module", "save_module"]

Module = TypeVar("Module", bound=nn.Module)


def save_module(module: nn.Module, folder: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
    """Write config.json, model.safetensors and, last, tokenloom.json with their digests.

    Args:
        config: the keywords that make such a module, JSON values.
    Raises: StoreError: a file cannot be written.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    files = {"config.json": json.dumps(config, indent=1).encode() + b"\n", "model.safetensors": save(weights)}
    save_files(os.fspath(folder), type(module).__name__, files)


def load_module(kind: type[Module], folder: str | os.PathLike[str]) -> Module:
    """Load what `save_module` wrote.

    Raises: StoreError: another kind, or a file that is not the one that was written.
    """
    saved = load_files(os.fspath(folder))
    if saved.kind != kind.__name__:
        raise StoreError(f"{folder} holds a {saved.kind}, not a {kind.__name__}")
    module = kind(**json.loads(saved.files["config.json"]))
    module.load_state_dict(load(saved.files["model.safetensors"]))
    return module
