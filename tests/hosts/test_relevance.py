"""Attention and its gradients in a real model: what they are, what they leave alone, what cannot be had."""

import pytest
import torch

from tokenloom.core.errors import InvalidInput
from tokenloom.hosts.vision_language.relevance import attention_gradients, text_attentions, visual_span
from tokenloom.models.digit_grid import digit_grid_model

IDS = torch.tensor([[1, 2, 2, 2, 2, 3, 16, 18], [1, 2, 2, 2, 2, 4, 8, 21]])
INPUTS = {
    "input_ids": IDS,
    "pixel_values": torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)),
    "attention_mask": torch.ones_like(IDS),
}


@pytest.fixture
def model():
    return digit_grid_model(side=2, width=16, layers=2, heads=2)


def test_the_gradient_is_how_the_logit_changes_with_each_weight(model):
    """Finite differences: a hook adds a little to one attention weight of one layer."""
    (found,) = attention_gradients(model, INPUTS, torch.tensor([[5], [6]]))
    assert found.query == 7
    layer = model.model.language_model.layers[0].self_attn
    head, query, key, step = 1, 7, 3, 2e-2

    def logit(change):
        def nudged(module, args, output):
            # The output of attention, had this weight been larger: its value enters through the output projection.
            value = module.v_proj(kept["hidden"]).view(2, 8, 2, 8)[:, key, head]
            added = torch.zeros(2, 16)
            added[:, head * 8 : head * 8 + 8] = change * value
            out = output[0].clone()
            out[:, query] += added @ module.o_proj.weight.T
            return (out, *output[1:])

        kept = {}
        hooks = [
            layer.register_forward_pre_hook(lambda m, a, k: kept.update(hidden=k["hidden_states"]), with_kwargs=True),
            layer.register_forward_hook(nudged),
        ]
        with torch.no_grad():
            logits = model(**INPUTS).logits[:, -1]
        for hook in hooks:
            hook.remove()
        return torch.stack([logits[0, 5], logits[1, 6]])

    expected = (logit(step) - logit(-step)) / (2 * step)
    assert torch.allclose(found.gradient[0][:, head, query, key], expected, rtol=1e-2)
    assert bool((expected.abs() > 0.1).all())


def test_attention_is_causal_and_sums_to_one(model):
    (found,) = attention_gradients(model, INPUTS, torch.tensor([[5], [6]]))
    assert len(found.attention) == len(found.gradient) == 2
    for weights, gradient in zip(found.attention, found.gradient):
        assert weights.shape == gradient.shape == (2, 2, 8, 8)
        assert torch.allclose(weights.sum(-1), torch.ones(2, 2, 8), atol=1e-6)
        assert not weights.triu(1).any()
        assert not weights.requires_grad


def test_one_pass_over_a_long_answer_equals_each_prefix_by_itself(model):
    answer = torch.tensor([[5, 9, 7], [6, 6, 8]])
    together = list(attention_gradients(model, INPUTS, answer))
    assert [each.query for each in together] == [7, 8, 9]
    for a, each in enumerate(together):
        prefix = {**INPUTS, "input_ids": torch.cat([IDS, answer[:, :a]], 1)}
        prefix["attention_mask"] = torch.ones_like(prefix["input_ids"])
        (alone,) = attention_gradients(model, prefix, answer[:, a : a + 1])
        for one, other in zip(each.gradient, alone.gradient):
            size = other.shape[-1]
            assert torch.allclose(one[..., :size, :size], other, atol=1e-6)
            assert not one[..., size:, :].any()  # later positions have no part in it


def test_items_of_a_batch_are_as_they_are_alone(model):
    answer = torch.tensor([[5], [6]])
    (together,) = attention_gradients(model, INPUTS, answer)
    for b in range(2):
        (alone,) = attention_gradients(model, {k: v[b : b + 1] for k, v in INPUTS.items()}, answer[b : b + 1])
        for one, other in zip(together.gradient, alone.gradient):
            assert torch.allclose(one[b], other[0], atol=1e-6)


def test_frozen_weights_suffice_and_nothing_is_left_behind(model):
    for weight in model.parameters():
        weight.requires_grad_(False)
    before = model(**INPUTS).logits
    with torch.no_grad():
        each = attention_gradients(model, INPUTS, torch.tensor([[5, 7], [6, 8]]))
        found = [(any(g.any() for g in one.gradient), torch.is_grad_enabled()) for one in each]
    assert found == [(True, False)] * 2
    assert all(weight.grad is None for weight in model.parameters())
    assert model.config.text_config._attn_implementation == "sdpa"
    assert torch.equal(model(**INPUTS).logits, before)


def test_attention_of_the_question_is_that_of_the_layer(model):
    (found,) = attention_gradients(model, INPUTS, torch.tensor([[5], [6]]))
    for layer in (1, 2):
        expected = found.attention[layer - 1].mean(1)[:, 5:8, 1:5]
        assert torch.allclose(text_attentions(model, INPUTS, layer), expected, atol=1e-6)


def test_answers_that_are_none_are_refused(model):
    for answer, words in (
        (torch.zeros(2, 0, dtype=torch.int64), r"\(2, 0\)"),
        (torch.tensor([[1]]), r"\(1, 1\) to 2 prompts"),
    ):
        with pytest.raises(InvalidInput, match=words):
            next(attention_gradients(model, INPUTS, answer))


def test_a_model_that_cannot_show_its_attention_is_refused(model, monkeypatch):
    text = model.model.language_model
    monkeypatch.setattr(text, "set_attn_implementation", lambda name: None)  # as if there were nothing but sdpa
    with pytest.raises(InvalidInput, match="plainly"):
        next(attention_gradients(model, INPUTS, torch.tensor([[5], [6]])))


@pytest.mark.parametrize(
    "ids, words",
    [
        ([[1, 5, 6]], "no placeholder 2"),
        ([[1, 2, 5, 2]], "2 placeholders between columns 1 and 3"),
        ([[1, 2, 2, 5], [2, 2, 1, 5]], "different columns"),
    ],
)
def test_visual_tokens_that_are_not_one_run_are_refused(ids, words):
    with pytest.raises(InvalidInput, match=words):
        visual_span(torch.tensor(ids), 2)
