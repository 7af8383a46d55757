"""The bytes of an input file, unpacked, from any place on, in bounded memory."""

import zlib
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from ..core.errors import require
from .corpus import Source

__all__ = ["Stream"]

_READ = 1 << 20


class Stream:
    """Reads a source from front to back.

    A file that breaks off gives what was there before; `broken` then says what happened, and no more comes.

    Args:
        source: the file; its fault is not looked at.
        start: bytes of the unpacked file to pass over.
    """

    def __init__(self, source: Source, start: int = 0) -> None:
        self.broken = ""
        self._pieces = self._read(source, start)
        self._rest = b""
        self._file: BinaryIO | None = None
        self._done = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        parts, missing = [], size
        for piece in chain([self._rest], self._pieces):
            parts.append(piece[:missing])
            missing -= len(parts[-1])
            if not missing:
                self._rest = piece[len(parts[-1]) :]
                break
        else:
            self._rest = b""
        return b"".join(parts)

    def tell(self) -> int:
        """Bytes of the packed file that were read."""
        return self._done if self._file is None or self._file.closed else self._file.tell()

    def _read(self, source: Source, start: int) -> Iterator[bytes]:
        try:
            with source.path.open("rb") as self._file:
                if source.packing:
                    yield from _without(start, _UNPACK[source.packing](self._file))
                else:
                    self._file.seek(start)
                    while piece := self._file.read(_READ):
                        yield piece
                self._done = self._file.tell()
        except _errors(source) as error:
            self.broken = getattr(error, "strerror", None) or str(error)


def _without(start: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if start < len(piece):
            yield piece[start:]
        start = max(0, start - len(piece))


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    """Unpack the members of a gzip file, one after the other."""
    unpacker, fresh = zlib.decompressobj(wbits=31), True
    while packed := file.read(1 << 16):
        while packed := packed.lstrip(b"\0") if fresh else packed:  # members may be padded with zeros
            fresh = False
            yield unpacker.decompress(packed, _READ)
            packed = unpacker.unconsumed_tail
            if unpacker.eof:
                packed = unpacker.unused_data
                unpacker, fresh = zlib.decompressobj(wbits=31), True
    if not fresh:
        yield unpacker.flush()
        if not unpacker.eof:
            raise EOFError("the gzip file ends in the middle")


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    """Unpack the frames of a zstandard file, one after the other."""
    zstandard = require("zstandard", "data")
    unpacker, fresh = zstandard.ZstdDecompressor().decompressobj(), True
    # A hostile block turns 4 bytes into 128 KiB: little in, so that what comes out fits in memory.
    while packed := file.read(1 << 12):
        while packed:
            fresh = False
            yield unpacker.decompress(packed)
            packed = b""
            if unpacker.eof:
                packed = unpacker.unused_data
                unpacker, fresh = zstandard.ZstdDecompressor().decompressobj(), True
    if not fresh:
        raise EOFError("the zstandard file ends in the middle")


def _errors(source: Source) -> tuple[type[Exception], ...]:
    """What reading may raise."""
    zstd = (require("zstandard", "data").ZstdError,) if source.packing == "zst" else ()
    return (OSError, zlib.error, EOFError, *zstd)


_UNPACK = {"gz": _gunzip, "zst": _unzstd}
