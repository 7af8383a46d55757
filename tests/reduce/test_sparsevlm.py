"""SparseVLM against its definition, in loops, and what it refuses."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.signals import MissingSignal, Signal
from tokenloom.reduce.sparsevlm import BUDGETS, SparseVLM, density_peaks, raters


def raters_by_hand(visual, text):
    fits = [0.0] * len(text)
    for v in visual:
        products = [sum(a * b for a, b in zip(v, e)) for e in text]
        largest = max(products)
        weights = [math.exp(p - largest) for p in products]
        for t, weight in enumerate(weights):
            fits[t] += weight / sum(weights) / len(visual)
    above = [fit > sum(fits) / len(fits) for fit in fits]
    return above if any(above) else [True] * len(text)


def clusters_by_hand(points, clusters):
    """Density peaks; a token's cluster is the place of its centre among the centres, best first."""
    n, width = len(points), len(points[0])
    apart = [[math.dist(a, b) / math.sqrt(width) for b in points] for a in points]
    density = [math.exp(-sum(d * d for d in sorted(row)[:clusters]) / clusters) for row in apart]
    farthest = max(map(max, apart))
    peak = [
        min([apart[i][j] for j in range(n) if (-density[j], j) < (-density[i], i)], default=farthest) for i in range(n)
    ]
    centres = sorted(range(n), key=lambda i: (-density[i] * peak[i], i))[:clusters]
    return [
        centres.index(i) if i in centres else min(range(clusters), key=lambda c: (apart[centres[c]][i], c))
        for i in range(n)
    ]


def example(seed, *, n=40, first=40, queries=5, width=6, batch=1):
    generator = torch.Generator().manual_seed(seed)
    x, visual = (torch.randn(batch, size, width, generator=generator) for size in (n, first))
    text = torch.randn(batch, queries, width, generator=generator)
    attention = torch.rand(batch, queries, n, generator=generator) / n
    return x, {"attention_BQN": attention, "text_BQD": text, "first_BVD": visual, "total": first}


@given(seed=st.integers(0, 10**6), queries=st.integers(1, 6))
def test_raters_are_text_tokens_above_the_mean(seed, queries):
    _, values = example(seed, first=7, queries=queries, batch=2)
    found = raters(values["first_BVD"], values["text_BQD"])
    for b in range(2):
        assert found[b].tolist() == raters_by_hand(values["first_BVD"][b].tolist(), values["text_BQD"][b].tolist())


def test_words_that_fit_alike_are_all_raters():
    assert raters(torch.randn(1, 4, 3), torch.ones(1, 3, 3)).tolist() == [[True] * 3]
    assert raters(torch.randn(1, 4, 3), torch.randn(1, 1, 3)).tolist() == [[True]]


@given(seed=st.integers(0, 10**6), n=st.integers(1, 14), clusters=st.integers(1, 4))
def test_clusters_are_those_of_density_peaks(seed, n, clusters):
    points = torch.randn(2, n, 3, generator=torch.Generator().manual_seed(seed))
    clusters = min(clusters, n)
    found = density_peaks(points, clusters)
    for b in range(2):
        assert found[b].tolist() == clusters_by_hand(points[b].double().tolist(), clusters)


def test_equal_points_and_far_ones():
    same = density_peaks(torch.ones(1, 5, 2), 2)
    assert same.tolist() == [[0, 1, 0, 0, 0]]  # all are as dense; the first ones are the centres
    # Two pairs: with two clusters the nearest token of each in a pair is the other, and they are equally dense.
    assert density_peaks(torch.tensor([[[0.0], [0.5], [9.0], [9.5]]]), 2).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("recycle", [True, False])
def test_it_is_its_definition(recycle):
    for seed in range(6):
        x, values = example(seed)
        made = SparseVLM((2, 4), (0.5, 9), recycle)(x, layer=4, **values)
        above = raters_by_hand(values["first_BVD"][0].tolist(), values["text_BQD"][0].tolist())
        rows = [row for row, rates in zip(values["attention_BQN"][0].double().tolist(), above) if rates]
        score = [sum(row[k] for row in rows) / len(rows) for k in range(40)]
        order = sorted(range(40), key=lambda k: (-score[k], k))
        kept, dropped = sorted(order[:9]), order[9:]
        expected = torch.zeros(9, 40)
        expected[range(9), kept] = 1
        if recycle:
            # 31 dropped: int(9.3) + 1 = 10 are recycled into int(10 / 10) + 1 = 2.
            taken = dropped[:10]
            groups = clusters_by_hand(x[0, taken].double().tolist(), 2)
            merged = torch.zeros(2, 40)
            for token, group in zip(taken, groups):
                merged[group, token] = 1 / groups.count(group)
            expected = torch.cat((expected, merged))
        torch.testing.assert_close(made.matrix()[0], expected)
        assert made.rows_sum_to_one


