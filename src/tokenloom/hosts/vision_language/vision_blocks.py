"""Fewer tokens inside a vision transformer: CLIP, SigLIP, ViT and DINOv2 of transformers, between attention and feed-forward.

A block's `forward` is replaced on the instance. Blocks wrapped in another class would no longer be found by transformers when it
collects hidden states, of which LLaVA takes its features.
"""
# B pictures, P prefix tokens, N patches that are left, T = P + N, D width

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...core.errors import InvalidInput
from ...core.token_map import TokenMap
from .calling import is_identity, keywords
from .recording import RECORDED, attention_layers, has_class_token, recording
from .report import Report

__all__ = ["BlockReducer", "Reduced", "reduce_in_blocks"]


class BlockReducer(Protocol):
    """What is asked of a reducer, as `reduce.signals.Reducer` says; its signals have a `kind` and a `layer`."""

    @property
    def needs(self) -> Mapping[str, Any]: ...

    def __call__(self, *x_BND: Any, **signals: Any) -> TokenMap: ...


@dataclass
class Reduced(Report):
    """What became of the tokens in the last run of a vision transformer; its `maps` are those of each picture.

    Args:
        token_map: of all pictures, from the tokens that the embeddings gave, prefix and patches, to those of the last block; its
            `lift` brings the last hidden states back to all of them. None before the first run.
        mass_BT: how many tokens each one stands for, each 1 at first. None while nothing is reduced.
    """

    token_map: TokenMap | None = None
    mass_BT: Tensor | None = None


@dataclass(frozen=True)
class _Parts:
    """A block, by what its parts do."""

    norm1: Callable[[Tensor], Tensor]
    attention: Callable[..., tuple[Tensor, Any]]
    after_attention: Callable[[Tensor], Tensor]
    norm2: Callable[[Tensor], Tensor]
    mlp: Callable[[Tensor], Tensor]


@contextmanager
def reduce_in_blocks(
    vit: nn.Module, reducers: Mapping[int, BlockReducer], *, generator: torch.Generator | None = None
) -> Iterator[Reduced]:
    """While the context lasts, drop or merge tokens in some blocks, behind the sum of their attention and before their feed-forward.

    A reducer is called with the hidden states of all pictures there, (B, N, D), and by name with what it `needs` of this block:
    "received_attention", "cls_attention", "cls_logits" (B, N), "cls_query" and "keys" of its own attention; "mass", how many
    tokens each one stands for; "grid", if nothing was reduced before. One that needs "prefix" gets class tokens as well, in the
    features and in each signal; else they are kept beside.

    Where a reducer has an attribute `proportional` that is true, all blocks behind it add log(mass) to the attention of each key,
    so that a token that stands for three counts as three.

    Args:
        vit: `CLIPVisionModel`, `SiglipVisionModel`, `ViTModel` or `Dinov2Model` of transformers.
        reducers: by block, from 1 on.
        generator: for those that draw, block by block.
    Yields: what became of the tokens, anew with each run.
    Raises: InvalidInput: another model, a block or signal that it does not have, a generator for none. When it runs: pictures that keep unequal
        numbers of tokens, an attention mask.
    """
    run = _Run(vit, reducers, generator)
    with ExitStack() as undo:
        undo.callback(run.vit.embeddings.register_forward_pre_hook(run.begin).remove)
        for block in range(min(reducers), len(run.layers) + 1):
            layer = run.layers[block - 1]
            own = layer.__dict__.get("forward")
            layer.forward = partial(run.forward, block, _parts(layer))
            undo.callback(_restore, layer, own)
        yield run.reduced


def _restore(layer: Any, own: Any) -> None:
    if own is None:
        del layer.forward
    else:
        layer.forward = own


def _layers(vit: Any) -> nn.ModuleList:
    holder = getattr(vit, "encoder", vit)
    found = getattr(holder, "layers", getattr(holder, "layer", None))
    if not isinstance(found, nn.ModuleList) or not len(found) or not hasattr(vit, "embeddings"):
        raise InvalidInput(f"{type(vit).__name__} is not CLIPVisionModel, SiglipVisionModel, ViTModel or Dinov2Model")
    _parts(found[0])
    return found


