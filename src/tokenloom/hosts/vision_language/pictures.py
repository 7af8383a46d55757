"""A picture between the vision tower and the language model: what a reducer sees of it, and what becomes of its rows."""
# B pictures or crops, N tokens, M rows of a map, Q text tokens, D width

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ...core.token_map import TokenMap

__all__ = ["GridPicture", "Picture", "Rows"]


@dataclass(frozen=True)
class Rows:
    """What the language model is given in place of a picture's tokens.

    Args:
        features_MD: floating point, in the language model's width.
        place_M: which of the picture's tokens in the prompt each row stands for, int64.
    """

    features_MD: Tensor
    place_M: Tensor


class Picture(Protocol):
    """What every family gives of a picture.

    The prompt has `length` placeholders for it, and `tokens_ND` are what the language model would see there. A reducer is called
    with `x_BND` and `signals`, and `rows` carries out its map.
    """

    @property
    def length(self) -> int: ...

    @property
    def tokens_ND(self) -> Tensor: ...
    @property
    def x_BND(self) -> Tensor: ...
    @property
    def signals(self) -> dict[str, Any]: ...
    def spread(self, values_BQN: Tensor) -> Tensor:
        """Values of the tokens in the prompt, for those that the reducer sees; 0 where it sees others."""

    def rows(self, token_map: TokenMap) -> Rows: ...


@dataclass(frozen=True)
class GridPicture:
    """One grid of patches, or what a family makes of several before the reducer sees them.

    Args:
        tokens_ND: as the language model would see them.
        x_BND: as the reducer sees them, B = 1.
        signals: what it asked for, by name.
        beside: so many of `tokens_ND` come before the patches (a class token) and stay.
        prefix: so many of `x_BND` come before the patches.
        project: from `x_BND` to the language model's width, where they are not yet in it; what comes before the patches is then
            the reducer's business.
    """

    tokens_ND: Tensor
    x_BND: Tensor
    signals: dict[str, Any]
    beside: int = 0
    prefix: int = 0
    project: Callable[[Tensor], Tensor] | None = None

    @property
    def length(self) -> int:
        """Placeholders in the prompt."""
        return len(self.tokens_ND)

    def spread(self, values_BQN: Tensor) -> Tensor:
        patches = values_BQN[..., self.beside :]
        before = patches.new_zeros(*patches.shape[:-1], self.prefix)
        return torch.cat((before, patches), dim=-1)

    def rows(self, token_map: TokenMap) -> Rows:
        one = token_map.item(0)
        place_M = one.positions_BM[0]
        if self.project is not None:
            # A class token that had no placeholder takes the place of the first patch.
            place_M = (place_M - self.prefix + self.beside).clamp(min=0)
            return Rows(self.project(one.apply(self.x_BND))[0], place_M)
        reduced_MD = one.apply(self.tokens_ND[None, self.beside :])[0]
        if not self.beside:
            return Rows(reduced_MD, place_M)
        first = torch.arange(self.beside, device=place_M.device)
        features_MD = torch.cat((self.tokens_ND[: self.beside], reduced_MD))
        return Rows(features_MD, torch.cat((first, place_M + self.beside)))
