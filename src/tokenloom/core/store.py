"""Files that appear whole or not at all, and digests that prove it."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .errors import StoreError

__all__ = ["atomic_write", "digest_of", "read_json", "sha256_file", "write_json"]


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of `path` when the block ends, and vanishes when it fails.

    Written beside the target, flushed to disk, renamed; then the folder entry itself is flushed, so that a manifest
    written later can never be on disk before the files it names.

    Raises: StoreError: the file cannot be written (disk full, no permission …); `path` is as it was before.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _flush_folder(target.parent)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, whole or not at all; keys keep their order.

    Raises: StoreError: the file cannot be written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "surrogatepass") + b"\n")


def read_json(path: str | os.PathLike[str], *, limit: int = 256 << 20) -> Any:
    """Read a JSON file of at most `limit` bytes.

    Raises: StoreError: missing, too large, or not JSON.
    """
    try:
        size = Path(path).stat().st_size
        if size > limit:
            raise StoreError(f"{path}: {size} bytes, more than the {limit} expected of such a file")
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise StoreError(f"{path} is not JSON: {error}") from error


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form, in hexadecimal: equal values, equal digests.

    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
