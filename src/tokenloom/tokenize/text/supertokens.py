"""Supertokens: multi-word tokens from one BPE pass over text that is cut at random places instead of at spaces.

Sharthak, Pahalwan, Kamath, Shirawalmath 2025, "Achieving Tokenizer Flexibility in Language Models through Heuristic
Adaptation and Supertoken Learning", arXiv 2505.09738, the second half. The lengths of the chunks are a soft prior on the
lengths of tokens: a string of l characters is left whole at a share sum_c p(c) max(0, c - l + 1) / mean of its places.

Differs from the authors' code: their default law sums to 1.10 and their own check refuses it, so here it is divided by
1.10; there is no separator, so none can occur in the text; texts are normalised before they are cut, not after; each is
cut from its own seed.
"""
# N characters, C chunks

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from ...core.cuts import byte_positions
from ...core.errors import InvalidInput
from ...core.seeds import stream_seeds
from ...core.tally import Tally
from ...hosts.json_tokenizer import JsonTokenizer
from ...hosts.utf8 import valid_runs
from .bpe import UNIT_OF_BYTE, Pieces, Veto, bpe_tokenizer, learn_merges
from .chunk_law import GAUSSIAN, ChunkLaw

__all__ = ["GAUSSIAN", "ChunkLaw", "Supertokens", "chunk_pieces", "expected_pieces"]

# A run of so many equal characters is taken out of the training text.
_RUN = 7


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
            rng: one seed is drawn from it; the cuts of a text depend on that, its number and the pass alone.
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
        seed: 0 to 2^64 - 1; the j-th valid stretch of text k is cut in pass e from the stream (seed, e, k, j).
        passes: cuts of each text.
        progress: called with the bytes read so far.
    Raises: InvalidInput: there is no text.
    """
    tally, read = Tally(), 0
    for where, codes, data, places in _normal(texts):
        for number in range(passes):
            points = law.cut(codes.size, stream_seeds(seed, number, *where)[0])
            edges, weights = _without_runs(codes, points, np.ones(points.size - 1, np.int64))
            tally.add(data, places[edges], weights)
        read += data.size
        if progress is not None:
            progress(read)
    return _pieces(tally)


def expected_pieces(texts: Iterable[str | bytes], law: ChunkLaw, *, passes: int = 1_000_000) -> Pieces:
    """What `chunk_pieces` gives on average: every stretch that can be a chunk, by the probability that it is one.

    For short texts: each character is met in every chunk that it can be in, 270 times with the default law, and nearly
    all stretches are different; a megabyte of text takes half a minute and a gigabyte of memory.

    Args:
        texts: read once.
        law: of the chunks.
        passes: whose counts are expected, rounded to whole numbers.
    Raises: InvalidInput: there is no text.

    >>> expected_pieces(["abc"], ChunkLaw({"1-2": 1.0}), passes=8).counts.tolist()  # a, b, c, ab, bc
    [4, 2, 6, 4, 2]
    """
    tally = Tally()
    for _, codes, data, places in _normal(texts):
        for length, chances in law.chances(codes.size):
            counts = np.rint(passes * chances).astype(np.int64)
            for first in range(length):
                points = np.arange(first, codes.size + 1, length)
                edges, weights = _without_runs(codes, points, counts[points[:-1]])
                tally.add(data, places[edges], weights)
    return _pieces(tally)


def _normal(texts: Iterable[str | bytes]) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray, np.ndarray]]:
    """The valid stretches in normal form: number of the text and in it, code points, bytes, first byte of each character."""
    for k, text in enumerate(texts):
        stretches = [unicodedata.normalize("NFC", run) for run in valid_runs(text) if isinstance(run, str)]
        for j, stretch in enumerate(stretches):
            data = np.frombuffer(stretch.encode(), np.uint8)
            yield (k, j), np.frombuffer(stretch.encode("utf-32-le"), "<u4"), data, byte_positions(data)


def _pieces(tally: Tally) -> Pieces:
    if not len(tally):
        raise InvalidInput("there is no text to train on")
    return Pieces(UNIT_OF_BYTE[tally.data], tally.starts, tally.counts)


@njit(cache=True, nogil=True)
def _without_runs(codes, points, weights):
    """Cut at `points`, int64 (C + 1,), and around runs of seven equal characters in a chunk, other than line ends.

    Returns: the cuts, and the weight of each piece: that of its chunk, and 0 for a run.
    """
    most = points.size + 2 * ((points[-1] - points[0]) // _RUN)
    edges, kept, n = np.empty(most, np.int64), np.empty(most, np.int64), 0
    edges[0] = points[0]
    for chunk in range(points.size - 1):
        run = points[chunk]
        for i in range(run + 1, points[chunk + 1]):
            if codes[i] != codes[run]:
                run = i
            elif i - run + 1 == _RUN and codes[i] != 10:
                edges[n + 1], kept[n] = run, weights[chunk]
                edges[n + 2], kept[n + 1] = i + 1, 0
                n += 2
                run = i + 1
        edges[n + 1], kept[n] = points[chunk + 1], weights[chunk]
        n += 1
    return edges[: n + 1].copy(), kept[:n].copy()
