"""The folder that `encode_corpus` writes: what is finished in it, whose it is, and what a killed run left behind.

While a run goes on, `.job/settings.json` says what is being made, and `.job/NUMBER.json` is the receipt of each finished
stretch of the corpus: its shards, its counts, what was skipped, and the last piece of input in it. The manifest comes last
and holds all of that; `.job` is removed after it.
"""

import fcntl
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.errors import StoreError
from ..core.store import read_json, write_json
from .manifest import MANIFEST, Manifest, read_manifest

__all__ = ["Job", "Receipt"]

Receipt = Mapping[str, Any]

_JOB, _SETTINGS, _LOCK = ".job", "settings.json", "lock"
_OURS = re.compile(r"epoch\d+-shard\d+\.(bin|idx|parquet)")
_PART = re.compile(r"\..+\.[0-9a-f]+\.part")


class Job:
    """A folder and what shall be in it.

    Args:
        folder: the output; need not exist.
        wanted: `tokenizer` and `settings`, as the manifest will have them, and `tokenloom`, the version: JSON values.
    """

    def __init__(self, folder: Path, wanted: Mapping[str, Any]) -> None:
        self.folder, self.wanted = folder, wanted
        self._state = folder / _JOB

    def finished(self) -> Manifest | None:
        """The manifest, if the folder is complete and holds what is wanted; None if it is to be made or continued.

        Nothing is touched. Raises: StoreError: the folder holds something else.
        """
        if not self.folder.exists():
            return None
        if not self.folder.is_dir():
            raise StoreError(f"{self.folder} is not a folder")
        if (self.folder / MANIFEST).exists():
            manifest = read_manifest(self.folder)
            self._compare({"tokenizer": manifest.tokenizer, "settings": manifest.settings})
            return manifest
        begun = (self._state / _SETTINGS).exists()
        if begun:
            # Another version may cut the input otherwise, so that halves would not fit.
            self._compare(read_json(self._state / _SETTINGS))
        self._refuse_strangers(begun)
        return None

    @contextmanager
    def begun(self) -> Iterator[list[Receipt]]:
        """Take the folder for this run; gives the receipts of what is finished.

        A run that fails before it finished a shard leaves nothing behind.

        Raises: StoreError: another run has it, or a finished file is not what its receipt says.
        """
        existed = self.folder.exists()
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            lock = (self._state / _LOCK).open("wb")
        except OSError as error:
            raise StoreError(f"cannot write into {self.folder}: {error.strerror or error}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StoreError(f"another run is writing into {self.folder}") from error
            if (self.folder / MANIFEST).exists():
                raise StoreError(f"another run has just finished {self.folder}")
            if not (self._state / _SETTINGS).exists():
                write_json(self._state / _SETTINGS, self.wanted)
            receipts = self._receipts()
            self._clean(receipts)
            try:
                yield receipts
            except BaseException:
                receipts = self._receipts()
                self._clean(receipts)
                if not any(receipt["shards"] for receipt in receipts):
                    self.forget()
                    if not existed:
                        self.folder.rmdir()
                raise

    def receive(self, number: int, receipt: Receipt) -> None:
        """Record that stretch `number` is finished."""
        write_json(self._receipt(number), receipt)

    def forget(self) -> None:
        """Remove what only an unfinished folder needs."""
        if self._state.is_dir():
            for path in self._state.iterdir():
                path.unlink()
            self._state.rmdir()

    def _receipt(self, number: int) -> Path:
        return self._state / f"{number:05}.json"

    def _compare(self, held: Mapping[str, Any]) -> None:
        for name, value in held.items():
            if value != self.wanted[name]:
                raise StoreError(
                    f"{self.folder} was begun with {_difference(name, value, self.wanted[name])}; "
                    "give the same command again, or another folder"
                )

    def _refuse_strangers(self, begun: bool) -> None:
        """Raises: StoreError: a file that no run of ours left here."""
        for path in sorted(self.folder.iterdir()):
            left = _PART.fullmatch(path.name) or _OURS.fullmatch(path.name)
            if path.name != _JOB and not (begun and left):
                raise StoreError(f"{self.folder} holds {path.name}, which is not of this job; give an empty folder")

    def _receipts(self) -> list[Receipt]:
        receipts: list[Receipt] = []
        while (path := self._receipt(len(receipts))).exists():
            receipts.append(read_json(path))
        for file in _files(receipts):
            path = self.folder / file["name"]
            if not path.is_file() or path.stat().st_size != file["bytes"]:
                raise StoreError(f"{path} is finished and should have {file['bytes']} bytes; give another folder")
        return receipts

    def _clean(self, receipts: list[Receipt]) -> None:
        """Remove unfinished files of a run that was killed."""
        keep = {file["name"] for file in _files(receipts)}
        for folder in (self.folder, self._state):
            for path in folder.iterdir():
                if _PART.fullmatch(path.name) or (_OURS.fullmatch(path.name) and path.name not in keep):
                    path.unlink()


def _files(receipts: list[Receipt]) -> Iterator[Mapping[str, Any]]:
    for receipt in receipts:
        for shard in receipt["shards"]:
            yield from shard["files"]


def _difference(name: str, held: Any, wanted: Any) -> str:
    """The first value that differs, in words."""
    if isinstance(held, dict) and isinstance(wanted, dict):
        for key in [*held, *wanted]:
            if held.get(key) != wanted.get(key):
                return _difference(key, held.get(key), wanted.get(key))
    if name == "inputs" and isinstance(held, list) and isinstance(wanted, list):
        if [entry.get("name") for entry in held] == [entry.get("name") for entry in wanted]:
            return "inputs that have changed since"
        return "other inputs"
    return f"{name.replace('_', ' ')} {held!r}, not {wanted!r}"
