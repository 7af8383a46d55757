"""What all tokenizers from outside have in common: bytes in, ids and exact byte offsets out, whatever the engine can do."""
# D documents, R runs of valid text or stray bytes, T tokens

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InvalidInput, TokenizerError
from ..core.segmentation import Ragged, Segmentation
from ..core.store import atomic_write
from ..core.tokenizer import as_bytes
from ..core.vocabulary import Kind, Vocabulary
from .offsets import ends_by_length
from .utf8 import valid_runs

__all__ = ["HostTokenizer"]

# Characters handed to an engine at once: enough to keep all its threads busy, little enough to bound memory.
_BATCH_CHARACTERS = 4 << 20
_BATCH_DOCUMENTS = 1 << 15


class HostTokenizer(ABC):
    """A `Tokenizer` whose ids come from someone else's engine.

    `engine` names the package that does the work, `unknown` the id of the unknown token or None. `spells` says that the
    bytes of an id are those of `vocab`, wherever it stands; if not, only the segmentation and `decode` know them.
    """

    spells = True

    name: str
    engine: str
    unknown: int | None

    @property
    @abstractmethod
    def vocab(self) -> Vocabulary:
        """The bytes and kind of each id."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of everything that determines the ids; the same for every engine."""

    @property
    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """What `tokenizer_from_spec` needs to make this tokenizer again in another process; JSON values only."""

    @abstractmethod
    def _file(self) -> bytes:
        """Content of the file that stores this tokenizer."""

    @abstractmethod
    def _ids(self, texts: list[str], threads: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Ids of valid texts: flat int32 (T,), and where each text begins, int64 (texts + 1,)."""

    @abstractmethod
    def _ends(self, text: str, ids_T: np.ndarray) -> np.ndarray:
        """Byte position after each token of `text`, by the engine's own account; for texts that tokens do not spell."""

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], "HostTokenizer"], tuple[dict[str, Any]]]:
        """Other processes get the spec: engines do not travel."""
        from .load import tokenizer_from_spec

        return tokenizer_from_spec, (self.spec,)

    def __repr__(self) -> str:
        return f"<tokenizer {self.name}: {len(self.vocab)} ids, engine {self.engine}>"

    def encode(self, text: str | bytes) -> Segmentation:
        """Cut `text` into tokens; ordinary text only, special tokens are neither read nor added.

        `str` becomes UTF-8, lone surrogates included. Bytes that the engine drops (white space before a word, say)
        belong to the token after them, at the end to the last. Bytes that are not UTF-8 become byte tokens, or the
        unknown token.

        Raises: TokenizerError: the vocabulary has no token for some of it, or the engine failed.

        >>> from tokenloom.hosts import load_tokenizer
        >>> load_tokenizer("bytes").encode("né").tokens()
        [b'n', b'\\xc3', b'\\xa9']
        """
        data, runs = as_bytes(text), valid_runs(text)
        ids_T, starts_R = self._runs(runs, None)
        ends, base = [], 0
        for i, run in enumerate(runs):
            size = len(as_bytes(run))
            ends.append(base + self._run_ends(run, ids_T[starts_R[i] : starts_R[i + 1]]))
            base += size
        if data and not ids_T.size:
            return Segmentation([self._unknown_for(data)], [0, len(data)], data)
        offsets = np.concatenate([np.zeros(1, np.int64), *ends])
        offsets[-1] = len(data)
        return Segmentation(ids_T, offsets, data)

    def encode_batch(self, texts: Iterable[str | bytes], threads: int | None = None) -> Ragged:
        """Ids of many texts, those of `encode`; bounded batches go to the engine, so `texts` may be a stream.

        Args:
            texts: any iterable; what it yields is not kept.
            threads: 1 keeps the engine to the calling thread; None lets it use all cores.
        Raises: TokenizerError: the vocabulary has no token for some of a text, or the engine failed; InvalidInput: one
            text instead of many.

        >>> from tokenloom.hosts import load_tokenizer
        >>> load_tokenizer("bytes").encode_batch(["ab", b"", "c"]).starts.tolist()
        [0, 2, 2, 3]
        """
        if isinstance(texts, str | bytes):
            raise InvalidInput("encode_batch takes many texts; for one text use encode, or give [text]")
        parts = [self._batch(batch, threads) for batch in _batches(texts)]
        if len(parts) == 1:
            return parts[0]
        starts = [np.zeros(1, np.int64)]
        for part in parts:
            starts.append(part.starts[1:] + starts[-1][-1])
        ids = [part.ids for part in parts]
        return Ragged(np.concatenate(ids) if ids else np.zeros(0, np.int32), np.concatenate(starts))

    def decode(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes that `ids`, shape (T,), stand for; special tokens stand for none.

        A word mark that the tokenizer itself puts before every text is taken off again.
        Raises: InvalidInput: an id outside the vocabulary.
        """
        data = self.vocab.decode(ids)
        return data[1:] if self._marks_beginning and data.startswith(b" ") else data

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to the file `path`, from which `load_tokenizer` reads it; whole or not at all.

        Raises: StoreError: it cannot be written; TokenizerError: `bytes`, which no file stores.
        """
        content = self._file()
        with atomic_write(path) as file:
            file.write(content)

    def _batch(self, texts: list[str | bytes], threads: int | None) -> Ragged:
        runs: list[str | bytes] = []
        edges_D = np.zeros(len(texts) + 1, np.int64)
        for i, text in enumerate(texts):
            runs += valid_runs(text)
            edges_D[i + 1] = len(runs)
        ids_T, starts_R = self._runs(runs, threads)
        starts_D = starts_R[edges_D]
        for i in np.flatnonzero(starts_D[1:] == starts_D[:-1]).tolist():
            if texts[i]:
                ids_T = np.insert(ids_T, starts_D[i], self._unknown_for(as_bytes(texts[i])))
                starts_D[i + 1 :] += 1
        return Ragged(ids_T, starts_D)

    def _runs(self, runs: list[str | bytes], threads: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Ids of runs as `valid_runs` makes them: flat int32 (T,), and where each run begins, int64 (R + 1,)."""
        texts = [run for run in runs if isinstance(run, str)]
        ids_T, starts = self._ids(texts, threads) if texts else (np.zeros(0, np.int32), np.zeros(1, np.int64))
        if len(texts) == len(runs):
            return ids_T, starts
        parts, seen = [], 0
        for run in runs:
            if isinstance(run, str):
                parts.append(ids_T[starts[seen] : starts[seen + 1]])
                seen += 1
            else:
                parts.append(self._stray(run))
        starts_R = np.zeros(len(runs) + 1, np.int64)
        np.cumsum([part.size for part in parts], out=starts_R[1:])
        return np.concatenate(parts), starts_R

    def _run_ends(self, run: str | bytes, ids_T: np.ndarray) -> np.ndarray:
        if isinstance(run, bytes):
            return np.arange(1, len(run) + 1)
        ends_T = ends_by_length(self.vocab, ids_T, run.encode())
        return self._ends(run, ids_T) if ends_T is None else ends_T

    def _stray(self, data: bytes) -> np.ndarray:
        """One token for each byte that is not UTF-8."""
        ids = self._byte_ids[np.frombuffer(data, np.uint8)]
        if (ids < 0).any():
            ids = np.where(ids < 0, self._unknown_for(data), ids).astype(np.int32)
        return ids

    def _unknown_for(self, data: bytes) -> int:
        if self.unknown is None:
            shown = data if len(data) <= 40 else data[:40] + b"..."
            raise TokenizerError(f"{self.name} has neither a token for {shown!r} nor an unknown token")
        return self.unknown

    @cached_property
    def _byte_ids(self) -> np.ndarray:
        """The id of each single byte, kind byte before normal, or -1: int32 (256,)."""
        vocab = self.vocab
        ids = np.full(256, -1, np.int32)
        for kind in (Kind.NORMAL, Kind.BYTE):
            # Reversed, so that the lowest id is written last and stays.
            single = np.flatnonzero((vocab.lengths == 1) & (vocab.kinds == kind))[::-1]
            ids[vocab.buffer[vocab.offsets[single]]] = single
        return ids

    @cached_property
    def _marks_beginning(self) -> bool:
        """Whether a text gets a word mark in front that it does not have."""
        ids, _ = self._ids(["a"], 1)
        return self.vocab.decode(ids).startswith(b" ")


def _batches(texts: Iterable[str | bytes]) -> Iterator[list[str | bytes]]:
    batch: list[str | bytes] = []
    room = _BATCH_CHARACTERS
    for text in texts:
        batch.append(text)
        room -= len(text)
        if room <= 0 or len(batch) == _BATCH_DOCUMENTS:
            yield batch
            batch, room = [], _BATCH_CHARACTERS
    if batch:
        yield batch
