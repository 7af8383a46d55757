"""Token-level correlation-guided compression: of each part of a page as many tokens as there is on it.

Zhang et al. 2024, "Token-level Correlation-guided Compression for Efficient Multimodal Document Understanding", arXiv 2407.14439.
In a shallow layer, patches of blank paper have keys alike: the share of patches without many look-alikes is how dense the part is,
and so many are drawn by the class token's attention. Those that stand out in the class token's attention of a deep layer are
kept, too.

No code was published. The structure is that of the paper's figure; thresholds and layers are our choice, and so is the width in
which keys are compared. To keep the page's thumbnail whole is our reading.
"""
# B sub-images, N patches, H heads, C width of a head, D width, F width in which keys are compared

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from .budgets import check_budget, check_features, tokens_kept
from .crops import Crops
from .selections import best_of_each, keep_where, outliers
from .signals import Signal, given

__all__ = ["TokenCorrelationCompression", "density"]


def density(keys_BNF: Tensor, *, threshold: float = 0.9, look_alikes: float = 0.05, center: bool = False) -> Tensor:
    """The share of patches that have few like them, (B,) in [0, 1].

    A patch is redundant if more than `look_alikes` N others have keys with a cosine above `threshold` to its own.

    Args:
        keys_BNF: floating point. Those that are all zero, or all the same where they are centred, are like each other alone.
        center: subtract the mean key first; it is most of a key in many models.
    """
    keys_BNF = keys_BNF.float()
    lengths_BN1 = keys_BNF.norm(dim=2, keepdim=True)
    if center:
        keys_BNF = keys_BNF - keys_BNF.mean(1, keepdim=True)
    # What rounding leaves of equal keys has no direction.
    none_BN1 = keys_BNF.norm(dim=2, keepdim=True) <= 1e-5 * lengths_BN1
    unit_BNF = torch.cat([normalize(keys_BNF, dim=2).masked_fill(none_BN1, 0), none_BN1.float()], 2)
    alike_BNN = unit_BNF @ unit_BNF.transpose(1, 2) > threshold
    alike_BNN.diagonal(dim1=1, dim2=2).fill_(False)
    n = keys_BNF.shape[1]
    return 1 - (alike_BNN.sum(2) > ceil(look_alikes * n)).sum(1) / n


