"""Token Transforming: let every token that is left draw on several, and every token reach several of those that are left.

Pruning keeps single tokens and merging groups them; both are matrices whose columns have one value at most. Here a token goes to
several of the informative ones that it resembles, so that less is lost and nothing need be trained. Zeng et al. 2025,
"Token Transforming", arXiv 2506.05709. The authors have published no code; the construction here is inferred from the paper's
framework; its temperature, its number of columns, and that kept tokens are not blurred with each other, are ours.
"""
# B batch, N patches, M kept, K kept patches that each goes to, H heads, C width of a key

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, check_scores, tokens_kept, top
from .keys import check_masses, unit_keys
from .signals import Signal, given

__all__ = ["TokenTransforming"]


@dataclass(frozen=True)
class TokenTransforming:
    """Keep the patches that receive most attention, as means over what is like them.

    For a kept patch i and a patch j of mass m_j that is not kept, W_ij ~ m_j exp(cos(k_i, k_j) / temperature) where i is among
    the `columns` kept patches most like j, and 0 elsewhere; a kept patch goes to its own row. Rows sum to 1.

    Args:
        keep: patches left, or a fraction of them; 1.0 changes nothing. The paper's setting of about 40% less work is 0.7 after
            blocks 4, 7 and 10 of 12: `attach(vit, dict.fromkeys((4, 7, 10), TokenTransforming(0.7)))`.
        temperature: > 0; towards 0 it prunes.
        columns: rows that a patch goes to at most. 1 merges: with `norm="column"`, plain groups.
        threshold: cosine below which a patch does not go to another; a patch that goes nowhere is dropped.
        shared: kept patches go to other rows as well, to `columns` in all. Over several blocks that blurs them.
        norm: "row" for the softmax of a row; "column" divides each patch among its rows by a softmax first, then each row by
            its sum.
        proportional: later blocks add log(mass) to the attention of each key, the mass being what went into a token.
        score: "received" for the attention of all tokens, "cls" for that of the class token.
    Raises: InvalidInput: a setting out of range.

    >>> x = torch.tensor([[[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]])
    >>> reduce = TokenTransforming(keep=2, columns=1, norm="column")
    >>> found = reduce(x, attention_BN=torch.tensor([[0.5, 0.2, 0.3]]), keys_BNHC=x[:, :, None], mass_BN=torch.ones(1, 3))
    >>> found.kind, found.matrix().tolist()
    ('many-to-one', [[[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]])
    """

    keep: int | float
    temperature: float = 0.1
    columns: int = 2
    threshold: float = -math.inf
    shared: bool = False
    norm: Literal["row", "column"] = "row"
    score: Literal["received", "cls"] = "received"
    proportional: bool = True

    def __post_init__(self) -> None:
        check_budget(self.keep)
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise InvalidInput(f"temperature={self.temperature}; it must be a number above 0")
        if self.columns < 1:
            raise InvalidInput(f"columns={self.columns}; each patch goes to at least 1 row")
        if math.isnan(self.threshold):
            raise InvalidInput("threshold is not a number")
        if self.norm not in ("row", "column"):
            raise InvalidInput(f'norm={self.norm!r}; it must be "row" or "column"')
        if self.score not in ("received", "cls"):
            raise InvalidInput(f'score={self.score!r}; it must be "received" or "cls"')

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Attention, keys and masses of the block's patches."""
        attention = Signal("received_attention" if self.score == "received" else "cls_attention")
        return {"attention": attention, "keys": Signal("keys"), "mass": Signal("mass")}

    def __call__(
        self,
        x_BND: Tensor,
        *,
        attention_BN: Tensor | None = None,
        keys_BNHC: Tensor | None = None,
        mass_BN: Tensor | None = None,
    ) -> TokenMap:
        """Transform `x_BND`, floating point (B, N, D).

        Args:
            attention_BN: that each patch receives, of all or of the class token.
            keys_BNHC: of the block's attention; the mean over heads is compared.
            mass_BN: how many patches each stands for, > 0; at first 1.
        Returns: rows in the order of the kept patches.
        Raises: InvalidInput: `keep` exceeds N, values that do not fit or are not finite. MissingSignal.
        """
        attention_BN = given(attention_BN, self.needs["attention"].kind, self)
        keys_BNHC, mass_BN = given(keys_BNHC, "keys", self), given(mass_BN, "mass", self)
        check_features(x_BND)
        batch, n, _ = x_BND.shape
        m = tokens_kept(self.keep, n)
        check_scores(attention_BN, x_BND.shape[:2], "attention_BN")
        check_masses(mass_BN, x_BND.shape[:2])
        unit_BNC = unit_keys(keys_BNHC, x_BND)
        if m == n:
            return TokenMap.identity(batch, n, x_BND.device)
        kept_BM = top(attention_BN.float(), m).sort(1).values
        target_BNK, similar_BNK = self._nearest(unit_BNC, kept_BM)
        parts_BNK = self._parts(target_BNK, similar_BNK / self.temperature, mass_BN.detach().float()[..., None], m)
        row_BL = target_BNK.clamp(min=0).flatten(1)
        sums_BM = parts_BNK.new_zeros(batch, m).scatter_add(1, row_BL, parts_BNK.flatten(1))
        return TokenMap.merge(target_BNK, m, parts_BNK / sums_BM.gather(1, row_BL).view(target_BNK.shape))

    def _nearest(self, unit_BNC: Tensor, kept_BM: Tensor) -> tuple[Tensor, Tensor]:
        """The rows that each patch goes to, -1 for none, and how like they are: (B, N, K)."""
        m = kept_BM.shape[1]
        kept_BMC = unit_BNC.gather(1, kept_BM[..., None].expand(-1, -1, unit_BNC.shape[2]))
        similar_BNM = unit_BNC @ kept_BMC.transpose(1, 2)
        # A kept patch comes first in its own column, before copies of it; no row is empty then.
        own_BNM = torch.zeros_like(similar_BNM, dtype=torch.bool).scatter(1, kept_BM[:, None], True)
        left_BNM = similar_BNM.masked_fill(own_BNM, torch.inf)
        if not self.shared:
            left_BNM = left_BNM.masked_fill(own_BNM.any(2, keepdim=True) & ~own_BNM, -torch.inf)
        targets, similar = [], []
        for _ in range(min(self.columns, m)):
            best_BN1, row_BN1 = left_BNM.max(2, keepdim=True)
            goes_BN1 = (best_BN1 >= self.threshold) & (best_BN1 > -torch.inf)
            targets.append(torch.where(goes_BN1, row_BN1, -1))
            similar.append(best_BN1.clamp(max=1))
            left_BNM = left_BNM.scatter(2, row_BN1, -torch.inf)
        return torch.cat(targets, 2), torch.cat(similar, 2)

    def _parts(self, target_BNK: Tensor, logits_BNK: Tensor, mass_BN1: Tensor, m: int) -> Tensor:
        """How much of each patch goes to its rows, up to a factor of the row; 0 where it goes nowhere."""
        if self.norm == "column":
            # The first of K is the largest, and goes nowhere only if all do.
            parts_BNK = (logits_BNK - logits_BNK[..., :1]).exp().masked_fill(target_BNK < 0, 0)
            return mass_BN1 * parts_BNK / parts_BNK.sum(2, keepdim=True).clamp(min=1)
        logits_BNK = (logits_BNK + mass_BN1.log()).masked_fill(target_BNK < 0, -torch.inf)
        row_BL = target_BNK.clamp(min=0).flatten(1)
        best_BM = logits_BNK.new_full((len(row_BL), m), -torch.inf)
        best_BM = best_BM.scatter_reduce(1, row_BL, logits_BNK.flatten(1), "amax")
        return (logits_BNK - best_BM.gather(1, row_BL).view(target_BNK.shape)).exp()
