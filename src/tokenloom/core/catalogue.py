"""Every published system that tokenloom holds or will hold, and what may be claimed about each.

`catalogue.toml` is the one place that says which systems there are; listings, the command line, lazy exports and the
tables of README and docs are made from it. What a user names is looked up here, never imported by name.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from .errors import InvalidInput, UnknownMethod

__all__ = ["KINDS", "STAGES", "STATUSES", "Catalogue", "System", "catalogue", "parse"]

STATUSES = ("planned", "built", "proven")
STAGES = (
    "tokenize/text",
    "tokenize/image",
    "tokenize/shape",
    "tokenize/molecule",
    "tokenize/protein",
    "reduce",
    "predict",
    "transfer",
    "models",
    "graphs",
    "measure",
)
KINDS = (
    "analysis",
    "benchmark",
    "decoder",
    "drafter",
    "model",
    "objective",
    "perturbation",
    "quantizer",
    "reducer",
    "schedule",
    "segmenter",
    "trainer",
    "transfer",
)

_PROMISES = ("exports", "built", "tests", "evidence", "docs")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


# What a field of each type may hold, and how to say so.
_FITS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (lambda value: isinstance(value, int) and 1990 <= value <= 2100, "a year"),
    str: (_is_text, "a text, not empty"),
    tuple[str, ...]: (lambda value: isinstance(value, tuple) and all(map(_is_text, value)), "a list of texts"),
}


@dataclass(frozen=True)
class System:
    """One published system; the fields after `status` are empty while it is only planned.

    Args:
        slug: its short name, as in addresses and file names.
        title: title of the paper.
        year: of the arXiv id, else of the version we read.
        stage: one of `STAGES`.
        kind: one of `KINDS`.
        home: the module that holds it, or will.
        summary: one sentence.
        status: one of `STATUSES`.
        arxiv: identifier, such as 2506.01687; empty if we do not know one.
        parts: further specifications that this entry covers (one paper, two methods).
        exports: names in `home` that become public.
        built: what of the paper is here.
        not_built: what deliberately is not.
        tests: files of its tests, from the root of the repository.
        evidence: the module that `tokenloom evidence` runs.
        docs: its page, from the root of the repository.
    """

    slug: str
    title: str
    year: int
    stage: str
    kind: str
    home: str
    summary: str
    status: str
    arxiv: str = ""
    parts: tuple[str, ...] = ()
    exports: tuple[str, ...] = ()
    built: tuple[str, ...] = ()
    not_built: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    evidence: str = ""
    docs: str = ""

    @property
    def public_prefix(self) -> str:
        """Where its exports appear: tokenizers in `tokenloom` itself ("…"), everything else in its room ("reduce.")."""
        room = self.stage.split("/")[0]
        return "" if room == "tokenize" else f"{room}."

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Catalogue(Mapping[str, System]):
    """All systems by slug, in the order of the file, and the public names of the library.

    Args:
        systems: the records.
        public: public name → "module:attribute"; "room.Name" for a name inside a room. Holds the systems' exports too.
    """

    systems: tuple[System, ...]
    public: Mapping[str, str]

    def __getitem__(self, slug: str) -> System:
        """The system of this name.

        Raises: UnknownMethod: there is none; the message names the nearest one.
        """
        for system in self.systems:
            if system.slug == slug:
                return system
        near = get_close_matches(slug, list(self), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UnknownMethod(f"no system {slug!r}; {hint}`tokenloom papers` shows all {len(self)}")

    def __contains__(self, slug: object) -> bool:
        return any(system.slug == slug for system in self.systems)

    def __iter__(self) -> Iterator[str]:
        return (system.slug for system in self.systems)

    def __len__(self) -> int:
        return len(self.systems)

    def select(self, *, stage: str | None = None, status: str | None = None) -> list[System]:
        """The systems of a stage, of a status, or both; `tokenize` stands for all stages below it.

        Raises: InvalidInput: no such stage or status.
        """
        stages = {s for s in STAGES if stage is None or s == stage or s.startswith(f"{stage}/")}
        if not stages:
            raise InvalidInput(f"no stage {stage!r}; there are {', '.join(STAGES)}")
        if status is not None and status not in STATUSES:
            raise InvalidInput(f"no status {status!r}; there are {', '.join(STATUSES)}")
        return [s for s in self.systems if s.stage in stages and status in (None, s.status)]


@cache
def catalogue() -> Catalogue:
    """The catalogue that travels with the package.

    >>> catalogue()["stochastok"].arxiv
    '2506.01687'
    """
    path = Path(__file__).parents[1] / "catalogue.toml"
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> Catalogue:
    """Read and check a catalogue in TOML.

    Raises: InvalidInput: it is not TOML, or a record is incomplete, contradictory or names something twice; the message
        names the record and what would be right.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"the catalogue is not TOML: {error}") from error
    if extra := content.keys() - {"public", "system"}:
        raise InvalidInput(f"the catalogue has a table {min(extra)!r}; it holds [public] and [[system]] only")
    systems: dict[str, System] = {}
    public: dict[str, str] = {}
    for name, target in _flat(content.get("public", {})):
        module, colon, attribute = target.partition(":")
        if not (colon and _is_module(module) and attribute.isidentifier()):
            raise InvalidInput(f'public name {name} points to {target!r}; write "tokenloom.module:attribute"')
        public[name] = target
    for record in content.get("system", []):
        system = _system(record)
        if system.slug in systems:
            raise InvalidInput(f"system {system.slug!r} is entered twice")
        systems[system.slug] = system
        for export in system.exports:
            name = system.public_prefix + export
            if name in public:
                raise InvalidInput(
                    f"system {system.slug!r} exports {name}, which already is {public[name]}; name it once"
                )
            public[name] = f"{system.home}:{export}"
    return Catalogue(tuple(systems.values()), public)


