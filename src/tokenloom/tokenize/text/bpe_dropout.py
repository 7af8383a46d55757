"""BPE-dropout: encode the same text differently each time by leaving out merges at random.

Provilkov, Emelianenko, Voita 2020, "BPE-Dropout: Simple and Effective Subword Regularization", arXiv 1910.13267,
Algorithm 1; the baseline of StochasTok. Unlike StochasTok it runs the tokenizer again, may cut across the plain tokens
of a word, and can emit intermediate tokens that a pruned vocabulary lacks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import regex
from numba import njit

from ...core.errors import InvalidInput
from ...core.merges import GPT2_PATTERN, merges_of
from ...core.segmentation import Ragged, Segmentation
from ...core.splitmix import draw, unit
from ...core.tokenizer import as_bytes
from ...core.vocabulary import Vocabulary

__all__ = ["BPEDropout"]


@dataclass(frozen=True)
class BPEDropout:
    """Byte-level BPE in which every possible merge is left out with probability `dropout`, anew at each step.

    At each step the earliest merge among those not left out is made, the leftmost of equals; a pretoken is done when
    none remains. With dropout 0 this is plain BPE, with 1 it gives single bytes.

    Args:
        vocab: a byte-level BPE vocabulary whose ids rise in the order of the merges.
        dropout: probability from 0 to 1; the authors use 0.1.
        pattern: regular expression (package `regex`) of the pretokens, within which merges happen; what it does not
            match is a pretoken too.
    Raises:
        InvalidInput: `dropout` is no probability, or `pattern` no regular expression.
        VocabularyError: see `tokenloom.core.merges.merges_of`.
    """

    vocab: Vocabulary
    dropout: float = 0.1
    pattern: str = GPT2_PATTERN
    _keys: np.ndarray = field(init=False, repr=False, compare=False)
    _results: np.ndarray = field(init=False, repr=False, compare=False)
    _of_byte: np.ndarray = field(init=False, repr=False, compare=False)
    _words: regex.Pattern = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.dropout <= 1:
            raise InvalidInput(f"dropout={self.dropout}; it is a probability from 0 to 1")
        try:
            words = regex.compile(self.pattern)
        except regex.error as error:
            raise InvalidInput(f"pattern {self.pattern!r} is no regular expression: {error}") from error
        merges = merges_of(self.vocab)
        results = np.flatnonzero(merges[:, 0] >= 0).astype(np.int32)
        keys = merges[results, 0].astype(np.int64) << 32 | merges[results, 1]
        order = np.argsort(keys)
        of_byte = np.array([self.vocab.id_of(bytes([i])) for i in range(256)], np.int32)
        values = {"_keys": keys[order], "_results": results[order], "_of_byte": of_byte, "_words": words}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __call__(self, text: str | bytes, *, rng: np.random.Generator) -> Segmentation:
        """Cut `text`; one 64-bit seed is drawn from `rng`. Bytes that are not UTF-8 never merge with their neighbours."""
        data = as_bytes(text)
        ids = self._ids(data, rng.integers(0, 2**64, dtype=np.uint64))
        offsets = np.zeros(ids.size + 1, np.int64)
        np.cumsum(self.vocab.lengths[ids], out=offsets[1:])
        return Segmentation(ids, offsets, data)

    def encode_batch(self, texts: Sequence[str | bytes], seeds: np.ndarray) -> Ragged:
        """Cut each text from its own seed, uint64 (texts,)."""
        if len(seeds) != len(texts):
            raise InvalidInput(f"{len(texts)} texts need as many seeds, got {len(seeds)}")
        return Ragged.of([self._ids(as_bytes(text), seed) for text, seed in zip(texts, seeds)])

    def _ids(self, data: bytes, seed: np.uint64) -> np.ndarray:
        # latin-1 would keep positions but not letters, so words are found in characters; surrogateescape keeps one
        # character for each byte that is no UTF-8, and its width in bytes.
        text = data.decode("utf-8", "surrogateescape")
        ends = np.fromiter((m.end() for m in self._words.finditer(text)), np.int64)
        starts = np.fromiter((m.start() for m in self._words.finditer(text)), np.int64)
        cuts = np.unique(np.concatenate([[0, len(text)], starts, ends]))
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        escaped = (codes >= 0xDC80) & (codes <= 0xDCFF)
        widths = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
        widths[escaped] = 1
        bytes_before = np.concatenate([[0], np.cumsum(widths)])
        lone = np.flatnonzero(escaped)
        cuts = np.unique(np.concatenate([cuts, lone, lone + 1]))
        units = self._of_byte[np.frombuffer(data, np.uint8)]
        return _merge(units, bytes_before[cuts], seed, self.dropout, self._keys, self._results)


@njit(cache=True, nogil=True)
def _merge(units, cuts, seed, dropout, keys, results):
    out, at, state = np.empty(units.size, np.int32), 0, seed
    for w in range(cuts.size - 1):
        # The word is merged in place in `out`, behind the words before it.
        parts = cuts[w + 1] - cuts[w]
        out[at : at + parts] = units[cuts[w] : cuts[w + 1]]
        while parts > 1:
            best, merged = -1, np.int32(-1)
            for k in range(at, at + parts - 1):
                key = np.int64(out[k]) << 32 | np.int64(out[k + 1])
                row = np.searchsorted(keys, key)
                if row == keys.size or keys[row] != key:
                    continue
                state, z = draw(state)
                if unit(z) >= dropout and (best < 0 or results[row] < merged):
                    best, merged = k, results[row]
            if best < 0:
                break
            out[best] = merged
            parts -= 1
            for k in range(best + 1, at + parts):
                out[k] = out[k + 1]
        at += parts
    return out[:at]
