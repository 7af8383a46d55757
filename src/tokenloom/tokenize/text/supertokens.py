"""Supertokens: multi-word tokens from one BPE pass over text that is cut at random places instead of at spaces.

Sharthak, Pahalwan, Kamath, Shirawalmath 2025, "Achieving Tokenizer Flexibility in Language Models through Heuristic
Adaptation and Supertoken Learning", arXiv 2505.09738, the second half. The lengths of the chunks are a soft prior on the
lengths of tokens: a string of l characters is left whole at a share sum_c p(c) max(0, c - l + 1) / mean of its places.

Differs from the authors' code: their default law sums to 1.10 and their own check refuses it, so here it is divided by
1.10; there is no separator, so none can occur in the text; each text is cut from its own seed.
"""
# N characters, C chunks

import random
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isclose
from types import MappingProxyType

import numpy as np
import regex
from numba import njit

from ...core.cuts import byte_positions
from ...core.errors import InvalidInput
from ...core.seeds import stream_seeds
from ...core.splitmix import below, draw, unit
from ...core.tally import Tally
from ...hosts.json_tokenizer import JsonTokenizer
from ...hosts.utf8 import valid_runs
from .bpe import UNIT_OF_BYTE, Pieces, Veto, bpe_tokenizer, learn_merges

__all__ = ["GAUSSIAN", "ChunkLaw", "Supertokens", "chunk_pieces", "expected_pieces"]

# The authors' default, whose probabilities sum to 1.10.
_PUBLISHED = {
    "4-5": 0.044,
    "6-7": 0.091,
    "8-9": 0.146,
    "10-11": 0.171,
    "12-13": 0.185,
    "14-15": 0.171,
    "16-17": 0.146,
    "18-19": 0.091,
    "20-21": 0.044,
    "22-23": 0.011,
}
GAUSSIAN: Mapping[str, float] = MappingProxyType({key: value / 1.1 for key, value in _PUBLISHED.items()})

_KEY = regex.compile(r"(\d+)-(\d+)")
# A run of so many equal characters is taken out of the training text.
_RUN = 7


@dataclass(frozen=True)
class ChunkLaw:
    """The law of chunk lengths: a range of characters by its probability, then a length in it, uniformly.

    Args:
        ranges: "a-b" → probability; 1 <= a <= b, probabilities from 0 to 1 that sum to 1. The default is the authors' law,
            divided by its sum of 1.10; mean 12.6 characters.
    Raises: InvalidInput: a key that is no range, probabilities that do not sum to 1.

    >>> ChunkLaw({"2-2": 1.0}).cut(5, np.uint64(0)).tolist()
    [0, 2, 4, 5]
    """

    ranges: Mapping[str, float] = field(default_factory=lambda: GAUSSIAN)

    def __post_init__(self) -> None:
        if not self.ranges:
            raise InvalidInput("a chunk law without ranges; write {'4-12': 1.0}, say")
        for key, probability in self.ranges.items():
            if not (found := _KEY.fullmatch(str(key))):
                raise InvalidInput(f"{key!r} is no range of lengths; write 'a-b', such as '4-5'")
            low, high = int(found[1]), int(found[2])
            if not 1 <= low <= high:
                raise InvalidInput(f"range {key!r}: lengths are at least 1, and the first is not above the second")
            if not 0 <= probability <= 1:
                raise InvalidInput(f"range {key!r} has probability {probability}; it must be from 0 to 1")
        if not isclose(total := sum(self.ranges.values()), 1, abs_tol=1e-9):
            raise InvalidInput(f"the probabilities sum to {total:.6g}, not to 1; divide each by it if that is meant")

    @cached_property
    def bounds(self) -> np.ndarray:
        """Least and greatest length of each range, int64 (ranges, 2)."""
        return np.array([[int(number) for number in key.split("-")] for key in self.ranges], np.int64)

    @cached_property
    def lengths(self) -> np.ndarray:
        """The probability of each length 0, 1, 2, …: float64 (greatest length + 1,)."""
        law = np.zeros(self.bounds.max() + 1)
        for (low, high), probability in zip(self.bounds, self.ranges.values()):
            law[low : high + 1] += probability / (high - low + 1)
        return law

    @property
    def mean(self) -> float:
        """Characters of a chunk, on average, in a long text."""
        return float(self.lengths @ np.arange(self.lengths.size))

    def cut(self, size: int, seed: np.uint64) -> np.ndarray:
        """Cut a text of `size` characters into chunks from a 64-bit seed: points from 0 to `size`, int64 (C + 1,).

        Only the last chunk may be shorter than the law allows.
        """
        return _cut(size, seed, np.cumsum(list(self.ranges.values())), self.bounds)

    def cut_as_published(self, size: int, generator: random.Random) -> np.ndarray:
        """`cut`, with the draws of the authors' code: the same chunks as theirs for the same state of `generator`."""
        ranges, points = self.bounds.tolist(), [0]
        least = int(self.bounds[:, 0].min())
        while (rest := size - points[-1]) > 0:
            if rest < least:
                points.append(size)
                break
            low, high = generator.choices(ranges, weights=list(self.ranges.values()), k=1)[0]
            points.append(points[-1] + generator.randint(min(low, rest), min(high, rest)))
        return np.array(points, np.int64)


