"""Which tokens of each item are kept, and the map of fewer tokens that makes."""
# B batch, N tokens, M tokens kept of the item that keeps most

from __future__ import annotations

import torch
from torch import Tensor

from ..core.token_map import TokenMap

__all__ = ["best_of_each", "keep_where", "outliers"]


def keep_where(kept_BN: Tensor) -> TokenMap:
    """Keep the tokens that are marked, in the original order; items may keep different numbers of them.

    Args:
        kept_BN: bool.

    >>> keep_where(torch.tensor([[False, True, True], [True, False, False]])).index_BM.tolist()
    [[1, 2], [0, -1]]
    """
    counts_B1 = kept_BN.sum(1, keepdim=True)
    order_BN = kept_BN.sort(dim=1, descending=True, stable=True).indices
    index_BN = torch.where(torch.arange(kept_BN.shape[1], device=kept_BN.device) < counts_B1, order_BN, -1)
    return TokenMap.keep(index_BN[:, : int(counts_B1.max())], of=kept_BN.shape[1])


def best_of_each(scores_BN: Tensor, counts_B: Tensor) -> Tensor:
    """Which tokens are among the best of their item, so many of each; the lower index of equals: bool (B, N).

    >>> best_of_each(torch.tensor([[1.0, 3.0, 3.0], [2.0, 1.0, 0.0]]), torch.tensor([1, 2])).tolist()
    [[False, True, False], [True, True, False]]
    """
    order_BN = scores_BN.sort(dim=1, descending=True, stable=True).indices
    ranked_BN = torch.arange(scores_BN.shape[1], device=scores_BN.device) < counts_B[:, None]
    return torch.zeros_like(ranked_BN).scatter(1, order_BN, ranked_BN)


def outliers(scores_BN: Tensor) -> Tensor:
    """Those above the third quartile by more than 1.5 times the distance of the quartiles, bool (B, N)."""
    first_B1, third_B1 = scores_BN.quantile(scores_BN.new_tensor([0.25, 0.75]), dim=1)[..., None]
    return scores_BN > third_B1 + 1.5 * (third_B1 - first_B1)
