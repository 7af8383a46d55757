"""PruMerge: keep the patches to which the class token pays outstanding attention, and add to each what is most like it.

Shang et al. 2024, arXiv 2403.15388, section 3, and the authors' code. How many are kept is found for each picture: those whose
attention is above Q3 + 1.5 (Q3 - Q1), the quartiles' rule for outliers. PruMerge+ keeps patches at equal distances as well.
Differs from the authors' code: the number is that of each picture, not of the batch; and where PruMerge+ would keep every patch
it says so, instead of keeping them.
"""
# B batch, T tokens with the class token, N patches, M kept, H heads, C width of a head

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, tokens_kept, top
from .selections import best_of_each, outliers
from .signals import Signal, given

__all__ = ["PruMerge", "PruMergePlus"]


@dataclass(frozen=True)
class PruMerge:
    """Patches of outstanding attention, highest first, and one token for all others.

    x_i + Σ a_j x_j over the `neighbours` other patches whose keys are most like that of i; the last token is Σ a_j x_j over what
    was not kept. a is the attention of the class token in one head as wide as all; the weights are not normalised.

    Args:
        neighbours: patches added to each kept one, kept or not.
        keep: None for the number that each picture calls for; else tokens in all, or a fraction of the patches: one fewer are
            kept, those with most attention, and the last token is that of all others. All is all as they are.
    Raises: InvalidInput: `neighbours` below 1, or no budget.
    """

    neighbours: int = 32
    keep: int | float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.neighbours, int) or self.neighbours < 1:
            raise InvalidInput(f"neighbours={self.neighbours}; it must be a whole number, at least 1")
        if self.keep is not None:
            check_budget(self.keep)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Keys and the class token's query in the last block; the features may be of another."""
        return {"keys": Signal("keys", -1), "query": Signal("cls_query", -1), "prefix": Signal("prefix")}

    def __call__(
        self,
        x_BTD: Tensor,
        *,
        keys_BTHC: Tensor | None = None,
        query_BHC: Tensor | None = None,
        prefix: int | None = None,
    ) -> TokenMap:
        """Keep and merge patches of `x_BTD`, floating point (B, T, D), the class token first.

        Returns: M + 1 rows, M of each item's own; nothing of the class token. Rows do not sum to 1.
        Raises: InvalidInput: no class token or more tokens before the patches, no more patches than neighbours, fewer patches
            than are kept, values that do not fit or are not finite. MissingSignal.
        """
        unit_BNC, attention_BN = self._checked(x_BTD, keys_BTHC, query_BHC, prefix)
        n = attention_BN.shape[1]
        if self.keep is None:
            return self._merged(unit_BNC, attention_BN, self._found(attention_BN))
        tokens = tokens_kept(self.keep, n)
        if tokens == n:
            return TokenMap.keep(torch.arange(1, n + 1, device=x_BTD.device).expand(len(x_BTD), -1), of=n + 1)
        return self._merged(unit_BNC, attention_BN, self._told(attention_BN, tokens - 1))

    def _found(self, attention_BN: Tensor) -> Tensor:
        """Which patches have their own row, by rank; -inf for the others: as many as stand out."""
        return _outstanding(attention_BN)

    def _told(self, attention_BN: Tensor, patches: int) -> Tensor:
        """The same for a number of them."""
        counts_B = attention_BN.new_full((len(attention_BN),), patches, dtype=torch.int64)
        return attention_BN.masked_fill(~best_of_each(attention_BN, counts_B), -torch.inf)

    def _checked(
        self, x_BTD: Tensor, keys_BTHC: Tensor | None, query_BHC: Tensor | None, prefix: int | None
    ) -> tuple[Tensor, Tensor]:
        """The patches' keys of length 1, (B, N, H C), and the class token's attention to them, (B, N)."""
        keys_BTHC, query_BHC = given(keys_BTHC, "keys", self), given(query_BHC, "cls_query", self)
        check_features(x_BTD)
        batch, n, _ = x_BTD.shape
        if given(prefix, "prefix", self) != 1:
            raise InvalidInput(f"{prefix=}; PruMerge is made for one class token before the patches")
        if keys_BTHC.dim() != 4 or keys_BTHC.shape[:2] != (batch, n) or query_BHC.shape != keys_BTHC[:, 0].shape:
            raise InvalidInput(
                f"keys of {tuple(keys_BTHC.shape)}, query of {tuple(query_BHC.shape)}; "
                f"they must be ({batch}, {n}, heads, width) and ({batch}, heads, width)"
            )
        if n - 1 <= self.neighbours:
            raise InvalidInput(f"{n - 1} patches; each has {self.neighbours} neighbours among the others")
        keys_BTC, query_BC = keys_BTHC.detach().float().flatten(2), query_BHC.detach().float().flatten(1)
        attention_BT = ((keys_BTC @ query_BC[..., None])[..., 0] / keys_BTC.shape[2] ** 0.5).softmax(1)
        if not bool(torch.isfinite(attention_BT).all()):
            raise InvalidInput("keys or the query are not finite")
        return normalize(keys_BTC[:, 1:], dim=2), attention_BT[:, 1:]

    def _merged(self, unit_BNC: Tensor, attention_BN: Tensor, ranks_BN: Tensor) -> TokenMap:
        """W, from the patches that have their own row, those ranked higher first; -inf for the others."""
        batch, n, _ = unit_BNC.shape
        kept_BN = ranks_BN > -torch.inf
        counts_B = kept_BN.sum(1)
        size = int(counts_B.max())
        picks_BM = top(ranks_BN, size)
        filled_BM = torch.arange(size, device=unit_BNC.device) < counts_B[:, None]
        picked_BMC = unit_BNC.gather(1, picks_BM[..., None].expand(-1, -1, unit_BNC.shape[2]))
        similar_BMN = (picked_BMC @ unit_BNC.transpose(1, 2)).scatter(2, picks_BM[..., None], -torch.inf)
        near_BMK = similar_BMN.sort(dim=2, descending=True, stable=True).indices[..., : self.neighbours]
        weights_BMK = attention_BN[:, None].expand(-1, size, -1).gather(2, near_BMK)
        weight_BMN = (
            torch.zeros_like(similar_BMN).scatter(2, near_BMK, weights_BMK).scatter(2, picks_BM[..., None], 1.0)
        )
        weight_BMT = unit_BNC.new_zeros(batch, size + 1, n + 1)
        weight_BMT[:, :size, 1:] = weight_BMN.masked_fill(~filled_BM[..., None], 0)
        rows_B = torch.arange(batch, device=unit_BNC.device)
        weight_BMT[rows_B, counts_B, 1:] = attention_BN.masked_fill(kept_BN, 0)
        return TokenMap.dense(weight_BMT)


