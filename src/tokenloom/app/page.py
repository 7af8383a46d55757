"""Pages that commands leave behind: one file, nothing loaded from elsewhere, light and dark."""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from ..core.store import atomic_write

__all__ = ["table", "write_page"]


def write_page(path: Path, title: str, sections: Iterable[str], *, look: str = "") -> None:
    """Write a page of HTML sections, whole or not at all; `look` is a class of the style sheet."""
    style = (files(__package__) / "page.css").read_text(encoding="utf-8")
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main class="{look}">\n'
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "replace"))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str:
    """A table of HTML cells; the `numbers` columns after the first are set right."""
    kind = ["", *[' class="number"'] * numbers, *[""] * len(head)]
    titles = "".join(f"<th{k}>{cell}</th>" for k, cell in zip(kind, head))
    body = "".join("<tr>" + "".join(f"<td{k}>{cell}</td>" for k, cell in zip(kind, row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'
