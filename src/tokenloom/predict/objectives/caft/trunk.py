"""The parts of a causal language model that extra heads stand on: its last states, its output layer, its decoder layers."""
# B batch, T positions, D width, V ids

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ....core.errors import InvalidInput
from ....models.batches import Batch
from ....models.tables import output_layer
from ....models.transformer import Transformer

__all__ = ["check_trunk", "decoder_layers", "run_layer", "states_of"]


def states_of(model: nn.Module, batch: Batch, *, before_last_layer: bool = False) -> Tensor:
    """What the output layer reads, behind the final norm; or what the last layer reads. (B, T, D).

    Args:
        batch: as for `models.training.logits_of`.
    """
    ids, mask, positions = batch["input_ids"], batch.get("mask"), batch.get("positions")
    if isinstance(model, Transformer):
        hidden = model.run(ids, mask=mask, positions=positions).hidden
        return hidden[-2] if before_last_layer else model.norm(hidden[-1])
    out = model.base_model(  # type: ignore[operator]
        input_ids=ids,
        attention_mask=None if mask is None else _added(model, _full(mask, ids)),
        position_ids=positions,
        use_cache=False,
        output_hidden_states=before_last_layer,
    )
    return out.hidden_states[-2] if before_last_layer else out.last_hidden_state


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The layers, first to last.

    Raises: InvalidInput: not a model of Llama's type, which has a list of layers that all see everything before, and one module for
        rotary positions.
    """
    if isinstance(model, Transformer):
        return model.blocks
    base: Any = model.base_model
    layers = getattr(base, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not isinstance(getattr(base, "rotary_emb", None), nn.Module):
        raise InvalidInput(
            f"the decoder layers of a {type(model).__name__} are not those of Llama's type; use heads of kind 'linear'"
        )
    # The masks of such layers are made inside the model: heads would see more than the layer they start as.
    window, kinds = (getattr(base.config, name, None) for name in ("sliding_window", "layer_types"))
    if window is not None or set(kinds or ()) - {"full_attention"}:
        raise InvalidInput(
            f"the decoder layers of this {type(model).__name__} do not see everything before (sliding_window={window}, "
            f"layer_types={sorted(set(kinds or ()))}); use heads of kind 'linear'"
        )
    return layers


def run_layer(model: nn.Module, layer: nn.Module, x_BTD: Tensor, batch: Batch) -> Tensor:
    """A decoder layer of the model's architecture on other states, with the mask and positions of the batch. (B, T, D)."""
    ids, mask, positions = batch["input_ids"], batch.get("mask"), batch.get("positions")
    if positions is None:
        positions = torch.arange(ids.shape[1], device=ids.device)
    if isinstance(model, Transformer):
        cos, sin = (table[positions].unsqueeze(-3) for table in (model.cos_TC, model.sin_TC))
        return layer(x_BTD, cos, sin, mask, None)[0]
    if mask is None:
        # Never left to the layer: eager attention without a mask sees the future.
        mask = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()
    turned = model.base_model.rotary_emb(x_BTD, positions.expand(ids.shape))  # type: ignore[operator, union-attr]
    out = layer(x_BTD, attention_mask=_added(model, _full(mask, ids)), position_embeddings=turned, use_cache=False)
    return out[0] if isinstance(out, tuple) else out


@torch.no_grad()
def check_trunk(model: nn.Module) -> None:
    """Make sure that the logits of a model are its output layer on its last states, and nothing more.

    Raises: InvalidInput: they are not, or there are no such states.
    """
    if isinstance(model, Transformer):
        return
    head = output_layer(model)
    ids = torch.arange(2, device=head.weight.device)[None]
    name, was_training = type(model).__name__, model.training
    model.eval()
    try:
        made = head(states_of(model, {"input_ids": ids}))
        logits = model(input_ids=ids, use_cache=False).logits
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(f"the last hidden states of a {name} cannot be read: {error}") from error
    finally:
        model.train(was_training)
    if made.shape != logits.shape or not torch.allclose(made, logits, rtol=1e-2, atol=1e-3):
        raise InvalidInput(f"the logits of a {name} are not its output layer on its last hidden states alone")


def _full(mask: Tensor, ids: Tensor) -> Tensor:
    return mask.expand(ids.shape[0], 1, ids.shape[1], ids.shape[1])


def _added(model: nn.Module, allowed: Tensor) -> Tensor:
    """A mask as transformers adds it to the logits of attention, whether eager or fused."""
    dtype = next(model.parameters()).dtype
    zeros = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return zeros.masked_fill(~allowed, torch.finfo(dtype).min)
