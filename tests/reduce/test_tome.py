"""ToMe: its laws, the published order and means restated pair by pair, tokens before the patches, schedules, its two variants, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reducers import tome_round

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.tome import ToMe, ToMeEveryKth, ToMeRandomSplit, tome_schedule
from tokenloom.testing import check_reducer, check_token_map


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(batch, n, seed=0, offset=0):
    mass_BN = torch.randint(1, 6, (batch, n), generator=torch.Generator().manual_seed(seed)).float()
    return {"keys_BNHC": noise(batch, n, 3, 5, seed=seed + 1), "mass_BN": mass_BN, "offset": offset}


@settings(max_examples=60)
@given(st.integers(0, 500), st.integers(1, 14), st.integers(0, 9), st.integers(0, 4))
def test_one_round_is_the_published_one(seed, n, r, offset):
    """The published one has the tokens before the patches in the sequence, and never merges them."""
    x, keys, mass = noise(2, offset + n, 4, seed=seed), noise(2, offset + n, 3, 5, seed=seed + 1), inputs(2, offset + n, seed)["mass_BN"]  # fmt: skip
    found = ToMe(r=r)(x[:, offset:], keys_BNHC=keys[:, offset:], mass_BN=mass[:, offset:], offset=offset)
    check_token_map(found)
    for b in range(2):
        if r:
            out, summed, groups = tome_round(x[b], keys[b], mass[b], r, offset)
        else:
            out, summed, groups = x[b], mass[b], [[i] for i in range(offset + n)]
        assert groups[:offset] == [[i] for i in range(offset)]
        np.testing.assert_allclose(found.apply(x[:, offset:])[b], out[offset:], atol=1e-5)
        np.testing.assert_allclose(found.mass(mass[:, offset:])[b], summed[offset:], rtol=1e-6)
        sources = [row.nonzero()[:, 0].tolist() for row in found.sources_BMN[b]]
        assert sources == [sorted(i - offset for i in group) for group in groups[offset:]]


@pytest.mark.parametrize("keep", [1, 7, 16, 0.3, 0.9])
def test_the_laws_of_reducers_hold(keep):
    check_reducer(ToMe(keep=keep), noise(3, 17, 6), inputs(3, 17))


@settings(max_examples=30)
@given(st.integers(0, 100), st.integers(2, 20), st.integers(1, 20), st.integers(0, 2))
def test_rounds_reach_the_budget_and_compose(seed, n, keep, offset):
    keep = min(keep, n)
    x, signals = noise(2, n, 4, seed=seed), inputs(2, n, seed, offset)
    found = ToMe(keep=keep)(x, **signals)
    assert found.shape[1] == keep and found.kind in ("one-to-one", "many-to-one") and found.rows_sum_to_one
    mass = signals["mass_BN"]
    weighted = (x * mass[..., None]).sum(1)
    kept = found.mass(mass)
    np.testing.assert_allclose((found.apply(x) * kept[..., None]).sum(1), weighted, rtol=1e-4, atol=1e-4)


def test_rounds_are_calls_one_after_the_other_on_merged_keys():
    """A chain of four, as in four blocks, where the keys of a merged token are the mean of its tokens' directions."""
    x, signals = noise(1, 40, 6, seed=3), inputs(1, 40, 3, 1)
    found, unit = None, signals["keys_BNHC"].mean(2)
    unit, mass = unit / unit.norm(dim=2, keepdim=True), signals["mass_BN"]
    for r in (20, 10, 5, 2):
        one = ToMe(r=r)(unit, keys_BNHC=unit[:, :, None], mass_BN=mass, offset=1)
        unit, mass = one.apply(unit), one.mass(mass)
        found = one if found is None else one @ found
    np.testing.assert_allclose(ToMe(keep=3)(x, **signals).matrix(), found.matrix(), atol=1e-6)


