"""The text behind a picture, before the language model has run: its embeddings, and how much it attends to the picture."""
# B prompts, T tokens, Q of them that look, N that are looked at, H heads, C width of a head, D width

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...core.errors import InvalidInput
from .pictures import Picture
from .prompts import Span, text_behind

__all__ = ["text_attention", "text_signals"]


def text_attention(
    layer: Any,
    hidden_BTD: Tensor,
    rotation: tuple[Tensor, Tensor],
    looking_Q: Tensor,
    seen_N: Tensor,
    *,
    allowed_BT: Tensor | None = None,
) -> Tensor:
    """Attention of some tokens to others in a layer that has not run yet, after the softmax over all keys before them.

    Args:
        layer: a decoder layer of the Llama, Mistral or Qwen2 kind.
        hidden_BTD: what goes into it.
        rotation: cosines and sines of the positions, (B, T, C), as the model's `rotary_emb` gives them.
        looking_Q: columns of the tokens that attend, int64.
        seen_N: columns of those that are attended to, int64.
        allowed_BT: bool, False for padding; None for none.
    Returns: float32 (B, Q, N), the mean over heads. Queries that see nothing of `seen_N` have zeros.
    Raises: InvalidInput: the layer is built otherwise.
    """
    attention: Any = getattr(layer, "self_attn", None)
    if not hasattr(layer, "input_layernorm") or not all(hasattr(attention, name) for name in ("q_proj", "k_proj", "head_dim", "scaling")):  # fmt: skip
        raise InvalidInput(f"{type(layer).__name__} has not the norm and the projections of a Llama layer; its attention is not known")  # fmt: skip
    cos_BTC, sin_BTC = rotation
    normed_BTD = layer.input_layernorm(hidden_BTD)

    def heads(projection: Any, norm: str, x_BTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x_BTHC = projection(x_BTD).unflatten(2, (-1, attention.head_dim))
        if hasattr(attention, norm):  # Qwen3 normalises queries and keys
            x_BTHC = getattr(attention, norm)(x_BTHC)
        x_BHTC = x_BTHC.transpose(1, 2)
        left, right = x_BHTC.chunk(2, dim=-1)
        return x_BHTC * cos[:, None] + torch.cat((-right, left), dim=-1) * sin[:, None]

    query = heads(attention.q_proj, "q_norm", normed_BTD[:, looking_Q], cos_BTC[:, looking_Q], sin_BTC[:, looking_Q])
    key = heads(attention.k_proj, "k_norm", normed_BTD, cos_BTC, sin_BTC)
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    logits_BHQT = query.float() @ key.float().transpose(2, 3) * attention.scaling
    hidden_QT = torch.arange(hidden_BTD.shape[1], device=looking_Q.device) > looking_Q[:, None]
    blocked = hidden_QT[None, None] if allowed_BT is None else hidden_QT[None, None] | ~allowed_BT[:, None, None]
    weights_BHQT = logits_BHQT.masked_fill(blocked, -torch.inf).softmax(-1)
    return weights_BHQT[..., seen_N].mean(1)


@torch.no_grad()
def text_signals(
    model: Any,
    visual: Sequence[int],
    asked: Mapping[str, str],
    call: Mapping[str, Any],
    pictures: Sequence[Picture],
    found: Sequence[Span],
    positions: Tensor,
) -> list[dict[str, Tensor]]:
    """What is asked about the text behind each picture, by name; for each of its crops, if it has several.

    Args:
        model: a vision-language model.
        visual: ids that are not text.
        asked: by name "text_features" or "text_attention", that of the first decoder layer.
        call: `input_ids` and `attention_mask` of the whole prompts.
        pictures: with all their tokens.
        found: where each one is.
        positions: of the prompts, (…, B, T).
    Raises: InvalidInput: there is no such text.
    """
    if not asked:
        return [{} for _ in pictures]
    embed = model.get_input_embeddings()
    # Generation takes prompts that are not where the model is.
    ids_BT, mask_BT, positions = (
        values.to(embed.weight.device) for values in (call["input_ids"], call["attention_mask"], positions)
    )
    embedded_BTD = embed(ids_BT)
    for picture, span in zip(pictures, found):
        embedded_BTD[span.row, span.start : span.end] = picture.tokens_ND.to(embedded_BTD)
    decoder, signals = model.model.language_model, []
    for picture, span in zip(pictures, found):
        behind_Q, one = text_behind(ids_BT, mask_BT, span, visual), slice(span.row, span.row + 1)
        if not len(behind_Q):
            raise InvalidInput(f"prompt {span.row} has no text behind its picture, but {next(iter(asked))} is about it")
        values = {}
        for name, kind in asked.items():
            if kind == "text_features":
                values[name] = embedded_BTD[one, behind_Q].expand(len(picture.x_BND), -1, -1)
                continue
            # Of Qwen's four axes the first is that of masks.
            where = positions[-3:, one] if positions.dim() == 3 else positions[one]
            looked_BQN = text_attention(
                decoder.layers[0],
                embedded_BTD[one],
                decoder.rotary_emb(embedded_BTD[one], where),
                behind_Q,
                torch.arange(span.start, span.end, device=ids_BT.device),
                allowed_BT=mask_BT[one] != 0,
            )
            values[name] = picture.spread(looked_BQN)
        signals.append(values)
    return signals
