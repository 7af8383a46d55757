"""Fewer visual tokens before the language model begins: `forward` and `generate` of a model, with its pictures reduced."""
# B prompts, T tokens of each, N tokens of a picture, D width

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ...core.errors import InvalidInput
from ...core.token_map import TokenMap
from . import open_family
from .pictures import Picture
from .prompts import columns_left, padding_id, picked, spans
from .report import Report
from .text_attention import text_signals

__all__ = ["Reduce", "reduce_before_decoder", "reduced_calls", "replaced"]

Reduce = Callable[[Tensor, Mapping[str, Any]], TokenMap]
"""Called with features (B, N, D) and signals by name; B is 1, or the crops of one picture."""

_ALONG = {"mm_token_type_ids": 0, "token_type_ids": 0, "labels": -100}
"""Arguments with a value for each token of the prompt, and what they are for padding."""


@contextmanager
def reduce_before_decoder(
    model: Any,
    requests: Mapping[str, tuple[str, int | None]],
    reduce: Reduce,
    *,
    positions: Literal["kept", "compact"] = "kept",
    newlines: Literal["rows", "all", "none"] = "rows",
) -> Iterator[Report]:
    """While the context lasts, the language model goes on with what `reduce` makes of each picture.

    Args:
        model: of a class in `FAMILIES`.
        requests: signals to give to `reduce`, by name: their kind, as in `reduce.signals.KINDS`, and block.
        reduce: from features and signals to a map.
        positions: of what is left; "kept" as they were, "compact" counted anew.
        newlines: of LLaVA-NeXT.
    Raises: InvalidInput: no such family, or a request that it cannot answer.
    """
    for name, (kind, layer) in requests.items():
        if kind == "text_attention" and layer not in (None, 1):
            raise InvalidInput(f"{name} is text_attention of layer {layer}; before the language model has run there is that of layer 1")  # fmt: skip
        if kind == "transitions":
            raise InvalidInput(f"{name} is transitions, which there are not before the language model")
    family = open_family(model, requests, newlines)
    crops = next((name for name, (kind, _) in requests.items() if kind == "crops"), None)
    if crops is not None and not hasattr(family, "newlines"):
        raise InvalidInput(f"{crops} is crops, which only LLaVA-NeXT makes, and {type(model).__name__} does not")
    with reduced_calls(model, family, requests, reduce, positions=positions) as report:
        yield report


@contextmanager
def reduced_calls(
    model: Any,
    family: Any,
    requests: Mapping[str, tuple[str, int | None]],
    reduce: Reduce,
    *,
    positions: Literal["kept", "compact"],
) -> Iterator[Report]:
    """The same with a family's adapter that is open."""
    run = _Run(model, family, requests, reduce, positions)
    with replaced(model, "forward", run.forward), replaced(model, "generate", run.generate):
        yield run.report


