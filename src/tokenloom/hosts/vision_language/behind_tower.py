"""Fewer tokens at the end of a vision transformer: the patches of `last_hidden_state`, behind those that come before them."""
# B pictures, P tokens before the patches, N patches, T = P + N, M rows of a map, D width

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...core.errors import InvalidInput
from ...core.token_map import TokenMap
from .before_decoder import replaced
from .recording import RECORDED, attention_layers, recording, resolved
from .report import Report

__all__ = ["reduce_behind_tower"]


@contextmanager
def reduce_behind_tower(
    model: Any,
    requests: Mapping[str, tuple[str, int | None]],
    reduce: Callable[[Tensor, Mapping[str, Any]], TokenMap],
) -> Iterator[Report]:
    """While the context lasts, `last_hidden_state` is (B, P + M, D); all else that the model returns is as it was.

    Args:
        model: of a class in `TOWERS`.
        requests: signals to give to `reduce`, by name: their kind and block.
        reduce: from patches (B, N, D) of the whole batch, with the tokens before them if "prefix" is asked for, to a map; it then
            has columns for these too, and what is returned is (B, M, D).
    Raises: InvalidInput: a request that the model cannot answer.
    """
    layers = attention_layers(model)
    recorded = {n: resolved(model, kind, at, len(layers)) for n, (kind, at) in requests.items() if kind in RECORDED}
    for name, (kind, _) in requests.items():
        if kind not in (*RECORDED, "prefix", "offset", "grid", "mass"):
            raise InvalidInput(f"{name} is {kind}, which {type(model).__name__} alone does not have")
    whole = any(kind == "prefix" for kind, _ in requests.values())
    own, report = model.forward, Report()

    def forward(pixel_values: Tensor, *args: Any, **kwargs: Any) -> Any:
        as_tuple = kwargs.pop("return_dict", None) is False
        with recording(layers, set(recorded.values())) as record:
            out = own(pixel_values, *args, return_dict=True, **kwargs)
        x_BTD, side = out.last_hidden_state, int(model.config.patch_size)
        grid = pixel_values.shape[-2] // side, pixel_values.shape[-1] // side
        prefix = x_BTD.shape[1] - grid[0] * grid[1]
        start = 0 if whole else prefix
        signals: dict[str, Any] = {}
        for name, (kind, _) in requests.items():
            if kind in RECORDED:
                value = record[recorded[name]] / (x_BTD.shape[1] if kind == "received_attention" else 1)
                signals[name] = value if kind == "cls_query" else value[:, start:]
            elif kind == "mass":
                signals[name] = x_BTD.new_ones(len(x_BTD), x_BTD.shape[1] - start, dtype=torch.float32)
            else:
                signals[name] = grid if kind == "grid" else prefix
        found = reduce(x_BTD[:, start:], signals)
        out.last_hidden_state = torch.cat((x_BTD[:, :start], found.apply(x_BTD[:, start:])), 1)
        items = [found.item(min(b, found.shape[0] - 1)) for b in range(len(x_BTD))]
        report.maps[:] = items
        report.of[:] = [x_BTD.shape[1]] * len(items)
        report.kept[:] = [start + item.shape[1] for item in items]
        return out.to_tuple() if as_tuple else out

    with replaced(model, "forward", forward):
        yield report
