"""Super token sampling as a map: the attention's own sums, partitions, identities, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.models.super_token_attention import associate
from tokenloom.reduce.super_token_sampling import SuperTokenSampling
from tokenloom.testing import check_reducer, check_token_map

GRIDS = st.tuples(st.integers(1, 9), st.integers(1, 9))
CELLS = st.tuples(st.integers(1, 4), st.integers(2, 4))


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def as_map(x_BND, grid):
    return x_BND.transpose(1, 2).unflatten(2, grid)


def as_tokens(x_BCHW):
    return x_BCHW.flatten(2).transpose(1, 2)


@settings(max_examples=40)
@given(st.integers(0, 500), GRIDS, CELLS, st.integers(1, 3), st.booleans())
def test_the_maps_do_what_the_attention_does(seed, grid, cell, iterations, mask_border):
    x = noise(2, grid[0] * grid[1], 5, seed=seed)
    found = SuperTokenSampling(cell, iterations, mask_border).super_tokens(x, grid=grid)
    right = associate(as_map(x, grid), cell, iterations=iterations, mask_border=mask_border)
    np.testing.assert_allclose(found.sample.apply(x), as_tokens(right.sample()), atol=1e-5)
    y = noise(2, found.sample.shape[1], 5, seed=seed + 1)
    np.testing.assert_allclose(found.restore(y), as_tokens(right.restore(as_map(y, right.cells))), atol=1e-5)
    assert found.sample.target_BNK.shape[2] <= 9
    check_token_map(found.sample, then=[found.back()])


@settings(max_examples=30)
@given(st.integers(0, 500), GRIDS, CELLS)
def test_sampling_and_restoring_is_one_map(seed, grid, cell):
    x = noise(1, grid[0] * grid[1], 5, seed=seed)
    found = SuperTokenSampling(cell, mask_border=True).super_tokens(x, grid=grid)
    q = found.association.matrix()[0].T.double()
    dense = q @ torch.diag(1 / q.sum(0)) @ q.T
    np.testing.assert_allclose((found.back() @ found.sample).matrix()[0], dense, atol=1e-5)
    np.testing.assert_allclose(found.restore(found.sample.apply(x))[0], dense @ x[0].double(), atol=1e-5)
    np.testing.assert_allclose(dense.sum(1), 1, atol=1e-5)
    assert found.sample.rows_sum_to_one


@settings(max_examples=40)
@given(st.integers(0, 500), GRIDS, CELLS, st.booleans())
def test_the_hard_version_is_a_partition_into_neighbouring_cells(seed, grid, cell, mask_border):
    x = noise(2, grid[0] * grid[1], 5, seed=seed)
    soft = SuperTokenSampling(cell, 2, mask_border).super_tokens(x, grid=grid)
    found = SuperTokenSampling(cell, 2, mask_border, hard=True).super_tokens(x, grid=grid)
    check_token_map(found.sample)
    assert found.sample.rows_sum_to_one and found.sample.kind in ("one-to-one", "many-to-one")
    for b in range(2):
        best = soft.association.matrix()[b].argmax(0)
        used = best.unique()
        groups = found.sample.item(b).matrix()[0].argmax(0)
        assert torch.equal(used[groups], best)
        assert bool((found.sample.sources_BMN[b].sum(0) == 1).all())
    lifted = found.sample.lift(found.sample.apply(x))
    np.testing.assert_allclose(lifted, found.restore(found.sample.apply(x)), atol=1e-6)


def test_whole_cells_give_rows_that_sum_to_one_and_padding_does_not():
    assert SuperTokenSampling((3, 2))(noise(1, 48, 4), grid=(6, 8)).rows_sum_to_one
    assert not SuperTokenSampling((3, 2))(noise(1, 35, 4), grid=(5, 7)).rows_sum_to_one
    assert SuperTokenSampling((3, 2), mask_border=True)(noise(1, 35, 4), grid=(5, 7)).rows_sum_to_one


def test_cells_of_one_token_change_nothing():
    found = SuperTokenSampling((1, 1)).super_tokens(noise(2, 12, 4), grid=(3, 4))
    assert torch.equal(found.sample.matrix(), torch.eye(12).expand(2, -1, -1))
    assert torch.equal(found.restore(noise(2, 12, 4)), noise(2, 12, 4))


@pytest.mark.parametrize("options", [{}, {"hard": True}, {"mask_border": True, "iterations": 2}])
def test_the_laws_of_reducers_hold(options):
    check_reducer(SuperTokenSampling((2, 3), **options), noise(3, 30, 6), {"grid": (5, 6)})


@settings(max_examples=40)
@given(GRIDS, st.data())
def test_keep_finds_the_most_nearly_square_cells_that_make_so_many(grid, data):
    counts = {(h, w): -(-grid[0] // h) * -(-grid[1] // w) for h in range(1, grid[0] + 1) for w in range(1, grid[1] + 1)}
    keep = data.draw(st.sampled_from(sorted(set(counts.values()))))
    x = noise(2, grid[0] * grid[1], 4)
    found = SuperTokenSampling(keep=keep)(x, grid=grid)
    assert found.shape[1] == keep
    same = [cell for cell, count in counts.items() if count == keep]
    square = min(max(cell) / min(cell) for cell in same)
    assert any(
        torch.equal(SuperTokenSampling(cell)(x, grid=grid).matrix(), found.matrix())
        for cell in same if max(cell) / min(cell) == square
    )  # fmt: skip


def test_all_of_the_tokens_is_the_identity_and_a_share_is_a_number():
    x = noise(1, 48, 4)
    assert torch.equal(SuperTokenSampling(keep=1.0)(x, grid=(6, 8)).matrix()[0], torch.eye(48))
    assert SuperTokenSampling(keep=0.25)(x, grid=(6, 8)).shape == (1, 12, 48)
    check_reducer(SuperTokenSampling(keep=0.25), noise(3, 48, 6), {"grid": (6, 8)})


@pytest.mark.parametrize(
    "work, words",
    [
        (lambda: SuperTokenSampling((0, 2)), r"cell=\(0, 2\)"),
        (lambda: SuperTokenSampling((2, 2), iterations=0), "iterations=0"),
        (lambda: SuperTokenSampling(), "exactly one of them"),
        (lambda: SuperTokenSampling((2, 2), keep=3), "exactly one of them"),
        (lambda: SuperTokenSampling(keep=0), "keep=0"),
        (lambda: SuperTokenSampling(keep=11)(noise(1, 12, 4), grid=(3, 4)), "into 11; the nearest are 8 and 12"),
        (lambda: SuperTokenSampling(keep=13)(noise(1, 12, 4), grid=(3, 4)), "each item has 12 tokens"),
        (lambda: SuperTokenSampling((2, 2))(noise(1, 12, 4), grid=(3, 5)), "a grid of 3 x 5 for 12 tokens"),
        (lambda: SuperTokenSampling((2, 2))(noise(1, 12, 4)), "SuperTokenSampling needs grid"),
    ],
)
def test_super_token_sampling_refuses(work, words):
    with pytest.raises(InvalidInput, match=words):
        work()
