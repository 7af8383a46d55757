"""How many bits a model needs for a byte of text: the one score that tokenizers and segmentations share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput
from .scoring import log_probs, vocabulary_size

if TYPE_CHECKING:
    from torch import nn

__all__ = ["bits_per_byte", "text_bits", "token_log_probs"]


def bits_per_byte(log_probs: np.ndarray, text: bytes) -> float:
    """Average information of `text` under a model, comparable across tokenizers.

    bits per byte = -sum(log_probs) / (ln 2 * len(text))

    Args:
        log_probs: natural logarithms, float (n_tokens,), one per token of `text`, each <= 0.
        text: the bytes that were predicted; not empty.
    Returns: bits per byte, >= 0.
    Raises: InvalidInput: empty `text`, no log-probability, a positive or non-finite one.

    >>> bits_per_byte(np.log([0.5, 0.25]), b"abc")
    1.0
    """
    log_probs = np.asarray(log_probs, np.float64)
    if not text:
        raise InvalidInput("text is empty; bits per byte need at least one byte")
    if log_probs.ndim != 1 or not log_probs.size:
        raise InvalidInput(f"log_probs has shape {log_probs.shape}; need (n_tokens,) with at least one token")
    wrong = ~(np.isfinite(log_probs) & (log_probs <= 0))
    if wrong.any():
        place = int(wrong.argmax())
        raise InvalidInput(f"log_probs[{place}] is {log_probs[place]}; a log-probability is finite and at most 0")
    # + 0.0: a text predicted with certainty has 0 bits, not -0.
    return float(-log_probs.sum() / (math.log(2) * len(text))) + 0.0


def token_log_probs(
    model: nn.Module,
    documents: Sequence[np.ndarray],
    *,
    length: int,
    start: int | None = None,
    batch: int = 8,
) -> list[np.ndarray]:
    """Log-probability of every token of each document, given what comes before it in the document.

    A document longer than a window is read in windows that overlap by half: every token but those of the first window
    sees at least `length // 2` earlier ones, and each is scored once.

    Args:
        model: a `Transformer` or a Hugging Face causal model.
        documents: ids of each, integers (n,), perhaps empty; a `Ragged` for instance.
        length: ids of a window, at least 2 and at most what fits the model.
        start: id that stands before each document, such as end of text, as in the model's training. None where it saw
            none: then the first token of a document has the probability 1 / vocabulary size, as a code must pay for it.
        batch: windows of a forward pass.
    Returns: natural logarithms, float64 (n,) for each document.
    Raises: InvalidInput: `length` below 2, an id that the model does not know.
    """
    if length < 2:
        raise InvalidInput(f"length={length}; a window holds at least 2 ids")
    windows: list[np.ndarray] = []
    firsts: list[int] = []
    counts: list[int] = []
    for document in documents:
        ids = np.asarray(document, np.int64)
        if start is not None:
            ids = np.concatenate([[start], ids])
        before = len(windows)
        scored, end = 1, min(length, ids.size)
        while scored < ids.size:
            windows.append(ids[max(0, end - length) : end])
            firsts.append(windows[-1].size - (end - scored))
            scored, end = end, min(end + max(1, length // 2), ids.size)
        counts.append(len(windows) - before)
    parts = iter(log_probs(model, windows, firsts, batch=batch))
    uniform = -math.log(vocabulary_size(model)) if start is None else 0.0
    results = []
    for document, count in zip(documents, counts):
        known = [np.full(1, uniform)] if start is None and len(document) else []
        results.append(np.concatenate([*known, *(next(parts) for _ in range(count)), np.empty(0)]))
    return results


def text_bits(
    model: nn.Module,
    documents: Sequence[np.ndarray],
    texts: Sequence[bytes],
    *,
    length: int,
    start: int | None = None,
    batch: int = 8,
) -> float:
    """Bits per byte of a model on documents, all their bytes together; see `token_log_probs` and `bits_per_byte`.

    Args:
        documents: ids of each document, in any segmentation of its text.
        texts: the bytes of each document.
    Raises: InvalidInput: not as many documents as texts, or a text without tokens.
    """
    if len(documents) != len(texts):
        raise InvalidInput(f"{len(documents)} documents, but {len(texts)} texts")
    for i, (document, text) in enumerate(zip(documents, texts)):
        if bool(len(document)) != bool(text):
            raise InvalidInput(f"document {i} has {len(document)} ids for {len(text)} bytes")
    scores = token_log_probs(model, documents, length=length, start=start, batch=batch)
    return bits_per_byte(np.concatenate([*scores, np.empty(0)]), b"".join(texts))
