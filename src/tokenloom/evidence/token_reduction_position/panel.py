"""Who is compared: each reducer at a share of tokens, for a vision transformer and for the model that answers questions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...reduce.baselines import Random, UniformGrid
from ...reduce.divprune import DivPrune
from ...reduce.fastv import FastV
from ...reduce.fopru import FoPru
from ...reduce.hiprune import HiPrune
from ...reduce.matryoshka_m3 import MatryoshkaM3, possible_scales
from ...reduce.prumerge import PruMerge
from ...reduce.signals import LayerReducer, Reducer
from ...reduce.sparsevlm import SparseVLM
from ...reduce.super_token_sampling import SuperTokenSampling
from ...reduce.token_correlation_compression import TokenCorrelationCompression
from ...reduce.token_transforming import TokenTransforming
from ...reduce.tokenflex import TokenFLEX
from ...reduce.tome import ToMe
from ...reduce.transprune import TransPrune
from ...reduce.visionzip import VisionZip

__all__ = ["before", "between"]


def before(keep: float, grid: tuple[int, int], *, blocks: int) -> dict[str, Reducer]:
    """Reducers of a picture's features, at a share of the tokens as near to `keep` as each of them can.

    Pooling keeps squares: M³ the nearest scale that it has, TokenFLEX any; super tokens are square cells. GlobalCom² needs several crops, and explainability-guided compression a network trained for the model.

    Args:
        keep: share of the tokens.
        grid: rows and columns of patches, the same number.
        blocks: of the vision encoder; HiPrune looks for objects in the middle, as at 9 of 24.
    """
    side = grid[0]
    scale = min(possible_scales(grid), key=lambda s: abs(math.log(s / (keep * side * side))))
    cell = min((c for c in range(1, side + 1) if side % c == 0), key=lambda c: abs(math.log(c * c * keep)))
    middle = max(1, round(9 / 24 * blocks))
    return {
        "random": Random(keep),
        "uniform grid": UniformGrid(keep),
        "M³ pooling": MatryoshkaM3(scale),
        "TokenFLEX pooling": TokenFLEX(max(1, round(side * math.sqrt(keep))) ** 2),
        "class attention": FoPru(keep, score="cls"),
        "FoPru": FoPru(keep),
        "FoPru, rows": FoPru(keep, strategy="rows"),
        "HiPrune": HiPrune(keep, layer=middle),
        "DivPrune": DivPrune(keep),
        "correlation": TokenCorrelationCompression(shallow=max(1, blocks // 4), keep=keep),
        "VisionZip": VisionZip(keep),
        "PruMerge": PruMerge(keep=keep),
        "ToMe": ToMe(keep),
        "Token Transforming": TokenTransforming(keep),
        "super tokens": SuperTokenSampling((cell, cell)),
    }


def between(keep: float, n: int) -> Mapping[str, LayerReducer]:
    """Reducers between the layers of a small language model with `n` visual tokens, all behind its first."""
    return {
        "FastV": FastV(keep, layer=1),
        "SparseVLM": SparseVLM(layers=(1,), keep=(keep,)),
        # It rounds down; one token is the least.
        "TransPrune": TransPrune(layers=(1,), ratios=(max(keep, 1 / n),), accumulated=(1,)),
    }


def drawn(reducer: Any) -> bool:
    """Whether a reducer draws, and takes a generator."""
    return isinstance(reducer, Random) or (
        isinstance(reducer, TokenCorrelationCompression) and reducer.sampling != "top"
    )
