"""What is known of a language's words: the one door to word lists, dictionaries, grammars and analysers.

Metrics ask it whether a token is a word, a root or an affix (Bayram et al. 2025, arXiv 2502.07057); where the answers come
from, a list, an affix dictionary or an analyser, is nobody's business but the lexicon's.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from .errors import InvalidInput

__all__ = ["Lexicon", "WordList"]


@runtime_checkable
class Lexicon(Protocol):
    """Words, roots and affixes of one language; strings are compared as they are, so fold case before asking."""

    def is_word(self, text: str) -> bool:
        """Whether `text` is a word of the language, inflected or not."""
        ...

    def roots(self, word: str) -> set[str]:
        """Roots of all analyses of `word`; empty where there is none."""
        ...

    def is_affix(self, text: str) -> bool:
        """Whether `text` is a prefix, infix or suffix in one of its forms."""
        ...


class WordList:
    """A lexicon that is written down.

    Args:
        words: all that counts as a word.
        affixes: all forms of all affixes.
        roots: word → its roots; a word that is not there is its own root.
    Raises: InvalidInput: neither words nor affixes, or an empty one.

    >>> turkish = WordList(["ev", "evler"], affixes=["ler", "lar"], roots={"evler": ["ev"]})
    >>> turkish.is_word("evler"), turkish.roots("evler"), turkish.roots("ev"), turkish.is_affix("ler")
    (True, {'ev'}, {'ev'}, True)
    """

    def __init__(
        self, words: Iterable[str], affixes: Iterable[str] = (), roots: Mapping[str, Iterable[str]] | None = None
    ) -> None:
        self.words, self.affixes = frozenset(words), frozenset(affixes)
        self._roots = {word: set(found) for word, found in (roots or {}).items()}
        if not self.words and not self.affixes:
            raise InvalidInput("a word list needs one word or affix at least")
        if "" in self.words or "" in self.affixes:
            raise InvalidInput("a word list holds an empty word or affix")

    def is_word(self, text: str) -> bool:
        return text in self.words

    def roots(self, word: str) -> set[str]:
        return set(self._roots.get(word, {word} if word in self.words else ()))

    def is_affix(self, text: str) -> bool:
        return text in self.affixes
