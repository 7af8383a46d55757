"""What reducers keep of photographs, and what a vision transformer still sees: DINOv2-S, nothing trained."""
# B pictures, T tokens with the class token, N patches, D width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.token_map import TokenMap
from ...hosts.dinov2 import DINOv2
from ...hosts.vision_language.behind_tower import reduce_behind_tower
from ...hosts.vision_language.calling import keywords
from ...measure.token_reduction_position import cover, jaccard, redundancy, slant, spread
from ...reduce.attaching import attach
from ..photographs import pixel_values
from ..vision_tokens import model_and_photographs
from .panel import before, drawn

__all__ = ["GRID", "blocks_of", "look", "maps_of", "patches_only", "views"]

SIDE, MARGIN = 224, 14  # pixels of a picture and of a patch
GRID = (SIDE // MARGIN, SIDE // MARGIN)
NOISE = 0.1  # standard deviation, where pixels have 1 or so


def look(archives: str | None, models: str, seed: int, keep: float, pictures: int) -> dict[str, Any]:
    """reducer → measure → mean over pictures; measures that a reducer does not have are missing."""
    found, photographs = model_and_photographs(archives, Path(models))
    reducers = before(keep, GRID, blocks=blocks_of(found.model))
    shown = views(list(photographs.values())[:pictures], seed)
    maps = {name: maps_of(found.model, pixels, reducers, seed) for name, pixels in shown.items()}
    maps["again"] = maps_of(found.model, shown["picture"], {n: r for n, r in reducers.items() if drawn(r)}, seed + 1)
    with torch.no_grad():
        whole = found.model(shown["picture"]).last_hidden_state
    x_BND = whole[:, 1:]
    saliency = found.saliency(x_BND)
    result: dict[str, dict[str, float]] = {}
    for name, reducer in reducers.items():
        mine = {view: found_maps[name] for view, found_maps in maps.items() if name in found_maps}
        result[name] = _kept(mine, x_BND)
        # Inside the encoder signals are those of the block, and a batch needs as many tokens of each picture.
        here = all(signal.layer is None for signal in reducer.needs.values())
        if here and len(set(mine["picture"].counts_B.tolist())) == 1:
            result[name] |= _seen(found, shown["picture"], reducer, whole, saliency, seed)
    return result


def blocks_of(model: Any) -> int:
    """How many blocks the encoder has; in the middle one it is made to go on with fewer tokens itself."""
    return int(model.config.num_hidden_layers)


def views(pictures: list[np.ndarray], seed: int) -> dict[str, Tensor]:
    """The pictures, and the same with noise, one patch farther down and to the right, and upside down: (B, 3, 224, 224) each."""
    wide = pixel_values(pictures, SIDE + MARGIN)
    picture = wide[..., :SIDE, :SIDE].contiguous()
    generator = torch.Generator().manual_seed(seed)
    return {
        "picture": picture,
        "noise": picture + NOISE * torch.randn(picture.shape, generator=generator),
        "moved": wide[..., MARGIN:, MARGIN:].contiguous(),
        "flipped": picture.flip(2),
    }


@torch.no_grad()
def maps_of(model: Any, pixels: Tensor, reducers: Mapping[str, Any], seed: int) -> dict[str, TokenMap]:
    """The maps of many reducers over patches, from two runs of the model: with the class token among the tokens, and without."""
    maps: dict[str, TokenMap] = {}
    for whole in (False, True):
        some = {n: r for n, r in reducers.items() if whole == any(s.kind == "prefix" for s in r.needs.values())}
        requests = {f"{n} {s}": (v.kind, v.layer) for n, r in some.items() for s, v in r.needs.items()}

        def reduce(x_BND: Tensor, signals: Mapping[str, Any], some: Mapping[str, Any] = some) -> TokenMap:
            for name, reducer in some.items():
                given = {k: signals[f"{name} {s}"] for s, k in keywords(reducer).items() if f"{name} {s}" in signals}
                if drawn(reducer):
                    given["generator"] = torch.Generator().manual_seed(seed)
                maps[name] = reducer(x_BND, **given)
            return TokenMap.identity(1, x_BND.shape[1])

        with reduce_behind_tower(model, requests, reduce):
            model(pixels)
    return {name: maps[name] for name in reducers}


def patches_only(token_map: TokenMap, item: int) -> TokenMap:
    """The map of one picture without its class token: the rows that hold patches, and their columns."""
    one = token_map.item(item)
    n = GRID[0] * GRID[1]
    if one.shape[2] == n:
        return one
    weight = one.matrix()[:, :, -n:]
    return TokenMap.dense(weight[:, (weight[0] != 0).any(1)])


def _kept(maps: Mapping[str, TokenMap], x_BND: Tensor) -> dict[str, float]:
    """Measures of the tokens that are left, and of their place and stability where they are tokens that were kept."""
    values: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        values.setdefault(name, []).append(value)

    for b, x_ND in enumerate(x_BND):
        one = {view: patches_only(found, b) for view, found in maps.items()}
        left_MD = one["picture"].apply(x_ND[None])[0].double().numpy()
        note("tokens", len(left_MD))
        for name, value in asdict(cover(x_ND.double().numpy(), left_MD)).items():
            note(f"cover, {name}", value)
        note("redundancy", redundancy(left_MD) if len(left_MD) > 1 else 0.0)
        if any(found.kind != "one-to-one" for found in one.values()):
            continue
        kept = {view: found.positions_BM[0].numpy() for view, found in one.items()}
        note("stability, noise", jaccard(kept["picture"], kept["noise"]))
        note("stability, moved", _moved(kept["picture"], kept["moved"]))
        if "again" in kept:
            note("stability, seeds", jaccard(kept["picture"], kept["again"]))
        note("spread", spread(kept["picture"], GRID))
        bias = slant(kept["picture"], kept["flipped"], GRID)
        note("slant, place", bias.place)
        note("slant, content", abs(bias.content))
    return {name: float(np.mean(v)) for name, v in values.items() if len(v) == len(x_BND)}


def _moved(kept: np.ndarray, moved: np.ndarray) -> float:
    """Jaccard similarity where both pictures show the same: the second begins one patch lower and farther right."""
    rows, columns = GRID
    first = {(k // columns - 1, k % columns - 1) for k in kept.tolist() if k // columns and k % columns}
    second = {(k // columns, k % columns) for k in moved.tolist()}
    second = {place for place in second if place[0] < rows - 1 and place[1] < columns - 1}
    return len(first & second) / max(1, len(first | second))


@torch.no_grad()
def _seen(found: DINOv2, pixels: Tensor, reducer: Any, whole: Tensor, saliency: Tensor, seed: int) -> dict[str, float]:
    """Cosine of the class token, and for what can be restored correlation of the saliency map, when the middle block is reduced."""
    generator = torch.Generator().manual_seed(seed) if drawn(reducer) else None
    with attach(found.model, {blocks_of(found.model) // 2: reducer}, generator=generator) as attached:
        y_BTD = found.model(pixels).last_hidden_state
        maps = list(attached.maps)
    seen = {"class token": float(torch.cosine_similarity(y_BTD[:, 0], whole[:, 0]).mean())}
    if all(one.kind != "one-to-one" for one in maps) and all(bool(one.sources_BMN.any(1).all()) for one in maps):
        lifted = torch.cat([one.lift(y_BTD[b : b + 1, : one.shape[1]]) for b, one in enumerate(maps)])
        again = found.saliency(lifted[:, -whole.shape[1] + 1 :])
        pairs = [np.corrcoef(a.numpy().ravel(), b.numpy().ravel())[0, 1] for a, b in zip(saliency, again)]
        seen["saliency"] = float(np.mean(pairs))
    return seen
