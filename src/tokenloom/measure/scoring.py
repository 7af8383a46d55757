"""Log-probabilities of given ids under a causal language model: the one thing that every score here is a sum of."""
# B sequences of a batch, T positions, V ids

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["batches_by_length", "evaluating", "log_probs", "vocabulary_size"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout and gradients; the mode of the model afterwards is that before."""
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def vocabulary_size(model: nn.Module) -> int:
    """Ids that a `Transformer` or a Hugging Face causal model knows."""
    return model.config.vocab_size  # type: ignore[union-attr, return-value]


def batches_by_length(
    sequences: Sequence[np.ndarray], *, batch: int, model: nn.Module
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Sequences of like lengths together, longest first, so that too long ones and too little memory show at once.

    Args:
        sequences: integers (n,), none empty.
        batch: sequences of a batch.
        model: a `Transformer` or a Hugging Face causal model.
    Returns: indices of the sequences, int64 (B,), and their ids, int64 (B, T), filled up with 0 on the right, which a
        causal model does not see from the left.
    Raises: InvalidInput: an empty sequence, an id that the model does not know, or `batch` below 1.
    """
    import torch

    if batch < 1:
        raise InvalidInput(f"batch={batch}; it must be at least 1")
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    if (lengths == 0).any():
        raise InvalidInput(f"sequence {lengths.argmin()} is empty")
    known = vocabulary_size(model)
    for i, sequence in enumerate(sequences):
        # Here, not in the forward pass, which on a GPU fails without a word and for the whole process.
        if not 0 <= sequence.min() <= sequence.max() < known:
            wrong = sequence.min() if sequence.min() < 0 else sequence.max()
            raise InvalidInput(
                f"sequence {i} holds id {wrong}, but the model knows 0 … {known - 1}; whose ids are they?"
            )
    device = next(model.parameters()).device
    order = np.argsort(-lengths, kind="stable")
    for at in range(0, order.size, batch):
        chosen = order[at : at + batch]
        ids = np.zeros((chosen.size, lengths[chosen[0]]), np.int64)
        for row, index in zip(ids, chosen):
            row[: lengths[index]] = sequences[index]
        yield chosen, torch.from_numpy(ids).to(device)


def log_probs(
    model: nn.Module, sequences: Sequence[np.ndarray], firsts: Sequence[int] | np.ndarray, *, batch: int = 32
) -> list[np.ndarray]:
    """Log-probability of each id from `first` on, given all ids of its sequence before it.

    Args:
        model: a `Transformer` or a Hugging Face causal model; see `models.training.logits_of`.
        sequences: integers (n,), each within the model's context.
        firsts: for each sequence the position of the first id that is scored, 1 … n - 1.
        batch: sequences of a forward pass.
    Returns: natural logarithms, float64 (n - first,) for each sequence.
    Raises: InvalidInput: a `first` without an id before or at it; an empty sequence, an id that the model does not know.
    """
    import torch

    from ..models.training import logits_of

    if len(firsts) != len(sequences):
        raise InvalidInput(f"{len(firsts)} firsts for {len(sequences)} sequences")
    for i, (sequence, first) in enumerate(zip(sequences, firsts)):
        if not 1 <= first < len(sequence):
            raise InvalidInput(
                f"sequence {i} has {len(sequence)} ids, so first={first} must be in 1 … {len(sequence) - 1}"
            )
    results: list[np.ndarray] = [np.empty(0)] * len(sequences)
    with evaluating(model):
        for chosen, ids_BT in batches_by_length(sequences, batch=batch, model=model):
            logits_BTV = logits_of(model, {"input_ids": ids_BT})[:, :-1]
            # Row by row: the softmax of a whole batch would need its logits a second time in float32.
            for index, logits_TV, ids_T in zip(chosen, logits_BTV, ids_BT):
                scored = slice(firsts[index] - 1, len(sequences[index]) - 1)
                target_T = ids_T[1:][scored]
                loss_T = torch.nn.functional.cross_entropy(logits_TV[scored].float(), target_T, reduction="none")
                results[index] = -loss_T.double().cpu().numpy()
    return results
