"""Folders that hold something trained: its files, and `tokenloom.json`, which says what it is and proves the files.

`tokenloom.json` has the version of the format, the kind (a public name of the catalogue; what is not there is not
imported) and the SHA-256 of each file. It is written last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from .errors import StoreError
from .store import atomic_write, read_json, write_json

__all__ = ["MANIFEST", "Saved", "load_files", "save_files"]

MANIFEST = "tokenloom.json"
_FORMAT = 1


@dataclass(frozen=True)
class Saved:
    """What such a folder holds.

    Args:
        kind: the public name of its class.
        files: name → content.
    """

    kind: str
    files: Mapping[str, bytes]


def save_files(folder: str | Path, kind: str, files: Mapping[str, bytes]) -> None:
    """Write `files` into `folder`, which is made if need be, and the manifest after them.

    Raises: StoreError: the folder or a file cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    for name, content in files.items():
        with atomic_write(folder / name) as file:
            file.write(content)
    digests = {name: sha256(content).hexdigest() for name, content in files.items()}
    write_json(folder / MANIFEST, {"format": _FORMAT, "kind": kind, "files": digests})


def load_files(folder: str | Path) -> Saved:
    """Read what `save_files` wrote.

    Raises: StoreError: there is no manifest, it is of another format, or a file is missing or not the one it names.
    """
    folder = Path(folder)
    manifest = read_json(folder / MANIFEST, limit=1 << 20)
    match manifest:
        case {"format": int(version), "kind": str(kind), "files": dict(digests)} if version == _FORMAT:
            pass
        case {"format": int(version)} if version != _FORMAT:
            raise StoreError(f"{folder / MANIFEST} has format {version}; this version of tokenloom reads {_FORMAT}")
        case _:
            raise StoreError(f"{folder / MANIFEST} lacks format, kind or files")
    files = {}
    for name, digest in digests.items():
        if Path(name).name != name:
            raise StoreError(f"{folder / MANIFEST} names {name!r}, which does not lie in its folder")
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {folder / name}: {error.strerror or error}") from error
        if sha256(files[name]).hexdigest() != digest:
            raise StoreError(f"{folder / name} is not the file that {MANIFEST} names: its SHA-256 differs")
    return Saved(kind, files)
