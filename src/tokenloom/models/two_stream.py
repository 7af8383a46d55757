"""A transformer that predicts tokens in any order: given some tokens anywhere, what each of the others is likely to be.

Two streams run through the same weights. The content stream holds tokens that know themselves. The query stream begins with one
learned vector at each place that is asked about and reads the content stream, so that it knows where it is and what it may see, but
not what it is to predict. With a mask that follows an order, one call gives the whole factorisation of a text in this order. Yang et
al. 2019, XLNet, arXiv 1906.08237, section 2.3; Guo and Ermon 2025, arXiv 2504.20456.

Blocks are those of `Transformer`; rotary positions are those of the text, whatever the order. In front of every text stands one more
content token, a learned vector that all see: with a single token in view attention would have nothing to weigh, and rotary positions,
which act through these weights alone, could not tell how far away it is. So nothing need be known, either.
"""
# B batch, N positions, T content tokens, S content tokens incl. the cached ones, Q queries, R rows of both, D width, H heads, C width
# of a head, V ids

import os
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import InvalidInput
from .saved_modules import load_module, save_module
from .transformer import Cache, rotate

__all__ = ["TwoStream", "TwoStreamConfig"]


@dataclass(frozen=True)
class TwoStreamConfig:
    """What determines the shape of a `TwoStream`; see there."""

    vocab_size: int
    mask_id: int
    width: int
    layers: int
    heads: int
    hidden: int
    context: int
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5


