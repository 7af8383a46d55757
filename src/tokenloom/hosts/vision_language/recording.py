"""Attention signals of chosen blocks, recorded while a vision transformer runs; what it computes stays bit for bit as it was.

transformers looks up how a layer attends by the name in its configuration. A layer that is listened to gets a copy of its
configuration with the name of a function that does what the layer did before, and writes down the few sums that are asked for.
All other layers stay as they are. `output_attentions` would need whole matrices and one implementation only, and gives
something else for Qwen's vision towers.
"""
# B pictures, T tokens, H heads, C width of a head, D = H C, Q queries

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import InvalidInput
from .names import ALL_ATTENTION_FUNCTIONS, AttentionInterface, AttentionMaskInterface, eager_mask

__all__ = ["RECORDED", "attention_layers", "has_class_token", "recording", "resolved"]

RECORDED = ("received_attention", "cls_attention", "cls_logits", "cls_query", "keys")
"""The kinds of signals that can be recorded in a block."""

_NAME = "tokenloom_recording"
_QUERIES_AT_ONCE = 1024  # bounds the weights that are held to H x 1024 x T


@dataclass
class _Note:
    """What to write down in one layer, and where."""

    implementation: str
    kinds: list[str]
    found: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, kind: str, value: Tensor) -> None:
        self.found.setdefault(kind, []).append(value)


@contextmanager
def recording(
    layers: Sequence[nn.Module], requests: Iterable[tuple[str, int]]
) -> Iterator[dict[tuple[str, int], Tensor]]:
    """While the context lasts, record signals of the attention layers of a vision transformer that runs once.

    Args:
        layers: as `attention_layers` finds them.
        requests: kinds, of `RECORDED`, and the blocks to record them in, counted from 1.
    Yields: a dictionary that is filled at the end, by request: "received_attention" (B, T) is here the *sum* over queries, so that
        windows can be put together; "cls_attention", "cls_logits" (B, T); "cls_query" (B, H, C); "keys" (B, T, H, C), of the key
        projection, before any rotation. Where a layer attends in pieces (Qwen's pictures and windows), T is that of all pieces,
        in the layer's order, and B is 1.
    """
    wanted: dict[int, list[str]] = {}
    for kind, block in requests:
        wanted.setdefault(block, []).append(kind)
    signals: dict[tuple[str, int], Tensor] = {}
    notes: dict[int, _Note] = {}
    with ExitStack() as stack:
        for block, kinds in wanted.items():
            layer = layers[block - 1]
            notes[block] = _Note(layer.config._attn_implementation, kinds)  # type: ignore[union-attr, arg-type]
            stack.enter_context(_listening(layer, notes[block]))
        yield signals
    for block, note in notes.items():
        signals |= {(kind, block): torch.cat(parts, dim=1) for kind, parts in note.found.items()}


