"""What each id stands for: its bytes and its kind.

Tokens are *surface* bytes, with a word mark written as the space that it means: `Ġthe` of a byte-level tokenizer, `▁the`
of SentencePiece and a word-initial `the` of WordPiece are all b" the"; WordPiece's `##ing` is b"ing". So a method that
cuts or joins tokens works on bytes and never needs to know the notation.
"""

import hashlib
from collections.abc import Iterable, Sequence
from enum import IntEnum

import numpy as np

from .errors import InvalidInput, VocabularyError

__all__ = ["Kind", "Vocabulary"]


class Kind(IntEnum):
    """What an id is: text, a single byte kept as a fallback, a special token, or a hole in the numbering."""

    NORMAL = 0
    BYTE = 1
    SPECIAL = 2
    UNUSED = 3


class Vocabulary(Sequence[bytes]):
    """The bytes and the kind of every id; immutable, equal by content.

    Several ids may stand for the same bytes (`<0x41>` and `A`): the way back is bytes → ids.

    Args:
        tokens: the bytes of id 0, 1, 2, …; empty only for special and unused ids.
        special: ids, or the tokens themselves, that stand for no text; a token that is not among `tokens` gets the next
            free id.
        kinds: the `Kind` of each id, where it is more than normal and special; shape (n,).
    Raises: VocabularyError: an empty normal token, a special id out of range, kinds of another length.

    >>> vocab = Vocabulary([b"a", b"b", b"ab"], special=[b"<end>"])
    >>> len(vocab), vocab[2], vocab.ids_of(b"ab"), vocab.decode([2, 3, 0])
    (4, b'ab', (2,), b'aba')
    """

    __slots__ = ("_digest", "_index", "_tokens", "buffer", "kinds", "offsets")

    buffer: np.ndarray
    offsets: np.ndarray
    kinds: np.ndarray

    def __init__(
        self,
        tokens: Iterable[bytes],
        special: Iterable[int | bytes] = (),
        *,
        kinds: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        entries = list(tokens)
        for i, token in enumerate(entries):
            if not isinstance(token, bytes):
                raise VocabularyError(f"token {i} is {token!r}; tokens are bytes")
        special_ids = _special_ids(entries, list(special))
        kinds_N = np.zeros(len(entries), np.uint8)
        if kinds is not None:
            given = np.asarray(kinds)
            if given.ndim != 1 or not len(entries) - len(special_ids) <= given.size <= len(entries):
                raise VocabularyError(f"{given.size} kinds for {len(entries)} tokens")
            if given.size and not np.isin(given, list(Kind)).all():
                raise VocabularyError(f"kinds are {[int(k) for k in Kind]}, got {np.unique(given).tolist()}")
            kinds_N[: given.size] = given
        kinds_N[special_ids] = Kind.SPECIAL
        lengths = np.fromiter((len(token) for token in entries), np.int64, len(entries))
        empty = np.flatnonzero((lengths == 0) & (kinds_N < Kind.SPECIAL))
        if empty.size:
            raise VocabularyError(f"id {empty[0]} has no bytes; give it some or mark it special or unused")
        wide = np.flatnonzero((lengths != 1) & (kinds_N == Kind.BYTE))
        if wide.size:
            raise VocabularyError(f"id {wide[0]} is of kind byte but stands for {entries[wide[0]]!r}")
        offsets = np.zeros(len(entries) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        buffer = np.frombuffer(b"".join(entries), np.uint8)
        offsets.flags.writeable = kinds_N.flags.writeable = False
        self.buffer, self.offsets, self.kinds = buffer, offsets, kinds_N
        self._tokens = entries
        self._index: dict[bytes, tuple[int, ...]] | None = None
        self._digest: str | None = None

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, i):
        """The bytes of one id, or of a slice of ids."""
        return self._tokens[i]

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Vocabulary) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __contains__(self, token: object) -> bool:
        return token in self._by_bytes()

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} ids, {self.special_ids.size} special, digest {self.digest[:12]})"

    @property
    def lengths(self) -> np.ndarray:
        """Bytes of each id, int64 (n,)."""
        return np.diff(self.offsets)

    @property
    def characters(self) -> np.ndarray:
        """Characters that begin in each id, int64 (n,): a token from the middle of one has none, so that halves are no two.

        >>> Vocabulary([b"a", b"\\xc3", b"\\xa9", "né".encode()]).characters.tolist()
        [1, 1, 0, 2]
        """
        begins = np.concatenate([[0], np.cumsum((self.buffer & 0xC0) != 0x80)])
        return np.diff(begins[self.offsets])

    @property
    def special_ids(self) -> np.ndarray:
        """Ids of special tokens, int64, ascending."""
        return np.flatnonzero(self.kinds == Kind.SPECIAL)

    @property
    def digest(self) -> str:
        """SHA-256 of bytes and kinds of all ids, in hexadecimal."""
        if self._digest is None:
            digest = hashlib.sha256(self.offsets.astype("<i8").tobytes())
            digest.update(self.kinds.tobytes())
            digest.update(self.buffer.tobytes())
            self._digest = digest.hexdigest()
        return self._digest

    def ids_of(self, token: bytes) -> tuple[int, ...]:
        """All ids that stand for these bytes, the preferred one first: normal, byte, special; then the lowest."""
        return self._by_bytes().get(token, ())

    def id_of(self, token: bytes) -> int:
        """The preferred id of these bytes.

        Raises: VocabularyError: there is none.
        """
        if not (ids := self.ids_of(token)):
            raise VocabularyError(f"no id stands for {token!r}")
        return ids[0]

    def decode(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """Join the bytes of `ids`, shape (n,); special and unused ids own none.

        Raises: InvalidInput: an id outside the vocabulary.
        """
        ids = self.check_ids(ids)
        kinds, tokens = self.kinds, self._tokens
        return b"".join([tokens[i] for i in ids[kinds[ids] < Kind.SPECIAL].tolist()])

    def check_ids(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """`ids` as an array of whole numbers of this vocabulary.

        Raises: InvalidInput: another dtype, or an id outside 0 … n - 1, named with its position.
        """
        ids = np.asarray(ids)
        if not ids.size:
            return ids.astype(np.int32)
        if ids.dtype.kind not in "iu":
            raise InvalidInput(f"ids have dtype {ids.dtype}; they must be whole numbers")
        if ids.min() < 0 or ids.max() >= len(self):
            at = int(np.flatnonzero((ids < 0) | (ids >= len(self)))[0])
            raise InvalidInput(f"id {ids.flat[at]} at position {at} is not in the vocabulary of {len(self)} ids")
        return ids

    def _by_bytes(self) -> dict[bytes, tuple[int, ...]]:
        if self._index is None:
            index: dict[bytes, tuple[int, ...]] = {}
            # Stable by kind: within one kind the lowest id comes first.
            for i in np.argsort(self.kinds, kind="stable").tolist():
                if self.kinds[i] != Kind.UNUSED:
                    index[self._tokens[i]] = (*index.get(self._tokens[i], ()), i)
            self._index = index
        return self._index


def _special_ids(entries: list[bytes], special: list[int | bytes]) -> list[int]:
    """Ids of the special tokens; those not among `entries` are appended to it."""
    ids = []
    for token in special:
        if isinstance(token, bytes):
            # The last of equal tokens: specials are added after the text tokens.
            where = next((i for i in reversed(range(len(entries))) if entries[i] == token), None)
            if where is None:
                entries.append(token)
                where = len(entries) - 1
        else:
            where = int(token)
            if not 0 <= where < len(entries):
                raise VocabularyError(f"special id {where} is not among the {len(entries)} ids")
        ids.append(where)
    return ids
