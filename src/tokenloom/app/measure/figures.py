"""How figures are shown: a record as text or as a cell, several tokenizers as a table."""

from collections.abc import Iterable, Sequence
from html import escape
from math import isnan

from ...measure.comparison import Comparison
from ...measure.metrics import METRICS, Record
from ..page import table

__all__ = ["cell", "figures", "named", "number", "record_of"]


def number(record: Record) -> str:
    """The value as it is shown: shares in percent, counts whole, the rest with three or four digits."""
    value, unit = record.value, METRICS[record.metric].unit
    if isnan(value):
        return "–"
    return _shown(value, unit)


def record_of(found: Comparison, name: str, metric: str, language: str = "") -> Record:
    """One figure, which must have been measured."""
    record = found.get(name, metric, language)
    assert record is not None, (name, metric, language)
    return record


def figures(found: Comparison, metrics: Iterable[str]) -> str:
    """A table with a row for each metric and a column for each tokenizer; the best of a row is set off."""
    rows = []
    for metric in metrics:
        records = [record_of(found, name, metric) for name in found.tokenizers]
        best = _best(records)
        cells = [f"<b>{cell(record)}</b>" if record is best else cell(record) for record in records]
        unit = METRICS[metric].unit
        title = escape(METRICS[metric].title) + (f' <span class="soft">{escape(unit)}</span>' if unit == "MB/s" else "")
        rows.append([title, *cells])
    return table(["", *(named(found, name) for name in found.tokenizers)], rows, numbers=len(found.tokenizers))


def _best(records: Sequence[Record]) -> Record | None:
    """The one that is better than all others by more than the intervals; None where there is none such."""
    better = METRICS[records[0].metric].better
    if not better or len(records) < 2 or any(isnan(record.low) for record in records):
        return None
    if better == "more":
        best = max(records, key=lambda record: record.low)
        return best if best.low > max(r.high for r in records if r is not best) else None
    best = min(records, key=lambda record: record.high)
    return best if best.high < min(r.low for r in records if r is not best) else None


def cell(record: Record, *, of: bool = False) -> str:
    """The value, and below it the interval; with `of` also the number of cases."""
    unit = METRICS[record.metric].unit
    under = f"of {record.n:,}" if of else ""
    if not isnan(record.low) and record.low < record.high:
        under = f"{_shown(record.low, unit)} … {_shown(record.high, unit)}" + (f", {under}" if of else "")
    return number(record) + (f'<span class="interval">{under}</span>' if under else "")


def _shown(value: float, unit: str) -> str:
    if unit == "share":
        return f"{value:.2%}" if abs(value) < 0.1 else f"{value:.1%}"
    if float(value).is_integer() and abs(value) >= 100:
        return f"{int(value):,}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def named(found: Comparison, name: str) -> str:
    """The name of a tokenizer in its colour."""
    series = list(found.tokenizers).index(name) % 8
    return f'<span class="names" style="color:var(--series-{series})">{escape(name)}</span>'
