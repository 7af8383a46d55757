"""Methods of token reduction, by the properties with which Kong et al. 2025 (section 2) tell them apart."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from ...core.errors import InvalidInput, UnknownMethod

__all__ = ["Method", "Methods", "methods"]

_VALUES: dict[str, tuple[str, ...]] = {
    "modality": ("vision", "language", "vision-language", "video", "agent", "state-space", "hardware", "science"),
    "family": ("prune", "merge", "hybrid", "distil", "pool"),
    "stage": ("encoder", "pre-LLM", "in-LLM", "decode", "training-loss", "prompt"),
    "criterion": ("attention", "similarity", "gradient", "learned", "magnitude", "random", "grid"),
    "guidance": ("none", "text", "task"),
    "training": ("free", "finetune", "from scratch"),
    "budget": ("fixed", "per-input", "per-group", "schedule"),
    "positions": ("kept", "compact"),
    "exclusivity": ("one-to-one", "many-to-one", "many-to-many"),
    "needs": ("CLS", "attention weights", "keys", "gradients", "grid", "crops", "text"),
}
_LISTS = ("stage", "criterion", "needs")


@dataclass(frozen=True)
class Method:
    """One method; the values that each field may have are those of the paper's taxonomy.

    Args:
        slug: its short name.
        title: its published name.
        year: of publication.
        modality, family, guidance, training, budget, positions, exclusivity: see `Methods.values`.
        stage, criterion, needs: the same, several at once.
        restores: whether there is a way back to all tokens.
        in_library: "module:Name" of the reducer in tokenloom; empty if it is not here.
        claim: what its paper says of it, in one sentence.
        link: of its paper.
    """

    slug: str
    title: str
    year: int
    modality: str
    family: str
    stage: tuple[str, ...]
    criterion: tuple[str, ...]
    guidance: str
    training: str
    budget: str
    positions: str
    restores: bool
    exclusivity: str
    needs: tuple[str, ...]
    in_library: str
    claim: str
    link: str


@dataclass(frozen=True)
class Methods(Sequence[Method]):
    """A list of methods that can be asked for properties and written as text."""

    records: tuple[Method, ...]

    @staticmethod
    def values(field: str) -> tuple[str, ...]:
        """What a field may hold.

        Raises: InvalidInput: it is free text, or there is no such field.
        """
        if field not in _VALUES:
            raise InvalidInput(f"no field {field!r} with fixed values; there are {', '.join(_VALUES)}")
        return _VALUES[field]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, which: Any) -> Any:
        """By position, or by slug.

        Raises: UnknownMethod: no method has this slug; the message names the nearest.
        """
        if not isinstance(which, str):
            return self.records[which]
        found = [one for one in self.records if one.slug == which]
        if not found:
            near = get_close_matches(which, [one.slug for one in self.records], 1)
            raise UnknownMethod(f"no method {which!r}{f'; did you mean {near[0]!r}?' if near else ''}")
        return found[0]

    def __iter__(self) -> Iterator[Method]:
        return iter(self.records)

    def select(self, *, without: str | Sequence[str] = (), **wanted: str | bool) -> Methods:
        """Those that have all of the given properties, and need nothing of `without`.

        Args:
            without: one of the values of "needs", or several.
            wanted: field = value; a field that holds several must hold this one.
        Raises: InvalidInput: no such field or value.

        >>> [m.slug for m in methods().select(training="free", stage="pre-LLM", family="prune", without=["attention weights"])]
        ['divprune', 'random', 'uniform-grid']
        """
        unwanted = (without,) if isinstance(without, str) else tuple(without)
        for field, value in [*wanted.items(), *(("needs", one) for one in unwanted)]:
            if field == "restores" and isinstance(value, bool):
                continue
            if value not in self.values(field):
                raise InvalidInput(f"{field} is never {value!r}; there are {', '.join(self.values(field))}")
        return Methods(
            tuple(
                one
                for one in self.records
                if not set(unwanted) & set(one.needs)
                and all(
                    value in getattr(one, field) if field in _LISTS else value == getattr(one, field)
                    for field, value in wanted.items()
                )
            )
        )

    def json(self) -> str:
        """A JSON list of objects; `from_json` reads it."""
        return json.dumps([asdict(one) for one in self.records], ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Methods:
        """What `json` wrote.

        Raises: InvalidInput: it is not JSON, or a record is not complete.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidInput(f"the list of methods is not JSON: {error}") from error
        return cls(tuple(_method(record) for record in content))

    def csv(self) -> str:
        """A table with a head line; fields with several values are joined by semicolons. `from_csv` reads it."""
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        table.writerow(_FIELDS)
        table.writerows([_cell(getattr(one, field)) for field in _FIELDS] for one in self.records)
        return out.getvalue()

    @classmethod
    def from_csv(cls, text: str) -> Methods:
        """What `csv` wrote.

        Raises: InvalidInput: another head line, or a record is not complete.
        """
        rows = list(csv.reader(io.StringIO(text)))
        if not rows or rows[0] != _FIELDS:
            raise InvalidInput(f"the table of methods must begin with the line {','.join(_FIELDS)}")
        return cls(tuple(_method(_read(row)) for row in rows[1:]))

    def markdown(self) -> str:
        """A table for a page; `from_markdown` reads it."""
        lines = [_FIELDS, ["---"] * len(_FIELDS)]
        lines += [[_cell(getattr(one, field)).replace("|", "\\|") for field in _FIELDS] for one in self.records]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    @classmethod
    def from_markdown(cls, text: str) -> Methods:
        """What `markdown` wrote.

        Raises: InvalidInput: another head line, or a record is not complete.
        """
        rows = [
            [cell.strip().replace("\0", "|") for cell in line.replace("\\|", "\0").strip().strip("|").split("|")]
            for line in text.splitlines()
            if line.strip()
        ]
        if not rows or rows[0] != _FIELDS:
            raise InvalidInput(f"the table of methods must begin with the columns {', '.join(_FIELDS)}")
        return cls(tuple(_method(_read(row)) for row in rows[2:]))


