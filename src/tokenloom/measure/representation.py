"""What the vectors inside a model say about its tokens: distances between tokenizations, linear probes, a plane.

Distances and plane after StochasTok (Sims et al. 2025, arXiv 2506.01687, section 5): a model that knows what is inside
its tokens holds the same word, cut differently, in nearly the same place.
"""
# N vectors, D width, K labels

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput
from .scoring import batches_by_length, evaluating

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "LabelProbe",
    "NumberProbe",
    "hidden_at_last",
    "layer_distances",
    "linear_probe",
    "number_probe",
    "pca",
    "representation_distance",
]


def hidden_at_last(model: nn.Module, sequences: Sequence[Sequence[int] | np.ndarray], *, batch: int = 32) -> np.ndarray:
    """The model's hidden states at the last id of each sequence, in every layer.

    Args:
        model: a `Transformer`, or a Hugging Face causal model, whose last layer comes after the final norm.
        sequences: ids of each, not empty.
        batch: sequences of a forward pass.
    Returns: float32 (layers + 1, N, D), embeddings first.
    """
    import torch

    arrays = [np.asarray(sequence, np.int64) for sequence in sequences]
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    with evaluating(model):
        for chosen, ids_BT in batches_by_length(arrays, batch=batch, model=model):
            if hasattr(getattr(model, "config", None), "model_type"):
                hidden = model(input_ids=ids_BT, output_hidden_states=True, use_cache=False).hidden_states
            else:
                hidden = model.run(ids_BT).hidden  # type: ignore[operator]
            last = torch.tensor([len(arrays[i]) - 1 for i in chosen], device=ids_BT.device)
            rows = torch.arange(len(chosen), device=ids_BT.device)
            parts.append((chosen, torch.stack([layer[rows, last] for layer in hidden]).float().cpu().numpy()))
    if not parts:
        raise InvalidInput("no sequence")
    first = parts[0][1]
    out = np.empty((first.shape[0], len(arrays), first.shape[2]), np.float32)
    for chosen, values in parts:
        out[:, chosen] = values
    return out


def representation_distance(hidden_by_word: Sequence[np.ndarray]) -> float:
    """How near the alternative tokenizations of a word lie to each other, relative to those of other words.

    With x the vectors scaled to length 1: the mean over words w of the mean over pairs i < j of `|x_wi - x_wj|`, divided
    by the mean over pairs of words v < w of the mean over all i, j of `|x_vi - x_wj|`.

    0: a word is one point however it is cut; 1: its tokenizations are as far apart as different words.
    The paper leaves open how words with many tokenizations weigh; here all words weigh the same.

    Args:
        hidden_by_word: at least 2 words, for each the vectors of its tokenizations, float (at least 2, D).
    Raises: InvalidInput: fewer, different widths, a zero or non-finite vector, or all words in one place.
    """
    words = [np.asarray(vectors, np.float64) for vectors in hidden_by_word]
    if len(words) < 2:
        raise InvalidInput(f"{len(words)} words; distances between words need at least 2")
    for i, vectors in enumerate(words):
        if vectors.ndim != 2 or vectors.shape[0] < 2 or vectors.shape[1] != words[0].shape[-1]:
            raise InvalidInput(
                f"word {i} has vectors of shape {vectors.shape}; need (at least 2, {words[0].shape[-1]})"
            )
    x_ND = np.concatenate(words)
    norms = np.linalg.norm(x_ND, axis=1)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise InvalidInput("a vector is zero or not finite, so it has no direction")
    x_ND /= norms[:, None]
    counts = np.array([len(vectors) for vectors in words])
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    within, between = 0.0, 0.0
    for word, (start, count) in enumerate(zip(starts, counts)):
        # Word by word, so that memory holds the distances of one word to all, never all to all.
        square = np.maximum(0.0, 2 - 2 * (x_ND[start : start + count] @ x_ND.T))
        square[np.arange(count), start + np.arange(count)] = 0.0
        sums = np.add.reduceat(np.sqrt(square).sum(0), starts)
        within += sums[word] / (count * (count - 1))
        between += np.delete(sums / (count * counts), word).sum()
    between /= len(words) * (len(words) - 1)
    if between < 1e-7:  # rounding of 2 - 2 cos alone gives 1e-8
        raise InvalidInput("all words lie in one direction, so there is no distance to compare with")
    return float(within / len(words) / between)


def layer_distances(
    model: nn.Module, words: Sequence[Sequence[Sequence[int] | np.ndarray]], *, batch: int = 32
) -> np.ndarray:
    """`representation_distance` in each layer, at the last id of alternative tokenizations.

    Args:
        words: for each word the ids of its tokenizations, at least 2.
    Returns: float64 (layers + 1,), embeddings first.
    """
    hidden = hidden_at_last(model, [ids for word in words for ids in word], batch=batch)
    cuts = np.cumsum([len(word) for word in words])[:-1]
    return np.array([representation_distance(np.split(layer, cuts)) for layer in hidden])


@dataclass(frozen=True)
class LabelProbe:
    """How well yes-or-no labels can be read off vectors that the probe was not fitted to.

    Args:
        accuracy: share of right labels, mean over labels.
        majority: the same for always answering what is more frequent in training.
        auc: probability that a yes scores above a no (half for equal ones), mean over the labels that have both in the
            test vectors; 0.5 is chance. Unlike accuracy it also tells for rare labels.
    """

    accuracy: float
    majority: float
    auc: float


