"""Tensors and nodes come out of an ONNX file as they went in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from onnx_messages import field, node, onnx, tensor

from tokenloom.core.errors import InvalidInput
from tokenloom.hosts.onnx_file import read_onnx


@given(
    arrays(
        st.sampled_from(["float32", "int64", "float64"]),
        array_shapes(min_dims=0, max_dims=3, max_side=4),
        elements=st.integers(-9, 9),
    )
)
def test_what_was_written_is_read(values):
    file = read_onnx(onnx({"a.weight": values}, []))
    assert file.tensors["a.weight"].dtype == values.dtype
    assert np.array_equal(file.tensors["a.weight"], values)


def test_nodes_have_their_names_and_constants_stand_under_their_output():
    constant = np.arange(300, dtype=np.float32).reshape(1, 300)
    file = read_onnx(
        onnx({}, [node("/layer/MatMul", "MatMul", ["x", "w"], ["y"]), node("c", "Constant", [], ["c_out"], constant)])
    )
    assert [(n.name, n.operation, n.inputs, n.outputs) for n in file.nodes] == [
        ("/layer/MatMul", "MatMul", ("x", "w"), ("y",)),
        ("c", "Constant", (), ("c_out",)),
    ]
    assert np.array_equal(file.tensors["c_out"], constant)


def test_packed_sizes_and_numbers_are_read():
    """Writers may pack repeated numbers into one field, as the newer standard has it."""
    values = np.arange(6, dtype=np.float32)
    graph = field(5, field(1, bytes([2, 3])) + field(2, 1) + field(8, "w") + field(4, values.tobytes()))
    assert np.array_equal(read_onnx(field(7, graph)).tensors["w"], values.reshape(2, 3))


def test_texts_are_left_out():
    graph = field(5, field(1, 1) + field(2, 8) + field(8, "words") + field(6, "a"))
    assert read_onnx(field(7, graph)).tensors == {}


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "0 graphs"),
        (b"\x0b", "wire type 3"),
        (onnx({"w": np.zeros(4)}, [])[:-20], "truncated"),
        (b"\x80" * 12, "a number without end"),
        (field(7, field(5, tensor("w", np.zeros(0)) + field(14, 1))), "'w' lie in another file"),
    ],
)
def test_what_is_no_file_is_refused(content, words):
    with pytest.raises(InvalidInput, match=words):
        read_onnx(content)
