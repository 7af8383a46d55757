"""Relevance by its definition, the compressor and its loss, and the reducer, alone and inside a model."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FAMILIES, tiny_inputs, tiny_vlm

from tokenloom.core.errors import InvalidInput, StoreError
from tokenloom.hosts.vision_language.relevance import text_attentions
from tokenloom.measure.digit_grid import DigitGridTask, answers, generated_digits
from tokenloom.models.digit_grid import digit_grid_model
from tokenloom.reduce.attaching import attach
from tokenloom.reduce.explainability_compression import (
    Compressor,
    ExplainabilityCompression,
    compression_loss,
    relevance,
    relevance_targets,
    train_compressor,
    visual_relevance,
)
from tokenloom.reduce.signals import MissingSignal
from tokenloom.testing import check_reducer

# -- relevance -----------------------------------------------------------------------------------------------------------


def layers_of(seed, count, batch=2, heads=3, length=7):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, heads, length, length)
    attention = [torch.randn(shape, generator=generator).tril().softmax(-1).tril() for _ in range(count)]
    return attention, [torch.randn(shape, generator=generator) for _ in range(count)]


@given(seed=st.integers(0, 500), count=st.integers(1, 4), query=st.integers(0, 6))
def test_the_vector_from_the_top_is_a_row_of_the_matrix_from_the_bottom(seed, count, query):
    attention, gradient = layers_of(seed, count)
    for b in range(2):
        whole = torch.eye(7)
        for weights, slopes in zip(attention, gradient):
            mean = sum(torch.clamp(weights[b, h] * slopes[b, h], min=0) for h in range(3)) / 3
            whole = whole + mean @ whole
        found = relevance(attention, gradient, query, range(1, 5))
        assert torch.allclose(found[b], whole[query, 1:5], rtol=1e-5, atol=1e-6)


def test_one_linear_layer_by_hand():
    # One head, logit = sum over j of a[2, j] v[j] with v = (2, -3, 5): the gradient by a[2, j] is v[j]. What is negative does
    # not count, so relevance of positions 0 and 1 to position 2 is (0.5 * 2, 0).
    weights = torch.tensor([[1.0, 0, 0], [0.4, 0.6, 0], [0.5, 0.25, 0.25]], requires_grad=True)
    logit = weights[2] @ torch.tensor([2.0, -3, 5])
    (slope,) = torch.autograd.grad(logit, weights)
    found = relevance([weights[None, None].detach()], [slope[None, None]], 2, range(2))
    assert found.tolist() == [[1.0, 0.0]]
    # A logit that is three times as large has three times the relevance, in one layer.
    again = relevance([weights[None, None].detach()], [3 * slope[None, None]], 2, range(2))
    assert again.tolist() == [[3.0, 0.0]]


def test_without_gradients_nothing_matters_and_with_ones_it_is_rollout():
    attention, gradient = layers_of(0, 3)
    zeros = [torch.zeros_like(slopes) for slopes in gradient]
    assert not relevance(attention, zeros, 6, range(6)).any()
    assert torch.equal(relevance(attention, zeros, 6, range(4, 7))[:, 2], torch.ones(2))  # R = I
    rollout = torch.eye(7).expand(2, -1, -1)
    for weights in attention:
        rollout = rollout + weights.mean(1) @ rollout
    ones = [torch.ones_like(slopes) for slopes in gradient]
    assert torch.allclose(relevance(attention, ones, 6, range(7)), rollout[:, 6], rtol=1e-5)


def test_a_token_that_nothing_attends_to_does_not_matter():
    attention, gradient = layers_of(1, 3)
    for weights in attention:
        weights[..., 2] = 0
    found = relevance(attention, gradient, 6, range(1, 5))
    assert not found[:, 1].any()
    assert found[:, [0, 2, 3]].all()


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda a, g: ([], [], 0, range(1)), "0 layers"),
        (lambda a, g: (a, g[:1], 0, range(1)), "gradients of 1"),
        (lambda a, g: (a, [s[..., 1:] for s in g], 0, range(1)), "of one shape"),
        (lambda a, g: (a, g, 7, range(1)), "query 7"),
        (lambda a, g: (a, g, 0, range(5, 8)), "columns 5 to 8"),
        (lambda a, g: (a, g, 0, range(0)), "columns 0 to 0"),
    ],
)
def test_relevance_refuses_what_does_not_fit(change, words):
    with pytest.raises(InvalidInput, match=words):
        relevance(*change(*layers_of(0, 2)))


@pytest.fixture(scope="module")
def model():
    return digit_grid_model(side=4, width=16, layers=2, heads=2)


@pytest.fixture(scope="module")
def grids():
    digits = generated_digits(2, rng=np.random.default_rng(0))
    return DigitGridTask(side=4).draw(digits, 3, rng=np.random.default_rng(0))


def test_relevance_in_a_model_is_the_mean_over_an_answer(model, grids):
    answer = torch.tensor([[30, 31], [32, 33], [34, 35]])
    both = visual_relevance(model, grids.inputs, answer)
    assert both.shape == (3, 16)
    assert bool((both >= 0).all()) and bool((both.sum(1) > 0).all())
    first = visual_relevance(model, grids.inputs, answer[:, :1])
    longer = {**grids.inputs, "input_ids": torch.cat([grids.ids_BT, answer[:, :1]], 1)}
    longer["attention_mask"] = torch.ones_like(longer["input_ids"])
    second = visual_relevance(model, longer, answer[:, 1:])
    assert torch.allclose(both, (first + second) / 2, atol=1e-6)
    alone = visual_relevance(model, {k: v[1:2] for k, v in grids.inputs.items()}, answer[1:2])
    assert torch.allclose(both[1:2], alone, atol=1e-6)


def test_relevance_in_a_model_refuses_no_answer_and_gaps(model, grids):
    with pytest.raises(InvalidInput, match=r"\(3, 0\)"):
        visual_relevance(model, grids.inputs, torch.zeros(3, 0, dtype=torch.int64))
    gap = {**grids.inputs, "input_ids": torch.cat([grids.ids_BT, torch.full((3, 1), 2)], 1)}
    with pytest.raises(InvalidInput, match="17 placeholders between columns 1 and 20"):
        visual_relevance(model, gap, torch.tensor([[30]] * 3))


# -- targets and loss ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=9))
def test_targets_are_the_higher_half_as_shares(values):
    if sum(values) == 0:
        return
    target = relevance_targets(torch.tensor([values]))[0].tolist()
    kept = sorted(range(len(values)), key=lambda i: (-values[i], i))[: max(1, round(len(values) / 2))]
    total = sum(values[i] for i in kept)
    assert target == pytest.approx([values[i] / total if i in kept else 0 for i in range(len(values))], abs=1e-5)


def test_targets_refuse_what_is_no_relevance():
    for values, words in (
        ([0.0, 0.0], "nothing mattered to item 0"),
        ([1.0, -1.0], "negative"),
        ([1.0, torch.nan], "not finite"),
    ):
        with pytest.raises(InvalidInput, match=words):
            relevance_targets(torch.tensor([values]))


def test_the_loss_is_the_divergence_and_zeros_add_nothing():
    target = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.5, 0.5]])
    predicted = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]])
    by_hand = [0.75 * np.log(0.75 / 0.5), 0.5 * np.log(0.5 / 0.2) + 0.5 * np.log(0.5 / 0.6)]
    assert compression_loss(predicted.log(), target).item() == pytest.approx(np.mean(by_hand), abs=1e-6)
    logits = torch.zeros(2, 3, requires_grad=True)
    compression_loss(logits.log_softmax(1), target).backward()
    assert torch.allclose(logits.grad, (torch.full((2, 3), 1 / 3) - target) / 2, atol=1e-6)
    assert compression_loss(target.clamp(min=1e-30).log(), target).item() == pytest.approx(0, abs=1e-6)


# -- the compressor --------------------------------------------------------------------------------------------------------


def attentions(batch, n, seed=0):
    return torch.rand(batch, n, generator=torch.Generator().manual_seed(seed)) / n


def test_the_compressor_takes_any_number_of_tokens_with_the_same_weights():
    compressor = Compressor()
    channels = (1, 32, 64, 128, 256, 512)
    expected = sum(6 * a + (a + 1) * b + 2 * b for a, b in pairwise(channels)) + 513
    assert sum(weight.numel() for weight in compressor.parameters()) == expected == 180_487
    for n in (1, 2, 7, 64):
        shares = compressor(attentions(2, n)).exp()
        assert shares.shape == (2, n)
        assert torch.allclose(shares.sum(1), torch.ones(2), atol=1e-5)


def test_the_compressor_is_the_convolutions_it_says():
    compressor = Compressor(channels=(3, 4), kernel=3)
    x = attentions(2, 6)
    h = (x / x.mean(1, keepdim=True))[:, None]  # (B, 1, N)
    for layer in compressor.layers:
        along = torch.zeros_like(h)
        padded = F.pad(h, (1, 1))
        for c in range(h.shape[1]):
            for i in range(6):
                along[:, c, i] = padded[:, c, i : i + 3] @ layer.along.weight[c, 0] + layer.along.bias[c]
        across = torch.einsum("oc,bcn->bno", layer.across.weight, along) + layer.across.bias
        h = F.gelu(F.layer_norm(across, across.shape[-1:], layer.norm.weight, layer.norm.bias)).transpose(1, 2)
    logits = torch.einsum("c,bcn->bn", compressor.out.weight[0], h) + compressor.out.bias
    assert torch.allclose(compressor(x), logits.log_softmax(1), atol=1e-5)


def test_the_scale_of_attention_does_not_matter_and_items_are_alone():
    compressor, x = Compressor(), attentions(3, 16)
    assert torch.allclose(compressor(x * 37), compressor(x), atol=1e-4)
    assert torch.allclose(compressor(x)[1:2], compressor(x[1:2]), atol=1e-5)


def test_the_compressor_can_learn_sixteen_samples_by_heart():
    compressor = Compressor()
    x = attentions(16, 8)
    targets = relevance_targets(attentions(16, 8, seed=1))
    losses = train_compressor(compressor, x, targets, epochs=120, rng=np.random.default_rng(0), lr=3e-3)
    assert losses[-1] < 0.05 < losses[0]


def test_training_repeats_itself_with_a_seed():
    x, targets = attentions(10, 8), relevance_targets(attentions(10, 8, seed=1))
    runs = []
    for seed in (0, 0, 1):
        compressor = Compressor(channels=(4,))
        runs.append(train_compressor(compressor, x, targets, epochs=3, batch=4, rng=np.random.default_rng(seed)))
    assert runs[0] == runs[1] != runs[2]


def test_a_saved_compressor_comes_back_and_another_file_does_not(tmp_path):
    compressor = Compressor(channels=(4, 6), kernel=3, generator=torch.Generator().manual_seed(3))
    compressor.save_pretrained(tmp_path / "saved")
    again = Compressor.from_pretrained(tmp_path / "saved")
    assert torch.equal(again(attentions(2, 9)), compressor(attentions(2, 9)))
    assert not torch.equal(Compressor(channels=(4, 6), kernel=3)(attentions(2, 9)), compressor(attentions(2, 9)))
    (tmp_path / "saved" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(StoreError, match="SHA-256"):
        Compressor.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize(
    "settings, words",
    [({"channels": ()}, "channels="), ({"kernel": 4}, "kernel=4"), ({"channels": (0,)}, "at least 1")],
)
def test_impossible_compressors_are_refused(settings, words):
    with pytest.raises(InvalidInput, match=words):
        Compressor(**settings)


@pytest.mark.parametrize("value, words", [(-1.0, "negative"), (torch.nan, "not finite"), (0.0, "zero everywhere")])
def test_what_is_no_attention_is_refused(value, words):
    x = attentions(2, 4)
    x[1] = value
    with pytest.raises(InvalidInput, match=words):
        Compressor(channels=(2,))(x)


# -- the reducer -----------------------------------------------------------------------------------------------------------


def test_all_laws_of_reducers_hold():
    x = torch.randn(3, 12, 5, generator=torch.Generator().manual_seed(0))
    attention = torch.rand(3, 4, 12, generator=torch.Generator().manual_seed(1))
    for keep in (3, 0.5):
        check_reducer(ExplainabilityCompression(Compressor(), keep=keep), x, {"text_attention_BQN": attention})


def test_it_keeps_what_the_compressor_ranks_highest_in_order():
    compressor = Compressor(channels=(8,))
    x, attention = torch.zeros(2, 10, 3), torch.rand(2, 3, 10, generator=torch.Generator().manual_seed(2))
    found = ExplainabilityCompression(compressor, keep=4)(x, text_attention_BQN=attention).index_BM
    scores = compressor(attention.mean(1)).tolist()
    for b in range(2):
        best = sorted(range(10), key=lambda i: (-scores[b][i], i))[:4]
        assert found[b].tolist() == sorted(best)


def test_budgets_and_signals_that_do_not_fit_are_refused():
    x, attention = torch.zeros(2, 10, 3), torch.rand(2, 3, 10)
    with pytest.raises(InvalidInput, match="keep=11, but each item has 10 tokens"):
        ExplainabilityCompression(Compressor(channels=(2,)), keep=11)(x, text_attention_BQN=attention)
    with pytest.raises(InvalidInput, match="keep=0"):
        ExplainabilityCompression(Compressor(channels=(2,)), keep=0)
    with pytest.raises(InvalidInput, match="one value for each token"):
        ExplainabilityCompression(Compressor(channels=(2,)), keep=3)(x, text_attention_BQN=attention[..., 1:])
    with pytest.raises(MissingSignal, match="text_attention"):
        ExplainabilityCompression(Compressor(channels=(2,)), keep=3)(x)


def test_inside_a_model_it_sees_the_first_layer_and_the_model_sees_what_it_keeps(model, grids):
    reducer = ExplainabilityCompression(Compressor(channels=(8,)), keep=4)
    features = torch.zeros(3, 16, 1)
    expected = reducer(features, text_attention_BQN=text_attentions(model, grids.inputs))
    with attach(model, reducer) as attached:
        said = answers(model, grids)
        assert [found.index_BM[0].tolist() for found in attached.maps] == expected.index_BM.tolist()
    assert torch.equal(said, answers(model, grids, expected))


@pytest.mark.parametrize("family", FAMILIES)
def test_any_family_shows_its_relevance_and_can_be_compressed(family):
    tiny, inputs = tiny_vlm(family), tiny_inputs(family)
    relevant = visual_relevance(tiny, inputs, torch.tensor([[5, 6]]))
    first = text_attentions(tiny, inputs)
    n = int((inputs["input_ids"] == tiny.config.image_token_id).sum())
    assert relevant.shape == (1, n)
    assert bool((relevant >= 0).all()) and bool(relevant.any())
    reducer = ExplainabilityCompression(Compressor(channels=(4,)), keep=8)
    with attach(tiny, reducer) as attached, torch.no_grad():
        tiny(**inputs)
        found = attached.maps[0].index_BM
    if family != "llava-next":  # whose tokens have newlines between them, which no reducer sees
        expected = reducer(torch.zeros(1, n, 1), text_attention_BQN=first)
        assert torch.equal(found, expected.index_BM)
    assert found.shape == (1, 8)
