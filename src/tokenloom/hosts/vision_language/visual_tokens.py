"""A LLaVA-like model, given visual tokens that are not the ones it would have made itself: fewer, merged or pooled.

Such a model takes its pictures' tokens ready-made, by `mm_encoder_outputs`, if the prompt has as many placeholders; what is cut
from the prompt is what this module is about.
"""
# B prompts, T ids, N visual tokens of a picture, M visual tokens given, D width

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...core.errors import InvalidInput, require

__all__ = ["run_with_tokens", "visual_features"]


def visual_features(model: Any, pixel_values: Tensor) -> Tensor:
    """What the language model would see of each picture, behind the projector: (B, N, D).

    Raises: InvalidInput: pictures of different numbers of tokens.
    """
    found = model.model.get_image_features(pixel_values=pixel_values, return_dict=True).pooler_output
    if len({len(tokens) for tokens in found}) != 1:
        raise InvalidInput(f"pictures have {[len(tokens) for tokens in found]} tokens; a batch needs equal numbers")
    return torch.stack(tuple(found))


def run_with_tokens(
    model: Any,
    input_ids: Tensor,
    tokens_BMD: Tensor,
    *,
    attention_mask: Tensor | None = None,
    positions_BM: Tensor | None = None,
    labels: Tensor | None = None,
    **options: Any,
) -> Any:
    """One forward pass with these visual tokens in place of the picture of each prompt.

    Args:
        input_ids: int64 (B, T), the same number N of placeholders in each row.
        tokens_BMD: floating point, M <= N.
        attention_mask: (B, T), 0 for padding; None for no padding.
        positions_BM: which of the N placeholders' positions each token takes, int64; all else stays where it was. None to
            number what is left anew.
        labels: int64 (B, T), -100 for what is not predicted; cut as the prompt is.
        options: of the model.
    Returns: what the model gives, its logits at T - N + M positions.
    Raises: InvalidInput: more tokens than placeholders, or unequal numbers of these.
    """
    batch, m = tokens_BMD.shape[:2]
    slots_BT = input_ids == model.config.image_token_id
    n = int(slots_BT[0].sum())
    if len(input_ids) != batch or not bool((slots_BT.sum(1) == n).all()):
        raise InvalidInput(
            f"prompts have {slots_BT.sum(1).tolist()} placeholders, for {batch} pictures; each needs as many"
        )
    if not 1 <= m <= n:
        raise InvalidInput(f"{m} visual tokens for {n} placeholders; there must be from 1 to {n}")
    attention_mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    kept_BT = ~slots_BT | (slots_BT.cumsum(1) <= m)

    def cut(values_BT: Tensor) -> Tensor:
        return values_BT[kept_BT].view(batch, -1)

    position_ids = None
    if positions_BM is not None:
        counted_BT = (attention_mask.cumsum(1) - 1).clamp(min=0)
        slots_BN = counted_BT[slots_BT].view(batch, n)
        counted_BT = counted_BT.masked_scatter(slots_BT & kept_BT, slots_BN.gather(1, positions_BM.expand(batch, -1)))
        position_ids = cut(counted_BT)
    outputs = require("transformers.modeling_outputs", "hf")
    return model(
        input_ids=cut(input_ids),
        # Always given: without a mask, gaps between positions are read as the borders of packed sequences.
        attention_mask=cut(attention_mask),
        position_ids=position_ids,
        labels=None if labels is None else cut(labels),
        mm_encoder_outputs={"image": outputs.BaseModelOutputWithPooling(pooler_output=tuple(tokens_BMD))},
        **options,
    )
