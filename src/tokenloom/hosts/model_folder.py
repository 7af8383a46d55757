"""Folders of Hugging Face models: in by the class that their configuration names, out with a tokenizer beside the weights."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from ..core.errors import StoreError, TokenizerError, require
from ..core.store import read_json, write_json
from ..core.tokenizer import Tokenizer
from .bars import without_bars
from .json_tokenizer import JsonTokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

__all__ = ["chat_template", "check_folder", "check_tokenizer", "load_model", "one_line", "save_model"]


def check_folder(folder: Path) -> None:
    """Refuse what is no folder of a model.

    Raises: StoreError.
    """
    if not (folder / "config.json").is_file():
        raise StoreError(f"{folder} is no folder of a model: there is no config.json")


def one_line(error: Exception) -> str:
    """What an error of transformers says, which may be a page.

    >>> one_line(ValueError("the vocabulary\\n  is empty"))
    'the vocabulary is empty'
    """
    return shorten(str(error), 300, placeholder=" …")


def load_model(folder: str | Path) -> PreTrainedModel:
    """The model of a folder as `save_pretrained` left it, for evaluation, in the dtype of its file; no network is asked, and no code
    of the folder is run.

    Raises: StoreError: no such folder, one that transformers cannot read, or one without some of the weights of its model, which
        transformers would draw at random. MissingExtra: transformers is not installed.
    """
    transformers = require("transformers", "hf")
    folder = Path(folder)
    check_folder(folder)
    try:
        with without_bars(warnings=False):
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            names = config.architectures or ["AutoModel"]
            if not hasattr(transformers, names[0]):
                raise ValueError(f"transformers {transformers.__version__} has no {names[0]}")
            model, told = getattr(transformers, names[0]).from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                dtype="auto",
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, in one line
            )
    except Exception as error:  # what transformers raises at a bad folder is of many kinds
        raise StoreError(f"{folder} cannot be read as a model: {one_line(error)}") from error
    for name, there, wanted in sorted(told["mismatched_keys"]):
        raise StoreError(f"{folder}: {name} has shape {tuple(there)}, but config.json wants {tuple(wanted)}")
    if missing := sorted(told["missing_keys"]):
        raise StoreError(f"{folder}: {len(missing)} weights are missing, {missing[0]} the first of them")
    return model.eval()


def chat_template(folder: str | Path) -> str | None:
    """How the model of a folder has conversations written, a template of Jinja; None where it does not say.

    Raises: StoreError: a file that should tell it cannot be read.
    """
    folder = Path(folder)
    try:
        if (path := folder / "chat_template.jinja").is_file():
            return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    told = read_json(path) if (path := folder / "tokenizer_config.json").is_file() else {}
    template = told.get("chat_template") if isinstance(told, dict) else None
    return template if isinstance(template, str) else None


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
    template: str | None = None,
) -> None:
    """Write a model, its tokenizer and notes about them into a new folder, whole or not at all.

    Args:
        tokenizer: one of a `tokenizer.json`.
        roles: "bos", "eos", "pad" … → id, for `AutoTokenizer`.
        folder: does not exist yet.
        notes: JSON values, written to `transplant.json`.
        template: as `chat_template` gives it. Special tokens in it that the new tokenizer lacks will be read as text.
    Raises: StoreError: `folder` is there already, or cannot be written. TokenizerError: a tokenizer of another format.
    """
    folder = Path(folder)
    if folder.exists():
        raise StoreError(f"{folder} is there already; name a new folder")
    kept = check_tokenizer(tokenizer)
    package = require("tokenizers", "hf")
    fast = require("transformers", "hf").PreTrainedTokenizerFast(
        tokenizer_object=package.Tokenizer.from_str(kept.spec["text"]),
        chat_template=template,
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
        except (OSError, SafetensorError) as error:
            raise StoreError(f"cannot write {folder}: {getattr(error, 'strerror', None) or error}") from error
