"""Students that read bytes: a table of bytes, and the old table to keep what was known of subwords.

Minixhofer et al. 2025, section 4: at each byte the row of the longest old token that ends there is added to the row of the byte
("expanded ids"). The output layer is over bytes, and no longer tied to anything.
"""
# B documents, T positions, D width, O old ids, n bytes

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

from ...core.errors import InvalidInput
from ...core.tokenizer import Tokenizer
from ...core.trie import child, trie_of
from ...core.vocabulary import Kind, Vocabulary
from ...hosts import load_tokenizer
from ..rows import Rows
from ..transplanting import Transplanted, transplant

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ByteEmbedding", "expanded_ids", "to_bytes"]


class _Endings:
    """The tokens of a vocabulary, spelt backwards in a tree."""

    def __init__(self, vocab: Vocabulary) -> None:
        text = np.flatnonzero(vocab.kinds <= Kind.BYTE)
        spelt = {vocab[i]: i for i in reversed(text.tolist())}  # the lowest id of equal ones
        self.ids = np.array(list(spelt.values()), np.int64)
        units = np.frombuffer(b"".join(token[::-1] for token in spelt), np.uint8)
        self.table, self.string_of = trie_of(units, np.cumsum([0, *map(len, spelt)]))

    def __call__(self, units_BT: np.ndarray) -> np.ndarray:
        return _longest(self.table, self.string_of, self.ids, units_BT)


@njit(cache=True, nogil=True)
def _longest(table, string_of, ids, units):
    """At each byte the id of the longest string that ends there, within a row and without a gap (-1); -1 for none."""
    found = np.full(units.shape, -1, np.int64)
    for row in range(units.shape[0]):
        for end in range(units.shape[1]):
            node, at = np.int64(0), end
            while at >= 0 and units[row, at] >= 0:
                node = child(table, node, units[row, at])
                if node < 0:
                    break
                if string_of[node] >= 0:
                    found[row, end] = ids[string_of[node]]
                at -= 1
    return found


def expanded_ids(vocab: Vocabulary, data: bytes) -> np.ndarray:
    """At each byte of `data` the longest token of `vocab` that ends there: int64 (n,), -1 where none does.

    >>> vocab = Vocabulary([b"a", b"b", b"ab", b"bab"])
    >>> expanded_ids(vocab, b"abab").tolist()
    [0, 2, 0, 3]
    """
    return _Endings(vocab)(np.frombuffer(data, np.uint8).astype(np.int64)[None])[0]


class ByteEmbedding(nn.Module):
    """The input table of a student that reads bytes: the row of each byte, and that of the longest old token ending there.

    It needs to see the bytes before: a model that has it reads its text whole, without a cache of earlier steps.

    Args:
        own: rows of the ids of `vocab`.
        old: rows of the old vocabulary.
        vocab: bytes and special tokens; old tokens do not reach over the latter.
        old_vocab: of the model that the student comes from.
    """

    def __init__(self, own: nn.Embedding, old: nn.Embedding, vocab: Vocabulary, old_vocab: Vocabulary) -> None:
        super().__init__()
        self.own, self.old = own, old
        wide = np.flatnonzero(vocab.kinds <= Kind.BYTE)
        if (wrong := wide[vocab.lengths[wide] != 1]).size:
            raise InvalidInput(
                f"id {wrong[0]} stands for {vocab[int(wrong[0])]!r}; a student of bytes has single bytes"
            )
        self._byte_of = np.full(len(vocab), -1, np.int64)
        self._byte_of[wide] = vocab.buffer[vocab.offsets[wide]]
        self._endings = _Endings(old_vocab)

    @property
    def weight(self) -> Tensor:
        """The rows of the bytes, by which transformers tells the device and dtype."""
        return self.own.weight

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Rows, (B, T, D)."""
        longest = torch.from_numpy(self._endings(self._byte_of[ids_BT.cpu().numpy()])).to(ids_BT.device)
        return self.own(ids_BT) + self.old(longest.clamp(min=0)) * (longest >= 0)[..., None]


def _copied(old: Tokenizer, new: Tokenizer, pairs: tuple[np.ndarray, np.ndarray]) -> Rows:
    """A byte has no pieces: it has an old row, or it is drawn."""
    return Rows.copied(old.vocab, new.vocab, pairs)


def to_bytes(model: PreTrainedModel, *, old: Any, generator: torch.Generator) -> Transplanted:
    """Make a model read and write bytes, with the tokenizer "bytes": 256 of them and the end of text; changed in place.

    Args:
        model: a causal model of transformers.
        old: the tokenizer that it was trained with: whatever `load_tokenizer` reads.
        generator: of the rows that no old row serves, if any.
    Raises: InvalidInput: as for `transplant`.
    """
    table = copy.deepcopy(cast("nn.Embedding", model.get_input_embeddings()))
    done = transplant(model, load_tokenizer("bytes"), old=old, generator=generator, method=_copied)
    own = cast("nn.Embedding", model.get_input_embeddings())
    head = cast("nn.Linear", model.get_output_embeddings())
    # Tied so far; from here on two tables.
    apart = nn.Linear(head.in_features, head.out_features, bias=head.bias is not None, dtype=head.weight.dtype)
    apart.load_state_dict(head.state_dict())
    model.config.tie_word_embeddings = False
    model.set_output_embeddings(apart.to(head.weight.device))
    model.set_input_embeddings(ByteEmbedding(own, table, done.new.vocab, done.old.vocab))
    for config in (model.config, getattr(model, "generation_config", None)):
        if config is not None:
            config.use_cache = False
    return done
