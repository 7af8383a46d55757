"""Adaptive pooling to square numbers, the gated projector, the draw of counts, and the loss of one step."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare

from tokenloom.core.errors import InvalidInput
from tokenloom.hosts.vision_language.visual_tokens import visual_features
from tokenloom.measure.digit_grid import DigitGridTask, answers, generated_digits, train_digit_grid
from tokenloom.models.digit_grid import digit_grid_model
from tokenloom.reduce.matryoshka_m3 import MatryoshkaM3
from tokenloom.reduce.signals import MissingSignal
from tokenloom.reduce.tokenflex import TokenCounts, TokenFLEX, TokenFLEXProjector, sampled_loss
from tokenloom.testing import check_reducer


def features(n, width=5):
    return torch.randn(2, n, width, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("n", [1, 8, 12, 16, 20, 27])
def test_the_published_grid_is_pooled_as_torch_does(n):
    x = features(729)
    picture = x.transpose(1, 2).reshape(2, -1, 27, 27)
    expected = F.adaptive_avg_pool2d(picture, n).flatten(2).transpose(1, 2)
    found = TokenFLEX(keep=n * n)(x, grid=(27, 27))
    assert torch.allclose(found.apply(x), expected, atol=1e-6)
    assert found.rows_sum_to_one
    assert (found.kind == "many-to-many") == (n in (8, 12, 16, 20))


def test_where_n_divides_the_side_it_is_the_mean_of_blocks():
    x = features(144)
    for keep in (1, 4, 9, 16, 36, 144):
        ours, theirs = (method(keep=keep)(x, grid=(12, 12)).matrix() for method in (TokenFLEX, MatryoshkaM3))
        assert torch.allclose(ours, theirs, atol=1e-7)


def test_all_laws_of_reducers_hold():
    check_reducer(TokenFLEX(keep=9), features(49), {"grid": (7, 7)})
    check_reducer(TokenFLEX(keep=9), features(40), {"grid": (8, 5)})
    check_reducer(TokenFLEX(keep=0.5), features(32), {"grid": (8, 4)})


@pytest.mark.parametrize(
    "keep, grid, words",
    [
        (8, (7, 7), "8 tokens; TokenFLEX makes square numbers"),
        (36, (9, 5), "6 x 6 windows on a grid of 9 x 5"),
        (9, (9, 6), "9 x 6 for"),
    ],
)
def test_numbers_that_cannot_be_are_refused(keep, grid, words):
    with pytest.raises(InvalidInput, match=words):
        TokenFLEX(keep=keep)(features(49 if grid == (7, 7) else 45), grid=grid)


def test_a_sequence_without_a_grid_is_refused():
    with pytest.raises(MissingSignal, match="grid"):
        TokenFLEX(keep=4)(features(12))
    with pytest.raises(InvalidInput, match="3 x 3 for 12 tokens"):
        TokenFLEXProjector(width_in=5, width_out=6)(features(12))
    assert TokenFLEXProjector(width_in=5, width_out=6, tokens=4)(features(12), grid=(4, 3)).shape == (2, 4, 6)


def test_the_projector_is_pooling_norm_and_gated_matrices():
    projector = TokenFLEXProjector(width_in=5, width_out=6, hidden=7, tokens=4)
    x = features(9)
    pooled = F.adaptive_avg_pool2d(x.transpose(1, 2).reshape(2, 5, 3, 3), 2).flatten(2).transpose(1, 2)
    z = F.layer_norm(pooled, (5,), projector.norm.weight, projector.norm.bias)
    inside = F.silu(z @ projector.gate.weight.T + projector.gate.bias) * (z @ projector.up.weight.T + projector.up.bias)
    assert torch.allclose(projector(x), inside @ projector.down.weight.T + projector.down.bias, atol=1e-6)


def test_a_gate_that_is_large_and_constant_leaves_a_linear_map():
    projector = TokenFLEXProjector(width_in=5, width_out=6)
    with torch.no_grad():
        projector.gate.weight.zero_()
        projector.gate.bias.fill_(40.0)  # SiLU(40) = 40
        x = features(4)
        z = projector.norm(x)
        expected = projector.down(40 * projector.up(z))
        assert torch.allclose(projector(x), expected, rtol=1e-5, atol=1e-4)


def test_the_number_of_tokens_is_set_for_a_while_and_then_as_before():
    projector = TokenFLEXProjector(width_in=5, width_out=6, tokens=9)
    x = features(36)
    with projector.making(4):
        assert projector(x).shape == (2, 4, 6)
    with pytest.raises(InvalidInput), projector.making(7):
        projector(x)
    assert projector(x).shape == (2, 9, 6)


def test_one_seed_makes_one_projector():
    one, same, other = (
        TokenFLEXProjector(width_in=5, width_out=6, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one.up.weight, same.up.weight)
    assert not torch.equal(one.up.weight, other.up.weight)
    with pytest.raises(InvalidInput, match="width_out=0"):
        TokenFLEXProjector(width_in=5, width_out=0)


def test_counts_are_drawn_as_often_as_their_shares_say():
    counts, rng = TokenCounts(), np.random.default_rng(0)
    drawn = [counts(rng) for _ in range(5000)]
    seen = [drawn.count(count) for count in counts.counts]
    assert sum(seen) == 5000
    assert chisquare(seen, [1000, 1500, 2500]).pvalue > 0.01
    assert counts.mean == pytest.approx(184)
    assert [TokenCounts((64, 144, 256), (0, 0, 1))(rng) for _ in range(20)] == [256] * 20


@pytest.mark.parametrize(
    "counts, shares, words",
    [
        ((), (), "0 counts"),
        ((4, 9), (1.0,), "2 counts and 1 shares"),
        ((4, 9), (0.5, 0.6), "add up to 1"),
        ((4, 9), (1.5, -0.5), "add up to 1"),
        ((4, 9), (float("nan"), 1.0), "add up to 1"),
        ((4, 10), (0.5, 0.5), "10 tokens; TokenFLEX makes square numbers"),
    ],
)
def test_counts_that_cannot_be_drawn_are_refused(counts, shares, words):
    with pytest.raises(InvalidInput, match=words):
        TokenCounts(counts, shares)


@pytest.fixture(scope="module")
def digits():
    return generated_digits(2, rng=np.random.default_rng(0))


def small_model(*, flex=False):
    model = digit_grid_model(side=4, width=16, layers=1, heads=2)
    if flex:
        model.model.multi_modal_projector = TokenFLEXProjector(width_in=16, width_out=16)
    return model


@pytest.mark.parametrize("flex", [False, True])
def test_the_loss_is_that_of_a_model_that_sees_the_pooled_tokens(digits, flex):
    model = small_model(flex=flex)
    inputs = DigitGridTask(side=4).draw(digits, 3, rng=np.random.default_rng(0)).lessons
    tower = model.model.vision_tower(pixel_values=inputs["pixel_values"], output_hidden_states=True).hidden_states[-2][
        :, 1:
    ]

    def pooled(x):
        return F.adaptive_avg_pool2d(x.transpose(1, 2).reshape(3, -1, 4, 4), 3).flatten(2).transpose(1, 2)

    projector = model.model.multi_modal_projector
    tokens = projector(pooled(tower)) if flex else pooled(projector(tower))
    embed, ids = model.get_input_embeddings(), inputs["input_ids"]
    sequence = torch.cat([embed(ids[:, :1]), tokens, embed(ids[:, 17:])], 1)
    logits = model.lm_head(model.model.language_model(inputs_embeds=sequence).last_hidden_state)
    expected = F.cross_entropy(logits[:, -2], ids[:, -1])
    assert torch.allclose(sampled_loss(model, **inputs, tokens=9), expected, atol=1e-5)
    assert torch.equal(sampled_loss(model, **inputs, tokens=16), model(**inputs).loss)


def test_drawing_all_tokens_always_is_ordinary_training_to_the_bit(digits):
    def trained(loss):
        model = small_model()
        train_digit_grid(
            model, digits, DigitGridTask(side=4), steps=4, batch=8, rng=np.random.default_rng(0), loss=loss
        )
        return model.state_dict()

    counts, own = TokenCounts((1, 4, 16), (0, 0, 1)), np.random.default_rng(7)
    ordinary = trained(lambda model, grids, rng: model(**grids.lessons).loss)
    sampled = trained(lambda model, grids, rng: sampled_loss(model, **grids.lessons, tokens=counts(own)))
    assert all(torch.equal(ordinary[name], sampled[name]) for name in ordinary)


def test_a_model_with_the_projector_answers_at_the_number_it_is_set_to(digits):
    model, grids = small_model(flex=True), DigitGridTask(side=4).draw(digits, 4, rng=np.random.default_rng(0))
    projector = model.model.multi_modal_projector
    with projector.making(9):
        assert visual_features(model, grids.pixels).shape == (4, 9, 16)
        ids = torch.cat([grids.ids_BT[:, :10], grids.ids_BT[:, 17:]], 1)  # nine placeholders
        inputs = {**grids.inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        assert model.generate(**inputs, max_new_tokens=1, do_sample=False).shape == (4, 14)
    assert answers(model, grids).shape == (4,)


def test_a_step_that_cannot_be_is_refused(digits):
    inputs = DigitGridTask(side=4).draw(digits, 2, rng=np.random.default_rng(0)).lessons
    for flex in (False, True):
        with pytest.raises(InvalidInput, match="6 tokens; TokenFLEX makes square numbers"):
            sampled_loss(small_model(flex=flex), **inputs, tokens=6)
        with pytest.raises(InvalidInput, match="5 x 5 windows on a grid of 4 x 4"):
            sampled_loss(small_model(flex=flex), **inputs, tokens=25)
    with pytest.raises(InvalidInput, match="2 x 4 for 16 tokens"):
        sampled_loss(small_model(), **inputs, tokens=4, grid=(2, 4))
