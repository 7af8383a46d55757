"""From the notation of a `tokenizer.json` to surface bytes.

Four notations are in use: the byte alphabet of GPT-2 (each byte a printable character), SentencePiece's `▁` and `<0xNN>`,
WordPiece's `##`, and CLIP's `</w>` at the end of words. All become plain bytes with the word mark as a space.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ..core.errors import VocabularyError
from ..core.vocabulary import Kind, Vocabulary

__all__ = ["from_alphabet", "parts", "surface_vocabulary", "to_alphabet"]


def _byte_alphabet() -> list[str]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    rest = iter(range(256))
    return [chr(byte) if byte in printable else chr(256 + next(rest)) for byte in range(256)]


# GPT-2's character for each byte: printable Latin-1 stands for itself, the others for U+0100, U+0101, ... in order.
_ALPHABET = _byte_alphabet()
_FROM_LATIN_1 = str.maketrans(dict(enumerate(_ALPHABET)))
# A lone surrogate where Latin-1 has no letter of the alphabet: such a token is then no byte-level token.
_TO_LATIN_1 = dict.fromkeys(range(256), "�") | {ord(c): chr(byte) for byte, c in enumerate(_ALPHABET)}
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def to_alphabet(token: bytes) -> str:
    """A byte-level token as `tokenizer.json` writes it.

    >>> to_alphabet(b" the")
    'Ġthe'
    """
    return token.decode("latin-1").translate(_FROM_LATIN_1)


def from_alphabet(token: str) -> bytes:
    """The bytes of a byte-level token.

    Raises: UnicodeEncodeError: a character is not of the alphabet.
    """
    return token.translate(_TO_LATIN_1).encode("latin-1")


def surface_vocabulary(tokenizer: dict[str, Any], name: str) -> Vocabulary:
    """The vocabulary of a parsed `tokenizer.json`; ids that no token has are unused.

    Raises: VocabularyError: two tokens share an id.
    """
    model = tokenizer["model"]
    entries = list(_entries(model["vocab"]))
    added = tokenizer.get("added_tokens") or []
    plain = {token["id"]: token["content"] for token in added}
    special = {token["id"] for token in added if token["special"]} | _unknown(model, entries)
    highest = max([i for i, _ in entries] + list(plain), default=-1)
    tokens, kinds = [b""] * (highest + 1), bytearray([Kind.UNUSED]) * (highest + 1)
    surface = _surface(tokenizer)
    for i, token in entries:
        if kinds[i] != Kind.UNUSED:
            raise VocabularyError(f"{name}: {tokens[i]!r} and {token!r} both have id {i}")
        tokens[i], kinds[i] = surface(token)
    # Added tokens are matched in the text as they are written, whatever the notation of the rest; but a SentencePiece
    # token in this list too (Gemma's runs of `▁`) comes from the model, for there is no `▁` in texts.
    for i, content in plain.items():
        if not (kinds[i] == Kind.NORMAL and b" " in tokens[i] and "▁" in content):
            tokens[i], kinds[i] = content.encode("utf-8", "surrogatepass"), Kind.NORMAL
    for i in special:
        kinds[i] = Kind.SPECIAL
    for i, surfaced in enumerate(tokens):
        # An empty piece can never be matched; it exists in a few published files as padding of the numbering.
        if not surfaced and kinds[i] == Kind.NORMAL:
            kinds[i] = Kind.UNUSED
    return Vocabulary(tokens, kinds=kinds)


def parts(tokenizer: dict[str, Any], stage: str) -> Iterator[dict[str, Any]]:
    """The steps of a stage (`normalizer`, `pre_tokenizer`, `decoder`), with sequences unpacked."""
    todo = [tokenizer.get(stage)]
    while todo:
        part = todo.pop(0)
        if part is None:
            continue
        if part["type"] == "Sequence":
            todo = [step for key in ("normalizers", "pretokenizers", "decoders") for step in part.get(key, [])] + todo
        else:
            yield part


def _entries(vocab: Any) -> Iterator[tuple[int, str]]:
    if isinstance(vocab, dict):
        return ((i, token) for token, i in vocab.items())
    return ((i, piece[0]) for i, piece in enumerate(vocab))


def _unknown(model: dict[str, Any], entries: list[tuple[int, str]]) -> set[int]:
    if model["type"] == "Unigram":
        return {model["unk_id"]} - {None}
    return {i for i, token in entries if token == model.get("unk_token")}


def _surface(tokenizer: dict[str, Any]) -> Callable[[str], tuple[bytes, Kind]]:
    """How one token of this file is read: its surface bytes and kind."""
    model = tokenizer["model"]
    steps = [*parts(tokenizer, "pre_tokenizer"), *parts(tokenizer, "decoder"), *parts(tokenizer, "normalizer")]
    kinds = {step["type"] for step in steps}
    suffix = model.get("end_of_word_suffix")
    prefix = model.get("continuing_subword_prefix")
    if "ByteLevel" in kinds:
        return lambda token: _byte_level(token, suffix)
    if "Metaspace" in kinds or any(step["type"] == "Replace" and "▁" in str(step) for step in steps):
        fallback = bool(model.get("byte_fallback"))
        return lambda token: _sentencepiece(token, fallback)
    if prefix:
        return lambda token: ((token[len(prefix) :] if token.startswith(prefix) else " " + token).encode(), Kind.NORMAL)
    if suffix:
        return lambda token: (_end_mark(token, suffix).encode(), Kind.NORMAL)
    return lambda token: (token.encode("utf-8", "surrogatepass"), Kind.NORMAL)


def _byte_level(token: str, suffix: str | None) -> tuple[bytes, Kind]:
    mark = b""
    if suffix and token.endswith(suffix):
        token, mark = token[: -len(suffix)], b" "
    try:
        return from_alphabet(token) + mark, Kind.NORMAL
    except UnicodeEncodeError:
        return token.encode("utf-8", "surrogatepass") + mark, Kind.NORMAL


def _sentencepiece(token: str, byte_fallback: bool) -> tuple[bytes, Kind]:
    if byte_fallback and (match := _BYTE_TOKEN.fullmatch(token)):
        return bytes.fromhex(match[1]), Kind.BYTE
    return token.replace("▁", " ").encode("utf-8", "surrogatepass"), Kind.NORMAL


def _end_mark(token: str, suffix: str) -> str:
    return token[: -len(suffix)] + " " if token.endswith(suffix) else token
