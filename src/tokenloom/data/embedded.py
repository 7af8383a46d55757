"""Text samples that travel with the package, for tests, tables and quick trainings: thirteen languages, code, words.

Where each comes from and under which terms is told in `samples/SOURCES.md` beside them.
"""

from importlib.resources import files

from ..core.errors import InvalidInput

__all__ = ["sample", "samples"]

_FOLDER = files(__package__) / "samples"


def samples() -> tuple[str, ...]:
    """Names of the embedded samples, sorted; each holds at most 150 kB of UTF-8.

    >>> samples()[:3]
    ('ar-vandyke', 'code-python', 'common-words')
    """
    return tuple(sorted(_files()))


def sample(name: str) -> str:
    """One embedded sample, whole: NFC text with `\\n` line ends; parallel and morphology samples are tab-separated.

    Raises: InvalidInput: no sample has this name.

    >>> sample("en-literary")[:18]
    'To Sherlock Holmes'
    """
    if name not in _files():
        raise InvalidInput(f"no sample {name!r}; there are {', '.join(samples())}")
    return (_FOLDER / _files()[name]).read_text(encoding="utf-8")


def _files() -> dict[str, str]:
    names = (entry.name for entry in _FOLDER.iterdir())
    return {name.rsplit(".", 1)[0]: name for name in names if name.endswith((".txt", ".tsv"))}
