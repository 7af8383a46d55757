"""The cover encodings of a tokenizer from a file: its merges and its words, read from the `tokenizer.json`.

Byte-level BPE with words by patterns (GPT-2, SmolLM2, Llama 3, Qwen …) and SentencePiece's BPE with byte fallback (Llama 2,
Mistral, Gemma …). Others are refused: what comes later may change how Unigram cuts all that is before.
"""
# V ids, M merges

import json
from typing import Any

import numpy as np
import regex

from ...core.covers import Covers
from ...core.cut_states import cut_states
from ...core.errors import InvalidInput, TokenizerError
from ...core.merge_histories import MergeHistories
from ...core.merges import GPT2_PATTERN
from ...core.vocabulary import Kind, Vocabulary
from ...hosts.host import HostTokenizer
from ...hosts.surface import parts, to_alphabet

__all__ = ["covers_of"]


def covers_of(tokenizer: HostTokenizer) -> Covers:
    """What may follow what in the encodings of `tokenizer`.

    Raises: TokenizerError: it is not of a kind whose covers are known, draws at random, or changes texts.
    """
    if not isinstance(tokenizer, HostTokenizer):
        raise TokenizerError(f"covers of a {type(tokenizer).__name__} are not known; load BPE with load_tokenizer")
    spec = tokenizer.spec
    if spec["format"] == "bytes":
        vocab = tokenizer.vocab
        units, starts = _flat([[i] if kind <= Kind.BYTE else [] for i, kind in enumerate(vocab.kinds)])
        histories = MergeHistories(np.zeros((0, 2), np.int32), np.zeros(0, np.int32), units, starts)
        return Covers(vocab, histories, cut_states(()))
    if spec["format"] != "tokenizer.json":
        raise TokenizerError(f"{tokenizer.name}: covers of a {spec['format']} are not known; those of BPE are")
    name, file = tokenizer.name, json.loads(spec["text"])
    model = file["model"]
    if model["type"] != "BPE":
        raise TokenizerError(f"{name}: covers of {model['type']} are not known; those of BPE are")
    if model.get("dropout"):
        raise TokenizerError(f"{name} draws its encodings at random (dropout {model['dropout']}); a text must have one")
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise TokenizerError(f"{name} marks the tokens inside words, or at their end; their covers are not known")
    pieced = bool(model.get("byte_fallback"))
    if not pieced and any(not token["special"] for token in file.get("added_tokens") or []):
        raise TokenizerError(f"{name} reads added tokens in texts; their covers are not known")
    patterns = _replaced(file, name) if pieced else _patterns(file, name)
    histories = _histories(model, tokenizer.vocab, pieced)
    if model.get("ignore_merges"):
        lost = np.flatnonzero(~histories.reached & (tokenizer.vocab.kinds <= Kind.BYTE))
        if lost.size:
            raise TokenizerError(f"{name} takes {tokenizer.vocab[int(lost[0])]!r} whole, which merging does not make")
    try:
        cuts = cut_states(patterns)
    except InvalidInput as error:
        raise TokenizerError(f"{name}: {error}") from error
    pieces = {piece for piece in model["vocab"] if len(piece) == 1} if pieced else None
    return Covers(tokenizer.vocab, histories, cuts, pieces and {" " if piece == "▁" else piece for piece in pieces})


def _histories(model: dict[str, Any], vocab: Vocabulary, pieced: bool) -> MergeHistories:
    """How merging makes each token: of bytes, or of characters (`pieced`)."""
    ids = model["vocab"]
    pairs = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
    merges = np.array([(ids[left], ids[right]) for left, right in pairs], np.int32).reshape(-1, 2)
    results = np.array([ids[left + right] for left, right in pairs], np.int32)
    units: list[list[int]] = [[] for _ in range(len(vocab))]
    if pieced:
        for piece, i in ids.items():
            if vocab.kinds[i] == Kind.BYTE:
                units[i] = [i]
            elif vocab.kinds[i] == Kind.NORMAL and all(letter in ids for letter in piece):
                units[i] = [ids[letter] for letter in piece]
    else:
        of_byte = [ids.get(to_alphabet(bytes([byte])), -1) for byte in range(256)]
        for i in np.flatnonzero(vocab.kinds <= Kind.BYTE).tolist():
            spelled = [of_byte[byte] for byte in vocab[i]]
            units[i] = spelled if min(spelled) >= 0 else []
    return MergeHistories(merges, results, *_flat(units))


def _flat(units: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.concatenate([[0], np.cumsum([len(some) for some in units])])
    return np.array([i for some in units for i in some], np.int32), starts


def _patterns(file: dict[str, Any], name: str) -> tuple[str, ...]:
    """The patterns that find words, in the order in which they are applied."""
    if file.get("normalizer") is not None:
        raise TokenizerError(f"{name} changes texts before it encodes them ({file['normalizer']['type']})")
    patterns = []
    for step in parts(file, "pre_tokenizer"):
        match step:
            case {"type": "ByteLevel", "add_prefix_space": True}:
                raise TokenizerError(f"{name} puts a space before every text; the covers of its texts are not known")
            case {"type": "ByteLevel"}:
                patterns += [GPT2_PATTERN] * step.get("use_regex", True)
            case {"type": "Digits", "individual_digits": each}:
                patterns.append(r"\p{N}" if each else r"\p{N}+")
            case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False}:
                patterns.append(pattern)
            case _:
                raise TokenizerError(f"{name} cuts texts by {step['type']} in a way whose covers are not known")
    if "ByteLevel" not in {step["type"] for step in parts(file, "pre_tokenizer")}:
        raise TokenizerError(f"{name} is BPE of characters without byte fallback; its covers are not known")
    return tuple(patterns)


def _replaced(file: dict[str, Any], name: str) -> tuple[str, ...]:
    """A SentencePiece text is one word, in which marks stand for spaces, but for runs of line breaks and the like."""
    for step in parts(file, "normalizer"):
        match step:
            case {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}:
                continue
            case _:
                raise TokenizerError(f"{name} changes texts before it encodes them ({step['type']})")
    for step in parts(file, "pre_tokenizer"):
        # There are no spaces any more.
        if step["type"] != "Split" or step["pattern"] != {"String": " "}:
            raise TokenizerError(f"{name} cuts texts by {step['type']} in a way whose covers are not known")
    # Added tokens that are runs of one character are found before merging, which would make them too, and end words.
    added = {token["content"] for token in file.get("added_tokens") or [] if not token["special"]}
    runs = sorted({content[0] for content in added if len(content) > 1 and len(set(content)) == 1} - {"▁"})
    return tuple(f"{regex.escape(letter)}+" for letter in runs)
