"""Reducers against their bars and against what one would write first; another case is another entry of `CASES`.

All on one thread. The tokens of a picture of LLaVA-NeXT, 5 crops of 576, are made up: smooth fields of low rank with noise, as
neighbouring patches are alike; for the worst case they are noise alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import fold, interpolate, normalize, unfold

from clock import best
from tokenloom.models.super_token_attention import associate
from tokenloom.reduce.divprune import DivPrune
from tokenloom.reduce.hiprune import HiPrune
from tokenloom.reduce.prumerge import PruMerge
from tokenloom.reduce.tome import ToMe

__all__ = ["CASES", "Case", "run"]


@dataclass(frozen=True)
class Case:
    """Two ways to the same result.

    Args:
        name: with the unit of time.
        make: called with a generator, returns the arguments of the next two.
        ours: returns token indices, or features.
        theirs: likewise, and the same.
        bar: see `run.py`.
        note: of what is compared.
        unit: seconds are divided by it.
    """

    name: str
    make: Callable[[torch.Generator], tuple[Any, ...]]
    ours: Callable[..., Tensor]
    theirs: Callable[..., Tensor]
    bar: str | None
    note: str
    unit: float = 1.0


def _picture(generator: torch.Generator) -> tuple[Tensor]:
    low = torch.randn(5, 64, 6, 6, generator=generator)
    fields = interpolate(low, (24, 24), mode="bicubic").flatten(2).transpose(1, 2).reshape(2880, 64)
    x = fields @ torch.randn(64, 4096, generator=generator) / 8
    return (x + 0.3 * torch.randn(x.shape, generator=generator),)


def _noise(generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(2880, 4096, generator=generator),)


def _all_pairs(x_ND: Tensor, m: int = 282) -> Tensor:
    """DivPrune with the whole matrix of distances, of which a row is used after each pick."""
    unit = normalize(x_ND, dim=1)
    distance = 1 - unit @ unit.T
    picks = [int(distance.topk(2, dim=0, largest=False).values[1].argmax())]
    least = distance[picks[0]].clone()
    while len(picks) < m:
        least[picks[-1]] = -1
        picks.append(int(least.argmax()))
        least = torch.minimum(least, distance[picks[-1]])
    return torch.tensor(picks).sort().values


def _crop(generator: torch.Generator) -> tuple[Tensor, ...]:
    x = torch.randn(1, 576, 1024, generator=generator)
    return x, *(torch.rand(1, 576, generator=generator) for _ in range(2))


def _hiprune(x: Tensor, middle: Tensor, deep: Tensor) -> Tensor:
    found = HiPrune(keep=128)(x, object_attention_BN=middle, deep_attention_BN=deep, grid=(24, 24))
    return found.index_BM[0]


def _listed(x: Tensor, middle: Tensor, deep: Tensor) -> Tensor:
    """HiPrune on lists."""
    one, two = middle[0].tolist(), deep[0].tolist()
    anchors = sorted(range(576), key=lambda i: -one[i])[: round(128 * 0.1 / 5)]
    kept = {min(max(a + step, 0), 575) for a in anchors for step in (0, -1, 1, -24, 24)}
    rest = sorted((i for i in range(576) if i not in kept), key=lambda i: -two[i])
    return torch.tensor(sorted(kept | set(rest[: 128 - len(kept)])))


def _block(batch: int, n: int, heads: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """What ToMe is given behind the attention of a block: features, keys, masses; a class token first."""

    def make(generator: torch.Generator) -> tuple[Tensor, ...]:
        x = torch.randn(batch, n + 1, 64 * heads, generator=generator)
        keys = torch.randn(batch, n + 1, heads, 64, generator=generator)
        return x, keys, torch.randint(1, 4, (batch, n + 1), generator=generator).float()

    return make


def _tome(x: Tensor, keys: Tensor, mass: Tensor) -> Tensor:
    found = ToMe(r=16)(x[:, 1:], keys_BNHC=keys[:, 1:], mass_BN=mass[:, 1:], offset=1)
    found.mass(mass[:, 1:])
    return found.apply(x[:, 1:])


def _matcher(x: Tensor, keys: Tensor, mass: Tensor) -> Tensor:
    """The same by gathering and scattering, without checks and without a map."""
    unit = normalize(keys.mean(2), dim=2)
    scores = unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)
    scores[:, 0] = -torch.inf
    best_, match = scores.max(2)
    order = best_.argsort(dim=1, descending=True)[..., None]
    merged, left = order[:, :16], order[:, 16:].sort(1).values
    into = match[..., None].gather(1, merged)

    def summed(values: Tensor) -> Tensor:
        width = values.shape[2]
        even, odd = values[:, ::2], values[:, 1::2]
        added = odd.scatter_add(1, into.expand(-1, -1, width), even.gather(1, merged.expand(-1, -1, width)))
        return torch.cat([even.gather(1, left.expand(-1, -1, width)), added], 1)

    return (summed(x * mass[..., None]) / summed(mass[..., None]))[:, 1:]


def _prumerge_inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
    x, keys = (torch.randn(577, 1024, generator=generator) for _ in range(2))
    return x, keys, 12 * torch.randn(1024, generator=generator)


def _prumerge(x: Tensor, keys: Tensor, query: Tensor) -> Tensor:
    split = {"keys_BTHC": keys.view(1, 577, 16, 64), "query_BHC": query.view(1, 16, 64)}
    return PruMerge()(x[None], **split, prefix=1).apply(x[None])[0]


def _one_by_one(x: Tensor, keys: Tensor, query: Tensor) -> Tensor:
    """PruMerge with a loop over the patches that are kept, as published."""
    attention = (keys @ query / 1024**0.5).softmax(0)[1:]
    x, unit = x[1:], normalize(keys[1:], dim=1)
    first, third = attention.quantile(0.25), attention.quantile(0.75)
    kept = [int(i) for i in attention.argsort(descending=True) if attention[i] > third + 1.5 * (third - first)]
    rows = []
    for i in kept:
        alike = unit @ unit[i]
        alike[i] = -2
        near = alike.topk(32).indices
        rows.append(x[i] + attention[near] @ x[near])
    rest = attention.clone()
    rest[kept] = 0
    return torch.stack([*rows, rest @ x])


def _map(generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(1, 64, 56, 56, generator=generator),)


def _super_tokens(x: Tensor) -> Tensor:
    found = associate(x, (8, 8))
    return found.restore(found.sample())


def _unfolded(x: Tensor) -> Tensor:
    """Super tokens of cells of 8 x 8 by unfolding and folding, as published."""
    pixels = x.view(64, 7, 8, 7, 8).permute(1, 3, 2, 4, 0).reshape(49, 64, 64)

    def around(cells: Tensor) -> Tensor:
        return unfold(cells.T.reshape(1, 64, 7, 7), 3, padding=1).view(64, 9, 49).permute(2, 0, 1)

    weights = (pixels @ around(pixels.mean(1)) / 8).softmax(2)
    totals = fold((pixels.transpose(1, 2) @ weights).permute(1, 2, 0).reshape(1, 576, 49), (7, 7), 3, padding=1)
    sums = fold(weights.sum(1).T[None], (7, 7), 3, padding=1)
    restored = weights @ around((totals / sums).view(64, 49).T).transpose(1, 2)
    return restored.view(7, 7, 8, 8, 64).permute(4, 0, 2, 1, 3).reshape(1, 64, 56, 56)


CASES = [
    Case("DivPrune, 282 of 2,880 x 4,096, s", _picture, lambda x: DivPrune(keep=282)(x[None]).index_BM[0], _all_pairs,
         "≤ 0.3", "against torch with the matrix of all pairs"),
    Case("DivPrune, noise alone, s", _noise, lambda x: DivPrune(keep=282)(x[None]).index_BM[0], _all_pairs,
         None, "the worst case: no bound helps to find the first pick"),
    Case("HiPrune, 128 of 576 x 1,024, ms", _crop, _hiprune, _listed, "≤ 1", "against lists; checks included", 1e-3),
    Case("ToMe, 16 of 8 x 196 x 384, ms", _block(8, 196, 6), _tome, _matcher, "≥ 0.83 ×", "against gather and scatter", 1e-3),
    Case("ToMe, 16 of 576 x 1,024, ms", _block(1, 576, 16), _tome, _matcher, "≥ 0.83 ×", "against gather and scatter", 1e-3),
    Case("ToMe, 16 of 196 x 384, ms", _block(1, 196, 6), _tome, _matcher, None, "one small picture: checks and the map count", 1e-3),
    Case("PruMerge, 576 x 1,024, ms", _prumerge_inputs, _prumerge, _one_by_one, None, "against a loop over kept patches", 1e-3),
    Case("super tokens, 56 x 56 x 64, ms", _map, _super_tokens, _unfolded, "≥ 0.83 ×", "sample and restore, against unfold and fold", 1e-3),
]  # fmt: skip


def run(quick: bool = False) -> list[dict]:
    """All cases; both ways must come to the same."""
    threads, runs = torch.get_num_threads(), 3 if quick else 20
    torch.set_num_threads(1)
    try:
        return [_row(case, runs) for case in CASES]
    finally:
        torch.set_num_threads(threads)


def _row(case: Case, runs: int) -> dict:
    given = case.make(torch.Generator().manual_seed(0))
    if not torch.allclose(case.ours(*given), case.theirs(*given), atol=1e-4):
        raise SystemExit(f"{case.name}: the results differ")
    ours, theirs = best(lambda: case.ours(*given), runs), best(lambda: case.theirs(*given), runs)
    return {
        "name": case.name,
        "ours": ours / case.unit,
        "theirs": theirs / case.unit,
        "ratio": theirs / ours,
        "bar": case.bar,
        "note": case.note,
    }


if __name__ == "__main__":
    from run import show

    show(run())
