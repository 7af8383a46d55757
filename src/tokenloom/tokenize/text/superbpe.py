"""SuperBPE: byte-pair encoding in two stages, so that late tokens may span several words.

Liu, Hayase, Hofmann, Oh, Smith, Choi 2025, "SuperBPE: Space Travel for Language Models", arXiv 2503.13423, section 2. Up to
the transition, merges stay inside words; from there on they may cross spaces inside a line. The encoder uses the weak
pattern of the second stage throughout: subwords form first, because their merges have lower ranks.

Differs from the authors' code: the first merges are made in each different line by the encoder, not replayed one by one on
the corpus, to the same result in a quarter of the memory; and all of them stay in the list, also those that never occur
in the corpus, so that ids of an extended tokenizer do not move.
"""
# M merges, t transition, V vocabulary

import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ...core.cuts import O200K_WORDS
from ...core.errors import InvalidInput, VocabularyError
from ...core.merges import merges_of
from ...core.tokenizer import Tokenizer
from ...core.vocabulary import Kind, Vocabulary
from ...hosts.json_tokenizer import JsonTokenizer
from .bpe import (
    BYTE_OF_UNIT,
    UNIT_OF_BYTE,
    Pieces,
    Veto,
    bpe_tokenizer,
    count_all,
    count_pieces,
    learn_merges,
)

__all__ = ["SUPERWORDS", "SuperBPE", "count_lines"]

