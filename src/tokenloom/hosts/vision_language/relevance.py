"""Attention weights of a vision-language model together with their gradients: what an answer was read from, layer by layer."""
# B prompts, T ids, A ids of an answer, H heads

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...core.errors import InvalidInput

__all__ = ["AttentionGradients", "attention_gradients", "text_attentions", "visual_span"]

# What a prompt has for each of its ids, and the value of an id of an answer.
_PER_ID = {"attention_mask": 1, "mm_token_type_ids": 0}


@dataclass(frozen=True, eq=False)
class AttentionGradients:
    """For one id of an answer.

    Args:
        attention: of each layer of the language model, (B, H, T + A - 1, T + A - 1), rows sum to 1.
        gradient: of the logit of the id by each of these, of the same shapes.
        query: the position that predicts the id.
    """

    attention: tuple[Tensor, ...]
    gradient: tuple[Tensor, ...]
    query: int


def visual_span(input_ids: Tensor, placeholder: int) -> range:
    """The columns of the visual tokens, the same in each prompt and without a gap.

    Raises: InvalidInput: no placeholder, other columns in another prompt, text in between.

    >>> visual_span(torch.tensor([[1, 9, 9, 9, 5]]), 9)
    range(1, 4)
    """
    slots_BT = input_ids == placeholder
    columns = slots_BT[0].nonzero()[:, 0].tolist()
    if not columns:
        raise InvalidInput(f"no placeholder {placeholder} in the prompt; there is no picture in it")
    if not bool((slots_BT == slots_BT[0]).all()):
        raise InvalidInput("the placeholders of these prompts are in different columns; take each by itself")
    span = range(columns[0], columns[-1] + 1)
    if len(span) != len(columns):
        raise InvalidInput(f"{len(columns)} placeholders between columns {span.start} and {span[-1]}, with text in between; one picture has none")  # fmt: skip
    return span


def attention_gradients(model: Any, inputs: Mapping[str, Tensor], answer_BA: Tensor) -> Iterator[AttentionGradients]:
    """For each id of the answers: all attention weights, and the gradient of the id's logit by them.

    One forward pass over prompts and answers, and one backward pass for each id; in a causal model that is the same as running
    each prefix by itself. Weights of the model are neither changed nor given gradients. Attention is computed plainly meanwhile,
    for other ways never hold its weights.

    Args:
        model: with its language model at `model.model.language_model`, as transformers' vision-language models have it.
        inputs: keyword arguments of the model for the prompts, `input_ids` (B, T) among them.
        answer_BA: int64, what was answered, or should be.
    Raises: InvalidInput: no answer, another number of answers than prompts, attention weights without a gradient.
    """
    if answer_BA.dim() != 2 or answer_BA.shape[1] < 1 or len(answer_BA) != len(inputs["input_ids"]):
        raise InvalidInput(f"answers of shape {tuple(answer_BA.shape)} to {len(inputs['input_ids'])} prompts; each has one of at least 1 id")  # fmt: skip
    # The last id predicts nothing that is asked.
    given = answer_BA[:, :-1]
    longer = {**inputs, "input_ids": torch.cat([inputs["input_ids"], given], 1)}
    for name, value in _PER_ID.items():
        if inputs.get(name) is not None:
            longer[name] = torch.cat([inputs[name], torch.full_like(given, value)], 1)
    first, length = inputs["input_ids"].shape[1] - 1, answer_BA.shape[1]
    with torch.enable_grad():
        output = _plainly(model, longer)
        # No logit depends on the weights of another prompt, so that their sum has the gradients of each.
        logits_A = [output.logits[:, first + a].gather(1, answer_BA[:, a, None]).sum() for a in range(length)]
    attention = tuple(weights.detach() for weights in output.attentions)
    for a, logit in enumerate(logits_A):
        gradient = torch.autograd.grad(logit, output.attentions, retain_graph=a + 1 < length)
        yield AttentionGradients(attention, gradient, first + a)


@torch.no_grad()
def text_attentions(model: Any, inputs: Mapping[str, Tensor], layer: int = 1) -> Tensor:
    """Attention of the text behind the picture to its tokens in one layer, the mean over heads: (B, Q, N).

    Args:
        model: as above.
        inputs: its keyword arguments, with one picture in each prompt.
        layer: counted from 1.
    Raises: InvalidInput: placeholders with a gap or in different columns.
    """
    span = visual_span(inputs["input_ids"], model.config.image_token_id)
    weights_BTT = _plainly(model, inputs).attentions[layer - 1].mean(1)
    return weights_BTT[:, span.stop :, span.start : span.stop]


def _plainly(model: Any, inputs: Mapping[str, Any]) -> Any:
    """A forward pass that gives attention weights, which lie on the way to the logits."""
    text: Any = model.model.language_model
    before = text.config._attn_implementation

    def begin(module: Any, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        # Gradients end here: the encoder has no part in them, and frozen weights give none.
        options["inputs_embeds"] = options["inputs_embeds"].detach().requires_grad_(torch.is_grad_enabled())
        options["output_attentions"] = True
        return args, options

    hook = text.register_forward_pre_hook(begin, with_kwargs=True)
    text.set_attn_implementation("eager")
    try:
        output = model(**inputs, use_cache=False)
    finally:
        hook.remove()
        text.set_attn_implementation(before)
    if not output.attentions or (
        torch.is_grad_enabled() and not all(weights.requires_grad for weights in output.attentions)
    ):
        raise InvalidInput(f"{type(text).__name__} gives no attention weights that gradients reach; it must compute attention plainly ('eager')")  # fmt: skip
    return output
