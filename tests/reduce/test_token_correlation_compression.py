"""Density, draws, outliers and aggregation against plain definitions."""

from math import ceil, exp, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.crops import Crops
from tokenloom.reduce.selections import outliers
from tokenloom.reduce.signals import MissingSignal, Signal
from tokenloom.reduce.token_correlation_compression import TokenCorrelationCompression, density
from tokenloom.testing import check_reducer, check_token_map


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def signals(batch=2, n=24, heads=2, width=6, seed=0):
    gen = seeded(seed)
    # Half of the patches have one key, nearly.
    keys = torch.randn(batch, n, heads, width, generator=gen)
    keys[:, n // 2 :] = keys[:, n // 2 : n // 2 + 1] + 0.01 * keys[:, n // 2 :]
    return {
        "keys_BNHC": keys,
        "cls_query_BHC": torch.randn(batch, heads, width, generator=gen),
        "deep_keys_BNHC": torch.randn(batch, n, heads, width, generator=gen),
        "deep_cls_query_BHC": 4 * torch.randn(batch, heads, width, generator=gen),
    }


def features(given):
    return torch.randn(*given["keys_BNHC"].shape[:2], 5, generator=seeded(9))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def plain_density(keys, threshold, look_alikes, center):
    n = len(keys)
    if center:
        mean = [sum(column) / n for column in zip(*keys)]
        keys = [[x - m for x, m in zip(key, mean)] for key in keys]
    alike = [sum(cosine(keys[i], keys[j]) > threshold for j in range(n) if j != i) for i in range(n)]
    return 1 - sum(a > ceil(look_alikes * n) for a in alike) / n


def plain_attention(keys, query):
    powers = [exp(sum(k * q for k, q in zip(key, query)) / sqrt(len(query))) for key in keys]
    return [p / sum(powers) for p in powers]


def restated(given, b, heads, **options):
    """Kept patches with `sampling="top"`, in plain loops."""

    def compared(keys, query):
        keys, query = given[keys][b].double(), given[query][b].double()
        return (keys.mean(1), query.mean(0)) if heads == "averaged" else (keys.flatten(1), query.flatten())

    keys, query = (t.tolist() for t in compared("keys_BNHC", "cls_query_BHC"))
    deep_keys, deep_query = (t.tolist() for t in compared("deep_keys_BNHC", "deep_cls_query_BHC"))
    n = len(keys)
    count = max(1, round(plain_density(keys, **options) * n))
    p, deep = plain_attention(keys, query), plain_attention(deep_keys, deep_query)
    local = sorted(range(n), key=lambda i: (-p[i], i))[:count]
    low, high = np.percentile(deep, [25, 75])
    return sorted({*local, *(i for i in range(n) if deep[i] > high + 1.5 * (high - low))})


@settings(max_examples=40)
@given(st.integers(0, 100), st.integers(1, 24))
def test_a_budget_is_the_global_tokens_and_as_many_local_ones_as_are_missing(seed, keep):
    given = signals(2, seed=seed)
    found = TokenCorrelationCompression(1, 2, sampling="top", keep=keep)(features(given), **given)
    for b in range(2):
        p, deep = (
            plain_attention(given[k][b].flatten(1).tolist(), given[q][b].flatten().tolist())
            for k, q in (("keys_BNHC", "cls_query_BHC"), ("deep_keys_BNHC", "deep_cls_query_BHC"))
        )
        low, high = np.percentile(deep, [25, 75])
        outside = [i for i in sorted(range(24), key=lambda i: -deep[i]) if deep[i] > high + 1.5 * (high - low)][:keep]
        local = [i for i in sorted(range(24), key=lambda i: -p[i]) if i not in outside][: keep - len(outside)]
        assert found.index_BM[b].tolist() == sorted(outside + local)


def test_the_laws_hold_for_a_budget():
    given = signals(3)
    for options in ({"sampling": "top"}, {"aggregate": "nearest"}):
        drawn = {} if "sampling" in options else {"generator": lambda: seeded(0)}
        reducer = TokenCorrelationCompression(1, 2, keep=0.3, **options)
        check_reducer(reducer, features(given), {**given, **drawn}, whole=bool(drawn), rows=7)


@pytest.mark.parametrize("heads", ["concatenated", "averaged"])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("threshold, look_alikes", [(0.9, 0.05), (0.5, 0.2), (-0.2, 0.5)])
def test_kept_patches_are_those_of_the_plain_restatement(threshold, look_alikes, center, heads):
    given = signals(3)
    reducer = TokenCorrelationCompression(
        threshold=threshold, look_alikes=look_alikes, center_keys=center, heads=heads, sampling="top"
    )
    found = reducer(features(given), **given)
    for b in range(3):
        right = restated(given, b, heads, threshold=threshold, look_alikes=look_alikes, center=center)
        assert [i for i in found.index_BM[b].tolist() if i >= 0] == right


@settings(max_examples=60)
@given(st.integers(4, 20), st.integers(0, 999), st.sampled_from([-0.5, 0.0, 0.5, 0.9]), st.booleans())
def test_density_is_one_less_the_share_of_patches_with_many_look_alikes(n, seed, threshold, center):
    keys = torch.randn(n, 3, generator=seeded(seed))
    right = plain_density(keys.double().tolist(), threshold, 0.1, center)
    assert float(density(keys[None], threshold=threshold, look_alikes=0.1, center=center)) == pytest.approx(right)


def test_blank_paper_has_no_density_and_keeps_one_token():
    for center in (False, True):
        blank = torch.randn(1, 1, 8, generator=seeded()).expand(1, 30, 8)
        assert density(blank, center=center).tolist() == [0]
    assert density(torch.zeros(1, 30, 8)).tolist() == [0]
    given = signals(1, 30)
    given["keys_BNHC"] = given["keys_BNHC"][:, :1].expand(-1, 30, -1, -1)
    given["deep_keys_BNHC"] = torch.ones_like(given["deep_keys_BNHC"])
    assert TokenCorrelationCompression(sampling="top")(features(given), **given).counts_B.tolist() == [1]


def test_orthogonal_keys_are_dense_and_all_kept():
    given = signals(1, 12, 2, 6)
    given["keys_BNHC"] = torch.eye(12).view(1, 12, 2, 6)
    assert density(torch.eye(12)[None]).tolist() == [1]
    found = TokenCorrelationCompression()(features(given), **given, generator=seeded())
    assert found.index_BM.tolist() == [list(range(12))]


def test_density_knows_no_scale_and_no_order():
    keys = signals()["keys_BNHC"].flatten(2)
    scaled = keys * torch.rand(2, 24, 1, generator=seeded()).add(0.1)
    shuffled = keys[:, torch.randperm(24, generator=seeded())]
    assert density(keys).tolist() == density(scaled).tolist() == density(shuffled).tolist() == [0.5, 0.5]


@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=30))
def test_outliers_are_those_of_numpys_percentiles(values):
    scores = np.array(values, np.float32)
    low, high = np.percentile(scores.astype(np.float64), [25, 75])
    limit = high + 1.5 * (high - low)
    found = outliers(torch.from_numpy(scores)[None])[0].numpy()
    clear = np.abs(scores - limit) > 1e-5
    assert (found == (scores > limit))[clear].all()


