"""Reducers inside models: `attach` puts one between the vision tower and the language model of any family that is known.

The picture is encoded once, while what the reducer asks for is recorded. Its map is carried out on the features, the prompt
loses (or gains) placeholders accordingly, and the model goes on as if it had never seen more. transformers takes ready-made
features by `mm_encoder_outputs`, in a forward pass as in generation.
"""
# B prompts, T tokens of each, N tokens of a picture, M rows of its map, Q text tokens, D width

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from ..hosts.vision_language import TOWERS
from ..hosts.vision_language.before_decoder import reduce_before_decoder
from ..hosts.vision_language.behind_tower import reduce_behind_tower
from ..hosts.vision_language.calling import keywords
from ..hosts.vision_language.decoder_layers import reduce_in_decoder
from ..hosts.vision_language.inside_tower import reduce_inside_tower
from ..hosts.vision_language.report import Report
from ..hosts.vision_language.vision_blocks import reduce_in_blocks
from .crops import Crops
from .signals import LayerReducer, Reducer

__all__ = ["Attachment", "attach"]

_MARK = "tokenloom_attached"


class Attachment:
    """A reducer in a model, until `detach` or the end of the `with` block, whether by an exception or not."""

    def __init__(self, model: Any, reduced: AbstractContextManager[Report]) -> None:
        self._model, self._stack = model, ExitStack()
        self._report = self._stack.enter_context(reduced)
        setattr(model, _MARK, self)

    @property
    def maps(self) -> list[TokenMap]:
        """The reducer's maps in the model's last call, picture by picture."""
        return self._report.maps

    @property
    def of(self) -> list[int]:
        """How many tokens each picture of that call had."""
        return self._report.of

    @property
    def kept(self) -> list[int]:
        """And how many the model went on with, LLaVA-NeXT's newlines included."""
        return self._report.kept

    def detach(self) -> None:
        """Give the model back as it was; once more does nothing."""
        if getattr(self._model, _MARK, None) is self:
            delattr(self._model, _MARK)
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()


def attach(
    model: Any,
    reducer: Reducer | LayerReducer | Mapping[int, Reducer],
    *,
    positions: Literal["kept", "compact"] = "kept",
    newlines: Literal["rows", "all", "none"] = "rows",
    generator: torch.Generator | None = None,
) -> Attachment:
    """Put a reducer into a model of transformers, for a `with` block or until `.detach()`.

    Between tower and language model: `forward` and `generate` of LLaVA, LLaVA-NeXT, Qwen2-VL and Qwen2.5-VL reduce each picture
    they are given, alone, so that a batch equals its prompts one by one; what they return refers to the shorter prompts, but
    generated sequences begin with the whole ones. Calls without pictures are left alone, and so are videos. A reducer that works
    between decoder layers goes there, and a reducer for each of some blocks goes into these blocks of the vision transformer.
    On a vision transformer alone, a single reducer shortens `last_hidden_state`.

    Args:
        model: what `from_pretrained` returns, in any precision and with any attention implementation.
        reducer: what it needs is recorded in the model. The text behind a picture, where it needs it, is all of it, answers that
            are trained on included.
        positions: "kept" leaves each token its position, a merged one that of the token with most weight in it; dropping is then
            the same as masking. "compact" counts anew, as several published codes do; Qwen loses its two-dimensional positions.
        newlines: LLaVA-NeXT, reduced crop by crop (patches that pad a picture are chosen among, and then left out, so that fewer may
            stay than `keep` says; `kept` tells): newlines stay behind each row of the picture that still has tokens, behind
            all, or behind none.
        generator: for a reducer that draws, once for each picture, in their order.
    Raises: InvalidInput: no known family, a model that has a reducer, an option that is none, or what the model cannot give.

    >>> from tokenloom.reduce.divprune import DivPrune
    >>> attach(torch.nn.Linear(2, 2), DivPrune(keep=64))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tokenloom.core.errors.InvalidInput: Linear is of no family that is known: LlavaForConditionalGeneration, ...
    """
    if positions not in ("kept", "compact"):
        raise InvalidInput(f"positions={positions!r}; it must be 'kept' or 'compact'")
    if newlines not in ("rows", "all", "none"):
        raise InvalidInput(f"newlines={newlines!r}; it must be 'rows', 'all' or 'none'")
    if getattr(model, _MARK, None) is not None:
        raise InvalidInput(f"{type(model).__name__} has a reducer attached already; detach it first")
    return Attachment(model, _reduced(model, reducer, positions, newlines, generator))


def _reduced(
    model: Any, reducer: Any, positions: Any, newlines: Any, generator: torch.Generator | None
) -> AbstractContextManager[Report]:
    """The place for a reducer in a model."""
    alone = any(kind.__name__ in TOWERS for kind in type(model).__mro__)
    if isinstance(reducer, Mapping):
        if alone:
            return reduce_in_blocks(model, reducer, generator=generator)
        return reduce_inside_tower(model, reducer, positions=positions, generator=generator)
    if hasattr(reducer, "layers"):
        if generator is not None:
            raise InvalidInput("a generator is given, but between layers nothing is drawn")
        return reduce_in_decoder(model, reducer, positions)
    if alone:
        called = _Called(reducer, generator, whole_pictures=True)
        return reduce_behind_tower(model, called.requests, called)
    called = _Called(reducer, generator)
    return reduce_before_decoder(model, called.requests, called, positions=positions, newlines=newlines)


class _Called:
    """A reducer, called with what a model gives by name: items are crops of one picture, or each a whole one."""

    def __init__(self, reducer: Any, generator: torch.Generator | None, *, whole_pictures: bool = False) -> None:
        self.whole_pictures = whole_pictures
        self.reducer, self.names = reducer, keywords(reducer)
        self.requests = {name: (signal.kind, signal.layer) for name, signal in reducer.needs.items()}
        unknown = sorted(self.requests.keys() - self.names.keys())
        if unknown:
            raise InvalidInput(f"{type(reducer).__name__} needs {unknown[0]!r}, but its __call__ has no such keyword")
        if generator is not None and "generator" not in self.names:
            raise InvalidInput(f"{type(reducer).__name__} draws nothing; it takes no generator")
        self.drawn = {} if generator is None else {"generator": generator}

    def __call__(self, x_BND: Tensor, signals: Mapping[str, Any]) -> TokenMap:
        given = {name: Crops(*value) if self.requests[name][0] == "crops" else value for name, value in signals.items()}
        divides = self.whole_pictures or any(kind == "crops" for kind, _ in self.requests.values())
        reducer = self.reducer if divides else self._for_each(len(x_BND))
        return reducer(x_BND, **{self.names[name]: value for name, value in given.items()}, **self.drawn)

    def _for_each(self, crops: int) -> Any:
        """The reducer for each crop of a picture; its `keep` means the picture if it is a number."""
        keep = getattr(self.reducer, "keep", None)
        if crops == 1 or not isinstance(keep, int):
            return self.reducer
        if keep % crops:
            low = keep - keep % crops
            raise InvalidInput(f"keep={keep} for a picture of {crops} crops; it must be divided among them, as {low or crops} or {low + crops} can be")  # fmt: skip
        return replace(self.reducer, keep=keep // crops)
