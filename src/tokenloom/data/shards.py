"""Encoded documents by memory map: a sequence of id arrays, and one long stream of tokens."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from ..core.errors import InvalidInput
from ..core.store import digest_of
from .manifest import Manifest, read_manifest, shard_reader

__all__ = ["Shards", "open_shards"]


class Shards(Sequence[np.ndarray]):
    """The documents of a finished folder in order; `shards[i]` is the ids of document i, uint16 or int32 (n,), read-only.

    Only what the manifest lists is read. Cheap to pickle: another process maps the same files.

    Attributes:
        manifest: of the whole folder.
        epochs: the written epochs that are open, ascending: the same documents, split anew in each.
        tokens: ids in all documents.
    """

    def __init__(self, folder: str | os.PathLike[str], epoch: int | None = None) -> None:
        self.folder = Path(folder)
        self.manifest: Manifest = read_manifest(folder)
        written = sorted({shard["epoch"] for shard in self.manifest.shards})
        if epoch is not None and epoch not in written:
            raise InvalidInput(f"epoch={epoch}; {self.folder} holds {written}")
        self.epochs: tuple[int, ...] = tuple(written if epoch is None else [epoch])
        self._chosen = [i for i, shard in enumerate(self.manifest.shards) if shard["epoch"] in self.epochs]
        # The order of a pass is the order of its documents; epochs come one after the other.
        self._chosen.sort(key=lambda i: self.manifest.shards[i]["epoch"])
        self._readers = [shard_reader(folder, self.manifest, i) for i in self._chosen]
        self._first_document = np.cumsum([0, *(reader.documents for reader in self._readers)], dtype=np.int64)
        self._first_token = np.cumsum([0, *(reader.tokens for reader in self._readers)], dtype=np.int64)
        self.tokens = int(self._first_token[-1])

    def __reduce__(self) -> tuple[type, tuple[Path, int | None]]:
        whole = len(self._chosen) == len(self.manifest.shards)
        return type(self), (self.folder, None if whole else self.epochs[0])

    def __len__(self) -> int:
        return int(self._first_document[-1])

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        shard = int(np.searchsorted(self._first_document, i, side="right")) - 1
        return self._readers[shard].document(i - int(self._first_document[shard]))

    def __repr__(self) -> str:
        return f"Shards({str(self.folder)!r}, {len(self)} documents, {self.tokens} tokens, epochs {list(self.epochs)})"

    def read(self, start: int, stop: int) -> np.ndarray:
        """Ids `start` … `stop` - 1 of the token stream: all documents joined, nothing between them.

        Returns: uint16 or int32 (stop - start,); a view where they lie in one shard.
        Raises: InvalidInput: not 0 <= start <= stop <= tokens.
        """
        if not 0 <= start <= stop <= self.tokens:
            raise InvalidInput(f"ids {start} … {stop} of a stream of {self.tokens}")
        pieces = []
        shard = int(np.searchsorted(self._first_token, start, side="right")) - 1
        while start < stop:
            base, end = int(self._first_token[shard]), min(stop, int(self._first_token[shard + 1]))
            pieces.append(self._readers[shard].read(start - base, end - base))
            start, shard = end, shard + 1
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, np.int32)

    def epoch(self, number: int) -> "Shards":
        """The documents of one written epoch."""
        return self if self.epochs == (number,) else Shards(self.folder, number)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the digests of the open files in order: equal for equal contents."""
        return digest_of([file["sha256"] for i in self._chosen for file in self.manifest.shards[i]["files"]])


def open_shards(folder: str | os.PathLike[str], epoch: int | None = None) -> Shards:
    """Open what `tokenloom encode` wrote, without reading it.

    Args:
        folder: where the manifest is.
        epoch: open this written epoch only; None opens all, one after the other.
    Raises: StoreError: no manifest (encoding not finished), or files that are not what it says; sizes are compared
        here, contents by `verify_shards`. InvalidInput: no such epoch.
    """
    return Shards(folder, epoch)