def test_a_flat_distribution_has_no_outlier():
    assert not bool(outliers(torch.full((1, 20), 0.05)).any())


def test_the_same_seed_draws_the_same_tokens_and_a_batch_draws_as_its_items_in_turn():
    given = signals(3)
    reducer = TokenCorrelationCompression()
    x = features(given)
    one, two = (reducer(x, **given, generator=seeded(5)) for _ in range(2))
    other = reducer(x, **given, generator=seeded(6))
    assert torch.equal(one.matrix(), two.matrix())
    assert not torch.equal(one.sources_BMN.any(1), other.sources_BMN.any(1))
    generator = seeded(5)
    for b in range(3):
        own = {name: value[b : b + 1] for name, value in given.items()}
        alone = reducer(x[b : b + 1], **own, generator=generator)
        assert torch.equal(alone.matrix(), one.item(b).matrix())


@pytest.mark.slow
def test_the_first_draw_follows_the_class_tokens_attention():
    stats = pytest.importorskip("scipy.stats")
    given = signals(1, 16)
    given["keys_BNHC"] = torch.cat([given["keys_BNHC"][:, :1]] * 16, 1) * torch.linspace(1, 4, 16).view(1, 16, 1, 1)
    given["deep_keys_BNHC"] = torch.ones_like(given["deep_keys_BNHC"])  # no outlier: one token is drawn, the first
    p = plain_attention(given["keys_BNHC"][0].flatten(1).tolist(), given["cls_query_BHC"][0].flatten().tolist())
    many = {name: value.expand(10_000, *value.shape[1:]) for name, value in given.items()}
    found = TokenCorrelationCompression()(torch.ones(10_000, 16, 1), **many, generator=seeded())
    assert found.shape[1] == 1
    counts = found.index_BM.flatten().bincount(minlength=16)
    assert max(p) / min(p) > 1.5
    assert stats.chisquare(counts.numpy(), np.array(p) * 10_000).pvalue > 0.001


