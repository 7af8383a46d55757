"""What every `tokenloom train` command does around its algorithm: look before, show the way, save, tell what came out."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..core.errors import StoreError
from ..core.pretrained import MANIFEST
from ..data.corpus import find_sources
from ..data.documents import read_corpus
from .target import check_file, check_place

if TYPE_CHECKING:
    from ..hosts.host import HostTokenizer

__all__ = ["Told", "run"]

Told = Callable[[str, int, int | None], None]

_SAMPLE, _STRETCH = 4_000_000, 50_000  # characters


class _Sample:
    """Stretches from all over a stream of texts: every one, then every second, every fourth …, as it grows."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._stride, self._number, self._size = 1, 0, 0

    def add(self, text: str) -> None:
        for begin in range(0, len(text), _STRETCH):
            if self._number % self._stride == 0:
                self.texts.append(text[begin : begin + _STRETCH])
                self._size += len(self.texts[-1])
                if self._size > _SAMPLE:
                    self.texts, self._stride = self.texts[::2], 2 * self._stride
                    self._size = sum(map(len, self.texts))
            self._number += 1


def run(
    learn: Callable[[Iterator[str], Told], "HostTokenizer"],
    *,
    inputs: Sequence[Path],
    out: Path,
    folder: bool,
    split: str,
    field: str,
    force: bool,
    quiet: bool,
) -> None:
    """Learn from the documents of `inputs` and write the tokenizer to `out`.

    Args:
        learn: from documents and a progress function to a tokenizer.
        inputs: files and folders.
        out: the file to write, or the folder.
        folder: which of both.
        split, field: as for `read_corpus`.
        force: write over what is there.
        quiet: no progress bar and no table.
    Raises: StoreError: `out` is there already, or cannot be there. CorpusError: a document cannot be read.
    """
    _check(out, folder, force)
    sources = find_sources(inputs)
    plain = all(source.kind == "text" and not source.packing for source in sources)
    total = sum(source.size for source in sources) if plain else None
    sample = _Sample()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    began = perf_counter()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("reading", total=total)

        def texts() -> Iterator[str]:
            for text in read_corpus([str(path) for path in inputs], split=split, field=field):
                sample.add(text)
                yield text
                bar.advance(task, len(text.encode("utf-8", "surrogatepass")))
            bar.update(task, description="learning", completed=0, total=None)

        def told(what: str, done: int, of: int | None) -> None:
            if of is not None:  # how much is read is known already
                bar.update(task, description=what, completed=done, total=of)

        tokenizer = learn(texts(), told)
    seconds = perf_counter() - began
    tokenizer.save(out)
    if not quiet:
        _table(tokenizer, sample.texts, seconds, inputs, out)


def _check(out: Path, folder: bool, force: bool) -> None:
    """Refuse what could not be written, before hours of work."""
    if not folder:
        check_file(out, "tokenizer.json", force)
        return
    check_place(out)
    if out.is_file():
        raise StoreError(f"{out} is a file, but this tokenizer is saved as a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise StoreError(f"{out} is a folder with other things in it; name a new one")
    if out.exists() and not force:
        raise StoreError(f"{out} is there already; --force writes over it")


def _table(tokenizer: "HostTokenizer", texts: list[str], seconds: float, inputs: Sequence[Path], out: Path) -> None:
    special = int(tokenizer.vocab.special_ids.size)
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    rows = [("vocabulary", f"{len(tokenizer.vocab):,} ids" + f", {special} of them special" * (special > 0))]
    if (merges := _merges(tokenizer)) is not None:
        rows.append(("merges", f"{merges:,}"))
    rows += [
        (
            "bytes per token",
            f"{size / max(1, tokenizer.encode_batch(texts).ids.size):.3f}, on {size / 1e6:.1f} MB of the input",
        ),
        ("seconds", f"{seconds:.1f}"),
        ("written", escape(str(out))),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows:
        table.add_row(name, value)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    command = shlex.join(["tokenloom", "encode", *map(str, inputs), "--tokenizer", str(out), "--out", "tokens"])
    console.print(f"\nnext: {escape(command)}")


def _merges(tokenizer: "HostTokenizer") -> int | None:
    """How many merges the file has; None for what has none."""
    spec = tokenizer.spec
    model = json.loads(spec["text"])["model"] if spec["format"] == "tokenizer.json" else {}
    return len(model["merges"]) if model.get("merges") else None