def test_lifting_copies_each_group():
    x, signals = noise(2, 12, 4), inputs(2, 12, 0, 1)
    found = ToMe(r=5)(x, **signals)
    y = found.apply(x)
    lifted = found.lift(y)
    for b in range(2):
        for row, sources in enumerate(found.sources_BMN[b]):
            np.testing.assert_allclose(lifted[b][sources], y[b, row].expand(int(sources.sum()), -1), atol=1e-6)


def test_without_a_class_token_the_rest_stands_in_the_order_of_similarity():
    """Similarities of tokens 0, 2, 4 to their best of 1, 3, 5 are 0.6, 0.9 and 0.8: 2 merges, then 4 stands before 0."""
    keys = torch.tensor([[1, 0, 0], [0.6, 0.8, 0], [0, 1, 0], [0, 0.9, 0.43589], [0, 0, 1], [0, 0.6, 0.8]])
    found = ToMe(r=1)(keys[None], keys_BNHC=keys[None, :, None], mass_BN=torch.ones(1, 6), offset=0)
    sources = [row.nonzero()[:, 0].tolist() for row in found.sources_BMN[0]]
    assert sources == [[4], [0], [1], [2, 3], [5]]


def test_r_beyond_half_is_clipped_and_zero_is_the_identity():
    x = noise(1, 9, 4)
    assert ToMe(r=100)(x, **inputs(1, 9, 0, 1)).shape[1] == 5 == ToMe(r=100)(x, **inputs(1, 9)).shape[1]
    assert ToMe(r=0)(x, **inputs(1, 9)).index_BM.tolist() == [list(range(9))]


def test_equal_keys_take_the_lower_index():
    x = torch.ones(1, 6, 3)
    found = ToMe(r=2)(x, keys_BNHC=x[:, :, None], mass_BN=torch.ones(1, 6), offset=0)
    assert [row.nonzero()[:, 0].tolist() for row in found.sources_BMN[0]] == [[4], [0, 1, 2], [3], [5]]


def test_schedules_are_those_of_the_authors():
    def numbers(*args, **options):
        return {block: reducer.r for block, reducer in tome_schedule(*args, **options).items()}

    assert numbers(8, blocks=3) == {1: 8, 2: 8, 3: 8}
    assert numbers(8, blocks=4, inflect=-1) == {1: 16, 2: 10, 3: 5}
    assert numbers(16, blocks=4, inflect=0.5) == {1: 8, 2: 13, 3: 18, 4: 24}
    assert numbers([4, 0, 2], blocks=12) == {1: 4, 3: 2}
    assert numbers(5, blocks=1, inflect=-1) == {1: 10}
    assert not tome_schedule(8, blocks=2, proportional=False)[1].proportional
    for bad in (lambda: tome_schedule([1, 2], blocks=1), lambda: tome_schedule([1], blocks=2, inflect=1)):
        with pytest.raises(InvalidInput, match="a list says all itself"):
            bad()
    with pytest.raises(InvalidInput, match=r"inflect=2 in \[-1, 1\]"):
        tome_schedule(8, blocks=2, inflect=2)
    with pytest.raises(InvalidInput, match="r=-1"):
        tome_schedule(-1, blocks=2)


def patches(batch, n, seed=0):
    return {name: value for name, value in inputs(batch, n, seed).items() if name != "offset"}


