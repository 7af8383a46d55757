"""Less-is-Better: a tokenizer that learns chunks from raw text, ranks them, and forgets those that do not pay.

Yang 2024, "Rethinking Tokenization: Crafting Better Tokenizers for Large Language Models", arXiv 2403.00417. Text is not
cut into words first, so chunks may be parts of words, words and phrases alike. What is learnt, step by step, is in
`lexicon`; here are the settings of a training, and the tokenizer that comes out.

Differs from the authors' code: characters that are no chunk become bytes, so that nothing is lost; and a chunk of which no
beginning is known stays whole, unless rule="reference" is asked for, which cuts off its first character as they do.
"""
# C chunks, B bytes, T tokens

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from ....core.errors import InvalidInput, TokenizerError, VocabularyError
from ....core.segmentation import Segmentation
from ....core.trie import trie_of
from ....core.vocabulary import Kind, Vocabulary
from ....hosts.folder import FolderTokenizer
from ....hosts.json_tokenizer import JsonTokenizer
from ....hosts.longest_match import longest_match_json
from ....hosts.plain_bytes import END_OF_TEXT
from .encoding import RULES, encode
from .lexicon import Lexicon, code_points

__all__ = ["RULES", "LessIsBetter", "Lexicon", "LiB"]

# Bytes and the end-of-text token; the chunks of more than one byte follow.
_FIRST = 257


