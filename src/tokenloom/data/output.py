"""The shards that are being written, one of each epoch, and the account of those that are finished."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..core.errors import CorpusError
from .corpus import Source
from .documents import corpus_error
from .encoder import Encoded
from .job import Job, Receipt
from .manifest import FORMATS
from .segments import Address, Fault

__all__ = ["Output", "Totals"]

# The manifest names all that was skipped, and memory holds it until then.
_MOST_FAULTS = 100_000


@dataclass(frozen=True)
class Totals:
    """Counts that add up: documents, tokens and split tokens over all epochs, bytes and plain tokens over one.

    Args:
        documents: as the shards hold them.
        tokens: likewise, end-of-text tokens and split ones included.
        bytes: of text.
        plain_tokens: of the text, before perturbation and without end-of-text.
        split_tokens: that perturbation added.
    """

    documents: int = 0
    tokens: int = 0
    bytes: int = 0
    plain_tokens: int = 0
    split_tokens: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        mine, theirs = asdict(self), asdict(other)
        return Totals(**{name: mine[name] + theirs[name] for name in mine})


class Output:
    """Takes what workers encoded, in order, and makes shards and receipts of it.

    Args:
        job: the folder.
        receipts: of what is finished there.
        format: "megatron" or "parquet".
        vocab_size: ids are 0 … vocab_size - 1.
        epochs: shards that are written side by side.
    """

    def __init__(self, job: Job, receipts: Sequence[Receipt], format: str, vocab_size: int, epochs: int) -> None:
        self._job, self._format, self._vocab_size, self._epochs = job, format, vocab_size, epochs
        self.receipts = list(receipts)
        self._finished = sum((Totals(**receipt["totals"]) for receipt in receipts), Totals())
        self._writers: list[Any] = []
        self._current = Totals()
        self._skipped: list[Mapping[str, str]] = []
        self._faults = sum(len(receipt["skipped"]) for receipt in receipts)

    @property
    def totals(self) -> Totals:
        """Of all that came in, finished or not."""
        return self._finished + self._current

    @property
    def last(self) -> Address | None:
        """The last segment that is finished."""
        return tuple(self.receipts[-1]["last"]) if self.receipts else None

    def add(self, encoded: Encoded, sources: Sequence[Source]) -> None:
        """Append the documents of a chunk."""
        documents = encoded.files.size
        if not documents:
            return
        if not self._writers:
            for epoch in range(self._epochs):
                self._writers.append(FORMATS[self._format](self._job.folder, self._name(epoch), self._vocab_size))
        first = self.totals.documents // self._epochs
        names = [sources[file].name for file in encoded.files.tolist()]
        for writer, batch in zip(self._writers, encoded.epochs, strict=True):
            writer.add(batch, np.arange(first, first + documents), names)
        self._current += Totals(
            documents=documents * self._epochs,
            tokens=sum(batch.ids.size for batch in encoded.epochs),
            bytes=encoded.bytes,
            plain_tokens=encoded.plain,
            split_tokens=encoded.split,
        )

    def skip(self, faults: Sequence[Fault], sources: Sequence[Source]) -> None:
        """Record what was left out.

        Raises: CorpusError: so much that the input must be something else than it was taken for.
        """
        for fault in faults:
            self._skipped.append({"file": sources[fault.file].name, "place": fault.place, "reason": fault.reason})
            self._faults += 1
            if self._faults > _MOST_FAULTS:
                raise CorpusError(
                    f"{_MOST_FAULTS:,} places were skipped, and there are more, as {corpus_error(sources, fault)}"
                )

    def close(self, last: Address) -> None:
        """Finish the shards, whose last segment is `last`: first the files, then the receipt."""
        first = self._finished.documents // self._epochs
        shards: list[Mapping[str, Any]] = []
        while self._writers:
            epoch = len(shards)
            name, files = self._name(epoch), self._writers[0].close()
            shards.append({"name": name, "epoch": epoch, "first_document": first, **files})
            self._writers.pop(0)
        receipt = {"shards": shards, "totals": asdict(self._current), "skipped": self._skipped, "last": list(last)}
        self._job.receive(len(self.receipts), receipt)
        self.receipts.append(receipt)
        self._finished += self._current
        self._current, self._skipped = Totals(), []

    def abort(self) -> None:
        """Remove what is not finished."""
        for writer in self._writers:
            writer.abort()

    def _name(self, epoch: int) -> str:
        return f"epoch{epoch}-shard{len(self.receipts):05}"
