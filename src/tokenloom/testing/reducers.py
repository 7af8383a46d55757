"""The laws of reducers: from features and signals to a map."""
# B batch, N tokens in, M tokens out, D width

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap

__all__ = ["check_reducer"]


def check_reducer(
    reducer: Any,
    x_BND: Tensor,
    signals: Mapping[str, Any] | None = None,
    *,
    rows: int | None = None,
    whole: bool = False,
) -> None:
    """A reducer keeps its budget, all at 1.0, treats each item as if it were alone, and refuses what it cannot use.

    Args:
        reducer: a frozen dataclass with `needs` and `__call__`.
        x_BND: floating point (B, N, D), finite; two items or more, else nothing is seen of batches.
        signals: its other arguments by keyword. A tensor whose first axis is B is divided among the items; a function is called
            for a fresh value whenever the reducer is run anew, such as `lambda: torch.Generator().manual_seed(0)`.
        rows: M; None for what `keep` says, a number or a share rounded, where the reducer has this setting.
        whole: its items belong together, as the crops of one picture do, and are not tried alone.
    Raises: AssertionError: naming the law.
    """
    name, given = type(reducer).__name__, dict(signals or {})
    batch, n, _ = x_BND.shape
    found = reducer(x_BND, **_fresh(given))
    assert isinstance(found, TokenMap), f"{name} returns {type(found).__name__}, not a TokenMap"
    assert found.shape[0] == batch and found.shape[2] == n, f"{name}: shape {found.shape} for features of {batch}, {n}"
    again = reducer(x_BND, **_fresh(given))
    assert torch.equal(found.matrix(), again.matrix()), f"{name}: the same input, another map"
    has_keep = getattr(reducer, "keep", None) is not None
    if rows is None and has_keep and not whole:
        rows = reducer.keep if isinstance(reducer.keep, int) else max(1, round(reducer.keep * n))
    if rows is not None:
        assert found.counts_B.tolist() == [rows] * batch, f"{name}: {found.counts_B.tolist()} tokens, not {rows} each"
    if found.index_BM is not None:
        for kept in found.index_BM.tolist():
            right = sorted({i for i in kept if i >= 0})
            assert kept[: len(right)] == right and set(kept[len(right) :]) <= {-1}, f"{name}: {kept} is not sorted"
    if has_keep:
        everything = replace(reducer, keep=1.0)(x_BND, **_fresh(given)).matrix()
        # Those that are given the tokens before the patches may leave these out.
        identity = torch.eye(n)[n - everything.shape[1] if "prefix" in reducer.needs else 0 :].expand(batch, -1, -1)
        assert torch.equal(everything.float().cpu(), identity), f"{name}: keep=1.0 is not the identity"
    if not whole:
        _check_alone(reducer, name, x_BND, given, found)
    half = {key: value.bfloat16() if _floating(value) else value for key, value in _fresh(given).items()}
    reduced = reducer(x_BND.bfloat16(), **half).apply(x_BND.bfloat16())
    assert reduced.dtype == torch.bfloat16 and bool(torch.isfinite(reduced).all()), f"{name}: bfloat16 does not run"
    _check_refusals(reducer, name, x_BND, given)


def _check_alone(reducer: Any, name: str, x_BND: Tensor, given: Mapping[str, Any], found: TokenMap) -> None:
    values = _fresh(given)
    for b in range(len(x_BND)):
        own = {
            key: value[b : b + 1] if isinstance(value, Tensor) and len(value) == len(x_BND) else value
            for key, value in values.items()
        }
        alone, among = reducer(x_BND[b : b + 1], **own).item(0), found.item(b)
        assert alone.shape == among.shape, (
            f"{name}: item {b} has {alone.shape[1]} rows alone, {among.shape[1]} in a batch"
        )
        assert torch.allclose(alone.matrix(), among.matrix(), atol=1e-5), (
            f"{name}: item {b} alone differs from the batch"
        )


def _check_refusals(reducer: Any, name: str, x_BND: Tensor, given: Mapping[str, Any]) -> None:
    broken = x_BND.clone()
    broken[-1, -1, -1] = torch.nan
    _refused(partial(reducer, broken, **_fresh(given)), f"{name} takes features that are NaN", "")
    for key, signal in reducer.needs.items():
        without = {k: value for k, value in _fresh(given).items() if not _means(k, key)}
        _refused(partial(reducer, x_BND, **without), f"{name} runs without {key}", signal.kind)
        for k, value in _fresh(given).items():
            if _floating(value) and _means(k, key):
                nan = {**_fresh(given), k: torch.full_like(value, torch.nan)}
                _refused(partial(reducer, x_BND, **nan), f"{name} takes {k} that is NaN", "")


def _refused(work: Callable[[], object], law: str, words: str) -> None:
    try:
        work()
    except InvalidInput as error:
        assert words in str(error), f"{law}: the message does not name {words}: {error}"
    else:
        raise AssertionError(law)


def _means(keyword: str, key: str) -> bool:
    """Whether a keyword is a need's name, with or without its shape."""
    return keyword == key or (keyword.startswith(f"{key}_") and keyword[len(key) + 1 :].isupper())


def _floating(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _fresh(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value() if callable(value) else value for key, value in given.items()}
