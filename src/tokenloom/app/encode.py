"""`tokenloom encode`: from text to shards that a trainer reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..data.encode import Progress
    from ..data.manifest import Manifest

__all__ = ["encode"]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def _size(text: str) -> int:
    """Bytes of "256MB" and the like."""
    number = text.strip().rstrip("BKMGIbkmgi ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} is no size; write 256MB or 1GiB") from error
    if size < 1:
        raise typer.BadParameter(f"{text!r}: a shard holds at least one byte of input")
    return size


def encode(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Files, and folders of them: .jsonl (one object a line), .parquet, anything else is plain text; "
            ".gz or .zst around it is unpacked.",
        ),
    ],
    tokenizer: Annotated[
        str,
        typer.Option(
            "--tokenizer", "-t", metavar="T", help="A name, file or folder: gpt2, tokenloom-en-16k, ./tokenizer.json …"
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the shards; new, or of the same command.")
    ],
    stochastok: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="P", help="Split tokens at random, P attempts a token; 0.1 is usual."),
    ] = None,
    epochs: Annotated[
        int, typer.Option(min=1, metavar="E", help="With --stochastok: passes over the corpus, each split anew.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Of the splits.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="W", help="Processes; the bytes do not depend on it.", show_default="one a core"),
    ] = None,
    format: Annotated[
        str, typer.Option(metavar="megatron|parquet", help="Shards as .bin and .idx, or as .parquet.")
    ] = "megatron",
    split: Annotated[
        str,
        typer.Option(
            metavar="file|paragraph|line",
            help="What is a document in plain text. A file of more than 8 MiB is several, cut at line ends.",
        ),
    ] = "file",
    field: Annotated[str, typer.Option(metavar="NAME", help="Where .jsonl and .parquet have the text.")] = "text",
    append_eot: Annotated[
        bool | None,
        typer.Option(
            "--append-eot/--no-append-eot",
            help="End-of-text token behind each document.",
            show_default="if the vocabulary has one",
        ),
    ] = None,
    shard_size: Annotated[str, typer.Option(metavar="SIZE", help="Input of one shard.")] = "256MB",
    on_error: Annotated[
        str, typer.Option(metavar="stop|skip", help="skip leaves out what cannot be read and names it in the manifest.")
    ] = "stop",
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="tokenizers|fastokens", help="What does the cutting.", show_default="the fastest that is exact"
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")] = False,
) -> None:
    """Turn text into shards of token ids that a trainer reads.

    Example: tokenloom encode corpus/ more.jsonl.zst -t tokenloom-en-16k -o tokens --stochastok 0.1

    Stopped or killed, the same command again goes on where it was, to the same bytes.

    `tokenloom verify DIR` checks the result, tokenloom.data.open_shards(DIR) reads it.
    """
    from time import perf_counter

    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from ..data.encode import encode_corpus
    from ..hosts import load_tokenizer

    shard_bytes = _size(shard_size)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    seen: list[Progress] = []
    with Bar(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("loading", total=None, speed="")
        tok = load_tokenizer(tokenizer, engine=engine)
        look = None
        if stochastok is not None:
            from ..tokenize.text.stochastok import StochasTok

            look = StochasTok(tok.vocab, stochastok)
        began = perf_counter()

        def show(progress: "Progress") -> None:
            seen[1:] = [progress]
            bar.update(
                task,
                description="encoding",
                completed=progress.read,
                total=progress.size,
                speed=_speed(seen[0], progress, perf_counter() - began),
            )

        manifest = encode_corpus(
            inputs,
            out,
            tokenizer=tok,
            look=look,
            epochs=epochs,
            seed=seed,
            format=format,
            split=split,
            field=field,
            append_eot=append_eot,
            shard_bytes=shard_bytes,
            on_error=on_error,
            workers=workers,
            progress=show,
        )
        seconds = perf_counter() - began
    if not quiet:
        speed = f"{_speed(seen[0], seen[-1], seconds)}, {seconds:.1f} s" if seen else "nothing to do: it is complete"
        _table(manifest, speed, out)


def _speed(before: "Progress", now: "Progress", seconds: float) -> str:
    text, tokens = (now.bytes - before.bytes) / seconds, (now.tokens - before.tokens) / seconds
    return f"{text / 1e6:.1f} MB/s, {tokens / 1e6:.1f} M tokens/s"


def _table(manifest: "Manifest", speed: str, out: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    totals, epochs = manifest.totals, manifest.settings["epochs"]
    size, plain = totals["bytes"], totals["plain_tokens"]
    rows = [
        ("documents", f"{totals['documents'] // epochs:,}" + f", {epochs} times" * (epochs > 1)),
        ("text", f"{size:,} bytes"),
        ("tokens", f"{totals['tokens']:,}"),
        ("bytes per token", f"{size / max(1, plain):.3f}"),
    ]
    if manifest.settings["perturbation"]:
        split = totals["split_tokens"]
        rows[-1:] = [
            (
                "bytes per token",
                f"{size * epochs / max(1, plain * epochs + split):.3f}, unsplit {size / max(1, plain):.3f}",
            ),
            ("split tokens", f"{split / max(1, plain * epochs):.2%}"),
        ]
    if manifest.skipped:
        rows.append(("skipped", f"{len(manifest.skipped):,}, named in {escape(str(out / 'manifest.json'))}"))
    ledger = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in manifest.ledger.items() if value)
    rows += [
        ("throughput", speed),
        ("ledger", ledger),
        ("shards", f"{len(manifest.shards):,} ({manifest.settings['format']}) in {escape(str(out))}"),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows:
        table.add_row(name, value)
    Console(highlight=False, soft_wrap=True).print(table)
