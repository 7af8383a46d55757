"""From the content of a file, as packages hold it, to its texts: each function takes the path and the content."""

import bz2
import csv
import email
import html
import io
import json
import re
import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from email.message import Message
from fnmatch import fnmatchcase
from typing import Any

from ..core.errors import CorpusError

__all__ = [
    "Reader",
    "first_version",
    "glosses",
    "licence",
    "long_licence",
    "mail",
    "page",
    "plain",
    "r_strings",
    "rows",
    "sentences",
    "table",
    "tagged",
    "tasks",
]

Texts = Iterator[str]
Reader = Callable[[str, bytes], Texts]


def plain(name: str, content: bytes) -> Texts:
    """UTF-8, otherwise Latin-1."""
    try:
        yield content.decode("utf-8-sig")
    except UnicodeDecodeError:
        yield content.decode("latin-1")


def tagged(name: str, content: bytes) -> Texts:
    """The Brown corpus: words without tags, quotes as they were typed, no space before a sign."""
    for paragraph in re.split(r"\n\s*\n", content.decode()):
        text = " ".join(word.rpartition("/")[0] for word in paragraph.split())
        text = re.sub(r"`` ?| ?''", '"', text)
        yield re.sub(r" ([.,:;?!)\]}])|([(\[{]) ", r"\1\2", text)


def sentences(name: str, content: bytes) -> Texts:
    """A JSON list of them."""
    yield from json.loads(content)


def glosses(name: str, content: bytes) -> Texts:
    """WordNet: twenty definitions to a paragraph; the head of the file begins with two spaces."""
    lines = [line for line in content.decode().splitlines() if line[:1].isdigit()]
    glosses = [line.partition(" | ")[2].strip() for line in lines]
    for at in range(0, len(glosses), 20):
        yield "\n".join(glosses[at : at + 20])


def licence(name: str, content: bytes) -> Texts:
    """What follows the head between two lines of dashes."""
    yield content.decode().split("\n---", 1)[-1].lstrip("-")


def long_licence(name: str, content: bytes) -> Texts:
    """`licence` where it has more than 400 characters."""
    yield from (text for text in licence(name, content) if len(text.strip()) > 400)


def table(column: str) -> Reader:
    """One column of comma-separated values, also compressed."""

    def texts(name: str, content: bytes) -> Texts:
        plain = bz2.decompress(content) if name.endswith(".bz2") else content
        yield from (row[column] for row in csv.DictReader(io.StringIO(plain.decode(), newline="")))

    return texts


def rows(query: str) -> Reader:
    """The first column of a query to a database."""

    def texts(name: str, content: bytes) -> Texts:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            database = sqlite3.connect(f"file:{file.name}?mode=ro", uri=True)
            try:
                yield from (text for (text,) in database.execute(query))
            finally:
                database.close()

    return texts


_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|</?[a-zA-Z][^<>]*>", re.DOTALL | re.IGNORECASE)
_BLOCK = re.compile(r"</?(?:p|h\d|li|ul|ol|dl|dt|dd|div|table|tr|blockquote|pre|hr)\b[^<>]*>", re.IGNORECASE)
_BASE64 = re.compile(r"(?:^[A-Za-z0-9+/=]{60,}$\n?)+", re.MULTILINE)


def mail(name: str, content: bytes) -> Texts:
    """The text parts of an e-mail, without tags and runs of base64."""
    for part in email.message_from_string(json.loads(content)["text"]).walk():
        if part.get_content_maintype() == "text":
            yield _BASE64.sub("", _untagged(_body(part)))


def _body(part: Message) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    try:
        return payload.decode(part.get_content_charset("latin-1"), "replace")
    except (LookupError, UnicodeError):
        return payload.decode("latin-1")


def _untagged(text: str) -> str:
    return html.unescape(_TAG.sub("", _BLOCK.sub("\n\n", text)))


def page(name: str, content: bytes) -> Texts:
    """HTML without its tags; what is a block there is a paragraph."""
    yield _untagged(content.decode("utf-8", "replace"))


def first_version(name: str, content: bytes) -> Texts:
    """The original passage of each JSON record; the others are changed ones."""
    yield from (json.loads(line)["0"] for line in content.decode().splitlines())


# Not prose, though it has letters: grids, boards, drawings, graphs, ciphers, tables of numbers, sentences from a template.
_NO_PROSE = (
    "diabetes", "self_prompting", "schelling_point", "raven-matrices", "mazes", "arc*", "*svg*", "*chess*", "backgammon",
    "*cipher*", "*rot13*", "steganography", "text_compression", "formal_logic", "identifying_variables", "ukraine_*",
    "osm_mapping", "*-lexicon", "*part-of-speech", "connect*", "*battleship*", "*sudoku*", "*tic_tac*", "bitwise", "*dna*",
    "comprehensive-graph-reasoning", "corr2cause", "resource_id_extraction", "json_patch_object", "logic-grid",
    "integer-sequence-predictions", "diagrammatic_logic", "pattern_identification", "abstract-causal-reasoning",
)  # fmt: skip


def tasks(name: str, content: bytes) -> Texts:
    """Every string of the JSON records, of tasks in words."""
    folder = name.removeprefix("evals/registry/data/").split("/")[0]
    if any(fnmatchcase(folder, pattern) for pattern in _NO_PROSE):
        return
    for line in content.decode().splitlines():
        if line.strip():
            yield from _strings(json.loads(line))


def _strings(value: Any) -> Texts:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def r_strings(name: str, content: bytes) -> Texts:
    """R objects, compressed one after the other: each a vector of lines, in R's own binary format."""
    while content:
        unpacked = zlib.decompressobj()
        data = unpacked.decompress(content[4:])
        content = unpacked.unused_data
        # "X\n", versions, name of an encoding; then type 16, the number of strings, and flags and length before each.
        at = 18 + struct.unpack_from(">i", data, 14)[0]
        kind, count = struct.unpack_from(">ii", data, at)
        if kind != 16:
            raise CorpusError(f"{name}: an R object of type {kind}, not a vector of strings")
        at, lines = at + 8, []
        for _ in range(count):
            size = struct.unpack_from(">i", data, at + 4)[0]
            lines.append(data[at + 8 : at + 8 + size].decode())
            at += 8 + size
        yield "\n".join(lines)
