"""From scores to decisions: a threshold by recall, as published, or by what the large model may cost; and how good scores are."""
# N places

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....core.errors import InvalidInput

__all__ = ["Quality", "quality", "threshold_for_rate", "threshold_for_recall"]


def threshold_for_recall(scores_N: Tensor, divergent_N: Tensor, min_recall: float = 0.95) -> float:
    """Of 100 values from 0.01 to 0.99 the one that routes fewest tokens while it finds enough of the divergent ones.

    Args:
        scores_N: probabilities of held-out tokens, all of them and not only mismatches.
        divergent_N: bool.
        min_recall: share of the divergent tokens that is to be found; where no value does, that with most recall is taken.
            Of equal values the lowest.
    Raises: InvalidInput: no divergent token, a share outside [0, 1], scores outside.

    >>> round(threshold_for_recall(torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.tensor([False, False, True, True])), 3)
    0.406
    """
    scores, divergent = _checked(scores_N, divergent_N)
    if not 0 <= min_recall <= 1:
        raise InvalidInput(f"{min_recall=}; it must be in [0, 1]")
    if not divergent.any():
        raise InvalidInput("no token is divergent; recall needs one at least")
    if scores.min() < 0 or scores.max() > 1:
        raise InvalidInput(f"scores from {scores.min()} to {scores.max()}; recall is sought in probabilities")
    values = np.linspace(0.01, 0.99, 100)
    all_scores, found = np.sort(scores), np.sort(scores[divergent])
    routed = len(all_scores) - np.searchsorted(all_scores, values, side="left")
    recall = (len(found) - np.searchsorted(found, values, side="left")) / len(found)
    enough = recall >= min_recall
    if not enough.any():
        return float(values[np.argmax(recall)])
    return float(values[enough][np.argmin(routed[enough])])


def threshold_for_rate(scores_N: Tensor, rate: float) -> float:
    """The lowest threshold that routes at most this share of the tokens; above all scores if none may be routed.

    Args:
        scores_N: of tokens like those to come; any real numbers, so that it serves entropy as well.
        rate: the large model's share of tokens, in [0, 1].
    Raises: InvalidInput: no scores, NaN, a rate out of range.

    >>> threshold_for_rate(torch.tensor([0.25, 0.5, 0.5, 0.75]), 0.5)
    0.75
    """
    scores = np.sort(_real(scores_N))[::-1]
    if not 0 <= rate <= 1:
        raise InvalidInput(f"{rate=}; it must be in [0, 1]")
    # Rounding must not lose a token: 0.29 · 100 is a little less than 29.
    most = int(np.floor(rate * len(scores) * (1 + 1e-12)))
    while 0 < most < len(scores) and scores[most] == scores[most - 1]:
        most -= 1  # equal scores are routed together or not at all
    return float(scores[most - 1]) if most else float("inf")


@dataclass(frozen=True)
class Quality:
    """How well scores find divergent tokens.

    Args:
        auc: how often a divergent token has a higher score than another one, equal ones counting half; NaN for one class only.
        recall: share of the divergent tokens that is routed; NaN if there are none.
        rate: share of all tokens that is routed.
    """

    auc: float
    recall: float
    rate: float


def quality(scores_N: Tensor, divergent_N: Tensor, threshold: float) -> Quality:
    """Judge scores by the labels of held-out tokens.

    >>> quality(torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([False, True, False, True]), threshold=0.5)
    Quality(auc=0.875, recall=0.5, rate=0.25)
    """
    scores, divergent = _checked(scores_N, divergent_N)
    routed, positives = scores >= threshold, int(divergent.sum())
    negatives = np.sort(scores[~divergent])
    if not positives or not len(negatives):
        auc = float("nan")
    else:
        below, up_to = (np.searchsorted(negatives, scores[divergent], side=side) for side in ("left", "right"))
        auc = float((below + up_to).sum() / (2 * positives * len(negatives)))
    return Quality(auc, float(routed[divergent].mean()) if positives else float("nan"), float(routed.mean()))


def _real(scores_N: Tensor) -> np.ndarray:
    scores = torch.as_tensor(scores_N).detach().double().cpu().numpy()
    if scores.ndim != 1 or not scores.size or np.isnan(scores).any():
        raise InvalidInput(f"scores of shape {scores.shape}; they must be a row of numbers, one at least, none NaN")
    return scores


def _checked(scores_N: Tensor, divergent_N: Tensor) -> tuple[np.ndarray, np.ndarray]:
    scores, divergent = _real(scores_N), torch.as_tensor(divergent_N).cpu().numpy().astype(bool)
    if scores.shape != divergent.shape:
        raise InvalidInput(f"{scores.size} scores for {divergent.size} labels")
    return scores, divergent