_FIELDS = [field.name for field in fields(Method)]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "; ".join(value) if isinstance(value, tuple) else str(value)


def _read(row: list[str]) -> dict[str, Any]:
    record: dict[str, Any] = dict(zip(_FIELDS, row))
    if len(row) != len(_FIELDS) or not record["year"].isdigit() or record["restores"] not in ("yes", "no"):
        raise InvalidInput(f"not a method: {row}")
    lists = {field: [part for part in record[field].split("; ") if part] for field in _LISTS}
    return {**record, **lists, "year": int(record["year"]), "restores": record["restores"] == "yes"}


def _method(record: Any) -> Method:
    """A checked record.

    Raises: InvalidInput: a field is missing, unknown, or has a value that is not of the taxonomy.
    """
    if not isinstance(record, dict) or set(record) != set(_FIELDS):
        raise InvalidInput(f"a method has the fields {', '.join(_FIELDS)}, not {sorted(record)}")
    name = record["slug"]
    for field, allowed in _VALUES.items():
        given = record[field] if field in _LISTS else [record[field]]
        if not isinstance(given, list) or (bad := [value for value in given if value not in allowed]):
            raise InvalidInput(f"method {name!r}: {field} is {bad if isinstance(given, list) else given!r}; there are {', '.join(allowed)}")  # fmt: skip
    if not isinstance(record["year"], int) or not isinstance(record["restores"], bool):
        raise InvalidInput(f"method {name!r}: year is a number, restores is true or false")
    return Method(**{**record, **{field: tuple(record[field]) for field in _LISTS}})


@cache
def methods() -> Methods:
    """The list that travels with the package.

    >>> methods()["divprune"].needs
    ()
    """
    content = tomllib.loads((Path(__file__).parent / "methods.toml").read_text(encoding="utf-8"))
    found = Methods(tuple(_method(record) for record in content["method"]))
    slugs = [one.slug for one in found]
    assert len(set(slugs)) == len(slugs)
    return found
