"""The words that a `tokenizer.json` cuts a text into before its model sees them, by its own pre-tokenizer."""

from __future__ import annotations

from collections.abc import Callable

from .engines import foreign
from .json_tokenizer import JsonTokenizer

__all__ = ["pretokenizer_of"]


def pretokenizer_of(tokenizer: JsonTokenizer) -> Callable[[str], list[str]]:
    """The pre-tokenizer of a file as a function: a text in, its words in the notation of the file out.

    Where the file has none, a text is one word.

    >>> from tokenloom.hosts import load_tokenizer
    >>> words = pretokenizer_of(load_tokenizer("tokenloom-en-16k"))
    >>> words("don't stop")
    ['don', "'t", 'Ġstop']
    """
    from tokenizers import Tokenizer

    with foreign("tokenizers"):
        steps = Tokenizer.from_str(tokenizer.spec["text"]).pre_tokenizer

    def words(text: str) -> list[str]:
        if steps is None:
            return [text]
        with foreign("tokenizers"):
            return [word for word, _ in steps.pre_tokenize_str(text)]

    return words
