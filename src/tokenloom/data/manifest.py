"""`manifest.json`: what a folder of shards holds, written last; a folder without one is not finished."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .._version import __version__
from ..core.errors import StoreError
from ..core.store import read_json, sha256_file, write_json
from .megatron import MegatronReader, MegatronWriter
from .parquet import ParquetReader, ParquetWriter

__all__ = ["FORMATS", "MANIFEST", "Manifest", "read_manifest", "shard_reader", "verify_shards", "write_manifest"]

MANIFEST = "manifest.json"
FORMATS: dict[str, type[MegatronWriter] | type[ParquetWriter]] = {"megatron": MegatronWriter, "parquet": ParquetWriter}
_READERS: dict[str, type[MegatronReader] | type[ParquetReader]] = {"megatron": MegatronReader, "parquet": ParquetReader}
_FORMAT_VERSION = 1
_ENDINGS = {"megatron": (".bin", ".idx"), "parquet": (".parquet",)}


@dataclass(frozen=True)
class Manifest:
    """What was encoded, how, and into which files.

    Args:
        tokenizer: `name`, `digest`, `vocab_size`, `end_of_text` (an id or None), `spec` (what `load_tokenizer` takes).
        settings: everything else that determines the bytes; `format` is "megatron" or "parquet".
        shards: receipts in order, each with `name`, `epoch`, `documents`, `tokens`, `dtype`, `first_document` and
            `files` (each `name`, `bytes`, `sha256`; for Megatron the `.bin` first).
        totals: `documents` and `tokens` summed over all shards, and further counts.
        skipped: inputs left out, each with `file`, `place`, `reason`.
        ledger: what the run cost.
        tokenloom: the version that wrote it.
        format_version: of the manifest; readers refuse others.
    """

    tokenizer: Mapping[str, Any]
    settings: Mapping[str, Any]
    shards: Sequence[Mapping[str, Any]]
    totals: Mapping[str, Any]
    skipped: Sequence[Mapping[str, Any]] = ()
    ledger: Mapping[str, Any] = field(default_factory=dict)
    tokenloom: str = __version__
    format_version: int = _FORMAT_VERSION


def write_manifest(folder: str | os.PathLike[str], manifest: Manifest) -> None:
    """Write `manifest.json`, whole or not at all; do so after every file it lists is in place.

    Raises: StoreError: it cannot be written.
    """
    write_json(Path(folder) / MANIFEST, asdict(manifest))


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """Read `manifest.json`; its files are not looked at.

    Raises: StoreError: there is none (the encoding has not finished), it is damaged, or of another format version.
    """
    path = Path(folder) / MANIFEST
    if not path.exists():
        raise StoreError(f"{path} is missing: the encoding has not finished; run the same command again to complete it")
    content = read_json(path)
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise StoreError(f"{path} is not a manifest of tokenloom: it has no format_version")
    if version != _FORMAT_VERSION:
        raise StoreError(
            f"{path}: format version {version}, written by tokenloom {content.get('tokenloom')}; "
            f"this is tokenloom {__version__}, which reads version {_FORMAT_VERSION}"
        )
    try:
        manifest = Manifest(**content)
        _check(manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path} is damaged: {error!r}") from error
    return manifest


def _check(manifest: Manifest) -> None:
    """Raises one of the errors that `read_manifest` tells as damage."""
    if _whole(manifest.tokenizer["vocab_size"]) < 1:
        raise ValueError("a vocabulary without tokens")
    endings = _ENDINGS[manifest.settings["format"]]
    names = set()
    for shard in manifest.shards:
        for count in ("epoch", "documents", "tokens"):
            _whole(shard[count])
        if shard["dtype"] not in ("uint16", "int32"):
            raise ValueError(f"ids of dtype {shard['dtype']!r}")
        if len(shard["files"]) != len(endings):
            raise ValueError(f"{len(shard['files'])} files in shard {shard['name']!r}")
        for file, ending in zip(shard["files"], endings):
            name = file["name"]
            # A name with a folder in it could lead readers anywhere.
            if Path(name).name != name or not name.endswith(ending) or name in names:
                raise ValueError(f"file name {name!r}")
            names.add(name)
            _whole(file["bytes"])
            if not isinstance(file["sha256"], str):
                raise TypeError(f"sha256 of {name} is {file['sha256']!r}")
    for count in ("documents", "tokens"):
        total = sum(shard[count] for shard in manifest.shards)
        if manifest.totals[count] != total:
            raise ValueError(f"totals name {manifest.totals[count]} {count}, the shards {total}")


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} where a whole number >= 0 belongs")
    return value


def shard_reader(folder: str | os.PathLike[str], manifest: Manifest, index: int) -> MegatronReader | ParquetReader:
    """Open shard `index` of the manifest, after comparing the sizes of its files.

    Raises: StoreError: a file is missing, has another size, or is not what the manifest says of it.
    """
    shard = manifest.shards[index]
    _check_sizes(Path(folder), shard)
    return _READERS[manifest.settings["format"]](Path(folder), dict(shard))


def _check_sizes(folder: Path, shard: Mapping[str, Any]) -> None:
    for file in shard["files"]:
        path = folder / file["name"]
        try:
            size = path.stat().st_size
        except OSError as error:
            raise StoreError(f"{path} is listed in the manifest but cannot be read: {error.strerror}") from error
        if size != file["bytes"]:
            raise StoreError(f"{path}: {size} bytes, but the manifest says {file['bytes']}")


def verify_shards(folder: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None) -> Manifest:
    """Check every byte the manifest answers for: sizes, SHA-256, document and token counts, ids within the vocabulary.

    Args:
        folder: the folder of shards.
        progress: called with the bytes checked so far and in all, after each shard.
    Returns: the manifest, when all is as it says.
    Raises: StoreError: names every shard that is not, a line each.
    """
    manifest = read_manifest(folder)
    sizes = [sum(file["bytes"] for file in shard["files"]) for shard in manifest.shards]
    wrong, done = [], 0
    for index, size in enumerate(sizes):
        try:
            _verify(Path(folder), manifest, index)
        except StoreError as error:
            wrong.append(str(error))
        done += size
        if progress is not None:
            progress(done, sum(sizes))
    if wrong:
        more = [f"… and {len(wrong) - 20} more"] * (len(wrong) > 20)
        raise StoreError("\n".join([*wrong[:20], *more]))
    return manifest


def _verify(folder: Path, manifest: Manifest, index: int) -> None:
    shard = manifest.shards[index]
    _check_sizes(folder, shard)
    for file in shard["files"]:
        path = folder / file["name"]
        if (digest := sha256_file(path)) != file["sha256"]:
            raise StoreError(f"{path} has changed: its SHA-256 is {digest}, but the manifest says {file['sha256']}")
    shard_reader(folder, manifest, index).check(manifest.tokenizer["vocab_size"])
