"""The network of FLASH: pictures pooled into a few latents, text as pairs of a feature and the next token, several futures a pass."""
# B batch, L positions, R rows of the head, D width, N visual tokens, M latents, H heads, G groups, C width of a head, K futures

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....core.errors import InvalidInput
from ....core.token_map import TokenMap
from ....models.saved_modules import load_module, save_module
from ....models.transformer import Cache

__all__ = ["FlashConfig", "FlashHead", "LatentPooling"]


class LatentPooling(nn.Module):
    """M learnt latents A, each of which takes a mean of the visual tokens V: `softmax(A Vᵀ) V`, neither scaled nor projected.

    Args:
        latents: M.
        width: D.
    """

    def __init__(self, latents: int, width: int) -> None:
        super().__init__()
        self.latents_MD = nn.Parameter(torch.empty(latents, width))

    def forward(self, visual_BND: Tensor) -> TokenMap:
        """The map from N visual tokens, floating point (B, N, D), to the latents, dense.

        Raises: InvalidInput: more latents than tokens.
        """
        if len(self.latents_MD) > visual_BND.shape[1]:
            raise InvalidInput(
                f"{len(self.latents_MD)} latents of {visual_BND.shape[1]} visual tokens; there must not be more"
            )
        return TokenMap.dense((self.latents_MD @ visual_BND.transpose(1, 2)).softmax(-1))


@dataclass(frozen=True)
class FlashConfig:
    """What determines the shape of a `FlashHead`; see there."""

    width: int
    heads: int
    futures: int
    groups: int
    latents: int | None
    rope_base: float