@dataclass(frozen=True)
class PruMergePlus(PruMerge):
    """The same, and patches at equal distances in raster order among those that are kept, behind the outstanding ones.

    With M of N patches outstanding, every ⌊⌊N / M⌋ / 3⌋-th of the first N - 1. Where `keep` is given, so many at equal distances
    among those that do not stand out as are missing; and raises no error for pictures in which too few or too many do: as
    published, that is where no patch stands out, or so many that a distance of 1 would keep all.
    """

    def _found(self, attention_BN: Tensor) -> Tensor:
        n = attention_BN.shape[1]
        outstanding_BN = _outstanding(attention_BN)
        counts_B = (outstanding_BN > 0).sum(1)
        if not bool(counts_B.all()):
            raise InvalidInput(
                f"no patch of item {int(counts_B.argmin())} stands out, which sets the distance; use PruMerge, or give keep"
            )
        steps_B = n // counts_B // 3
        if bool((steps_B < 2).any()):
            b = int(steps_B.argmin())
            raise InvalidInput(
                f"{counts_B[b]} of {n} patches of item {b} stand out; a distance of 1 keeps all: use PruMerge, or give keep"
            )
        place_N = torch.arange(n, device=attention_BN.device)
        spaced_BN = (place_N % steps_B[:, None] == 0) & (place_N < n - 1)
        return torch.where(spaced_BN & (outstanding_BN < 0), -1.0 - place_N, outstanding_BN)

    def _told(self, attention_BN: Tensor, patches: int) -> Tensor:
        best_BN, others_BN = super()._told(attention_BN, patches), ~outliers(attention_BN)
        kept_BN = best_BN.masked_fill(others_BN, -torch.inf)
        missing_B1 = patches - (kept_BN > 0).sum(1, keepdim=True)
        # The k-th of those that do not stand out is taken where k times the share that is wanted passes a whole number.
        passed_BN = others_BN.cumsum(1) * missing_B1 // others_BN.sum(1, keepdim=True)
        spaced_BN = others_BN & (passed_BN > passed_BN.roll(1, 1).index_fill(1, passed_BN.new_zeros(1), 0))
        place_N = torch.arange(attention_BN.shape[1], device=attention_BN.device)
        return torch.where(spaced_BN, -1.0 - place_N, kept_BN)


def _outstanding(attention_BN: Tensor) -> Tensor:
    """The attention of outliers, > 0; -inf for others."""
    return attention_BN.where(outliers(attention_BN), -torch.inf)
