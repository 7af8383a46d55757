"""PruMerge and PruMerge+: the published rules restated token by token, unequal numbers in a batch, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reducers import prumerge

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.prumerge import PruMerge, PruMergePlus
from tokenloom.testing import check_reducer, check_token_map


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(batch, n, seed=0, sharp=3.0):
    return {
        "keys_BTHC": sharp * noise(batch, n, 2, 3, seed=seed + 1),
        "query_BHC": noise(batch, 2, 3, seed=seed + 2),
        "prefix": 1,
    }


@settings(max_examples=60)
@given(st.integers(0, 1000), st.integers(12, 60), st.integers(1, 8), st.booleans())
def test_the_rule_is_the_published_one_for_each_picture(seed, n, neighbours, plus):
    x, signals = noise(3, n, 4, seed=seed), inputs(3, n, seed, sharp=1.5)
    reducer = (PruMergePlus if plus else PruMerge)(neighbours)
    try:
        found = reducer(x, **signals)
    except InvalidInput:
        # Too few or too many outliers for a distance, in some picture.
        counts = [
            prumerge(x[b], signals["keys_BTHC"][b], signals["query_BHC"][b], neighbours, False)[1] for b in range(3)
        ]
        assert plus and any(count == 0 or (n - 1) // count // 3 < 2 for count in counts)
        return
    check_token_map(found)
    for b in range(3):
        right, _ = prumerge(x[b], signals["keys_BTHC"][b], signals["query_BHC"][b], neighbours, plus)
        np.testing.assert_allclose(found.item(b).apply(x[b : b + 1])[0], right, atol=1e-5)
        assert not found.matrix()[b, :, 0].any(), "the class token is in none"


def test_the_laws_of_reducers_hold():
    check_reducer(PruMerge(), noise(3, 50, 6), inputs(3, 50))
    check_reducer(PruMergePlus(4), noise(2, 200, 6), inputs(2, 200, seed=4, sharp=1))
    for kind in (PruMerge, PruMergePlus):
        check_reducer(kind(4, keep=0.3), noise(3, 41, 6), inputs(3, 41), rows=12)


def test_tokens_are_shared_and_rows_do_not_sum_to_one():
    found = PruMerge()(noise(1, 300, 6), **inputs(1, 300, sharp=1))
    assert found.kind == "many-to-many" and not found.rows_sum_to_one and found.counts_B[0] > 2


def test_no_outlier_leaves_the_one_token_for_all():
    x = noise(1, 40, 4)
    found = PruMerge()(x, keys_BTHC=torch.ones(1, 40, 2, 3), query_BHC=torch.ones(1, 2, 3), prefix=1)
    np.testing.assert_allclose(found.apply(x)[0], x[0, 1:].sum(0, keepdim=True) / 40, atol=1e-6)


def test_plus_keeps_patches_at_equal_distances_behind_the_outliers():
    """2 of 60 stand out: every ⌊30 / 3⌋ = 10th of the first 59 is kept as well."""
    keys = torch.zeros(1, 61, 1, 1)
    keys[0, [8, 31]] = torch.tensor([3.0, 4.0])[:, None, None]  # patches 7 and 30
    keys[0, :, 0, 0] += torch.linspace(0, 0.001, 61)
    found = PruMergePlus(2)(noise(1, 61, 4), keys_BTHC=keys, query_BHC=torch.ones(1, 1, 1), prefix=1)
    own = found.matrix()[0, :-1].argmax(1) - 1
    assert own.tolist() == [30, 7, 0, 10, 20, 40, 50]


@settings(max_examples=40)
@given(st.integers(0, 500), st.integers(6, 40), st.integers(1, 40))
def test_a_budget_is_the_best_patches_and_one_token_for_the_others(seed, n, keep):
    keep, x, signals = min(keep, n), noise(2, n + 1, 4, seed=seed), inputs(2, n + 1, seed)
    found = PruMerge(3, keep=keep)(x, **signals)
    check_token_map(found)
    assert found.shape == (2, keep, n + 1)
    if keep == n:
        assert torch.equal(found.matrix(), torch.eye(n + 1)[1:].expand(2, -1, -1))
        return
    keys, query = signals["keys_BTHC"].flatten(2), signals["query_BHC"].flatten(1)
    for b in range(2):
        attention = (keys[b] @ query[b] / 6**0.5).softmax(0)[1:]
        best = attention.argsort(descending=True, stable=True)[: keep - 1]
        W = found.matrix()[b, :, 1:]
        assert torch.equal(W[:-1].argmax(1), best) and bool((W[:-1].sum(1) > 1).all())
        rest = attention.clone()
        rest[best] = 0
        np.testing.assert_allclose(W[-1], rest, atol=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 500), st.integers(6, 60), st.integers(1, 60))
def test_the_budget_of_plus_is_what_stands_out_and_the_rest_at_equal_distances(seed, n, keep):
    keep, x, signals = min(keep, n - 1), noise(1, n + 1, 4, seed=seed), inputs(1, n + 1, seed)
    found = PruMergePlus(3, keep=keep)(x, **signals)
    assert found.shape == (1, keep, n + 1)
    logits = (signals["keys_BTHC"].flatten(2)[0] @ signals["query_BHC"].flatten(1)[0] / 6**0.5).double()
    attention = logits.softmax(0)[1:].numpy()
    low, high = np.percentile(attention, [25, 75])
    outside = [i for i in np.argsort(-attention, kind="stable") if attention[i] > high + 1.5 * (high - low)]
    own = found.matrix()[0, :-1, 1:].argmax(1).tolist()
    missing = max(0, keep - 1 - len(outside))
    assert own[: keep - 1 - missing] == outside[: keep - 1]
    others = [i for i in range(n) if i not in outside]
    assert own[keep - 1 - missing :] == [
        i for k, i in enumerate(others) if (k + 1) * missing // len(others) > k * missing // len(others)
    ]


def nan(name):
    given = inputs(1, 40)
    return {**given, name: torch.full_like(given[name], torch.nan)}


def crowded(count):
    """`count` of 60 patches stand out."""
    keys = torch.zeros(1, 61, 1, 1)
    keys[0, 1 : 1 + count] = 3 + torch.arange(count)[:, None, None] / 10
    return {"keys_BTHC": keys, "query_BHC": torch.ones(1, 1, 1), "prefix": 1}


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: PruMerge(0), "neighbours=0"),
        (lambda: PruMerge(keep=0), "keep=0"),
        (lambda: PruMerge(keep=40)(noise(1, 40, 4), **inputs(1, 40)), "keep=40, but each item has 39"),
        (lambda: PruMerge()(noise(1, 33, 4), **inputs(1, 33)), "32 patches; each has 32 neighbours"),
        (lambda: PruMerge()(noise(1, 40, 4), **{**inputs(1, 40), "prefix": 0}), "prefix=0; PruMerge is made for one"),
        (lambda: PruMerge()(noise(1, 40, 4), **inputs(1, 39)), r"keys of \(1, 39, 2, 3\)"),
        (lambda: PruMerge()(noise(1, 40, 4), **nan("keys_BTHC")), "not finite"),
        (lambda: PruMerge()(noise(1, 40, 4), **nan("query_BHC")), "not finite"),
        (lambda: PruMerge()(noise(1, 40, 4), keys_BTHC=noise(1, 40, 1, 2), prefix=1), "PruMerge needs cls_query"),
        (lambda: PruMergePlus()(noise(1, 61, 4), **crowded(0)), "no patch of item 0 stands out"),
        (lambda: PruMergePlus()(noise(1, 61, 4), **crowded(11)), "11 of 60 patches of item 0 stand out; a distance of 1"),
    ],
)  # fmt: skip
def test_prumerge_refuses(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_one_in_ten_is_not_too_many_for_plus():
    found = PruMergePlus()(noise(1, 61, 4), **crowded(10))  # ⌊6 / 3⌋ = 2
    assert found.counts_B.tolist() == [10 + 25 + 1]
