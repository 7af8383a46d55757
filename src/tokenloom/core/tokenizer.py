"""What every text tokenizer offers, whoever's engine does the work."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np

from .segmentation import Ragged, Segmentation
from .vocabulary import Vocabulary

__all__ = ["Tokenizer", "as_bytes"]


@runtime_checkable
class Tokenizer(Protocol):
    """Text in, ids and byte offsets out; ordinary text only: special tokens are neither read nor added."""

    @property
    def name(self) -> str: ...

    @property
    def vocab(self) -> Vocabulary: ...

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that determines the ids."""
        ...

    def encode(self, text: str | bytes) -> Segmentation:
        """Cut one text; the segmentation's data are the text's bytes, all of them."""
        ...

    def encode_batch(self, texts: Iterable[str | bytes], threads: int | None = None) -> Ragged:
        """Cut many texts; the ids of `encode`, without the offsets."""
        ...

    def decode(self, ids: np.ndarray) -> bytes:
        """The bytes that `ids` stand for."""
        ...


def as_bytes(text: str | bytes) -> bytes:
    """UTF-8 of a text; lone surrogates become their three bytes, so that nothing is lost.

    >>> as_bytes("\\ud800").hex()
    'eda080'
    """
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
