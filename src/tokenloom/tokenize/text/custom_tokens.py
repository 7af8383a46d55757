"""Strings of legal, financial and technical text that get a token whether or not a corpus has many of them.

Bommarito, Katz, Bommarito 2025, arXiv 2503.17247, section 3; the families are those of the authors' third generation. The
years end in 2049, as in their code; their text says 2050.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from string import ascii_letters
from typing import Any

from ...core.errors import InvalidInput

__all__ = ["citation_parts", "custom_tokens"]

_URLS = ("http://", "https://", "www.", "ftp://", "mailto:", "tel:", "://")
_TAGS = (
    "html head body div span img table thead tbody tfoot tr td ul ol li h1 h2 h3 h4 iframe script style svg input button "
    "form label select option textarea meta link title pre code row column"
)
_ATTRIBUTES = ("href", "src", "alt", "title", "class", "id")
_JSON = ('{"', '"}', '["', '"]', '":', '","', '":"', "null", "true", "false")
_XML = ("<!--", "-->", "<![CDATA[", "]]>", "<?xml", "<xml", "</xml>")
_ROMAN = ("ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
_FILES = ("laws.json", "reporters.json", "journals.json", "case_name_abbreviations.json")


def custom_tokens(*, cased: bool = True) -> tuple[str, ...]:
    """All generated families: white space, Markdown, HTML, JSON, XML, years, numbers and the marks of paragraphs.

    Args:
        cased: with upper-case tags, attributes, letters and Roman numbers; otherwise everything is in lower case.
    Returns: different strings of two or more characters, sorted.

    >>> [token for token in custom_tokens() if token.startswith("(i")]
    ['(i)', '(ii)', '(iii)', '(iv)', '(ix)']
    """
    runs = range(2, 9)
    tokens = {sign * n for sign in " \t\r\n.-=_*~" for n in runs} | {"\r\n", "\t "}
    tokens |= {"#" * n for n in range(2, 7)} | {"```", "![", *_URLS, *_JSON, *_XML}
    for upper in (False, True):
        tokens |= {f"<{tag.upper() if upper else tag}" for tag in _TAGS.split()}
        tokens |= {f" {name.upper() if upper else name}=" for name in _ATTRIBUTES}
        tokens |= {f"({number.upper() if upper else number})" for number in _ROMAN}
    tokens |= {f"</{tag}>" for tag in _TAGS.split()}
    tokens |= {f"({mark})" for mark in (*ascii_letters, *range(1, 100))}
    tokens |= {str(number) for number in (*range(10, 1000), *range(1776, 2050))}
    return tuple(sorted(tokens if cased else {token.lower() for token in tokens}))


def citation_parts(folder: str | Path | None = None, *, cased: bool = True) -> tuple[str, ...]:
    """The parts, between spaces, of how laws, courts, journals and cases are cited: "F.", "Supp.", "Ass'n", "Stat.".

    Args:
        folder: that holds laws.json, reporters.json, journals.json and case_name_abbreviations.json of the Free Law
            Project's reporters database (BSD-2); None for the installed package `reporters-db`.
        cased: as they are written; otherwise in lower case.
    Returns: different strings of two or more characters, sorted.
    Raises: InvalidInput: they are not there, or are no such files.
    """
    if folder is None:
        package = find_spec("reporters_db")
        if package is None or package.origin is None:
            raise InvalidInput(
                "the package reporters-db is not installed: pip install reporters-db, or give its folder"
            )
        folder = Path(package.origin).parent / "data"
    parts: set[str] = set()
    for name in _FILES:
        for citation, editions in _read(Path(folder) / name).items():
            parts.update(citation.split())
            if name == "reporters.json":
                parts.update(part for edition in editions for way in edition["variations"] for part in way.split())
    if not cased:
        parts = {part.lower() for part in parts}
    return tuple(sorted(part for part in parts if len(part) > 1))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read; it comes with the package reporters-db, in its folder data"
        ) from error
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{path} should hold citations by their names, not a {type(found).__name__}")
    return found