class FlashHead(nn.Module):
    """Features of the next tokens from those of the tokens so far: `y[t, i]` is of token t + 1 + i, knowing the tokens up to t + 1.

    One layer without residuals and norms: attention of every head to the keys and values of every group, summed over groups,
    then linear-SiLU-linear to all futures at once.

    Args:
        width: D, of the model's features and embeddings.
        heads: H, of D / H each, which is even.
        futures: K; 1 for a head that predicts a token a pass.
        groups: G, of keys and values.
        latents: M, that stand for the visual tokens; None to keep these.
        rope_base: of the rotary positions, which count rows.
        generator: draws the initial weights: latents normal with standard deviation 0.02, all others uniform within ± 1 / sqrt(inputs);
            None for seed 0.
    Raises: InvalidInput: numbers below 1 or that do not fit together.
    """

    frequencies_C: Tensor

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        futures: int = 5,
        groups: int = 4,
        latents: int | None = 64,
        rope_base: float = 10_000.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(width, heads, futures, groups) < 1 or (latents is not None and latents < 1):
            raise InvalidInput(f"{width=}, {heads=}, {futures=}, {groups=} and {latents=}; none may be below 1")
        if width % (2 * heads):
            raise InvalidInput(f"{width=} is no multiple of twice {heads=}, as rotary positions need")
        self.config = FlashConfig(width, heads, futures, groups, latents, rope_base)
        size = width // heads
        with torch.random.fork_rng(devices=[]):  # torch's own initial weights, replaced below, draw from its generator
            self.fuse = nn.Linear(2 * width, width)
            self.q = nn.Linear(width, width, bias=False)
            self.kv = nn.Linear(width, 2 * groups * size, bias=False)
            self.out = nn.Linear(width, width, bias=False)
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, futures * width)
        self.pooling = None if latents is None else LatentPooling(latents, width)
        frequencies_C = rope_base ** (-torch.arange(0, size, 2).float() / size)
        self.register_buffer("frequencies_C", frequencies_C, persistent=False)
        self._initialise(generator or torch.Generator().manual_seed(0))

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        for layer in self.children():
            if isinstance(layer, LatentPooling):
                layer.latents_MD.normal_(std=0.02, generator=generator)
            elif isinstance(layer, nn.Linear):
                for weight in layer.parameters():
                    weight.uniform_(-1, 1, generator=generator).mul_(layer.in_features**-0.5)

    def rows(self, features_BLD: Tensor, next_BLD: Tensor, span: range | None = None) -> Tensor:
        """What the layer reads: each feature fused with the embedding of the next token; but up to the end of a picture features alone.

        Args:
            features_BLD: of the tokens, as the model's output layer reads them.
            next_BLD: embeddings of the tokens behind them.
            span: positions of the visual tokens, which latents stand for if there are any; None for text alone.
        Returns: (B, R, D), R = L, or L - N + M.
        Raises: InvalidInput: features and embeddings of different shapes, a span that is not there or has gaps, more latents than
            visual tokens.
        """
        if features_BLD.shape != next_BLD.shape or features_BLD.shape[2:] != (self.config.width,):
            raise InvalidInput(
                f"features of {tuple(features_BLD.shape)} and embeddings of {tuple(next_BLD.shape)}; "
                f"both must be (B, L, {self.config.width})"
            )
        if span is None:
            return self.fuse(torch.cat([next_BLD, features_BLD], 2))
        length = features_BLD.shape[1]
        if span.step != 1 or not 0 <= span.start < span.stop <= length:
            raise InvalidInput(f"visual tokens at {span} of {length} positions; they must be there, and without gaps")
        before, visual, behind = features_BLD.tensor_split([span.start, span.stop], 1)
        if self.pooling is not None:
            visual = self.pooling(visual).apply(visual)
        return torch.cat([before, visual, self.rows(behind, next_BLD[:, span.stop :])], 1)

    def forward(self, rows_BRD: Tensor, cache: Cache | None = None, *, wanted: int | None = None) -> Tensor:
        """Predicted features behind the last `wanted` rows, (B, wanted, K, D).

        Args:
            rows_BRD: of `rows`, behind those of the cache.
            cache: of earlier rows, extended in place; `Cache([])` begins one.
            wanted: 1 or more; None for all.
        """
        past, new = cache.length if cache is not None else 0, rows_BRD.shape[1]
        positions_R = torch.arange(past, past + new, device=rows_BRD.device)
        k, v = (self._split(part, self.config.groups) for part in self.kv(rows_BRD).chunk(2, -1))
        k = self._rotated(k, positions_R)
        if cache is not None:
            if past:
                k, v = torch.cat([cache.pairs[0][0], k], 2), torch.cat([cache.pairs[0][1], v], 2)
            cache.pairs[:] = [(k, v)]
        if wanted is not None:
            rows_BRD, positions_R = rows_BRD[:, -wanted:], positions_R[-wanted:]
        q = self._rotated(self._split(self.q(rows_BRD), self.config.heads), positions_R)
        mask_RS = positions_R[:, None] >= torch.arange(past + new, device=rows_BRD.device)
        # Every head with every group: B, H, G, then rows and columns.
        scores = q[:, :, None] @ k[:, None].transpose(-1, -2) / q.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask_RS, -torch.inf).softmax(-1)
        mixed_BHRC = (weights @ v[:, None]).sum(2)
        attended_BRD = self.out(mixed_BHRC.transpose(1, 2).flatten(2))
        return self.down(F.silu(self.up(attended_BRD))).unflatten(2, (self.config.futures, -1))

    def _split(self, x_BRD: Tensor, parts: int) -> Tensor:
        """To (B, parts, R, C)."""
        return x_BRD.unflatten(2, (parts, -1)).transpose(1, 2)

    def _rotated(self, x: Tensor, positions_R: Tensor) -> Tensor:
        """The pairs (i, i + C/2) of each head turned by the angles of its position."""
        angles_RC = positions_R[:, None] * self.frequencies_C
        cos, sin = angles_RC.cos().to(x.dtype), angles_RC.sin().to(x.dtype)
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and, last, tokenloom.json with their digests.

        Raises: StoreError: a file cannot be written.
        """
        save_module(self, folder, asdict(self.config))

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> FlashHead:
        """What `save_pretrained` wrote.

        Raises: StoreError: another kind, or a file that is not the one that was written.
        """
        return load_module(cls, folder)
