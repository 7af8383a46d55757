"""TransPrune against its definition, token by token, and what it refuses."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tokenloom.core.errors import InvalidInput
from tokenloom.core.token_map import TokenMap
from tokenloom.core.transition import Transition, change
from tokenloom.reduce.fastv import FastV
from tokenloom.reduce.signals import MissingSignal, Signal
from tokenloom.reduce.transitions import transition_scores
from tokenloom.reduce.transprune import TransPrune

WORDS = [(cosine, over) for cosine in ("signed", "abs") for over in ("all", "image")]


def transition(seed, *, batch=1, start=1, count=6, behind=2, width=5):
    """Four random tensors, a layer's two modules, and their transition."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randn(2, 2, batch, start + count + behind, width, generator=generator)
    parts = [change(*pair) for pair in pairs]
    return pairs, Transition(*(torch.stack(both) for both in zip(*parts)), start=start, count=count)


def scores_by_hand(pairs, item, start, count, cosine, over):
    """g * exp(1 - c) / sum of exp(1 - c), module by module and token by token, in plain numbers."""
    total = [0.0] * count
    for x_in, x_out in pairs[:, :, item].double().tolist():
        gains, weights = [], []
        for a, b in zip(x_in, x_out):
            long, product = math.hypot(*a), sum(p * q for p, q in zip(a, b))
            c = product / (long * math.hypot(*b))
            gains.append(math.hypot(*b) / long)
            weights.append(math.exp(1 - (c if cosine == "signed" else abs(c))))
        places = range(len(gains)) if over == "all" else range(start, start + count)
        whole = sum(weights[t] for t in places)
        for k in range(count):
            total[k] += gains[start + k] * weights[start + k] / whole
    return total


def transprune_by_hand(reducer, parts, attention, layer, total):
    """Which tokens of one item are kept; `parts` are the scores of each layer, `attention` rows of text."""
    n = len(attention[0])

    def to_one(values):
        return [value / (sum(values) + 1e-8) for value in values]

    summed = [sum(parts[at][k] for at in reducer.accumulated if at <= layer) for k in range(n)]
    seen = [sum(row[k] for row in attention) / len(attention) for k in range(n)]
    both = [reducer.alpha * t + (1 - reducer.alpha) * i for t, i in zip(to_one(summed), to_one(seen))]
    m = int(total * reducer.ratios[reducer.layers.index(layer)])
    return sorted(sorted(range(n), key=lambda k: (-both[k], k))[:m])


@pytest.mark.parametrize("cosine, over", WORDS)
def test_transition_scores_are_gain_times_softmax_of_turning(cosine, over):
    for seed in range(5):
        pairs, found = transition(seed, batch=2)
        scores = transition_scores(found, cosine=cosine, over=over)
        for item in range(2):
            by_hand = scores_by_hand(pairs, item, 1, 6, cosine, over)
            assert_close(scores[item].double(), torch.tensor(by_hand).double(), atol=1e-6, rtol=0)


def test_a_common_scale_changes_no_score_but_one_of_the_outputs_does():
    pairs, found = transition(3)
    for scale in (1e-20, 1e-3, 1e15):
        parts = [change(*(scale * pair)) for pair in pairs]
        scaled = Transition(*(torch.stack(both) for both in zip(*parts)), start=1, count=6)
        assert_close(transition_scores(scaled), transition_scores(found))
    parts = [change(x_in, 2 * x_out) for x_in, x_out in pairs]
    doubled = Transition(*(torch.stack(both) for both in zip(*parts)), start=1, count=6)
    assert_close(transition_scores(doubled), 2 * transition_scores(found))


@pytest.mark.parametrize("over, positions", [("all", 9), ("image", 6)])
def test_outputs_in_the_direction_of_their_inputs_score_alike(over, positions):
    x = torch.randn(1, 9, 5)
    parts = [change(x, 0.7 * x), change(x, 0.2 * x)]
    found = Transition(*(torch.stack(both) for both in zip(*parts)), start=1, count=6)
    assert_close(transition_scores(found, over=over), torch.full((1, 6), (0.7 + 0.2) / positions))


def test_a_single_token_scores_its_gain():
    pairs, found = transition(0, start=0, count=1, behind=0)
    lengths = pairs.norm(dim=-1)[:, :, 0, 0]
    assert_close(transition_scores(found)[0, 0], (lengths[:, 1] / lengths[:, 0]).sum())


def test_turned_round_is_highest_in_the_code_and_lowest_in_the_paper():
    x = torch.eye(3)[None, :2]
    out = torch.stack((-x[0, 0], torch.eye(3)[2]))[None]  # one token turned round, one at a right angle
    parts = [change(x, out)] * 2
    found = Transition(*(torch.stack(both) for both in zip(*parts)), start=0, count=2)
    signed, absolute = (transition_scores(found, cosine=cosine)[0] for cosine in ("signed", "abs"))
    assert signed[0] / signed[1] == pytest.approx(math.e) and absolute[1] / absolute[0] == pytest.approx(math.e)


