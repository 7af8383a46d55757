"""`tokenloom bench`: methods of one kind side by side, measured here."""

import base64
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Annotated, Any

import typer

from .page import table, write_page
from .target import check_file

__all__ = ["bench"]

bench = typer.Typer(help="Compare the methods of one kind.", no_args_is_help=True)

_HEADS = {
    "seen": ("tokens", "operations saved", "cover, closest", "cover, mean", "cover, farthest", "class token", "saliency", "stability, noise",
             "stability, moved", "spread", "slant, place"),
    "answered": ("tokens", "operations saved", "accuracy, digit", "survival", "accuracy, is there", "yes, invented", "divergence", "agreement",
                 "stability, noise", "slant, place"),
}  # fmt: skip


# What fits a terminal of 80 columns, by shorter names.
_BRIEF = {
    "seen": {"tokens": "tokens", "cover, mean": "cover", "class token": "class token", "saliency": "saliency",
             "stability, noise": "stability"},
    "answered": {"tokens": "tokens", "accuracy, digit": "digit right", "survival": "asked cell left",
                 "yes, invented": "invented", "agreement": "as with all"},
}  # fmt: skip


@bench.callback()
def _bench() -> None:
    """Keeps `reduce` a command of its own while it is the only one."""


@bench.command(name="reduce")
def bench_reduce(
    archives: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with the packages' archives (see the docs); none with --quick."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.html", help="The report.")] = Path("reduce.html"),
    work: Annotated[Path, typer.Option(metavar="DIR", help="Finished parts and trained models.")] = Path(
        "bench-reduce"
    ),
    keep: Annotated[
        list[float] | None,
        typer.Option(min=0.0, max=1.0, metavar="SHARE", help="Of the tokens.", show_default="0.5, 0.25, 0.11"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Of noise, of draws, of the model that answers.")] = 3,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes.")] = 2,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Generated digits and noise, models hardly trained: a minute, to see that it runs."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a report that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON, and no table.")] = False,
) -> None:
    """All token reducers in one table: what they keep, what a model still sees and answers, and how long choosing takes.

    Example: tokenloom bench reduce --archives packages/ -o reduce.html

    An interrupted run goes on where it stopped: what is finished is in the folder of --work.
    """
    from rich.console import Console

    from ..evidence.token_reduction_position import KEEPS, measure
    from ..evidence.token_reduction_position.gallery import draw_gallery

    check_file(out, "reduce.html", force)
    console = Console(stderr=True)
    shares = tuple(keep or KEEPS)
    with console.status("measuring") as status:
        found = measure(
            work, archives=archives, keeps=shares, seeds=seeds, workers=workers, quick=quick,
            progress=lambda part: status.update(f"measured {part}"),
        )  # fmt: skip
        middle = sorted(shares)[len(shares) // 2]
        pictures = []
        if archives is not None and not quick:
            pictures = [work / name for name in draw_gallery(archives, work / ".trials" / "models", work, middle)]
    write_page(out, "tokenloom bench reduce", _sections(found, pictures, middle, seeds), look="figures")
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    _show(found, f"{middle:g}")
    typer.echo(str(out))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _cell(values: list[float] | None, *, spread: bool = True) -> str:
    """Mean and, of several seeds, half of the range."""
    if not values:
        return "–"
    mean, half = _mean(values), (max(values) - min(values)) / 2
    digits = 1 if abs(mean) >= 10 else 3
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if spread and half > 0.5 * 10**-digits else "")


def _show(found: Mapping[str, Any], keep: str) -> None:
    from rich.console import Console
    from rich.table import Table

    for part, heads in _BRIEF.items():
        title = f"{found['what'][part]}, {keep} of the tokens"
        shown = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
        shown.add_column("reducer", no_wrap=True)
        for head in heads.values():
            shown.add_column(head, justify="right", no_wrap=True)
        for name, measures in found[part][keep].items():
            shown.add_row(name, *(_cell(measures.get(head), spread=False) for head in heads))
        Console(highlight=False).print(shown, "")


def _sections(found: Mapping[str, Any], pictures: list[Path], middle: float, seeds: int) -> list[str]:
    opening = (
        "<header><p class='kicker'>tokenloom bench reduce</p><h1>Fewer tokens, and what they cost</h1>"
        f"<p class='lede'>Every reducer at the same shares of tokens; {seeds} seed{'s' * (seeds > 1)}, means and half of the range. "
        "Those that leave as many tokens save the same operations; they differ in everything else. Where a method can not leave the share that was asked, the nearest it can is shown.</p></header>"
    )
    sections = [opening]
    for picture in pictures:
        data = base64.b64encode(picture.read_bytes()).decode()
        sections.append(
            f"<figure><img alt='what each reducer leaves of {escape(picture.stem.removeprefix('kept-'))}' src='data:image/png;base64,{data}'>"
            f"<figcaption>{middle:g} of the patches: kept as they are, merged in colour, dropped pale.</figcaption></figure>"
        )
    for part, heads in _HEADS.items():
        for keep, measured in found[part].items():
            rows = [
                [escape(name), *(_cell(measures.get(head)) for head in heads)] for name, measures in measured.items()
            ]
            sections.append(
                f"<section><h2>{found['what'][part]}, {keep} of the tokens</h2><p class='soft'>{_EXPLAINED[part]}</p>"
                + table(["reducer", *heads], rows, numbers=len(heads)) + "</section>"
            )  # fmt: skip
    sizes = list(found["milliseconds"])
    names = dict.fromkeys(name for size in sizes for name in found["milliseconds"][size])
    rows = [[escape(name), *(f"{found['milliseconds'][size][name]:.1f}" if name in found["milliseconds"][size] else "–" for size in sizes)]
            for name in names]  # fmt: skip
    sections.append(
        "<section><h2>Time to choose</h2><p class='soft'>Milliseconds of one thread, 11% of the tokens, random features; reducers of grids "
        "work crop by crop and are timed for one.</p>"
        + table(["reducer", *(f"{size} tokens" for size in sizes)], rows, numbers=len(sizes)) + "</section>"
    )  # fmt: skip
    return sections


_EXPLAINED = {
    "seen": "Operations saved: of the prompt of LLaVA-1.5-7B with so many visual tokens left. Cover: distance (1 - cosine) of the two nearest tokens left, and of all tokens to the nearest left, mean and largest. "
    "Class token: its cosine with the whole picture's when the middle block is reduced; saliency: correlation of the map after lifting. "
    "Stability: Jaccard similarity of what is kept under noise, and one patch farther. Spread: evenness over 4 x 4 parts. "
    "Slant: how far below the middle, whatever is shown.",
    "answered": "A model of 138k parameters, trained without reducers. Survival: the asked cell is among the tokens left. "
    "Invented: yes, where the digit is not there. Divergence and agreement: with the answers from all tokens.",
}
