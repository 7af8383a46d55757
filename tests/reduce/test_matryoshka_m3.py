"""Scales nest, the map is the means of blocks, and the loss is the mean over scales."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tokenloom.core.errors import InvalidInput
from tokenloom.hosts.vision_language.visual_tokens import visual_features
from tokenloom.measure.digit_grid import DigitGridTask, generated_digits
from tokenloom.models.digit_grid import digit_grid_model
from tokenloom.reduce.matryoshka_m3 import MatryoshkaM3, nested_loss, possible_scales
from tokenloom.reduce.pooling import block_pooling
from tokenloom.reduce.signals import MissingSignal
from tokenloom.testing import check_reducer

GRID, SCALES = (24, 24), (576, 144, 36, 9, 1)


def features(n=576, width=5):
    return torch.randn(2, n, width, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("scale, window", list(zip(SCALES, (1, 2, 4, 8, 24))))
def test_each_published_scale_is_an_average_pooling(scale, window):
    x = features()
    picture = x.transpose(1, 2).reshape(2, -1, 24, 24)
    expected = F.avg_pool2d(picture, window, window).flatten(2).transpose(1, 2)
    found = MatryoshkaM3(keep=scale)(x, grid=GRID)
    assert torch.allclose(found.apply(x), expected, atol=1e-6)
    weights = found.matrix()
    assert torch.allclose(weights[weights != 0], torch.tensor(1 / window**2))
    assert bool(((weights != 0).sum(1) == 1).all())  # each token in one block


def test_scales_are_means_of_each_other():
    x = features()
    coarse = {scale: MatryoshkaM3(keep=scale)(x, grid=GRID).apply(x) for scale in SCALES}
    for finer, window in zip(SCALES, (2, 2, 2, 3)):
        side = int(finer**0.5)
        again = block_pooling((side, side), window).apply(coarse[finer])
        assert torch.allclose(coarse[finer // window**2], again, atol=1e-5)
    for tokens in coarse.values():
        assert torch.allclose(tokens.mean(1), x.mean(1), atol=1e-5)


def test_pooling_commutes_with_a_linear_projector_and_not_with_a_gelu():
    x, weight = features(), torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    pooling = MatryoshkaM3(keep=36)(x, grid=GRID)
    assert torch.allclose(pooling.apply(x @ weight), pooling.apply(x) @ weight, atol=1e-5)
    assert not torch.allclose(pooling.apply(F.gelu(x)), F.gelu(pooling.apply(x)), atol=1e-2)


def test_all_laws_of_reducers_hold():
    check_reducer(MatryoshkaM3(keep=9), features(144), {"grid": (12, 12)})
    check_reducer(MatryoshkaM3(keep=0.25), features(32), {"grid": (8, 4)})


def test_any_scale_that_square_blocks_give_is_possible_and_no_other():
    assert possible_scales((6, 4)) == [24, 6]
    x = features(24)
    for keep in range(1, 25):
        if keep in (24, 6):
            assert MatryoshkaM3(keep=keep)(x, grid=(6, 4)).shape == (2, keep, 24)
        else:
            with pytest.raises(InvalidInput, match=f"{keep} tokens of a grid of 6 x 4; square blocks give 24, 6"):
                MatryoshkaM3(keep=keep)(x, grid=(6, 4))


def test_what_cannot_be_pooled_is_refused():
    with pytest.raises(InvalidInput, match="100 tokens of a grid of 24 x 24"):  # the authors' code makes 144 of it
        MatryoshkaM3(keep=100)(features(), grid=GRID)
    with pytest.raises(InvalidInput, match="12 x 12 for 576 tokens"):
        MatryoshkaM3(keep=9)(features(), grid=(12, 12))
    with pytest.raises(MissingSignal, match="grid"):
        MatryoshkaM3(keep=9)(features())
    with pytest.raises(InvalidInput, match="keep=0"):
        MatryoshkaM3(keep=0)


@pytest.fixture(scope="module")
def lesson():
    model = digit_grid_model(side=4, width=16, layers=1, heads=2)
    digits = generated_digits(2, rng=np.random.default_rng(0))
    grids = DigitGridTask(side=4).draw(digits, 3, rng=np.random.default_rng(0))
    return model, grids.lessons


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def test_at_all_tokens_alone_it_is_ordinary_training_to_the_bit(lesson):
    model, inputs = lesson
    plain = model(**inputs).loss
    nested = nested_loss(model, **inputs, scales=[16])
    assert torch.equal(nested.loss, plain)
    ours, theirs = gradients(model, nested.loss), gradients(model, model(**inputs).loss)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_loss_is_the_mean_of_one_forward_pass_for_each_scale(lesson):
    model, inputs = lesson
    nested = nested_loss(model, **inputs, scales=[16, 4, 1])
    features_BND = visual_features(model, inputs["pixel_values"])
    expected = {}
    for scale, window in ((16, 1), (4, 2), (1, 4)):
        picture = features_BND.transpose(1, 2).reshape(3, -1, 4, 4)
        tokens = F.avg_pool2d(picture, window).flatten(2).transpose(1, 2)
        embed = model.get_input_embeddings()
        ids = inputs["input_ids"]
        sequence = torch.cat([embed(ids[:, :1]), tokens, embed(ids[:, 17:])], 1)
        logits = model.lm_head(model.model.language_model(inputs_embeds=sequence).last_hidden_state)
        expected[scale] = F.cross_entropy(logits[:, -2], ids[:, -1])
    assert list(nested.by_scale) == [16, 4, 1]
    for scale, value in nested.by_scale.items():
        assert torch.allclose(value, expected[scale], atol=1e-5)
        assert not value.requires_grad
    assert torch.allclose(nested.loss, torch.stack(list(expected.values())).mean(), atol=1e-5)
    assert nested.loss.requires_grad


@pytest.mark.parametrize(
    "scales, words",
    [
        ([], "one at least"),
        ([4, 4], "each once"),
        ([16, 9], "9 tokens of a grid of 4 x 4; square blocks give 16, 4, 1"),
    ],
)
def test_scales_that_cannot_be_trained_are_refused(lesson, scales, words):
    model, inputs = lesson
    with pytest.raises(InvalidInput, match=words):
        nested_loss(model, **inputs, scales=scales)
    with pytest.raises(InvalidInput, match="2 x 4 for 16 tokens"):
        nested_loss(model, **inputs, scales=[4], grid=(2, 4))