def _parts(layer: Any) -> _Parts:
    def has(*names: str) -> bool:
        return all(hasattr(layer, name) for name in names)

    if has("layer_norm1", "self_attn", "layer_norm2", "mlp"):  # CLIP and SigLIP
        return _Parts(layer.layer_norm1, layer.self_attn, nn.Identity(), layer.layer_norm2, layer.mlp)
    if has("layernorm_before", "attention", "dropout", "layernorm_after", "mlp"):  # ViT
        drop = layer.dropout
        return _Parts(
            layer.layernorm_before, layer.attention, drop, layer.layernorm_after, lambda x: drop(layer.mlp(x))
        )
    if has("norm1", "attention", "layer_scale1", "drop_path", "norm2", "mlp", "layer_scale2"):  # DINOv2
        return _Parts(
            layer.norm1,
            layer.attention,
            lambda x: layer.drop_path(layer.layer_scale1(x)),
            layer.norm2,
            lambda x: layer.drop_path(layer.layer_scale2(layer.mlp(x))),
        )
    raise InvalidInput(f"{type(layer).__name__} is no block of CLIP, SigLIP, ViT or DINOv2")


class _Run:
    def __init__(self, vit: Any, reducers: Mapping[int, BlockReducer], generator: torch.Generator | None) -> None:
        self.vit, self.layers, self.reducers, self.reduced = vit, _layers(vit), dict(reducers), Reduced()
        self.attentions, self.prefix = attention_layers(vit), int(has_class_token(vit))
        if not reducers or not all(1 <= block <= len(self.layers) for block in reducers):
            raise InvalidInput(f"blocks {sorted(reducers)}; there must be some, from 1 to {len(self.layers)}")
        self.grid: tuple[int, int] | None = None
        self.generator = generator
        if generator is not None and not any("generator" in keywords(one) for one in reducers.values()):
            raise InvalidInput("a generator is given, but no reducer here draws")
        for block, reducer in self.reducers.items():
            names = keywords(reducer)
            for key, signal in reducer.needs.items():
                what = f"{type(reducer).__name__} needs {signal.kind}"
                if key not in names:
                    raise InvalidInput(f"{what} as {key!r}, but its __call__ has no such keyword")
                if signal.kind not in (*RECORDED, "prefix", "offset", "grid", "mass"):
                    raise InvalidInput(f"{what}, which is not there inside a vision transformer")
                if signal.layer not in (None, block, block - len(self.layers) - 1):
                    raise InvalidInput(
                        f"{what} of block {signal.layer}, but works in block {block} and is given what is there"
                    )
                if signal.kind.startswith("cls_") and not self.prefix:
                    raise InvalidInput(f"{what}, but {type(vit).__name__} has no class token")

    def begin(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        side = module.patch_size if hasattr(module, "patch_size") else module.patch_embeddings.patch_size  # type: ignore[union-attr]
        down, across = side if isinstance(side, tuple | list) else (side, side)
        self.grid = None if not args else (args[0].shape[2] // down, args[0].shape[3] // across)
        self.reduced.token_map = self.reduced.mass_BT = None
        self.proportional = False

    def forward(self, block: int, parts: _Parts, x_BTD: Tensor, attention_mask: Any = None, **options: Any) -> Tensor:
        """A block that reduces; without a reducer of its own it only minds the mass."""
        if attention_mask is not None:
            raise InvalidInput("an attention mask; it would not fit once tokens are fewer")
        batch, size, _ = x_BTD.shape
        if self.reduced.token_map is None:
            self.reduced.token_map = TokenMap.identity(batch, size, x_BTD.device)
        mask = None
        if self.proportional and self.reduced.mass_BT is not None:
            # As wide as the weights, so that rows can be taken from it.
            mask = self.reduced.mass_BT.log().to(x_BTD.dtype)[:, None, None, :].expand(-1, -1, size, -1)
        reducer = self.reducers.get(block)
        kinds = set() if reducer is None else {signal.kind for signal in reducer.needs.values()} & set(RECORDED)
        with recording(self.attentions, [(kind, block) for kind in sorted(kinds)]) as signals:
            attended, _ = parts.attention(parts.norm1(x_BTD), attention_mask=mask, **options)
        x_BTD = x_BTD + parts.after_attention(attended)
        if reducer is not None:
            x_BTD = self._reduce(reducer, x_BTD, {kind: value for (kind, _), value in signals.items()})
        if block == len(self.layers):
            self.reduced.maps[:] = [_one(self.reduced.token_map, b) for b in range(batch)]
            self.reduced.of[:] = [self.reduced.token_map.shape[2]] * batch
            self.reduced.kept[:] = [self.reduced.token_map.shape[1]] * batch
        return x_BTD + parts.mlp(parts.norm2(x_BTD))

    def _reduce(self, reducer: BlockReducer, x_BTD: Tensor, found: dict[str, Tensor]) -> Tensor:
        batch, size, _ = x_BTD.shape
        kinds = {signal.kind for signal in reducer.needs.values()}
        aside = 0 if "prefix" in kinds else self.prefix
        mass_BT = self.reduced.mass_BT
        if "mass" in kinds:
            found["mass"] = x_BTD.new_ones(batch, size, dtype=torch.float32) if mass_BT is None else mass_BT
        if "received_attention" in found:
            found["received_attention"] = found["received_attention"] / size  # the sum over queries is recorded
        values: dict[str, Any] = {
            kind: value if kind == "cls_query" else value[:, aside:] for kind, value in found.items()
        }
        if "grid" in kinds:
            if mass_BT is not None or self.grid is None:
                raise InvalidInput(
                    f"{type(reducer).__name__} needs a grid, but tokens have been reduced in an earlier block"
                )
            values["grid"] = self.grid
        values["prefix"] = values["offset"] = self.prefix
        names = keywords(reducer)
        given = {names[key]: values[signal.kind] for key, signal in reducer.needs.items()}
        if self.generator is not None and "generator" in names:
            given["generator"] = self.generator
        token_map = reducer(x_BTD[:, aside:], **given)
        self.proportional |= bool(getattr(reducer, "proportional", False))
        if token_map.shape[0] not in (1, batch) or token_map.shape[2] != size - aside:
            raise InvalidInput(
                f"{type(reducer).__name__} made a map of {token_map.shape} for {size - aside} tokens of {batch} pictures"
            )
        if is_identity(token_map):
            return x_BTD
        whole = _beside(token_map, aside)
        mass_BT = whole.mass(mass_BT).expand(batch, -1)
        if not bool((mass_BT != 0).all()):
            raise InvalidInput(f"pictures keep {(mass_BT != 0).sum(1).tolist()} tokens; a batch needs equal numbers")
        assert self.reduced.token_map is not None
        self.reduced.token_map, self.reduced.mass_BT = whole @ self.reduced.token_map, mass_BT
        return whole.apply(x_BTD)


def _one(token_map: TokenMap, b: int) -> TokenMap:
    """The map of one picture; as no row is empty, `TokenMap.item` need not look for such."""
    tensors = {name: value[b : b + 1] for name, value in vars(token_map).items() if isinstance(value, Tensor)}
    return replace(token_map, shape=(1, *token_map.shape[1:]), **tensors)


def _beside(token_map: TokenMap, prefix: int) -> TokenMap:
    """The same map with `prefix` tokens before its own, which are kept."""
    if not prefix:
        return token_map
    batch, size, n = token_map.shape
    if token_map.index_BM is not None:
        index_BM = torch.where(token_map.index_BM < 0, -1, token_map.index_BM + prefix)
        ahead_BP = torch.arange(prefix, device=index_BM.device).expand(batch, -1)
        return TokenMap.keep(torch.cat((ahead_BP, index_BM), 1), of=n + prefix)
    if token_map.target_BNK is not None and token_map.share_BNK is not None:
        target, share = token_map.target_BNK, token_map.share_BNK
        ahead = target.new_full((batch, prefix, target.shape[2]), -1)
        ahead[..., 0] = torch.arange(prefix, device=target.device)
        moved = torch.cat((ahead, torch.where(target < 0, -1, target + prefix)), 1)
        return TokenMap.merge(moved, size + prefix, torch.cat((share.new_ones(ahead.shape), share), 1))
    weight = token_map.matrix()
    whole = weight.new_zeros(batch, size + prefix, n + prefix)
    whole[:, :prefix, :prefix] = torch.eye(prefix, dtype=weight.dtype, device=weight.device)
    whole[:, prefix:, prefix:] = weight
    return TokenMap.dense(whole)