def test_zero_vectors_have_no_direction_and_no_gain():
    gain, cosine = change(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    assert gain.tolist() == [0, 0] and cosine.tolist() == [0, 0]


def test_dropped_tokens_still_count_in_the_softmax_of_layers_they_ran_through():
    _, found = transition(1)
    first, second = TokenMap.keep(torch.tensor([[0, 2, 3, 5]]), of=6), TokenMap.keep(torch.tensor([[1, 3]]), of=4)
    left = found.through(first).through(second)
    for cosine, over in WORDS:
        whole = transition_scores(found, cosine=cosine, over=over)
        assert torch.equal(transition_scores(left, cosine=cosine, over=over), whole[:, [2, 5]])


@given(
    seed=st.integers(0, 10**6),
    layers=st.sampled_from([(2,), (1, 3), (2, 3, 5)]),
    accumulated=st.sampled_from([(1,), (1, 2, 3), (1, 4), (1, 2, 9)]),
    alpha=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    words=st.sampled_from(WORDS),
    batch=st.integers(1, 3),
)
def test_it_is_its_definition(seed, layers, accumulated, alpha, words, batch):
    cosine, over = words
    ratios = (0.9, 0.7, 0.4)[-len(layers) :]
    reducer = TransPrune(layers, ratios, accumulated, alpha, cosine, over)
    generator = torch.Generator().manual_seed(seed)
    n, layer = 7, layers[-1]
    recorded, parts = {}, [{} for _ in range(batch)]
    for at in range(1, layer + 1):
        pairs, recorded[at] = transition(seed + at, batch=batch, count=n)
        for b in range(batch):
            parts[b][at] = scores_by_hand(pairs, b, 1, n, cosine, over)
    attention = torch.rand(batch, 3, n, generator=generator) / n
    made = reducer(torch.zeros(batch, n, 4), layer=layer, total=10, transitions=recorded, attention_BQN=attention)
    for b in range(batch):
        expected = transprune_by_hand(reducer, parts[b], attention[b].double().tolist(), layer, 10)
        assert made.index_BM[b].tolist() == expected


@given(seed=st.integers(0, 10**6), keep=st.integers(1, 8))
def test_without_transitions_and_with_the_last_query_it_is_fastv(seed, keep):
    attention = torch.rand(2, 4, 8, generator=torch.Generator().manual_seed(seed))
    x = torch.zeros(2, 8, 4)
    mine = TransPrune((2,), (keep / 8,), (1,), alpha=0)(x, layer=2, total=8, attention_BQN=attention[:, -1:])
    theirs = FastV(keep, layer=2)(x, layer=2, total=8, attention_BQN=attention)
    assert torch.equal(mine.index_BM, theirs.index_BM)


def test_a_batch_is_its_items_and_any_precision_will_do():
    reducer = TransPrune((2,), (0.5,), (1, 2))
    recorded = {at: transition(at, batch=3, count=8)[1] for at in (1, 2)}
    attention, x = torch.rand(3, 2, 8), torch.zeros(3, 8, 4)
    whole = reducer(x, layer=2, total=8, transitions=recorded, attention_BQN=attention).index_BM
    for b in range(3):
        mine = slice(b, b + 1)
        one = {
            at: Transition(t.gain_2BT[:, mine], t.cosine_2BT[:, mine], t.start, t.count) for at, t in recorded.items()
        }
        alone = reducer(x[mine], layer=2, total=8, transitions=one, attention_BQN=attention[mine])
        assert torch.equal(alone.index_BM, whole[mine])
    half = reducer(x.bfloat16(), layer=2, total=8, transitions=recorded, attention_BQN=attention.bfloat16())
    assert half.apply(x.bfloat16()).dtype == torch.bfloat16


def test_ratio_1_keeps_all_in_their_order():
    reducer = TransPrune((2,), (1.0,), (1,))
    made = reducer(
        torch.zeros(1, 6, 4), layer=2, total=6, transitions={1: transition(0)[1]}, attention_BQN=torch.rand(1, 2, 6)
    )
    assert made.index_BM.tolist() == [[0, 1, 2, 3, 4, 5]]


def test_counts_are_of_the_first_number_rounded_down():
    # 576 tokens of LLaVA-1.5: 504, 360 and 72; and 0.29 * 100 is a little less than 29 in floating point.
    attention, left = torch.rand(1, 1, 576), 576
    for layer, count in zip((7, 9, 12), (504, 360, 72)):
        made = TransPrune(alpha=0)(torch.zeros(1, left, 2), layer=layer, total=576, attention_BQN=attention[..., :left])
        assert made.shape[1] == count
        left = count
    made = TransPrune((1,), (0.29,), (1,), 0)(
        torch.zeros(1, 100, 2), layer=1, total=100, attention_BQN=torch.rand(1, 1, 100)
    )
    assert made.shape[1] == 28


def test_needs_are_what_alpha_leaves_of_them():
    both = TransPrune().needs(9)
    assert both == {"transitions": Signal("transitions", 7), "attention": Signal("text_attention", 10)}
    assert list(TransPrune(alpha=0).needs(9)) == ["attention"] and list(TransPrune(alpha=1).needs(9)) == ["transitions"]


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"layers": ()}, "layers=()"),
        ({"layers": (9, 7, 12)}, "layers=(9, 7, 12); they must ascend"),
        ({"layers": (7, 7, 12)}, "layers=(7, 7, 12); they must ascend"),
        ({"layers": (0, 7, 12)}, "from 1 on"),
        ({"ratios": (0.5, 0.25)}, "one in (0, 1] for each of 3 layers"),
        ({"ratios": (0.5, 0.6, 0.1)}, "must not grow"),
        ({"ratios": (1.1, 0.6, 0.1)}, "in (0, 1]"),
        ({"ratios": (0.9, 0.6, 0.0)}, "in (0, 1]"),
        ({"accumulated": ()}, "accumulated=()"),
        ({"accumulated": (8, 9)}, "before tokens are dropped after layer 7"),
        ({"accumulated": (0, 1)}, "accumulated=(0, 1)"),
        ({"alpha": -0.1}, "alpha=-0.1"),
        ({"alpha": math.nan}, "alpha=nan"),
        ({"cosine": "absolute"}, "cosine='absolute'"),
        ({"over": "text"}, "over='text'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(InvalidInput, match=re.escape(words)):
        TransPrune(**settings)


@pytest.mark.parametrize(
    "changed, error, words",
    [
        ({"transitions": None}, MissingSignal, "TransPrune needs transitions"),
        ({"transitions": {2: transition(0)[1]}}, MissingSignal, "TransPrune needs transitions"),
        ({"attention_BQN": None}, MissingSignal, "TransPrune needs text_attention"),
        ({"layer": 3}, InvalidInput, "layer=3; tokens are dropped after layers (2,)"),
        ({"total": 1}, InvalidInput, "ratio 0.5 of 1 tokens is 0; it must be from 1 to 6"),
        ({"total": 20}, InvalidInput, "ratio 0.5 of 20 tokens is 10"),
        ({"attention_BQN": torch.rand(1, 2, 5)}, InvalidInput, "attention_BQN has shape"),
        ({"attention_BQN": torch.full((1, 2, 6), torch.nan)}, InvalidInput, "attention_BQN is not finite"),
        ({"attention_BQN": torch.zeros(1, 0, 6)}, InvalidInput, "attention_BQN is not finite"),
        ({"transitions": {1: transition(0, count=4)[1]}}, InvalidInput, "transitions has shape"),
        ({"x_BND": torch.full((1, 6, 4), torch.inf)}, InvalidInput, "features are not finite"),
        ({"x_BND": torch.zeros(6, 4)}, InvalidInput, "floating point (B, N, D)"),
    ],
)
def test_what_it_cannot_use_is_refused(changed, error, words):
    given_ = {"x_BND": torch.zeros(1, 6, 4), "layer": 2, "total": 6} | changed
    given_ = {"transitions": {1: transition(0)[1]}, "attention_BQN": torch.rand(1, 2, 6)} | given_
    with pytest.raises(error, match=re.escape(words)):
        TransPrune((2,), (0.5,), (1,))(given_.pop("x_BND"), **given_)


@pytest.mark.parametrize(
    "gain, cosine, start, count, words",
    [
        (torch.ones(2, 1, 5), torch.ones(2, 1, 4), 0, 3, "both must be (2, B, T)"),
        (torch.ones(1, 1, 5), torch.ones(1, 1, 5), 0, 3, "both must be (2, B, T)"),
        (torch.ones(2, 1, 5), torch.ones(2, 1, 5), 3, 3, "3 visual tokens from position 3 on, of 5"),
        (torch.ones(2, 1, 5), torch.ones(2, 1, 5), -1, 3, "from position -1"),
        (torch.ones(2, 1, 5), torch.ones(2, 1, 5), 0, 0, "0 visual tokens"),
        (torch.full((2, 1, 5), torch.nan), torch.ones(2, 1, 5), 0, 3, "not finite"),
    ],
)
def test_transitions_that_do_not_fit_are_refused(gain, cosine, start, count, words):
    with pytest.raises(InvalidInput, match=re.escape(words)):
        Transition(gain, cosine, start, count)


def test_other_words_for_scores_are_refused():
    with pytest.raises(InvalidInput, match="cosine='x', over='all'"):
        transition_scores(transition(0)[1], cosine="x")
