"""ToMe: its laws, the published order and means restated pair by pair, prefix tokens, schedules, its two variants, refusals."""

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


def inputs(batch, n, seed=0, prefix=0):
    mass_BT = torch.randint(1, 6, (batch, n), generator=torch.Generator().manual_seed(seed)).float()
    mass_BT[:, :prefix] = 1
    return {"keys_BTHC": noise(batch, n, 3, 5, seed=seed + 1), "mass_BT": mass_BT, "prefix": prefix}


@settings(max_examples=60)
@given(st.integers(0, 500), st.integers(2, 14), st.integers(0, 9), st.integers(0, 4))
def test_one_round_is_the_published_one(seed, n, r, prefix):
    prefix = min(prefix, n - 1)
    x, signals = noise(2, n, 4, seed=seed), inputs(2, n, seed, prefix)
    found = ToMe(r=r)(x, **signals)
    check_token_map(found)
    for b in range(2):
        out, mass, groups = tome_round(x[b], signals["keys_BTHC"][b], signals["mass_BT"][b], r, prefix) if r else (x[b], signals["mass_BT"][b], [[i] for i in range(n)])  # fmt: skip
        np.testing.assert_allclose(found.apply(x)[b], out, atol=1e-5)
        np.testing.assert_allclose(found.mass(signals["mass_BT"])[b], mass, rtol=1e-6)
        sources = [row.nonzero()[:, 0].tolist() for row in found.sources_BMN[b]]
        assert sources == [sorted(group) for group in groups]


@pytest.mark.parametrize("keep", [1, 7, 16, 0.3, 0.9])
def test_the_laws_of_reducers_hold(keep):
    check_reducer(ToMe(keep=keep), noise(3, 17, 6), inputs(3, 17))


@settings(max_examples=30)
@given(st.integers(0, 100), st.integers(2, 20), st.integers(1, 20), st.integers(0, 2))
def test_rounds_reach_the_budget_and_compose(seed, n, keep, prefix):
    keep = min(keep, n)
    x, signals = noise(2, n + prefix, 4, seed=seed), inputs(2, n + prefix, seed, prefix)
    found = ToMe(keep=keep)(x, **signals)
    assert found.shape[1] == keep + prefix and found.kind in ("one-to-one", "many-to-one") and found.rows_sum_to_one
    assert torch.equal(found.matrix()[:, :prefix, :prefix], torch.eye(prefix).expand(2, -1, -1))
    mass = signals["mass_BT"]
    weighted = (x * mass[..., None]).sum(1)
    kept = found.mass(mass)
    np.testing.assert_allclose((found.apply(x) * kept[..., None]).sum(1), weighted, rtol=1e-4, atol=1e-4)


def test_rounds_are_calls_one_after_the_other_on_merged_keys():
    """A chain of four, as in four blocks, where the keys of a merged token are the mean of its tokens' directions."""
    x, signals = noise(1, 41, 6, seed=3), inputs(1, 41, 3, 1)
    found, unit = None, signals["keys_BTHC"].mean(2)
    unit, mass = unit / unit.norm(dim=2, keepdim=True), signals["mass_BT"]
    for r in (20, 10, 5, 2):
        one = ToMe(r=r)(unit, keys_BTHC=unit[:, :, None], mass_BT=mass, prefix=1)
        unit, mass = one.apply(unit), one.mass(mass)
        found = one if found is None else one @ found
    np.testing.assert_allclose(ToMe(keep=3)(x, **signals).matrix(), found.matrix(), atol=1e-6)


def test_lifting_copies_each_group():
    x, signals = noise(2, 13, 4), inputs(2, 13, 0, 1)
    found = ToMe(r=5)(x, **signals)
    y = found.apply(x)
    lifted = found.lift(y)
    for b in range(2):
        for row, sources in enumerate(found.sources_BMN[b]):
            np.testing.assert_allclose(lifted[b][sources], y[b, row].expand(int(sources.sum()), -1), atol=1e-6)


def test_without_a_class_token_the_rest_stands_in_the_order_of_similarity():
    """Similarities of tokens 0, 2, 4 to their best of 1, 3, 5 are 0.6, 0.9 and 0.8: 2 merges, then 4 stands before 0."""
    keys = torch.tensor([[1, 0, 0], [0.6, 0.8, 0], [0, 1, 0], [0, 0.9, 0.43589], [0, 0, 1], [0, 0.6, 0.8]])
    found = ToMe(r=1)(keys[None], keys_BTHC=keys[None, :, None], mass_BT=torch.ones(1, 6), prefix=0)
    sources = [row.nonzero()[:, 0].tolist() for row in found.sources_BMN[0]]
    assert sources == [[4], [0], [1], [2, 3], [5]]


def test_r_beyond_half_is_clipped_and_zero_is_the_identity():
    x = noise(1, 9, 4)
    assert ToMe(r=100)(x, **inputs(1, 9, 0, 1)).shape[1] == 5
    assert ToMe(r=0)(x, **inputs(1, 9)).index_BM.tolist() == [list(range(9))]


def test_equal_keys_take_the_lower_index():
    x = torch.ones(1, 6, 3)
    found = ToMe(r=2)(x, keys_BTHC=x[:, :, None], mass_BT=torch.ones(1, 6), prefix=0)
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
    given = inputs(batch, n, seed)
    return {"keys_BNHC": given["keys_BTHC"], "mass_BN": given["mass_BT"]}


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
        (lambda: ToMe(keep=9)(noise(1, 9, 4), **inputs(1, 9, 0, 1)), "has 8 tokens"),
        (lambda: ToMe(r=1)(noise(1, 9, 4), **{**inputs(1, 9), "prefix": 9}), "prefix=9 of 9 tokens"),
        (lambda: ToMe(r=1)(noise(1, 9, 4), **inputs(1, 8)), "keys have shape"),
        (lambda: ToMe(r=1)(noise(1, 9, 4), **{**inputs(1, 9), "mass_BT": torch.zeros(1, 9)}), "a mass of 0.0"),
        (lambda: ToMe(r=1)(noise(1, 9, 4), **{**inputs(1, 9), "mass_BT": torch.ones(1, 8)}), "mass has shape"),
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
