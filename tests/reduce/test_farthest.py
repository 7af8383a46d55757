"""The lazy traversal against one that compares everything, with ties, copies and worst cases."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce import farthest
from tokenloom.reduce.farthest import farthest_first


def plain(unit, m, first=None):
    """Every pair, one by one; float64 of products that are exact."""
    n = len(unit)
    similar = [
        [float(np.dot(unit[i].astype(np.float64), unit[j].astype(np.float64))) for j in range(n)] for i in range(n)
    ]
    if first is None:
        nearest = [max((similar[i][j] for j in range(n) if j != i), default=0) for i in range(n)]
        first = nearest.index(min(nearest))
    picks = [first]
    while len(picks) < m:
        left = [i for i in range(n) if i not in picks]
        near = [max(similar[i][p] for p in picks) for i in left]
        picks.append(left[near.index(min(near))])
    return picks


# Rows of length 1 whose products are exact in float32, in any order of sums: ties and copies abound.
EXACT = [
    *(sign * np.eye(4)[i] for i in range(4) for sign in (1, -1)),
    *(np.array([a, b, c, d]) / 2 for a in (1, -1) for b in (1, -1) for c in (1, -1) for d in (1, -1)),
]


@given(st.lists(st.integers(0, len(EXACT) - 1), min_size=1, max_size=14), st.data())
def test_ties_and_copies_go_as_in_the_traversal_that_compares_all(rows, data):
    unit = np.array([EXACT[i] for i in rows], np.float32)
    m = data.draw(st.integers(1, len(rows)))
    first = data.draw(st.none() | st.integers(0, len(rows) - 1))
    given_first = None if first is None else torch.tensor([first])
    right = plain(unit, m, first)
    assert farthest_first(torch.from_numpy(unit)[None], m, given_first)[0].tolist() == right
    assert farthest._eager(torch.from_numpy(unit)[None], m, given_first)[0].tolist() == right
    assert len(set(right)) == m


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 40), st.booleans())
def test_random_tokens_go_as_in_the_traversal_that_compares_all(seed, n, width, clustered):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((5, width))
    x = (
        centres[rng.integers(0, 5, n)] + 0.1 * rng.standard_normal((n, width))
        if clustered
        else rng.standard_normal((n, width))
    )
    unit = normalize(torch.tensor(x, dtype=torch.float32), dim=1)
    m = int(rng.integers(1, n + 1))
    if width < 3:  # on a line or a circle there are ties of rounded numbers
        return
    right = plain(unit.numpy(), m)
    assert farthest_first(unit[None], m)[0].tolist() == right
    assert farthest._eager(unit[None], m, None)[0].tolist() == right


@pytest.mark.parametrize("width", [3, 7, 17, 33, 100])
def test_copies_are_equally_far_whatever_their_width(width):
    base = normalize(torch.randn(9, width, generator=torch.Generator().manual_seed(width)), dim=1)
    order = farthest_first(base[None], 9)[0]
    # Copies behind the originals: of each pair the original is picked, and then the copies, lowest index first.
    picks = farthest_first(torch.cat([base, base])[None], 18, order[:1])[0]
    assert picks[:9].tolist() == order.tolist()
    assert sorted(picks[9:].tolist()) == list(range(9, 18))
    same = base[:1].expand(7, width)
    assert farthest_first(same[None], 7)[0].tolist() == list(range(7))


def test_noise_in_which_no_neighbour_is_near_finds_its_loneliest_by_a_product_of_matrices():
    x = normalize(torch.randn(600, 64, generator=torch.Generator().manual_seed(3)), dim=1)
    bounds = np.full(600, -np.inf, np.float32)
    assert farthest._least_similar(x.numpy(), bounds, 32 * 600) == -1  # the limit does matter here
    similar = x.double() @ x.double().T
    similar.fill_diagonal_(-1)
    assert farthest._loneliest(x.numpy()) == int(similar.amax(1).argmin())


def test_blocks_of_the_product_cover_all_pairs():
    x = normalize(torch.randn(37, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    similar = x @ x.T
    similar.fill_diagonal_(-torch.inf)
    for block in (1, 5, 36, 37, 64):
        assert torch.allclose(farthest._nearest(x, block), similar.amax(1), atol=1e-6)


def test_what_is_known_only_shrinks_and_beginnings_serve_smaller_budgets():
    x = normalize(torch.randn(1, 80, 24, generator=torch.Generator().manual_seed(1)), dim=2)
    picks = farthest_first(x, 80)[0]
    assert sorted(picks.tolist()) == list(range(80))
    assert farthest_first(x, 20)[0].tolist() == picks[:20].tolist()
    similar = x[0] @ x[0].T
    radius = [1 - float(similar[picks[t], picks[:t]].max()) for t in range(1, 80)]
    assert all(b <= a + 1e-6 for a, b in pairwise(radius))


@pytest.mark.parametrize("m", [0, 4])
def test_impossible_numbers_of_picks_are_refused(m):
    with pytest.raises(InvalidInput, match=f"{m} picks of 3 tokens"):
        farthest_first(torch.eye(3)[None], m)