@dataclass(frozen=True)
class LessIsBetter:
    """The settings of a training; called with sentences, it trains.

    Defaults are the authors', except `steps`, which they leave open.

    Args:
        steps: articles that are read, one after the other and from the beginning again, at least 1.
        article: sentences of an article, at least 1; the last of a pass may be shorter.
        in_rate, out_rate, life, update_rate, max_length, inspect_context: see `Lexicon`.
        vocab_size: ids in all, at least 257: bytes, end of text and the best-ranked chunks, as many as there is room
            for; None keeps all. The list itself grows as it likes, so fewer are made where fewer were learnt: read more,
            or lower `out_rate`.
        rule: how the tokenizer encodes, see `LiB`.
        name: of the tokenizer.
    Raises: InvalidInput: a value out of its range.

    >>> lines = ["see the dog", "the dog and the cat", "a cat can see", "and a dog can see the cat"]
    >>> tok = LessIsBetter(steps=60, article=4, life=3)(lines)
    >>> tok.chunks[:5]
    ['the ', 'and ', 'a ', ' ca', 'see the ']
    """

    steps: int = 500
    article: int = 500
    in_rate: float = 0.25
    out_rate: float = 0.0001
    life: int = 10
    update_rate: float = 0.1
    max_length: int | None = None
    inspect_context: bool = True
    vocab_size: int | None = None
    rule: str = "two-path"
    name: str = "lib"

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("article", self.article)):
            if value < 1:
                raise InvalidInput(f"{name}={value}; it must be at least 1")
        if self.vocab_size is not None:
            _check_size(self.vocab_size)
        _check_rule(self.rule)
        self.begin(0)

    def begin(self, seed: int, chunks: Sequence[str] = ()) -> Lexicon:
        """A lexicon of these settings, to be taught article by article; `LiB(lexicon.settled)` then encodes.

        Args:
            seed: of the random numbers, >= 0.
            chunks: what it knows already, such as those of a tokenizer that shall learn on; none unless told.
        Raises: InvalidInput: a negative seed, or chunks that are empty or no text.
        """
        return Lexicon(
            chunks,
            in_rate=self.in_rate,
            out_rate=self.out_rate,
            life=self.life,
            update_rate=self.update_rate,
            max_length=self.max_length,
            inspect_context=self.inspect_context,
            seed=seed,
        )

    def __call__(
        self,
        sentences: Iterable[str],
        *,
        seed: int = 0,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> "LiB":
        """Train on `sentences`; chunks do not reach beyond one.

        Args:
            sentences: texts, `text.splitlines(keepends=True)` say; held in memory, four bytes a character. White space
                and case are as they are.
            seed: of the random numbers, >= 0.
            progress: called with what is being done, how much of it is done, and of how much.
        Returns: the same tokenizer for the same sentences and seed.
        Raises: InvalidInput: no text at all, or a sentence that is none, see `code_points`.
        """
        lexicon = self.begin(seed)
        units, starts = code_points(sentences if isinstance(sentences, str | bytes) else list(sentences))
        if not units.size:
            raise InvalidInput("there is no text to train on: no sentence, or only empty ones")
        at = 0
        for step in range(self.steps):
            article = starts[at : at + self.article + 1]
            lexicon.read_units(units[article[0] : article[-1]], article - article[0])
            at += article.size - 1
            if at == starts.size - 1:
                at = 0
            if progress is not None:
                progress("articles read", step + 1, self.steps)
        tok = LiB(lexicon.settled, rule=self.rule, name=self.name)
        return tok if self.vocab_size is None else tok.best(self.vocab_size)


class LiB(FolderTokenizer):
    """A tokenizer of ranked chunks. Ids are the 256 bytes, the end-of-text token, then the chunks of more than one byte.

    By the rule "two-path", two ways through the text are compared: the longest chunk that begins here, and the second
    longest, each followed by longest chunks until both end at the same place. The second is taken if it has fewer
    chunks, or as many and a smaller sum of ranks. "longest" always takes the longest chunk. "reference" is "two-path" as
    the authors' code has it: where no second chunk is known, the first character alone is a token.

    A character that is no chunk becomes its bytes; it counts as one chunk, and not among the ranks.

    Args:
        chunks: the best first, different and not empty.
        rule: one of `RULES`.
        name: of the tokenizer.
    Raises:
        InvalidInput: no such rule.
        VocabularyError: an empty chunk, one that comes twice, or one that is no Unicode text.

    >>> tok = LiB(["the", "he", "t", "c", "at", "cat", "thec"])
    >>> tok.encode("thecat").tokens(), LiB(tok.chunks, rule="longest").encode("thecat").tokens()
    ([b'the', b'cat'], [b'thec', b'at'])
    """

    kind = "LiB"
    engine = "numba"
    unknown = None

    def __init__(self, chunks: Sequence[str], *, rule: str = "two-path", name: str = "lib") -> None:
        _check_rule(rule)
        self.chunks = list(chunks)
        self.rule, self.name = rule, name
        try:
            code_points(self.chunks)
        except InvalidInput as error:
            raise VocabularyError(f"chunks are like sentences: {error}") from error
        ranks = {chunk: rank for rank, chunk in enumerate(self.chunks)}
        if "" in ranks:
            raise VocabularyError(f"chunk {ranks['']} is empty")
        if len(ranks) < len(self.chunks):
            twice = next(chunk for rank, chunk in enumerate(self.chunks) if ranks[chunk] != rank)
            raise VocabularyError(f"chunk {twice!r} comes twice")
        tokens = [chunk.encode() for chunk in self.chunks]
        self._lengths = np.array([len(token) for token in tokens], np.int64)
        more = self._lengths > 1
        self._ids_C = np.where(more, _FIRST - 1 + np.cumsum(more), [token[0] for token in tokens]).astype(np.int32)
        starts = np.concatenate([[0], np.cumsum(self._lengths)])
        self._table, self._chunk_of = trie_of(np.frombuffer(b"".join(tokens), np.uint8), starts)
        singles = [bytes([byte]) for byte in range(256)]
        longer = [token for token in tokens if len(token) > 1]
        kinds = [Kind.BYTE] * 256 + [Kind.SPECIAL] + [Kind.NORMAL] * len(longer)
        self._vocab = Vocabulary([*singles, END_OF_TEXT, *longer], [256], kinds=kinds)

    @property
    def vocab(self) -> Vocabulary:
        """The bytes and kind of each id."""
        return self._vocab

    @property
    def config(self) -> dict[str, Any]:
        return {"rule": self.rule, "chunks": self.chunks}

    @classmethod
    def from_config(cls, config: dict[str, Any], name: str) -> Self:
        match config:
            case {"rule": str(rule), "chunks": list(chunks)}:
                return cls(chunks, rule=rule, name=name)
        raise TokenizerError(f"{name}: a LiB has a rule and a list of chunks")

    def best(self, vocab_size: int) -> "LiB":
        """The tokenizer of the best-ranked chunks, as many as have room among `vocab_size` ids; those of one byte need none.

        Raises: InvalidInput: less than 257 ids.
        """
        _check_size(vocab_size)
        kept = self._ids_C < vocab_size
        return LiB([c for c, keep in zip(self.chunks, kept.tolist()) if keep], rule=self.rule, name=self.name)

    def with_rule(self, rule: str) -> "LiB":
        """The same chunks, encoded by another rule; the ids mean the same.

        Raises: InvalidInput: no such rule.
        """
        return LiB(self.chunks, rule=rule, name=self.name)

    def sub_chunks(self, seg: Segmentation) -> Segmentation:
        """Cut chunks into those that they are made of, twice.

        A chunk falls into two if both are better ranked than it is; of several ways, that with the best first part is
        taken. (The authors' `find_subs`.)

        Args:
            seg: of this tokenizer.

        >>> tok = LiB(["a", "b", "ab", "abab"])
        >>> tok.sub_chunks(tok.encode("abab")).tokens()
        [b'a', b'b', b'a', b'b']
        """
        ids_T = self.vocab.check_ids(seg.ids)
        for _ in range(2):
            ids_T = self._halves[ids_T].ravel()
            ids_T = ids_T[ids_T >= 0]
        return Segmentation(ids_T, np.concatenate([[0], np.cumsum(self.vocab.lengths[ids_T])]), seg.data)

    def tokenizer_json(self, texts: Iterable[str]) -> JsonTokenizer:
        """This tokenizer as a `tokenizer.json` that other software reads, after comparing ids on `texts`.

        That format knows longest match, as one regular expression that is a tree of all chunks; it knows no two paths.

        Raises: TokenizerError: the ids of a text differ, which is shown from where they do.

        >>> tok = LiB(["the", "he", "t", "c", "at", "cat", "thec"], rule="longest")
        >>> tok.tokenizer_json(["the cat"]).encode("thecat").tokens()
        [b'thec', b'at']
        """
        ids = dict(zip(self.chunks, self._ids_C.tolist(), strict=True))
        parsed = longest_match_json(ids, {END_OF_TEXT.decode(): 256}, self.name)
        exported = JsonTokenizer(parsed, self.name, engine="tokenizers")
        for text in texts:
            ours, theirs = self.encode(text), exported.encode(text)
            if not np.array_equal(ours.ids, theirs.ids):
                same = np.intersect1d(ours.offsets, theirs.offsets)
                shorter = min(len(ours), len(theirs))
                first = int(np.argmax(ours.ids[:shorter] != theirs.ids[:shorter]))
                begin = ours.offsets[first]
                end = same[np.searchsorted(same, begin, "right")]
                here, there = ([t.decode(errors="replace") for t in _between(s, begin, end)] for s in (ours, theirs))
                raise TokenizerError(
                    f"a tokenizer.json cannot say rule={self.rule!r}: it cuts {there}, this tokenizer {here}; "
                    "with_rule('longest') can be written"
                )
        return exported

    @cached_property
    def _halves(self) -> np.ndarray:
        """The two parts of each id, or itself and -1: int32 (ids, 2)."""
        ranks = {chunk: rank for rank, chunk in enumerate(self.chunks)}
        halves = np.stack([np.arange(len(self.vocab)), np.full(len(self.vocab), -1)], axis=1).astype(np.int32)
        for rank, chunk in enumerate(self.chunks):
            ways = [(ranks.get(chunk[:k], rank), ranks.get(chunk[k:], rank)) for k in range(1, len(chunk))]
            known = [way for way in ways if rank not in way]
            if known and max(min(known)) < rank:
                halves[self._ids_C[rank]] = self._ids_C[list(min(known))]
        return halves

    def _ids(self, texts: list[str], threads: int | None) -> tuple[np.ndarray, np.ndarray]:
        encoded = [text.encode() for text in texts]
        starts = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=starts[1:])
        data = np.frombuffer(b"".join(encoded), np.uint8)
        return encode(data, starts, self._table, self._chunk_of, self._lengths, self._ids_C, RULES.index(self.rule))

    def _ends(self, text: str, ids_T: np.ndarray) -> np.ndarray:
        return np.cumsum(self.vocab.lengths[ids_T])


def _check_size(vocab_size: int) -> None:
    if vocab_size < _FIRST:
        raise InvalidInput(f"vocab_size={vocab_size}; 256 bytes and {END_OF_TEXT.decode()} need {_FIRST}")


def _check_rule(rule: str) -> None:
    if rule not in RULES:
        raise InvalidInput(f"rule={rule!r}; rules are {', '.join(RULES)}")


def _between(seg: Segmentation, begin: int, end: int) -> list[bytes]:
    first, last = np.searchsorted(seg.offsets, [begin, end])
    return seg.tokens()[first:last]
