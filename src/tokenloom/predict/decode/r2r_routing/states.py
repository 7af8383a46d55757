"""What a router sees: the small model's state at the place where it has just chosen a token, and nothing of the large model."""
# N places, D width, K largest logits, V ids

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from ....core.errors import InvalidInput, VocabularyError
from ....core.vocabulary import Kind, Vocabulary
from ..session import CausalSession

__all__ = ["States", "common_ids", "read_states", "read_states_in", "shared_size", "states_of"]

_BLOCK = 256  # places whose logits are held at a time


@dataclass(frozen=True, eq=False)
class States:
    """The small model at N places, each with the token that it would write there.

    Args:
        hidden_ND: behind the final norm, where the head reads; in the model's dtype.
        tokens_N: int64, the tokens that were chosen.
        logits_NK: float32, the K largest ones as they are, largest first.
        entropy_N: float64, of the softmax of all logits, in nats.
    """

    hidden_ND: Tensor
    tokens_N: Tensor
    logits_NK: Tensor
    entropy_N: Tensor

    def __len__(self) -> int:
        return len(self.tokens_N)

    def __getitem__(self, which: slice | Tensor) -> States:
        """Some of the places."""
        return States(*(getattr(self, field.name)[which] for field in fields(self)))

    @staticmethod
    def joined(parts: Sequence[States]) -> States:
        """The places of all parts, one part behind the other.

        Raises: InvalidInput: no part.
        """
        if not parts:
            raise InvalidInput("no states to join")
        return States(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(States)))


def states_of(logits_NV: Tensor, hidden_ND: Tensor, *, k: int, tokens_N: Tensor | None = None) -> States:
    """States from what a model gave for N places.

    Args:
        k: logits that are kept, K.
        tokens_N: that were chosen; None for the most probable ones.
    Raises: InvalidInput: k below 1, or more than there are ids.

    >>> one = states_of(torch.tensor([[1.0, 3.0, 3.0]]), torch.zeros(1, 4), k=2)
    >>> one.tokens_N.tolist(), one.logits_NK.tolist()
    ([1], [[3.0, 3.0]])
    """
    if not 1 <= k <= logits_NV.shape[1]:
        raise InvalidInput(f"{k=} logits are to be kept, but there are {logits_NV.shape[1]} ids")
    log_p_NV = logits_NV.double().log_softmax(1)
    tokens_N = logits_NV.argmax(1) if tokens_N is None else tokens_N
    # An impossible id has a logit of -inf and adds nothing, but 0 · -inf would be NaN.
    entropy_N = -(log_p_NV.exp() * log_p_NV.clamp(min=-1e300)).sum(1)
    return States(hidden_ND, tokens_N, logits_NV.topk(k, dim=1).values.float(), entropy_N)


def read_states(small: nn.Module, ids: Sequence[int], *, start: int, k: int = 100, shared: int | None = None) -> States:
    """The states behind the first `start` ids, behind the first `start` + 1 …, behind all, in one reading of the sequence.

    Args:
        small: a causal model, as for `CausalSession`.
        ids: at least `start` of them.
        start: at least 1.
        k: logits that are kept.
        shared: ids that count; None for all.
    Raises: InvalidInput: numbers out of range.
    """
    if not 1 <= start <= len(ids):
        raise InvalidInput(f"{start=} of {len(ids)} ids; it must be at least 1 and no more than there are")
    return read_states_in(CausalSession(small), ids, start=start, k=k, shared=shared)


def read_states_in(session: CausalSession, ids: Sequence[int], *, start: int, k: int, shared: int | None) -> States:
    """`read_states` in a session that has read nothing yet, and then knows what it took."""
    parts = []
    if start > 1:
        session.extend(ids[: start - 1], last=True)
    for place in range(start - 1, len(ids), _BLOCK):
        step = session.extend(ids[place : place + _BLOCK], hidden=True)
        assert step.hidden_ND is not None
        parts.append(states_of(step.logits_NV[:, :shared], step.hidden_ND, k=k))
    return States.joined(parts)


def shared_size(large: CausalSession, small: CausalSession, shared: int | None) -> int:
    """How many ids count: all, or the first `shared` of vocabularies that are padded to different sizes.

    Raises: InvalidInput: different sizes and nothing said about it, or more ids than one of the models has.
    """
    sizes = large.vocab_size, small.vocab_size
    if shared is None and sizes[0] != sizes[1]:
        raise InvalidInput(
            f"the large model has {sizes[0]} ids and the small one {sizes[1]}; both must have one tokenizer, and where "
            "only the padding differs, `shared` says how many ids there are"
        )
    if shared is not None and not 1 <= shared <= min(sizes):
        raise InvalidInput(f"{shared=}; the models have {sizes[0]} and {sizes[1]} ids")
    return min(sizes) if shared is None else shared


def common_ids(large: Vocabulary, small: Vocabulary) -> int:
    """How many ids two vocabularies have that are the same but for unused ids at the end.

    Raises: VocabularyError: an id that stands for something else in the other.

    >>> padded = Vocabulary([b"a", b"b", b""], kinds=[0, 0, Kind.UNUSED])
    >>> common_ids(Vocabulary([b"a", b"b"]), padded)
    2
    """
    sizes = [int(np.flatnonzero(vocab.kinds != Kind.UNUSED).max(initial=-1)) + 1 for vocab in (large, small)]
    for i in range(min(sizes)):
        if large[i] != small[i] or large.kinds[i] != small.kinds[i]:
            raise VocabularyError(
                f"id {i} is {large[i]!r} for the large model and {small[i]!r} for the small one; both must have one tokenizer"
            )
    if sizes[0] != sizes[1]:
        raise VocabularyError(f"the large model has {sizes[0]} tokens and the small one {sizes[1]}")
    return sizes[0]
