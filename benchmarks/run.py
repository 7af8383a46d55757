"""Run all benchmarks of this folder, or those named, and print one table.

    python benchmarks/run.py [--quick] [NAME ...]

A benchmark is a module with `run(quick) -> list[dict]`: rows of name, ours, theirs, ratio, bar, note. A bar "≥ 8×" is for
the ratio, "≤ 1" for ours; "" or None means that there is none.
"""

import argparse
import importlib
import operator
import re
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["main", "met", "show"]

_HERE = Path(__file__).parent
_COLUMNS = ("name", "ours", "theirs", "ratio", "bar", "note")
_BAR = re.compile(r"([≤≥])\s*([\d.]+)\s*(×?)")
_NUMBER = re.compile(r"[\d.]+")


def met(row: dict[str, Any]) -> bool | None:
    """Whether a row reaches its bar; None when it has none."""
    if not (bar := _BAR.match(str(row["bar"] or ""))):
        return None
    compare = operator.le if bar[1] == "≤" else operator.ge
    value = row["ratio"] if bar[3] else row["ours"]
    return compare(value if isinstance(value, int | float) else float(_NUMBER.search(value)[0]), float(bar[2]))


def show(rows: list[dict[str, Any]]) -> bool:
    """Print the rows; returns whether all bars were reached."""
    table = Table(*_COLUMNS[:-1], "met", "note")
    for row in rows:
        reached = {True: "[green]yes", False: "[bold red]no", None: ""}[met(row)]
        cells = [_text(row[column]) for column in _COLUMNS]
        table.add_row(*cells[:-1], reached, cells[-1])
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return all(met(row) is not False for row in rows)


def _text(value: Any) -> str:
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    """Parse the arguments, run, print; exit status 1 when a bar was missed."""
    modules = sorted(path.stem for path in _HERE.glob("*.py") if "\ndef run(" in path.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description="Run the benchmarks and print one table.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(modules)}; all without")
    parser.add_argument("--quick", action="store_true", help="less work, rougher figures")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(modules):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(modules)}")
    rows = []
    for name in arguments.names or modules:
        print(f"running {name} ...", file=sys.stderr)
        rows += importlib.import_module(name).run(quick=arguments.quick)
    sys.exit(0 if show(rows) else 1)


if __name__ == "__main__":
    main()
