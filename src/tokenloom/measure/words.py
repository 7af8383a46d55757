"""Words and numbers of a text, and into how many tokens they are cut.

Fertility and the share of continued words are those of Rust et al. 2021, "How Good is Your Tokenizer?", arXiv 2012.15613,
section 3; words are found by a declared rule, not by a treebank.
"""
# W words, C cuts

from dataclasses import dataclass

import numpy as np
import regex

from ..core.cuts import byte_positions
from ..core.errors import InvalidInput, SegmentationError
from ..core.segmentation import Segmentation

__all__ = ["Spans", "continued_words", "fertility", "find_numbers", "find_words", "pieces"]

# Scripts that put no space between words: there a letter with its marks counts as a word.
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_SPACED = rf"[\p{{L}}\p{{M}}--[{_SPACELESS}]]"
# The group makes `split` return what it finds between what it does not, strictly in turn.
_WORDS = regex.compile(rf"(?V1)([\p{{L}}&&[{_SPACELESS}]]\p{{M}}*|{_SPACED}+(?:['’\u200c\u200d]+{_SPACED}+)*)")
_NUMBERS = regex.compile(r"(\p{N}+)")


@dataclass(frozen=True, eq=False)
class Spans:
    """Stretches of a text, in order and without overlap.

    Args:
        starts: first byte of each, int64 (W,).
        ends: the byte behind each, int64 (W,).
        texts: what stands there.
    """

    starts: np.ndarray
    ends: np.ndarray
    texts: list[str]

    def __len__(self) -> int:
        return len(self.texts)


def find_words(text: str) -> Spans:
    """Runs of letters and combining marks, with apostrophes and joiners between them; digits and signs are no words.

    In scripts without spaces (Han, Kana, Thai, Lao, Khmer, Burmese, Tibetan) each letter with its marks is a word.

    >>> find_words("Don't, ağaç: 3 天地").texts
    ["Don't", 'ağaç', '天', '地']
    """
    return _found(_WORDS, text)


def find_numbers(text: str) -> Spans:
    """Runs of digits and other numeric characters.

    >>> find_numbers("2026-11-27, 3.14").texts
    ['2026', '11', '27', '3', '14']
    """
    return _found(_NUMBERS, text)


def pieces(seg: Segmentation, spans: Spans) -> np.ndarray:
    """How many tokens hold some of each span: int64 (W,), at least 1; a token that owns no byte holds nothing.

    Raises: SegmentationError: a span ends beyond the text.

    >>> pieces(Segmentation([0, 1, 2], [0, 2, 5, 10], b"token loom"), find_words("token loom")).tolist()
    [2, 1]
    """
    if len(spans) and spans.ends[-1] > len(seg.data):
        raise SegmentationError(f"a span ends at byte {spans.ends[-1]}, but the text has {len(seg.data)}")
    cuts_C = seg.boundaries()
    first = np.searchsorted(cuts_C, spans.starts, side="right") - 1
    return np.searchsorted(cuts_C, spans.ends, side="left") - first


def fertility(seg: Segmentation) -> float:
    """Tokens per word: the mean of `pieces` over the words of the text.

    Raises: InvalidInput: no word in the text.

    >>> fertility(Segmentation([0, 1, 2], [0, 2, 5, 10], b"token loom"))
    1.5
    """
    return float(np.mean(_pieces_of_words(seg)))


def continued_words(seg: Segmentation) -> float:
    """Share of words that are cut: those that more than one token holds.

    Raises: InvalidInput: no word in the text.

    >>> continued_words(Segmentation([0, 1, 2], [0, 2, 5, 10], b"token loom"))
    0.5
    """
    return float(np.mean(_pieces_of_words(seg) > 1))


def _pieces_of_words(seg: Segmentation) -> np.ndarray:
    try:
        words = find_words(seg.data.decode())
    except UnicodeDecodeError as error:
        raise InvalidInput(f"words are those of UTF-8: byte {error.start} is {seg.data[error.start]:#04x}") from error
    if not len(words):
        raise InvalidInput("there is no word in the text")
    return pieces(seg, words)


def _found(pattern: regex.Pattern, text: str) -> Spans:
    parts = pattern.split(text)
    edges = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=edges[1:])
    if not text.isascii():
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        edges = byte_positions(data)[edges]
    return Spans(edges[1:-1:2], edges[2::2], parts[1::2])
