"""From a corpus to shards of token ids: many processes, the same bytes out, whatever happens in between.

One process reads and writes, the others parse, encode and perturb. What a document becomes depends on its bytes, its
address, the seed and the epoch alone; where a shard ends, on the bytes of the input alone.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .._version import __version__
from ..core.errors import CorpusError, InvalidInput
from ..core.ledger import Ledger
from ..core.seeds import stream_seeds
from ..core.segmentation import Ragged
from ..core.tokenizer import Tokenizer
from .corpus import Source, find_sources
from .documents import corpus_error
from .encoder import Chunk, Encoder, Perturbation, chunks
from .job import Job
from .manifest import FORMATS, Manifest, write_manifest
from .output import Output
from .segments import SPLITS, segments
from .workers import cores, ordered_map

__all__ = ["Progress", "encode_corpus", "end_of_text"]

_ENDS = (b"<|endoftext|>", b"</s>", b"<|end_of_text|>", b"<eos>", b"<|endofsequence|>", b"[SEP]")
# Bytes of input that may be under way for each worker.
_UNDER_WAY = 16 << 20


@dataclass(frozen=True)
class Progress:
    """How far an encoding is.

    Args:
        read: bytes of the input files, as they lie on disk, that are done.
        size: of all of them.
        bytes: of text that are done.
        tokens: in the shards, over all epochs.
    """

    read: int
    size: int
    bytes: int
    tokens: int


def end_of_text(tokenizer: Tokenizer) -> int | None:
    """The id of the special token that ends a text in this vocabulary, None where no well-known one is.

    >>> from tokenloom.hosts import load_tokenizer
    >>> end_of_text(load_tokenizer("bytes"))
    256
    """
    special = {tokenizer.vocab[int(i)]: int(i) for i in tokenizer.vocab.special_ids[::-1]}
    return next((special[token] for token in _ENDS if token in special), None)


def encode_corpus(
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    tokenizer: Tokenizer,
    look: Perturbation | None = None,
    epochs: int = 1,
    seed: int = 0,
    format: str = "megatron",
    split: str = "file",
    field: str = "text",
    append_eot: bool | None = None,
    shard_bytes: int = 256 << 20,
    on_error: str = "stop",
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Manifest:
    """Encode files and folders into shards and a manifest; the same call continues what was interrupted.

    Same bytes out for any number of workers, interrupted or not; a finished shard is never rewritten. With several
    workers a script calls this below `if __name__ == "__main__":`, as whatever starts processes.

    Args:
        inputs: files and folders, see `tokenloom.data.corpus`.
        out: folder of the shards; absent, empty, or of the same call.
        tokenizer: cuts the texts; goes to other processes, as those of `load_tokenizer` can.
        look: perturbs each document from a seed of its own, `StochasTok` for one; end-of-text tokens stay whole.
        epochs: passes over the corpus, each perturbed anew; the text is read and cut once.
        seed: of the perturbations, 0 … 2^64 - 1.
        format: "megatron" or "parquet".
        split: how plain text becomes documents: "file", "paragraph" or "line".
        field: where JSON objects and tables have the text.
        append_eot: end each document with the tokenizer's end-of-text token; None: if it has one.
        shard_bytes: a shard ends with the stretch of about a megabyte that fills so many bytes of (unpacked) input.
        on_error: "stop", or "skip" to leave out what cannot be read and name it in the manifest. What was begun with
            one may be continued with the other.
        workers: processes that encode; 1 does all in this one, None takes one a core.
        progress: called now and then.
    Returns: the manifest.
    Raises:
        CorpusError: an input cannot be read, or has changed meanwhile; names file and place.
        StoreError: the folder holds something else, or cannot be written.
        InvalidInput: an argument out of range. TokenloomError: a worker died. The same call continues.
    """
    workers = cores() if workers is None else workers
    for name, value in {"epochs": epochs, "shard_bytes": shard_bytes, "workers": workers}.items():
        if value < 1:
            raise InvalidInput(f"{name}={value}; it must be at least 1")
    for name, choice, choices in (
        ("format", format, tuple(FORMATS)),
        ("split", split, SPLITS),
        ("on_error", on_error, ("stop", "skip")),
    ):
        if choice not in choices:
            raise InvalidInput(f"{name}={choice!r}; it is one of {', '.join(choices)}")
    if epochs > 1 and look is None:
        raise InvalidInput(f"epochs={epochs} without a perturbation would write the same {epochs} times")
    stream_seeds(seed)
    ends = None if append_eot is False else end_of_text(tokenizer)
    if append_eot and ends is None:
        raise InvalidInput(f"{tokenizer.name} has no end-of-text token to append")
    sources, out = find_sources(inputs), Path(out)
    _refuse_inside(out, inputs)
    described = {
        "name": tokenizer.name,
        "digest": tokenizer.digest,
        "vocab_size": len(tokenizer.vocab),
        "end_of_text": ends,
        "spec": tokenizer.name,
    }
    settings = {
        "format": format,
        "split": split,
        "field": field,
        "epochs": epochs,
        "seed": seed,
        "perturbation": None if look is None else dict(look.settings),
        "shard_bytes": shard_bytes,
        "inputs": [{"name": source.name, "bytes": source.size, "modified": source.modified} for source in sources],
    }
    job = Job(out, {"tokenizer": described, "settings": settings, "tokenloom": __version__})
    if (manifest := job.finished()) is not None:
        job.forget()
        return manifest
    if on_error == "stop":
        for source in sources:
            if source.fault:
                raise CorpusError(f"{source.name}: {source.fault}")
    if look is not None:
        # Compiled here, so that workers find the machine code and do not all make it.
        look.expand_batch(Ragged.of([[0]]), stream_seeds(seed))
    with job.begun() as receipts:
        output = Output(job, receipts, format, len(tokenizer.vocab), epochs)
        # In a process of its own an engine has one thread anyway, and is quicker when it gets many texts at once.
        encoder = Encoder(tokenizer, look, epochs, seed, ends, field, threads=1 if workers == 1 else None)
        stretches = segments(sources, split=split, field=field, behind=output.last)
        try:
            _write(output, sources, encoder, chunks(stretches, shard_bytes), on_error, workers, progress)
        finally:
            output.abort()
        if not output.totals.documents:
            raise CorpusError(f"{sources[0].name}{' and the other inputs' * (len(sources) > 1)}: no document in it")
        _refuse_changed(sources)
        manifest = Manifest(
            tokenizer=described,
            settings=settings,
            shards=[shard for receipt in output.receipts for shard in receipt["shards"]],
            totals=asdict(output.totals),
            skipped=[entry for receipt in output.receipts for entry in receipt["skipped"]],
            ledger=Ledger(tokens=output.totals.tokens, bytes=output.totals.bytes).as_dict(),
        )
        write_manifest(out, manifest)
        job.forget()
    return manifest


def _write(
    output: Output,
    sources: Sequence[Source],
    encoder: Encoder,
    work: Iterable[Chunk],
    on_error: str,
    workers: int,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Encode all chunks and write what comes of them."""
    before = np.cumsum([0, *(source.size for source in sources)]).tolist()
    if progress is not None:  # where it begins, so that speed can be told from the first chunk on
        done = output.totals
        progress(Progress(before[output.last[0] if output.last else 0], before[-1], done.bytes, done.tokens))
    with closing(ordered_map(encoder, work, workers, lambda chunk: chunk.size, workers * _UNDER_WAY)) as results:
        last = None
        for chunk, encoded in results:
            if encoded.faults and on_error == "stop":
                raise corpus_error(sources, encoded.faults[0])
            output.skip(encoded.faults, sources)
            output.add(encoded, sources)
            last = chunk.segments[-1]
            if chunk.full:
                output.close(last.address)
            if progress is not None:
                done = output.totals
                progress(Progress(before[last.file] + last.read, before[-1], done.bytes, done.tokens))
        if last is not None and not chunk.full:
            output.close(last.address)


def _refuse_inside(out: Path, inputs: Sequence[str | os.PathLike[str]]) -> None:
    for folder in map(Path, inputs):
        if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
            raise InvalidInput(f"{out} lies inside the input {folder}: its shards would be input of the next run")


def _refuse_changed(sources: Sequence[Source]) -> None:
    for source in sources:
        try:
            status = source.path.stat()
        except OSError as error:
            if source.fault:
                continue
            raise CorpusError(f"{source.name} was there and is not any more: {error.strerror or error}") from error
        if not source.fault and (status.st_size, status.st_mtime_ns) != (source.size, source.modified):
            raise CorpusError(f"{source.name} has changed while it was read; encode it again into another folder")
