"""What is made from the catalogue: lazy exports, their types for checkers, and the tables of README and docs.

`python -m tokenloom.core.catalogue --write` makes it, `--check` says whether it is up to date.
"""

import sys
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from .catalogue import STAGES, Catalogue, System, catalogue
from .store import atomic_write

__all__ = ["generated", "main", "outdated"]

# What each room of the library holds: the docstring where its file is generated.
ROOMS = {
    "core": "The ideas that everything else is built on; numpy only.",
    "data": "Corpora in, shards out, loaders, and the samples that travel with the package.",
    "graphs": "Tokens that are nodes and subgraphs.",
    "hosts": "The doors to other people's software.",
    "measure": "Metrics, benchmarks and analyses.",
    "models": "Layers, one plain transformer, and the published architectures.",
    "predict": "In which order tokens are predicted, trained and decoded.",
    "reduce": "Many tokens to few.",
    "testing": "The laws that every method of a kind obeys, as functions to run on yours.",
    "tokenize": "Raw data to tokens.",
    "transfer": "Move a trained model to other tokens, another architecture, another domain.",
}
_NOTE = "# Made from catalogue.toml by `make generate`; do not edit.\n"
_BEGIN, _END = "<!-- made from the catalogue by `make generate` -->", "<!-- end -->"


def generated(root: Path, systems: Catalogue | None = None) -> dict[Path, str]:
    """The files made from the catalogue, as they should be: path → content.

    Args:
        root: the repository.
        systems: the catalogue; by default the one of this package.
    """
    systems = catalogue() if systems is None else systems
    package = root / "src" / "tokenloom"
    rooms = [room for room in ROOMS if (package / room / "__init__.py").exists()]
    files = {}
    for room, group in groupby(sorted(systems.public.items(), key=lambda item: item[0].rpartition(".")), _room_of):
        names = {name.rpartition(".")[2]: target for name, target in group}
        folder = package / room if room else package
        inner = [] if room else rooms
        files[folder / "__init__.py"] = _module(room, names, inner)
        files[folder / "__init__.pyi"] = _stub(room, names, inner)
    files[root / "docs" / "catalogue.md"] = _page(systems)
    readme = root / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    files[readme] = f"{before}{begin}\n{_readme_table(systems)}{end}{after}"
    return files


def outdated(root: Path) -> list[Path]:
    """The generated files that are not as the catalogue says."""
    return [
        path for path, text in generated(root).items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> None:
    """`--write` makes the files, `--check` fails where one is not up to date."""
    root = Path(__file__).parents[3]
    if sys.argv[1:] == ["--write"]:
        for path, text in generated(root).items():
            with atomic_write(path) as file:
                file.write(text.encode())
    elif sys.argv[1:] == ["--check"]:
        if late := outdated(root):
            raise SystemExit(f"run `make generate`: {', '.join(str(path.relative_to(root)) for path in late)} differ")
    else:
        raise SystemExit("usage: python -m tokenloom.core.catalogue --write | --check")


def _room_of(item: tuple[str, str]) -> str:
    return item[0].rpartition(".")[0]


def _as_linters_want(name: str) -> tuple[bool, bool, str]:
    """Names in capitals, then classes, then functions."""
    return not name.isupper(), not name[0].isupper(), name


def _module(room: str, names: Mapping[str, str], rooms: Iterable[str]) -> str:
    """A package whose names are imported when first used."""
    up = "." * (1 + bool(room))
    doc = ROOMS[room] if room else "One toolkit for tokens: cut, look inside, move, reduce and predict them."
    table = "".join(f'    "{name}": "{target}",\n' for name, target in sorted(names.items()))
    public = sorted([*names, *rooms, *([] if room else ["__version__"])], key=_as_linters_want)
    listed = "".join(f'    "{name}",\n' for name in public)
    version = "" if room else "from ._version import __version__\n"
    # One argument a line, as ruff breaks what is too long for one.
    inner = f"\n    __name__,\n    _NAMES,\n    {tuple(rooms)!r},\n".replace("'", '"') if rooms else "__name__, _NAMES"
    made = f"__getattr__, __dir__ = _lazy({inner})"
    return (
        f'"""{doc}"""\n\n{_NOTE}\n{version}from {up}core.lazy import lazy as _lazy\n\n'
        f"_NAMES = {{\n{table}}}\n"
        f"{made}\n\n"
        f"__all__ = [\n{listed}]\n"
    )


def _stub(room: str, names: Mapping[str, str], rooms: Iterable[str]) -> str:
    """The same names for type checkers and editors."""
    stub = "".join(
        f"from {target.partition(':')[0]} import {target.partition(':')[2]} as {name}\n"
        for name, target in sorted(
            names.items(), key=lambda item: (item[1].partition(":")[0], _as_linters_want(item[0]))
        )
    )
    inner = "".join(f"from . import {name} as {name}\n" for name in rooms)
    version = "" if room else "from ._version import __version__ as __version__\n"
    return f"{_NOTE}\n{stub}" + (f"\n{inner}{version}" if inner or version else "")


def _page(systems: Catalogue) -> str:
    """The catalogue as a page of the documentation."""
    counts = {status: len(systems.select(status=status)) for status in ("proven", "built", "planned")}
    parts = [
        f"{_NOTE.replace('#', '%', 1)}\n# The catalogue\n\n"
        f"{len(systems)} published systems: {counts['proven']} proven, {counts['built']} built, {counts['planned']} "
        "planned. A *planned* system is not in the library yet. A *built* one is, with tests and a page; a *proven* one "
        "has also had its claims tried, and the result, whatever it was, is on its page.\n\n"
        "`tokenloom papers` prints the same list, `tokenloom papers --json` for programs.\n"
    ]
    for stage in STAGES:
        if there := systems.select(stage=stage):
            rows = "".join(f"| {_linked(s)} | {s.summary} | {_paper(s)} | {s.status} |\n" for s in there)
            parts.append(f"\n## {stage}\n\n| system | what it does | paper | status |\n|---|---|---|---|\n{rows}")
    return "".join(parts)


def _readme_table(systems: Catalogue) -> str:
    proven = systems.select(status="proven")
    if not proven:
        return "No system is proven yet; `tokenloom papers` lists what is planned.\n"
    rows = "".join(f"| [{s.slug}]({s.docs}) | {s.summary} | {_paper(s)} |\n" for s in proven)
    return f"| system | what it does | paper |\n|---|---|---|\n{rows}"


def _linked(system: System) -> str:
    return f"[{system.slug}]({system.docs.removeprefix('docs/')})" if system.docs else system.slug


def _paper(system: System) -> str:
    title = system.title.replace("<", "\\<").replace("|", "\\|")
    linked = f"[{title}](https://arxiv.org/abs/{system.arxiv})" if system.arxiv else title
    return f"{linked}, {system.year}"
