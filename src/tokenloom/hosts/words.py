"""`tokenizers` made four times as fast: each different word is encoded once, and remembered.

Byte-level BPE cuts a text into words by a regular expression and then each word by itself, so a text's ids are those of its
words, one after the other. `tokenizers` spends most of its time between the two. Here the package `regex` finds the words,
and `tokenizers` sees a word once. That is exact where both regular-expression engines put a character into the same
class; where Unicode has changed in twenty years they may not, and such texts go to `tokenizers` whole.
"""
# T tokens of all texts together

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import regex

from ..core.merges import GPT2_PATTERN
from .engines import Flat, TokenizersEngine
from .surface import parts, to_alphabet

__all__ = ["WordsEngine", "unsettled", "word_pattern"]

# Words kept at most, and how long one may be: prose repeats itself, base64 does not.
_MEMORY, _LONGEST = 1 << 19, 48
# Words of one text held at a time.
_STRETCH = 1 << 20
# A character that never becomes a letter; where it stands between words, its ids show where they end.
_BETWEEN = "\U0010fffe"


class WordsEngine:
    """A `TokenizersEngine` with a memory for words.

    Args:
        engine: what encodes a word.
        pattern: the regular expression that finds words.
    """

    name = TokenizersEngine.name

    def __init__(self, engine: TokenizersEngine, pattern: str) -> None:
        self._engine = engine
        self._find = regex.compile(pattern)
        self._model = engine.cut_at(_BETWEEN)
        self._between = self._model.flat([_BETWEEN], 1)[0]
        self._memory: dict[str, bytes] = {}

    def flat(self, texts: list[str], threads: int | None = None) -> Flat:
        """Ids of `texts`: int32 (T,), and where each text begins, int64 (texts + 1,)."""
        parts = [self._text(text) for text in texts]
        starts = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(part) // 4 for part in parts], out=starts[1:])
        return np.frombuffer(b"".join(parts), np.int32), starts

    def _text(self, text: str) -> bytes:
        """The ids of a text as int32 bytes."""
        if text.isascii() or not (unsettled().search(text) or _BETWEEN in text):
            parts, covered = [], 0
            for words in self._stretches(text):
                covered += sum(map(len, words))
                parts.append(self._words(words))
            if covered == len(text):
                return b"".join(parts)
        return self._engine.flat([text], 1)[0].tobytes()

    def _stretches(self, text: str) -> Iterator[list[str]]:
        if len(text) <= _STRETCH:
            yield self._find.findall(text)
            return
        words = (match.group() for match in self._find.finditer(text))
        while stretch := list(islice(words, _STRETCH)):
            yield stretch

    def _words(self, words: list[str]) -> bytes:
        """The ids of words as int32 bytes, one after the other."""
        memory = self._memory
        try:
            return b"".join(map(memory.__getitem__, words))
        except KeyError:
            pass
        if len(memory) >= _MEMORY:
            memory.clear()
        new = [word for word in dict.fromkeys(words) if word not in memory]
        memory.update(zip(new, self._encode(new), strict=True))
        ids = b"".join(map(memory.__getitem__, words))
        for word in new:
            if len(word) > _LONGEST:
                del memory[word]
        return ids

    def _encode(self, words: list[str]) -> list[bytes]:
        """The ids of each word as int32 bytes; all in one text, because a call costs more than a word."""
        ids_T, between = self._model.flat([_BETWEEN.join(words)], 1)[0], self._between
        room = max(0, ids_T.size - between.size + 1)
        ends = np.flatnonzero(np.all([ids_T[k : room + k] == between[k] for k in range(between.size)], axis=0))
        begins = [0, *(4 * (ends + between.size)).tolist()]
        data = ids_T.tobytes()
        return [data[begin:end] for begin, end in zip(begins, [*(4 * ends).tolist(), len(data)], strict=True)]


def word_pattern(tokenizer: dict[str, Any]) -> str | None:
    """The regular expression by which a `tokenizer.json` finds words, None unless a word's ids depend on it alone.

    That needs byte-level BPE with all bytes, one splitting pattern, no normaliser, and no added token read in texts.
    """
    model = tokenizer["model"]
    if model["type"] != "BPE" or tokenizer.get("normalizer") is not None:
        return None
    if any(not token["special"] for token in tokenizer.get("added_tokens") or []):
        return None
    if any(to_alphabet(bytes([byte])) not in model["vocab"] for byte in range(256)):
        return None
    match list(parts(tokenizer, "pre_tokenizer")):
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]:
            pattern = GPT2_PATTERN
        case [
            {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]:
            pass
        case _:
            return None
    try:
        groups = regex.compile(pattern).groups
    except regex.error:
        return None
    # With groups, `findall` would return those instead of words.
    return None if groups else pattern


@cache
def unsettled() -> re.Pattern[str]:
    """A character whose class may depend on an engine's version of Unicode.

    Settled are those that had the class of today in Unicode 3.2 already (2002), and the emoji of before 2020. U+0295 was
    a lower-case letter all that time and then became one without case.
    """
    old = unicodedata.ucd_3_2_0
    codes = [code for code in range(0x80, 0x30000) if old.category(chr(code)) not in ("Cn", "Cs")]
    settled = {code for code in codes if old.category(chr(code)) == unicodedata.category(chr(code))} - {0x295}
    settled.update(range(0x80), range(0x1F1E6, 0x1F200), range(0x1F300, 0x1F650), range(0x1F910, 0x1F980))
    edges = [code for code in range(0x30001) if (code in settled) != (code - 1 in settled)]
    ranges = zip(edges[::2], edges[1::2], strict=True)
    return re.compile("[^" + "".join(f"\\U{low:08x}-\\U{high - 1:08x}" for low, high in ranges) + "]")
