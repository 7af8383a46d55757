"""CPU time, because benchmarks share their machine: what other programs do then counts little, and the best run counts."""

import time
from collections.abc import Callable
from typing import Any

__all__ = ["best"]


def best(work: Callable[[], Any], runs: int, *, fresh: Callable[[], Any] | None = None) -> float:
    """CPU seconds of this process, all its threads together, in the fastest of `runs` calls of `work`.

    Args:
        work: called without arguments, or with what `fresh` made.
        fresh: called before each run, outside the measurement.
    """
    seconds = float("inf")
    for _ in range(runs):
        arguments = () if fresh is None else (fresh(),)
        start = time.process_time()
        work(*arguments)
        seconds = min(seconds, time.process_time() - start)
    return seconds
