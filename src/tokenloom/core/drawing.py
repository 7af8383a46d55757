"""Tokens made visible: alternating colours in a terminal or on a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Drawing"]

# Six pairs of (256-colour background, CSS background): neighbours differ for all kinds of colour vision by lightness.
_COLOURS = ((153, "#a9d1f7"), (229, "#fdf0a6"), (157, "#b5efc0"), (217, "#f9c0c6"), (189, "#d9d7fa"), (223, "#fbd9ae"))


@dataclass(frozen=True)
class Drawing:
    """Tokens in alternating colours: `str()` for a terminal, `.html` for a page, `.plain` where there is no colour.

    Bytes that are not UTF-8 by themselves (a token may end inside a character) are shown as hexadecimal ⟨e4⟩, a token
    of width zero as ⟨⟩.

    >>> Drawing([b"straw", b"berry", b""]).plain
    'straw|berry|⟨⟩'
    """

    tokens: Sequence[bytes]

    @property
    def plain(self) -> str:
        """The tokens with bars between them."""
        return "|".join(map(_readable, self.tokens))

    @property
    def html(self) -> str:
        """A self-contained HTML element."""
        spans = "".join(
            f'<span style="background:{_COLOURS[i % len(_COLOURS)][1]};color:#111;border-radius:.2em">'
            f"{escape(_readable(token))}</span>"
            for i, token in enumerate(self.tokens)
        )
        return f'<span style="font-family:ui-monospace,monospace;white-space:pre-wrap">{spans}</span>'

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return "".join(
            f"\x1b[38;5;16;48;5;{_COLOURS[i % len(_COLOURS)][0]}m{_readable(token)}\x1b[0m"
            for i, token in enumerate(self.tokens)
        )


def _readable(token: bytes) -> str:
    if not token:
        return "⟨⟩"
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(chr(b) if 32 <= b < 127 else f"⟨{b:02x}⟩" for b in token)
    # Control characters would move the cursor or end the line (of a terminal) in the middle of a token.
    return "".join(c if c.isprintable() or c == "\n" else f"⟨{c.encode().hex()}⟩" for c in text)
