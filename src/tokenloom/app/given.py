"""Files that a command was given by name."""

from pathlib import Path

from ..core.errors import InvalidInput

__all__ = ["read_text"]


def read_text(path: Path) -> str:
    """The UTF-8 text of a file, without a byte-order mark.

    Raises: InvalidInput: it cannot be read, or is not UTF-8; the message names it and the byte.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from error
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}") from error
