"""Tokens that become fewer: `Y = W X`, a matrix that is mostly implied.

Pruning keeps some of N tokens, merging and pooling add them up in groups, and more general methods mix them freely. All are
one matrix W of M rows and N columns, and three forms of it are cheap: the index of the token that each row keeps; the few
rows that each token goes to, with its weight in each; and the matrix itself. The algebra is that of Zeng et al. 2025
(Token Transforming, arXiv 2506.05709), which tells the kinds of reduction apart by where W is not zero.
"""
# B batch, N tokens in, M tokens out, P tokens out of a second map, K rows that a token goes to, D width

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from .errors import InvalidInput
from .token_sums import added, first_largest, parts, picked, scattered, taken, wide

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["TokenMap"]


@dataclass(frozen=True, eq=False)
class TokenMap:
    """A batch of matrices that turn N tokens into M; made by `keep`, `merge` or `dense`.

    Items may have fewer than M rows: the others are empty (all zero), and `counts_B` tells how many are not. A map of one item
    is applied to any number of them.

    Args:
        shape: (B, M, N).
        index_BM: of a map that keeps tokens: which one each row is, int64, -1 for an empty row.
        target_BNK: of a map that merges: the rows that each token goes to, int64, -1 for none.
        share_BNK: and its weights in them, floating point.
        weight_BMN: of a dense map: W.

    >>> pairs = TokenMap.merge(torch.tensor([[0, 0, 1, -1]]), 2)
    >>> pairs.apply(torch.tensor([[[2.0], [4.0], [5.0], [9.0]]]))[0, :, 0].tolist()
    [3.0, 5.0]
    >>> (TokenMap.keep(torch.tensor([[1]]), of=2) @ pairs).matrix().tolist()
    [[[0.0, 0.0, 1.0, 0.0]]]
    """

    shape: tuple[int, int, int]
    index_BM: Tensor | None = None
    target_BNK: Tensor | None = None
    share_BNK: Tensor | None = None
    weight_BMN: Tensor | None = None

    @classmethod
    def keep(cls, index_BM: Tensor, *, of: int) -> TokenMap:
        """Keep some tokens, in the order given.

        Args:
            index_BM: int64 (B, M), no token twice; -1 behind the last one, where an item keeps fewer.
            of: N.
        Raises: InvalidInput: another shape or dtype, an index that is out of range, twice there or behind a -1.
        """
        _check_integers(index_BM, "index_BM", of, dims=2)
        ordered = index_BM.sort(1).values
        if bool(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any()):
            raise InvalidInput("index_BM has an index twice; a map keeps each token once")
        if bool(((index_BM[:, :-1] < 0) & (index_BM[:, 1:] >= 0)).any()):
            raise InvalidInput("index_BM has a token behind a -1; empty rows come last")
        return cls((*index_BM.shape, of), index_BM=index_BM)

    @classmethod
    def identity(cls, batch: int, n: int, device: torch.device | str = "cpu") -> TokenMap:
        """Keep all of `n` tokens."""
        return cls((batch, n, n), index_BM=torch.arange(n, device=device).expand(batch, n))

    @classmethod
    def merge(cls, target: Tensor, size: int, share: Tensor | None = None) -> TokenMap:
        """Send each token to a row, or to several.

        Args:
            target: int64 (B, N) or (B, N, K): rows; -1 for none.
            size: M.
            share: weights, floating point, of the same shape; None for the mean of what goes to a row.
        Raises: InvalidInput: shapes or dtypes that do not fit, a row out of range, weights that are not finite.
        """
        target_BNK = target[..., None] if target.dim() == 2 else target
        _check_integers(target_BNK, "target", size, dims=3)
        if share is None:
            ones_BNK = (target_BNK >= 0).float()
            sums_BM = scattered(target_BNK, ones_BNK, size)
            share_BNK = ones_BNK / picked(sums_BM, target_BNK).clamp(min=1)
        else:
            if share.shape != target.shape or not share.is_floating_point():
                raise InvalidInput(f"share is {share.dtype} of {tuple(share.shape)}; it must be floating point of {tuple(target.shape)}")  # fmt: skip
            _check_finite(share, "share")
            share_BNK = share.view(target_BNK.shape).masked_fill(target_BNK < 0, 0)
        return cls((target_BNK.shape[0], size, target_BNK.shape[1]), target_BNK=target_BNK, share_BNK=share_BNK)

    @classmethod
    def dense(cls, weight_BMN: Tensor) -> TokenMap:
        """W itself.

        Raises: InvalidInput: not three axes, not floating point or not finite.
        """
        if weight_BMN.dim() != 3 or not weight_BMN.is_floating_point():
            raise InvalidInput(
                f"weight_BMN is {weight_BMN.dtype} of {tuple(weight_BMN.shape)}; it must be floating point (B, M, N)"
            )
        _check_finite(weight_BMN, "weight_BMN")
        return cls(tuple(weight_BMN.shape), weight_BMN=weight_BMN)  # type: ignore[arg-type]

    @property
    def form(self) -> Literal["keep", "merge", "dense"]:
        """How W is held."""
        if self.index_BM is not None:
            return "keep"
        return "merge" if self.target_BNK is not None else "dense"

    def apply(self, x_BND: Tensor) -> Tensor:
        """W X, (B, M, D) in the dtype of `x_BND`; sums are made in float32 at least.

        Raises: InvalidInput: another number of tokens or items; integers, unless the map only keeps.
        """
        self._check_tokens(x_BND, self.shape[2], "x_BND")
        if self.index_BM is not None:
            index_BM = self.index_BM.expand(x_BND.shape[0], -1)
            kept = taken(x_BND, index_BM.clamp(min=0))
            return kept.masked_fill(index_BM[..., None] < 0, 0) if bool((index_BM < 0).any()) else kept
        if not x_BND.is_floating_point():
            raise InvalidInput(
                f"x_BND is {x_BND.dtype}; weighted sums are of floating point, and only a map that keeps takes others"
            )
        wide_BND = wide(x_BND)
        if self.weight_BMN is not None:
            return (self.weight_BMN.to(wide_BND.dtype).expand(x_BND.shape[0], -1, -1) @ wide_BND).to(x_BND.dtype)
        return added(*self._links(x_BND.shape[0]), wide_BND, self.shape[1]).to(x_BND.dtype)

    def lift(self, y_BMD: Tensor) -> Tensor:
        """Back to N tokens: each takes the mean, by its weights, of the rows that it went to, (B, N, D).

        A token that went nowhere, or whose weights cancel, is zero. This undoes a merge as ToMe does: each token copies its group.
        Raises: InvalidInput: another number of rows or items.
        """
        self._check_tokens(y_BMD, self.shape[1], "y_BMD")
        batch, n = y_BMD.shape[0], self.shape[2]
        wide_BMD = wide(y_BMD)
        if self.index_BM is not None:
            # One row more takes what the empty rows hold.
            index_BM = torch.where(self.index_BM < 0, n, self.index_BM).expand(batch, -1)
            back = wide_BMD.new_zeros(batch, n + 1, y_BMD.shape[2])
            return back.scatter(1, index_BM[..., None].expand_as(wide_BMD), wide_BMD)[:, :n].to(y_BMD.dtype)
        if self.weight_BMN is not None:
            weight = self.weight_BMN.to(wide_BMD.dtype)
            return (parts(weight, 1).transpose(1, 2).expand(batch, -1, -1) @ wide_BMD).to(y_BMD.dtype)
        target_BNK, share_BNK = self._links(batch)
        share_BNK = parts(wide(share_BNK), 2)
        back = wide_BMD.new_zeros(batch, n, y_BMD.shape[2])
        for k in range(target_BNK.shape[2]):
            back = back + share_BNK[:, :, k, None] * taken(wide_BMD, target_BNK[:, :, k].clamp(min=0))
        return back.to(y_BMD.dtype)

    def __matmul__(self, first: TokenMap) -> TokenMap:
        """The map that applies `first` and then this one.

        Raises: InvalidInput: they do not fit together.
        """
        if not isinstance(first, TokenMap):
            return NotImplemented
        if self.shape[2] != first.shape[1] or (self.shape[0] != first.shape[0] and 1 not in (self.shape[0], first.shape[0])):  # fmt: skip
            raise InvalidInput(f"maps of shapes {self.shape} and {first.shape} do not follow each other")
        batch = max(self.shape[0], first.shape[0])
        if self.index_BM is not None and first.index_BM is not None:
            index_BM = picked(first.index_BM.expand(batch, -1), self.index_BM.expand(batch, -1), missing=-1)
            return TokenMap((batch, self.shape[1], first.shape[2]), index_BM=index_BM)
        if first.weight_BMN is not None:
            return TokenMap.dense(self.apply(first.weight_BMN.expand(batch, -1, -1)))
        if self.weight_BMN is not None:
            return TokenMap.dense(self.weight_BMN.expand(batch, -1, -1) @ first.matrix().to(self.weight_BMN.dtype).expand(batch, -1, -1))  # fmt: skip
        mine_BMK, my_share = self._links(batch)
        target_BNJ, share_BNJ = first._links(batch)
        if mine_BMK.shape[2] * target_BNJ.shape[2] > self.shape[1]:  # more rows to a token than there are: W is smaller
            return TokenMap.dense(self.apply(first.matrix().expand(batch, -1, -1)))
        shape = (batch, first.shape[2], target_BNJ.shape[2] * mine_BMK.shape[2])
        through = target_BNJ.clamp(min=0).flatten(1)[..., None].expand(-1, -1, mine_BMK.shape[2])
        target = mine_BMK.gather(1, through).view(*target_BNJ.shape, -1)
        share = my_share.gather(1, through).view(*target_BNJ.shape, -1) * share_BNJ[..., None]
        target = torch.where(target_BNJ[..., None] < 0, -1, target)
        return TokenMap(
            (batch, self.shape[1], first.shape[2]), target_BNK=target.reshape(shape), share_BNK=share.reshape(shape)
        )

    def matrix(self) -> Tensor:
        """W, floating point (B, M, N)."""
        if self.weight_BMN is not None:
            return self.weight_BMN
        batch, size, n = self.shape
        target_BNK, share_BNK = self._links(batch)
        place = torch.where(target_BNK < 0, size, target_BNK)
        weight = share_BNK.new_zeros(batch, n, size + 1).scatter_add(2, place, share_BNK)
        return weight[..., :size].transpose(1, 2)

    @property
    def sources_BMN(self) -> Tensor:
        """Which tokens are in which row, bool."""
        return self.matrix() != 0

    @property
    def sizes_BM(self) -> Tensor:
        """How many tokens are in each row, int64."""
        return self.sources_BMN.sum(2)

    @property
    def counts_B(self) -> Tensor:
        """How many rows of each item are not empty, int64."""
        if self.index_BM is not None:
            return (self.index_BM >= 0).sum(1)
        return self.sources_BMN.any(2).sum(1)

    def mass(self, mass_BN: Tensor | None = None) -> Tensor:
        """The mass in each row, when each token divides its own among its rows by its weights: floating point (B, M).

        The masses of tokens that went somewhere add up to those of the rows, however W is normalised.

        Args:
            mass_BN: of the tokens; None for 1 each.
        Raises: InvalidInput: another shape.
        """
        if mass_BN is not None:
            if mass_BN.dim() != 2:
                raise InvalidInput(f"mass_BN has shape {tuple(mass_BN.shape)}; it must be (B, {self.shape[2]})")
            self._check_tokens(mass_BN[..., None], self.shape[2], "mass_BN")
        if self.weight_BMN is not None:
            parts_BMN = parts(wide(self.weight_BMN), 1)
            return parts_BMN.sum(2) if mass_BN is None else (parts_BMN * mass_BN[:, None]).sum(2)
        target_BNK, share_BNK = self._links(self.shape[0] if mass_BN is None else mass_BN.shape[0])
        parts_BNK = parts(wide(share_BNK), 2)
        return scattered(target_BNK, parts_BNK if mass_BN is None else parts_BNK * mass_BN[..., None], self.shape[1])

    @property
    def positions_BM(self) -> Tensor:
        """The token that stands for each row: the one with most weight in it, the first of equal ones; -1 for an empty row.

        Most is without the sign.
        """
        if self.index_BM is not None:
            return self.index_BM
        weight = self.matrix()
        return torch.where((weight != 0).any(2), first_largest(weight.abs()), -1)

    @property
    def rows_sum_to_one(self) -> bool:
        """Whether every row that is not empty is a weighted mean; not so in VisionZip and PruMerge."""
        if self.index_BM is not None:
            return True
        sums_BM = self.matrix().sum(2)[self.sources_BMN.any(2)]
        return bool(((sums_BM - 1).abs() < 1e-4).all())

    @property
    def kind(self) -> Literal["one-to-one", "many-to-one", "many-to-many"]:
        """By where W is not zero: pruning, merging, or tokens that go to several rows (Zeng et al., section 3)."""
        if self.index_BM is not None:
            return "one-to-one"
        sources = self.sources_BMN
        if bool((sources.sum(1) > 1).any()):
            return "many-to-many"
        return "many-to-one" if bool((sources.sum(2) > 1).any()) else "one-to-one"

    def item(self, b: int) -> TokenMap:
        """The map of one item, without its empty rows."""
        if not 0 <= b < self.shape[0]:
            raise InvalidInput(f"item {b} of a map of {self.shape[0]}")
        # Composition leaves empty rows between others, where a map takes an empty row of the one before.
        rows = (self.positions_BM[b] >= 0).nonzero()[:, 0]
        shape, one = (1, len(rows), self.shape[2]), slice(b, b + 1)
        if self.index_BM is not None:
            return TokenMap(shape, index_BM=self.index_BM[one, rows])
        if self.weight_BMN is not None:
            return TokenMap(shape, weight_BMN=self.weight_BMN[one, rows])
        target, share = self._links(self.shape[0])
        # One place more, the last, answers the index -1.
        place = torch.full((self.shape[1] + 1,), -1, dtype=torch.int64, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        target = place[target[one]]
        return TokenMap(shape, target_BNK=target, share_BNK=share[one].masked_fill(target < 0, 0))

    def to(self, device: torch.device | str) -> TokenMap:
        """The same map on another device."""
        tensors = {name: getattr(self, name) for name in ("index_BM", "target_BNK", "share_BNK", "weight_BMN")}
        return TokenMap(self.shape, **{name: t.to(device) for name, t in tensors.items() if t is not None})

    def draw(self, image: Any, *, grid: tuple[int, int], item: int = 0) -> Image:
        """Show over a picture what became of its patches; see `core.patches.draw_patches`.

        Args:
            image: a picture of PIL, or an array (height, width, 3) of bytes.
            grid: rows and columns of the patches, which are the tokens in raster order.
            item: of the batch.
        Raises: InvalidInput: the grid has not N patches.
        """
        from .patches import draw_patches

        return draw_patches(image, grid, self.item(item).matrix()[0].detach().cpu().numpy())

    def _links(self, batch: int) -> tuple[Tensor, Tensor]:
        """The rows of each token and its weights in them, for `batch` items, of a map that keeps or merges."""
        if self.target_BNK is not None and self.share_BNK is not None:
            return self.target_BNK.expand(batch, -1, -1), self.share_BNK.expand(batch, -1, -1)
        assert self.index_BM is not None
        items, size, n = self.shape
        place = torch.where(self.index_BM < 0, n, self.index_BM)
        target = torch.full((items, n + 1), -1, dtype=torch.int64, device=place.device)
        target.scatter_(1, place, torch.arange(size, device=place.device).expand(items, -1))
        target_BNK = target[:, :n, None].expand(batch, -1, -1)
        return target_BNK, (target_BNK >= 0).float()

    def _check_tokens(self, x: Tensor, tokens: int, name: str) -> None:
        if x.dim() != 3 or x.shape[1] != tokens or self.shape[0] not in (1, x.shape[0]):
            raise InvalidInput(
                f"{name} has shape {tuple(x.shape)}; this map of shape {self.shape} takes {tokens} tokens an item"
            )


def _check_integers(values: Tensor, name: str, limit: int, *, dims: int) -> None:
    if values.dim() != dims or values.dtype != torch.int64:
        raise InvalidInput(f"{name} is {values.dtype} of {values.dim()} axes; it must be int64 of {dims}")
    if values.numel() and not -1 <= int(values.min()) <= int(values.max()) < limit:
        raise InvalidInput(f"{name} goes from {int(values.min())} to {int(values.max())}; it must lie in [-1, {limit})")


def _check_finite(values: Tensor, name: str) -> None:
    # A finite sum proves all values finite, in a tenth of the time.
    if not bool(torch.isfinite(values.sum())) and not bool(torch.isfinite(values).all()):
        raise InvalidInput(f"{name} is not finite")
