"""`tokenloom transfer`: another tokenizer for a trained model, without training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import InvalidInput, StoreError
from .given import read_text
from .target import check_place

if TYPE_CHECKING:
    from ..core.tokenizer import Tokenizer
    from ..transfer.transplanting import Method, Transplanted

__all__ = ["transfer"]

METHODS = ("fvt", "mean", "random", "tokenadapt", "focus", "transtokenizer", "wechsel")
_HELD_OUT = ("en-literary", "en-technical", "en-legal")
_LENGTH = 512


def transfer(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a Hugging Face model, with its tokenizer.")],
    tokenizer: Annotated[
        str,
        typer.Option("--tokenizer", "-t", metavar="NEW", help="The new one: a tokenizer.json, a rank file, a name."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the new model; a new one.")],
    method: Annotated[
        str, typer.Option("--method", "-m", metavar="|".join(METHODS), help="How rows are made.")
    ] = "fvt",
    encoder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="tokenadapt: folder of a sentence encoder.")
    ] = None,
    old_vectors: Annotated[
        Path | None, typer.Option(metavar="FILE", help="wechsel: word vectors of the model's language.")
    ] = None,
    new_vectors: Annotated[
        Path | None, typer.Option(metavar="FILE", help="wechsel: word vectors of the new language.")
    ] = None,
    dictionary: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="wechsel: pairs of words, tab-separated, or NAME.dict.dz of dictd."),
    ] = None,
    corpus: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="focus: text to learn vectors of tokens from.")
    ] = None,
    parallel: Annotated[
        Path | None, typer.Option(metavar="FILE.tsv", help="transtokenizer: texts in the old and the new language.")
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Held-out text for bits per byte.", show_default="three embedded samples"),
    ] = None,
    size: Annotated[int, typer.Option(min=100, metavar="BYTES", help="How much of each text is read.")] = 4000,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Of rows that are drawn.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")] = False,
) -> None:
    """Give a trained model another tokenizer: rows of shared tokens stay, the others are made of old ones.

    Example: tokenloom transfer smollm2/ --tokenizer superbpe.json --method fvt --out smollm2-superbpe

    DIR is a folder that transformers loads, with transplant.json: how many rows came from where, bits per byte before and after,
    and the tokens that cost most. Training makes the rest good.
    """
    import torch
    from rich.console import Console

    from ..hosts import load_tokenizer
    from ..hosts.model_folder import chat_template, check_tokenizer, load_model, save_model
    from ..transfer.transplanting import input_table, special_roles, transplant

    check_place(out)
    if out.exists():
        raise StoreError(f"{out} is there already; name a new folder")
    given = {
        "encoder": encoder, "old-vectors": old_vectors, "new-vectors": new_vectors, "dictionary": dictionary,
        "corpus": corpus, "parallel": parallel,
    }  # fmt: skip
    new, texts = load_tokenizer(tokenizer), _texts(text, size)
    check_tokenizer(new)
    rows_by = _method(method, given, new, seed)
    with Console(stderr=True, quiet=quiet).status("loading the model …") as status:
        network, old, template = load_model(model), load_tokenizer(model), chat_template(model)
        if (rows := input_table(network).num_embeddings) < len(old.vocab):
            raise InvalidInput(f"{model}: its table has {rows} rows, but its tokenizer {len(old.vocab)} ids")
        status.update("measuring before …")
        before = _bits(network, old, texts)
        status.update(f"making rows by {method} …")
        done = transplant(network, tokenizer, old=model, method=rows_by, generator=torch.Generator().manual_seed(seed))
        status.update("measuring after …")
        after = _bits(network, new, texts)
        report = _report(done, method, before, after, texts)
        status.update("writing …")
        save_model(network, new, special_roles(None, new.vocab), out, notes=report, template=template)
    if not quiet:
        _table(report, out)


def _method(name: str, given: dict[str, Any], new: "Tokenizer", seed: int) -> "Method":
    """The method, from the files that it needs; what is missing, or belongs to another, is told."""
    needs = {
        "tokenadapt": ("encoder",),
        "wechsel": ("old-vectors", "new-vectors", "dictionary"),
        "focus": ("corpus",),
        "transtokenizer": ("parallel",),
    }
    if name not in METHODS:
        raise InvalidInput(f"no method {name!r}; there are {', '.join(METHODS)}")
    wanted = needs.get(name, ())
    if missing := [option for option in wanted if not given[option]]:
        raise InvalidInput(f"--method {name} needs --{missing[0]}")
    if extra := [option for option, value in given.items() if value and option not in wanted]:
        raise InvalidInput(f"--{extra[0]} does not belong to --method {name}")
    if name == "tokenadapt":
        from ..hosts.sentence_encoder import SentenceEncoder
        from ..transfer.tokenadapt import TokenAdapt

        return TokenAdapt(SentenceEncoder(given["encoder"]))
    if name == "wechsel":
        from ..transfer.dictionaries import load_pairs
        from ..transfer.vector_files import load_vectors
        from ..transfer.wechsel import WECHSEL

        # Shared text keeps its rows here, as it does by the other methods.
        return WECHSEL(
            load_vectors(given["old-vectors"]),
            load_vectors(given["new-vectors"]),
            load_pairs(given["dictionary"]),
            copy_shared=True,
        )
    if name == "focus":
        import numpy as np

        from ..data.documents import read_corpus
        from ..transfer.baselines import FOCUS, static_vectors

        texts = read_corpus([str(path) for path in given["corpus"]], split="line")
        return FOCUS(static_vectors(new, texts, 100, rng=np.random.default_rng(seed)))
    if name == "transtokenizer":
        from ..measure.parity import read_parallel
        from ..transfer.baselines import TransTokenizer

        found = read_parallel(read_text(given["parallel"]), str(given["parallel"]))
        if len(found.languages) != 2:
            raise InvalidInput(f"{given['parallel']} has {len(found.languages)} columns; the old and the new language")
        return TransTokenizer([(one, other) for one, other in found.rows])
    from ..transfer.composition import FVT, Mean, Random

    plain: dict[str, Method] = {"fvt": FVT(), "mean": Mean(), "random": Random()}
    return plain[name]


def _texts(paths: list[Path] | None, size: int) -> dict[str, str]:
    """The beginning of each held-out text."""
    from ..data import sample

    found = {str(path): read_text(path) for path in paths} if paths else {name: sample(name) for name in _HELD_OUT}
    for name, text in found.items():
        if not text.strip():
            raise InvalidInput(f"{name} is empty; bits per byte are those of a text")
    return {name: text.encode()[:size].decode(errors="ignore") for name, text in found.items()}


def _bits(model: Any, tokenizer: "Tokenizer", texts: dict[str, str]) -> dict[str, Any]:
    """Bits of each text, and of each id in all of them; nothing for a model that predicts nothing."""
    import numpy as np

    from ..measure.bits import bits_per_byte, token_log_probs

    if not model.can_generate() or model.config.is_encoder_decoder:
        return {"texts": {}, "ids": {}}
    segs = {name: tokenizer.encode(text) for name, text in texts.items()}
    scores = token_log_probs(model, [seg.ids for seg in segs.values()], length=_LENGTH)
    ids = np.concatenate([seg.ids for seg in segs.values()])
    bits = -np.concatenate(scores) / np.log(2)
    if not np.isfinite(bits).all():
        raise InvalidInput("the probabilities that the model gives are not finite; are its weights?")
    return {
        "texts": {name: bits_per_byte(score, seg.data) for (name, seg), score in zip(segs.items(), scores)},
        "ids": {int(i): (int((ids == i).sum()), float(bits[ids == i].mean())) for i in np.unique(ids)},
    }


def _report(
    done: "Transplanted", method: str, before: dict[str, Any], after: dict[str, Any], texts: dict[str, str]
) -> dict[str, Any]:
    from ..transfer.rows import Origin

    made = {i: seen for i, seen in after["ids"].items() if done.rows.origin[i] != Origin.COPIED}
    worst = sorted(made.items(), key=lambda item: -item[1][0] * item[1][1])[:20]
    return {
        "method": method,
        "old": {"name": done.old.name, "ids": len(done.old.vocab), "digest": done.old.digest},
        "new": {"name": done.new.name, "ids": len(done.new.vocab), "digest": done.new.digest},
        "rows": done.rows.counts(),
        "bytes": {name: len(text.encode()) for name, text in texts.items()},
        "bits per byte": {
            name: {"before": before["texts"][name], "after": after["texts"][name]} for name in after["texts"]
        },
        "worst tokens": [
            {
                "id": i,
                "token": done.new.vocab[i].decode(errors="replace"),
                "occurrences": count,
                "bits": bits,
                "row": Origin(int(done.rows.origin[i])).name.lower(),
            }
            for i, (count, bits) in worst
        ],
    }


def _table(report: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for name, count in report["rows"].items():
        table.add_row(f"rows {name}", f"{count:,}")
    for name, bits in report["bits per byte"].items():
        table.add_row(f"bits per byte, {escape(name)}", f"{bits['before']:.3f} before, {bits['after']:.3f} after")
    if report["worst tokens"]:
        shown = ", ".join(f"{one['token']!r} {one['bits']:.1f}" for one in report["worst tokens"][:6])
        table.add_row("new tokens that cost most, bits each", escape(shown))
    table.add_row("written", escape(str(out)))
    Console(highlight=False, soft_wrap=True).print(table)
