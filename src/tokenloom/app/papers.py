"""`tokenloom papers`: the published systems, and which of them are here."""

import json
from typing import Annotated

import typer

__all__ = ["papers"]

_STYLE = {"proven": "bold green", "built": "cyan", "planned": "dim"}


def papers(
    stage: Annotated[str | None, typer.Option(help="Only this stage, e.g. reduce or tokenize/text.")] = None,
    status: Annotated[str | None, typer.Option(help="Only planned, built or proven.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of objects, one per system.")] = False,
) -> None:
    """List the published systems that tokenloom holds or will hold."""
    from ..core.catalogue import STAGES, catalogue

    systems = catalogue().select(stage=stage, status=status)
    if as_json:
        typer.echo(json.dumps([system.as_dict() for system in systems], indent=2, ensure_ascii=False))
        return

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("system", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("year", no_wrap=True)
    table.add_column("what it does")
    for place in STAGES:
        if there := [system for system in systems if system.stage == place]:
            table.add_row(f"[bold]{place}[/]")
        for system in there:
            style = _STYLE[system.status]
            table.add_row(f"  {system.slug}", f"[{style}]{system.status}[/]", str(system.year), escape(system.summary))
    console = Console(highlight=False)
    console.print(table)
    counts = {s: sum(system.status == s for system in systems) for s in _STYLE}
    console.print(f"\n{len(systems)} systems: {', '.join(f'{n} {s}' for s, n in counts.items() if n)}")