@contextmanager
def replaced(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """While the context lasts, a method of one object is another function, which looks like it to those who inspect it."""
    before = owner.__dict__.get(name)
    setattr(owner, name, _seems(function, getattr(type(owner), name).__get__(owner)))
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _seems(function: Callable[..., Any], like: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    # By its signature transformers finds out what a model's `forward` can take.
    call.__signature__ = inspect.signature(like)  # type: ignore[attr-defined]
    return call


@dataclass(frozen=True)
class _Prompts:
    """Prompts that are in a cache, shortened.

    Args:
        width: T, before they were shortened.
        mask_BT: of the shortened ones.
        last: position of the last token, (…, B, 1).
    """

    width: int
    mask_BT: Tensor
    last: Tensor

    def followed(self, call: Mapping[str, Any], cached: int) -> dict[str, Tensor]:
        """Positions and mask of the tokens of a call, behind `cached` ones."""
        behind, ids = cached - self.mask_BT.shape[1], call.get("input_ids")
        new = (call["inputs_embeds"] if ids is None else ids).shape[1]
        steps = torch.arange(behind + 1, behind + 1 + new, device=self.last.device)
        mask = call.get("attention_mask")
        tail = self.mask_BT.new_ones(len(self.mask_BT), behind + new) if mask is None else mask[:, self.width :]
        return {
            "position_ids": self.last + steps,
            "attention_mask": torch.cat((self.mask_BT, tail.to(self.mask_BT)), 1),
        }


class _Run:
    def __init__(self, model: Any, family: Any, requests: Mapping[str, Any], reduce: Reduce, positions: str) -> None:
        self.model, self.family, self.requests, self.reduce = model, family, requests, reduce
        self.compact = positions == "compact"
        self.own_forward, self.own_generate = model.forward, model.generate
        self.report = Report()
        self.generating = False
        self.prompts: WeakKeyDictionary[Any, _Prompts] = WeakKeyDictionary()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        call = _named(type(self.model).forward, args, kwargs)
        cache = _cache(call)
        if call.get("pixel_values") is not None:
            short = self.shortened(call, generating=False)
            out = self.own_forward(**short)
            self._remember(getattr(out, "cache", None), call, short)
            return out
        if cache is not None and cache in self.prompts and call.get("position_ids") is None:
            return self.own_forward(**call | self.prompts[cache].followed(call, cache.get_seq_length()))
        if self.generating and call.get("attention_mask") is None and cache is None:
            # Without mask and cache, gaps between positions are taken for borders between packed sequences.
            call["attention_mask"] = torch.ones_like(call["input_ids"])
        return self.own_forward(**call)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        call = _named(type(self.model).generate, args, kwargs)
        cache = _cache(call)
        if cache is not None and cache in self.prompts:
            raise InvalidInput(
                "a cache whose prompt was shortened; generate needs the whole conversation anew, without it"
            )
        if call.get("pixel_values") is None:
            return self.own_generate(**call)
        if call.get("input_ids") is None:
            call["input_ids"] = call.pop("inputs", None)
        short = self.shortened(call, generating=True)
        ids, width = call["input_ids"], short["input_ids"].shape[1]
        short |= self._lengths(short, ids.shape[1] - width)
        self.generating = True
        try:
            made = self.own_generate(**short)
        finally:
            self.generating = False
        sequences = made if isinstance(made, Tensor) else made.sequences
        prompts = ids.repeat_interleave(len(sequences) // len(ids), 0).to(sequences.device)
        whole = torch.cat((prompts, sequences[:, width:]), 1)
        if isinstance(made, Tensor):
            return whole
        made.sequences = whole
        self._remember(made.get("cache", made.get("past_key_values")), call, short)
        return made

    def _remember(self, cache: Any, call: Mapping[str, Any], short: Mapping[str, Any]) -> None:
        if cache is not None:
            width, last = call["input_ids"].shape[1], short["position_ids"][..., -1:]
            self.prompts[cache] = _Prompts(width, short["attention_mask"], last)

    def _lengths(self, call: Mapping[str, Any], dropped: int) -> dict[str, int]:
        """Limits of a generated sequence that count its prompt, for the shorter prompt."""
        found = {}
        for name, other in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            settings = (call.get("generation_config"), self.model.generation_config)
            value, instead = (
                next((v for v in (call.get(n), *(getattr(s, n, None) for s in settings)) if v is not None), None)
                for n in (name, other)
            )
            if value and instead is None:
                found[name] = max(value - dropped, 0)
        return found

    def shortened(self, call: dict[str, Any], *, generating: bool) -> dict[str, Any]:
        """The arguments of a call, with its pictures reduced."""
        call = self._checked(call, generating)
        ids_BT, mask_BT = call["input_ids"], call["attention_mask"]
        pictures, output = self.family.pictures(call)
        found = spans(ids_BT, self.family.placeholder, [picture.length for picture in pictures])
        where = self.family.positions(call, generating=generating)
        where = where.expand(*where.shape[:-2], *ids_BT.shape)
        asked = {name: kind for name, (kind, _) in self.requests.items() if kind.startswith("text_")}
        texts = text_signals(self.model, self.family.visual_ids, asked, call, pictures, found, where)
        signals = [picture.signals | self._masses(picture) | text for picture, text in zip(pictures, texts)]
        maps = [self.reduce(picture.x_BND, given) for picture, given in zip(pictures, signals)]
        rows = [picture.rows(token_map) for picture, token_map in zip(pictures, maps)]
        left_BT = columns_left(mask_BT, found, rows)
        short = {name: value for name, value in call.items() if name not in self.family.visual_inputs}
        short["input_ids"] = picked(ids_BT, left_BT, padding_id(self.model))
        short["attention_mask"] = picked(mask_BT, left_BT, 0)
        for name, fill in _ALONG.items():
            if call.get(name) is not None:
                short[name] = picked(call[name], left_BT, fill)
        if self.compact:
            short["position_ids"] = self.family.compact(short, generating=generating)
        else:
            short["position_ids"] = picked(where, left_BT, 0)
        output.pooler_output = [row.features_MD for row in rows]
        short["mm_encoder_outputs"] = {"image": output, **self.family.others(call)}
        self.report.maps[:] = maps
        self.report.of[:] = [picture.length for picture in pictures]
        self.report.kept[:] = [len(row.features_MD) for row in rows]
        return short

    def _checked(self, call: dict[str, Any], generating: bool) -> dict[str, Any]:
        ids, mask, cache = call.get("input_ids"), call.get("attention_mask"), _cache(call)
        if ids is None:
            raise InvalidInput("no input_ids; a picture's tokens are found by their placeholders in them")
        if mask is None and generating and len(ids) > 1:
            raise InvalidInput("no attention_mask; a batch of prompts needs one, as the processor returns it")
        mask = torch.ones_like(ids) if mask is None else mask
        if not isinstance(mask, Tensor) or mask.shape != ids.shape:
            raise InvalidInput(
                "attention_mask must be that of the tokens, (B, T); the model makes the causal one itself"
            )
        if cache is not None and cache.get_seq_length():
            raise InvalidInput("a picture behind tokens that are in the cache; a prompt must be given whole, at once")
        if isinstance(call.get("logits_to_keep"), Tensor):
            raise InvalidInput(
                "logits_to_keep names places in the whole prompt; give how many of the last ones to keep"
            )
        return {**call, "attention_mask": mask}

    def _masses(self, picture: Picture) -> dict[str, Tensor]:
        """Each token stands for itself."""
        ones_BN = torch.ones(picture.x_BND.shape[:2], device=picture.x_BND.device)
        return {name: ones_BN for name, (kind, _) in self.requests.items() if kind == "mass"}


def _named(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a method's call by their names."""
    bound = inspect.signature(function).bind_partial(None, *args, **kwargs)
    found: dict[str, Any] = {}
    bound.arguments.pop("self")
    for name, value in bound.arguments.items():
        many = bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        found.update(value if many else {name: value})
    return found


def _cache(call: Mapping[str, Any]) -> Any:
    return call.get("cache", call.get("past_key_values"))