def _flat(names: Mapping[str, Any], room: str = "") -> Iterator[tuple[str, str]]:
    """Public names with their room in front: TOML reads `reduce.DivPrune = …` as a table."""
    for name, target in names.items():
        if not room and isinstance(target, dict):
            yield from _flat(target, f"{name}.")
        elif isinstance(target, str):
            yield room + name, target
        else:
            raise InvalidInput(f'public name {room}{name} is {target!r}; write "tokenloom.module:attribute"')


def _system(record: Mapping[str, Any]) -> System:
    """A record of the file, checked field by field."""
    named = f"system {record['slug']!r}" if "slug" in record else f"the system titled {record.get('title')!r}"
    known = {field.name: field for field in fields(System)}
    if unknown := [name for name in record if name not in known]:
        raise InvalidInput(f"{named} has a field {unknown[0]!r}; fields are {', '.join(known)}")
    if missing := [name for name, field in known.items() if field.default is MISSING and name not in record]:
        raise InvalidInput(f"{named} lacks the field {missing[0]!r}")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
    }
    for name, value in values.items():
        right, what = _FITS[known[name].type]
        if not right(value):
            raise InvalidInput(f"{named}: {name} is {record[name]!r}; it must be {what}")
    system = System(**values)
    for name, allowed in (("stage", STAGES), ("kind", KINDS), ("status", STATUSES)):
        if (value := getattr(system, name)) not in allowed:
            raise InvalidInput(f"{named}: {name} is {value!r}; it must be one of {', '.join(allowed)}")
    room = "tokenloom." + system.stage.replace("/", ".")
    if not (_is_module(system.home) and system.home.startswith(f"{room}.")):
        raise InvalidInput(f"{named}: home is {system.home!r}; stage {system.stage} lives in modules below {room}")
    promised = [name for name in (*_PROMISES, "not_built") if getattr(system, name)]
    if system.status == "planned" and promised:
        raise InvalidInput(f"{named} is planned and yet states {promised[0]!r}; what is not there promises nothing")
    if system.status != "planned" and (unsaid := [name for name in _PROMISES if name not in promised]):
        raise InvalidInput(f"{named} is {system.status} and must state {unsaid[0]!r}")
    if system.evidence and not (_is_module(system.evidence) and system.evidence.startswith("tokenloom.evidence.")):
        raise InvalidInput(f"{named}: evidence is {system.evidence!r}; it must be a module below tokenloom.evidence")
    return system


def _is_module(path: str) -> bool:
    return path.startswith("tokenloom") and all(part.isidentifier() for part in path.split("."))


if __name__ == "__main__":
    from .generated import main

    main()
