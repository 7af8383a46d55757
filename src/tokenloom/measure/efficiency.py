"""How much text a token holds: tokens per character, tokens of a term, lengths of tokens.

As in Bommarito, Katz, Bommarito 2025 (KL3M tokenizers), arXiv 2503.17247, section 4.
"""
# V vocabulary

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..core.errors import InvalidInput
from ..core.tokenizer import Tokenizer
from ..core.vocabulary import Kind, Vocabulary

__all__ = ["term_table", "token_lengths", "tokens_per_character"]


def tokens_per_character(tokenizer: Tokenizer, texts: Iterable[str]) -> float:
    """Tokens of all texts together, divided by their characters (code points); the less, the denser.

    Raises: InvalidInput: there is no text.

    >>> from tokenloom.hosts import load_tokenizer
    >>> tokens_per_character(load_tokenizer("bytes"), ["né", "e"])
    1.3333333333333333
    """
    texts = list(texts)
    if not (characters := sum(map(len, texts))):
        raise InvalidInput("there is no text; tokens per character need one character at least")
    return tokenizer.encode_batch(texts).ids.size / characters


def term_table(tokenizers: Mapping[str, Tokenizer], terms: Sequence[str]) -> dict[str, list[int]]:
    """How many tokens each term takes inside a text, that is, with a space before it.

    Args:
        tokenizers: name → tokenizer.
        terms: not empty; without spaces around them.
    Returns: name → tokens of each term.
    Raises: InvalidInput: no terms, or one that is empty or has spaces around it.

    >>> from tokenloom.hosts import load_tokenizer
    >>> term_table({"bytes": load_tokenizer("bytes")}, ["tort", "res judicata"])
    {'bytes': [5, 13]}
    """
    if not terms:
        raise InvalidInput("there are no terms")
    if wrong := [term for term in terms if not term or term != term.strip()]:
        raise InvalidInput(f"term {wrong[0]!r} is empty or has spaces around it; the space before it is put there")
    inside = [f" {term}" for term in terms]
    return {name: tokenizer.encode_batch(inside).lengths.tolist() for name, tokenizer in tokenizers.items()}


def token_lengths(vocab: Vocabulary) -> np.ndarray:
    """How many tokens have 0, 1, 2, … characters: int64 (longest + 1,).

    Special and unused ids are left out. A character counts where it begins, so a token from the middle of one has none.

    >>> token_lengths(Vocabulary([b"a", b"\\xc3", b"\\xa9", "né".encode()], special=[b"<end>"])).tolist()
    [1, 2, 1]
    """
    return np.bincount(vocab.characters[vocab.kinds <= Kind.BYTE])
