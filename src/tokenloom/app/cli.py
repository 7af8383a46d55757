"""`tokenloom`: one command a file; what is heavy is imported inside the commands, so that help is quick."""

import sys

import typer

from ..core.errors import TokenloomError
from .bench import bench
from .encode import encode
from .evidence import evidence
from .generate import generate
from .measure.command import measure
from .papers import papers
from .train import train
from .transfer import transfer
from .verify import verify

__all__ = ["app", "main"]

app = typer.Typer(
    help="One toolkit for tokens: cut, look inside, move, reduce and predict them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(train, name="train")
app.add_typer(bench, name="bench")
app.command()(encode)
app.command()(verify)
app.command()(measure)
app.command()(transfer)
app.command()(generate)
app.command()(papers)
# What evidence does not know belongs to the system's own experiment.
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(evidence)


def main() -> None:
    """Run the command line; an error of ours is one red line on standard error and exit code 1."""
    try:
        app()
    except TokenloomError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(1)
