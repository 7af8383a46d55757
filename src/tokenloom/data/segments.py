"""A corpus cut into stretches of about a megabyte: raw bytes that hold whole documents, and where they come from.

Where a stretch ends depends on the bytes of its file alone. Every document has an address, (file, item): the number of its
file, and in it the line where it begins, the row of the table, or the piece of the text, all from 0. Addresses
ascend, and what cannot be read has one too.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import InvalidInput, require
from .corpus import Source
from .streams import Stream

__all__ = ["LONGEST", "SPLITS", "Fault", "Segment", "segments"]

LONGEST = 64 << 20  # bytes of a document; a longer one is refused, because it would have to be held in memory
SPLITS = ("file", "paragraph", "line")

Address = tuple[int, int, int]

_STRETCH = 1 << 20
# A text file up to this size is one document. Also how much of a longer one is held, by each worker.
_PIECE = 8 << 20
_BLANK_LINE = re.compile(rb"\n[ \t\r\f\v]*\n")


@dataclass(frozen=True)
class Fault:
    """What had to be left out: the address, the place as a user looks for it, and the reason."""

    file: int
    item: int
    place: str
    reason: str


@dataclass(frozen=True)
class Segment:
    """Neighbouring documents of one file, not yet taken apart.

    Args:
        file: number of the file.
        item: of the first document.
        start: where it begins: byte of the unpacked file, or row of the table.
        kind: "file", "paragraph", "line", "json" or "parquet".
        data: the raw bytes; for Parquet, the texts one after the other.
        edges: for Parquet, where texts begin and end in `data`: int64 (rows + 1,).
        whole: for "file", whether the text ends here.
        faults: what is left out here.
        read: bytes of the packed file that were read up to its end.
    """

    file: int
    item: int
    start: int
    kind: str
    data: bytes = b""
    edges: np.ndarray | None = None
    whole: bool = True
    faults: tuple[Fault, ...] = ()
    read: int = 0

    @property
    def address(self) -> Address:
        """Where it begins; ascends from one to the next."""
        return self.file, self.item, self.start


def segments(
    sources: Sequence[Source], *, split: str = "file", field: str = "text", behind: Address | None = None
) -> Iterator[Segment]:
    """Read all sources in order.

    Args:
        sources: the files.
        split: how plain text becomes documents: "file", "paragraph" (between blank lines) or "line". In the first case
            a text of more than 8 MiB becomes several, cut behind a line break.
        field: the column of a Parquet file.
        behind: the address of a segment that was read before, to go on behind it.
    Raises: InvalidInput: no such split.
    """
    if split not in SPLITS:
        raise InvalidInput(f"split={split!r}; plain text is split by {', '.join(SPLITS)}")
    found = _from(sources, split, field, behind or (0, 0, 0))
    return found if behind is None else (segment for segment in found if segment.address > behind)


def _from(sources: Sequence[Source], split: str, field: str, address: Address) -> Iterator[Segment]:
    """All segments from `address` on, of a table perhaps a few before."""
    first, item, start = address
    for number, source in enumerate(sources):
        if number < first:
            continue
        if source.fault:
            yield Segment(number, 0, 0, "file", faults=(Fault(number, 0, "", source.fault),))
        elif source.kind == "parquet":
            yield from _rows(number, source, field, start)
        else:
            kind = "json" if source.kind == "json" else split
            yield from _stretches(number, source, kind, item, start)
        item = start = 0


# -- files of lines ----------------------------------------------------------------------------------------------------
# A cut is a place in data[:size], behind a line break; `data` has one byte more, so what follows is known. 0: there is none.


def _after_line(data: bytes, size: int) -> int:
    return data.rfind(b"\n", 0, size) + 1


def _after_blank_line(data: bytes, size: int) -> int:
    end = 0
    for match in _BLANK_LINE.finditer(data, 0, size):
        end = match.end()
    return end


def _before_text(data: bytes, size: int) -> int:
    """A line break that text follows: tokenizers that find words by a pattern cut there too, so no token is lost."""
    end = size
    while (end := data.rfind(b"\n", 0, end)) >= 0:
        if not data[end + 1 : end + 2].isspace():
            return end + 1
    return _after_line(data, size)


_CUTS: dict[str, tuple[int, Callable[[bytes, int], int], str]] = {
    "json": (_STRETCH, _after_line, "a line break"),
    "line": (_STRETCH, _after_line, "a line break"),
    "paragraph": (_STRETCH, _after_blank_line, "a blank line"),
    "file": (_PIECE, _before_text, "a line break"),
}


def _stretches(number: int, source: Source, kind: str, item: int, start: int) -> Iterator[Segment]:
    step, last_cut, unit = _CUTS[kind]
    stream, data, ended = Stream(source, start), b"", False
    while not ended:
        size = step
        while True:
            data += stream.take(size + 1 - len(data))
            ended = len(data) <= size
            cut = len(data) if ended and not stream.broken else last_cut(data, min(size, len(data)))
            if cut or ended or size == LONGEST:
                break
            size = min(2 * size, LONGEST)
        lines = data.count(b"\n", 0, cut)
        if cut:
            yield Segment(number, item, start, kind, data[:cut], whole=ended, read=stream.tell())
        elif not ended:
            reason = f"{LONGEST >> 20} MiB without {unit}, more than a document may have"
            fault = Fault(number, item, _place(kind, item, start), reason)
            yield Segment(number, item, start, kind, faults=(fault,), read=stream.tell())
            cut, lines, data = _pass_over(stream, data)
            start, item = start + cut, item + (1 if kind == "file" else lines)
            continue
        data = data[cut:]
        start, item = start + cut, item + (1 if kind == "file" else lines)
    if stream.broken:
        fault = Fault(number, item, _place(kind, item, start + len(data)), stream.broken)
        yield Segment(number, item, start, kind, faults=(fault,), read=source.size)


def _pass_over(stream: Stream, data: bytes) -> tuple[int, int, bytes]:
    """Leave out `data` and what follows up to a line break: the bytes and line breaks left out, and what comes next."""
    passed, lines = 0, 0
    block = data
    while block:
        passed, lines = passed + len(block), lines + block.count(b"\n")
        block = stream.take(_STRETCH)
        if end := block.find(b"\n") + 1:
            return passed + end, lines + 1, block[end:]
    return passed, lines, b""


def _place(kind: str, item: int, start: int) -> str:
    return f"byte {start}" if kind == "file" else f"line {item + 1} (byte {start})"


# -- tables ------------------------------------------------------------------------------------------------------------


def _rows(number: int, source: Source, field: str, start: int) -> Iterator[Segment]:
    """Read one column of a Parquet file; begin with the row group that holds row `start`."""
    pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    row = 0
    try:
        # Buffered, so that the column of a row group need not lie in memory whole.
        with pq.ParquetFile(source.path, buffer_size=_STRETCH, pre_buffer=False) as file:
            _check_column(pa, file.schema_arrow, field)
            for group in range(file.num_row_groups):
                about = file.metadata.row_group(group)
                if row + about.num_rows <= start:
                    row += about.num_rows
                    continue
                step = min(max(1, _STRETCH * about.num_rows // _column_bytes(about, field)), 1 << 12)
                for batch in file.iter_batches(step, [group], [field], use_threads=False):
                    read = source.size * (row + batch.num_rows) // file.metadata.num_rows
                    yield _texts(number, row, batch.column(0).cast(pa.large_binary()), read)
                    row += batch.num_rows
    except (pa.ArrowException, OSError, _NoColumn) as error:
        # The first line: Arrow adds where in its own code it happened.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        yield Segment(number, row, row, "parquet", faults=(Fault(number, row, f"row {row + 1}", reason),))


class _NoColumn(Exception):
    """The table has no column of texts with this name."""


def _check_column(pa: Any, schema: Any, field: str) -> None:
    if field not in schema.names:
        raise _NoColumn(f"no column {field!r}; there are {', '.join(schema.names)}")
    kind = schema.field(field).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if kind not in (pa.string(), pa.large_string(), pa.string_view()):
        raise _NoColumn(f"column {field!r} holds {kind}, not text")


def _column_bytes(group: Any, field: str) -> int:
    columns = (group.column(i) for i in range(group.num_columns))
    return max(1, sum(column.total_uncompressed_size for column in columns if column.path_in_schema == field))


def _texts(number: int, row: int, column: Any, read: int) -> Segment:
    """The texts of an Arrow array of large binaries; faults for what is null or too long."""
    edges = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
    null = column.is_null().to_numpy(zero_copy_only=False)
    long = np.diff(edges) > LONGEST
    faults = tuple(
        Fault(number, row + i, f"row {row + i + 1}", "null" if null[i] else f"more than {LONGEST >> 20} MiB of text")
        for i in np.flatnonzero(null | long).tolist()
    )
    if long.any():
        texts = [b"" if i else column[k].as_py() or b"" for k, i in enumerate(long.tolist())]
        data, edges = b"".join(texts), np.cumsum([0, *map(len, texts)], dtype=np.int64)
    else:
        whole = column.buffers()[2]
        data = whole[int(edges[0]) : int(edges[-1])].to_pybytes() if whole else b""
    return Segment(number, row, row, "parquet", data, edges - edges[0], faults=faults, read=read)
