"""Dynamic tokenization: a trained model reads the tokens of each batch merged, with rows that are made on the fly.

Feher, Vulić, Minixhofer 2024, "Retrofitting (Large) Language Models with Dynamic Tokenization", arXiv 2411.18553. The most
frequent pairs of a batch are merged (`BatchMerging`), rows for the merged tokens come from the rows of their pieces
(`PieceMean`, or `HypernetworkEmbedder`), and the model reads a shorter sequence. A decoder goes on in its own vocabulary, or in
one of a million tokens of which a nearest-neighbour index finds the likely ones (`LargeVocabulary`).

Differs from the authors' code: a token of the model's vocabulary keeps its row, also under a hypernetwork; rows come out of the
embedding layer, so that a factor in it is not lost; a cache never drops a token of the batch at hand.
"""
# B sequences, T tokens of the longest, H width, V ids

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import InvalidInput
from ...core.segmentation import Ragged
from ...tokenize.text.batch_merging import BatchMerging, MergedBatch
from .embedders import Embedder, HypernetworkEmbedder, ModelRows, PieceMean, RowCache, TokenRows
from .large_vocabulary import LargeVocabulary, NeighbourIndex, extend_vocabulary, recall
from .teaching import RowTeaching

__all__ = [
    "DynamicBatch",
    "DynamicTokenization",
    "Embedder",
    "HypernetworkEmbedder",
    "LargeVocabulary",
    "ModelRows",
    "NeighbourIndex",
    "PieceMean",
    "RowCache",
    "RowTeaching",
    "TokenRows",
    "extend_vocabulary",
    "recall",
]


@dataclass(frozen=True, eq=False)
class DynamicBatch:
    """What a model reads instead of ids.

    Args:
        inputs_embeds: (B, T, H).
        attention_mask: int64 (B, T), 1 where there is a token.
        position_ids: int64 (B, T), counted from the first token of each sequence.
        merged: the tokens.
    """

    inputs_embeds: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    merged: MergedBatch

    @property
    def inputs(self) -> dict[str, Tensor]:
        """For the call of a model, or its `generate`, which counts positions itself."""
        return {"inputs_embeds": self.inputs_embeds, "attention_mask": self.attention_mask}


@dataclass(frozen=True, eq=False)
class DynamicTokenization:
    """Read batches with merged tokens.

    Args:
        model: a causal model or an encoder of transformers.
        merging: over the vocabulary of the model.
        embedder: rows of merged tokens.
    Raises: InvalidInput: a model without input embeddings, or with fewer rows than the vocabulary has ids.
    """

    model: nn.Module
    merging: BatchMerging
    embedder: Embedder
    _rows: ModelRows = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = ModelRows(self.model)
        known = self.model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
        if known < len(self.merging.vocab):
            raise InvalidInput(f"the model has {known} rows, but the vocabulary {len(self.merging.vocab)} ids")
        object.__setattr__(self, "_rows", rows)

    @torch.no_grad()
    def __call__(
        self, batch: Ragged, merges: int | None = None, *, padding: Literal["left", "right"] = "right"
    ) -> DynamicBatch:
        """Merge a batch and look its rows up.

        Args:
            batch: ids of each sequence, special tokens included, none empty.
            merges: as for `BatchMerging`.
            padding: on the right for encoders, on the left for decoders that generate. Padding has the row of the padding
                token, that of the end of text where the model has none, and else that of id 0.
        Raises: InvalidInput: as `BatchMerging`; an empty sequence; more new tokens than a cache holds.
        """
        if not len(batch) or not batch.lengths.min():
            raise InvalidInput(
                f"{len(batch)} sequences, the shortest of {batch.lengths.min(initial=0)} tokens; none may be empty"
            )
        merged = self.merging(batch, merges)
        lengths = merged.ids.lengths
        columns = np.arange(lengths.max())
        filled = columns < lengths[:, None] if padding == "right" else columns >= lengths.max() - lengths[:, None]
        ids_BT = np.full(filled.shape, self._padding_id, np.int64)
        ids_BT[filled] = merged.ids.ids
        known = len(self.merging.vocab)
        is_new = torch.from_numpy(ids_BT >= known)
        embeds_BTH = self._rows(torch.from_numpy(np.where(ids_BT < known, ids_BT, 0))).input.clone()
        if merged.new:
            made = self.embedder(merged.new).input
            embeds_BTH[is_new] = made[ids_BT[is_new.numpy()] - known].to(embeds_BTH)
        mask_BT = torch.from_numpy(filled.astype(np.int64)).to(embeds_BTH.device)
        return DynamicBatch(embeds_BTH, mask_BT, (mask_BT.cumsum(1) - 1).clamp_min(0), merged)

    @torch.no_grad()
    def score(self, prompts: Ragged, continuations: Ragged, merges: int | None = None) -> list[np.ndarray]:
        """Log-probability of the ids of each continuation, after its prompt was merged with those of the batch.

        Only prompts are merged. Each sequence is read by itself, so that nothing is padded.

        Args:
            prompts, continuations: as many of one as of the other, none empty.
        Returns: natural logarithms, float64 (tokens of the continuation,) each.
        Raises: InvalidInput: another number of continuations; as for a call.
        """
        if len(prompts) != len(continuations) or (len(continuations) and not continuations.lengths.min()):
            raise InvalidInput(f"{len(prompts)} prompts and {len(continuations)} continuations; as many, none empty")
        read = self(prompts, merges)
        self.merging.vocab.check_ids(continuations.ids)
        results = []
        for embeds_TH, length, ids in zip(read.inputs_embeds, read.merged.ids.lengths, continuations):
            target = torch.from_numpy(ids.astype(np.int64)).to(embeds_TH.device)
            whole = torch.cat([embeds_TH[:length], self._rows(target[:-1]).input])[None]
            out = self.model(inputs_embeds=whole, use_cache=False, logits_to_keep=len(ids))
            loss = nn.functional.cross_entropy(out.logits[0].float(), target, reduction="none")
            results.append(-loss.double().cpu().numpy())
        return results

    @property
    def _padding_id(self) -> int:
        config: Any = self.model.config
        for role in ("pad", "eos"):
            given = getattr(config, f"{role}_token_id", None)
            if given is not None:
                return given[0] if isinstance(given, list) else given
        return 0
