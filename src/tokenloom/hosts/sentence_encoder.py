"""Vectors of short texts from an encoder of transformers: the mean of its last layer, kept on disk once they are made.

Reimers and Gurevych 2019, "Sentence-BERT", arXiv 1908.10084, section 3: the mean over the tokens of a text, its marks of
beginning and end included.
"""
# n texts, B texts of a batch, T their tokens, D width

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput, StoreError, require
from ..core.store import atomic_write, sha256_file
from .bars import without_bars
from .model_folder import check_folder, one_line

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SentenceEncoder"]

# Batches to a file: some minutes of work at most are lost when it is interrupted.
_BATCHES = 16


class SentenceEncoder:
    """Texts in, a vector each out; a folder keeps what was once computed.

    Texts that the encoder reads alike (an uncased one reads "The" and " the" alike) are computed once and have equal vectors, bit
    for bit. Others depend on what they share a batch with, by rounding only.

    Args:
        folder: of the encoder, as `save_pretrained` leaves it.
        cache: a folder for vectors, of any number of encoders; None keeps them in memory only.
        batch: texts of a forward pass.
        length: ids of a text that are read, the marks included.
        progress: called with what is being done, how much of it is done, and of how much.
    Raises: StoreError: the folder holds no encoder. InvalidInput: `batch` or `length` below 1. MissingExtra: `transformers` or
        `torch` is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        cache: str | Path | None = None,
        batch: int = 256,
        length: int = 128,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> None:
        if batch < 1 or length < 1:
            raise InvalidInput(f"{batch=} and {length=} must be at least 1")
        transformers, torch = require("transformers", "hf"), require("torch", "torch")
        folder = Path(folder)
        check_folder(folder)
        known = {"local_files_only": True, "trust_remote_code": False}
        try:
            with without_bars():
                self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **known)
                model = transformers.AutoModel.from_pretrained(folder, **known)
            self._model: nn.Module = model.to(torch.float32).eval()
            self._forward([np.asarray(self._tokenizer("a")["input_ids"])])
        except Exception as error:  # what transformers and tokenizers raise at a bad folder is of many kinds
            raise StoreError(f"{folder} holds no encoder that transformers can read: {one_line(error)}") from error
        self._batch, self._length, self._progress = batch, length, progress
        self._cache = None if cache is None else Path(cache) / _digest(folder)[:16]
        self._known = {} if self._cache is None else _read(self._cache)
        self.width = int(model.config.hidden_size)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of `texts`, float32 (n, D), not normalised; a text without ids has zeros."""
        if isinstance(texts, str):
            raise InvalidInput("an encoder takes many texts; for one give [text]")
        read = self._tokenizer(list(texts), truncation=True, max_length=self._length)["input_ids"] if len(texts) else []
        sequences = [np.asarray(ids, "<i4") for ids in read]
        keys = [hashlib.blake2b(ids.tobytes(), digest_size=16).digest() for ids in sequences]
        missing = {key: ids for key, ids in zip(keys, sequences) if key not in self._known and ids.size}
        self._compute(sorted(missing, key=lambda key: missing[key].size), missing)
        zeros = np.zeros(self.width, np.float32)
        return np.array([self._known.get(key, zeros) for key in keys], np.float32).reshape(len(keys), self.width)

    def _compute(self, keys: list[bytes], sequences: dict[bytes, np.ndarray]) -> None:
        step = self._batch * _BATCHES
        for start in range(0, len(keys), step):
            part, found = keys[start : start + step], []
            for at in range(0, len(part), self._batch):
                found.append(self._forward([sequences[key] for key in part[at : at + self._batch]]))
                if self._progress is not None:
                    self._progress("texts encoded", min(start + at + self._batch, len(keys)), len(keys))
            vectors_nD = np.concatenate(found)
            self._known |= dict(zip(part, vectors_nD))
            if self._cache is not None:
                _write(self._cache, part, vectors_nD)

    def _forward(self, sequences: list[np.ndarray]) -> np.ndarray:
        import torch

        lengths = np.array([ids.size for ids in sequences])
        mask_BT = np.arange(lengths.max()) < lengths[:, None]
        ids_BT = np.full(mask_BT.shape, self._tokenizer.pad_token_id or 0, np.int64)
        ids_BT[mask_BT] = np.concatenate(sequences)
        mask = torch.from_numpy(mask_BT)
        with torch.inference_mode():
            hidden_BTD = self._model(input_ids=torch.from_numpy(ids_BT), attention_mask=mask.long()).last_hidden_state
            return ((hidden_BTD * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).numpy()


def _digest(folder: Path) -> str:
    """Of the model; its tokenizer shows in the ids that vectors are kept under."""
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    told = "".join(sha256_file(path) for path in [folder / "config.json", *weights])
    return hashlib.sha256(told.encode()).hexdigest()


def _read(cache: Path) -> dict[bytes, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    known: dict[bytes, np.ndarray] = {}
    for path in sorted(cache.glob("*.safetensors")):
        try:
            held = load_file(path)
            keys, vectors_nD = held["keys"], held["vectors"]
        except (SafetensorError, KeyError, OSError) as error:
            raise StoreError(f"{path} does not hold the vectors of texts; remove it: {error}") from error
        known |= dict(zip(map(bytes, keys), vectors_nD))
    return known


def _write(cache: Path, keys: list[bytes], vectors_nD: np.ndarray) -> None:
    """One more file, named after what it holds, so that several processes can write at once."""
    from safetensors.numpy import save

    joined = b"".join(keys)
    content = save({"keys": np.frombuffer(joined, np.uint8).reshape(-1, 16), "vectors": vectors_nD})
    cache.mkdir(parents=True, exist_ok=True)
    with atomic_write(cache / f"{hashlib.sha256(joined).hexdigest()[:24]}.safetensors") as file:
        file.write(content)
