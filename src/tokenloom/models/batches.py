"""Batches to train on: random windows of a long text, and several supervised examples packed into one row."""
# T ids of a row, R rows

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..core.errors import InvalidInput

__all__ = ["IGNORED", "Batch", "BatchSource", "Example", "pack", "packs", "windows"]

IGNORED = -100

Batch = Mapping[str, Tensor]
Example = tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray]


class BatchSource(Protocol):
    """Batches that know where they are; the state is plain JSON and counts the batches already given out."""

    def __iter__(self) -> Iterator[Batch]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class _Windows:
    def __init__(self, ids: np.ndarray, length: int, batch: int, rng: np.random.Generator) -> None:
        self.ids, self.length, self.batch, self.rng = ids, length, batch, rng

    def __iter__(self) -> Iterator[Batch]:
        span = np.arange(self.length)
        while True:
            starts = self.rng.integers(0, self.ids.size - self.length + 1, self.batch)
            ids = torch.from_numpy(self.ids[starts[:, None] + span].astype(np.int64))
            yield {"input_ids": ids, "labels": ids}

    def state_dict(self) -> dict[str, Any]:
        return _state_of(self.rng)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state


def windows(ids: np.ndarray, *, length: int, batch: int, rng: np.random.Generator) -> BatchSource:
    """Windows at uniformly random places of one long text, forever; every id but a window's first is predicted.

    Args:
        ids: integers (N,), N >= `length`; may be a memory map.
        length: ids of a window.
        batch: windows of a batch.
        rng: draws the places; advanced by the source alone, its state is the source's.
    Raises: InvalidInput: no window fits.
    """
    if ids.ndim != 1 or not 2 <= length <= ids.size:
        raise InvalidInput(f"length={length}; it must be at least 2 and at most the ids there are, of {ids.shape}")
    if batch < 1:
        raise InvalidInput(f"batch={batch}; it must be at least 1")
    return _Windows(ids, length, batch, rng)


def pack(examples: Sequence[Example], *, length: int, pad_id: int) -> dict[str, Tensor]:
    """Several supervised examples in each row, none of which sees another.

    Examples fill a row in their order until the next one does not fit. Attention is causal within an example, positions
    restart at 0, only answers are predicted: each example gets the logits it has alone.

    Args:
        examples: pairs of question ids and answer ids, neither empty.
        length: ids of a row.
        pad_id: fills up rows; padding sees itself alone and nothing sees or predicts it.
    Returns: `input_ids`, `labels` and `positions`, int64 (R, length), and `mask`, bool (R, 1, length, length).
    Raises: InvalidInput: no example, an empty part, or an example longer than a row.
    """
    sizes = _sizes(examples, length)
    return _packed(examples, _rows(sizes, length), length, pad_id)


class _Packs:
    def __init__(self, examples: Sequence[Example], length: int, batch: int, pad_id: int, rng: np.random.Generator):
        self.examples, self.length, self.batch, self.pad_id, self.rng = examples, length, batch, pad_id, rng
        self.sizes = _sizes(examples, length)
        self.order = np.empty(0, np.int64)
        self.used = 0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            rows: list[list[int]] = []
            room = 0
            while True:
                if self.used == self.order.size:
                    self.order, self.used = self.rng.permutation(len(self.examples)), 0
                example = int(self.order[self.used])
                if self.sizes[example] > room:
                    if len(rows) == self.batch:
                        break
                    rows.append([])
                    room = self.length
                rows[-1].append(example)
                room -= self.sizes[example]
                self.used += 1
            yield _packed(self.examples, rows, self.length, self.pad_id)

    def state_dict(self) -> dict[str, Any]:
        return {"rng": _state_of(self.rng), "order": self.order.tolist(), "used": self.used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.order, self.used = np.array(state["order"], np.int64), state["used"]


def packs(
    examples: Sequence[Example], *, length: int, batch: int, pad_id: int, rng: np.random.Generator
) -> BatchSource:
    """All examples in a new random order each epoch, forever, in batches of `batch` rows; see `pack`."""
    if batch < 1:
        raise InvalidInput(f"batch={batch}; it must be at least 1")
    return _Packs(examples, length, batch, pad_id, rng)


def _sizes(examples: Sequence[Example], length: int) -> list[int]:
    if not examples:
        raise InvalidInput("no example to pack")
    for i, (question, answer) in enumerate(examples):
        if not len(question) or not len(answer):
            raise InvalidInput(f"example {i} has an empty question or answer; both need at least one id")
        if len(question) + len(answer) > length:
            raise InvalidInput(f"example {i} has {len(question) + len(answer)} ids, but a row holds {length}")
    return [len(question) + len(answer) for question, answer in examples]


def _rows(sizes: Sequence[int], length: int) -> list[list[int]]:
    rows: list[list[int]] = []
    room = 0
    for i, size in enumerate(sizes):
        if size > room:
            rows.append([])
            room = length
        rows[-1].append(i)
        room -= size
    return rows


def _packed(examples: Sequence[Example], rows: list[list[int]], length: int, pad_id: int) -> dict[str, Tensor]:
    ids = np.full((len(rows), length), pad_id, np.int64)
    labels = np.full_like(ids, IGNORED)
    positions = np.zeros_like(ids)
    # Padding belongs to no example: each of it is a block of its own.
    block = np.tile(-1 - np.arange(length), (len(rows), 1))
    for row, members in enumerate(rows):
        at = 0
        for example in members:
            question, answer = examples[example]
            middle, end = at + len(question), at + len(question) + len(answer)
            ids[row, at:middle], ids[row, middle:end] = question, answer
            labels[row, middle:end] = answer
            positions[row, at:end] = np.arange(end - at)
            block[row, at:end] = example
            at = end
    mask = (block[:, :, None] == block[:, None, :]) & np.tri(length, dtype=bool)
    arrays = {"input_ids": ids, "labels": labels, "positions": positions, "mask": mask[:, None]}
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def _state_of(rng: np.random.Generator) -> dict[str, Any]:
    """The state of any bit generator as plain JSON; some keep arrays."""
    return json.loads(json.dumps(rng.bit_generator.state, default=np.ndarray.tolist))
