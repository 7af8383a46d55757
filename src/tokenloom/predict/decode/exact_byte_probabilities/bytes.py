"""What every model of bytes can do, whatever it is made of: probabilities of the next byte, scores of texts, new text."""
# S = 257 symbols: the bytes, and the end of the text

from abc import ABC, abstractmethod

import numpy as np

from ....core.errors import InvalidInput
from ....core.tokenizer import as_bytes

__all__ = ["END", "ByteDistribution", "ByteText", "check_sampling", "sharpened"]

END = 256


class ByteText(ABC):
    """A text that grows byte by byte.

    `probabilities` are those of the next symbol, float64 (257,), of which the last is the end of the text; their sum is 1.
    """

    probabilities: np.ndarray

    @abstractmethod
    def push(self, byte: int) -> None:
        """Append a byte.

        Raises: InvalidInput: no byte, or one that cannot follow.
        """


class ByteDistribution(ABC):
    """A probability distribution over texts, given byte by byte."""

    @abstractmethod
    def start(self, prompt: str | bytes = b"") -> ByteText:
        """A text that begins with `prompt`."""

    def next_byte(self, prompt: str | bytes) -> np.ndarray:
        """Probabilities of what comes after `prompt`: float64 (257,), the bytes and the end of the text."""
        return self.start(prompt).probabilities

    def score(self, text: str | bytes, prompt: str | bytes = b"") -> np.ndarray:
        """Natural logarithms of the probability of each byte of `text` after `prompt`: float64 (bytes,).

        Bits per byte are `-score(text).mean() / log(2)`.
        """
        here = self.start(prompt)
        data = as_bytes(text)
        scores = np.empty(len(data))
        for at, byte in enumerate(data):
            with np.errstate(divide="ignore"):
                scores[at] = np.log(here.probabilities[byte])
            if at + 1 < len(data):
                here.push(byte)
        return scores

    def generate(
        self,
        prompt: str | bytes,
        *,
        new: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        rng: np.random.Generator | None = None,
    ) -> bytes:
        """Continue `prompt` by at most `new` bytes, up to the end of the text.

        Args:
            temperature: of the distribution over bytes; 0 takes the likeliest.
            top_p: the likeliest bytes that have together this probability at least, the others are not taken.
            rng: for sampling.
        Raises: InvalidInput: numbers out of range, sampling without `rng`.
        """
        check_sampling(new, temperature, top_p, rng)
        return self._continued(self.start(prompt), new, temperature, top_p, rng)

    def _continued(
        self, here: ByteText, new: int, temperature: float, top_p: float, rng: np.random.Generator | None
    ) -> bytes:
        out = bytearray()
        while True:
            symbol = _drawn(here.probabilities, temperature, top_p, rng)
            if symbol == END:
                return bytes(out)
            out.append(symbol)
            if len(out) == new:
                return bytes(out)
            here.push(symbol)


def check_sampling(new: int, temperature: float, top_p: float, rng: np.random.Generator | None) -> None:
    """Refuse what `generate` cannot use.

    Raises: InvalidInput: numbers out of range, sampling without `rng`.
    """
    if new < 1 or temperature < 0 or not 0 < top_p <= 1:
        raise InvalidInput(f"{new=}, {temperature=}, {top_p=}; need new >= 1, temperature >= 0, 0 < top_p <= 1")
    if temperature > 0 and not isinstance(rng, np.random.Generator):
        raise InvalidInput("sampling needs rng=numpy.random.default_rng(seed)")


def sharpened(probabilities_S: np.ndarray, temperature: float, top_p: float = 1.0) -> np.ndarray:
    """The distribution that is sampled from: p^(1 / temperature), of which the likeliest stay that have `top_p` together.

    >>> sharpened(np.array([0.5, 0.3, 0.2]), 1.0, 0.7)
    array([0.625, 0.375, 0.   ])
    """
    with np.errstate(divide="ignore"):
        logs_S = np.log(probabilities_S) / temperature
    weights_S = np.exp(logs_S - logs_S.max())
    weights_S /= weights_S.sum()
    order = np.argsort(-weights_S, kind="stable")
    before = np.cumsum(weights_S[order]) - weights_S[order]
    weights_S[order[before >= top_p]] = 0
    return weights_S / weights_S.sum()


def _drawn(probabilities_S: np.ndarray, temperature: float, top_p: float, rng: np.random.Generator | None) -> int:
    if temperature == 0 or rng is None:
        return int(probabilities_S.argmax())
    return int(rng.choice(probabilities_S.size, p=sharpened(probabilities_S, temperature, top_p)))
