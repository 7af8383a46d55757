"""Tokens at random and spread evenly."""

import pytest
import torch

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.baselines import Linspace, Random, UniformGrid
from tokenloom.testing import check_reducer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "reducer, signals",
    [
        *((Random(keep), {"generator": seeded}) for keep in (1, 7, 0.4)),
        *((Linspace(keep), {}) for keep in (1, 7, 0.4)),
        *((UniformGrid(keep), {"grid": (4, 6)}) for keep in (1, 7, 0.4)),
    ],
)
def test_the_laws_of_reducers_hold(reducer, signals):
    check_reducer(reducer, torch.randn(3, 24, 5, generator=seeded()), signals)


def test_all_tokens_are_drawn_equally_often():
    generator, drawn = seeded(), torch.zeros(10)
    for _ in range(100):
        drawn.index_add_(0, Random(3)(torch.ones(20, 10, 1), generator=generator).index_BM.flatten(), torch.ones(60))
    # 6,000 draws; each of 10 is Binomial(2000, 0.3): five standard deviations are 102.
    assert float((drawn - 600).abs().max()) < 102


def test_evenly_spaced_tokens_are_those_of_numpy():
    np = pytest.importorskip("numpy")
    for m in range(1, 30):
        found = Linspace(m)(torch.ones(1, 29, 1)).index_BM[0].tolist()
        assert found == np.linspace(0, 28, m).round().astype(int).tolist()


@pytest.mark.parametrize(
    "m, grid, middles",
    [
        (4, (4, 4), [5, 7, 13, 15]),  # cells of 2 x 2
        (2, (2, 4), [5, 7]),  # one row of two cells
        (16, (4, 4), list(range(16))),
        (1, (3, 3), [4]),
        (9, (9, 9), [10, 13, 16, 37, 40, 43, 64, 67, 70]),
    ],
)
def test_middles_of_near_square_cells_are_kept(m, grid, middles):
    assert UniformGrid(m)(torch.ones(1, grid[0] * grid[1], 2), grid=grid).index_BM[0].tolist() == middles


def test_what_is_left_of_the_budget_goes_to_the_most_varied():
    x = torch.zeros(1, 16, 2)
    x[0, 3], x[0, 8] = torch.tensor([1.0, -1.0]), torch.tensor([2.0, -2.0])
    assert UniformGrid(5)(x, grid=(4, 4)).index_BM[0].tolist() == [5, 7, 8, 13, 15]
    x[0, 8] = 0
    assert UniformGrid(5)(x, grid=(4, 4)).index_BM[0].tolist() == [3, 5, 7, 13, 15]


@pytest.mark.parametrize("grid", [(1, 30), (30, 1), (5, 6), (2, 15), (7, 3)])
def test_any_budget_of_any_grid_can_be_met(grid):
    n = grid[0] * grid[1]
    for m in range(1, n + 1):
        found = UniformGrid(m)(torch.randn(1, n, 2, generator=seeded(m)), grid=grid).index_BM[0].tolist()
        assert len(set(found)) == m


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Random(0), "keep=0"),
        (lambda: Linspace(0), "keep=0"),
        (lambda: UniformGrid(0), "keep=0"),
        (lambda: Random(1)(torch.ones(1, 2, 1)), "give generator"),
        (lambda: Random(3)(torch.ones(1, 2, 1), generator=seeded()), "has 2 tokens"),
        (lambda: UniformGrid(1)(torch.ones(1, 2, 1), grid=(1, 3)), "1 x 3 for 2"),
        (lambda: UniformGrid(1)(torch.ones(1, 2, 1)), "needs grid"),
    ],
)
def test_baselines_refuse(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()
