"""`tokenloom verify`: is a folder of shards what its manifest says?"""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["verify"]


def verify(
    folder: Annotated[Path, typer.Argument(help="A folder that `tokenloom encode` wrote.", metavar="DIR")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; the exit code says it.")] = False,
) -> None:
    """Check sizes, SHA-256, counts and ids of every file the manifest lists; exit code 1 when one is wrong."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
    from rich.table import Table

    from ..data.manifest import verify_shards

    columns = (BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("verify", total=None)
        manifest = verify_shards(folder, progress=lambda done, total: bar.update(task, completed=done, total=total))
    if quiet:
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    vocabulary = f"{escape(manifest.tokenizer['name'])}, {manifest.tokenizer['vocab_size']:,} tokens"
    for name, value in (
        ("shards", f"{len(manifest.shards):,} ({manifest.settings['format']})"),
        ("documents", f"{manifest.totals['documents']:,}"),
        ("tokens", f"{manifest.totals['tokens']:,}"),
        ("bytes on disk", f"{sum(file['bytes'] for shard in manifest.shards for file in shard['files']):,}"),
        ("tokenizer", vocabulary),
        ("skipped inputs", f"{len(manifest.skipped):,}"),
    ):
        table.add_row(name, value)
    console = Console(highlight=False)
    console.print(table)
    console.print("ok")
