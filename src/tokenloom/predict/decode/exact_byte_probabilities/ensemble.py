"""The mean of several models of bytes, whatever their vocabularies."""

from collections.abc import Sequence

import numpy as np

from ....core.errors import InvalidInput
from .bytes import ByteDistribution, ByteText

__all__ = ["Ensemble"]


class Ensemble(ByteDistribution):
    """Average the distributions of the next byte; all models read what was chosen.

    Args:
        models: at least one.
        weights: of each model, positive; None for equal ones.
    Raises: InvalidInput: no model, other than one weight for each, or a weight that is not positive.
    """

    def __init__(self, models: Sequence[ByteDistribution], weights: Sequence[float] | None = None) -> None:
        given = np.ones(len(models)) if weights is None else np.asarray(weights, float)
        if not len(models) or given.shape != (len(models),) or not (np.isfinite(given) & (given > 0)).all():
            raise InvalidInput(f"{len(models)} models with weights {given.tolist()}; need a positive one for each")
        self.models, self.weights = list(models), given / given.sum()

    def start(self, prompt: str | bytes = b"") -> ByteText:
        return _EnsembleText([model.start(prompt) for model in self.models], self.weights)


class _EnsembleText(ByteText):
    def __init__(self, texts: list[ByteText], weights: np.ndarray) -> None:
        self._texts, self._weights = texts, weights
        self._average()

    def push(self, byte: int) -> None:
        for text in self._texts:
            text.push(byte)
        self._average()

    def _average(self) -> None:
        self.probabilities = self._weights @ np.array([text.probabilities for text in self._texts])