def test_dropped_tokens_are_averaged_into_the_kept_one_with_the_most_similar_key():
    given = signals(2)
    drop, join = (TokenCorrelationCompression(sampling="top", aggregate=a) for a in ("none", "nearest"))
    x = features(given)
    kept, merged = drop(x, **given), join(x, **given)
    assert merged.counts_B.tolist() == kept.counts_B.tolist() and merged.kind == "many-to-one"
    assert merged.rows_sum_to_one and bool((merged.sources_BMN.sum(1) == 1).all())
    check_token_map(merged)
    for b in range(2):
        keys = given["keys_BNHC"][b].flatten(1).double().tolist()
        rows = [i for i in kept.index_BM[b].tolist() if i >= 0]
        groups = [[] for _ in rows]
        for i, key in enumerate(keys):
            near = rows.index(i) if i in rows else max(range(len(rows)), key=lambda r: cosine(key, keys[rows[r]]))
            groups[near].append(i)
        right = torch.stack([x[b, group].mean(0) for group in groups])
        assert torch.allclose(merged.apply(x)[b, : len(rows)], right, atol=1e-6)


def test_of_sub_images_the_thumbnail_is_kept_whole():
    given, crops = signals(5, 16), Crops(2, 2, 4, 50, 50)
    reducer = TokenCorrelationCompression(sampling="top", sub_images=True)
    assert reducer.needs["crops"] == Signal("crops")
    found = reducer(features(given), **given, crops=crops)
    plain = TokenCorrelationCompression(sampling="top")(features(given), **given)
    assert found.counts_B.tolist() == [16, *plain.counts_B.tolist()[1:]]
    with pytest.raises(MissingSignal, match="needs crops"):
        reducer(features(given), **given)


@pytest.mark.parametrize("aggregate", ["none", "nearest"])
@pytest.mark.parametrize("sampling", ["top", "without_replacement"])
def test_the_laws_of_reducers_hold(sampling, aggregate):
    given = signals(3)
    generator = {} if sampling == "top" else {"generator": seeded}
    check_reducer(
        TokenCorrelationCompression(sampling=sampling, aggregate=aggregate), features(given), {**given, **generator}
    )


def test_it_asks_for_keys_and_queries_of_two_layers():
    needs = TokenCorrelationCompression(shallow=3, deep=11).needs
    assert needs == {
        "keys": Signal("keys", 3),
        "cls_query": Signal("cls_query", 3),
        "deep_keys": Signal("keys", 11),
        "deep_cls_query": Signal("cls_query", 11),
    }


def run(n=24, **changed):
    given = signals(2, n)
    return TokenCorrelationCompression(sampling="top")(features(given), **{**given, **changed})


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: TokenCorrelationCompression(keep=0), "keep=0"),
        (lambda: TokenCorrelationCompression(keep=5, sub_images=True), "keep=5 with sub_images"),
        (lambda: TokenCorrelationCompression(1, 2, sampling="top", keep=25)(features(signals()), **signals()), "has 24 tokens"),
        (lambda: TokenCorrelationCompression(threshold=1.0), "threshold=1.0"),
        (lambda: TokenCorrelationCompression(threshold=-1.0), "threshold=-1.0"),
        (lambda: TokenCorrelationCompression(look_alikes=1.0), "look_alikes=1.0"),
        (lambda: TokenCorrelationCompression(heads="first"), "'first'"),
        (lambda: TokenCorrelationCompression(sampling="all"), "'all'"),
        (lambda: TokenCorrelationCompression(aggregate="sum"), "'sum'"),
        (lambda: TokenCorrelationCompression(shallow=0), "layer=0"),
        (lambda: run(3), "3 patches; quartiles need 4"),
        (lambda: run(keys_BNHC=torch.ones(2, 23, 2, 6)), r"must be \(2, 24, H, C\)"),
        (lambda: run(cls_query_BHC=torch.ones(2, 3, 6)), r"it must be \(2, 2, 6\)"),
        (lambda: run(keys_BNHC=torch.full((2, 24, 2, 6), torch.nan)), "keys are not finite"),
        (lambda: TokenCorrelationCompression()(features(signals()), **signals()), "give generator"),
    ],
)  # fmt: skip
def test_it_refuses(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_no_class_token_is_refused_by_name():
    with pytest.raises(MissingSignal, match="needs cls_query"):
        run(cls_query_BHC=None)
