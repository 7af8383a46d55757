"""What a command may write, looked at before any work."""

import os
from pathlib import Path

from ..core.errors import StoreError

__all__ = ["check_file", "check_place"]


def check_place(out: Path) -> None:
    """Refuse a path in a folder that is not there or cannot be written to.

    Raises: StoreError.
    """
    if not out.parent.is_dir():
        raise StoreError(f"{out}: there is no folder {out.parent}")
    if not os.access(out.parent, os.W_OK):
        raise StoreError(f"{out}: {out.parent} cannot be written to")


def check_file(out: Path, example: str, force: bool) -> None:
    """Refuse what is no path of a file that may be written.

    Args:
        example: a name of such a file, for the message.
        force: whether one that is there may be written over.
    Raises: StoreError: it is a folder, or there already, or cannot be there.
    """
    check_place(out)
    if out.is_dir():
        raise StoreError(f"{out} is a folder; name a file, such as {out / example}")
    if out.exists() and not force:
        raise StoreError(f"{out} is there already; --force writes over it")
