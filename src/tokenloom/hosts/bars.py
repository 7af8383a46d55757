"""The progress bars and warnings of transformers, which come with every loading and writing unless told."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..core.errors import require

__all__ = ["without_bars"]


@contextmanager
def without_bars(*, warnings: bool = True) -> Iterator[None]:
    """Nothing is drawn inside the block; afterwards all is as before.

    Args:
        warnings: whether they are shown; False where the caller tells himself what they say.
    Raises: MissingExtra: transformers is not installed.
    """
    logging = require("transformers", "hf").utils.logging
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    if not warnings:
        logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
