"""What one worker does: a chunk of raw stretches in, the ids of its documents in every epoch out.

What comes out for a document depends on its bytes, its address and the settings; not on the chunk it came in.
"""
# D documents of a chunk, T tokens of all of them

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..core.errors import InvalidInput, TokenizerError
from ..core.seeds import stream_seeds
from ..core.segmentation import Ragged
from ..core.tokenizer import Tokenizer, as_bytes
from .documents import Documents, documents, place
from .segments import Fault, Segment

__all__ = ["Chunk", "Encoded", "Encoder", "Perturbation", "chunks"]

_CHUNK_BYTES, _CHUNK_SEGMENTS = 1 << 20, 1 << 10


class Perturbation(Protocol):
    """What `StochasTok` is: ids in, other ids of the same bytes out, each document from its own seed."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What determines it beside the vocabulary, as JSON values; stands in the manifest."""
        ...

    def expand_batch(self, batch: Ragged, seeds: np.ndarray) -> Ragged:
        """One seed a document, uint64 (D,)."""
        ...


@dataclass(frozen=True)
class Chunk:
    """Neighbouring stretches; with `full`, a shard ends behind them."""

    segments: Sequence[Segment]
    full: bool = False

    @property
    def size(self) -> int:
        """Bytes of input."""
        return sum(len(segment.data) for segment in self.segments)


@dataclass(frozen=True)
class Encoded:
    """The documents of a chunk.

    Args:
        files: number of the file of each, int64 (D,).
        bytes: of text in all of them.
        plain: tokens before perturbation and end of text.
        epochs: the ids, a batch for each epoch.
        split: tokens that perturbation added, in all epochs.
        faults: what was left out, by address.
    """

    files: np.ndarray
    bytes: int
    plain: int
    epochs: tuple[Ragged, ...]
    split: int
    faults: tuple[Fault, ...]


def chunks(stretches: Iterable[Segment], shard_bytes: int) -> Iterator[Chunk]:
    """Group neighbouring stretches to about a megabyte, so that small files do not cost a message each.

    Args:
        stretches: from where a shard begins.
        shard_bytes: a shard ends with the stretch that fills so many bytes of input.
    """
    held: list[Segment] = []
    size, room = 0, shard_bytes
    for segment in stretches:
        held.append(segment)
        size, room = size + len(segment.data), room - len(segment.data)
        if room <= 0 or size >= _CHUNK_BYTES or len(held) == _CHUNK_SEGMENTS:
            yield Chunk(held, room <= 0)
            held, size, room = [], 0, room if room > 0 else shard_bytes
    if held:
        yield Chunk(held)


@dataclass(frozen=True)
class Encoder:
    """Turns chunks into ids.

    Args:
        tokenizer: cuts texts.
        look: perturbs ids, or None.
        epochs: how often each document is perturbed.
        seed: of the perturbations.
        end_of_text: the id that ends each document, or None.
        field: where JSON objects have the text.
        threads: of the tokenizer; None leaves it to the engine.
    """

    tokenizer: Tokenizer
    look: Perturbation | None
    epochs: int
    seed: int
    end_of_text: int | None
    field: str
    threads: int | None = 1

    def __call__(self, chunk: Chunk) -> Encoded:
        """Encode all documents of `chunk`; a document the tokenizer cannot cut becomes a fault."""
        found = [documents(segment, self.field) for segment in chunk.segments]
        try:
            plain = self._cut([text for part in found for text in part.texts])
        except TokenizerError:
            found = [self._cuttable(part, segment) for part, segment in zip(found, chunk.segments, strict=True)]
            plain = self._cut([text for part in found for text in part.texts])
        counts = [len(part.texts) for part in found]
        files = np.repeat(np.array([segment.file for segment in chunk.segments], np.int64), counts)
        items = np.array([item for part in found for item in part.items], np.int64)
        whole = np.repeat([segment.whole for segment in chunk.segments], counts)
        looks = [self._look(plain, epoch, files, items) for epoch in range(self.epochs)]
        return Encoded(
            files=files,
            bytes=sum(len(text) if text.isascii() else len(as_bytes(text)) for part in found for text in part.texts),
            plain=plain.ids.size,
            epochs=tuple(self._ended(batch, whole) for batch in looks),
            split=sum(batch.ids.size - plain.ids.size for batch in looks),
            faults=tuple(fault for part in found for fault in part.faults),
        )

    def _cut(self, texts: list[str]) -> Ragged:
        return self.tokenizer.encode_batch(texts, self.threads)

    def _cuttable(self, found: Documents, segment: Segment) -> Documents:
        """The documents that can be cut, one by one; the others as faults."""
        kept = Documents([], [], found.faults.copy())
        for text, item in zip(found.texts, found.items, strict=True):
            try:
                self._cut([text])
            except TokenizerError as error:
                kept.faults.append(Fault(segment.file, item, place(segment, item), str(error)))
            else:
                kept.texts.append(text)
                kept.items.append(item)
        kept.faults.sort(key=lambda fault: fault.item)
        return kept

    def _look(self, plain: Ragged, epoch: int, files: np.ndarray, items: np.ndarray) -> Ragged:
        if self.look is None or not len(plain):
            return plain
        batch = self.look.expand_batch(plain, stream_seeds(self.seed, epoch, files, items))
        if len(batch) != len(plain):
            raise InvalidInput(f"the perturbation made {len(batch)} documents of {len(plain)}")
        return batch

    def _ended(self, batch: Ragged, whole: np.ndarray) -> Ragged:
        """The batch with the end-of-text token behind each document of which `whole`, bool (D,), says that it ends."""
        if self.end_of_text is None or not len(batch):
            return batch
        ids = np.insert(batch.ids, batch.starts[1:][whole], self.end_of_text)
        starts = batch.starts.copy()
        starts[1:] += np.cumsum(whole)
        return Ragged(ids, starts)
