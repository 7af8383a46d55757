"""Crops against the packing of transformers."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.crops import Crops

sizes = st.integers(1, 2000)


def packed(crops):
    """(crop, patch) of each packed patch by transformers, from numbered patches; 0 stands for a newline."""
    llava_next = pytest.importorskip("transformers.models.llava_next.modeling_llava_next")
    numbers = torch.arange(1, crops.count * crops.side**2 + 1, dtype=torch.float64).view(crops.count, -1, 1)
    vision = SimpleNamespace(image_size=crops.side, patch_size=1)
    pinpoints = [[crops.rows * crops.side, crops.columns * crops.side]]
    model = SimpleNamespace(config=SimpleNamespace(vision_config=vision, image_grid_pinpoints=pinpoints))
    (found,), _ = llava_next.LlavaNextModel.pack_image_features(
        model, [numbers], torch.tensor([[crops.height, crops.width]]), "default", torch.zeros(1, dtype=torch.float64)
    )
    return found[:, 0].long()


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), sizes, sizes)
def test_valid_patches_are_those_that_transformers_packs_in_the_order_of_the_canvas(rows, columns, side, height, width):
    crops = Crops(rows, columns, side, height, width)
    number = torch.arange(1, crops.count * side * side + 1).view(crops.count, -1)
    row, column = crops.canvas.unbind(2)
    order = (row * columns * side + column)[1:][crops.valid[1:]].argsort()
    right = torch.cat([number[0], number[1:][crops.valid[1:]][order]])
    found = packed(crops)
    assert found[found > 0].tolist() == right.tolist()
    top, bottom, left, right_end = crops.area
    assert int(crops.valid[1:].sum()) == (bottom - top) * (right_end - left)
    assert int((found == 0).sum()) == bottom - top


def test_the_canvas_counts_rows_of_crops_first():
    crops = Crops(rows=2, columns=3, side=2, height=100, width=150)
    assert crops.count == 7 and bool(crops.valid.all())
    assert crops.canvas[0].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert crops.canvas[2].tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert crops.canvas[6].tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]


@pytest.mark.parametrize("name", ["rows", "columns", "side", "height", "width"])
def test_what_is_not_there_cannot_be_cropped(name):
    with pytest.raises(InvalidInput, match=f"{name}=0"):
        Crops(**{**dict.fromkeys(("rows", "columns", "side", "height", "width"), 1), name: 0})
