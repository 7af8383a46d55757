"""The tokenizer that needs no file: one token a byte, and an end-of-text token."""

from functools import cached_property
from typing import Any

import numpy as np

from ..core.errors import TokenizerError
from ..core.store import digest_of
from ..core.tokenizer import as_bytes
from ..core.vocabulary import Vocabulary
from .host import HostTokenizer

__all__ = ["ByteTokenizer"]

END_OF_TEXT = b"<|endoftext|>"


class ByteTokenizer(HostTokenizer):
    """Ids 0 to 255 are the bytes, 256 is the special token <|endoftext|>."""

    name = "bytes"
    engine = "numpy"
    unknown = None

    @cached_property
    def vocab(self) -> Vocabulary:
        """257 ids."""
        return Vocabulary([bytes([byte]) for byte in range(256)], special=[END_OF_TEXT])

    @property
    def digest(self) -> str:
        return digest_of(self.spec)

    @property
    def spec(self) -> dict[str, Any]:
        return {"format": "bytes"}

    def _file(self) -> bytes:
        raise TokenizerError("the tokenizer 'bytes' needs no file: load_tokenizer('bytes')")

    def _ids(self, texts: list[str], threads: int | None) -> tuple[np.ndarray, np.ndarray]:
        chunks = [as_bytes(text) for text in texts]
        starts = np.zeros(len(chunks) + 1, np.int64)
        np.cumsum([len(chunk) for chunk in chunks], out=starts[1:])
        return np.frombuffer(b"".join(chunks), np.uint8).astype(np.int32), starts

    def _ends(self, text: str, ids_T: np.ndarray) -> np.ndarray:
        return np.arange(1, ids_T.size + 1)
