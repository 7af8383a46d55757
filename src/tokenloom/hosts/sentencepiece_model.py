"""SentencePiece `.model` files, run by the `sentencepiece` package."""
# T tokens

import base64
import hashlib
from functools import cached_property
from typing import Any

import numpy as np

from ..core.errors import TokenizerError, require
from ..core.vocabulary import Kind, Vocabulary
from .engines import foreign
from .host import HostTokenizer
from .offsets import ends_by_span

__all__ = ["SentencePieceTokenizer"]


class SentencePieceTokenizer(HostTokenizer):
    """A tokenizer from the content of a SentencePiece `.model` file.

    A text that begins with a word gets the model's own word mark, which owns no byte of the text.

    Raises: MissingExtra: the package is not installed; TokenizerError: not such a file.
    """

    engine = "sentencepiece"

    def __init__(self, model: bytes, name: str) -> None:
        package = require("sentencepiece", "hf")
        self.name = name
        self._model = model
        try:
            self._processor = package.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, OSError, ValueError) as error:
            raise TokenizerError(f"{name} is not a SentencePiece model: {error}") from error
        unknown = self._processor.unk_id()
        self.unknown = unknown if unknown >= 0 else None

    @cached_property
    def vocab(self) -> Vocabulary:
        """The bytes and kind of each id."""
        processor, tokens, kinds = self._processor, [], []
        for i in range(processor.vocab_size()):
            piece = processor.id_to_piece(i)
            if processor.is_byte(i):
                tokens.append(bytes([int(piece[3:5], 16)]))
                kinds.append(Kind.BYTE)
            elif processor.is_control(i) or processor.is_unknown(i):
                tokens.append(piece.encode())
                kinds.append(Kind.SPECIAL)
            else:
                tokens.append(piece.replace("▁", " ").encode())
                kinds.append(Kind.UNUSED if processor.is_unused(i) else Kind.NORMAL)
        return Vocabulary(tokens, kinds=kinds)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self._model).hexdigest()

    @property
    def spec(self) -> dict[str, Any]:
        return {"format": "sentencepiece", "name": self.name, "model": base64.b64encode(self._model).decode()}

    def _file(self) -> bytes:
        return self._model

    def _ids(self, texts: list[str], threads: int | None) -> tuple[np.ndarray, np.ndarray]:
        with foreign(self.engine):
            arrays = self._processor.encode(texts, return_type="numpy", num_threads=threads or -1)
        starts = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([ids.size for ids in arrays], out=starts[1:])
        return np.concatenate([np.zeros(0, np.int32), *arrays]), starts

    def _ends(self, text: str, ids_T: np.ndarray) -> np.ndarray:
        with foreign(self.engine):
            spans = self._processor.encode(text, return_type="offset_mapping")["offsets"]
        spans_T2 = np.array(spans, np.int64).reshape(-1, 2)
        return ends_by_span(self.vocab, ids_T, spans_T2, text)
