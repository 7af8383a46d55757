"""The demo as a command: what it says on the terminal, and in which order."""

import sys
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.errors import TokenloomError
from .size import Size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

    from ...core.drawing import Drawing
    from ...core.tokenizer import Tokenizer
    from ...data.manifest import Manifest
    from .run import Outcome

__all__ = ["demo", "main"]


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for all of it; a new one, or an earlier demo's.")
    ] = Path("demo"),
) -> None:
    """Train a vocabulary and two small models on embedded text, and write a page about what StochasTok changes.

    Takes some minutes on two cores and no network. The last line is the path of the page.
    """
    from rich.console import Console

    run_demo(out, Size(), Console(highlight=False))


def run_demo(out: Path, size: Size, console: "Console") -> "Outcome":
    """Do everything, and tell of it on the console."""
    began = perf_counter()
    with console.status("loading torch, compiling the kernels (the first time takes a little longer) …"):
        from . import run
        from .report import write_report

        run.empty_folder(out)
        held_out = run.write_corpus(out / "corpus")
        tok = run.learn_vocabulary(out / "corpus", out / "tokenizer.json", size)
        manifests = run.encode(out / "corpus", tok, out / "tokens", size)
    _tell_tokens(console, tok)
    _tell_manifests(console, manifests)

    console.print("\n[bold]Two models, one difference[/]")
    models, learnt, seconds = {}, {}, {}
    with run.one_thread(), _bar(console) as bar:
        for condition in run.CONDITIONS:
            task = bar.add_task(condition, total=size.steps, bits="")
            show = partial(_show, bar, task)
            started = perf_counter()
            models[condition], learnt[condition] = run.train(out / "tokens" / condition, size, show)
            seconds[condition] = perf_counter() - started
            models[condition].save_pretrained(out / "models" / condition)

    with run.one_thread(), console.status("asking both …"):
        texts = [text for paragraphs in held_out.values() for text in paragraphs]
        end = manifests["plain"].tokenizer["end_of_text"]
        bits = {c: run.measure_bits(model, tok, texts, end, size) for c, model in models.items()}
        by_text = run.find_prompts(tok, held_out, size)
        shown = [prompts[0] for prompts in by_text.values() if prompts]
        prompts = run.choose(by_text, size.prompts)
        next_ = {c: run.compare_next(model, prompts) for c, model in models.items()}
        said = {c: [run.continue_prompt(model, tok, prompt, end) for prompt in shown] for c, model in models.items()}
    outcome = run.Outcome(
        folder=out,
        size=size,
        tokenizer=tok,
        manifests=manifests,
        parameters=sum(weight.numel() for weight in models["plain"].parameters()),
        learnt=learnt,
        bits=bits,
        held_out=sum(len(text.encode()) for text in texts),
        same={c: same for c, (same, _) in next_.items()},
        moved={c: moved for c, (_, moved) in next_.items()},
        prompts=len(prompts),
        shown=shown,
        said=said,
        seconds={**seconds, "all": perf_counter() - began},
    )
    write_report(out / "report.html", outcome)
    _tell_findings(console, outcome)
    console.print(f"\n[dim]{outcome.seconds['all']:.0f} s. Open this page in a browser:[/]")
    console.print(str(out / "report.html"), markup=False, soft_wrap=True)
    return outcome


def _tell_tokens(console: "Console", tok: "Tokenizer") -> None:
    import numpy as np
    from rich.table import Table

    import tokenloom as tl

    from ...core.drawing import Drawing
    from .report import SENTENCE, well_split_words

    seg, look = tok.encode(SENTENCE), tl.StochasTok(tok.vocab, 0.5)
    console.print(f"\n[bold]What a model sees[/], with a vocabulary of {len(tok.vocab):,} tokens\n")
    console.print(" ", _coloured(console, seg.draw()))
    console.print("\n[bold]StochasTok[/]: the same text, split at random (p = 0.5)\n")
    for draw in range(2):
        console.print(" ", _coloured(console, look(seg, rng=np.random.default_rng(draw)).draw()))
    console.print("\nWords of this vocabulary and some of their splits\n")
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2))
    for word in well_split_words(tok.vocab, look.table, 3):
        ways = [Drawing([tok.vocab[int(i)] for i in pair]) for pair in look.table[word][:4]]
        table.add_row(" " + tok.vocab[word].decode(), *(_coloured(console, way) for way in ways))
    console.print(table)


def _tell_manifests(console: "Console", manifests: "Mapping[str, Manifest]") -> None:
    from rich.table import Table

    from .report import summary_rows

    console.print("\n[bold]tokenloom encode[/], plain and with --stochastok 0.1\n")
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    table.add_column("")
    for condition in manifests:
        table.add_column(condition, justify="right")
    for name, values in summary_rows(manifests):
        table.add_row("  " + name, *values)
    console.print(table)


def _tell_findings(console: "Console", outcome: "Outcome") -> None:
    from rich.table import Table

    console.print("\n[bold]What is visible at this scale[/] [dim](bits per byte: less is better)[/]\n")
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    table.add_column("")
    for condition in outcome.bits:
        table.add_column(condition, justify="right")
    for proportion in outcome.bits["plain"]:
        name = "held-out text" if proportion == 0 else f"the same, split at p = {proportion:g}"
        table.add_row(f"  {name}", *(f"{bits[proportion]:.2f} bits/byte" for bits in outcome.bits.values()))
    for pieces in outcome.same["plain"]:
        name = f"  same next token, last word in {pieces} pieces"
        table.add_row(name, *(f"{same[pieces]:.0%}" for same in outcome.same.values()))
    console.print(table)


def _bar(console: "Console") -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("  {task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[bits]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )


def _show(bar: "Progress", task: "TaskID", step: int, bits: float) -> None:
    bar.update(task, completed=step, bits=f"{bits:.2f} bits/byte")


def _coloured(console: "Console", drawing: "Drawing") -> "RenderableType":
    """The drawing, with bars between the tokens where the terminal has no colour."""
    from rich.text import Text

    return Text.from_ansi(str(drawing)) if console.color_system else Text(drawing.plain)


def main() -> None:
    """Run the demo; an error of ours is one red line on standard error and exit code 1."""
    try:
        typer.run(demo)
    except TokenloomError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
