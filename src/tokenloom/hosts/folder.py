"""Tokenizers of our own that no `tokenizer.json` can say: a folder with `config.json` and `tokenloom.json`."""

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from ..core.errors import StoreError, TokenizerError
from ..core.pretrained import load_files, save_files
from ..core.store import digest_of
from .host import HostTokenizer

__all__ = ["FolderTokenizer"]

_CONFIG = "config.json"


class FolderTokenizer(HostTokenizer):
    """A tokenizer that JSON values determine; `load_tokenizer` finds its class by `kind`, a public name of tokenloom.

    A subclass gives `kind`, `config`, `from_config`, and what every `HostTokenizer` gives.
    """

    kind: ClassVar[str]
    name: str

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """All that determines the ids, as JSON values."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any], name: str) -> Self:
        """The tokenizer that has this `config`.

        Raises: TokenloomError: it is none, or a wrong one.
        """

    @property
    def digest(self) -> str:
        """SHA-256 of kind and config."""
        return digest_of({"kind": self.kind, "config": self.config})

    @property
    def spec(self) -> dict[str, Any]:
        return {"format": "tokenloom", "kind": self.kind, "name": self.name, "config": self.config}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the tokenizer into `folder`, from which `load_tokenizer` and `from_pretrained` read it.

        Raises: StoreError: it cannot be written.
        """
        save_files(folder, self.kind, {_CONFIG: self._file()})

    def save(self, path: str | Path) -> None:
        """`save_pretrained`: what stores this tokenizer is a folder.

        Raises: StoreError: it cannot be written.
        """
        self.save_pretrained(path)

    @classmethod
    def from_pretrained(cls, folder: str | Path, name: str | None = None) -> Self:
        """The tokenizer that `save_pretrained` wrote; `name` is that of the folder unless told.

        Raises: TokenizerError: the folder holds none of this kind, or a file is missing or was changed.
        """
        try:
            saved = load_files(folder)
        except StoreError as error:
            raise TokenizerError(str(error)) from error
        if saved.kind != cls.kind or _CONFIG not in saved.files:
            raise TokenizerError(f"{folder} holds no {cls.kind} with a {_CONFIG}, but a {saved.kind}: {[*saved.files]}")
        try:
            config = json.loads(saved.files[_CONFIG])
        except ValueError as error:
            raise TokenizerError(f"{Path(folder) / _CONFIG} is not JSON: {error}") from error
        return cls.from_config(config, Path(folder).name if name is None else name)

    def _file(self) -> bytes:
        return json.dumps(self.config, indent=1, ensure_ascii=False).encode() + b"\n"
