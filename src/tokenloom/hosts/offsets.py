"""From what engines tell about places to exact byte offsets.

Two sources: the bytes of the tokens, when they spell the text (the cumulative lengths are then the offsets), and character
spans, when a normaliser has changed the text. Spans may overlap (several tokens of one character) and leave gaps (dropped
white space); bytes may not.
"""
# T tokens of one text, C characters

import numpy as np
import regex

from ..core.vocabulary import Kind, Vocabulary

__all__ = ["ends_by_length", "ends_by_span"]

_MARKS = regex.compile(r"\p{M}+")


def ends_by_length(vocab: Vocabulary, ids_T: np.ndarray, data: bytes) -> np.ndarray | None:
    """Byte position after each token, int64 (T,), when the tokens spell `data`; None when they do not.

    A word mark that the tokenizer put before the text is allowed: the first token is then one byte shorter.
    """
    spelled = _spell(vocab, ids_T)
    mark = spelled.size - len(data)
    if mark not in (0, 1) or (mark == 1 and spelled[0] != 0x20):
        return None
    if not np.array_equal(spelled[mark:], np.frombuffer(data, np.uint8)):
        return None
    return np.cumsum(_owned_lengths(vocab, ids_T)) - mark


def ends_by_span(vocab: Vocabulary, ids_T: np.ndarray, spans_T2: np.ndarray, text: str) -> np.ndarray:
    """Byte position after each token, int64 (T,), from character spans.

    Token i ends where its span ends, never before the one in front of it: what lies between two spans goes to the later
    token, but combining marks, which a normaliser has joined to the letter before them, stay with that. Tokens whose
    spans overlap cut a character; if their own bytes are as many as the stretch that they share, the stretch is cut by
    those, otherwise the first that is more than a word mark takes the character.

    Args:
        vocab: the vocabulary of `ids_T`.
        ids_T: the tokens of `text`.
        spans_T2: first character and the one after the last, whole numbers (T, 2).
        text: what was encoded.
    """
    if not ids_T.size:
        return np.zeros(0, np.int64)
    lengths_T = _owned_lengths(vocab, ids_T)
    marked = bool(lengths_T[0]) and vocab[int(ids_T[0])].startswith(b" ") and not text[0].isspace()
    lengths_T[0] -= marked  # a word mark that the tokenizer put before the text
    byte_of_C = _byte_positions(text)
    spans_T2 = _with_marks(spans_T2, text)
    begin_T, end_T = byte_of_C[spans_T2[:, 0]], np.maximum.accumulate(byte_of_C[spans_T2[:, 1]])
    first_T = np.ones(end_T.size, bool)
    first_T[1:] = begin_T[1:] >= end_T[:-1]
    firsts = np.flatnonzero(first_T)
    lasts = np.append(firsts[1:], end_T.size) - 1
    group_T = np.cumsum(first_T) - 1
    owned = np.add.reduceat(lengths_T, firsts)
    exact_T = ((lasts > firsts) & (owned == end_T[lasts] - begin_T[firsts]))[group_T]
    before_T = (np.cumsum(owned) - owned)[group_T]
    ends_T = np.where(exact_T, begin_T[firsts][group_T] + np.cumsum(lengths_T) - before_T, end_T)
    if marked and not lengths_T[0]:
        ends_T[0] = 0
    return ends_T


def _spell(vocab: Vocabulary, ids_T: np.ndarray) -> np.ndarray:
    """The bytes that `ids_T` stand for, uint8 (sum of lengths,); special and unused ids have none."""
    lengths_T = _owned_lengths(vocab, ids_T)
    ends_T = np.cumsum(lengths_T)
    shift_T = vocab.offsets[ids_T] - (ends_T - lengths_T)
    total = int(ends_T[-1]) if ends_T.size else 0
    return vocab.buffer[np.repeat(shift_T, lengths_T) + np.arange(total)]


def _owned_lengths(vocab: Vocabulary, ids_T: np.ndarray) -> np.ndarray:
    """Bytes that each of `ids_T` owns, int64 (T,)."""
    return np.where(vocab.kinds[ids_T] < Kind.SPECIAL, vocab.lengths[ids_T], 0)


def _with_marks(spans_T2: np.ndarray, text: str) -> np.ndarray:
    """Spans lengthened over the combining marks right behind them that no token claims."""
    runs = [] if text.isascii() else [match.span() for match in _MARKS.finditer(text)]
    if not runs:
        return spans_T2
    past_C = np.arange(len(text) + 1)
    for begin, end in runs:
        past_C[begin:end] = end
    ends_T = spans_T2[:, 1]
    next_T = np.append(spans_T2[1:, 0], len(text))
    return np.stack([spans_T2[:, 0], np.maximum(ends_T, np.minimum(past_C[ends_T], next_T))], axis=1)


def _byte_positions(text: str) -> np.ndarray:
    """Byte position of each character and of the end, int64 (C + 1,)."""
    if text.isascii():
        return np.arange(len(text) + 1)
    data = np.frombuffer(text.encode(), np.uint8)
    return np.append(np.flatnonzero((data & 0xC0) != 0x80), data.size)
