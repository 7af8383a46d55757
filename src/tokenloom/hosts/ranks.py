"""Rank files as tiktoken reads them, turned into an equal `tokenizer.json`.

A rank file lists tokens in the order in which BPE learnt them, without the pairs that were merged. Running BPE on the bytes
of a token with the ranks below its own ends in two parts, and that pair is its merge.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..core.cuts import CL100K_PATTERN, O200K_PATTERN
from ..core.errors import TokenizerError, VocabularyError
from ..core.merges import GPT2_PATTERN, merges_of
from ..core.vocabulary import Vocabulary
from .surface import from_alphabet, to_alphabet

__all__ = ["byte_level_json", "gpt2_json", "known_ranks", "ranks_json"]

# SHA-256 of the published files: pattern and special tokens are not in a rank file, but these files say which they are.
_GPT2 = (GPT2_PATTERN, {"<|endoftext|>": 50256})
_KNOWN: dict[str, tuple[str, dict[str, int]]] = {
    "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930": _GPT2,
    "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069": _GPT2,
    "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7": (
        CL100K_PATTERN,
        {
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
    "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d": (
        O200K_PATTERN,
        {"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
}


# The engine behind `Split` reads `{1,3}+` as "one or more of {1,3}" and cuts 1999 into 19|99 where tiktoken, for which the
# plus forbids backtracking, cuts 199|9: as many tokens, other ids. Greedy without the plus is right wherever the rest of
# the alternative cannot fail, as in all published patterns.
_POSSESSIVE_COUNT = re.compile(r"(\{\d+(?:,\d*)?\})\+")


def known_ranks(data: bytes) -> tuple[str, dict[str, int]] | None:
    """Pattern and special tokens that belong to a published rank file, None for another file."""
    return _KNOWN.get(hashlib.sha256(data).hexdigest())


def ranks_json(data: bytes, pattern: str, special: dict[str, int], name: str) -> dict[str, Any]:
    """A `tokenizer.json`, parsed, that cuts as tiktoken does with this rank file.

    Args:
        data: content of the file, lines of `base64(token) rank`.
        pattern: the regular expression that finds words.
        special: tokens that never come from text, and their ids.
    Raises: TokenizerError: not such a file, a token that its lower ranks do not build, a special token in the way.
    """
    ranks = _read(data, name)
    tokens = sorted(ranks, key=ranks.__getitem__)
    try:
        pairs = merges_of(Vocabulary(tokens)).tolist()
    except VocabularyError as error:
        raise TokenizerError(f"{name} holds no BPE ranks: {error}") from error
    merges = [(tokens[left], tokens[right]) for left, right in pairs if left >= 0]
    return byte_level_json(ranks, merges, pattern, special, name)


def byte_level_json(
    ids: dict[bytes, int],
    merges: list[tuple[bytes, bytes]],
    pattern: str | None,
    special: dict[str, int],
    name: str,
    *,
    added: Mapping[str, int] = MappingProxyType({}),
    normalizer: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A `tokenizer.json`, parsed, for byte-level BPE from plain bytes.

    Args:
        ids: the tokens that the model makes.
        merges: in order.
        pattern: the regular expression that finds words; None for none.
        special: tokens that never come from text, and their ids.
        name: of the tokenizer, for messages.
        added: tokens found in the text before the model sees it, and their ids.
        normalizer: as the file has it.
    """
    vocab = {to_alphabet(token): i for token, i in ids.items()}
    taken = set(ids.values())
    for token, i in (special | dict(added)).items():
        if token in vocab or i in taken or i < 0:
            raise TokenizerError(
                f"{name}: {'special' if token in special else 'added'} token {token!r} with id {i} collides with another "
                "token, or is negative"
            )
        # In the model too, or the engine would give it the next free id instead of its own.
        vocab[token] = i
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added_tokens = [
        {"id": i, "content": token, **flags, "special": token in special}
        for token, i in sorted((special | dict(added)).items(), key=lambda item: item[1])
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    pre_tokenizer: dict[str, Any] = byte_level
    if pattern is not None:
        cut = {"Regex": _POSSESSIVE_COUNT.sub(r"\1", pattern)}
        split = {"type": "Split", "pattern": cut, "behavior": "Isolated", "invert": False}
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [split, byte_level]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens,
        "normalizer": None if normalizer is None else dict(normalizer),
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [[to_alphabet(left), to_alphabet(right)] for left, right in merges],
        },
    }


def gpt2_json(encoder: Path, merges: Path) -> dict[str, Any]:
    """A `tokenizer.json`, parsed, from the two files GPT-2 was published in, `encoder.json` and `vocab.bpe`.

    Raises: TokenizerError: they are not that.
    """
    try:
        ids: dict[str, int] = json.loads(encoder.read_text(encoding="utf-8"))
        lines = merges.read_text(encoding="utf-8").splitlines()
        special = {token: i for token, i in ids.items() if token == "<|endoftext|>"}
        plain = {from_alphabet(token): i for token, i in ids.items() if token not in special}
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        return byte_level_json(
            plain, [(from_alphabet(a), from_alphabet(b)) for a, b in pairs], GPT2_PATTERN, special, str(encoder)
        )
    except (ValueError, KeyError, AttributeError) as error:
        raise TokenizerError(
            f"{encoder} and {merges.name} are not GPT-2's encoder.json and vocab.bpe: {error}"
        ) from error


def _read(data: bytes, name: str) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        try:
            token, rank = line.split()
            entry = base64.b64decode(token, validate=True), int(rank)
        except (ValueError, binascii.Error) as error:
            raise TokenizerError(f"{name}, line {number}: {line[:60]!r} is not 'base64(token) rank'") from error
        if not entry[0] or entry[0] in ranks or entry[1] < 0:
            raise TokenizerError(f"{name}, line {number}: {entry[0]!r} is empty, listed twice, or has a negative rank")
        ranks[entry[0]] = entry[1]
    if len(set(ranks.values())) != len(ranks):
        raise TokenizerError(f"{name}: two tokens share a rank")
    if not ranks:
        raise TokenizerError(f"{name} lists no tokens")
    return ranks
