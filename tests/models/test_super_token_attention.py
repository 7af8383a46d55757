"""Super token attention: a twin pixel by pixel, its identities, its gradient, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from super_token_twin import super_token_attention

from tokenloom.core.errors import InvalidInput
from tokenloom.models.super_token_attention import GridAttention, SuperTokenAttention, associate


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(width, heads, cell, **options):
    torch.manual_seed(0)
    return SuperTokenAttention(width, heads, cell, **options)


@settings(max_examples=25)
@given(
    st.integers(0, 500),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 4), st.integers(2, 4)),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
)
def test_every_pixel_is_that_of_the_plain_loop(seed, size, cell, iterations, mask_border, refine):
    x = noise(2, 4, *size, seed=seed)
    attend = made(4, 2, cell, iterations=iterations, mask_border=mask_border, refine=refine)
    weights = None
    if refine:
        weights = [t.detach().double().numpy() for t in (attend.refine.qkv.weight[..., 0, 0], attend.refine.qkv.bias,
                                                         attend.refine.proj.weight[..., 0, 0], attend.refine.proj.bias)]  # fmt: skip
        weights.append(2)
    with torch.no_grad():
        found = attend(x)
    for b in range(2):
        right = super_token_attention(x[b].double().numpy(), cell, iterations, mask_border, weights)
        np.testing.assert_allclose(found[b], right, atol=1e-5)


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_a_constant_map_comes_back_where_no_border_is_near(iterations):
    x = noise(1, 5, 1, 1).expand(1, 5, 12, 15).contiguous()
    open_border = made(5, 1, (3, 3), iterations=iterations, refine=False)(x)
    np.testing.assert_allclose(open_border[..., 3:9, 3:12], x[..., 3:9, 3:12], rtol=1e-5)
    assert (open_border[..., 0, 0].abs() < x[..., 0, 0].abs()).all(), "the border shrinks"
    x = x[..., :11, :13]  # not whole cells
    masked = made(5, 1, (3, 3), iterations=iterations, refine=False, mask_border=True)(x)
    np.testing.assert_allclose(masked, x, rtol=1e-5)


def test_the_nine_parts_of_a_pixel_sum_to_one():
    found = associate(noise(2, 6, 9, 10), (4, 3), iterations=2)
    np.testing.assert_allclose(found.weight_BMP9.sum(3), 1, rtol=1e-5)
    masked = associate(noise(2, 6, 9, 10), (4, 3), mask_border=True)
    assert masked.weight_BMP9.sum() == pytest.approx(2 * 90, rel=1e-5)  # pixels that pad take no part


def test_cells_of_one_pixel_are_plain_attention():
    attend, x = made(8, 2, (1, 1)), noise(2, 8, 5, 6)
    with torch.no_grad():
        found = attend(x)
        flat = x.flatten(2).transpose(1, 2)
        qkv = flat @ attend.refine.qkv.weight[..., 0, 0].T + attend.refine.qkv.bias
        mixed = []
        for head in range(2):
            queries, keys, values = qkv[..., 12 * head : 12 * head + 12].split(4, dim=2)
            mixed.append((queries @ keys.transpose(1, 2) / 2).softmax(2) @ values)
        right = torch.cat(mixed, 2) @ attend.refine.proj.weight[..., 0, 0].T + attend.refine.proj.bias
    np.testing.assert_allclose(found.flatten(2).transpose(1, 2), right, atol=1e-5)


def test_a_shift_by_a_cell_shifts_what_is_three_cells_from_the_border():
    """Of one iteration, a pixel depends on the means of cells up to three away."""
    wide = noise(1, 4, 18, 20)
    attend = made(4, 1, (2, 2), refine=False)
    left, right = attend(wide[..., :18]), attend(wide[..., 2:])
    np.testing.assert_allclose(left[..., 8:10, 8], right[..., 8:10, 6], atol=1e-6)
    assert not torch.allclose(left[..., 8:10, 2], right[..., 8:10, 0])


def test_the_association_has_no_gradient():
    """The Jacobian is that of the two sums with their weights as constants, Q diag(1 / sums) Qᵀ."""
    x = noise(1, 1, 4, 6)
    found = associate(x, (2, 3))
    jacobian = torch.autograd.functional.jacobian(made(1, 1, (2, 3), refine=False), x).reshape(24, 24)
    unit = torch.eye(24).view(24, 1, 4, 6)
    constant = type(found)(
        associate(unit, (2, 3)).pixels_BMPC, found.weight_BMP9.expand(24, -1, -1, -1), found.sums_BM.expand(24, -1),
        found.cells, found.cell, found.size,
    )  # fmt: skip
    right = constant.restore(constant.sample()).reshape(24, 24).T
    np.testing.assert_allclose(jacobian, right, atol=1e-6)
    assert not found.weight_BMP9.requires_grad


def test_items_do_not_see_each_other():
    attend, x = made(4, 2, (3, 2), iterations=2), noise(3, 4, 7, 8)
    with torch.no_grad():
        np.testing.assert_allclose(attend(x)[1], attend(x[1:2])[0], atol=1e-6)


@pytest.mark.parametrize(
    "work, words",
    [
        (lambda: GridAttention(7, 2), "width=7 is no multiple of heads=2"),
        (lambda: SuperTokenAttention(8, 2, (0, 2)), r"cell=\(0, 2\)"),
        (lambda: SuperTokenAttention(8, 2, iterations=0), "iterations=0"),
        (lambda: associate(noise(1, 2, 3, 4), (2, 2), iterations=0), "iterations=0"),
        (lambda: associate(noise(1, 2, 3, 4), (2, 0)), r"cell=\(2, 0\)"),
        (lambda: associate(noise(2, 3, 4), (2, 2)), r"of \(2, 3, 4\)"),
        (lambda: associate(torch.zeros(1, 2, 3, 4, dtype=torch.int64), (2, 2)), "torch.int64"),
    ],
)
def test_super_token_attention_refuses(work, words):
    with pytest.raises(InvalidInput, match=words):
        work()
