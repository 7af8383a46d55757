"""How a host calls a reducer: the signature of its `__call__` is the list of what it takes."""

from __future__ import annotations

import inspect
import re

import torch

from ...core.token_map import TokenMap

__all__ = ["is_identity", "keywords"]


def keywords(reducer: object) -> dict[str, str]:
    """Keyword arguments of a reducer by their names without the shape at the end: {"attention": "attention_BQN"}."""
    parameters = inspect.signature(type(reducer).__call__).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    return {re.sub(r"_[A-Z0-9]+$", "", name): name for name in names}


def is_identity(token_map: TokenMap) -> bool:
    """Whether a map leaves all tokens as and where they are; a host then leaves its model alone, to the last bit."""
    _, size, n = token_map.shape
    if size != n:
        return False
    if token_map.index_BM is not None:
        return bool((token_map.index_BM == torch.arange(n, device=token_map.index_BM.device)).all())
    weight = token_map.matrix()
    return bool((weight == torch.eye(n, device=weight.device)).all())
