"""The laws of maps from tokens to fewer tokens."""
# B batch, N tokens in, M tokens out, D width

from collections.abc import Iterable

import torch
from torch import Tensor

from ..core.token_map import TokenMap

__all__ = ["check_token_map"]


def check_token_map(found: TokenMap, *, then: Iterable[TokenMap] = ()) -> None:
    """A map does what its matrix says, and everything that it tells of itself is true of the matrix.

    Args:
        found: what is checked.
        then: maps that take its rows; each is composed with it.
    Raises: AssertionError: naming the law and the map's matrix.
    """
    weight = found.matrix().detach().double()
    batch, size, n = found.shape
    told = f"W = {weight.tolist()}"
    assert weight.shape == found.shape, f"a map of shape {found.shape} has a matrix of {tuple(weight.shape)}"
    x_BND = _features(batch, n)
    _same(found.apply(x_BND), weight @ x_BND, f"apply is not W X: {told}")
    assert found.apply(x_BND.bfloat16()).dtype == torch.bfloat16, "apply changes the dtype of bfloat16 features"

    sums_B1N = weight.sum(1, keepdim=True)
    parts = torch.where(sums_B1N == 0, 0, weight / torch.where(sums_B1N == 0, 1, sums_B1N))
    y_BMD = _features(batch, size)
    _same(found.lift(y_BMD), parts.transpose(1, 2) @ y_BMD, f"lift is not the mean of a token's rows: {told}")

    for after in then:
        both = after @ found
        later = after.matrix().detach().double()
        _same(both.matrix(), later @ weight, f"the matrix of a composition is not the product: {told}")
        z_BND = _features(both.shape[0], n)
        x = found.apply(z_BND)
        _same(both.apply(z_BND), after.apply(x), f"(a @ b).apply(x) is not a.apply(b.apply(x)): {told}")

    sources = weight != 0
    assert torch.equal(found.sources_BMN, sources), f"sources_BMN is not where W is not zero: {told}"
    assert torch.equal(found.sizes_BM, sources.sum(2)), f"sizes_BM is not the number of sources: {told}"
    assert torch.equal(found.counts_B, sources.any(2).sum(1)), f"counts_B is not the number of filled rows: {told}"
    mass_BN = torch.arange(1.0, n + 1, dtype=torch.float64).expand(batch, n)
    went_BN = sums_B1N[:, 0] != 0
    _same(found.mass(mass_BN).sum(1), (mass_BN * went_BN).sum(1), f"mass is lost or made: {told}")
    _same(found.mass(), parts.sum(2), f"mass is not divided by the weights: {told}")
    for b in range(batch):
        _check_rows(found, weight[b], b)
    filled = weight.sum(2)[sources.any(2)]
    assert found.rows_sum_to_one == bool(((filled - 1).abs() < 1e-4).all()), f"rows_sum_to_one is wrong: {told}"
    kind = (
        "many-to-many"
        if bool((sources.sum(1) > 1).any())
        else "many-to-one" if bool((sources.sum(2) > 1).any()) else "one-to-one"
    )  # fmt: skip
    assert found.kind == kind, f"kind is {found.kind}, not {kind}: {told}"


def _check_rows(found: TokenMap, weight_MN: Tensor, b: int) -> None:
    for row, position in zip(weight_MN.tolist(), found.positions_BM[b].tolist()):
        most = max(map(abs, row), default=0)
        right = -1 if most == 0 else [abs(w) for w in row].index(most)
        assert position == right, f"position {position} stands for the row {row}, not {right}"
    item = found.item(b)
    filled = weight_MN[(weight_MN != 0).any(1)]
    assert item.shape == (1, *filled.shape), f"item {b} has shape {item.shape}, not (1, {tuple(filled.shape)})"
    _same(item.matrix()[0], filled, f"item {b} is not its filled rows")
    x_BND = _features(1, weight_MN.shape[1])
    _same(item.apply(x_BND)[0], filled @ x_BND[0], f"item {b} is applied differently")


def _features(batch: int, n: int) -> Tensor:
    """Different whole numbers, so that errors show."""
    return ((torch.arange(batch * n * 3, dtype=torch.float64) * 7919) % 101 - 50).view(batch, n, 3)


def _same(found: Tensor, right: Tensor, law: str) -> None:
    assert found.shape == right.shape, f"{law}; shapes {tuple(found.shape)} and {tuple(right.shape)}"
    # 1e-5 of the sum of magnitudes that a float32 weight may bring in.
    assert torch.allclose(found.detach().double(), right, rtol=1e-4, atol=1e-3), f"{law}; {found.tolist()}"