@dataclass(frozen=True)
class Supertokens:
    """Learn BPE inside random chunks; the tokenizer then merges over whole texts, with no words at all.

    Texts are normalised to NFC, in training and in use. Runs of seven equal characters are taken out of the training text,
    as in the authors' code, so that long rules and deep indentation do not take up the vocabulary.

    Args:
        vocab_size: ids in all, special tokens included.
        law: of the chunks.
        passes: how often each text is cut, each time anew; counts add up.
        special: tokens that no text produces; they get the last ids.
        min_frequency: a pair that occurs less often is not merged; the authors use 2.
        max_length: bytes of a token at most; the authors' bound of 30 lets 29 pass.
        name: of the tokenizer.
    Raises: InvalidInput: a vocabulary smaller than the bytes and special tokens, a bound below 1.

    >>> tok = Supertokens(270, special=())(["of the day, of the sea, of the sky"] * 9, rng=np.random.default_rng(0))
    >>> b"of the " in tok.vocab
    True
    """

    vocab_size: int
    law: ChunkLaw = field(default_factory=ChunkLaw)
    passes: int = 1
    special: tuple[str, ...] = ("<|endoftext|>",)
    min_frequency: int = 2
    max_length: int | None = 29
    name: str = "supertokens"

    def __post_init__(self) -> None:
        if self.vocab_size < 256 + len(self.special):
            raise InvalidInput(
                f"vocab_size={self.vocab_size}; 256 bytes and {len(self.special)} special tokens need more"
            )
        if len(set(self.special)) < len(self.special) or "" in self.special:
            raise InvalidInput(f"special tokens {self.special} are empty or equal")
        for name in ("passes", "min_frequency", "max_length"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InvalidInput(f"{name}={value}; it must be >= 1")

    @property
    def veto(self) -> Veto:
        """Merges that are never made: those of tokens that are too long."""
        return Veto(max_length=self.max_length)

    def __call__(
        self,
        texts: Iterable[str | bytes],
        *,
        rng: np.random.Generator,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> JsonTokenizer:
        """Train on `texts`, read once.

        Args:
            texts: a stream of documents; bytes that are not UTF-8 are left out.
            rng: one 64-bit seed is drawn from it; the cuts of a text depend on that, its number and the pass alone.
            progress: called with what is being done, how much of it is done, and of how much (None: not known).
        Raises: InvalidInput: there is no text, or `rng` is no generator.
        """
        if not isinstance(rng, np.random.Generator):
            raise InvalidInput(f"rng is {rng!r}; pass numpy.random.default_rng(seed)")
        seed = int(rng.integers(0, 2**63))

        def told(what: str, total: int | None = None) -> Callable[[int], None] | None:
            return None if progress is None else lambda done: progress(what, done, total)

        pieces = chunk_pieces(texts, self.law, seed, passes=self.passes, progress=told("bytes read"))
        return self.learn(pieces, progress=told("merges learnt", self.vocab_size - 256 - len(self.special)))

    def learn(self, pieces: Pieces, *, progress: Callable[[int], None] | None = None) -> JsonTokenizer:
        """Train on chunks that are counted already; `progress` is called with the merges learnt."""
        merges = learn_merges(
            pieces,
            256,
            self.vocab_size - 256 - len(self.special),
            min_frequency=self.min_frequency,
            veto=self.veto,
            progress=progress,
        )
        return bpe_tokenizer(merges, None, self.special, normalizer={"type": "NFC"}, name=self.name)


def chunk_pieces(
    texts: Iterable[str | bytes],
    law: ChunkLaw,
    seed: int,
    *,
    passes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Pieces:
    """The different chunks of random cuts without their runs of seven, counted.

    Args:
        texts: read once.
        law: of the chunks.
        seed: 0 to 2^64 - 1; text k is cut in pass e from the stream (seed, e, k).
        passes: cuts of each text.
        progress: called with the bytes read so far.
    Raises: InvalidInput: there is no text.
    """
    tally, read = Tally(), 0
    for number, text in enumerate(_normal(texts)):
        data = np.frombuffer(text.encode(), np.uint8)
        codes, places = np.frombuffer(text.encode("utf-32-le"), "<u4"), byte_positions(data)
        for cut in range(passes):
            points = law.cut(len(text), stream_seeds(seed, cut, number)[0])
            edges, weights = _without_runs(codes, points, 1)
            tally.add(data, places[edges], weights)
        read += data.size
        if progress is not None:
            progress(read)
    return _pieces(tally)


def expected_pieces(texts: Iterable[str | bytes], law: ChunkLaw, *, scale: int = 1000) -> Pieces:
    """What `chunk_pieces` tends to with ever more passes, away from the ends of texts: every stretch, by its probability.

    A chunk of c characters begins at any place with probability p(c) / mean; the count of a stretch of c characters is
    `scale` p(c), rounded. Costs as much as `mean` passes for every length of the law.
    """
    tally = Tally()
    for text in _normal(texts):
        data = np.frombuffer(text.encode(), np.uint8)
        codes, places = np.frombuffer(text.encode("utf-32-le"), "<u4"), byte_positions(data)
        for length in np.flatnonzero(np.round(law.lengths * scale)).tolist():
            weight = round(law.lengths[length] * scale)
            for first in range(min(length, max(0, len(text) - length + 1))):
                points = np.arange(first, len(text) + 1, length)
                edges, weights = _without_runs(codes, points, weight)
                tally.add(data, places[edges], weights)
    return _pieces(tally)


def _normal(texts: Iterable[str | bytes]) -> Iterator[str]:
    for text in texts:
        for run in valid_runs(text):
            if isinstance(run, str):
                yield unicodedata.normalize("NFC", run)


def _pieces(tally: Tally) -> Pieces:
    if not len(tally):
        raise InvalidInput("there is no text to train on")
    return Pieces(UNIT_OF_BYTE[tally.data], tally.starts, tally.counts)


@njit(cache=True, nogil=True)
def _cut(size, seed, cumulated, bounds):
    points, n, state = np.zeros(size + 1, np.int64), 0, seed
    least = bounds[:, 0].min()
    while points[n] < size:
        rest = size - points[n]
        length = rest
        if rest >= least:
            state, bits = draw(state)
            k = min(np.searchsorted(cumulated, unit(bits) * cumulated[-1], side="right"), cumulated.size - 1)
            low, high = min(bounds[k, 0], rest), min(bounds[k, 1], rest)
            state, bits = draw(state)
            state, more = below(bits >> np.uint64(32), state, np.uint64(high - low + 1))
            length = low + np.int64(more)
        points[n + 1] = points[n] + length
        n += 1
    return points[: n + 1].copy()


@njit(cache=True, nogil=True)
def _without_runs(codes, points, weight):
    """Cut at `points`, int64 (C + 1,), and around runs of seven equal characters in a chunk, other than line ends.

    Returns: the cuts, and the weight of each piece, which is 0 for a run.
    """
    edges, weights, n = np.empty(3 * points.size, np.int64), np.empty(3 * points.size, np.int64), 0
    edges[0] = points[0]
    for chunk in range(points.size - 1):
        begin = run = points[chunk]
        for i in range(begin + 1, points[chunk + 1]):
            if codes[i] != codes[run]:
                run = i
            elif i - run + 1 == _RUN and codes[i] != 10:
                if n + 3 > weights.size - 1:
                    edges = np.concatenate((edges, np.empty_like(edges)))
                    weights = np.concatenate((weights, np.empty_like(weights)))
                for edge, kept in ((run, weight), (i + 1, 0)):
                    edges[n + 1], weights[n] = edge, kept
                    n += 1
                begin = run = i + 1
        if n + 2 > weights.size - 1:
            edges = np.concatenate((edges, np.empty_like(edges)))
            weights = np.concatenate((weights, np.empty_like(weights)))
        edges[n + 1], weights[n] = points[chunk + 1], weight
        n += 1
    return edges[: n + 1].copy(), weights[:n].copy()
