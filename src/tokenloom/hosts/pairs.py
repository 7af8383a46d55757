"""Our own engine for byte-level BPE without words, or with pieces too long to be remembered, such as SuperBPE's lines.

It encodes in linear time (core/pair_encoding.py). Pieces are found by the package `regex`; texts that it might class
otherwise than `tokenizers` does go to `tokenizers` whole, see words.py.
"""
# T tokens of all texts together

import unicodedata
from typing import Any

import numpy as np

from ..core.cuts import byte_positions, cut_all, pattern_of
from ..core.errors import InvalidInput, TokenizerError, VocabularyError
from ..core.merges import GPT2_PATTERN
from ..core.pair_encoding import PairEncoder
from .engines import Flat, TokenizersEngine
from .surface import parts, to_alphabet
from .words import unsettled

__all__ = ["PairsEngine"]


class PairsEngine:
    """Byte-level BPE, compiled.

    Args:
        engine: what encodes texts whose pieces or normal form are in doubt.
        tokenizer: a parsed `tokenizer.json`: byte-level BPE with all bytes, one splitting pattern or none, Unicode normal
            forms or none, and no added token read in texts.
    Raises: TokenizerError: it is another.
    """

    name = "tokenloom"

    def __init__(self, engine: TokenizersEngine, tokenizer: dict[str, Any]) -> None:
        self._engine = engine
        self._forms = _forms(tokenizer)
        self._pattern = _pattern(tokenizer)
        self._doubtful = self._pattern is not None or bool(self._forms)
        vocab = tokenizer["model"]["vocab"]
        try:
            of_byte = [vocab[to_alphabet(bytes([byte]))] for byte in range(256)]
            pairs = [pair if isinstance(pair, list) else pair.split(" ") for pair in tokenizer["model"]["merges"]]
            merges = [(vocab[left], vocab[right], vocab[left + right]) for left, right in pairs]
        except (KeyError, ValueError) as error:
            raise TokenizerError(f"merges and vocabulary do not belong together: {error}") from error
        # The encoder numbers bytes and merges in their order.
        self._id_of = np.array([*of_byte, *(made for _, _, made in merges)], np.int32)
        number = {i: k for k, i in enumerate(self._id_of.tolist())}
        if len(number) < self._id_of.size:
            raise TokenizerError("two merges make the same token")
        try:
            self._encode = PairEncoder(np.array([(number[a], number[b]) for a, b, _ in merges]), 256)
        except (KeyError, VocabularyError) as error:
            raise TokenizerError(f"not a list of merges that was learnt: {error}") from error

    def flat(self, texts: list[str], threads: int | None = None) -> Flat:
        """Ids of `texts`: int32 (T,), and where each text begins, int64 (texts + 1,)."""
        clear = [text for text in texts if not self._in_doubt(text)]
        ids_T, starts = self._compiled(clear)
        if len(clear) == len(texts):
            return ids_T, starts
        parts, seen = [], 0
        for text in texts:
            if self._in_doubt(text):
                parts.append(self._engine.flat([text], 1)[0])
            else:
                parts.append(ids_T[starts[seen] : starts[seen + 1]])
                seen += 1
        edges = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([part.size for part in parts], out=edges[1:])
        return np.concatenate(parts), edges

    def _in_doubt(self, text: str) -> bool:
        return self._doubtful and not text.isascii() and unsettled().search(text) is not None

    def _compiled(self, texts: list[str]) -> Flat:
        for form in self._forms:
            texts = [unicodedata.normalize(form, text) for text in texts]
        points, numbers = cut_all(texts, self._pattern)
        data = np.frombuffer("".join(texts).encode(), np.uint8)
        ids, begins = self._encode(data.astype(np.int32), byte_positions(data)[points])
        return self._id_of[ids], begins[np.cumsum([0, *numbers])]


def _forms(tokenizer: dict[str, Any]) -> list[Any]:
    forms = [step["type"] for step in parts(tokenizer, "normalizer")]
    if unknown := set(forms) - {"NFC", "NFD", "NFKC", "NFKD"}:
        raise TokenizerError(f"normalizer {unknown.pop()} is not a Unicode normal form")
    return forms


def _pattern(tokenizer: dict[str, Any]) -> str | None:
    """The pattern that finds pieces; None for a file that does not cut texts."""
    if tokenizer["model"]["type"] != "BPE" or tokenizer["model"].get("ignore_merges"):
        raise TokenizerError("the model is not plain BPE")
    if any(not token["special"] for token in tokenizer.get("added_tokens") or []):
        raise TokenizerError("added tokens are read in texts")
    match list(parts(tokenizer, "pre_tokenizer")):
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": use}]:
            return GPT2_PATTERN if use else None
        case [
            {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]:
            try:
                pattern_of(pattern)
            except InvalidInput as error:
                raise TokenizerError(str(error)) from error
            return pattern
    raise TokenizerError("the text is not cut by one pattern")
