"""Pictures of the experiment."""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require
from .trials import GIVEN, LENGTH, SOURCES

__all__ = ["draw_calls", "draw_infilling"]

COLOURS = {"ASSD": "#0a6fb5", "ASSD, bigrams": "#2a8f4c", "at once": "#d1860a"}


def draw_infilling(one: dict[str, Any], path: Path) -> None:
    """Some texts: with blanks, filled, and as they were."""
    texts = sum(len(one[name]["shown"]) for name in SOURCES)
    figure = require("matplotlib.figure", "plot").Figure(figsize=(10, 1.3 * texts))
    shades = require("matplotlib", "plot").colormaps["plasma"]
    axis = figure.add_axes((0, 0, 1, 1))
    row = 0.0
    for name in SOURCES:
        for shown in one[name]["shown"]:
            rounds = np.array(shown["rounds"])
            axis.text(-9, row, name, fontsize=9, color="#4c4c4c", va="center")
            axis.text(
                LENGTH + 1, row + 1, f"{shown['tokens']} in {shown['calls']} calls", fontsize=9, color="#4c4c4c", va="center"
            )  # fmt: skip
            for line, (text, coloured) in enumerate(
                ((shown["given"], False), (shown["filled"], True), (shown["text"], False))
            ):
                for i, character in enumerate(text.replace("\n", "↵").replace("\t", "⇥")):
                    colour = "#8c8c8c" if line == 2 else "black"
                    if coloured and rounds[i]:
                        colour = shades(0.85 * (rounds[i] - 1) / max(1, rounds.max() - 1))
                    axis.text(
                        i,
                        row + line,
                        character,
                        family="monospace",
                        fontsize=10,
                        color=colour,
                        ha="center",
                        va="center",
                    )
            row += 3.5
    axis.set(xlim=(-10, LENGTH + 13), ylim=(row - 0.9, -0.9))
    axis.axis("off")
    figure.savefig(path, dpi=120)


def draw_calls(found: list[dict[str, Any]], gaps: dict[str, dict[str, list[float]]], path: Path) -> None:
    """What the judge says of each method, and what k does."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.axhline(0, color="#4c4c4c", lw=0.8)
    for k, (method, colour) in enumerate(COLOURS.items()):
        values = np.array([gaps[name][method] for name in SOURCES])
        places = np.arange(len(SOURCES)) + (k - 1) * 0.22
        spread = np.abs(values[:, 1:] - values[:, :1]).T
        left.errorbar(places, values[:, 0], spread, fmt="o", color=colour, capsize=3, label=method)
    left.set_xticks(range(len(SOURCES)), list(SOURCES))
    left.set(ylabel="bits per character more than one by one", xlim=(-0.6, len(SOURCES) - 0.4))
    left.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    for name, colour in zip(SOURCES, ("#0a6fb5", "#d1860a")):
        values = np.array([list(one[name]["by k"].values()) for one in found])
        spread = values.std(0, ddof=1) if len(values) > 1 else None
        ks = list(map(int, found[0][name]["by k"]))
        right.errorbar(ks, values.mean(0), spread, marker="o", capsize=3, color=colour, label=name)
    right.axhline(1, color="#4c4c4c", lw=0.8)
    right.set(xlabel=f"guesses a round, {LENGTH - GIVEN} blanks", ylabel="calls per token", ylim=(0, 1.05))
    right.set_xticks(ks)
    right.legend(frameon=False, fontsize=8)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
