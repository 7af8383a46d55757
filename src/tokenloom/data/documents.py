"""From raw stretches to documents: lines, paragraphs, JSON fields and rows become texts, each with its address."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..core.errors import CorpusError
from .corpus import Source, find_sources
from .segments import Fault, Segment, segments

__all__ = ["Documents", "corpus_error", "documents", "place", "read_corpus"]


@dataclass(frozen=True)
class Documents:
    """The texts of a stretch; columns, because there may be many short ones.

    Args:
        texts: in order.
        items: line, row or piece of each in its file, from 0.
        faults: what is none, in order.
    """

    texts: list[str]
    items: list[int]
    faults: list[Fault]


def read_corpus(inputs: Sequence[str], *, split: str = "file", field: str = "text") -> Iterator[str]:
    """The documents of files and folders one by one, as `tokenloom encode` reads them; for training a tokenizer, say.

    Args:
        inputs: text, JSON-lines or Parquet files, also compressed with gzip or zstandard, and folders of them.
        split: how plain text becomes documents: "file", "paragraph" or "line".
        field: where JSON objects and tables have the text.
    Raises: CorpusError: something cannot be read; the message names file and place.
    """
    sources = find_sources(inputs)
    for segment in segments(sources, split=split, field=field):
        found = documents(segment, field)
        if found.faults:
            raise corpus_error(sources, found.faults[0])
        yield from found.texts


def corpus_error(sources: Sequence[Source], fault: Fault) -> CorpusError:
    """The error that tells of a fault, with the name of its file."""
    place = f", {fault.place}" if fault.place else ""
    return CorpusError(f"{sources[fault.file].name}{place}: {fault.reason}")


def place(segment: Segment, item: int) -> str:
    """Where a document of `segment` stands, as a user looks for it."""
    if segment.kind == "file":
        return f"byte {segment.start}"
    return f"{'row' if segment.kind == 'parquet' else 'line'} {item + 1}"


def documents(segment: Segment, field: str) -> Documents:
    """Take a stretch apart; blank lines are no documents.

    Args:
        segment: as `segments` cuts it.
        field: where JSON objects have the text.
    """
    texts: list[str] = []
    items: list[int] = []
    faults = list(segment.faults)
    for item, offset, raw in _RAW[segment.kind](segment):
        try:
            text = raw.decode()
            if segment.kind == "json":
                text = _content(text, field)
        except UnicodeDecodeError as error:
            where = f"byte {segment.start + offset + error.start}"
            if segment.kind != "file":
                where = f"{place(segment, item)} (byte {error.start} of it)"
            faults.append(Fault(segment.file, item, where, f"not UTF-8: {raw[error.start]:#04x}, {error.reason}"))
        except _NoContent as error:
            faults.append(Fault(segment.file, item, place(segment, item), str(error)))
        else:
            texts.append(text)
            items.append(item)
    faults.sort(key=lambda fault: fault.item)
    return Documents(texts, items, faults)


# -- item, place in the segment, and bytes of each document --------------------------------------------------------------

_Raw = Iterator[tuple[int, int, bytes]]


def _whole(segment: Segment) -> _Raw:
    if segment.data:
        yield segment.item, 0, segment.data


def _lines(segment: Segment) -> _Raw:
    at = 0
    for item, line in enumerate(segment.data.split(b"\n"), segment.item):
        if line and not line.isspace():
            yield item, at, line.removesuffix(b"\r")
        at += len(line) + 1


def _paragraphs(segment: Segment) -> _Raw:
    """Runs of lines that are not blank, without the last line break."""
    data, at, begin, first = segment.data, 0, -1, 0
    for item, line in enumerate([*data.split(b"\n"), b""], segment.item):
        if line and not line.isspace():
            if begin < 0:
                begin, first = at, item
        elif begin >= 0:
            yield first, begin, data[begin : at - 1].removesuffix(b"\r")
            begin = -1
        at += len(line) + 1


def _rows(segment: Segment) -> _Raw:
    faulty = {fault.item for fault in segment.faults}
    edges = [] if segment.edges is None else segment.edges.tolist()
    for item, (begin, end) in enumerate(pairwise(edges), segment.item):
        if item not in faulty:
            yield item, begin, segment.data[begin:end]


_RAW = {"file": _whole, "line": _lines, "json": _lines, "paragraph": _paragraphs, "parquet": _rows}

# -- JSON --------------------------------------------------------------------------------------------------------------


class _NoContent(Exception):
    """A line of JSON without a text where it should be; says why."""


def _content(line: str, field: str) -> str:
    """The text that a line of JSON holds under `field`."""
    try:
        value = json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise _NoContent(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _NoContent(f"a JSON {type(value).__name__}; JSON-lines have an object in each line")
    content = value.get(field)
    if isinstance(content, str):
        return content
    if field in value:
        raise _NoContent(f"field {field!r} holds {json.dumps(content)[:40]}, not text")
    raise _NoContent(f"no field {field!r}; there are {', '.join(map(repr, list(value)[:12])) or 'none'}")
