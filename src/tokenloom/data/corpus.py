"""Which files a corpus is made of: files and folders in, an ordered list of sources out.

A folder stands for all files below it, sorted by path; hidden ones are left out. The ending of a name says how a file is
read: `.jsonl`, `.ndjson`, `.json` one JSON object a line, `.parquet` a table, everything else plain text; `.gz` or `.zst`
behind it, unpacked on the way.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..core.errors import CorpusError, InvalidInput, require

__all__ = ["Source", "find_sources"]

_KINDS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet"}
_PACKINGS = {".gz": "gz", ".zst": "zst"}


@dataclass(frozen=True)
class Source:
    """One input file.

    Args:
        path: as it was given, or found below what was given.
        kind: "text", "json" or "parquet".
        packing: "gz", "zst" or "" for none.
        size: bytes on disk.
        modified: when it was last changed, nanoseconds.
        fault: why it cannot be read at all; "" when it can.
    """

    path: Path
    kind: str
    packing: str
    size: int = 0
    modified: int = 0
    fault: str = ""

    @cached_property
    def name(self) -> str:
        """The path as text; bytes of a file name that are not UTF-8 show as question marks."""
        return self.path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def find_sources(inputs: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """All files of a corpus in order: inputs as given, files of a folder sorted by path.

    A file that cannot be read, an empty one, and a folder link that leads back to where it stands are listed too, each
    with its fault.

    Raises: InvalidInput: no inputs, or a file that is named twice. CorpusError: an input that does not exist, or a
        folder without files. MissingExtra: a format needs a package that is not installed.
    """
    if not inputs:
        raise InvalidInput("no input: name files or folders")
    found: dict[str, Source] = {}
    for given in map(Path, inputs):
        if not given.exists() and not given.is_symlink():
            raise CorpusError(f"{given}: no such file or folder")
        sources = list(_below(given, ())) if given.is_dir() else [_source(given)]
        if not sources:
            raise CorpusError(f"{given}: the folder holds no file (hidden ones do not count)")
        for source in sources:
            where = str(source.path.absolute())
            if where in found:
                raise InvalidInput(f"{source.name} is named twice; each file is read once")
            found[where] = source
    for source in found.values():
        if source.kind == "parquet" and not source.fault:
            require("pyarrow", "data")
        if source.packing == "zst" and not source.fault:
            require("zstandard", "data")
    return list(found.values())


def _below(folder: Path, above: tuple[str, ...]) -> Iterator[Source]:
    """The files of `folder`, whose real place and that of the folders around it are not among `above`."""
    real = os.path.realpath(folder)
    if real in above:
        yield Source(folder, "text", "", fault=f"a symlink loop: it leads back to {real}")
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield Source(folder, "text", "", fault=f"the folder cannot be read: {error.strerror}")
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _below(entry, (*above, real))
        else:
            yield _source(entry)


def _source(path: Path) -> Source:
    packing = _PACKINGS.get(path.suffix.lower(), "")
    inner = path.with_suffix("") if packing else path
    kind = _KINDS.get(inner.suffix.lower(), "text")
    try:
        status = path.stat()
    except OSError as error:
        return Source(path, kind, packing, fault=f"cannot be read: {error.strerror}")
    fault = ""
    if not stat.S_ISREG(status.st_mode):
        fault = "neither a file nor a folder"
    elif status.st_size == 0:
        fault = "the file is empty"
    elif kind == "parquet" and packing:
        fault = f"Parquet is compressed inside; unpack the .{packing} around it"
    elif not os.access(path, os.R_OK):
        fault = "cannot be read: Permission denied"
    return Source(path, kind, packing, status.st_size, status.st_mtime_ns, fault)
