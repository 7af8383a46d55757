"""A hypernetwork that predicts the embedding of a token from the embeddings of its pieces.

Minixhofer, Ponti, Vulić 2024, "Zero-Shot Tokenizer Transfer", arXiv 2405.07883, section 3: the pieces that a byte-complete
tokenizer makes of a token are embedded by the model that it is for, read by a small bidirectional transformer, and what
stands at the first piece becomes the rows of the token.
"""
# N tokens, L pieces at most, E width of a row of the source (input and output rows together where they differ), D width

import os
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import InvalidInput
from .saved_modules import load_module, save_module

__all__ = ["Hypernetwork", "HypernetworkConfig", "PredictedRows"]

_INPUT_STD = 0.02


@dataclass(frozen=True)
class HypernetworkConfig:
    """What determines the shape of a `Hypernetwork`; see there."""

    source: int
    width: int
    layers: int = 3
    heads: int = 4
    hidden: int = 512
    pieces: int = 7
    languages: int = 0
    bias: bool = False


@dataclass(frozen=True)
class PredictedRows:
    """Rows of N tokens.

    Args:
        rows: (N, E), as the rows of the source.
        bias: of the output, (N,), None where none is predicted.
    """

    rows: Tensor
    bias: Tensor | None


class Hypernetwork(nn.Module):
    """Rows of the pieces of a token → the row of the token.

    x = P(A (rows - mean) * 0.02 / deviation), a learnt vector for each position added; a bidirectional transformer; then
    row = a * (B P'(x[0])) + b, where P and P' are blocks y = LayerNorm(x + gelu(W2 gelu(W1 x))), A and B matrices, and a and
    b one value for each dimension.

    Args:
        source: E, values of a row.
        width: D, a multiple of `heads`; the published ones have that of the model.
        layers: of the transformer; 3 as published.
        heads: of its attention.
        hidden: width inside blocks and layers; None for twice `width`.
        pieces: L, pieces of a token at most; the published ones have 4 for XLM-R and 7 for Mistral.
        languages: how many languages have a vector of their own, which is read behind the pieces.
        bias: whether a bias of the output is predicted too.
        generator: draws the initial weights; None for seed 0.
    Raises: InvalidInput: numbers that do not fit together.
    """

    mean_E: Tensor
    scale_E: Tensor
    out_scale_E: Tensor
    out_shift_E: Tensor

    def __init__(
        self,
        *,
        source: int,
        width: int,
        layers: int = 3,
        heads: int = 4,
        hidden: int | None = None,
        pieces: int = 7,
        languages: int = 0,
        bias: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        hidden = 2 * width if hidden is None else hidden
        if min(source, width, layers, heads, hidden, pieces) < 1 or languages < 0:
            raise InvalidInput(
                "source, width, layers, heads, hidden and pieces must be at least 1, languages at least 0"
            )
        if width % heads:
            raise InvalidInput(f"width={width} is no multiple of heads={heads}")
        self.config = HypernetworkConfig(source, width, layers, heads, hidden, pieces, languages, bias)
        seed = 0 if generator is None else int(torch.randint(1 << 62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):  # torch's own initial weights draw from its global generator
            torch.manual_seed(seed)
            self.enter = nn.Linear(source, width)
            self.enter_block = _Block(width, hidden)
            self.positions = nn.Parameter(0.02 * torch.randn(pieces, width))
            self.languages = nn.Embedding(languages, width) if languages else None
            layer = nn.TransformerEncoderLayer(width, heads, hidden, dropout=0.0, activation="gelu", batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
            self.leave_block = _Block(width, hidden)
            self.leave = nn.Linear(width, source)
            self.bias = nn.Linear(width, 1) if bias else None
        for name, value in (("mean_E", 0.0), ("scale_E", 1.0), ("out_scale_E", 1.0), ("out_shift_E", 0.0)):
            self.register_buffer(name, torch.full((source,), value))

    @torch.no_grad()
    def fit_input(self, rows_VE: Tensor) -> None:
        """Let what is read of the rows of the source have mean 0 and deviation 0.02 in each dimension."""
        self.mean_E.copy_(rows_VE.float().mean(0))
        self.scale_E.copy_(_INPUT_STD / rows_VE.float().std(0).clamp_min(1e-8))

    @torch.no_grad()
    def fit_output(self, predicted_NE: Tensor, rows_NE: Tensor) -> None:
        """Let predictions have the mean and the deviation of rows in each dimension; `predicted_NE` is how they are now."""
        ratio_E = rows_NE.float().std(0) / predicted_NE.float().std(0).clamp_min(1e-8)
        shift_E = rows_NE.float().mean(0) - predicted_NE.float().mean(0) * ratio_E
        self.out_scale_E.mul_(ratio_E)
        self.out_shift_E.mul_(ratio_E).add_(shift_E)

    def forward(self, rows_NLE: Tensor, valid_NL: Tensor, languages_N: Tensor | None = None) -> PredictedRows:
        """Predict the rows of N tokens.

        Args:
            rows_NLE: rows of the pieces of each, in order; what is not valid is not read.
            valid_NL: bool, at least the first of each.
            languages_N: int64, the language of each; needed if, and only if, there are languages.
        Raises: InvalidInput: more pieces than fit, rows of another width, a token without a piece, languages missing.
        """
        n, length, source = rows_NLE.shape
        if length > self.config.pieces or source != self.config.source:
            raise InvalidInput(
                f"rows are {tuple(rows_NLE.shape)}; each of at most {self.config.pieces} pieces has {self.config.source} values"
            )
        if not valid_NL[:, 0].all():
            raise InvalidInput(f"token {int(valid_NL[:, 0].int().argmin())} has no piece; each needs one at least")
        if (languages_N is None) != (self.languages is None):
            raise InvalidInput(
                f"this hypernetwork knows {self.config.languages} languages; give languages_N accordingly"
            )
        x_NLD = self.enter((rows_NLE - self.mean_E) * self.scale_E)
        x_NLD = self.enter_block(x_NLD) + self.positions[:length]
        if self.languages is not None:
            x_NLD = torch.cat([x_NLD, self.languages(languages_N)[:, None]], 1)
            valid_NL = torch.cat([valid_NL, valid_NL.new_ones(n, 1)], 1)
        x_ND = self.encoder(x_NLD, src_key_padding_mask=~valid_NL)[:, 0]
        rows_NE = self.leave(self.leave_block(x_ND)) * self.out_scale_E + self.out_shift_E
        return PredictedRows(rows_NE, None if self.bias is None else self.bias(x_ND)[:, 0])

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and, last, tokenloom.json with their digests.

        Raises: StoreError: a file cannot be written.
        """
        save_module(self, folder, asdict(self.config))

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> "Hypernetwork":
        """Load what `save_pretrained` wrote.

        Raises: StoreError: another kind, or a file that is not the one that was written.
        """
        return load_module(cls, folder)


class _Block(nn.Module):
    """y = LayerNorm(x + gelu(W2 gelu(W1 x)))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(width, hidden), nn.Linear(hidden, width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + F.gelu(self.down(F.gelu(self.up(x)))))
