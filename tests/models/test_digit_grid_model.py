"""The digit-grid model is transformers' own LLaVA, and repeats itself."""

import pytest
import torch

from tokenloom.core.errors import InvalidInput
from tokenloom.models.digit_grid import digit_grid_model, digit_grid_words


def test_words_have_ids_of_their_own_in_order():
    words = digit_grid_words(4)
    assert list(words.values()) == list(range(41))
    assert words["16"] == 40  # as many as there are cells
    assert "10" not in digit_grid_words(2)  # four cells; digits up to 9 are answers too
    assert [words[f"row {i}"] - words["row 0"] for i in range(4)] == [0, 1, 2, 3]


def test_one_seed_makes_one_model_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (digit_grid_model(side=2, width=16, layers=1, heads=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [model.state_dict() for model in (one, same, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["lm_head.weight"], weights[2]["lm_head.weight"])


def test_features_are_the_patches_alone_until_the_encoder_has_blocks():
    pixels = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    changed = pixels.clone()
    changed[..., 8:, 8:] = 0  # the last of four patches
    for blocks, seen in ((0, [False, False, False, True]), (1, [True] * 4)):
        model = digit_grid_model(side=2, width=16, layers=1, heads=2, blocks=blocks)
        with torch.no_grad():
            one, two = (
                model.model.get_image_features(pixel_values=p, return_dict=True).pooler_output[0]
                for p in (pixels, changed)
            )
        assert ((one - two).abs().amax(1) > 1e-6).tolist() == seen


def test_a_saved_model_comes_back(tmp_path):
    model = digit_grid_model(side=2, width=16, layers=1, heads=2)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    ids = torch.tensor([[1, 2, 2, 2, 2, 3, 16, 18]])
    inputs = {"input_ids": ids, "pixel_values": torch.zeros(1, 1, 16, 16), "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, again(**inputs).logits)
    assert model.generate(**inputs, max_new_tokens=3, do_sample=False).shape == (1, 11)


@pytest.mark.parametrize(
    "sizes, words", [({"side": 0}, "at least 1"), ({"blocks": -1}, "blocks at least 0"), ({"width": 20}, "width=20")]
)
def test_impossible_sizes_are_refused(sizes, words):
    with pytest.raises(InvalidInput, match=words):
        digit_grid_model(**sizes)
