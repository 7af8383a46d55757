"""Parquet shards: one row a document, with columns `ids` (list), `document` (index in the corpus) and `source` (file).

Any Parquet reader reads them. Row groups end by a rule on the documents alone, so the same documents give the same
bytes however they arrive; the tokens of each row group stand in the file's metadata (`tokenloom.row_group_tokens`, JSON),
so that a place in the token stream is found without decoding what lies before it.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import StoreError, require
from ..core.segmentation import Ragged
from .part import Part, check_range, checked, id_dtype

__all__ = ["ParquetReader", "ParquetWriter"]

# A row group is the smallest piece that can be decoded alone: some milliseconds, a megabyte.
_GROUP_TOKENS, _GROUP_DOCUMENTS = 1 << 18, 1 << 14
_TOKENS_KEY = b"tokenloom.row_group_tokens"


class ParquetWriter:
    """Write one shard, `NAME.parquet`; it does not exist before `close`.

    Memory: the batch at hand and one row group.

    Args:
        folder: where the file goes; must exist.
        name: its name without the ending.
        vocab_size: ids are 0 … vocab_size - 1; decides the dtype, see `id_dtype`.
    Raises: VocabularyError: `vocab_size` out of range. StoreError: the file cannot be written. MissingExtra: no pyarrow.
    """

    def __init__(self, folder: Path, name: str, vocab_size: int) -> None:
        self._pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        self.dtype = id_dtype(vocab_size)
        self.vocab_size = vocab_size
        ids = self._pa.list_(self._pa.from_numpy_dtype(self.dtype))
        fields = [("ids", ids), ("document", self._pa.int64()), ("source", self._pa.string())]
        self._schema = self._pa.schema([self._pa.field(name, kind, nullable=False) for name, kind in fields])
        self._part = Part(Path(folder) / f"{name}.parquet")
        self._writer = pq.ParquetWriter(
            self._part, self._schema, compression="zstd", use_dictionary=["source"], write_statistics=["document"]
        )
        self._pending: list[tuple[Ragged, np.ndarray, Sequence[str]]] = []
        self._group_tokens: list[int] = []
        self._documents = 0

    def add(self, batch: Ragged, documents: np.ndarray, sources: Sequence[str]) -> None:
        """Append documents.

        Args:
            batch: their ids.
            documents: index of each in the corpus, int64 (documents,).
            sources: the input file of each.
        Raises: InvalidInput: an id out of range, or arguments of different lengths. StoreError: disk full …
        """
        self._pending.append(checked(batch, documents, sources, self.vocab_size))
        tokens = sum(part.ids.size for part, _, _ in self._pending)
        if tokens >= _GROUP_TOKENS or sum(len(part) for part, _, _ in self._pending) >= _GROUP_DOCUMENTS:
            self._write_groups(rest=False)

    def _write_groups(self, *, rest: bool) -> None:
        """Write the row groups that are complete, and with `rest` the last one too."""
        batches, indices, names = zip(*self._pending)
        ids = np.concatenate([batch.ids for batch in batches])
        starts = np.concatenate([[0], np.cumsum(np.concatenate([batch.lengths for batch in batches]), dtype=np.int64)])
        documents = np.concatenate(indices)
        sources = [name for part in names for name in part]
        first = 0
        while first < len(sources):
            # A group ends with the document that fills it.
            full = int(np.searchsorted(starts, starts[first] + _GROUP_TOKENS))
            last = min(full, first + _GROUP_DOCUMENTS)
            if last > len(sources):
                if not rest:
                    break
                last = len(sources)
            cut = starts[first : last + 1]
            self._write_group(Ragged(ids[cut[0] : cut[-1]], cut - cut[0]), documents[first:last], sources[first:last])
            first = last
        left = Ragged(ids[starts[first] :], starts[first:] - starts[first])
        self._pending = [(left, documents[first:], sources[first:])]

    def _write_group(self, batch: Ragged, documents: np.ndarray, sources: Sequence[str]) -> None:
        pa = self._pa
        values = pa.array(batch.ids.astype(self.dtype))
        lists = pa.ListArray.from_arrays(pa.array(batch.starts.astype(np.int32)), values, type=self._schema[0].type)
        columns = [lists, pa.array(documents, pa.int64()), pa.array(sources, pa.string())]
        # Exactly one row group: pyarrow would cut at a million rows of its own accord, which the rule above prevents.
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema), row_group_size=len(batch))
        self._group_tokens.append(batch.ids.size)
        self._documents += len(batch)

    def close(self) -> dict[str, Any]:
        """Give the file its name.

        Returns: the receipt for the manifest: `files` (each `name`, `bytes`, `sha256`), `documents`, `tokens`, `dtype`.
        """
        if self._pending:
            self._write_groups(rest=True)
        self._writer.add_key_value_metadata({_TOKENS_KEY: json.dumps(self._group_tokens)})
        self._writer.close()
        return {
            "files": [self._part.commit()],
            "documents": self._documents,
            "tokens": sum(self._group_tokens),
            "dtype": self.dtype.name,
        }

    def abort(self) -> None:
        """Remove what was written so far."""
        self._part.discard()


class ParquetReader:
    """Random access to one shard: the file is memory-mapped, the row groups used last stay decoded.

    Args:
        folder: where the file is.
        receipt: what the manifest says of the shard.
    Raises: StoreError: the file is not what the receipt says. MissingExtra: no pyarrow.
    """

    def __init__(self, folder: Path, receipt: dict[str, Any]) -> None:
        self._pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        self._path = Path(folder) / receipt["files"][0]["name"]
        self.documents, self.tokens = receipt["documents"], receipt["tokens"]
        try:
            self._file = pq.ParquetFile(self._path, memory_map=True)
            tokens = json.loads(self._file.metadata.metadata[_TOKENS_KEY])
        except (self._pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{self._path}: not a Parquet shard of tokenloom: {error}") from error
        groups = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        self._first_document = np.concatenate([[0], np.cumsum(groups, dtype=np.int64)])
        self._first_token = np.concatenate([[0], np.cumsum(tokens, dtype=np.int64)])
        if len(tokens) != len(groups) or (self._first_document[-1], self._first_token[-1]) != (
            self.documents,
            self.tokens,
        ):
            raise StoreError(
                f"{self._path}: {self._first_document[-1]} documents, {self._first_token[-1]} tokens; "
                f"the manifest says {self.documents} and {self.tokens}"
            )
        self._decoded: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def _group(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Flat ids of a row group and where its documents begin."""
        if number not in self._decoded:
            # One thread: the reader may live in a forked worker, which inherits no thread pool.
            try:
                table = self._file.read_row_group(number, columns=["ids"], use_threads=False)
            except (self._pa.ArrowException, OSError) as error:
                raise StoreError(f"{self._path}: row group {number} cannot be decoded: {error}") from error
            column = table.column(0).combine_chunks()
            ids = column.values.to_numpy()
            ids.flags.writeable = False
            if ids.size != self._first_token[number + 1] - self._first_token[number]:
                raise StoreError(f"{self._path}: row group {number} has {ids.size} tokens, its metadata says otherwise")
            self._decoded[number] = ids, column.offsets.to_numpy()
            if len(self._decoded) > 4:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(number)
        return self._decoded[number]

    def document(self, i: int) -> np.ndarray:
        """Ids of document `i` of the shard, 0 <= i < documents: read-only (n,)."""
        number = int(np.searchsorted(self._first_document, i, side="right")) - 1
        ids, starts = self._group(number)
        row = i - int(self._first_document[number])
        return ids[starts[row] : starts[row + 1]]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Ids `start` … `stop` - 1 of all documents joined."""
        pieces = []
        number = int(np.searchsorted(self._first_token, start, side="right")) - 1
        while start < stop:
            base, end = int(self._first_token[number]), int(self._first_token[number + 1])
            pieces.append(self._group(number)[0][start - base : min(stop, end) - base])
            start, number = min(stop, end), number + 1
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, np.int32)

    def check(self, vocab_size: int) -> None:
        """Decode everything once.

        Raises: StoreError: the file cannot be decoded, or an id is out of range.
        """
        for number in range(self._file.num_row_groups):
            check_range(self._path, self._group(number)[0], vocab_size)
