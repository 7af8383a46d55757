"""Longest match in a `tokenizer.json`: at each place the longest known string, other characters in bytes.

No model of that format does this: WordPiece comes near, but tries all lengths of the whole text at every place, which takes
time that grows with its square. So the strings are found by the pretokenizer, as one regular expression that is a
tree, and the model, byte-level BPE without merges, only looks them up.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from .ranks import byte_level_json

__all__ = ["longest_match_json", "longest_match_pattern"]


def longest_match_json(ids: Mapping[str, int], special: dict[str, int], name: str) -> dict[str, Any]:
    """A `tokenizer.json`, parsed, that encodes by longest match.

    Args:
        ids: strings, not empty, and their ids; ids 0 to 255 are the bytes and belong to no longer string.
        special: tokens that no text produces, and their ids.
        name: of the tokenizer, for messages.
    Raises: TokenizerError: a special token collides with another token.
    """
    tokens = {bytes([byte]): byte for byte in range(256)} | {string.encode(): i for string, i in ids.items()}
    parsed = byte_level_json(tokens, [], longest_match_pattern(sorted(ids)) if ids else None, special, name)
    parsed["model"]["ignore_merges"] = True  # a piece that is a token is that; others fall into bytes
    return parsed


def longest_match_pattern(strings: Sequence[str]) -> str:
    """A regular expression that matches the longest of `strings`, sorted and different, that begins at a place.

    Branches differ in their first character, and a longer one is tried before it is given up, so that the work does not
    grow with their number.

    >>> longest_match_pattern(["a", "a.b", "an", "ant", "x"])
    '(?:a(?:\\\\.b|n(?:t)?)?|x)'
    """
    optional = not strings[0]
    branches = []
    for _, group in groupby(strings[optional:], key=lambda string: string[0]):
        same = list(group)
        stem = _shared(same[0], same[-1])
        rest = [string[len(stem) :] for string in same]
        branches.append(_escaped(stem) + (longest_match_pattern(rest) if len(rest) > 1 else ""))
    if len(branches) == 1 and not optional:
        return branches[0]
    return f"(?:{'|'.join(branches)})" + "?" * optional


def _shared(first: str, last: str) -> str:
    """The beginning of two strings, and so of all that are sorted between them."""
    k = 0
    while k < len(first) and first[k] == last[k]:
        k += 1
    return first[:k]


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\.^$|?*+()[]{}" else c for c in text)
