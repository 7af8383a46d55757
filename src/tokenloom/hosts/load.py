"""One door for all tokenizers: a file, a folder, a name, or somebody else's object."""

import base64
import os
import re
from pathlib import Path
from typing import Any

from ..core.catalogue import catalogue
from ..core.errors import InvalidInput, StoreError, TokenizerError
from ..core.lazy import lazy
from ..core.pretrained import MANIFEST, load_files
from .folder import FolderTokenizer
from .host import HostTokenizer
from .json_tokenizer import JsonTokenizer
from .names import PUBLISHED, embedded_file, published_file
from .plain_bytes import ByteTokenizer
from .ranks import gpt2_json, known_ranks, ranks_json
from .sentencepiece_model import SentencePieceTokenizer

__all__ = ["load_tokenizer", "tokenizer_from_spec"]

_RANK_LINE = re.compile(rb"[A-Za-z0-9+/]+=* \d+\r?\n?")
# In a folder, the first of these that is there: what an engine reads directly comes first.
_IN_FOLDER = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "encoder.json")


def load_tokenizer(
    source: Any,
    *,
    pattern: str | None = None,
    special: dict[str, int] | None = None,
    folder: str | os.PathLike[str] | None = None,
    engine: str | None = None,
) -> HostTokenizer:
    """Make a tokenizer from a file, a folder, a name, or an object of `transformers` or `tokenizers`.

    Args:
        source: path of a `tokenizer.json`, of a rank file as tiktoken reads it, of a SentencePiece model, of GPT-2's
            `encoder.json` (with `vocab.bpe` beside it), of a folder that holds one of them, or of one that
            `save_pretrained` wrote; or one of the names bytes, tokenloom-en-16k, gpt2, cl100k, o200k; or a tokenizer
            object. A name wins over a path: write ./gpt2.
        pattern: for a rank file, the regular expression that finds words; the published files need none.
        special: for a rank file with `pattern`, its special tokens and their ids.
        folder: for gpt2, cl100k, o200k, where their files lie; without it, installed packages that carry them.
        engine: for a `tokenizer.json` or ranks, "tokenizers", "fastokens" or "tokenloom"; None takes the fastest that gives the same
            ids as `tokenizers` on a probe text.
    Raises: TokenizerError: not found or not readable; the message says what would help. InvalidInput: arguments that do
        not belong together. MissingExtra: the file needs a package that is not installed.

    >>> load_tokenizer("bytes").encode("hi").ids.tolist()
    [104, 105]
    """
    if pattern is None and special is not None:
        raise InvalidInput("special= belongs to a rank file with pattern=")
    if not isinstance(source, str | os.PathLike):
        return _from_object(source, engine)
    if source in PUBLISHED:
        return _named(str(source), None if folder is None else Path(folder), engine)
    if folder is not None:
        raise InvalidInput(f"folder= belongs to one of the names {', '.join(PUBLISHED)}, not to {source!r}")
    if source == ByteTokenizer.name:
        return ByteTokenizer()
    if isinstance(source, str) and (text := embedded_file(source)) is not None:
        return JsonTokenizer(text, source, engine=engine)
    path = Path(source)
    if path.is_dir():
        if (path / MANIFEST).is_file():
            return _ours(path, str(source), pattern, engine)
        path = _in_folder(path)
    return _from_file(path, str(source), pattern, special, engine)


def tokenizer_from_spec(spec: dict[str, Any]) -> HostTokenizer:
    """Make a tokenizer again from its `spec`, in this or another process: same ids, same engine, no second probe.

    Raises: TokenizerError: not a spec.

    >>> tokenizer_from_spec(load_tokenizer("bytes").spec).name
    'bytes'
    """
    match spec:
        case {"format": "bytes"}:
            return ByteTokenizer()
        case {"format": "tokenizer.json", "name": name, "engine": engine, "text": text}:
            return JsonTokenizer(text, name, engine=engine, trusted=True)
        case {"format": "sentencepiece", "name": name, "model": model}:
            return SentencePieceTokenizer(base64.b64decode(model), name)
        case {"format": "tokenloom", "kind": kind, "name": name, "config": config}:
            return _class_of(kind).from_config(config, name)
    raise TokenizerError(f"not a tokenizer's spec: {str(spec)[:80]}")


