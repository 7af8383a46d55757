"""The one plain decoder that later systems reuse: any mask, any positions, hidden states on request, a cache.

RMSNorm before each block, rotary positions, grouped-query attention, SwiGLU, tied embeddings: the architecture of the
StochasTok paper (arXiv 2506.01687, appendix) and of Llama (Touvron et al. 2023, arXiv 2302.13971), whose weights fit.
"""
# B batch, T positions, S positions incl. the cached ones, D width, H heads, K key-value heads, C width of a head, V ids

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from ..core.errors import InvalidInput, StoreError
from ..core.store import atomic_write, read_json, sha256_file, write_json

__all__ = ["Cache", "Output", "Transformer", "TransformerConfig", "rotate"]

FORMAT = 1


@dataclass(frozen=True)
class TransformerConfig:
    """What determines the shape of a `Transformer`; see there."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    context: int
    dropout: float = 0.0
    tied: bool = True
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5


@dataclass
class Cache:
    """Keys and values of the positions seen so far, one pair (B, K, S, C) per layer; grows with each forward pass."""

    pairs: list[tuple[Tensor, Tensor]]

    @property
    def length(self) -> int:
        """Positions held."""
        return self.pairs[0][0].shape[2] if self.pairs else 0


@dataclass(frozen=True)
class Output:
    """What `Transformer.run` gives.

    Args:
        logits: unnormalised log-probabilities of the next id, (B, T, V).
        hidden: embeddings, then the residual stream after each layer, layers + 1 tensors of (B, T, D).
    """

    logits: Tensor
    hidden: tuple[Tensor, ...]


class Transformer(nn.Module):
    """A decoder-only language model.

    Args:
        vocab_size: ids.
        width: of the residual stream.
        layers: blocks.
        heads: query heads; `width` is a multiple of 2 * heads.
        kv_heads: key-value heads, a divisor of `heads`; None for as many.
        hidden: width of the gated feed-forward layer; None for 8/3 of `width`, rounded up to a multiple of 8.
        context: positions that fit.
        dropout: of the embeddings and of each block's output, in training.
        tied: whether input and output embeddings are the same.
        rope_base: base of the rotary frequencies.
        norm_eps: added to the mean square in RMSNorm.
        generator: draws the initial weights, normal with standard deviation 0.02 (0.02 / sqrt(2 layers) where a block
            adds to the residual stream); None for seed 0.
    Raises: InvalidInput: numbers that do not fit together.
    """

    cos_TC: Tensor
    sin_TC: Tensor

    def __init__(
        self,
        *,
        vocab_size: int,
        width: int,
        layers: int,
        heads: int,
        kv_heads: int | None = None,
        hidden: int | None = None,
        context: int = 512,
        dropout: float = 0.0,
        tied: bool = True,
        rope_base: float = 10_000.0,
        norm_eps: float = 1e-5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        hidden = -(-width * 8 // 3 // 8) * 8 if hidden is None else hidden
        if min(vocab_size, width, layers, heads, kv_heads, hidden, context) < 1:
            raise InvalidInput("vocab_size, width, layers, heads, kv_heads, hidden and context must be at least 1")
        if width % (2 * heads):
            raise InvalidInput(f"width={width} is no multiple of twice heads={heads}, as rotary positions need")
        if heads % kv_heads:
            raise InvalidInput(f"kv_heads={kv_heads} does not divide heads={heads}")
        if not 0 <= dropout < 1:
            raise InvalidInput(f"dropout={dropout}; it must be in [0, 1)")
        self.config = TransformerConfig(
            vocab_size, width, layers, heads, kv_heads, hidden, context, dropout, tied, rope_base, norm_eps
        )
        with torch.random.fork_rng(devices=[]):  # torch's own initial weights, replaced below, draw from its generator
            self.embed = nn.Embedding(vocab_size, width)
            self.blocks = nn.ModuleList(_Block(self.config) for _ in range(layers))
            self.norm = nn.RMSNorm(width, eps=norm_eps)
            self.head = nn.Linear(width, vocab_size, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        frequencies_C = rope_base ** (-torch.arange(0, width // heads, 2).float() / (width // heads))
        angles_TC = torch.outer(torch.arange(context).float(), frequencies_C)
        self.register_buffer("cos_TC", angles_TC.cos(), persistent=False)
        self.register_buffer("sin_TC", angles_TC.sin(), persistent=False)
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
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Logits of the next id, (B, T, V); see `run`."""
        return self.head(self.norm(self._stream(ids_BT, mask, positions, cache)[-1]))

    def run(
        self,
        ids_BT: Tensor,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Output:
        """One forward pass, with what happened in between.

        Args:
            ids_BT: int64 (B, T).
            mask: who may attend to whom, bool, broadcast to (B, 1, T, S), True where allowed; None for causal. Each
                position must see at least one.
            positions: int64 (B, T) or (T,); None to count on from the cache.
            cache: of earlier positions, extended in place; `Cache([])` begins one.
        Raises: InvalidInput: more positions than fit.
        """
        hidden = self._stream(ids_BT, mask, positions, cache)
        return Output(self.head(self.norm(hidden[-1])), tuple(hidden))

    def _stream(
        self, ids_BT: Tensor, mask: Tensor | None, positions: Tensor | None, cache: Cache | None
    ) -> list[Tensor]:
        past, new = cache.length if cache else 0, ids_BT.shape[1]
        if positions is None:
            if past + new > self.config.context:
                raise InvalidInput(f"{past + new} positions, but the context holds {self.config.context}")
            positions = torch.arange(past, past + new, device=ids_BT.device)
        if mask is None and past:
            rows = torch.arange(past, past + new, device=ids_BT.device)[:, None]
            mask = rows >= torch.arange(past + new, device=ids_BT.device)
        # One axis for heads; (T, C) positions serve all items alike.
        cos, sin = (table[positions].unsqueeze(-3) for table in (self.cos_TC, self.sin_TC))
        x = F.dropout(self.embed(ids_BT), self.config.dropout, self.training)
        hidden = [x]
        for i, block in enumerate(self.blocks):
            x, pair = block(x, cos, sin, mask, cache.pairs[i] if past else None)  # type: ignore[union-attr]
            hidden.append(x)
            if cache is not None:
                cache.pairs[i : i + 1] = [pair]
        return hidden

    @torch.no_grad()
    def generate(
        self, ids_BT: Tensor, *, new: int, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Continue each row by `new` ids, (B, T + new): greedily, or sampled at `temperature` from `generator`.

        Raises: InvalidInput: the result does not fit the context; sampling without a generator.
        """
        if ids_BT.shape[1] + new > self.config.context:
            raise InvalidInput(
                f"{ids_BT.shape[1]} + {new} positions do not fit into the context of {self.config.context}"
            )
        if temperature > 0 and generator is None:
            raise InvalidInput("sampling needs a torch.Generator")
        was_training = self.training
        self.eval()
        cache, step = Cache([]), ids_BT
        for _ in range(new):
            logits_BV = self(step, cache=cache)[:, -1]
            if temperature > 0:
                step = torch.multinomial((logits_BV / temperature).softmax(-1), 1, generator=generator)
            else:
                step = logits_BV.argmax(-1, keepdim=True)
            ids_BT = torch.cat([ids_BT, step], 1)
        self.train(was_training)
        return ids_BT

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and, last, tokenloom.json with their digests."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", asdict(self.config))
        temporary = folder / ".model.safetensors.part"
        save_model(self, str(temporary))
        with atomic_write(folder / "model.safetensors") as file:
            file.write(temporary.read_bytes())
        temporary.unlink()
        digests = {name: sha256_file(folder / name) for name in ("config.json", "model.safetensors")}
        write_json(folder / "tokenloom.json", {"format": FORMAT, "kind": "transformer", "sha256": digests})

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> "Transformer":
        """Load what `save_pretrained` wrote.

        Raises: StoreError: another kind or format, or a file that is not the one that was written.
        """
        folder = Path(folder)
        record = read_json(folder / "tokenloom.json")
        kind, version, digests = (
            record.get(key) if isinstance(record, dict) else None for key in ("kind", "format", "sha256")
        )
        if kind != "transformer" or version != FORMAT or not isinstance(digests, dict):
            raise StoreError(
                f"{folder / 'tokenloom.json'} tells of {kind!r} in format {version!r}, not a transformer in {FORMAT}"
            )
        for name in ("config.json", "model.safetensors"):
            if sha256_file(folder / name) != digests.get(name):
                raise StoreError(
                    f"{folder / name} is not the file that was written; tokenloom.json has another SHA-256"
                )
        model = cls(**read_json(folder / "config.json"))
        load_model(model, str(folder / "model.safetensors"))
        return model


class _Block(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.size = config.width // config.heads
        self.dropout = config.dropout
        self.attention_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.qkv = nn.Linear(config.width, (config.heads + 2 * config.kv_heads) * self.size, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.mlp_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.gate_up = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(
        self, x_BTD: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, new, width = x_BTD.shape
        heads = (self.heads, self.kv_heads, self.kv_heads)
        q, k, v = (
            part.view(batch, new, n, self.size).transpose(1, 2)
            for part, n in zip(self.qkv(self.attention_norm(x_BTD)).split([n * self.size for n in heads], -1), heads)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None and new > 1, enable_gqa=self.heads != self.kv_heads
        )
        y = self.out(y.transpose(1, 2).reshape(batch, new, width))
        x_BTD = x_BTD + F.dropout(y, self.dropout, self.training)
        gate, up = self.gate_up(self.mlp_norm(x_BTD)).chunk(2, -1)
        y = self.down(F.silu(gate) * up)
        return x_BTD + F.dropout(y, self.dropout, self.training), (k, v)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (i, i + C/2) of each head by the angles of its position; `cos` and `sin` are (…, T, C/2)."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
