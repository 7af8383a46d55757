"""Megatron's indexed datasets: `NAME.bin` holds ids one after the other, `NAME.idx` says where documents begin.

Layout of `NAME.idx`, little-endian: `MMIDIDX\\0\\0` (9 bytes), version 1 (u64), dtype code (u8: 8 is uint16, 4 is int32),
number of sequences n (u64), number of document marks n + 1 (u64), tokens of each sequence (int32, n), byte position of
each sequence in `NAME.bin` (int64, n), first sequence of each document and the end (int64, n + 1). A sequence is a whole
document here. Read by Megatron-LM and its relatives (GPT-NeoX, NeMo, Megatron-DeepSpeed).
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InvalidInput, StoreError
from ..core.segmentation import Ragged
from .part import Part, check_range, checked, id_dtype

__all__ = ["MegatronReader", "MegatronWriter"]

_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQQ")
_CODES = {"uint16": 8, "int32": 4}


class MegatronWriter:
    """Write one shard, `NAME.bin` and `NAME.idx`; neither exists before `close`.

    Memory: the batch at hand, and 4 bytes a document (20 while closing).

    Args:
        folder: where the two files go; must exist.
        name: their name without the ending.
        vocab_size: ids are 0 … vocab_size - 1; decides the dtype, see `id_dtype`.
    Raises: VocabularyError: `vocab_size` out of range. StoreError: the file cannot be written.
    """

    def __init__(self, folder: Path, name: str, vocab_size: int) -> None:
        self.dtype = id_dtype(vocab_size)
        self.vocab_size = vocab_size
        self._index = Path(folder) / f"{name}.idx"
        self._data = Part(Path(folder) / f"{name}.bin")
        self._lengths = [np.empty(0, "<i4")]

    def add(self, batch: Ragged, documents: np.ndarray, sources: Sequence[str]) -> None:
        """Append documents.

        Args:
            batch: their ids.
            documents: index of each in the corpus, int64 (documents,); the format has no place for it, errors have.
            sources: the input file of each; likewise.
        Raises: InvalidInput: an id out of range, arguments of different lengths, a document of 2^31 tokens or more.
            StoreError: the file cannot be written.
        """
        batch, documents, sources = checked(batch, documents, sources, self.vocab_size)
        if len(batch) and batch.lengths.max() >= 1 << 31:
            raise InvalidInput(f"{sources[int(batch.lengths.argmax())]}: a document of 2^31 tokens or more")
        self._lengths.append(batch.lengths.astype("<i4"))
        self._data.write(np.ascontiguousarray(batch.ids.astype(self.dtype)))

    def close(self) -> dict[str, Any]:
        """Give both files their names, the index last.

        Returns: the receipt for the manifest: `files` (each `name`, `bytes`, `sha256`), `documents`, `tokens`, `dtype`.
        """
        lengths = np.concatenate(self._lengths)
        ends = np.cumsum(lengths, dtype="<i8")
        index = Part(self._index)
        try:
            index.write(_HEADER.pack(_MAGIC, 1, _CODES[self.dtype.name], lengths.size, lengths.size + 1))
            index.write(lengths)
            index.write((ends - lengths) * self.dtype.itemsize)
            index.write(np.arange(lengths.size + 1, dtype="<i8"))
            files = [self._data.commit(), index.commit()]
        finally:
            index.discard()
        tokens = int(ends[-1]) if ends.size else 0
        return {"files": files, "documents": lengths.size, "tokens": tokens, "dtype": self.dtype.name}

    def abort(self) -> None:
        """Remove what was written so far."""
        self._data.discard()


class MegatronReader:
    """Random access to one shard by memory map.

    Args:
        folder: where the files are.
        receipt: what the manifest says of the shard.
    Raises: StoreError: the files are not what the receipt says.
    """

    def __init__(self, folder: Path, receipt: dict[str, Any]) -> None:
        data, index = (Path(folder) / file["name"] for file in receipt["files"])
        self.documents, self.tokens = receipt["documents"], receipt["tokens"]
        dtype = np.dtype(receipt["dtype"]).newbyteorder("<")
        n = self.documents
        if index.stat().st_size != _HEADER.size + 20 * n + 8:
            raise StoreError(f"{index}: not an index of {n} documents; it has {index.stat().st_size} bytes")
        with index.open("rb") as file:
            header = _HEADER.unpack(file.read(_HEADER.size))
        expected = (_MAGIC, 1, _CODES[dtype.name], n, n + 1)
        if header != expected:
            raise StoreError(f"{index}: its header says {header}; the manifest asks for {expected}")
        if data.stat().st_size != self.tokens * dtype.itemsize:
            raise StoreError(f"{data}: {data.stat().st_size} bytes are not {self.tokens} ids of {dtype.name}")
        # One map a file: the kernel allows some 65,000 of them to a process.
        table = np.memmap(index, np.uint8, "r", _HEADER.size)
        self._lengths = table[: 4 * n].view("<i4")
        self._pointers = table[4 * n : 12 * n].view("<i8")
        self._marks = table[12 * n :].view("<i8")
        # An empty file cannot be mapped.
        self._ids = np.memmap(data, dtype, "r") if self.tokens else np.empty(0, dtype)
        self._index = index

    def document(self, i: int) -> np.ndarray:
        """Ids of document `i` of the shard, 0 <= i < documents: a read-only view (n,)."""
        start = int(self._pointers[i]) // self._ids.dtype.itemsize
        return self._ids[start : start + int(self._lengths[i])]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Ids `start` … `stop` - 1 of all documents joined: a read-only view."""
        return self._ids[start:stop]

    def check(self, vocab_size: int) -> None:
        """Look at everything once.

        Raises: StoreError: the index does not divide the ids into documents, or an id is out of range.
        """
        ends = np.cumsum(self._lengths, dtype=np.int64)
        starts = (ends - self._lengths) * self._ids.dtype.itemsize
        whole = (int(ends[-1]) if ends.size else 0) == self.tokens
        if not whole or (self._lengths < 0).any() or (starts != self._pointers).any():
            raise StoreError(f"{self._index}: its lengths and positions do not divide {self.tokens} ids into documents")
        if (self._marks != np.arange(self.documents + 1)).any():
            raise StoreError(f"{self._index}: its document marks are not 0 … {self.documents}")
        check_range(self._index.with_suffix(".bin"), self._ids, vocab_size)
