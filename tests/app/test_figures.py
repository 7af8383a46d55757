"""What is set off as best is better than all others by more than the intervals, and nothing else is."""

import re

import numpy as np
import pytest

from tokenloom.app.measure.figures import cell, figures
from tokenloom.measure.comparison import Comparison
from tokenloom.measure.metrics import Record
from tokenloom.measure.profile import TextProfile

TEXT = TextProfile(1, 1024, {"bytes": np.ones(1, np.int64)}, [], np.zeros(0, np.int64))


def best(metric, *values):
    names = "abc"[: len(values)]
    records = tuple(Record(name, metric, *one, n=9) for name, one in zip(names, values))
    page = figures(Comparison(dict.fromkeys(names), TEXT, {}, records), [metric])
    return [names[i] for i, found in enumerate(re.findall(r"<td class=\"number\">(.*?)</td>", page)) if "<b>" in found]


@pytest.mark.parametrize(
    "metric, values, won",
    [
        ("bytes per token", [(4.0, 3.9, 4.1), (3.0, 2.9, 3.1)], ["a"]),
        ("bytes per token", [(4.0, 3.0, 5.0), (3.5, 2.9, 3.9)], []),
        ("fertility", [(2.0, 1.9, 2.1), (1.5, 1.4, 1.6), (1.8, 1.7, 1.85)], ["b"]),
        ("fertility", [(2.0,), (1.5,)], []),
        ("tokens", [(9.0, 8.0, 10.0), (1.0, 0.5, 2.0)], []),
        ("fertility", [(2.0, 1.9, 2.1)], []),
    ],
)
def test_the_best_is_set_off_only_beyond_the_intervals(metric, values, won):
    assert best(metric, *values) == won


def test_a_cell_tells_value_interval_and_cases():
    shown = cell(Record("a", "hard words", 0.5, 0.4, 0.6, n=1234), of=True)
    assert "50.0%" in shown and "40.0% … 60.0%, of 1,234" in shown
    assert cell(Record("a", "hard words", float("nan"))) == "–"