@settings(max_examples=30)
@given(st.integers(0, 100), st.integers(1, 13), st.integers(1, 5))
def test_every_kth_token_takes_in_the_others(seed, n, k):
    k = min(k, n)
    x, signals = noise(2, n, 4, seed=seed), patches(2, n, seed)
    found = ToMeEveryKth(k)(x, **signals)
    for b in range(2):
        keys = signals["keys_BNHC"][b].double().mean(1)
        unit, mass = keys / keys.norm(dim=1, keepdim=True), signals["mass_BN"][b].double()
        heads = list(range(k - 1, n, k))
        groups = {head: [head] for head in heads}
        for i in range(n // k * k):
            if i not in groups:
                groups[max(heads, key=lambda head: float(unit[i] @ unit[head]))].append(i)
        right = torch.stack([(x[b, g].double() * mass[g, None]).sum(0) / mass[g].sum() for g in groups.values()])
        np.testing.assert_allclose(found.apply(x)[b], right, atol=1e-5)


def test_the_laws_hold_for_the_variants():
    check_reducer(ToMeEveryKth(3), noise(2, 11, 5), patches(2, 11), rows=3)
    check_reducer(ToMeEveryKth(1), noise(2, 11, 5), patches(2, 11), rows=11)
    drawn = {**patches(2, 11), "generator": lambda: torch.Generator().manual_seed(0)}
    check_reducer(ToMeRandomSplit(0), noise(2, 11, 5), drawn, rows=11)
    check_reducer(ToMeRandomSplit(4), noise(2, 11, 5), drawn, rows=7, whole=True)


@settings(max_examples=30)
@given(st.integers(0, 100), st.integers(2, 12), st.integers(1, 11))
def test_a_random_split_merges_into_the_most_similar_of_those_that_stay(seed, n, r):
    r = min(r, n - 1)
    x, signals = noise(2, n, 4, seed=seed), patches(2, n, seed)
    found = ToMeRandomSplit(r)(x, **signals, generator=torch.Generator().manual_seed(seed))
    check_token_map(found)
    assert found.shape[1] == n - r and found.rows_sum_to_one and bool((found.sources_BMN.sum(1) == 1).all())
    for b in range(2):
        keys = signals["keys_BNHC"][b].double().mean(1)
        unit = keys / keys.norm(dim=1, keepdim=True)
        # A drawn token alone cannot be told from one that stays, so: no row may lack a stay to which its others are nearest.
        groups = [row.nonzero()[:, 0].tolist() for row in found.sources_BMN[b]]
        for group in groups:
            others = [g[0] for g in groups if len(g) == 1]
            assert any(
                all(unit[i] @ unit[head] >= max((float(unit[i] @ unit[o]) for o in others), default=-1) - 1e-6
                    for i in group if i != head)
                for head in group
            )  # fmt: skip


def test_a_random_split_depends_on_its_generator_only():
    x, signals = noise(2, 12, 4), patches(2, 12)

    def drawn(seed):
        return ToMeRandomSplit(5)(x, **signals, generator=torch.Generator().manual_seed(seed)).matrix()

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: ToMe(), "exactly one"),
        (lambda: ToMe(keep=3, r=2), "exactly one"),
        (lambda: ToMe(r=-1), "r=-1"),
        (lambda: ToMe(r=True), "r=True"),
        (lambda: ToMe(keep=0), "keep=0"),
        (lambda: ToMeEveryKth(0), "k=0"),
        (lambda: ToMeRandomSplit(-2), "r=-2"),
        (lambda: ToMe(keep=9)(noise(1, 9, 4), **inputs(1, 8, 0, 1)), "keys have shape"),
        (lambda: ToMe(keep=10)(noise(1, 9, 4), **inputs(1, 9, 0, 1)), "has 9 tokens"),
        (lambda: ToMe(r=1)(noise(1, 9, 4), **{**inputs(1, 9), "offset": -1}), "offset=-1"),
        (lambda: ToMe(r=1)(noise(1, 9, 4), **patches(1, 9)), "ToMe needs offset"),
        (lambda: ToMe(r=1)(noise(1, 9, 4), **inputs(1, 8)), "keys have shape"),
        (lambda: ToMe(r=1)(noise(1, 9, 4), **{**inputs(1, 9), "mass_BN": torch.zeros(1, 9)}), "a mass of 0.0"),
        (lambda: ToMe(r=1)(noise(1, 9, 4), **{**inputs(1, 9), "mass_BN": torch.ones(1, 8)}), "mass has shape"),
        (lambda: ToMeEveryKth(10)(noise(1, 9, 4), **patches(1, 9)), "has 9 tokens"),
        (lambda: ToMeRandomSplit(3)(noise(1, 9, 4), **patches(1, 9)), "give generator"),
        (
            lambda: ToMeRandomSplit(9)(noise(1, 9, 4), **patches(1, 9), generator=torch.Generator()),
            "at least one must stay",
        ),
    ],
)
def test_tome_refuses(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()
