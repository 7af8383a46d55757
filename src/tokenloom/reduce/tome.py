"""ToMe: merge the tokens whose keys are most alike, a few in every block of a vision transformer.

Tokens are split into two sets; each of one looks for the most similar of the other, and the r most similar pairs become one
token, the mean weighted by how many patches each already stands for. Bolya et al. 2023, "Token Merging: Your ViT But Faster",
arXiv 2210.09461, section 3. The order of what is left is that of the authors' code: tokens that were not merged, then those of
the second set.
"""
# B batch, N patches, M of them left, H heads, C width of a key, D width

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, tokens_kept
from .keys import check_masses, unit_keys
from .signals import Signal, given

__all__ = ["ToMe", "ToMeEveryKth", "ToMeRandomSplit", "tome_schedule"]


@dataclass(frozen=True)
class ToMe:
    """Merge tokens whose keys are alike.

    Inside a block `r` is what the paper speaks of; `tome_schedule` gives it to several. Tokens before the patches (class token,
    registers) are never merged; with none, patches that were not merged stand in the order of their similarity.

    Args:
        keep: patches left, or a fraction of them; more than half are merged away in several rounds, each at most half.
        r: instead, tokens merged away by one call, at most half of the patches.
        proportional: later blocks of a vision transformer count a token as often as it has patches, by log(mass) added to the
            attention of its key; off for models that were trained without, such as MAE.
    Raises: InvalidInput: both or none of the two, or impossible ones.

    >>> x = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.1]]])
    >>> found = ToMe(keep=3)(x, keys_BNHC=x[:, :, None], mass_BN=torch.ones(1, 4), offset=0)
    >>> found.matrix()[0].tolist()  # 2 merged into 1, which is the same
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """

    keep: int | float | None = None
    r: int | None = None
    proportional: bool = True

    def __post_init__(self) -> None:
        if (self.keep is None) == (self.r is None):
            raise InvalidInput(f"keep={self.keep} and r={self.r}; exactly one of them says how many tokens are merged")
        if self.keep is not None:
            check_budget(self.keep)
        if self.r is not None and (isinstance(self.r, bool) or not isinstance(self.r, int) or self.r < 0):
            raise InvalidInput(f"r={self.r!r}; it must be a number of tokens, 0 or more")

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Keys and masses, and how many tokens stand before the patches."""
        return _NEEDS | {"offset": Signal("offset")}

    def __call__(
        self,
        x_BND: Tensor,
        *,
        keys_BNHC: Tensor | None = None,
        mass_BN: Tensor | None = None,
        offset: int | None = None,
    ) -> TokenMap:
        """Merge.

        Args:
            x_BND: features, floating point (B, N, D); only their number counts.
            keys_BNHC: of the block's attention.
            mass_BN: how many patches each token stands for, > 0; at first 1.
            offset: tokens before the patches, which are not among these; they decide which patches are in which set.
        Raises: InvalidInput: more tokens kept than there are, another shape, values that are not finite. MissingSignal.
        """
        unit_BNC, mass_BN = _checked(self, x_BND, keys_BNHC, mass_BN)
        offset = given(offset, "offset", self)
        if offset < 0:
            raise InvalidInput(f"{offset=}; so many tokens cannot stand before the patches")
        n = unit_BNC.shape[1]
        if self.r is not None:
            return _matched(unit_BNC, mass_BN, min(self.r, n // 2), offset)
        assert self.keep is not None
        goal = tokens_kept(self.keep, n)
        found = _matched(unit_BNC, mass_BN, min(n - goal, n // 2), offset)
        while (left := found.shape[1]) > goal:
            merged_BNC = normalize(found.apply(unit_BNC), dim=2)
            found = _matched(merged_BNC, found.mass(mass_BN), min(left - goal, left // 2), offset) @ found
        return found


@dataclass(frozen=True)
class ToMeEveryKth:
    """Every k-th token stays, and all others join the one of them whose key is most like theirs: N // k are left.

    Tokens behind the last k-th one, fewer than k, are dropped, as in the authors' code.

    Args:
        k: 1 keeps all.
    Raises: InvalidInput: `k` below 1.
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidInput(f"k={self.k}; it must be at least 1")

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Keys and masses."""
        return _NEEDS

    def __call__(self, x_BND: Tensor, *, keys_BNHC: Tensor | None = None, mass_BN: Tensor | None = None) -> TokenMap:
        """As for `ToMe`; raises also where there are fewer than k tokens."""
        unit_BNC, mass_BN = _checked(self, x_BND, keys_BNHC, mass_BN)
        batch, n, _ = unit_BNC.shape
        size = n // self.k
        if size < 1:
            raise InvalidInput(f"k={self.k}, but each item has {n} tokens")
        if self.k == 1:
            return TokenMap.identity(batch, n, x_BND.device)
        place_N = torch.arange(size * self.k, device=x_BND.device)
        stays_N = place_N % self.k == self.k - 1
        some_BNC = unit_BNC[:, : len(place_N)]
        nearest_BN = (some_BNC @ some_BNC[:, stays_N].transpose(1, 2)).max(2).indices
        target_BN = torch.where(stays_N, place_N // self.k, nearest_BN)
        found = _weighted(target_BN, size, mass_BN[:, : len(place_N)])
        return found @ TokenMap.keep(place_N.expand(batch, -1), of=n)


@dataclass(frozen=True)
class ToMeRandomSplit:
    """A baseline: r tokens drawn at random all join the most similar of the others, which stand in random order.

    Args:
        r: tokens merged away by a call.
    Raises: InvalidInput: a negative number.
    """

    r: int

    def __post_init__(self) -> None:
        if self.r < 0:
            raise InvalidInput(f"r={self.r}; it must be 0 or more")

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Keys and masses."""
        return _NEEDS

    def __call__(
        self,
        x_BND: Tensor,
        *,
        keys_BNHC: Tensor | None = None,
        mass_BN: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> TokenMap:
        """As for `ToMe`; raises also without a generator, and where no token would be left.

        Args:
            generator: is drawn from item by item, so that a batch is what its items are one after the other.
        """
        if not isinstance(generator, torch.Generator):
            raise InvalidInput("give generator=torch.Generator().manual_seed(seed)")
        unit_BNC, mass_BN = _checked(self, x_BND, keys_BNHC, mass_BN)
        batch, n, width = unit_BNC.shape
        if self.r >= n:
            raise InvalidInput(f"r={self.r}, but each item has {n} tokens; at least one must stay")
        if self.r == 0:
            return TokenMap.identity(batch, n, x_BND.device)
        order_BN = torch.rand(batch, n, generator=generator, device=generator.device).argsort(1).to(x_BND.device)
        shuffled_BNC = unit_BNC.gather(1, order_BN[..., None].expand(-1, -1, width))
        joins_BR = (shuffled_BNC[:, : self.r] @ shuffled_BNC[:, self.r :].transpose(1, 2)).max(2).indices
        stays_BM = torch.arange(n - self.r, device=x_BND.device).expand(batch, -1)
        target_BN = torch.empty_like(order_BN).scatter(1, order_BN, torch.cat([joins_BR, stays_BM], 1))
        return _weighted(target_BN, n - self.r, mass_BN)


def tome_schedule(
    r: int | Sequence[int], *, blocks: int, inflect: float = 0.0, proportional: bool = True
) -> dict[int, ToMe]:
    """How many tokens each block merges away: block, from 1 → `ToMe`; blocks that merge none are left out.

    Args:
        r: of each block on average; or of each block, zeros at the end left out.
        blocks: of the model.
        proportional: as for `ToMe`.
        inflect: 1 for none in the first block rising to 2 r in the last, -1 for the other way round, 0 for r in each.
    Raises: InvalidInput: a negative number, more numbers than blocks, `inflect` beyond -1 and 1 or with a list.

    >>> {block: reducer.r for block, reducer in tome_schedule(8, blocks=5, inflect=1).items()}
    {2: 4, 3: 8, 4: 12, 5: 16}
    """
    if blocks < 1 or not -1 <= inflect <= 1:
        raise InvalidInput(f"{blocks=} must be at least 1, and {inflect=} in [-1, 1]")
    if isinstance(r, int):
        first = int(r * (1 - inflect))
        step = (2 * r - 2 * first) / max(1, blocks - 1)
        numbers = [int(first + step * k) for k in range(blocks)]
    elif len(r) > blocks or inflect:
        raise InvalidInput(f"{len(r)} numbers for {blocks} blocks, {inflect=}; a list says all itself")
    else:
        numbers = list(r)
    return {block: ToMe(r=number, proportional=proportional) for block, number in enumerate(numbers, 1) if number != 0}


_NEEDS = {"keys": Signal("keys"), "mass": Signal("mass")}


def _checked(reducer: object, x_BND: Tensor, keys_BNHC: Tensor | None, mass_BN: Tensor | None) -> tuple[Tensor, Tensor]:
    """Keys of length 1, the mean over heads, float32 (B, N, C); masses, float32."""
    keys_BNHC, mass_BN = given(keys_BNHC, "keys", reducer), given(mass_BN, "mass", reducer)
    check_features(x_BND)
    unit_BNC = unit_keys(keys_BNHC, x_BND)
    check_masses(mass_BN, x_BND.shape[:2])
    return unit_BNC, mass_BN.detach().float()


def _matched(unit_BNC: Tensor, mass_BN: Tensor, r: int, offset: int) -> TokenMap:
    """One round: tokens at even places of the whole sequence, each with its most similar at an odd place; r pairs become one."""
    batch, n, _ = unit_BNC.shape
    if r == 0:
        return TokenMap.identity(batch, n, unit_BNC.device)
    even, odd = offset % 2, 1 - offset % 2
    best_BA, match_BA = (unit_BNC[:, even::2] @ unit_BNC[:, odd::2].transpose(1, 2)).max(2)  # the first of equal ones
    order_BA = best_BA.sort(dim=1, descending=True, stable=True).indices
    merged_BR, left_BL = even + 2 * order_BA[:, :r], even + 2 * order_BA[:, r:]
    if offset:
        left_BL = left_BL.sort(1).values
    rows_M, others = torch.arange(n - r, device=unit_BNC.device), left_BL.shape[1]
    target_BN = torch.empty(batch, n, dtype=torch.int64, device=unit_BNC.device)
    target_BN.scatter_(1, left_BL, rows_M[:others].expand(batch, -1))
    target_BN[:, odd::2] = rows_M[others:]
    target_BN.scatter_(1, merged_BR, match_BA.gather(1, order_BA[:, :r]) + others)
    return _weighted(target_BN, n - r, mass_BN)


def _weighted(target_BN: Tensor, size: int, mass_BN: Tensor) -> TokenMap:
    """The mean of each row's tokens, weighted by their masses; no token goes nowhere."""
    mass_BN = mass_BN.expand(target_BN.shape)
    sums_BM = mass_BN.new_zeros(target_BN.shape[0], size).scatter_add_(1, target_BN, mass_BN)
    share_BN = mass_BN / sums_BM.gather(1, target_BN)
    # Made here, so that targets need not be checked; this is called in every block of a model.
    shape = (target_BN.shape[0], size, target_BN.shape[1])
    return TokenMap(shape, target_BNK=target_BN[..., None], share_BNK=share_BN[..., None])
