"""Texts that package registries hold: read straight from the archives, as the registries' own clients fetch them."""

import fnmatch
import io
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import CorpusError, InvalidInput

__all__ = ["Package", "check_run", "find_packages"]


@dataclass(frozen=True)
class Package:
    """One version of a package; its archive is never installed, only read.

    Args:
        registry: "pypi" (wheel or source archive), "npm" or "debian".
        name: as the registry writes it.
        version: as the registry writes it; for Debian the beginning is enough.
    """

    registry: str
    name: str
    version: str

    @property
    def fetch(self) -> str:
        """The command that puts the archive into the current folder."""
        return {
            "pypi": f"pip download --no-deps {self.name}=={self.version}",
            "npm": f"npm pack {self.name}@{self.version}",
            "debian": f"apt-get download {self.name}",
        }[self.registry]

    def archive(self, folder: Path) -> Path | None:
        """The archive in `folder`, None when it is not there."""
        patterns = {
            "pypi": [f"{self.name.replace('-', '_')}-{self.version}-*.whl", f"{self.name}-{self.version}.tar.gz"],
            "npm": [f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"],
            "debian": [f"{self.name}_{self.version}*.deb"],
        }[self.registry]
        return next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None)

    def read(self, folder: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
        """Name and content of the files in the archive whose path fits a shell pattern, sorted by path.

        Raises: CorpusError: the archive is not there or cannot be read, or no file fits.
        """
        path = self.archive(folder)
        if path is None:
            raise CorpusError(f"{folder} lacks {self.name} {self.version}: {self.fetch}")
        try:
            files = _zipped(path, pattern) if path.suffix == ".whl" else _tarred(path, pattern)
            empty = True
            for name, content in files:
                empty = False
                yield name, content
        except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise CorpusError(f"{path} cannot be read: {error}; fetch it again: {self.fetch}") from error
        if empty:
            raise CorpusError(f"{path} has no {pattern}; fetch it again: {self.fetch}")


def find_packages(folder: Path, packages: Sequence[Package]) -> None:
    """Make sure that all archives are there.

    Raises: CorpusError: naming each that is not, and the command that fetches it.
    """
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder; it should hold the archives of {len(packages)} packages")
    if missing := [package for package in packages if package.archive(folder) is None]:
        named = "".join(f"\n  {package.name} {package.version}: {package.fetch}" for package in missing)
        raise CorpusError(f"{folder} lacks {len(missing)} of {len(packages)} packages; fetch them there:{named}")


def check_run(archives: Path | None, packages: Sequence[Package], *, seeds: int, workers: int, quick: bool) -> None:
    """Refuse an experiment that could not be run, before any of it is.

    Args:
        archives: the folder of archives; needed unless quick.
        packages: that must be in it.
    Raises: InvalidInput: no folder named, `seeds` or `workers` below 1. CorpusError: as for `find_packages`.
    """
    if seeds < 1 or workers < 1:
        raise InvalidInput(f"{seeds=} and {workers=} must be at least 1")
    if archives is None and not quick:
        raise InvalidInput("say where the packages' archives are: --archives FOLDER; or try --quick")
    if archives is not None:
        find_packages(archives, packages)


def _zipped(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(fnmatch.filter(archive.namelist(), pattern)):
            yield name, archive.read(name)


def _tarred(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    # A compressed stream cannot go back, so what fits is held until it can be sorted.
    found = {}
    with _stream(path) as file, tarfile.open(fileobj=file) as archive:
        for member in archive:
            if member.isfile() and fnmatch.fnmatchcase(member.name, pattern):
                content = archive.extractfile(member)
                assert content is not None
                found[member.name] = content.read()
    yield from sorted(found.items())


def _stream(path: Path) -> io.BufferedIOBase:
    """The tar archive itself, or the one inside a Debian package, an `ar` archive: heads of 60 bytes, even lengths."""
    file = path.open("rb")
    if path.suffix != ".deb":
        return file
    with file:
        file.seek(8)
        while len(head := file.read(60)) == 60:
            size = int(head[48:58])
            if head.startswith(b"data.tar"):
                return io.BytesIO(file.read(size))
            file.seek(size + size % 2, io.SEEK_CUR)
    raise tarfile.ReadError("no data.tar in it")