@dataclass(frozen=True)
class TokenCorrelationCompression:
    """Keep of each picture or sub-image a number of tokens that follows from its content.

    Args:
        shallow: block of the vision encoder that tells the density and the local tokens; the default is a quarter of CLIP ViT-L's.
        deep: block that tells the global tokens.
        threshold: cosine from which two keys are alike, in (-1, 1).
        look_alikes: a patch with more than this share of the N patches like it is redundant, in [0, 1).
        center_keys: subtract the mean key before keys are compared.
        heads: "concatenated" compares whole keys and queries, "averaged" their mean over heads.
        sampling: "without_replacement" draws local tokens from the class token's attention, "top" takes those with most of it.
        aggregate: "none" drops the others, "nearest" averages each into the kept token that its key is most like.
        sub_images: the items are the crops of a picture: the first, its thumbnail, is kept whole.
        keep: None for the number that follows from the content; else tokens, or a fraction: of the global tokens those with most attention, and so
            many local ones as are missing.
    Raises: InvalidInput: a value that is none of these.
    """

    shallow: int = 6
    deep: int = -2
    threshold: float = 0.9
    look_alikes: float = 0.05
    center_keys: bool = False
    heads: Literal["concatenated", "averaged"] = "concatenated"
    sampling: Literal["without_replacement", "top"] = "without_replacement"
    aggregate: Literal["none", "nearest"] = "none"
    sub_images: bool = False
    keep: int | float | None = None

    def __post_init__(self) -> None:
        if not -1 < self.threshold < 1:
            raise InvalidInput(f"threshold={self.threshold}; a cosine in (-1, 1) is needed")
        if not 0 <= self.look_alikes < 1:
            raise InvalidInput(f"look_alikes={self.look_alikes}; a share in [0, 1) is needed")
        for name, known in (
            ("heads", ("concatenated", "averaged")),
            ("sampling", ("without_replacement", "top")),
            ("aggregate", ("none", "nearest")),
        ):
            if getattr(self, name) not in known:
                raise InvalidInput(f"{name}={getattr(self, name)!r}; there are {known[0]!r} and {known[1]!r}")
        if self.keep is not None:
            check_budget(self.keep)
            if self.sub_images:
                raise InvalidInput(
                    f"keep={self.keep} with sub_images, which find their own numbers and one of which is kept whole"
                )
        self.needs  # noqa: B018  (refuses layer 0)

    @property
    def needs(self) -> Mapping[str, Signal]:
        """Keys and the class token's query in two layers; where the crops lie, for sub-images."""
        crops = {"crops": Signal("crops")} if self.sub_images else {}
        return {
            "keys": Signal("keys", self.shallow),
            "cls_query": Signal("cls_query", self.shallow),
            "deep_keys": Signal("keys", self.deep),
            "deep_cls_query": Signal("cls_query", self.deep),
            **crops,
        }

    def __call__(
        self,
        x_BND: Tensor,
        *,
        keys_BNHC: Tensor | None = None,
        cls_query_BHC: Tensor | None = None,
        deep_keys_BNHC: Tensor | None = None,
        deep_cls_query_BHC: Tensor | None = None,
        crops: Crops | None = None,
        generator: torch.Generator | None = None,
    ) -> TokenMap:
        """Choose patches of `x_BND`, floating point (B, N, D), by keys and queries alone.

        Args:
            keys_BNHC: of the patches in the shallow layer; floating point.
            cls_query_BHC: of the class token there; where there is none, whatever is to take its place.
            deep_keys_BNHC: likewise in the deep layer.
            deep_cls_query_BHC: likewise.
            crops: of the picture; that they are told is enough.
            generator: to draw from, N numbers for each item; not needed for `sampling="top"`.
        Returns: one row for each kept token, in the original order; different numbers for each item, at least 1.
        Raises: InvalidInput: fewer than 4 patches or than are kept, shapes that do not fit, values that are not finite, no generator.
            MissingSignal: one of the four is not given.
        """
        shallow = self._compared(given(keys_BNHC, "keys", self), given(cls_query_BHC, "cls_query", self), x_BND)
        deep = self._compared(given(deep_keys_BNHC, "keys", self), given(deep_cls_query_BHC, "cls_query", self), x_BND)
        if self.sub_images:
            given(crops, "crops", self)
        check_features(x_BND)
        n = x_BND.shape[1]
        if n < 4:
            raise InvalidInput(f"{n} patches; quartiles need 4")
        scores_BN, deep_BN = _log_attention(*shallow), _log_attention(*deep).exp()
        if self.sampling == "without_replacement":
            # To the logarithms of probabilities add Gumbel noise, and the best k are k draws without replacement.
            scores_BN = scores_BN + _gumbel(scores_BN, generator)
        if self.keep is None:
            dense_B = density(
                shallow[0], threshold=self.threshold, look_alikes=self.look_alikes, center=self.center_keys
            )
            kept_BN = best_of_each(scores_BN, (dense_B.double() * n).round().long().clamp(min=1))
            kept_BN = kept_BN | outliers(deep_BN)
        else:
            counts_B = torch.full((len(x_BND),), tokens_kept(self.keep, n), device=x_BND.device)
            after_BN = scores_BN - scores_BN.amax(1, keepdim=True) - 1  # all below 0
            kept_BN = best_of_each(torch.where(outliers(deep_BN), deep_BN, after_BN), counts_B)
        if self.sub_images:
            kept_BN[0] = True
        return keep_where(kept_BN) if self.aggregate == "none" else _joined(kept_BN, shallow[0])

    def _compared(self, keys_BNHC: Tensor, query_BHC: Tensor, x_BND: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (B, N, F) and queries (B, F), float32."""
        batch, n = x_BND.shape[:2]
        if keys_BNHC.dim() != 4 or keys_BNHC.shape[:2] != (batch, n):
            raise InvalidInput(f"keys have shape {tuple(keys_BNHC.shape)}; they must be ({batch}, {n}, H, C)")
        if query_BHC.shape != (batch, *keys_BNHC.shape[2:]):
            raise InvalidInput(f"cls_query has shape {tuple(query_BHC.shape)}; it must be {(batch, *keys_BNHC.shape[2:])}")  # fmt: skip
        keys, query = keys_BNHC.float(), query_BHC.float()
        for name, values in (("keys", keys), ("cls_query", query)):
            if not bool(torch.isfinite(values).all()):
                raise InvalidInput(f"{name} are not finite")
        return (keys.mean(2), query.mean(1)) if self.heads == "averaged" else (keys.flatten(2), query.flatten(1))


def _log_attention(keys_BNF: Tensor, query_BF: Tensor) -> Tensor:
    """Of the class token to the patches, (B, N)."""
    return ((keys_BNF @ query_BF[..., None])[..., 0] / keys_BNF.shape[2] ** 0.5).log_softmax(1)


def _gumbel(like_BN: Tensor, generator: torch.Generator | None) -> Tensor:
    if not isinstance(generator, torch.Generator):
        raise InvalidInput("give generator=torch.Generator().manual_seed(seed), or sampling='top'")
    uniform = torch.rand(like_BN.shape, generator=generator, device=generator.device, dtype=torch.float64)
    # 0 may be drawn; its logarithm may not.
    return -(-uniform.clamp(min=1e-300).log()).log().to(like_BN.device)


def _joined(kept_BN: Tensor, keys_BNF: Tensor) -> TokenMap:
    """Each dropped token in the mean of the kept one whose key is most like its own, the first of equals."""
    unit_BNF = normalize(keys_BNF, dim=2)
    similar_BNN = (unit_BNF @ unit_BNF.transpose(1, 2)).masked_fill(~kept_BN[:, None], -torch.inf)
    own_N = torch.arange(kept_BN.shape[1], device=kept_BN.device)
    nearest_BN = torch.where(kept_BN, own_N, similar_BNN.argmax(2))
    rows_BN = kept_BN.cumsum(1) - 1
    return TokenMap.merge(rows_BN.gather(1, nearest_BN), int(kept_BN.sum(1).max()))
