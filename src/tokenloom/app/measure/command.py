"""The command: what is asked is looked at first, then measured, then written."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.errors import InvalidInput, require
from ..given import read_text
from ..target import check_file

if TYPE_CHECKING:
    from ...measure.comparison import Comparison
    from ...measure.parity import Parallel
    from .report import Sources

__all__ = ["measure"]

_EMBEDDED = "udhr-parallel-13"


def measure(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[INPUT]...",
            help="Files, and folders of them, as for `encode`; without any, the aligned text is the text.",
            show_default=False,
        ),
    ] = None,
    tokenizer: Annotated[
        list[str] | None,
        typer.Option(
            "--tokenizer",
            "-t",
            metavar="[NAME=]T",
            help="A name, file or folder: gpt2, ./tokenizer.json, mine=models/tokenizer.json … Once for each; the first is what the "
            "others are compared with.",
            show_default="tokenloom-en-16k",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.html", help="The report, a page that stands alone.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all figures as JSON, one object each, instead of a table.")
    ] = False,
    language: Annotated[
        str | None,
        typer.Option(
            metavar="CODE", help="Language of the text: tr, fi or de. Adds %TR and %Pure, and boundaries of morphemes."
        ),
    ] = None,
    lexicon: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Words of the language, for %TR and %Pure: one a line, or a Hunspell .dic."),
    ] = None,
    morphology: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Words and their morphemes, for boundaries: word, tab, parts with | between.",
            show_default="embedded for tr, fi, de",
        ),
    ] = None,
    parallel: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.tsv",
            help="The same content in several languages, a column each, their names in the first line.",
            show_default="28 articles in 13 languages",
        ),
    ] = None,
    base: Annotated[str, typer.Option(metavar="CODE", help="The language whose premium is 1.")] = "en",
    split: Annotated[
        str, typer.Option(metavar="file|paragraph|line", help="What is a document in plain text.")
    ] = "file",
    field: Annotated[str, typer.Option(metavar="NAME", help="Where .jsonl and .parquet have the text.")] = "text",
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Of the resampling behind the intervals.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write over a report that is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")] = False,
) -> None:
    """Compare tokenizers on a text: how many tokens, words cut, languages that pay more, numbers, speed.

    Example: tokenloom measure corpus/ -t tokenloom-en-16k -t llama=llama/tokenizer.json -o report.html

    Every figure has an interval where it is an estimate. tokenloom.measure.compare does the same in Python.
    """
    import numpy as np
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from ...data import sample
    from ...data.corpus import find_sources
    from ...hosts import load_tokenizer
    from ...hosts.lexicons import load_lexicon
    from ...measure.comparison import compare
    from ...measure.morphology import read_segmentations
    from ...measure.parity import read_parallel
    from .report import Sources, write_report

    if out is not None:
        check_file(out, "report.html", force)
        require("matplotlib", "plot")
    tokenizers = {name: load_tokenizer(spec) for name, spec in _names(tokenizer or ["tokenloom-en-16k"]).items()}
    aligned = read_parallel(sample(_EMBEDDED) if parallel is None else read_text(parallel), str(parallel or _EMBEDDED))
    if base not in aligned.languages:
        raise InvalidInput(f"--base {base}: the aligned text has {', '.join(aligned.languages)}")
    words = _listed(morphology, language)
    known = load_lexicon(asked, language) if (asked := lexicon or language) else None
    sources = find_sources(inputs) if inputs else []
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        plain = all(source.kind == "text" and not source.packing for source in sources)
        task = bar.add_task("measuring", total=sum(s.size for s in sources) if plain and sources else None)
        found = compare(
            tokenizers,
            _texts(inputs, aligned, language, split, field),
            rng=np.random.default_rng(seed),
            parallel=aligned,
            base=base,
            words=None if words is None else read_segmentations(*words),
            lexicon=known,
            language=language,
            progress=lambda done: bar.update(task, completed=done),
        )
    told = Sources(
        command=shlex.join(["tokenloom", *sys.argv[1:]]),
        texts=", ".join(map(str, inputs)) if inputs else _aligned_name(parallel, language, aligned),
        parallel="the Universal Declaration of Human Rights, embedded" if parallel is None else str(parallel),
        words="" if words is None else words[1],
        lexicon="" if known is None else str(lexicon or f"the {type(known).__name__} analyser"),
    )
    if out is not None:
        write_report(out, found, told)
    if as_json:
        typer.echo(json.dumps(_as_json(found, told), indent=2, ensure_ascii=False))
    elif not quiet:
        _table(found, out)


def _names(specs: Sequence[str]) -> dict[str, str]:
    """Name → tokenizer, as given or made of the path; no two alike."""
    named: dict[str, str] = {}
    for spec in specs:
        name, equals, path = spec.partition("=")
        if not equals:
            name, path = Path(spec).stem or spec, spec
            if name in ("tokenizer", "encoder", "spiece"):
                name = Path(spec).resolve().parent.name
        if not name or not path:
            raise InvalidInput(f"--tokenizer {spec}: write NAME=FILE, or FILE alone")
        if name in named:
            raise InvalidInput(f"two tokenizers are called {name}; write NAME=FILE for one of them")
        named[name] = path
    return named


def _listed(morphology: Path | None, language: str | None) -> tuple[str, str] | None:
    """The list of segmented words and what it is called; None where there is none."""
    from ...data import sample, samples

    if morphology is not None:
        return read_text(morphology), str(morphology)
    if language is not None and f"morph-{language}" in samples():
        return sample(f"morph-{language}"), f"morph-{language}, embedded, made by an analyser and not checked by hand"
    return None


def _texts(
    inputs: Sequence[Path] | None, aligned: "Parallel", language: str | None, split: str, field: str
) -> Iterator[str]:
    from ...data.documents import read_corpus

    if inputs:
        yield from read_corpus([str(path) for path in inputs], split=split, field=field)
    elif language in aligned.languages:
        yield from aligned.column(language)
    else:
        for row in aligned.rows:
            yield from row


def _aligned_name(parallel: Path | None, language: str | None, aligned: "Parallel") -> str:
    name = "The Universal Declaration of Human Rights, embedded" if parallel is None else str(parallel)
    return f"{name}, {language}" if language in aligned.languages else f"{name}, all languages"


def _as_json(found: "Comparison", told: "Sources") -> dict[str, object]:
    import tokenloom as tl

    return {
        "tokenloom": tl.__version__,
        "command": told.command,
        "text": {
            "inputs": told.texts,
            "documents": found.text.documents,
            **{name: int(sums.sum()) for name, sums in found.text.sums.items()},
            "distinct words": len(found.text.words),
        },
        "tokenizers": {
            name: {"ids": len(tok.vocab), "engine": getattr(tok, "engine", ""), "digest": tok.digest}
            for name, tok in found.tokenizers.items()
        },
        "records": found.as_dicts(),
        "costly words": {
            name: [
                {"word": w.text, "occurrences": w.occurrences, "tokens": w.tokens}
                for w in found.costly_words(name)
            ]
            for name in found.tokenizers
        },
    }  # fmt: skip


_SHOWN = (
    "tokens",
    "relative tokens",
    "bytes per token",
    "fertility",
    "continued words",
    "unknown bytes",
    "used",
    "renyi efficiency",
    "worst premium",
    "boundary f1",
    "hard words",
    "words of occurrences",
    "pure of occurrences",
    "speed",
)


def _table(found: "Comparison", out: Path | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ...measure.metrics import METRICS
    from .figures import number
    from .report import verdicts

    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="bold")
    table.add_column("", no_wrap=True)
    for name in found.tokenizers:
        table.add_column(escape(name), justify="right")
    for metric in _SHOWN:
        records = [found.get(name, metric) for name in found.tokenizers]
        if all(records):
            unit = METRICS[metric].unit
            title = METRICS[metric].title + (f", {unit}" if unit == "MB/s" else "")
            table.add_row(title, *(number(record) for record in records if record))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for said in verdicts(found):
        console.print(escape(said))
    if out is None:
        console.print("\nnext: --out report.html for words, languages, intervals and pictures")
    else:
        console.print(f"\nwritten: {escape(str(out))}")
