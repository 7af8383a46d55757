"""HiPrune against a plain restatement, its rules at edges, and the scores from attention weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.attention import class_attention, received_attention
from tokenloom.reduce.fopru import FoPru
from tokenloom.reduce.hiprune import HiPrune
from tokenloom.reduce.signals import MissingSignal, Signal
from tokenloom.testing import check_reducer


def attentions(batch, heads, tokens, seed=0):
    return torch.randn(batch, heads, tokens, tokens, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(3)


def best(scores, k, among):
    return sorted(among, key=lambda i: (-scores[i], i))[:k]


def restated(middle, deep, m, alpha, h, w, strict=False, drop=False):
    """One picture in plain loops; lists of scores in, sorted indices out."""
    n = h * w
    anchors = best(middle, round(m * alpha / 5), range(n))
    around = []
    for a in anchors:
        for step in (-1, 1, -w, w):
            b = a + step
            if not strict:
                around.append(min(max(b, 0), n - 1))
            elif 0 <= b < n and abs(b // w - a // w) + abs(b % w - a % w) == 1:
                around.append(b)
    buffers = sorted(set(around) - set(anchors))
    if drop:
        buffers = best(middle, m - len(anchors), buffers)
    taken = {*anchors, *buffers}
    assert len(taken) <= m
    return sorted(taken | set(best(deep, m - len(taken), [i for i in range(n) if i not in taken])))


SETTINGS = [(m, alpha, strict) for m in (8, 20, 33, 48) for alpha in (0.0, 0.1, 0.4, 0.7) for strict in (False, True)]


@pytest.mark.parametrize("m, alpha, strict", SETTINGS)
def test_patches_are_those_of_the_plain_restatement(m, alpha, strict):
    h, w = 6, 8
    middle, deep = (received_attention(attentions(3, 4, h * w + 1, seed), prefix=1) for seed in (m, m + 1))
    reducer = HiPrune(m, alpha, neighbours="grid" if strict else "reference", overfull="drop")
    found = reducer(torch.ones(3, h * w, 2), object_attention_BN=middle, deep_attention_BN=deep, grid=(h, w))
    for b in range(3):
        assert found.index_BM[b].tolist() == restated(
            middle[b].tolist(), deep[b].tolist(), m, alpha, h, w, strict, drop=True
        )


@settings(max_examples=60)
@given(st.data())
def test_ties_go_to_the_lower_index(data):
    h, w = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    n = h * w
    scores = st.lists(st.integers(0, 2), min_size=n, max_size=n)
    middle, deep = data.draw(scores), data.draw(scores)
    m, alpha = data.draw(st.integers(1, n)), data.draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    strict = data.draw(st.booleans())
    reducer = HiPrune(m, alpha, neighbours="grid" if strict else "reference", overfull="drop")
    one, two = torch.tensor([middle]).float(), torch.tensor([deep]).float()
    found = reducer(torch.ones(1, n, 1), object_attention_BN=one, deep_attention_BN=two, grid=(h, w))
    assert found.index_BM[0].tolist() == restated(middle, deep, m, alpha, h, w, strict, drop=True)


@pytest.mark.parametrize(
    "reducer", [HiPrune(20, 0.4), HiPrune(0.3, 0.5, neighbours="grid"), HiPrune(7, 0.7, overfull="drop")]
)
def test_the_laws_of_reducers_hold(reducer):
    middle, deep = (received_attention(attentions(3, 2, 48, seed)) for seed in (1, 2))
    signals = {"object_attention_BN": middle, "deep_attention_BN": deep, "grid": (6, 8)}
    check_reducer(reducer, torch.randn(3, 48, 5, generator=torch.Generator().manual_seed(0)), signals)


def kept(reducer, middle, deep, grid):
    x = torch.ones(1, middle.numel(), 1)
    return reducer(x, object_attention_BN=middle[None], deep_attention_BN=deep[None], grid=grid).index_BM[0].tolist()


def test_an_anchor_inside_the_grid_brings_its_plus_shape():
    middle = torch.zeros(25)
    middle[12] = 1
    assert kept(HiPrune(5, 1.0), middle, torch.zeros(25), (5, 5)) == [7, 11, 12, 13, 17]


def test_edges_wrap_and_corners_come_for_free_as_published_and_not_in_the_grid():
    deep, middle = torch.zeros(20), torch.zeros(20)
    middle[4] = 1  # the right end of the first of four rows: 5 begins the next row, -1 becomes 0
    assert kept(HiPrune(5, 1.0), middle, deep, (4, 5)) == [0, 3, 4, 5, 9]
    deep[[11, 12]] = 1
    assert kept(HiPrune(5, 1.0, neighbours="grid"), middle, deep, (4, 5)) == [3, 4, 9, 11, 12]


def test_without_anchors_it_is_the_rank_of_fopru():
    middle, deep = (received_attention(attentions(2, 3, 30, seed)) for seed in (4, 5))
    x = torch.ones(2, 30, 1)
    one = HiPrune(11, alpha=0.0)(x, object_attention_BN=middle, deep_attention_BN=deep, grid=(5, 6))
    assert torch.equal(one.index_BM, FoPru(11)(x, attention_BN=deep).index_BM)


def test_anchors_are_counted_by_pythons_rounding():
    middle = torch.arange(100.0)
    # 25 * 0.5 / 5 = 2.5, which is rounded to 2: 99 and 98, in the last row, with 97, 89 and 88, and 99 once more for what is below.
    found = kept(HiPrune(25, 0.5), middle, -middle, (10, 10))
    assert set(found) == {99, 98, 97, 89, 88, *range(20)}


def test_scores_above_one_take_no_patch_twice():
    middle, deep = (received_attention(attentions(1, 2, 36, seed)) * 36 * 4 for seed in (6, 7))
    found = kept(HiPrune(20, 0.8, overfull="drop"), middle[0], deep[0], (6, 6))
    assert len(found) == len(set(found)) == 20


def test_anchors_and_neighbours_beyond_the_budget_are_refused_or_dropped():
    middle = torch.zeros(81)
    middle[[20, 24, 56, 60, 40]] = 1  # five plus-shapes apart from each other
    middle[[19, 41]] = 0.5
    with pytest.raises(InvalidInput, match="are 15 patches, but 13 are kept; a smaller alpha"):
        kept(HiPrune(13, 1.0), middle, middle, (9, 9))
    assert kept(HiPrune(13, 1.0, overfull="drop"), middle, middle, (9, 9))[:2] == [11, 15]
    few = HiPrune(3, 1.0, overfull="drop")  # one anchor, the first of equals, and its two best neighbours
    assert kept(few, middle, middle, (9, 9)) == [11, 19, 20]


def test_heads_and_queries_may_come_in_any_order():
    weights = attentions(1, 4, 20)
    shuffled = weights[:, torch.tensor([2, 0, 3, 1])][
        :, :, torch.randperm(20, generator=torch.Generator().manual_seed(0))
    ]
    assert torch.allclose(received_attention(weights, prefix=2), received_attention(shuffled, prefix=2), atol=1e-6)


def test_received_attention_is_the_mean_over_heads_and_all_queries():
    weights = attentions(2, 3, 7)
    plain = [
        [sum(float(weights[b, h, q, j]) for h in range(3) for q in range(7)) / 21 for j in range(2, 7)]
        for b in range(2)
    ]
    assert torch.allclose(received_attention(weights, prefix=2), torch.tensor(plain), atol=1e-6)
    first = [[sum(float(weights[b, h, 0, j]) for h in range(3)) / 3 for j in range(2, 7)] for b in range(2)]
    assert torch.allclose(class_attention(weights, prefix=2), torch.tensor(first), atol=1e-6)
    assert received_attention(weights.bfloat16()).dtype == torch.float32


def test_it_asks_for_two_layers_and_the_grid():
    needs = HiPrune(8, layer=16).needs
    assert needs["object_attention"] == Signal("received_attention", 16)
    assert needs["deep_attention"] == Signal("received_attention")


def ones(**changed):
    even = torch.full((1, 6), 1 / 6)
    return {"object_attention_BN": even, "deep_attention_BN": even, "grid": (2, 3), **changed}


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: HiPrune(0), "keep=0"),
        (lambda: HiPrune(2, alpha=1.1), "alpha=1.1"),
        (lambda: HiPrune(2, alpha=float("nan")), "alpha=nan"),
        (lambda: HiPrune(2, layer=0), "layer=0"),
        (lambda: HiPrune(2, neighbours="ring"), "'ring'"),
        (lambda: HiPrune(2, overfull="cap"), "'cap'"),
        (lambda: HiPrune(7)(torch.ones(1, 6, 1), **ones()), "keep=7, but each item has 6"),
        (lambda: HiPrune(2)(torch.ones(1, 6, 1), **ones(grid=(2, 2))), "2 x 2 for 6"),
        (lambda: HiPrune(2)(torch.ones(1, 6, 1), **ones(deep_attention_BN=torch.ones(1, 5))), "deep_attention_BN has shape"),
        (lambda: HiPrune(2)(torch.ones(1, 6, 1), **ones(object_attention_BN=torch.full((1, 6), torch.nan))), "object_attention_BN is not finite"),
        (lambda: received_attention(torch.ones(1, 2, 3, 3)), "adds up to 1 ± 2"),
        (lambda: received_attention(torch.full((1, 2, 3, 3), torch.nan)), "after the softmax"),
        (lambda: received_attention(torch.ones(1, 3, 3)), r"\(1, 3, 3\)"),
        (lambda: received_attention(attentions(1, 1, 3), prefix=3), "prefix=3 of 3"),
        (lambda: class_attention(attentions(1, 1, 3), prefix=0), "class token is a part"),
    ],
)  # fmt: skip
def test_hiprune_refuses(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_a_missing_layer_names_itself():
    with pytest.raises(MissingSignal, match="HiPrune needs received_attention"):
        HiPrune(2)(torch.ones(1, 6, 1), **ones(deep_attention_BN=None))
