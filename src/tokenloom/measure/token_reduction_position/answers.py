"""What a model says when tokens are missing: how near to before, how true, and whether it invents."""
# Q questions, V ids, T tokens

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from ...core.errors import InvalidInput

__all__ = ["Chair", "Probes", "agreement", "chair", "distinct", "divergence", "extra_nats", "probes", "recall_by_depth"]


def divergence(full_QV: np.ndarray, reduced_QV: np.ndarray) -> float:
    """Kullback-Leibler divergence of the next-token distributions, KL(full || reduced), the mean over questions, in nats.

    Args:
        full_QV: logits with all tokens, (…, V).
        reduced_QV: logits with fewer.
    Raises: InvalidInput: shapes that differ, or logits that are not finite.
    """
    full, reduced = _log_softmax(full_QV), _log_softmax(reduced_QV)
    if full.shape != reduced.shape or not full.size:
        raise InvalidInput(f"logits of shapes {full.shape} and {reduced.shape}")
    return float(np.maximum((np.exp(full) * (full - reduced)).sum(-1), 0).mean())


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    if not np.isfinite(logits).all():
        raise InvalidInput("logits are not finite")
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def agreement(full_QV: np.ndarray, reduced_QV: np.ndarray) -> float:
    """Share of questions whose likeliest next token is the same.

    Raises: InvalidInput: shapes that differ, no question, or logits that are NaN.
    """
    full_QV, reduced_QV = np.asarray(full_QV), np.asarray(reduced_QV)
    if full_QV.shape != reduced_QV.shape or not full_QV.size or np.isnan(full_QV).any() or np.isnan(reduced_QV).any():
        raise InvalidInput(
            f"logits of shapes {full_QV.shape} and {reduced_QV.shape}; they must be equal, and no value NaN"
        )
    return float((np.argmax(full_QV, -1) == np.argmax(reduced_QV, -1)).mean())


@dataclass(frozen=True)
class Probes:
    """How yes-no questions on objects were answered (POPE, Li et al. 2023, arXiv 2305.10355).

    Args:
        accuracy: share of right answers.
        precision: share of right ones among "yes"; NaN without a "yes".
        recall: share of "yes" among the objects that are there; NaN if none is.
        f1: harmonic mean of both, 0 where nothing was right.
        yes: share of "yes"; above the share of objects that are there, the model invents.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes: float


def probes(said_yes_Q: np.ndarray, there_Q: np.ndarray) -> Probes:
    """Score "Is there a … in the picture?".

    Args:
        said_yes_Q: bool, whether the model said yes.
        there_Q: bool, whether the object is there.
    Raises: InvalidInput: no question, or lengths that differ.

    >>> probes(np.array([True, True, False, False]), np.array([True, False, True, False])).f1
    0.5
    """
    said, there = np.asarray(said_yes_Q, bool), np.asarray(there_Q, bool)
    if said.shape != there.shape or said.ndim != 1 or not said.size:
        raise InvalidInput(f"{said.size} answers to {there.size} questions")
    right = int((said & there).sum())
    return Probes(
        float((said == there).mean()),
        right / said.sum() if said.any() else float("nan"),
        right / there.sum() if there.any() else float("nan"),
        2 * right / max(1, int(said.sum() + there.sum())),
        float(said.mean()),
    )


@dataclass(frozen=True)
class Chair:
    """Objects that captions invent (CHAIR, Rohrbach et al. 2018, arXiv 1809.02156).

    Args:
        mentions: share of mentioned objects that are not there (CHAIR_i); NaN where nothing is mentioned.
        captions: share of captions with such an object (CHAIR_s).
        per_100_tokens: invented mentions in 100 tokens of caption: shorter captions invent less for that reason alone.
    """

    mentions: float
    captions: float
    per_100_tokens: float


def chair(mentioned: Sequence[Sequence[str]], there: Sequence[Set[str]], tokens: Sequence[int]) -> Chair:
    """Count the objects in captions that their pictures do not show.

    Args:
        mentioned: objects in each caption, each as often as it is mentioned.
        there: objects in each picture.
        tokens: length of each caption, above 0.
    Raises: InvalidInput: no caption, lengths that differ, a caption of no token.

    >>> chair([["dog", "cat"], ["sky"]], [{"dog"}, {"sky"}], [10, 10])
    Chair(mentions=0.3333333333333333, captions=0.5, per_100_tokens=5.0)
    """
    if not len(mentioned) == len(there) == len(tokens) or not mentioned or min(tokens) < 1:
        raise InvalidInput(f"{len(mentioned)} captions, {len(there)} pictures, {len(tokens)} lengths (each above 0)")
    invented = [sum(name not in real for name in names) for names, real in zip(mentioned, there)]
    total = sum(map(len, mentioned))
    return Chair(
        sum(invented) / total if total else float("nan"),
        float(np.mean([count > 0 for count in invented])),
        100 * sum(invented) / sum(tokens),
    )


def distinct(ids_T: np.ndarray, n: int) -> float:
    """Share of different n-grams among all of a text (distinct-n, Li et al. 2016): low where a model repeats itself.

    Raises: InvalidInput: n below 1, or a text without an n-gram.

    >>> distinct(np.array([1, 2, 1, 2, 1]), 2)
    0.5
    """
    if not 1 <= n <= np.size(ids_T):
        raise InvalidInput(f"n={n} for a text of {np.size(ids_T)} tokens")
    grams = np.lib.stride_tricks.sliding_window_view(np.asarray(ids_T), n)
    return len(np.unique(grams, axis=0)) / len(grams)


def extra_nats(full_T: np.ndarray, reduced_T: np.ndarray) -> float:
    """What a reduced context costs the text behind it: nats per token, above 0 where it is predicted worse.

    Args:
        full_T: log-probabilities of its tokens with the whole context.
        reduced_T: and with the reduced one.
    Raises: InvalidInput: no token, or lengths that differ.
    """
    if np.shape(full_T) != np.shape(reduced_T) or not np.size(full_T):
        raise InvalidInput(f"{np.size(full_T)} and {np.size(reduced_T)} log-probabilities")
    return float(np.mean(np.asarray(full_T, np.float64) - np.asarray(reduced_T, np.float64)))


def recall_by_depth(found_Q: np.ndarray, depth_Q: np.ndarray, bins: int = 5) -> np.ndarray:
    """Share of needles found, by where in the context they were: float64 (bins,), NaN where none was.

    Args:
        found_Q: bool.
        depth_Q: from 0, the beginning, to 1, the end.
        bins: parts of the context, equally long.
    Raises: InvalidInput: lengths that differ, a depth outside [0, 1], no bin.
    """
    found, depth = np.asarray(found_Q, np.float64), np.asarray(depth_Q, np.float64)
    if found.shape != depth.shape or bins < 1 or not ((depth >= 0) & (depth <= 1)).all():
        raise InvalidInput(f"{found.size} needles at {depth.size} depths, each in [0, 1], in bins={bins} parts")
    part = np.minimum((depth * bins).astype(int), bins - 1)
    counts = np.bincount(part, minlength=bins)
    return np.divide(np.bincount(part, found, minlength=bins), counts, out=np.full(bins, np.nan), where=counts > 0)
