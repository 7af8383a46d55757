"""What the shard writers share: the dtype of ids, the check of a batch, and a file that appears when it is complete."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InvalidInput, StoreError, VocabularyError
from ..core.segmentation import Ragged
from ..core.store import atomic_write

__all__ = ["Part", "check_range", "checked", "id_dtype"]


def id_dtype(vocab_size: int) -> np.dtype:
    """The dtype in which ids below `vocab_size` are stored: little-endian uint16 or int32.

    Megatron's rule (`DType.optimal_dtype`): uint16 below 65,500, not 65,536, int32 from there on.

    Raises: VocabularyError: no ids, or more than int32 holds.

    >>> id_dtype(50_257).name, id_dtype(65_500).name
    ('uint16', 'int32')
    """
    if not 1 <= vocab_size <= 1 << 31:
        raise VocabularyError(f"vocab_size={vocab_size}; shards hold ids of 1 … {1 << 31} tokens")
    return np.dtype("<u2" if vocab_size < 65_500 else "<i4")


def checked(
    batch: Ragged, documents: np.ndarray, sources: Sequence[str], vocab_size: int
) -> tuple[Ragged, np.ndarray, Sequence[str]]:
    """The same three, once they fit together and all ids lie below `vocab_size`.

    Raises: InvalidInput: not one document index and one source per document, or an id that no token has.
    """
    if not len(batch) == len(documents) == len(sources):
        raise InvalidInput(
            f"{len(batch)} documents came with {len(documents)} document indices and {len(sources)} sources"
        )
    # Ragged itself holds no negative id.
    if batch.ids.size and batch.ids.max() >= vocab_size:
        where = int(batch.ids.argmax())
        row = int(np.searchsorted(batch.starts, where, side="right")) - 1
        raise InvalidInput(
            f"{sources[row]}: document {documents[row]} has id {batch.ids[where]}; "
            f"a vocabulary of {vocab_size} tokens ends at {vocab_size - 1}"
        )
    return batch, documents, sources


def check_range(path: Path, ids: np.ndarray, vocab_size: int) -> None:
    """Raises: StoreError: one of `ids` (n,), from `path`, is not 0 … vocab_size - 1."""
    step = 1 << 24  # bounded memory however large the file is
    for start in range(0, ids.size, step):
        chunk = ids[start : start + step]
        low, high = int(chunk.min()), int(chunk.max())
        if low < 0 or high >= vocab_size:
            wrong = low if low < 0 else high
            raise StoreError(f"{path}: id {wrong}, but the vocabulary of {vocab_size} tokens ends at {vocab_size - 1}")


class _Discarded(Exception):
    """Thrown into `atomic_write` so that it removes what it has."""


class Part:
    """A file beside `target` that takes its name on `commit`; its digest is computed on the way.

    Enough of a binary file (`write`, `tell`, `flush`, `closed`) for pyarrow to write into.

    Raises: StoreError: the file cannot be written; it is gone then.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._stack = ExitStack()
        self._file = self._stack.enter_context(atomic_write(target))
        self._digest = hashlib.sha256()
        self._size = 0
        self._discarded = False

    @property
    def closed(self) -> bool:
        """Whether the file was committed or discarded."""
        return self._file.closed

    def write(self, data: Any) -> int:
        """Append a bytes-like object; after `discard`, to nowhere: pyarrow ends its file even while it is thrown away."""
        view = memoryview(data).cast("B")
        if self._discarded:
            return view.nbytes
        try:
            self._file.write(view)
        except OSError as error:
            raise StoreError(f"cannot write {self.target}: {error.strerror or error}") from error
        self._digest.update(view)
        self._size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Nothing: `commit` flushes to disk."""

    def commit(self) -> dict[str, Any]:
        """Give the file its name. Returns: what a manifest says of it: `name`, `bytes`, `sha256`."""
        self._stack.close()
        return {"name": self.target.name, "bytes": self._size, "sha256": self._digest.hexdigest()}

    def discard(self) -> None:
        """Remove the file; a committed one stays."""
        self._discarded = True
        # Closing the file flushes its buffer, which fails once more on a full disk; it is removed all the same.
        with suppress(_Discarded, StoreError):
            self._stack.__exit__(_Discarded, _Discarded(), None)
