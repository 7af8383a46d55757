"""GGUF files: settings and a vocabulary in the header, and behind it the weights, in blocks of a few bits each.

Versions 2 and 3, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import StoreError, require

__all__ = ["GgufFile", "GgufTensor", "read_gguf"]

_NUMBERS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_STRING, _ARRAY = 8, 9
_PLAIN = {0: "<f4", 1: "<f2"}  # block formats without blocks


@dataclass(frozen=True, eq=False)
class GgufTensor:
    """A weight as it lies in the file.

    Args:
        shape: rows first, the contiguous axis last.
        type: number of the block format.
        blocks: its bytes, uint8, a view of the file; from here to the end of the file.
    """

    shape: tuple[int, ...]
    type: int
    blocks: np.ndarray

    def decode(self) -> np.ndarray:
        """The weight as float32 of `shape`.

        Raises: StoreError: a format that the package `gguf` does not decode, or the file ends before the weight does.
        """
        if self.type in _PLAIN:
            plain = np.dtype(_PLAIN[self.type])
            values = self._bytes(math.prod(self.shape) * plain.itemsize).view(plain)
            return values.astype(np.float32).reshape(self.shape)
        gguf = require("gguf", "models")
        try:
            kind = gguf.GGMLQuantizationType(self.type)
            block, size = gguf.GGML_QUANT_SIZES[kind]
            columns = self.shape[-1] if self.shape else 1
            rows, width = math.prod(self.shape[:-1]), columns // block * size
            if columns % block:
                raise StoreError(f"a weight of shape {self.shape} is in blocks of {block}, which do not divide a row")
            decoded = gguf.dequantize(self._bytes(rows * width).reshape(rows, width), kind)
        except (ValueError, NotImplementedError) as error:
            raise StoreError(f"a weight is in block format {self.type}, which gguf does not decode: {error}") from error
        return np.ascontiguousarray(decoded, np.float32).reshape(self.shape)

    def _bytes(self, size: int) -> np.ndarray:
        if size > self.blocks.size:
            raise StoreError(
                f"a weight of shape {self.shape} has {size} bytes, but the file ends {self.blocks.size} after its beginning"
            )
        return self.blocks[:size]


@dataclass(frozen=True, eq=False)
class GgufFile:
    """What a GGUF file holds.

    Args:
        metadata: settings and vocabulary, by key; lists of numbers are arrays.
        tensors: weights by name, not decoded.
    """

    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]

    def __getitem__(self, key: str) -> Any:
        if key not in self.metadata:
            raise StoreError(f"the GGUF file lacks {key!r}")
        return self.metadata[key]


def read_gguf(path: str | Path) -> GgufFile:
    """Read the header of a GGUF file; weights stay on disk, behind a memory map.

    Raises: StoreError: it cannot be read, is no GGUF file of version 2 or 3, or ends too early.
    """
    try:
        data = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    head = _Header(data, path)
    if bytes(data[:4]) != b"GGUF":
        raise StoreError(f"{path} is no GGUF file: it begins with {bytes(data[:4])!r}")
    head.at = 4
    if (version := head.number("<u4")) not in (2, 3):
        raise StoreError(f"{path} is of GGUF version {version}; versions 2 and 3 are read")
    n_tensors, n_keys = head.number("<u8"), head.number("<u8")
    metadata = {head.string(): head.value(head.number("<u4")) for _ in range(n_keys)}
    told = []
    for _ in range(n_tensors):
        name = head.string()
        shape = tuple(int(size) for size in head.numbers("<u8", head.number("<u4"))[::-1])
        told.append((name, shape, head.number("<u4"), head.number("<u8")))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise StoreError(f"{path} aligns its weights to {alignment!r}; it must be a whole number >= 1")
    begin = -(-head.at // alignment) * alignment
    for name, _, _, offset in told:
        if begin + offset >= data.size:
            raise StoreError(f"{path} has {data.size} bytes, but {name} begins at {begin + offset}: it was cut off")
    return GgufFile(
        metadata, {name: GgufTensor(shape, kind, data[begin + offset :]) for name, shape, kind, offset in told}
    )


class _Header:
    """Reads one value after the other."""

    def __init__(self, data: np.ndarray, path: str | Path) -> None:
        self.data, self.path, self.at = data.data, path, 0

    def take(self, size: int) -> memoryview:
        if size > len(self.data) - self.at:
            raise StoreError(f"{self.path} ends within its header, at byte {len(self.data)}: it was cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def numbers(self, dtype: str, count: int) -> np.ndarray:
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype)

    def number(self, dtype: str) -> Any:
        return self.numbers(dtype, 1)[0].item()

    def string(self) -> str:
        (size,) = struct.unpack("<Q", self.take(8))
        return str(self.take(size), "utf-8", "surrogateescape")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            kind, count = self.number("<u4"), self.number("<u8")
            if kind in _NUMBERS:
                return self.numbers(_NUMBERS[kind], count)
            if kind != _STRING:
                raise StoreError(f"{self.path} has a list of type {kind}; lists are of numbers or of strings")
            return [self.string() for _ in range(count)]
        if kind not in _NUMBERS:
            raise StoreError(f"{self.path} has a value of type {kind} before byte {self.at}; types are 0 to 12")
        return self.number(_NUMBERS[kind])
