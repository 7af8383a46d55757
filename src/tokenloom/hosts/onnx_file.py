"""What an ONNX file holds: its tensors, and which nodes use them. Nothing is run, and the package `onnx` is not needed.

An ONNX file is one message of Protocol Buffers: a sequence of fields, each a number, a wire type and a value, which may be a
message itself. Of the schema (onnx.proto3) only what carries weights is read: tensors of numbers in `raw_data` or
`float_data`, and the names of nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..core.errors import InvalidInput

__all__ = ["Node", "OnnxFile", "read_onnx"]

_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}


@dataclass(frozen=True)
class Node:
    """One operation: its name, what it does ("MatMul"), and the names of what it takes and gives."""

    name: str
    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class OnnxFile:
    """The graph of a file.

    Args:
        tensors: name → value, of initialisers, and of constants under the name of their output.
        nodes: in the order of the file.
    """

    tensors: dict[str, np.ndarray]
    nodes: tuple[Node, ...]


def read_onnx(content: bytes) -> OnnxFile:
    """Read a file whose weights are inside it.

    Tensors of types without a dtype of numpy, and strings, are left out.
    Raises: InvalidInput: no ONNX file, a truncated one, or weights that lie in another file.
    """
    graphs = [value for number, value in _fields(memoryview(content)) if number == 7]
    if len(graphs) != 1 or not isinstance(graphs[0], memoryview):
        raise InvalidInput(f"{len(graphs)} graphs; an ONNX file has one")
    tensors: dict[str, np.ndarray] = {}
    nodes = []
    for number, value in _fields(graphs[0]):
        if number == 5:
            tensors |= _tensor(value)
        elif number == 1:
            node, constant = _node(value)
            nodes.append(node)
            if node.operation == "Constant" and constant is not None:
                tensors |= _tensor(constant, node.outputs[0])
    return OnnxFile(tensors, tuple(nodes))


def _node(message: memoryview) -> tuple[Node, memoryview | None]:
    """A node, and the tensor among its attributes, if there is one."""
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    constant = None
    for number, value in _fields(message):
        if number in texts:
            texts[number].append(bytes(value).decode())
        elif number == 5:
            constant = next((inner for at, inner in _fields(value) if at == 5), constant)
    return Node("".join(texts[3]), "".join(texts[4]), tuple(texts[1]), tuple(texts[2])), constant


def _tensor(message: memoryview, name: str = "") -> dict[str, np.ndarray]:
    """{name: value}; empty where the type is not one of numpy's."""
    shape: list[int] = []
    dtype, content, outside = "", memoryview(b""), False
    for number, value in _fields(message):
        if number == 1:
            shape += [value] if isinstance(value, int) else _packed(value)
        elif number == 2:
            dtype = _DTYPES.get(value, "")
        elif number in (4, 9):
            content = value
        elif number == 8 and not name:
            name = bytes(value).decode()
        elif number == 14:
            outside = value == 1
    if outside:
        raise InvalidInput(f"the values of {name!r} lie in another file; only files that hold all of it are read")
    if not dtype:
        return {}
    values = np.frombuffer(content, dtype)
    if values.size != math.prod(shape):
        # Small integers may stand in fields of their own, which no weight does.
        return {}
    return {name: values.reshape(shape)}


def _fields(message: Any) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an int, or the bytes of a text, a message or packed numbers."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise InvalidInput(f"wire type {wire} at byte {at}; this is no ONNX file")
        if at + size > end:
            raise InvalidInput(f"a field ends at byte {at + size} of {end}; the file is truncated, or no ONNX file")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, and where it ends."""
    value = 0
    for k, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value, at + k + 1
    raise InvalidInput(f"a number without end at byte {at}; the file is truncated, or no ONNX file")


def _packed(message: memoryview) -> list[int]:
    """Whole numbers one after the other."""
    ends = [-1, *(at for at, byte in enumerate(message) if byte < 128)]
    return [_varint(message, start + 1)[0] for start, _ in pairwise(ends)]
