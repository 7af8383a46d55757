"""Fixed windows of shards for training: one global order, whatever the number of workers, resumed at any step.

The tokens of a pass are one stream, cut every `length` tokens. As in every pretraining stack a window does not care where
documents end (write an end-of-text token between them), and the last tokens that do not fill a window, at most
`length - 1` of a pass, are left out of it. The windows of pass 0, pass 1 … follow each other, each pass in its own order;
where one is is a single number, the windows given out so far.
"""
# B windows of a batch, T tokens of a window

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np

from ..core.errors import InvalidInput, require
from ..core.seeds import stream_seeds
from .shards import Shards
from .shuffle import shuffled

require("torch", "torch")  # says what to install, where the line below would not
import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils.data import DataLoader, IterableDataset, get_worker_info  # noqa: E402

__all__ = ["Loader", "Windows"]


class Windows(IterableDataset):
    """Windows of consecutive tokens as `{"input_ids", "labels"}`, what language models of transformers take.

    Both are int64, (length,), or (batch, length) with `batch`; labels equal input_ids (models shift them themselves).
    Iterating goes on where the state says; after the end, the next iteration begins anew. Iterate in this process, or
    with workers through `loader`: a DataLoader of your own works too (`batch_size=None` keeps the order), but this
    object cannot see what workers it does not know have handed out, so `state_dict` stands still.

    Ranks take turns: of the windows of a step, rank r takes every `world_size`-th from its r-th on. All ranks see the
    same number of steps and windows; at the very end up to `world_size - 1` windows are left out for that, and the last
    batch may be smaller.

    Args:
        shards: from `open_shards`. When several epochs were written, pass p reads epoch p modulo their number.
        length: tokens of a window, at least 1.
        batch: windows of an item; None gives single windows without the batch dimension.
        shuffle: a new order of windows in each pass; otherwise as written.
        seed: of the orders, 0 … 2^64 - 1.
        epochs: passes; None goes on without end.
        rank: which part of the windows is for this process, 0 … world_size - 1.
        world_size: processes that train together.
    Raises: InvalidInput: a value out of range, or fewer tokens than one window takes.
    """

    def __init__(
        self,
        shards: Shards,
        length: int,
        *,
        batch: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        epochs: int | None = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        for name, value in (("length", length), ("batch", batch), ("epochs", epochs), ("world_size", world_size)):
            if value is not None and value < 1:
                raise InvalidInput(f"{name}={value}; it must be at least 1")
        if not 0 <= rank < world_size:
            raise InvalidInput(f"rank={rank}; with world_size={world_size} it must be 0 … {world_size - 1}")
        stream_seeds(seed)
        self._passes = [shards.epoch(number) for number in shards.epochs]
        shortest = min((part.tokens for part in self._passes), default=0)
        if shortest < length:
            raise InvalidInput(f"length={length}, but {shards.folder} has only {shortest} tokens")
        self.length, self.batch, self.shuffle, self.seed, self.epochs = length, batch, shuffle, seed, epochs
        self.rank, self.world_size = rank, world_size
        self._order = {"shards": shards.digest, "length": length, "shuffle": shuffle, "seed": seed}
        # Where the windows of each written epoch begin, and where they begin again.
        self._firsts = [0, *accumulate(part.tokens // length for part in self._passes)]
        self._position, self._ended = 0, False

    @property
    def steps(self) -> int | None:
        """Items of a full iteration from the beginning; None without end."""
        total = self._total()
        return None if total is None else -(-(total // self.world_size) // (self.batch or 1))

    def _total(self) -> int | None:
        """Windows of all passes and ranks."""
        if self.epochs is None:
            return None
        rounds, rest = divmod(self.epochs, len(self._passes))
        return rounds * self._firsts[-1] + self._firsts[rest]

    def _rows(self, numbers: np.ndarray) -> np.ndarray:
        """The windows with these numbers in the order over all passes: int64 (B, T) for int64 (B,)."""
        turns, places = np.divmod(numbers, self._firsts[-1])
        parts = np.searchsorted(self._firsts, places, side="right") - 1
        passes = turns * len(self._passes) + parts
        out_BT = np.empty((numbers.size, self.length), np.int64)
        for number in np.unique(passes):  # two at most, unless a pass is shorter than a batch
            here = np.flatnonzero(passes == number)
            part = int(parts[here[0]])
            index = places[here] - self._firsts[part]
            if self.shuffle:
                key = stream_seeds(self.seed, number)[0]
                index = shuffled(index, self._firsts[part + 1] - self._firsts[part], int(key))
            for row, start in zip(here, (index * self.length).tolist()):
                out_BT[row] = self._passes[part].read(start, start + self.length)
        return out_BT

    def _items(self, first: int, stride: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """From the state on, item `first` and every `stride`-th after it, each with the state after it."""
        share = self.batch or 1
        total, step = self._total(), share * self.world_size
        # What is left is cut to equal parts for all ranks.
        end = None if total is None else total - (total - self._position) % self.world_size
        start = self._position + first * step
        while end is None or start < end:
            stop = start + step if end is None else min(start + step, end)
            ids_BT = self._rows(np.arange(start + self.rank, stop, self.world_size))
            ids = torch.from_numpy(ids_BT if self.batch is not None else ids_BT[0])
            yield stop, {"input_ids": ids, "labels": ids.clone()}
            start += stride * step

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if get_worker_info() is not None:
            for _, item in _Share(self):
                yield item
            return
        self._begin()
        for position, item in self._items(0, 1):
            self._position = position
            yield item
        self._ended = True

    def _begin(self) -> None:
        if self._ended:
            self._position, self._ended = 0, False

    def state_dict(self) -> dict[str, Any]:
        """Where it is, as plain JSON: `position`, the windows given out to all ranks, and what the order depends on.

        The same on all ranks. Batch size, ranks and workers may differ when it is loaded: no window comes twice.
        """
        return {"position": self._position, **self._order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the item after which `state` was saved; takes effect when the next iteration begins.

        Raises: InvalidInput: the state belongs to other shards or another order, or lies behind the end.
        """
        for name, here in self._order.items():
            if state.get(name) != here:
                raise InvalidInput(f"the state was saved with {name}={state.get(name)!r}, but here it is {here!r}")
        position, total = state.get("position"), self._total()
        if type(position) is not int or position < 0 or (total is not None and position > total):
            raise InvalidInput(f"position={position!r}; there are {'endless' if total is None else total} windows")
        self._position, self._ended = position, False

    def loader(self, workers: int = 0) -> "Loader":
        """The same items in the same order, prepared by `workers` processes ahead of time.

        Raises: InvalidInput: `workers` is negative.
        """
        return Loader(self, workers)


class _Share(IterableDataset):
    """What one worker prepares: each item of its share with the state after it.

    A DataLoader asks its workers in turn; worker w gives item w, w + workers …, so all together give the order of one.
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def __iter__(self) -> Iterator[tuple[int, dict[str, Tensor]]]:
        worker = get_worker_info()
        assert worker is not None
        return self.windows._items(worker.id, worker.num_workers)


class Loader:
    """Iterates `Windows` in worker processes; the state counts what was handed out, not what workers prepared.

    Args:
        windows: whose state it advances.
        workers: processes; 0 works in this one.
    """

    def __init__(self, windows: Windows, workers: int) -> None:
        if workers < 0:
            raise InvalidInput(f"workers={workers}; it must be at least 0")
        self.windows, self.workers = windows, workers

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        windows = self.windows
        if self.workers == 0:
            yield from windows
            return
        windows._begin()
        # A generator of its own, because a DataLoader draws a seed for its workers from the global one otherwise.
        share = DataLoader(_Share(windows), batch_size=None, num_workers=self.workers, generator=torch.Generator())
        for position, item in share:
            windows._position = position  # before the item leaves: whoever holds it has consumed it
            yield item
        windows._ended = True

    def state_dict(self) -> dict[str, Any]:
        """See `Windows.state_dict`."""
        return self.windows.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Windows.load_state_dict`."""
        self.windows.load_state_dict(state)
