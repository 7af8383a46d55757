"""Byte strings that are almost text: where the valid runs lie.

Engines take Unicode strings only. What is not UTF-8 goes round them, one byte token a byte, and is never lost.
"""

import re

from ..core.tokenizer import as_bytes

__all__ = ["valid_runs"]

# What the "surrogateescape" handler makes of a byte that belongs to no character.
_STRAY = re.compile("([\udc80-\udcff]+)")


def valid_runs(text: str | bytes) -> list[str | bytes]:
    """Cut a text into maximal runs of valid UTF-8 (as `str`) and the stray bytes between them (as `bytes`).

    A lone surrogate in a `str` counts as the three stray bytes that "surrogatepass" makes of it.
    Returns: non-empty runs; `b"".join` of their UTF-8 is the text's bytes.

    >>> valid_runs(b"caf\\xc3\\xa9 \\xff\\xfe!"), valid_runs("")
    (['café ', b'\\xff\\xfe', '!'], [])
    """
    if not text:
        return []
    if isinstance(text, str):
        if text.isascii() or _encodable(text):
            return [text]
        text = as_bytes(text)
    loose = text.decode("utf-8", "surrogateescape")
    if loose.isascii() or _encodable(loose):
        return [loose]
    runs = _STRAY.split(loose)
    return [run.encode("utf-8", "surrogateescape") if i % 2 else run for i, run in enumerate(runs) if run]


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
