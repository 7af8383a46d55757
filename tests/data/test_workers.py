import os
import signal

import pytest

from tokenloom.core.errors import TokenloomError
from tokenloom.data.workers import ordered_map


def ordered(function, inputs, workers, weight=100):
    return list(ordered_map(function, inputs, workers, lambda value: 1, weight))


def square(value):
    return value * value


def fail_at_five(value):
    if value == 5:
        raise ValueError("five")
    return value


def die_at_five(value):
    if value == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_inputs(workers):
    assert ordered(square, range(50), workers) == [(i, i * i) for i in range(50)]


@pytest.mark.parametrize("workers", [1, 2])
def test_inputs_are_read_only_a_little_ahead(workers):
    read, most = [], 0

    def inputs():
        for i in range(60):
            read.append(i)
            yield i

    for done, _ in ordered_map(square, inputs(), workers, lambda value: 1, 100):
        most = max(most, len(read) - done)
    assert most <= 4 * workers + 1
    heavy = ordered_map(square, iter(range(40)), workers, lambda value: 60, 100)
    assert [value for value, _ in heavy] == list(range(40))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_here_after_what_came_before(workers):
    done = []
    with pytest.raises(ValueError, match="five"):
        for value, _ in ordered_map(fail_at_five, range(9), workers, lambda value: 1, 100):
            done.append(value)
    assert done == [0, 1, 2, 3, 4]


def test_a_worker_that_is_killed_is_an_error_never_a_shorter_list():
    done = []
    with pytest.raises(TokenloomError, match="a worker process died"):
        for value, _ in ordered_map(die_at_five, range(1000), 2, lambda value: 1, 100):
            done.append(value)
    assert done == list(range(len(done)))
    assert len(done) <= 5


class DeadOnArrival:
    """A function that kills the process that takes it out of the pipe."""

    def __reduce__(self):
        return os._exit, (9,)

    def __call__(self, value):
        return value


def test_a_worker_that_dies_while_it_starts_is_an_error():
    with pytest.raises(TokenloomError, match="a worker process died"):
        ordered(DeadOnArrival(), range(9), 2)


def large(value):
    return os.getpid(), bytes(20 << 20)


def test_a_worker_that_dies_with_half_a_result_written_is_an_error():
    results = ordered_map(large, iter(range(10**9)), 2, lambda value: 1, 100)
    (_, (pid, _)) = next(results)
    os.kill(pid, signal.SIGKILL)  # what it has written of its next result is more than a pipe holds
    with pytest.raises(TokenloomError, match="a worker process died"):
        list(results)


def test_leaving_early_ends_the_workers():
    results = ordered_map(square, iter(range(10**9)), 2, lambda value: 1, 100)
    next(results)
    results.close()
    assert not [child for child in _children() if b"spawn_main" in child]


def _children():
    """Command lines of the processes that this one has started and that still run."""
    for entry in os.scandir("/proc"):
        try:
            with open(f"{entry.path}/stat", "rb") as file:  # noqa: PTH123
                parent = int(file.read().rsplit(b")", 1)[1].split()[1])
            if parent == os.getpid():
                with open(f"{entry.path}/cmdline", "rb") as file:  # noqa: PTH123
                    yield file.read()
        except (OSError, ValueError):
            continue
