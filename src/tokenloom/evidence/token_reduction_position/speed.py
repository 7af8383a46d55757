"""How long choosing takes, on features and signals of the sizes that language models see, drawn at random."""
# N tokens, T = N + 1, D width, H heads, C width of a head

from __future__ import annotations

import time
from typing import Any

import torch

from ...hosts.vision_language.calling import keywords
from ...measure.token_reduction_position import prefill_flops
from .panel import before, drawn

__all__ = ["LANGUAGE_MODEL", "choose", "saved"]

LANGUAGE_MODEL = {"width": 4096, "hidden": 11008}
LAYERS, TEXT = 32, 64  # of LLaVA-1.5-7B; tokens of a question
HEADS, HEAD_WIDTH = 16, 64  # of CLIP ViT-L


def choose(n: int, width: int, keep: float, repeats: int, seed: int) -> dict[str, float]:
    """reducer → milliseconds of one thread, the median of several calls after a first.

    N = 2880 is taken for a grid of 48 x 60: as much as five crops of 576.
    """
    grid = (24, 24) if n == 576 else (48, 60)
    generator = torch.Generator().manual_seed(seed)
    x_1TD = torch.randn(1, n + 1, width, generator=generator)
    shapes = {
        "received_attention": (1, n + 1), "cls_attention": (1, n + 1), "cls_logits": (1, n + 1),
        "cls_query": (1, HEADS, HEAD_WIDTH), "keys": (1, n + 1, HEADS, HEAD_WIDTH),
    }  # fmt: skip
    signals: dict[str, Any] = {kind: torch.randn(*shape, generator=generator) for kind, shape in shapes.items()}
    for kind in ("received_attention", "cls_attention"):
        signals[kind] = (3 * signals[kind]).softmax(1)
    signals |= {"prefix": 1, "offset": 1, "grid": grid, "mass": torch.ones(1, n + 1)}
    found = {}
    for name, reducer in before(keep, grid if n == 576 else (24, 24), blocks=24).items():
        if n != 576 and any(signal.kind == "grid" for signal in reducer.needs.values()):
            continue  # five crops, each of its own: five times the time of one
        whole = any(signal.kind == "prefix" for signal in reducer.needs.values())
        start = 0 if whole else 1
        names = keywords(reducer)
        given = {names[key]: signals[signal.kind] if not torch.is_tensor(signals[signal.kind]) or signal.kind == "cls_query"
                 else signals[signal.kind][:, start:] for key, signal in reducer.needs.items()}  # fmt: skip
        if drawn(reducer):
            given["generator"] = generator
        times = []
        for _ in range(repeats + 1):
            begin = time.process_time()
            reducer(x_1TD[:, start:], **given)
            times.append(time.process_time() - begin)
        found[name] = 1000 * sorted(times[1:])[repeats // 2]
    return found


def saved(keep: float, n: int = 576, layer: int = 0) -> float:
    """Share of the operations of a prompt that is saved in LLaVA-1.5-7B when behind `layer` layers a share `keep` of `n` is left."""
    # `keep` is what was achieved.
    full = [n + TEXT] * LAYERS
    left = [n + TEXT] * layer + [round(keep * n) + TEXT] * (LAYERS - layer)
    return 1 - prefill_flops(left, **LANGUAGE_MODEL) / prefill_flops(full, **LANGUAGE_MODEL)