@dataclass(frozen=True)
class NumberProbe:
    """How well a number can be read off vectors that the probe was not fitted to.

    Args:
        r2: 1 - mean squared error / variance of the test numbers; 1 is perfect.
        baseline: the same for always answering the training mean; at most 0.
    """

    r2: float
    baseline: float


def linear_probe(
    train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray, *, ridge: float = 0.1
) -> LabelProbe:
    """Read labels off vectors linearly, such as which letters a token contains: ridge regression on -1 and 1.

    With X the training vectors standardised by their own mean and deviation and Y the centred targets,
    W = (X'X / N + ridge I)^-1 X'Y / N; a label is yes where the prediction is positive. After Alain and Bengio 2016,
    arXiv 1610.01644, in closed form.

    Args:
        train_x, test_x: float (N, D); no token should be in both.
        train_y, test_y: bool (N, K).
        ridge: shrinkage relative to the unit variance of a feature, > 0; the default is ours.
    Raises: InvalidInput: shapes that do not fit, values that are not finite, labels that are not bool, no label with a
        yes and a no in the test vectors.
    """
    if train_y.dtype != bool or test_y.dtype != bool:
        raise InvalidInput(f"labels are {train_y.dtype} and {test_y.dtype}; they must be bool")
    if train_y.ndim != 2:
        raise InvalidInput(f"train_y has shape {train_y.shape}; need (N, K)")
    scores_NK = _ridge(train_x, np.where(train_y, 1.0, -1.0), test_x, test_y, ridge)
    accuracy = ((scores_NK > 0) == test_y).mean()
    majority = ((train_y.mean(0) > 0.5) == test_y).mean()
    areas = [_auc(score, label) for score, label in zip(scores_NK.T, test_y.T) if label.any() and not label.all()]
    if not areas:
        raise InvalidInput("no label has both a yes and a no among the test vectors")
    return LabelProbe(float(accuracy), float(majority), float(np.mean(areas)))


def number_probe(
    train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray, *, ridge: float = 0.1
) -> NumberProbe:
    """Read a number off vectors linearly, such as the length of a token; the same regression as `linear_probe`.

    Args:
        train_x, test_x: float (N, D); no token should be in both.
        train_y, test_y: numbers (N,), not all the same in the test.
        ridge: see `linear_probe`.
    """
    if train_y.ndim != 1:
        raise InvalidInput(f"train_y has shape {train_y.shape}; need (N,)")
    train, test = train_y.astype(np.float64)[:, None], test_y.astype(np.float64)[:, None]
    error = ((_ridge(train_x, train, test_x, test, ridge) - test) ** 2).mean()
    variance = test.var()
    if variance == 0:
        raise InvalidInput(f"all test numbers are {test[0, 0]}; there is nothing to tell apart")
    return NumberProbe(float(1 - error / variance), float(1 - ((train.mean() - test) ** 2).mean() / variance))


def pca(x_ND: np.ndarray, *, dims: int = 2) -> np.ndarray:
    """Vectors in the plane in which they differ most: principal components of standardised features.

    Features without variance count nothing. The sign of a component is such that its largest loading is positive.

    Args:
        x_ND: float (N, D), finite.
        dims: components, at most min(N, D).
    Returns: coordinates, float64 (N, dims), centred, variance falling from left to right.
    """
    if x_ND.ndim != 2 or not np.isfinite(x_ND).all():
        raise InvalidInput(f"vectors of shape {x_ND.shape} must be (N, D) and finite")
    if not 1 <= dims <= min(x_ND.shape):
        raise InvalidInput(f"dims={dims}; it must be in 1 … {min(x_ND.shape)} for vectors of shape {x_ND.shape}")
    mean, scale = _moments(x_ND)
    z_ND = (x_ND - mean) / scale
    _, _, loadings = np.linalg.svd(z_ND, full_matrices=False)
    loadings = loadings[:dims]
    largest = loadings[np.arange(dims), np.abs(loadings).argmax(1)]
    return z_ND @ (loadings * np.sign(largest)[:, None]).T


def _moments(x_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each feature in float64, 1 where it does not vary beyond rounding."""
    mean = x_ND.mean(0, dtype=np.float64)
    scale = x_ND.std(0, dtype=np.float64)
    return mean, np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)


def _ridge(
    train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray, ridge: float
) -> np.ndarray:
    for name, x, y in (("train", train_x, train_y), ("test", test_x, test_y)):
        if x.ndim != 2 or not len(x) or len(x) != len(y):
            raise InvalidInput(f"{name}_x has shape {x.shape} and {name}_y {len(y)} rows; need (N, D) and N")
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise InvalidInput(f"{name}_x or {name}_y is not finite")
    if train_x.shape[1] != test_x.shape[1] or train_y.shape[1:] != test_y.shape[1:]:
        raise InvalidInput(
            f"training has {train_x.shape[1:]} features and {train_y.shape[1:]} labels, "
            f"the test {test_x.shape[1:]} and {test_y.shape[1:]}"
        )
    if not ridge > 0:
        raise InvalidInput(f"ridge={ridge}; it must be above 0")
    mean, scale = _moments(train_x)
    x, offset = (train_x - mean) / scale, train_y.mean(0)
    gram = x.T @ x / len(x) + ridge * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (train_y - offset) / len(x))
    return (test_x - mean) / scale @ weights + offset


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve by the ranks of the yes (Mann and Whitney); equal scores share their mean rank."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (counts.cumsum() - (counts - 1) / 2)[place]
    yes = labels.sum()
    return float((rank[labels].sum() - yes * (yes + 1) / 2) / (yes * (labels.size - yes)))