@contextmanager
def _listening(layer: nn.Module, note: _Note) -> Iterator[None]:
    with ExitStack() as stack:
        if {"received_attention", "cls_attention", "cls_logits"} & set(note.kinds):
            config: Any = layer.config
            layer.config, layer.tokenloom_note = copy.copy(config), note  # type: ignore[assignment]
            layer.config._attn_implementation = _NAME  # type: ignore[union-attr]

            def restore() -> None:
                layer.config = config
                del layer.tokenloom_note

            stack.callback(restore)
        if "keys" in note.kinds:
            projection, part = (layer.qkv, 1) if hasattr(layer, "qkv") else (layer.k_proj, 0)

            def keep_keys(module: nn.Module, args: object, out: Tensor, part: int = part) -> None:
                # Qwen's towers have no batch axis, and one projection for queries, keys and values.
                out = out[None] if out.dim() == 2 else out
                width = out.shape[2] // (3 if hasattr(layer, "qkv") else 1)
                keys_BTD = out[..., part * width : (part + 1) * width]
                note.add("keys", keys_BTD.unflatten(2, (-1, int(layer.head_dim))))  # type: ignore[arg-type]

            stack.callback(projection.register_forward_hook(keep_keys).remove)  # type: ignore[union-attr]
        if "cls_query" in note.kinds:

            def keep_query(module: nn.Module, args: object, out: Tensor) -> None:
                note.add("cls_query", out[:, 0].unflatten(1, (-1, int(layer.head_dim))))  # type: ignore[arg-type]

            stack.callback(layer.q_proj.register_forward_hook(keep_query).remove)  # type: ignore[union-attr]
        yield


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention as the layer's own implementation computes it; `query`, `key`, `value` (B, H, T, C)."""
    note: _Note = module.tokenloom_note
    _observe(note, query, key, attention_mask, scaling)
    if note.implementation != "eager":
        own = ALL_ATTENTION_FUNCTIONS[note.implementation]
        return own(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **options)
    logits = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        logits = logits + attention_mask
    weights = torch.softmax(logits, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def _observe(note: _Note, query: Tensor, key: Tensor, mask: Tensor | None, scaling: float) -> None:
    key_BHCT = key.float().transpose(2, 3)

    def logits(start: int, end: int) -> Tensor:
        return query[:, :, start:end].float() @ key_BHCT * scaling

    def weights(start: int, end: int) -> Tensor:
        scores = logits(start, end)
        if mask is not None:
            rows = mask[:, :, start:end]
            scores = scores.masked_fill(~rows, -torch.inf) if rows.dtype == torch.bool else scores + rows
        return scores.softmax(-1)

    if "received_attention" in note.kinds:
        blocks = range(0, query.shape[2], _QUERIES_AT_ONCE)
        sums = [weights(start, start + _QUERIES_AT_ONCE).sum(2).mean(1) for start in blocks]
        note.add("received_attention", torch.stack(sums).sum(0))
    if "cls_attention" in note.kinds:
        note.add("cls_attention", weights(0, 1)[:, :, 0].mean(1))
    if "cls_logits" in note.kinds:
        note.add("cls_logits", logits(0, 1)[:, :, 0].mean(1))


AttentionInterface.register(_NAME, _attend)
# Models whose configuration names an implementation without a mask function lose their mask in silence.
AttentionMaskInterface.register(_NAME, eager_mask)


def attention_layers(tower: nn.Module) -> list[nn.Module]:
    """The attention layers of a vision transformer of transformers, first block first: CLIP, SigLIP, ViT, DINOv2 or Qwen-VL.

    Raises: InvalidInput: it is built otherwise.
    """
    holder: Any = getattr(tower, "encoder", tower)
    blocks = next((getattr(holder, name) for name in ("layers", "layer", "blocks") if hasattr(holder, name)), ())
    found = [
        next((getattr(block, name) for name in ("self_attn", "attention", "attn") if hasattr(block, name)), None)
        for block in blocks
    ]
    if not found or any(not hasattr(layer, "head_dim") or not hasattr(layer, "config") for layer in found):
        raise InvalidInput(
            f"{type(tower).__name__} is not built like CLIP, SigLIP, ViT, DINOv2 or Qwen-VL; its attention cannot be recorded"
        )
    return found  # type: ignore[return-value]


def has_class_token(tower: nn.Module) -> bool:
    """Whether the first token of a vision transformer is a class token."""
    embeddings = getattr(tower, "embeddings", None)
    return hasattr(embeddings, "class_embedding") or hasattr(embeddings, "cls_token")


def resolved(tower: nn.Module, kind: str, layer: int | None, default: int) -> tuple[str, int]:
    """A request with its block counted from 1, if the tower can answer it.

    Args:
        layer: from 1, or from the last by negative numbers; None for `default`.
    Raises: InvalidInput: there is no such block, or no class token to ask about.
    """
    blocks = len(attention_layers(tower))
    block = default if layer is None else layer if layer > 0 else blocks + 1 + layer
    if layer is None and not block:
        raise InvalidInput(
            f"{kind} of the block that features come from, but they are taken before the first one; a layer from 1 to {blocks} can be asked"
        )
    if not 1 <= block <= blocks:
        raise InvalidInput(f"layer={layer}, but {type(tower).__name__} has {blocks} blocks")
    if kind.startswith("cls_") and not has_class_token(tower):
        raise InvalidInput(
            f"{kind} is asked for, but {type(tower).__name__} has no class token; a reducer that uses received_attention can take its place"
        )
    return kind, block
