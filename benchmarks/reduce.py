"""Reducers against their bars and against what one would write first; another case is another entry of `CASES`.

All on one thread. The tokens of a picture of LLaVA-NeXT, 5 crops of 576, are made up: smooth fields of low rank with noise, as
neighbouring patches are alike; for the worst case they are noise alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from clock import best
from tokenloom.reduce.divprune import DivPrune
from tokenloom.reduce.hiprune import HiPrune

__all__ = ["CASES", "Case", "run"]


@dataclass(frozen=True)
class Case:
    """Two ways to the same result.

    Args:
        name: with the unit of time.
        make: called with a generator, returns the arguments of the next two.
        ours: returns token indices.
        theirs: likewise, to the same ones.
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


CASES = [
    Case("DivPrune, 282 of 2,880 x 4,096, s", _picture, lambda x: DivPrune(keep=282)(x[None]).index_BM[0], _all_pairs,
         "≤ 0.3", "against torch with the matrix of all pairs"),
    Case("DivPrune, noise alone, s", _noise, lambda x: DivPrune(keep=282)(x[None]).index_BM[0], _all_pairs,
         None, "the worst case: no bound helps to find the first pick"),
    Case("HiPrune, 128 of 576 x 1,024, ms", _crop, _hiprune, _listed, "≤ 1", "against lists; checks included", 1e-3),
]  # fmt: skip


def run(quick: bool = False) -> list[dict]:
    """All cases; both ways must come to the same tokens."""
    threads, runs = torch.get_num_threads(), 2 if quick else 5
    torch.set_num_threads(1)
    try:
        return [_row(case, runs) for case in CASES]
    finally:
        torch.set_num_threads(threads)


def _row(case: Case, runs: int) -> dict:
    given = case.make(torch.Generator().manual_seed(0))
    if not torch.equal(case.ours(*given), case.theirs(*given)):
        raise SystemExit(f"{case.name}: the tokens differ")
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
