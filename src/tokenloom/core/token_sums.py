"""Sums, picks and shares along the tokens of a batch, which several forms of a `TokenMap` need."""
# B batch, N tokens in, M tokens out, K rows that a token goes to, D width

import torch
from torch import Tensor

__all__ = ["added", "first_largest", "parts", "picked", "scattered", "taken", "wide"]


def wide(x: Tensor) -> Tensor:
    """In float32 at least, in which sums are made."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def parts(weight: Tensor, rows: int) -> Tensor:
    """Each token's weights as parts of their sum over the rows, an axis; none where the sum is zero."""
    if weight.shape[rows] == 1:  # ToMe asks in every block
        return (weight != 0).to(weight.dtype)
    sums = weight.sum(rows, keepdim=True)
    return torch.where(sums == 0, 0, weight / torch.where(sums == 0, 1, sums))


def first_largest(values_BMN: Tensor) -> Tensor:
    """argmax over the last axis, which takes the first of equal values on every device."""
    return (values_BMN == values_BMN.max(-1, keepdim=True).values).to(torch.uint8).argmax(-1)


def scattered(target_BNK: Tensor, values_BNK: Tensor, size: int) -> Tensor:
    """Sums of the values that go to each row, (B, M)."""
    place = torch.where(target_BNK < 0, size, target_BNK).flatten(1)
    return values_BNK.new_zeros(place.shape[0], size + 1).scatter_add(1, place, values_BNK.flatten(1))[:, :size]


def taken(x_BND: Tensor, index_BM: Tensor) -> Tensor:
    """Rows of each item, (B, M, D); whole rows at once, some ten times faster than `gather`."""
    batch, n, width = x_BND.shape
    rows_BM = index_BM + torch.arange(batch, device=x_BND.device)[:, None] * n
    return x_BND.flatten(0, 1).index_select(0, rows_BM.flatten()).view(batch, -1, width)


def picked(values_BM: Tensor, index: Tensor, missing: int = 0) -> Tensor:
    """`values_BM` at (B, …) indices; `missing` where they are -1."""
    found = values_BM.gather(1, index.clamp(min=0).flatten(1)).view(index.shape)
    return torch.where(index < 0, missing, found)


def added(target_BNK: Tensor, share_BNK: Tensor, x_BND: Tensor, size: int) -> Tensor:
    """The weighted sums of tokens in each row, (B, M, D)."""
    batch, _, width = x_BND.shape
    # Row M takes what goes nowhere.
    rows = torch.arange(batch, device=x_BND.device)[:, None] * (size + 1)
    out = x_BND.new_zeros(batch * (size + 1), width)
    for k in range(target_BNK.shape[2]):
        place = (torch.where(target_BNK[..., k] < 0, size, target_BNK[..., k]) + rows).flatten()
        out.index_add_(0, place, (share_BNK[..., k, None].to(x_BND.dtype) * x_BND).flatten(0, 1))
    return out.view(batch, size + 1, width)[:, :size]