def test_a_batch_is_its_items_and_any_precision_will_do():
    reducer = SparseVLM((1,), (7,))
    x, values = example(0, batch=3)
    whole = reducer(x, layer=1, **values).matrix()
    for b in range(3):
        one = {name: value[b : b + 1] if isinstance(value, torch.Tensor) else value for name, value in values.items()}
        torch.testing.assert_close(reducer(x[b : b + 1], layer=1, **one).matrix()[0], whole[b])
    half = {name: value.bfloat16() if isinstance(value, torch.Tensor) else value for name, value in values.items()}
    assert reducer(x.bfloat16(), layer=1, **half).apply(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("keep", [1.0, 40])
def test_keeping_all_keeps_them_in_their_order(keep):
    x, values = example(0)
    made = SparseVLM((1,), (keep,))(x, layer=1, **values)
    assert made.index_BM.tolist() == [list(range(40))]


def test_the_published_budgets_are_carried_out():
    left = 576
    for layer, keep in zip((3, 7, 16), BUDGETS[192]):
        x, values = example(layer, n=left, first=576)
        made = SparseVLM()(x, layer=layer, **values)
        recycled = int((left - keep) * 0.3) + 1
        assert made.shape == (1, keep + recycled // 10 + 1, left)
        left = made.shape[1]


def test_it_needs_the_layer_that_has_run():
    needs = SparseVLM().needs(7)
    assert needs == {"attention": Signal("text_attention", 7), "text": Signal("text_features")}


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"layers": ()}, "layers=()"),
        ({"layers": (7, 3, 16)}, "they must ascend"),
        ({"layers": (0, 3, 16)}, "from 1 on"),
        ({"keep": (3,)}, "one budget for each of 3 layers"),
        ({"keep": (3, 2, 0)}, "keep=0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(InvalidInput, match=re.escape(words)):
        SparseVLM(**settings)


X, VALUES = example(0)


@pytest.mark.parametrize(
    "changed, error, words",
    [
        ({"attention_BQN": None}, MissingSignal, "SparseVLM needs text_attention"),
        ({"text_BQD": None}, MissingSignal, "SparseVLM needs text_features"),
        ({"first_BVD": None}, MissingSignal, "SparseVLM needs first_BVD"),
        ({"layer": 2}, InvalidInput, "layer=2; tokens are dropped after layers (1,)"),
        (
            {"x_BND": X[:, :3], "attention_BQN": torch.rand(1, 5, 3)},
            InvalidInput,
            "5 tokens are to be kept after layer 1, but 3",
        ),
        ({"attention_BQN": torch.rand(1, 5, 9)}, InvalidInput, "attention_BQN has shape"),
        ({"attention_BQN": torch.full((1, 5, 40), torch.nan)}, InvalidInput, "attention_BQN is not finite"),
        ({"text_BQD": torch.rand(1, 5, 3)}, InvalidInput, "they must be (B, V, D) and (B, Q, D)"),
        ({"text_BQD": torch.rand(1, 0, 6)}, InvalidInput, "they must be (B, V, D) and (B, Q, D)"),
        ({"text_BQD": torch.full((1, 5, 6), torch.nan)}, InvalidInput, "the text's fit is not finite"),
        ({"x_BND": torch.full((1, 40, 6), torch.nan)}, InvalidInput, "features are not finite"),
    ],
)
def test_what_it_cannot_use_is_refused(changed, error, words):
    values = VALUES | {"x_BND": X, "layer": 1} | changed
    with pytest.raises(error, match=re.escape(words)):
        SparseVLM((1,), (5,))(values.pop("x_BND"), **values)


@pytest.mark.parametrize("clusters", [0, 6])
def test_impossible_numbers_of_clusters_are_refused(clusters):
    with pytest.raises(InvalidInput, match=f"clusters={clusters}"):
        density_peaks(torch.ones(1, 5, 2), clusters)
