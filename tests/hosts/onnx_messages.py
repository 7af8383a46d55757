"""ONNX files made by hand: the few messages of Protocol Buffers that hold a graph."""

import numpy as np


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """A field of a message: an int, or bytes or text with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name, values):
    kind = {"float32": 1, "int64": 7, "float64": 11}[str(values.dtype)]
    dims = b"".join(field(1, size) for size in values.shape)
    return dims + field(2, kind) + field(8, name) + field(9, values.tobytes())


def node(name, operation, inputs, outputs, constant=None):
    attribute = b"" if constant is None else field(5, field(1, "value") + field(5, tensor("", constant)) + field(20, 4))
    named = b"".join(field(1, one) for one in inputs) + b"".join(field(2, one) for one in outputs)
    return named + field(3, name) + field(4, operation) + attribute


def onnx(tensors, nodes):
    """A whole file."""
    graph = b"".join(field(1, one) for one in nodes) + field(2, "graph")
    graph += b"".join(field(5, tensor(name, np.asarray(values))) for name, values in tensors.items())
    return field(1, 8) + field(2, "made by hand") + field(7, graph) + field(8, field(2, 14))
