"""Pooling as maps equals torch's operators, window by window."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.pooling import adaptive_pooling, block_pooling, check_grid


def features(grid, batch=2, width=3):
    generator = torch.Generator().manual_seed(grid[0] * 100 + grid[1])
    return torch.randn(batch, grid[0] * grid[1], width, generator=generator)


def pooled_by_torch(x_BND, grid, size):
    picture = x_BND.transpose(1, 2).reshape(len(x_BND), -1, *grid)
    return F.adaptive_avg_pool2d(picture, size).flatten(2).transpose(1, 2)


def test_adaptive_pooling_equals_torch_for_all_sides_up_to_32():
    for g in range(1, 33):
        x = torch.randn(1, g, 2, generator=torch.Generator().manual_seed(g))
        for n in range(1, g + 1):
            found = adaptive_pooling((g, 1), (n, 1)).apply(x)
            assert torch.allclose(found, pooled_by_torch(x, (g, 1), (n, 1)), atol=1e-6), (g, n)


@given(st.data())
def test_adaptive_pooling_equals_torch_on_any_grid(data):
    grid = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    size = tuple(data.draw(st.integers(1, side)) for side in grid)
    x = features(grid)
    pooling = adaptive_pooling(grid, size, batch=2)
    assert torch.allclose(pooling.apply(x), pooled_by_torch(x, grid, size), atol=1e-6)
    assert torch.allclose(pooling.matrix().sum(2), torch.ones(2, size[0] * size[1]), atol=1e-6)
    divides = grid[0] % size[0] == 0 and grid[1] % size[1] == 0
    assert (pooling.kind == "many-to-many") == (not divides)


def test_equal_sizes_pool_nothing():
    assert torch.equal(adaptive_pooling((3, 4), (3, 4)).matrix(), torch.eye(12)[None])


def test_the_published_grid_has_windows_that_overlap():
    weights = adaptive_pooling((27, 27), (8, 8)).matrix()[0]
    # Tokens in two windows weigh more in all than others: the mean of all tokens is not kept.
    assert len({round(float(w), 6) for w in weights.sum(0)}) > 1
    assert int((weights != 0).sum(0).max()) == 4


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_blocks_are_the_mean_of_their_tokens(rows, columns, window):
    grid = (rows * window, columns * window)
    x = features(grid)
    found = block_pooling(grid, window).apply(x)
    for m in range(rows * columns):
        r, c = divmod(m, columns)
        members = [(r * window + i) * grid[1] + c * window + j for i in range(window) for j in range(window)]
        assert torch.allclose(found[:, m], x[:, members].mean(1), atol=1e-6)
    assert torch.allclose(found.mean(1), x.mean(1), atol=1e-5)


def test_gradients_are_spread_as_the_means_are():
    x = features((4, 4)).requires_grad_()
    block_pooling((4, 4), 2).apply(x)[:, 0].sum().backward()
    inside = [0, 1, 4, 5]
    assert torch.allclose(x.grad[:, inside], torch.full((2, 4, 3), 0.25))
    assert float(x.grad.abs().sum()) == pytest.approx(6)


def test_half_precision_is_added_up_in_float32():
    x = torch.full((1, 1024, 1), 1.0, dtype=torch.bfloat16)
    assert block_pooling((32, 32), 32).apply(x).item() == 1


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: block_pooling((6, 4), 4), "4 x 4 do not tile a grid of 6 x 4"),
        (lambda: block_pooling((6, 4), 0), "0 x 0"),
        (lambda: adaptive_pooling((3, 3), (4, 3)), "4 x 3 windows on a grid of 3 x 3"),
        (lambda: adaptive_pooling((3, 3), (0, 3)), "0 x 3 windows"),
        (lambda: check_grid((3, 3), 8), "3 x 3 for 8 tokens"),
        (lambda: check_grid((-2, -4), 8), "-2 x -4"),
    ],
)
def test_windows_that_cannot_be_are_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()
