"""`tokenloom train ALGORITHM`: from text to a vocabulary. A command for each algorithm, with the options it has."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..hosts.host import HostTokenizer
    from .training import Told

__all__ = ["train"]

Learn = Callable[[Iterator[str], "Told"], "HostTokenizer"]

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        help="Files, and folders of them: .jsonl (one object a line), .parquet, anything else is plain text; .gz or .zst "
        "around it is unpacked.",
    ),
]
Size = Annotated[
    int, typer.Option("--vocab-size", "-n", min=1, metavar="N", help="Ids in all, special tokens included.")
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The tokenizer.json to write.")]
Special = Annotated[
    list[str], typer.Option("--special", metavar="TOKEN", help="A token that no text produces; may be given again.")
]
Frequency = Annotated[int, typer.Option(min=1, metavar="F", help="A pair that occurs less often is not merged.")]
Length = Annotated[int | None, typer.Option(min=1, metavar="B", help="Bytes of a token at most.")]
Pattern = Annotated[
    str, typer.Option(metavar="gpt2|cl100k|o200k|REGEX", help="What words are; tokens do not go beyond one.")
]
Seed = Annotated[int, typer.Option(min=0, metavar="S", help="Of what is drawn at random.")]
Split = Annotated[str, typer.Option(metavar="file|paragraph|line", help="What is a document in plain text.")]
Field = Annotated[str, typer.Option(metavar="NAME", help="Where .jsonl and .parquet have the text.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Write over what is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")]
END_OF_TEXT = ["<|endoftext|>"]

train = typer.Typer(no_args_is_help=True)


@train.callback()
def _about() -> None:
    """Learn a vocabulary from text; `tokenloom train ALGORITHM --help` shows the options of each.

    Example: tokenloom train superbpe corpus/ --vocab-size 32000 --out superbpe.json

    `tokenloom encode --tokenizer superbpe.json` uses it.
    """


def _shared(
    inputs: Inputs, split: Split = "file", field: Field = "text", force: Force = False, quiet: Quiet = False
) -> None:
    """The options that all algorithms have, besides --out."""


def _algorithm(
    example: str, *aliases: str, folder: bool = False
) -> Callable[[Callable[..., Learn]], Callable[..., Learn]]:
    """Make a command of a function that takes an algorithm's own options, `out` among them, and returns how to learn.

    With `folder`, the tokenizer is saved as one, unless `out` ends in .json.
    """

    def register(options: Callable[..., Learn]) -> Callable[..., Learn]:
        inputs, *others = inspect.signature(_shared).parameters.values()

        def command(**given: Any) -> None:
            from .training import run

            out, shared = given["out"], {p.name: given.pop(p.name) for p in (inputs, *others)}
            run(options(**given), out=out, folder=folder and out.suffix != ".json", **shared)

        own = inspect.signature(options).parameters.values()
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (inputs, *own, *others)]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        command.__doc__ = options.__doc__
        for name in (options.__name__, *aliases):
            epilog = f"Example: tokenloom train {name} corpus/ {example}"
            train.command(name, epilog=epilog, hidden=name in aliases)(command)
        return options

    return register


@_algorithm("--vocab-size 32000 --out bpe.json")
def bpe(
    vocab_size: Size,
    out: Out,
    pattern: Pattern = "gpt2",
    min_frequency: Frequency = 1,
    max_length: Length = None,
    special: Special = END_OF_TEXT,
) -> Learn:
    """Byte-pair encoding: the most frequent pair becomes a token, again and again."""
    from ..tokenize.text.bpe import BPE

    trainer = BPE(vocab_size, _pattern(pattern), tuple(special), min_frequency, max_length, name=out.stem)
    return lambda texts, told: trainer(texts, progress=told)


@_algorithm("--vocab-size 32000 --transition 26000 --out superbpe.json")
def superbpe(
    vocab_size: Size,
    out: Out,
    transition: Annotated[
        int | None, typer.Option(metavar="T", help="Ids before merges may cross spaces.", show_default="nine tenths")
    ] = None,
    max_words: Annotated[int, typer.Option(min=1, metavar="W", help="Words of a token at most.")] = 4,
    extend: Annotated[
        str | None, typer.Option(metavar="TOKENIZER", help="Instead of a first stage: gpt2, cl100k, a tokenizer.json …")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="With --extend: how many of its ids stay.")
    ] = None,
    dropout: Annotated[
        float, typer.Option(min=0, max=1, metavar="P", help="Share of merges before a space that are dropped for good.")
    ] = 0.0,
    seed: Seed = 0,
    min_frequency: Frequency = 1,
    special: Special = END_OF_TEXT,
) -> Learn:
    """SuperBPE: merges inside words up to a transition, across spaces from there on."""
    import numpy as np

    from ..core.errors import InvalidInput
    from ..hosts import load_tokenizer
    from ..tokenize.text.superbpe import SuperBPE

    if (extend is None) != (keep is None):
        raise InvalidInput("--extend and --keep belong together, such as --extend cl100k --keep 100000")
    if keep is not None and transition is not None:
        raise InvalidInput(f"--transition {transition} is for training from the start; --keep {keep} takes its place")
    start = transition if keep is None else keep
    trainer = SuperBPE(vocab_size, start, max_words, tuple(special), min_frequency, dropout, name=out.stem)
    rng = np.random.default_rng(seed)
    if extend is None:
        return lambda texts, told: trainer(texts, rng=rng, progress=told)
    base = load_tokenizer(extend)
    return lambda texts, told: trainer.extend(base, texts, rng=rng, progress=told)


@_algorithm("--vocab-size 32000 --law 4-8:0.5,9-16:0.5 --out supertokens.json")
def supertokens(
    vocab_size: Size,
    out: Out,
    law: Annotated[
        str | None,
        typer.Option(metavar="A-B:P,…", help="Characters of a chunk, with probability.", show_default="the paper's"),
    ] = None,
    passes: Annotated[int, typer.Option(min=1, metavar="E", help="How often each text is cut, each time anew.")] = 1,
    seed: Seed = 0,
    min_frequency: Frequency = 2,
    max_length: Length = 29,
    special: Special = END_OF_TEXT,
) -> Learn:
    """Supertokens: byte-pair encoding inside chunks that are cut at random, not at spaces."""
    import numpy as np

    from ..tokenize.text.supertokens import ChunkLaw, Supertokens

    chunks = ChunkLaw() if law is None else ChunkLaw(_law(law))
    trainer = Supertokens(vocab_size, chunks, passes, tuple(special), min_frequency, max_length, name=out.stem)
    rng = np.random.default_rng(seed)
    return lambda texts, told: trainer(texts, rng=rng, progress=told)


@_algorithm("--vocab-size 32768 --out kl3m.json", "kl3m-tokenizers")
def kl3m(
    vocab_size: Size,
    out: Out,
    max_chars: Annotated[
        int | None,
        typer.Option(min=1, metavar="C", help="To correct text: tokens of so many bytes at most, none of them custom."),
    ] = None,
    custom: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Custom tokens, one a line.", show_default="the paper's")
    ] = None,
    pad: Annotated[bool, typer.Option("--pad", help="Add runs of spaces up to a power of two.")] = False,
    uncased: Annotated[bool, typer.Option("--uncased", help="Read all text in lower case.")] = False,
    form: Annotated[str, typer.Option(metavar="NFKC|NFC|NFKD|NFD|none", help="How text is normalised.")] = "NFKC",
    min_frequency: Frequency = 10,
) -> Learn:
    """KL3M: tokens chosen by hand for a domain, beside merges; or short tokens only."""
    from ..core.errors import InvalidInput
    from ..tokenize.text.kl3m_tokenizers import KL3M

    shared: dict[str, Any] = {"form": None if form == "none" else form, "cased": not uncased}
    shared |= {"min_frequency": min_frequency, "name": out.stem}
    if max_chars is not None:
        if custom is not None:
            raise InvalidInput(f"--custom {custom} and --max-chars {max_chars} exclude each other")
        trainer = KL3M.character(vocab_size, max_chars, **shared)
    else:
        trainer = KL3M(vocab_size, None if custom is None else _lines(custom), padded=pad, **shared)
    return lambda texts, told: trainer(texts, progress=told)


@_algorithm("--vocab-size 32000 --out compoundpiece.json")
def compoundpiece(
    vocab_size: Size,
    out: Out,
    decompounder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Splits words; a saved one.", show_default="learnt from hyphens of the input"),
    ] = None,
    resolution: Annotated[int, typer.Option(min=1, metavar="R", help="Words seen less often are left out.")] = 1,
    seed: Seed = 0,
    special: Special = END_OF_TEXT,
) -> Learn:
    """CompoundPiece: pieces of the parts of compound words, for German and its like."""
    import numpy as np

    from ..tokenize.text.compoundpiece import CompoundPiece
    from ..tokenize.text.decompounder import Decompounder

    trainer = CompoundPiece(vocab_size, resolution, tuple(special), name=out.stem)
    splits = None if decompounder is None else Decompounder.from_pretrained(decompounder)
    rng = np.random.default_rng(seed)
    return lambda texts, told: trainer(texts, rng=rng, decompounder=splits, progress=told)


@_algorithm("--vocab-size 8000 --out lib", "lib-tokenizer", folder=True)
def lib(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write; with --rule longest also FILE.json.")
    ],
    vocab_size: Annotated[
        int | None,
        typer.Option("--vocab-size", "-n", min=1, metavar="N", help="Ids at most.", show_default="all it learns"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, metavar="S", help="Articles read, in turn.")] = 500,
    article: Annotated[int, typer.Option(min=1, metavar="L", help="Lines of an article.")] = 500,
    life: Annotated[int, typer.Option(min=1, metavar="L", help="Articles after which a chunk is forgotten.")] = 10,
    out_rate: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="P", help="Share of the chunks, the last, that each article puts to the test."
        ),
    ] = 0.0001,
    rule: Annotated[
        str, typer.Option(metavar="two-path|longest|reference", help="How the tokenizer chooses among chunks.")
    ] = "two-path",
    seed: Seed = 0,
) -> Learn:
    """Less-is-Better: chunks of any kind, ranked while it reads, and forgotten when they do not pay."""
    from ..core.errors import InvalidInput
    from ..tokenize.text.lib_tokenizer import LessIsBetter

    whole = out.suffix == ".json"
    if whole and rule != "longest":
        raise InvalidInput(f"{out}: a tokenizer.json cannot say --rule {rule}; name a folder, or take --rule longest")
    trainer = LessIsBetter(
        steps, article, life=life, out_rate=out_rate, vocab_size=vocab_size, rule=rule, name=out.stem
    )

    def learn(texts: Iterable[str], told: "Told") -> "HostTokenizer":
        lines = [line for text in texts for line in text.splitlines(keepends=True)]
        tokenizer = trainer(lines, seed=seed, progress=told)
        return tokenizer.tokenizer_json(lines[:1000]) if whole else tokenizer

    return learn


@_algorithm("--vocab-size 32000 --out unigram.json")
def unigram(vocab_size: Size, out: Out, pattern: Pattern = "gpt2", special: Special = END_OF_TEXT) -> Learn:
    """Unigram, by `tokenizers`: pieces with probabilities; a word is cut into the likeliest."""
    from ..hosts.train import train_unigram

    words = _pattern(pattern)
    return lambda texts, told: train_unigram(texts, vocab_size, special=tuple(special), pattern=words, name=out.stem)


@_algorithm("--vocab-size 30000 --out wordpiece.json")
def wordpiece(vocab_size: Size, out: Out) -> Learn:
    """WordPiece, by `tokenizers`: BERT's, cased; white space does not come back."""
    from ..hosts.train import train_wordpiece

    return lambda texts, told: train_wordpiece(texts, vocab_size, name=out.stem)


def _pattern(name: str) -> str:
    from ..core import cuts

    pattern = {"gpt2": cuts.GPT2_PATTERN, "cl100k": cuts.CL100K_PATTERN, "o200k": cuts.O200K_PATTERN}.get(name, name)
    cuts.pattern_of(pattern)
    return pattern


def _law(text: str) -> dict[str, float]:
    """Probabilities by range of lengths, from "4-8:0.5,9-16:0.5"."""
    try:
        parts = [part.split(":") for part in text.split(",")]
        return {lengths.strip(): float(probability) for lengths, probability in parts}
    except ValueError as error:
        raise typer.BadParameter(f"--law {text!r}; write lengths and probabilities as 4-8:0.5,9-16:0.5") from error


def _lines(path: Path) -> list[str]:
    from ..core.errors import InvalidInput

    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--custom {path} cannot be read: {error}") from error
