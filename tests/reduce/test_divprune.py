"""DivPrune: its laws, the bound of the greedy answer, copies, protected tokens, refusals."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.divprune import DivPrune
from tokenloom.testing import check_reducer


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def restated(x_ND, m):
    """The published rule with its whole matrix: second least distance of a column first, then the greatest least distance."""
    unit = x_ND.double() / x_ND.double().norm(dim=1, keepdim=True)
    distance = 1 - unit @ unit.T
    picks = [int(distance.topk(2, dim=0, largest=False).values[1].argmax())]
    while len(picks) < m:
        least = distance[picks].amin(0)
        least[picks] = -1
        picks.append(int(least.argmax()))
    return picks


@pytest.mark.parametrize("keep", [1, 5, 0.3, 0.098])
def test_the_laws_of_reducers_hold(keep):
    check_reducer(DivPrune(keep), noise(3, 40, 12))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape, m", [((576, 48), 56), ((576, 48), 144), ((300, 32), 100)])
def test_the_order_is_that_of_the_whole_matrix(shape, m, seed):
    x = noise(*shape, seed=seed)
    if shape[0] == 300:
        x = x * 0.05 + noise(12, shape[1], seed=seed + 9).repeat(25, 1)
    assert DivPrune(m).order(x[None])[0].tolist() == restated(x, m)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(3, 12), st.integers(2, 5))
def test_the_closest_pair_is_at_least_half_as_far_as_the_best_choice_allows(seed, n, m):
    x = noise(n, 3, seed=seed)
    unit = x.double() / x.double().norm(dim=1, keepdim=True)
    chord = (2 * (1 - unit @ unit.T)).clamp(min=0).sqrt()  # a metric, and it grows with the distance

    def closest(chosen):
        return min(float(chord[i, j]) for i, j in combinations(chosen, 2))

    m = min(m, n)
    best = max(closest(chosen) for chosen in combinations(range(n), m))
    assert closest(DivPrune(m)(x[None]).index_BM[0].tolist()) >= best / 2 - 1e-6


def test_the_length_of_a_token_does_not_matter():
    x = noise(2, 50, 16)
    scaled = x * 2.0 ** torch.randint(-8, 9, (2, 50, 1), generator=torch.Generator().manual_seed(1))
    assert torch.equal(DivPrune(20).order(x), DivPrune(20).order(scaled))


def test_tokens_in_another_order_are_the_same_tokens():
    x = noise(1, 50, 16)
    shuffled = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    assert shuffled[DivPrune(20).order(x[:, shuffled])[0]].tolist() == DivPrune(20).order(x)[0].tolist()


def test_pruning_never_returns_a_token_twice_when_all_are_equal():
    assert DivPrune(keep=3)(torch.ones(1, 5, 4)).index_BM.tolist() == [[0, 1, 2]]
    assert DivPrune(keep=1)(torch.ones(1, 1, 4)).index_BM.tolist() == [[0]]


def test_tight_clusters_get_a_token_each():
    centres = noise(12, 32, seed=5)
    labels = torch.arange(240) % 12
    x = centres[labels] + 0.02 * noise(240, 32, seed=6)
    kept = DivPrune(12)(x[None]).index_BM[0]
    assert len(set(labels[kept].tolist())) == 12


def test_a_near_copy_in_half_precision_is_not_mistaken_for_the_token_itself():
    x = torch.eye(4, dtype=torch.float16)[None].repeat(1, 2, 1)
    x[0, 4:, 0] += 0.002
    assert DivPrune(4)(x).index_BM[0].remainder(4).sort().values.tolist() == [0, 1, 2, 3]


def test_protected_tokens_are_kept_and_take_no_part():
    x = noise(2, 20, 8)
    newlines = torch.zeros(2, 20, dtype=torch.bool)
    newlines[0, [4, 9, 14, 19]] = newlines[1, [9, 19]] = True
    x[newlines] = torch.ones(8)
    kept = DivPrune(10)(x, protect_BN=newlines).index_BM
    for b in range(2):
        rest = (~newlines[b]).nonzero()[:, 0]
        others = rest[DivPrune(10 - int(newlines[b].sum()))(x[b : b + 1, rest]).index_BM[0]]
        assert kept[b].tolist() == sorted([*newlines[b].nonzero()[:, 0].tolist(), *others.tolist()])
    # Without protection one of them is picked early, and the others not before their like are all that is left.
    assert int(newlines[0, DivPrune(16)(x).index_BM[0]].sum()) == 1
    every = torch.ones(2, 20, dtype=torch.bool)
    assert DivPrune(20)(x, protect_BN=every).index_BM[0].tolist() == list(range(20))


def test_a_token_of_zeros_is_far_from_all_where_eps_allows_it():
    x = torch.cat([torch.eye(3) + 1, torch.zeros(1, 3)])[None]
    assert DivPrune(2, eps=1e-6).order(x)[0, 0] == 3
    with pytest.raises(InvalidInput, match="token 3 of item 0 is all zero"):
        DivPrune(2)(x)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: DivPrune(0), "keep=0"),
        (lambda: DivPrune(1.5), "keep=1.5"),
        (lambda: DivPrune(2, eps=-1.0), "eps=-1.0"),
        (lambda: DivPrune(6)(torch.ones(1, 5, 4)), "has 5 tokens"),
        (lambda: DivPrune(2)(torch.ones(5)), r"\(5,\)"),
        (lambda: DivPrune(2)(torch.ones(1, 5, 4, dtype=torch.int64)), "int64"),
        (lambda: DivPrune(2)(torch.full((1, 5, 4), torch.inf)), "not finite"),
        (lambda: DivPrune(2)(torch.full((1, 5, 4), torch.nan)), "not finite"),
        (lambda: DivPrune(2)(torch.ones(1, 5, 4), protect_BN=torch.ones(1, 5, dtype=torch.bool)), "5 tokens of an item are protected, but 2"),
        (lambda: DivPrune(2)(torch.ones(1, 5, 4), protect_BN=torch.ones(1, 5)), "must be bool"),
        (lambda: DivPrune(2)(torch.ones(1, 5, 4), protect_BN=torch.ones(1, 4, dtype=torch.bool)), r"\(1, 4\)"),
    ],
)  # fmt: skip
def test_divprune_refuses(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_rows_of_any_length_have_the_same_directions(scale):
    """Squares of such lengths are 0 or infinite in float32."""
    x = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0))
    right = DivPrune(6)(x).index_BM
    assert torch.equal(DivPrune(6)(x * scale).index_BM, right)
    mixed = x * torch.tensor([scale, 1.0]).repeat(6)[:, None]
    assert torch.equal(DivPrune(6)(mixed).index_BM, right)


def test_float64_features_beyond_float32_are_no_end():
    x = torch.randn(1, 12, 5, generator=torch.Generator().manual_seed(0)).double()
    assert torch.equal(DivPrune(6)(x * 1e300).index_BM, DivPrune(6)(x).index_BM)
    with pytest.raises(InvalidInput, match="token 3 of item 0 is all zero"):
        DivPrune(6)((x * 1e300).index_fill(1, torch.tensor([3]), 0))
