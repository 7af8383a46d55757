"""The progress bars of transformers, which it draws on every loading and writing unless told."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..core.errors import require

__all__ = ["without_bars"]


@contextmanager
def without_bars() -> Iterator[None]:
    """Nothing is drawn inside the block; afterwards all is as before.

    Raises: MissingExtra: transformers is not installed.
    """
    logging = require("transformers", "hf").utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
