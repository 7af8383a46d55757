"""Calls of one function spread over processes; results in the order of the calls, in bounded memory.

Every worker has a connection of its own, so that its death, at whatever moment, is the end of a file for us, and ours is
for it. The pools of the standard library share locks and pipes among workers: one that is killed while it starts, or
with half a result written, leaves the others waiting for ever.
"""

import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any, TypeVar

from ..core.errors import TokenloomError

__all__ = ["cores", "ordered_map"]

In = TypeVar("In")
Out = TypeVar("Out")

# Inputs that a worker has: one at work, one that came meanwhile.
_HELD = 2


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    function: Callable[[In], Out], inputs: Iterable[In], workers: int, weigh: Callable[[In], int], weight: int
) -> Generator[tuple[In, Out], None, None]:
    """Each input with its result, in order. Close it when you leave it early: the workers end then.

    Args:
        function: called in the workers; it and what goes in and out can be pickled.
        inputs: read a little ahead of the results.
        workers: processes; 1 works in this one.
        weigh: what an input takes of `weight`, which all that are under way may weigh together.
    Raises: TokenloomError: a worker died. What `function` raises, it raises here.
    """
    if workers == 1:
        for value in inputs:
            yield value, function(value)
        return
    crew = [_Worker() for _ in range(workers)]
    waiting: deque[tuple[In, _Slot]] = deque()
    under_way = 0
    try:
        for worker in crew:
            worker.send(function)
        for value in inputs:
            slot = _Slot()
            waiting.append((value, slot))
            under_way += weigh(value)
            min(crew, key=lambda worker: len(worker.slots)).send(value, slot)
            while (
                all(len(worker.slots) >= _HELD for worker in crew)
                or len(waiting) > 2 * _HELD * workers
                or (under_way > weight and len(waiting) > 1)
            ):
                _collect(crew)
                while waiting and waiting[0][1].filled:
                    first, slot = waiting.popleft()
                    under_way -= weigh(first)
                    yield first, slot.result()
        while waiting:
            first, slot = waiting.popleft()
            while not slot.filled:
                _collect(crew)
            yield first, slot.result()
    finally:
        for worker in crew:
            worker.end()


class _Slot:
    """Where a result will be."""

    def __init__(self) -> None:
        self.filled = False
        self._value: Any = None
        self._error: BaseException | None = None

    def fill(self, value: Any, error: BaseException | None) -> None:
        self.filled, self._value, self._error = True, value, error

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


class _Worker:
    """A process and what it has been asked; it answers in order."""

    def __init__(self) -> None:
        self.slots: deque[_Slot] = deque()
        self.connection, theirs = Pipe()
        # Spawned, not forked: tokenizers and numba have threads, which a fork would leave behind with their locks held.
        # What it is started with must be small: the standard library writes it into a pipe that a dead child never empties.
        self._process = get_context("spawn").Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, value: Any, slot: _Slot | None = None) -> None:
        """The function first, then inputs."""
        try:
            self.connection.send(value)
        except OSError as error:
            raise _died() from error
        if slot is not None:
            self.slots.append(slot)

    def receive(self) -> None:
        """Fill the oldest slot."""
        try:
            self.slots.popleft().fill(*self.connection.recv())
        except (EOFError, OSError) as error:
            raise _died() from error

    def end(self) -> None:
        """Leave it, whatever it is doing."""
        self.connection.close()
        self._process.join()


def _collect(crew: Sequence[_Worker]) -> None:
    """Wait for results and take them."""
    busy = {worker.connection: worker for worker in crew if worker.slots}
    for connection in wait(list(busy)):
        busy[connection].receive()  # type: ignore[index]


def _died() -> TokenloomError:
    return TokenloomError(
        "a worker process died (killed, or out of memory: fewer workers need less); what is finished is kept, and the "
        "same command continues. A script must start this below `if __name__ == '__main__':`"
    )


# -- in the worker -----------------------------------------------------------------------------------------------------


def _work(connection: Connection) -> None:
    # We are ended by our parent; an interrupt from the keyboard reaches us too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Engines with threads of their own read this when they start them: here, a process is a worker.
    os.environ["RAYON_NUM_THREADS"] = "1"
    values: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, values), daemon=True).start()
    function = values.get()
    while True:
        value = values.get()
        answer: tuple[Any, BaseException | None]
        try:
            answer = function(value), None
        except Exception as error:
            error.add_note("In a worker:\n" + traceback.format_exc())
            answer = None, error
        connection.send(answer)


def _listen(connection: Connection, values: "SimpleQueue[Any]") -> None:
    """Always ready to take what comes, so that nobody waits for us to listen; leave when the other side is gone."""
    try:
        while True:
            values.put(connection.recv())
    except EOFError:
        pass
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(1)