class TwoStream(nn.Module):
    """An any-order language model.

    Args:
        vocab_size: ids, the mask included.
        mask_id: stands for what is not known. It is never predicted: its logit is -inf, so that everything that is made of logits
            has the same support.
        width: of the residual streams.
        layers: blocks.
        heads: of attention; `width` is a multiple of 2 * heads.
        hidden: width of the gated feed-forward layer; None for 8/3 of `width`, rounded up to a multiple of 8.
        context: positions that fit.
        rope_base: base of the rotary frequencies.
        norm_eps: added to the mean square in RMSNorm.
        generator: draws the initial weights, as those of `Transformer`; None for seed 0.
    Raises: InvalidInput: numbers that do not fit together.

    >>> model = TwoStream(vocab_size=20, mask_id=19, width=16, layers=2, heads=2)
    >>> model.scores(torch.tensor([[3, 1, 4, 1]]), torch.tensor([[0, 2, 1, 0]])).shape  # the third, then the second
    torch.Size([1, 4])
    """

    cos_NC: Tensor
    sin_NC: Tensor

    def __init__(
        self,
        *,
        vocab_size: int,
        mask_id: int,
        width: int,
        layers: int,
        heads: int,
        hidden: int | None = None,
        context: int = 512,
        rope_base: float = 10_000.0,
        norm_eps: float = 1e-5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        hidden = -(-width * 8 // 3 // 8) * 8 if hidden is None else hidden
        if min(width, layers, heads, hidden, context) < 1 or vocab_size < 2:
            raise InvalidInput("width, layers, heads, hidden and context must be at least 1, vocab_size at least 2")
        if not 0 <= mask_id < vocab_size:
            raise InvalidInput(f"mask_id={mask_id}; it must be an id, from 0 to {vocab_size - 1}")
        if width % (2 * heads):
            raise InvalidInput(f"width={width} is no multiple of twice heads={heads}, as rotary positions need")
        self.config = TwoStreamConfig(vocab_size, mask_id, width, layers, heads, hidden, context, rope_base, norm_eps)
        with torch.random.fork_rng(devices=[]):  # torch's own initial weights, replaced below, draw from its generator
            self.embed = nn.Embedding(vocab_size, width)
            self.start, self.query = (nn.Parameter(torch.empty(1, width)) for _ in range(2))
            self.blocks = nn.ModuleList(_Block(self.config) for _ in range(layers))
            self.norm = nn.RMSNorm(width, eps=norm_eps)
        frequencies_C = rope_base ** (-torch.arange(0, width // heads, 2).float() / (width // heads))
        angles_NC = torch.outer(torch.arange(context + 1).float(), frequencies_C)
        self.register_buffer("cos_NC", angles_NC.cos(), persistent=False)
        self.register_buffer("sin_NC", angles_NC.sin(), persistent=False)
        self._initialise(generator or torch.Generator().manual_seed(0))

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                scale = (2 * self.config.layers) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1.0
                weight.normal_(std=0.02 * scale, generator=generator)

    def forward(
        self,
        ids_BT: Tensor,
        asked_BQ: Tensor,
        *,
        content_mask: Tensor,
        query_mask: Tensor,
        positions_BT: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Logits of the tokens at the places that are asked about, (B, Q, V).

        Args:
            ids_BT: int64, tokens of the content stream; T may be 0.
            asked_BQ: int64, positions of the queries.
            content_mask: which content tokens each of them sees, itself included, bool, broadcast to (B, T, S).
            query_mask: which content tokens each query sees, bool, broadcast to (B, Q, S).
            positions_BT: int64, where the content tokens are; None to count from 0, without a cache.
            cache: of earlier content tokens, extended in place by these, with the start in front; `Cache([])` begins one.
        Raises: InvalidInput: positions that do not fit into the context.
        """
        batch, new = ids_BT.shape
        if positions_BT is None:
            positions_BT = torch.arange(new, device=ids_BT.device).expand(batch, new)
        where_BR = torch.cat([positions_BT, asked_BQ], 1)
        if where_BR.numel() and not 0 <= int(where_BR.min()) <= int(where_BR.max()) < self.config.context:
            raise InvalidInput(f"positions up to {int(where_BR.max())}, but the context holds {self.config.context}")
        past = cache.length if cache is not None else 0
        start = int(not past)  # rows of it
        masks = ((content_mask, new), (query_mask, asked_BQ.shape[1]))
        mask = torch.cat([m.expand(batch, rows, new + max(past - 1, 0)) for m, rows in masks], 1)
        mask = F.pad(mask, (1, 0, start, 0))
        mask[:, :, 0] = True  # all see the start, which sees itself alone
        where_BR = F.pad(where_BR + 1, (start, 0))
        cos, sin = (table[where_BR].unsqueeze(1) for table in (self.cos_NC, self.sin_NC))  # one axis for heads
        parts = (
            self.start[:start].expand(batch, start, -1),
            self.embed(ids_BT),
            self.query.expand(*asked_BQ.shape, -1),
        )
        x_BRD = torch.cat(parts, 1)
        for i, block in enumerate(self.blocks):
            x_BRD, pair = block(
                x_BRD, start + new, cos, sin, mask.unsqueeze(1),
                cache.pairs[i] if past else None,  # type: ignore[union-attr]
                queries_only=i + 1 == len(self.blocks),  # nothing reads the content stream behind the last block
            )  # fmt: skip
            if cache is not None:
                cache.pairs[i : i + 1] = [pair]
        logits_BQV = F.linear(self.norm(x_BRD), self.embed.weight)
        return logits_BQV.index_fill(-1, torch.tensor(self.config.mask_id, device=ids_BT.device), -torch.inf)

    def predictions(self, ids_BN: Tensor, step_BN: Tensor) -> Tensor:
        """Logits of every token from those of earlier steps alone, in one call, (B, N, V).

        Args:
            ids_BN: int64, all tokens.
            step_BN: int64, when each becomes known: 0 for those that are given, which see each other and whose logits here are 0, then
                1, 2 …, as `Schedule.step_N` where something is given.
        Raises: InvalidInput: other shapes, or more tokens than the context holds.
        """
        if step_BN.shape != ids_BN.shape:
            raise InvalidInput(f"steps of {tuple(step_BN.shape)} for ids of {tuple(ids_BN.shape)}; both must be (B, N)")
        given_BN = step_BN == 0
        # Those to be predicted first, as many columns as the row with the most of them has.
        most = int((~given_BN).sum(1).max())
        asked_BQ = given_BN.long().argsort(dim=1, stable=True)[:, :most]
        seen_at_BQ1 = step_BN.gather(1, asked_BQ).unsqueeze(2)
        logits_BQV = self(
            ids_BN, asked_BQ, content_mask=step_BN[:, None] <= step_BN[:, :, None], query_mask=step_BN[:, None] < seen_at_BQ1
        )  # fmt: skip
        logits_BNV = logits_BQV.new_zeros(*ids_BN.shape, self.config.vocab_size)
        logits_BNV = logits_BNV.scatter(1, asked_BQ.unsqueeze(2).expand_as(logits_BQV), logits_BQV)
        return logits_BNV.masked_fill(given_BN.unsqueeze(2), 0)

    def scores(self, ids_BN: Tensor, step_BN: Tensor) -> Tensor:
        """Natural logarithms of the probabilities of `predictions`, (B, N), 0 for what is given: a row's sum is that of the whole.

        Raises: InvalidInput: as for `predictions`.
        """
        log_probs_BNV = self.predictions(ids_BN, step_BN).log_softmax(-1)
        return log_probs_BNV.gather(2, ids_BN.unsqueeze(2)).squeeze(2).masked_fill(step_BN == 0, 0)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and, last, tokenloom.json with their digests.

        Raises: StoreError: a file cannot be written.
        """
        save_module(self, folder, asdict(self.config))

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> "TwoStream":
        """Load what `save_pretrained` wrote.

        Raises: StoreError: another kind or format, or a file that is not the one that was written.
        """
        return load_module(cls, folder)


class _Block(nn.Module):
    """A block of `Transformer` whose keys and values are those of the content rows alone."""

    def __init__(self, config: TwoStreamConfig) -> None:
        super().__init__()
        self.heads, width = config.heads, config.width
        self.attention_norm = nn.RMSNorm(width, eps=config.norm_eps)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.RMSNorm(width, eps=config.norm_eps)
        self.gate_up = nn.Linear(width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, width, bias=False)

    def forward(
        self,
        x_BRD: Tensor,
        content: int,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor,
        past: tuple[Tensor, Tensor] | None,
        *,
        queries_only: bool,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        normed_BRD = self.attention_norm(x_BRD)
        k, v = (self._split(part) for part in self.kv(normed_BRD[:, :content]).chunk(2, -1))
        k = rotate(k, cos[:, :, :content], sin[:, :, :content])
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        if queries_only:
            x_BRD, normed_BRD = x_BRD[:, content:], normed_BRD[:, content:]
            cos, sin, mask = cos[:, :, content:], sin[:, :, content:], mask[:, :, content:]
        q = rotate(self._split(self.q(normed_BRD)), cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x_BRD = x_BRD + self.out(y.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.mlp_norm(x_BRD)).chunk(2, -1)
        return x_BRD + self.down(F.silu(gate) * up), (k, v)

    def _split(self, x_BRD: Tensor) -> Tensor:
        """To (B, H, R, C)."""
        return x_BRD.unflatten(2, (self.heads, -1)).transpose(1, 2)