# Digits in threes, runs of signs, and spaces at the end of a line stand apart; all the rest of a line is one piece. As
# published: marks are signs here and not letters, which cuts words of scripts whose vowels are marks.
SUPERWORDS = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)"
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class SuperBPE:
    """Learn merges inside words up to the transition t, then merges that may cross spaces, up to the vocabulary size.

    A merge of the second stage is dropped for good if its token had more than `max_words` words (non-empty parts between
    spaces) or a colon followed by a space: answers such as "Answer: A" would fuse into one token.

    Args:
        vocab_size: ids in all, special tokens included.
        transition: t, bytes and merges of the first stage, from 256 to below the ids that are learnt; None takes nine
            tenths of them, the share of the authors' best model. 256 is "no curriculum".
        max_words: of a token of the second stage, >= 1; the authors use 4.
        special: tokens that no text produces; they get the last ids.
        min_frequency: a pair that occurs less often is not merged.
        dropout: probability that a merge whose right part begins with a space is dropped for good, a variant of the
            authors' code.
        name: of the tokenizer.
    Raises: InvalidInput: a vocabulary smaller than the bytes and special tokens, a transition outside, a bound below 1.

    >>> texts = ["by the way, by the way, this is by the way\\n"] * 3
    >>> SuperBPE(275, transition=268, special=())(texts).encode("by the way").tokens()
    [b'by the way']
    """

    vocab_size: int
    transition: int | None = None
    max_words: int = 4
    special: tuple[str, ...] = ("<|endoftext|>",)
    min_frequency: int = 1
    dropout: float = 0.0
    name: str = "superbpe"

    def __post_init__(self) -> None:
        learnt = self.vocab_size - len(self.special)
        if learnt < 257:
            raise InvalidInput(
                f"vocab_size={self.vocab_size}; 256 bytes, {len(self.special)} special tokens and a merge need more"
            )
        if len(set(self.special)) < len(self.special) or "" in self.special:
            raise InvalidInput(f"special tokens {self.special} are empty or equal")
        if self.transition is None:
            object.__setattr__(self, "transition", max(256, learnt * 9 // 10))
        if not 256 <= self._transition < learnt:
            raise InvalidInput(
                f"transition={self.transition}; it lies from 256, the bytes, to below {learnt}, the ids that are learnt"
            )
        if self.max_words < 1:
            raise InvalidInput(f"max_words={self.max_words}; a token has at least one word")
        if self.min_frequency < 1:
            raise InvalidInput(f"min_frequency={self.min_frequency}; it must be >= 1")
        if not 0 <= self.dropout <= 1:
            raise InvalidInput(f"dropout={self.dropout}; it is a probability from 0 to 1")

    def __call__(
        self,
        texts: Iterable[str | bytes],
        *,
        rng: np.random.Generator | None = None,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> JsonTokenizer:
        """Train both stages on `texts`, read once and cut into lines.

        Args:
            texts: a stream of documents; bytes that are not UTF-8 are left out.
            rng: one 64-bit seed is drawn from it; needed with `dropout` only.
            progress: called with what is being done, how much of it is done, and of how much (None: not known).
        Raises: InvalidInput: there is no text, or `dropout` without `rng`.
        """
        self._seed(rng)  # refuses before the reading
        words, lines = count_lines(texts, progress=_Told(progress)("bytes read"))
        return self.learn(words, lines, rng=rng, progress=progress)

    def learn(
        self,
        words: Pieces,
        lines: Pieces,
        *,
        rng: np.random.Generator | None = None,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> JsonTokenizer:
        """Train on what `count_lines` counted, so that several transitions can be tried after one reading."""
        told, seed = _Told(progress), self._seed(rng)
        limit = self._transition - 256
        first = learn_merges(
            words, 256, limit, min_frequency=self.min_frequency, progress=told("merges inside words", limit)
        )
        merges = self._second(lines, first, UNIT_OF_BYTE, seed, told)
        return bpe_tokenizer(merges, SUPERWORDS, self.special, name=self.name)

    def extend(
        self,
        tokenizer: Tokenizer,
        texts: Iterable[str | bytes],
        *,
        rng: np.random.Generator | None = None,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> JsonTokenizer:
        """Take the ids below the transition from `tokenizer` instead of learning them; they keep their numbers.

        Args:
            tokenizer: byte-level BPE whose ids 0 to 255 are the bytes and whose other ids up to the transition rise in
                the order of the merges: gpt2, cl100k, o200k, and what `BPE` trains.
            texts, rng, progress: as for training.
        Raises: VocabularyError: it is no such tokenizer, or has fewer ids.
        """
        told = _Told(progress)
        seed = self._seed(rng)
        order, merges = _inherit(tokenizer.vocab, self._transition, tokenizer.name)
        lines = count_pieces(_lines(texts), SUPERWORDS, progress=told("bytes read"))
        id_of_byte = np.argsort(order).astype(np.int32)
        merges = self._second(lines, merges, id_of_byte, seed, told)
        return bpe_tokenizer(merges, SUPERWORDS, self.special, bytes_first=order, name=self.name)

    @property
    def _transition(self) -> int:
        assert self.transition is not None
        return self.transition

    def _seed(self, rng: np.random.Generator | None) -> int:
        if not self.dropout:
            return 0
        if not isinstance(rng, np.random.Generator):
            raise InvalidInput(f"dropout={self.dropout} needs rng=numpy.random.default_rng(seed)")
        return int(rng.integers(0, 2**64, dtype=np.uint64))

    def _second(self, lines: Pieces, first: np.ndarray, id_of_byte: np.ndarray, seed: int, told: "_Told") -> np.ndarray:
        """The merges `first`, then those learnt across words; ids of bytes as `id_of_byte` says."""
        space, colon = int(id_of_byte[ord(" ")]), int(id_of_byte[ord(":")])
        veto = Veto(space=space, max_words=self.max_words, apart=((colon, space),), dropout=self.dropout, seed=seed)
        units = id_of_byte[BYTE_OF_UNIT[lines.units]]
        limit = self.vocab_size - len(self.special) - 256
        return learn_merges(
            Pieces(units, lines.starts, lines.counts),
            256,
            limit,
            min_frequency=self.min_frequency,
            inherited=first,
            veto=veto,
            progress=told("merges across words", limit),
        )


def count_lines(
    texts: Iterable[str | bytes], *, progress: Callable[[int], None] | None = None
) -> tuple[Pieces, Pieces]:
    """The words and the pieces of lines of a corpus, for the two stages, in one reading.

    Args:
        texts: a stream of documents; bytes that are not UTF-8 are left out.
        progress: called with the bytes read so far.
    Raises: InvalidInput: there is no text.
    """
    words, lines = count_all(_lines(texts), [O200K_WORDS, SUPERWORDS], progress=progress)
    return words, lines


class _Told:
    """Names the stage to whoever follows the progress."""

    def __init__(self, progress: Callable[[str, int, int | None], None] | None) -> None:
        self._progress = progress

    def __call__(self, what: str, total: int | None = None) -> Callable[[int], None] | None:
        progress = self._progress
        return None if progress is None else lambda done: progress(what, done, total)


def _lines(texts: Iterable[str | bytes]) -> Iterator[str | bytes]:
    """Each line by itself with its end: no token goes from one into the next."""
    for text in texts:
        if isinstance(text, str):
            yield from _LINE.findall(text)
        else:
            yield from io.BytesIO(text)


def _inherit(vocab: Vocabulary, keep: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The byte of each of the first 256 ids, uint8 (256,), and the merges that make the ids from there to `keep`."""
    if keep > len(vocab):
        raise VocabularyError(f"{name} has {len(vocab)} ids; it cannot bring {keep}")
    if {*vocab[:256]} != {bytes([byte]) for byte in range(256)} or (vocab.kinds[:256] > Kind.BYTE).any():
        raise VocabularyError(f"the ids 0 to 255 of {name} are not the bytes; only such a vocabulary can be extended")
    head = Vocabulary([vocab[i] for i in range(keep)], kinds=vocab.kinds[:keep])
    merges = merges_of(head)[256:]
    if (wrong := np.flatnonzero(merges[:, 0] < 0)).size:
        raise VocabularyError(
            f"id {256 + wrong[0]} of {name} is not made by a merge; at most {256 + wrong[0]} ids can be kept"
        )
    return head.buffer[:256].copy(), merges
