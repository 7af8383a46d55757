"""Token Transforming: its laws, the construction restated, its limits (pruning, merging, identity), mass, refusals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.core.token_map import TokenMap
from tokenloom.reduce.token_transforming import TokenTransforming
from tokenloom.testing import check_reducer, check_token_map


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(batch, n, seed=0, ones=False):
    mass_BN = torch.randint(1, 5, (batch, n), generator=torch.Generator().manual_seed(seed)).float()
    return {
        "attention_BN": noise(batch, n, seed=seed + 2).softmax(1),
        "keys_BNHC": noise(batch, n, 2, 4, seed=seed + 1),
        "mass_BN": torch.ones(batch, n) if ones else mass_BN,
    }


def restated(attention_N, keys_NHC, mass_N, m, settings):
    """W, entry by entry."""
    keys = keys_NHC.double().mean(1)
    unit = keys / keys.norm(dim=1, keepdim=True)
    n = len(unit)
    kept = sorted(sorted(range(n), key=lambda i: -float(attention_N[i]))[:m])
    similar = (unit[kept] @ unit.T).numpy()
    weight = np.zeros((m, n))
    for j in range(n):
        ranked = sorted(range(m), key=lambda i: (kept[i] != j, -similar[i, j]))[: settings.columns]
        if j in kept and not settings.shared:
            ranked = ranked[:1]
        rows = [i for i in ranked if kept[i] == j or similar[i, j] >= settings.threshold]
        parts = np.exp([similar[i, j] / settings.temperature for i in rows])
        if settings.norm == "column" and rows:
            parts = parts / parts.sum()
        for i, part in zip(rows, parts):
            weight[i, j] = part * float(mass_N[j])
    return weight / weight.sum(1, keepdims=True)


@settings(max_examples=60)
@given(
    st.integers(0, 500),
    st.integers(2, 16),
    st.integers(1, 15),
    st.builds(
        TokenTransforming,
        keep=st.just(1),
        temperature=st.sampled_from([0.05, 0.1, 1.0]),
        columns=st.integers(1, 5),
        threshold=st.sampled_from([-math.inf, 0.0, 0.4]),
        norm=st.sampled_from(["row", "column"]),
        shared=st.booleans(),
    ),
)
def test_the_construction_is_the_specified_one(seed, n, m, transform):
    from dataclasses import replace

    m = min(m, n - 1)
    transform = replace(transform, keep=m)
    x, signals = noise(2, n, 3, seed=seed), inputs(2, n, seed)
    found = transform(x, **signals)
    check_token_map(found)
    for b in range(2):
        right = restated(*(signals[key][b] for key in ("attention_BN", "keys_BNHC", "mass_BN")), m, transform)
        np.testing.assert_allclose(found.matrix()[b], right, atol=1e-5)
    assert found.target_BNK.shape[2] <= transform.columns


@pytest.mark.parametrize(
    "options", [{}, {"norm": "column"}, {"columns": 1}, {"threshold": 0.2}, {"shared": True}, {"score": "cls"}]
)
@pytest.mark.parametrize("keep", [1, 6, 0.7])
def test_the_laws_of_reducers_hold(keep, options):
    check_reducer(TokenTransforming(keep, **options), noise(3, 15, 6), inputs(3, 15))


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(2, 15), st.integers(1, 14))
def test_towards_temperature_zero_it_prunes(seed, n, m):
    m = min(m, n - 1)
    x, signals = noise(2, n, 3, seed=seed), inputs(2, n, seed)
    found = TokenTransforming(m, temperature=1e-6, columns=n)(x, **signals)
    best = signals["attention_BN"].sort(dim=1, descending=True, stable=True).indices[:, :m].sort(1).values
    assert torch.equal(found.matrix(), TokenMap.keep(best, of=n).matrix())
    assert found.kind == "one-to-one"


def test_a_threshold_above_all_similarities_prunes_too():
    x, signals = noise(2, 12, 3), inputs(2, 12)
    sharp = TokenTransforming(5, temperature=1e-6)(x, **signals)
    assert torch.equal(TokenTransforming(5, threshold=1.0)(x, **signals).matrix(), sharp.matrix())


def test_at_a_high_temperature_all_rows_are_the_mean():
    x, signals = noise(1, 12, 3), inputs(1, 12, ones=True)
    found = TokenTransforming(5, temperature=1e6, columns=5, shared=True)(x, **signals)
    np.testing.assert_allclose(found.apply(x)[0], x[0].mean(0).expand(5, -1), atol=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(2, 15), st.integers(1, 14))
def test_one_column_is_hard_merging_onto_the_kept_tokens(seed, n, m):
    m = min(m, n - 1)
    x, signals = noise(1, n, 3, seed=seed), inputs(1, n, seed)
    found = TokenTransforming(m, columns=1, norm="column")(x, **signals)
    keys = signals["keys_BNHC"][0].mean(1)
    unit = keys / keys.norm(dim=1, keepdim=True)
    kept = signals["attention_BN"][0].sort(descending=True, stable=True).indices[:m].sort().values
    nearest = (unit @ unit[kept].T).scatter(0, kept[None], torch.eye(m) * 2 - torch.ones(m, m))
    nearest[kept] = torch.eye(m) * 2
    groups = nearest.argmax(1)
    mass = signals["mass_BN"][0]
    right = torch.stack([(x[0] * mass[:, None])[groups == i].sum(0) / mass[groups == i].sum() for i in range(m)])
    np.testing.assert_allclose(found.apply(x)[0], right, atol=1e-5)
    assert found.kind in ("many-to-one", "one-to-one")


@settings(max_examples=30)
@given(st.integers(0, 200), st.sampled_from(["row", "column"]), st.integers(1, 4))
def test_no_mass_is_lost_or_made(seed, norm, columns):
    x, signals = noise(2, 14, 3, seed=seed), inputs(2, 14, seed)
    found = TokenTransforming(6, norm=norm, columns=columns)(x, **signals)
    np.testing.assert_allclose(found.mass(signals["mass_BN"]).sum(1), signals["mass_BN"].sum(1), rtol=1e-5)
    assert found.rows_sum_to_one
    assert found.kind == ("many-to-one" if columns == 1 else "many-to-many")


def test_copies_of_a_kept_token_do_not_empty_its_row():
    """All keys are equal: each kept token stays in its own row, the others go to the first."""
    x = noise(1, 6, 3)
    signals = {**inputs(1, 6, ones=True), "keys_BNHC": torch.ones(1, 6, 2, 4)}
    found = TokenTransforming(3, columns=1)(x, **signals)
    kept = signals["attention_BN"][0].topk(3).indices.sort().values.tolist()
    assert found.sources_BMN[0, 1].nonzero()[:, 0].tolist() == [kept[1]]
    assert found.sources_BMN[0, 0].sum() == 4


def test_lifting_gives_each_token_the_mean_of_its_rows():
    x, signals = noise(1, 10, 3), inputs(1, 10)
    found = TokenTransforming(4)(x, **signals)
    weight = found.matrix()[0]
    right = (weight / weight.sum(0)).T @ found.apply(x)[0]
    np.testing.assert_allclose(found.lift(found.apply(x))[0], right, atol=1e-5)


def nan(name):
    given = inputs(1, 9)
    return {**given, name: torch.full_like(given[name], torch.nan)}


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: TokenTransforming(0), "keep=0"),
        (lambda: TokenTransforming(3, temperature=0), "temperature=0"),
        (lambda: TokenTransforming(3, temperature=math.inf), "temperature=inf"),
        (lambda: TokenTransforming(3, columns=0), "columns=0"),
        (lambda: TokenTransforming(3, threshold=math.nan), "threshold is not a number"),
        (lambda: TokenTransforming(3, norm="rows"), "norm='rows'"),
        (lambda: TokenTransforming(3, score="key"), "score='key'"),
        (lambda: TokenTransforming(10)(noise(1, 9, 4), **inputs(1, 9)), "has 9 tokens"),
        (lambda: TokenTransforming(3)(noise(1, 9, 4), **inputs(1, 8)), "attention_BN has shape"),
        (
            lambda: TokenTransforming(3)(noise(1, 9, 4), **{**inputs(1, 9), "mass_BN": torch.zeros(1, 9)}),
            "a mass of 0.0",
        ),
        (
            lambda: TokenTransforming(3)(noise(1, 9, 4), **{**inputs(1, 9), "keys_BNHC": noise(1, 9, 4)}),
            "keys have shape",
        ),
        (lambda: TokenTransforming(3)(noise(1, 9, 4), **nan("keys_BNHC")), "keys are not finite"),
        (lambda: TokenTransforming(3)(noise(1, 9, 4), **nan("mass_BN")), "mass is not finite"),
        (lambda: TokenTransforming(3, score="cls")(noise(1, 9, 4)), "TokenTransforming needs cls_attention"),
    ],
)
def test_token_transforming_refuses(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()
