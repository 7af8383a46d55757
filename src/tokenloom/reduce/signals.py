"""What reducers ask for by name, beside the features: measured inside a model by `attach`, or given by the caller."""
# B batch, P prefix tokens, N patches, T = P + N, H heads, C width of a head, Q text tokens, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap

__all__ = ["KINDS", "LayerReducer", "MissingSignal", "Reducer", "Signal", "given"]

KINDS = {
    "received_attention": "(B, T): attention that each token receives, the mean over heads and queries; the column means of a layer's attention weights",
    "cls_attention": "(B, T): attention of the class token to each token, the mean over heads; the first row of a layer's attention weights",
    "cls_logits": "(B, T): the same before the softmax: q·k / sqrt(C) of the class token, the mean over heads",
    "cls_query": "(B, H, C): the class token's query; a hook on the layer's query projection records it",
    "keys": "(B, T, H, C): a layer's keys; a hook on its key projection records them",
    "prefix": "how many tokens before the patches (class token, registers) the features and signals begin with",
    "offset": "how many such tokens stand before the patches where a reducer is given patches only",
    "grid": "rows and columns of the patches",
    "crops": "where the crops of a picture of high resolution lie; see `Crops`",
    "mass": "(B, T): how many patches each token already stands for",
    "text_features": "(B, Q, D): embeddings of the text behind the picture, where the language model begins",
    "text_attention": "(B, Q, N): attention of the text behind the picture to its tokens, the mean over heads, in a layer of the language model",
    "transitions": "how attention and feed-forward layers changed each token; see `Transition`",
}
"""What each kind of signal is, and how to record it. T counts the prefix only where a reducer asks for `prefix`, else T = N."""


class MissingSignal(InvalidInput):
    """A reducer was not given what it needs."""


@dataclass(frozen=True)
class Signal:
    """What a reducer asks of a model.

    Args:
        kind: one of `KINDS`.
        layer: block of the vision encoder (for "text_attention" and "transitions" of the language model), counted from 1, or
            from the last by negative numbers; None for the block that the features come from, or that the reducer works in.
    Raises: InvalidInput: no such kind, or layer 0.
    """

    kind: str
    layer: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInput(f"no signal {self.kind!r}; there are {', '.join(KINDS)}")
        if self.layer is not None and (not isinstance(self.layer, int) or self.layer == 0):
            raise InvalidInput(f"layer={self.layer}; blocks are counted from 1, or from the last by negative numbers")


class Reducer(Protocol):
    """From features and signals to a `TokenMap`; knows no model.

    `needs` maps the keyword arguments of `__call__`, without the shape at their end, to what is asked of the model. A reducer
    that asks for "prefix" is given the tokens before the patches too, in the features and in every signal of each token, and its
    map has columns for them; others are given patches only, and the prefix is kept beside them.
    """

    @property
    def needs(self) -> Mapping[str, Signal]: ...

    def __call__(self, *features: Any, **signals: Any) -> TokenMap: ...


class LayerReducer(Protocol):
    """A reducer that works between layers of a language model, at one layer or several.

    `layers` are the numbers of decoder layers that have run when it reduces, from 1 on, ascending. It is called with the visual
    tokens that are left, with the `layer`, and with `total`, how many visual tokens there were at first.
    """

    @property
    def layers(self) -> tuple[int, ...]: ...

    def needs(self, layer: int) -> Mapping[str, Signal]: ...

    def __call__(self, *features: Any, **signals: Any) -> TokenMap: ...


def given(value: Any, kind: str, reducer: object) -> Any:
    """The value of a signal, if there is one.

    Raises: MissingSignal: it is None; the message says how to record it.
    """
    if value is None:
        raise MissingSignal(
            f"{type(reducer).__name__} needs {kind}, {KINDS[kind]}; `tl.reduce.attach` records it where the model has it"
        )
    return value
