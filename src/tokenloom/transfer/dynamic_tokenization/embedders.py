"""Rows for tokens that a model has never seen: the mean of the rows of their pieces, or what a hypernetwork predicts."""
# n tokens, L pieces at most, V ids, H width of the model, E width of its rows: H, or 2 H where input and output differ

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import InvalidInput
from ...core.tokenizer import Tokenizer
from ...models.hypernetwork import Hypernetwork
from .pieces import LongestMatch, spelled_pieces

__all__ = ["Embedder", "HypernetworkEmbedder", "ModelRows", "PieceMean", "RowCache", "TokenRows", "padded"]


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Rows of n tokens.

    Args:
        input: what the body of the model reads, (n, H).
        output: what hidden states are multiplied with, (n, H); None for a model without output embeddings.
    """

    input: Tensor
    output: Tensor | None


class Embedder(Protocol):
    """What makes rows of tokens, given by their bytes."""

    def __call__(self, tokens: Sequence[bytes]) -> TokenRows: ...


class ModelRows:
    """The rows of a model as it uses them: a factor of its embedding layer, as Gemma has one, is in them already.

    Args:
        model: a model of transformers.
    Raises: InvalidInput: it has no input embeddings.
    """

    def __init__(self, model: nn.Module) -> None:
        if not hasattr(model, "get_input_embeddings"):
            raise InvalidInput(f"a {type(model).__name__} has no input embeddings; give a model of transformers")
        hugging: Any = model
        table, output = hugging.get_input_embeddings(), hugging.get_output_embeddings()
        self._input, self._output = table, None if output is None else output.weight
        self.biased = output is not None and getattr(output, "bias", None) is not None
        self.tied = output is None or output.weight.data_ptr() == table.weight.data_ptr()

    @property
    def width(self) -> int:
        """H."""
        return self._input.weight.shape[1]

    @torch.no_grad()
    def __call__(self, ids: Tensor) -> TokenRows:
        """The rows of `ids`, int64 of any shape; what comes has one axis more."""
        ids = ids.to(self._input.weight.device)
        return TokenRows(self._input(ids), None if self._output is None else self._output[ids])

    def source(self, ids: Tensor) -> Tensor:
        """What a hypernetwork reads of `ids`: their input rows, with the output rows behind where these are others, (…, E)."""
        rows = self(ids)
        return rows.input if self.tied or rows.output is None else torch.cat([rows.input, rows.output], -1)

    def parted(self, rows_nE: Tensor) -> TokenRows:
        """Rows like those of `source`, as input and output rows."""
        if self._output is None:
            return TokenRows(rows_nE, None)
        width = 0 if self.tied else self.width
        return TokenRows(rows_nE[:, : self.width], rows_nE[:, width:])


@dataclass(frozen=True, eq=False)
class PieceMean:
    """FVT (Gee et al. 2022): the mean of the rows of the pieces that the tokenizer of the model makes of a token.

    Args:
        rows: of the model.
        tokenizer: of the model.
    """

    rows: ModelRows
    tokenizer: Tokenizer
    _match: LongestMatch = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_match", LongestMatch(self.tokenizer.vocab))

    def __call__(self, tokens: Sequence[bytes]) -> TokenRows:
        """Rows of `tokens`, each not empty.

        Raises: InvalidInput: no piece begins with some byte of a token.
        """
        return self.of_pieces(self.pieces(tokens))

    def pieces(self, tokens: Sequence[bytes]) -> list[np.ndarray]:
        """The ids of the pieces of each token, int32 (pieces,)."""
        return spelled_pieces(self.tokenizer, tokens, self._match)

    def of_pieces(self, pieces: Sequence[np.ndarray]) -> TokenRows:
        """Mean rows of pieces, int (n,) for each token."""
        ids_nL, valid_nL = padded(pieces)
        rows = self.rows(ids_nL)
        weights_nL1 = (valid_nL / valid_nL.sum(1, keepdim=True))[:, :, None].to(rows.input)
        mean = (weights_nL1 * rows.input).sum(1)
        return TokenRows(mean, None if rows.output is None else (weights_nL1 * rows.output).sum(1))


@dataclass(frozen=True, eq=False)
class HypernetworkEmbedder:
    """What a hypernetwork predicts; the mean of the pieces for a token that has more of them than it reads.

    Args:
        hypernetwork: taught for the model.
        fallback: makes the pieces, and the mean of too many.
        language: the number of a language that goes with every token, for a hypernetwork that knows some.
    Raises: InvalidInput: a hypernetwork for rows of another width.
    """

    hypernetwork: Hypernetwork
    fallback: PieceMean
    language: int | None = None

    def __post_init__(self) -> None:
        rows = self.fallback.rows
        width = rows.width * (1 if rows.tied else 2)
        if self.hypernetwork.config.source != width:
            raise InvalidInput(
                f"rows of the model have {width} values, but the hypernetwork reads {self.hypernetwork.config.source}"
            )

    @torch.no_grad()
    def __call__(self, tokens: Sequence[bytes]) -> TokenRows:
        """As `PieceMean`."""
        rows, model = self.fallback.rows, self.hypernetwork
        pieces = self.fallback.pieces(tokens)
        mean = self.fallback.of_pieces(pieces)
        chosen = [k for k, ids in enumerate(pieces) if len(ids) <= model.config.pieces]
        if not chosen:
            return mean
        ids_nL, valid_nL = padded([pieces[k] for k in chosen])
        device = mean.input.device
        languages = None if self.language is None else torch.full((len(chosen),), self.language, device=device)
        was_training = model.training
        model.eval()
        made = rows.parted(model(rows.source(ids_nL), valid_nL.to(device), languages).rows.to(mean.input.dtype))
        model.train(was_training)
        mean.input[chosen] = made.input
        if mean.output is not None and made.output is not None:
            mean.output[chosen] = made.output
        return mean


class RowCache:
    """Keep the rows of the tokens used last, and ask for those of the others only.

    Args:
        embedder: makes rows.
        capacity: tokens kept, at least 1 and at least those of one call; 5,000 as published.
    Raises: InvalidInput: `capacity` below 1.
    """

    def __init__(self, embedder: Embedder, capacity: int = 5000) -> None:
        if capacity < 1:
            raise InvalidInput(f"capacity={capacity}; a cache holds at least 1 token")
        self.embedder, self.capacity = embedder, capacity
        self.asked = self.made = 0
        self._place: OrderedDict[bytes, int] = OrderedDict()
        self._rows: TokenRows | None = None

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, token: bytes) -> bool:
        return token in self._place

    def __call__(self, tokens: Sequence[bytes]) -> TokenRows:
        """Rows of `tokens`; none of these is dropped to make room for another.

        Raises: InvalidInput: more different tokens than are kept.
        """
        different = list(dict.fromkeys(tokens))
        if len(different) > self.capacity:
            raise InvalidInput(
                f"{len(different)} different tokens, but the cache holds {self.capacity}; give it more room"
            )
        # Those at hand first, so that none of them is the one used longest ago.
        missing = []
        for token in different:
            if token in self._place:
                self._place.move_to_end(token)
            else:
                missing.append(token)
        self.asked, self.made = self.asked + len(different), self.made + len(missing)
        if missing:
            made = self.embedder(missing)
            if self._rows is None:
                room = (self.capacity, made.input.shape[1])
                output = None if made.output is None else made.output.new_empty(room)
                self._rows = TokenRows(made.input.new_empty(room), output)
            places = []
            for token in missing:
                full = len(self._place) == self.capacity
                place = self._place.popitem(last=False)[1] if full else len(self._place)
                self._place[token] = place
                places.append(place)
            self._rows.input[places] = made.input
            if self._rows.output is not None and made.output is not None:
                self._rows.output[places] = made.output
        if self._rows is None:
            return self.embedder(tokens)
        chosen = [self._place[token] for token in tokens]
        output = self._rows.output
        return TokenRows(self._rows.input[chosen], None if output is None else output[chosen])


def padded(pieces: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Pieces of n tokens as a table: ids int64 (n, L), 0 where there is none, and which are valid, bool (n, L)."""
    lengths = np.array([len(ids) for ids in pieces], np.int64)
    valid_nL = np.arange(lengths.max(initial=1)) < lengths[:, None]
    ids_nL = np.zeros(valid_nL.shape, np.int64)
    ids_nL[valid_nL] = np.concatenate([*pieces, np.zeros(0, np.int64)])
    return torch.from_numpy(ids_nL), torch.from_numpy(valid_nL)
