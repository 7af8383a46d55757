"""The charts of the page."""

from collections.abc import Sequence

import numpy as np

from ...measure.comparison import Comparison
from ..chart import SERIES, chart

__all__ = ["premium_chart", "size_chart", "zipf_chart"]


def size_chart(found: Comparison) -> str:
    """Bytes per token of the text, a bar for each tokenizer with its interval."""
    names = list(found.tokenizers)
    records = [found.get(name, "bytes per token") for name in names]
    values = np.array([record.value for record in records if record])
    errors = np.array([[r.value - r.low, r.high - r.value] for r in records if r]).T
    with chart("Bytes per token", (6.4, 0.7 + 0.42 * len(names)), grid="x", legend=False) as (axes, svg):
        axes.barh(names, values, 0.62, color=[SERIES[k % len(SERIES)] for k in range(len(names))])
        if np.isfinite(errors).all():
            axes.errorbar(
                values, names, xerr=np.maximum(errors, 0), fmt="none", ecolor="#010203", capsize=3, linewidth=1
            )
        for row, value in enumerate(values):
            axes.annotate(f"{value:.2f}", (0, row), (6, 0), textcoords="offset points", va="center", color="#fff")
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("bytes per token: the longer, the fewer tokens")
    return svg[0]


def premium_chart(found: Comparison, languages: Sequence[str]) -> str:
    """The premium of each language, a dot for each tokenizer with its interval, on a logarithmic axis."""
    with chart("Premium of each language", (6.4, 1.2 + 0.3 * len(languages)), grid="both") as (axes, svg):
        for k, name in enumerate(found.tokenizers):
            records = [found.get(name, "premium", language) for language in languages]
            values = np.array([record.value for record in records if record])
            errors = np.array([[r.value - r.low, r.high - r.value] for r in records if r]).T
            rows = np.arange(len(languages)) + (k - (len(found.tokenizers) - 1) / 2) * 0.12
            axes.errorbar(values, rows, xerr=np.maximum(errors, 0), fmt="o", markersize=5, linewidth=1.2,
                          color=SERIES[k % len(SERIES)], label=name)  # fmt: skip
        axes.axvline(1, color="#010203", linewidth=1, alpha=0.6)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        ticks = [tick for tick in (0.5, 1, 2, 3, 5, 10, 20, 50, 100) if low <= tick <= high]
        axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
        axes.minorticks_off()
        axes.set_yticks(range(len(languages)), languages)
        axes.invert_yaxis()
        axes.set_xlabel(f"tokens for the same content, {found.base} = 1")
    return svg[0]


def zipf_chart(found: Comparison) -> str:
    """How often the most frequent token occurs, the second, the third …, both axes logarithmic."""
    with chart("Frequency of tokens by rank", (6.4, 3.4), grid="both") as (axes, svg):
        for k, (name, own) in enumerate(found.profiles.items()):
            counts = np.sort(own.id_counts(len(found.tokenizers[name].vocab)))[::-1]
            counts = counts[counts > 0]
            # As many points on each stretch of a logarithmic axis: the tail alone would be a megabyte of SVG.
            ranks = np.unique(np.geomspace(1, counts.size, 200).astype(np.int64))
            axes.plot(ranks, counts[ranks - 1] / counts.sum(), color=SERIES[k % len(SERIES)], linewidth=1.8, label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("rank of the token")
        axes.set_ylabel("share of all tokens")
    return svg[0]
