"""Visual tokens given to a LLaVA: the same ones change nothing, fewer are a model that never saw the others."""

import pytest
import torch

from tokenloom.core.errors import InvalidInput
from tokenloom.hosts.vision_language.visual_tokens import run_with_tokens, visual_features
from tokenloom.models.digit_grid import digit_grid_model


@pytest.fixture(scope="module")
def model():
    return digit_grid_model(side=2, width=16, layers=2, heads=2)


IDS = torch.tensor([[1, 2, 2, 2, 2, 3, 16, 18], [1, 2, 2, 2, 2, 4, 8, 21]])
PIXELS = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_its_own_tokens_give_the_same_logits_to_the_bit(model):
    features = visual_features(model, PIXELS)
    assert features.shape == (2, 4, 16)
    whole = model(input_ids=IDS, pixel_values=PIXELS, attention_mask=torch.ones_like(IDS)).logits
    assert torch.equal(run_with_tokens(model, IDS, features).logits, whole)
    kept = torch.arange(4).expand(2, 4)
    assert torch.equal(run_with_tokens(model, IDS, features, positions_BM=kept).logits, whole)


@torch.no_grad()
def test_a_dropped_token_at_kept_positions_is_one_that_nobody_sees(model):
    features = visual_features(model, PIXELS)
    fewer = run_with_tokens(model, IDS, features[:, [0, 2]], positions_BM=torch.tensor([[0, 2]])).logits
    mask = torch.ones_like(IDS)
    mask[:, [2, 4]] = 0
    positions = torch.arange(8).expand(2, 8)
    masked = model(input_ids=IDS, pixel_values=PIXELS, attention_mask=mask, position_ids=positions).logits
    assert torch.allclose(fewer, masked[:, [0, 1, 3, 5, 6, 7]], atol=1e-5)
    compact = run_with_tokens(model, IDS, features[:, [0, 2]]).logits
    assert not torch.allclose(fewer, compact, atol=1e-3)


@torch.no_grad()
def test_padding_and_labels_are_cut_with_the_prompt(model):
    features = visual_features(model, PIXELS)[:, :3]
    labels = torch.full_like(IDS, -100)
    labels[:, -1] = IDS[:, -1]
    plain = run_with_tokens(model, IDS, features, labels=labels)
    assert plain.logits.shape[1] == 7
    expected = torch.nn.functional.cross_entropy(plain.logits[:, -2], IDS[:, -1])
    assert torch.allclose(plain.loss, expected)
    pads, kept = torch.zeros(2, 3, dtype=torch.int64), torch.tensor([[0, 1, 3]])
    padded = run_with_tokens(
        model,
        torch.cat([pads, IDS], 1),
        features,
        positions_BM=kept,
        attention_mask=torch.cat([pads, torch.ones_like(IDS)], 1),
    )
    assert torch.allclose(
        padded.logits[:, 3:], run_with_tokens(model, IDS, features, positions_BM=kept).logits, atol=1e-5
    )


def test_what_does_not_fit_is_refused(model):
    features = torch.zeros(2, 4, 16)
    with pytest.raises(InvalidInput, match="5 visual tokens for 4 placeholders"):
        run_with_tokens(model, IDS, torch.zeros(2, 5, 16))
    with pytest.raises(InvalidInput, match="0 visual tokens"):
        run_with_tokens(model, IDS, features[:, :0])
    with pytest.raises(InvalidInput, match=r"placeholders, for 1 pictures"):
        run_with_tokens(model, IDS, features[:1])
    uneven = IDS.clone()
    uneven[1, 4] = 5
    with pytest.raises(InvalidInput, match=r"\[4, 3\] placeholders"):
        run_with_tokens(model, uneven, features)