def _ours(folder: Path, name: str, pattern: str | None, engine: str | None) -> HostTokenizer:
    """The tokenizer of a folder that `save_pretrained` wrote."""
    if pattern is not None or engine is not None:
        raise InvalidInput(f"{name} was saved by tokenloom, which needs neither pattern= nor engine= to read it")
    try:
        kind = load_files(folder).kind
    except StoreError as error:
        raise TokenizerError(str(error)) from error
    return _class_of(kind).from_pretrained(folder, name)


def _class_of(kind: str) -> type[FolderTokenizer]:
    """The class of this public name, which is looked up in the catalogue."""
    public = catalogue().public
    found = lazy("tokenloom", public)[0](kind) if kind in public else None
    if isinstance(found, type) and issubclass(found, FolderTokenizer):
        return found
    raise TokenizerError(f"{kind!r} is no kind of tokenizer that this version of tokenloom knows")


def _named(name: str, folder: Path | None, engine: str | None) -> HostTokenizer:
    return _from_file(published_file(name, folder), name, None, None, engine)


def _from_file(
    path: Path, name: str, pattern: str | None, special: dict[str, int] | None, engine: str | None
) -> HostTokenizer:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        names = ", ".join(["bytes", "tokenloom-en-16k", *PUBLISHED])
        raise TokenizerError(f"no file or folder {name!r}, and no such name; names are {names}") from error
    except OSError as error:
        raise TokenizerError(f"cannot read {path}: {error.strerror or error}") from error
    if _RANK_LINE.match(data):
        return JsonTokenizer(_ranks(data, name, pattern, special), name, engine=engine)
    if pattern is not None:
        raise InvalidInput(f"pattern= belongs to a rank file, and {name} is none (lines of 'base64(token) rank')")
    if path.name == "encoder.json":
        return JsonTokenizer(gpt2_json(path, path.with_name("vocab.bpe")), name, engine=engine)
    if data.lstrip()[:1] == b"{":
        return JsonTokenizer(_utf8(data, name), name, engine=engine)
    if not data:
        raise TokenizerError(f"{name} is empty")
    return SentencePieceTokenizer(data, name)


def _ranks(data: bytes, name: str, pattern: str | None, special: dict[str, int] | None) -> dict[str, Any]:
    if pattern is not None:
        return ranks_json(data, pattern, special or {}, name)
    if (known := known_ranks(data)) is None:
        raise TokenizerError(f"{name} is a rank file of unknown origin: say how it finds words, pattern=r'...'")
    return ranks_json(data, *known, name)


def _utf8(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{name} is not UTF-8: byte {error.start} is {data[error.start]:#04x}") from error


def _in_folder(folder: Path) -> Path:
    for file in _IN_FOLDER:
        if (folder / file).is_file():
            return folder / file
    ranks = sorted(folder.glob("*.tiktoken"))
    if len(ranks) == 1:
        return ranks[0]
    if ranks:
        raise TokenizerError(f"{folder} holds {len(ranks)} rank files ({ranks[0].name} ...); name one of them")
    raise TokenizerError(f"{folder} holds no tokenizer: none of {', '.join(_IN_FOLDER)}, *.tiktoken")


def _from_object(source: Any, engine: str | None) -> HostTokenizer:
    if isinstance(source, HostTokenizer):
        return source
    inner = getattr(source, "backend_tokenizer", source)
    name = str(getattr(source, "name_or_path", "") or type(source).__name__)
    if hasattr(inner, "to_str"):
        return JsonTokenizer(inner.to_str(), name, engine=engine)
    model = getattr(source, "vocab_file", None)
    if model and str(model).endswith(".model"):
        return _from_file(Path(model), name, None, None, engine)
    raise TokenizerError(
        f"a {type(source).__name__} is no tokenizer that tokenloom can read; give a path, a name, or a tokenizer with a "
        "`tokenizers` backend (use_fast=True)"
    )
