"""`tokenloom evidence SLUG`: run again what the library claims about one system."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evidence"]


def evidence(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The system, as `tokenloom papers` names it.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of result.json and pictures.", show_default="results/SLUG")
    ] = None,
) -> None:
    """Run the experiment of one system again and write its result.json and pictures.

    Each system has further options: `tokenloom evidence SLUG -- --help`.
    """
    from ..core.catalogue import catalogue
    from ..core.errors import UnknownMethod

    # A paper with two methods is one entry; the second has evidence under its own name.
    part = any(slug in system.parts for system in catalogue().values())
    module = f"tokenloom.evidence.{slug.replace('-', '_')}" if part else catalogue()[slug].evidence
    if not module:
        raise UnknownMethod(
            f"{slug} is {catalogue()[slug].status}: it has no evidence yet; `tokenloom papers` shows what has"
        )
    # The module's own function says which options there are; nothing but the catalogue says which module.
    run = import_module(module).run
    own = typer.Typer(add_completion=False)
    own.command()(run)
    folder = out or Path("results") / slug
    typer.main.get_command(own).main(
        [str(folder), *context.args], prog_name=f"tokenloom evidence {slug}", standalone_mode=False
    )
    if (folder / "result.json").is_file():  # --help writes none
        typer.echo(str(folder / "result.json"))
