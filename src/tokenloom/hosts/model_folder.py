"""Folders of Hugging Face models: in by the class that their configuration names, out with a tokenizer beside the weights."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import StoreError, TokenizerError, require
from ..core.store import write_json
from ..core.tokenizer import Tokenizer
from .bars import without_bars
from .json_tokenizer import JsonTokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

__all__ = ["check_tokenizer", "load_model", "save_model"]


def load_model(folder: str | Path) -> PreTrainedModel:
    """The model of a folder as `save_pretrained` left it, for evaluation, in the dtype of its file; no network is asked.

    Raises: StoreError: no such folder, or one that transformers cannot read. MissingExtra: transformers is not installed.
    """
    transformers = require("transformers", "hf")
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise StoreError(f"{folder} is no folder of a model: there is no config.json")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        names = [name for name in config.architectures or [] if hasattr(transformers, name)]
        kind = getattr(transformers, names[0]) if names else transformers.AutoModel
        with without_bars():
            return kind.from_pretrained(folder, local_files_only=True, dtype="auto").eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise StoreError(f"{folder} cannot be read as a model: {str(error).splitlines()[0]}") from error


def check_tokenizer(tokenizer: Tokenizer) -> JsonTokenizer:
    """The tokenizer, if a folder of a model can hold it.

    Raises: TokenizerError: it is none of a `tokenizer.json` or of ranks.
    """
    if not isinstance(tokenizer, JsonTokenizer):
        raise TokenizerError(f"{tokenizer.name} is no tokenizer.json, which a folder of a model needs")
    return tokenizer


def save_model(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    roles: Mapping[str, int],
    folder: str | Path,
    *,
    notes: Mapping[str, Any],
) -> None:
    """Write a model, its tokenizer and notes about them into a new folder, whole or not at all.

    Args:
        tokenizer: one of a `tokenizer.json`.
        roles: "bos", "eos", "pad" … → id, for `AutoTokenizer`.
        folder: does not exist yet.
        notes: JSON values, written to `transplant.json`.
    Raises: StoreError: `folder` is there already, or cannot be written. TokenizerError: a tokenizer of another format.
    """
    folder = Path(folder)
    if folder.exists():
        raise StoreError(f"{folder} is there already; name a new folder")
    kept = check_tokenizer(tokenizer)
    package = require("tokenizers", "hf")
    fast = require("transformers", "hf").PreTrainedTokenizerFast(
        tokenizer_object=package.Tokenizer.from_str(kept.spec["text"]),
        **{f"{role}_token": tokenizer.vocab[i].decode() for role, i in roles.items()},
    )
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        place = Path(temporary) / "model"
        try:
            with without_bars():
                model.save_pretrained(place)
                fast.save_pretrained(place)
            write_json(place / "transplant.json", dict(notes))
            shutil.move(place, folder)
        except OSError as error:
            raise StoreError(f"cannot write {folder}: {error.strerror or error}") from error
