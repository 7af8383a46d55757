"""Accuracy against the large model's share of tokens, and answers with what the large model wrote in them."""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import require
from .trials import ROUTERS

__all__ = ["draw_answers", "draw_rates", "points"]

COLOURS = dict(zip(ROUTERS, ("#0a6fb5", "#7ab8e0", "#d1860a", "#a05195", "#7f7f7f")))
LARGE, SMALL = "#b5330a", "#3c3c3c"


def points(one: dict[str, Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rates, ascending, and accuracies of a router in one seed, from the small model alone to the large one."""
    ways = [one["ways"]["small"], *one["ways"][name], one["ways"]["large"]]
    rate, right = np.array([[way["rate"], way["accuracy"]] for way in ways]).T
    order = np.argsort(rate, kind="stable")
    return rate[order], right[order]


def draw_rates(found: list[dict[str, Any]], path: Path) -> None:
    """Lines between means over seeds, dots for each seed."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    for name in ROUTERS:
        each = np.array([points(one, name) for one in found])
        rate, right_share = each.mean(0)[:, :-1]
        left.plot(100 * rate, 100 * right_share, marker="o", markersize=4, color=COLOURS[name], label=name)
        left.plot(
            100 * each[:, 0, 1:-1].ravel(),
            100 * each[:, 1, 1:-1].ravel(),
            ".",
            color=COLOURS[name],
            alpha=0.5,
            markersize=4,
        )
    oracle = np.mean([[one["ways"]["oracle"][key] for key in ("rate", "accuracy")] for one in found], axis=0)
    left.plot(*100 * oracle, "*", color="black", markersize=10, label="oracle")
    ends = np.array([[one["ways"][name]["accuracy"] for name in ("small", "large")] for one in found]).mean(0)
    left.axhline(100 * ends[1], color=LARGE, linewidth=0.8, label="large model alone")
    left.plot(
        [0, 40],
        100 * np.array([ends[0], ends[0] + 0.4 * (ends[1] - ends[0])]),
        "--",
        color="#7f7f7f",
        linewidth=0.8,
        label="whole questions by chance",
    )
    left.set(xlabel="tokens of the large model, %", ylabel="right answers, %", xlim=(-1, 40), ylim=(0, 105))
    left.legend(fontsize=7.5, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    kinds = ("identical", "neutral", "divergent")
    here = [float(np.mean([one["shares"][kind] for one in found])) for kind in kinds]
    for row, shares in enumerate([[0.89, 0.06, 0.05], here]):
        start = 0.0
        for kind, share, colour in zip(kinds, shares, ("#d9d9d9", "#9ecae1", LARGE)):
            right.barh(row, 100 * share, left=start, color=colour, label=kind if row == 0 else None, height=0.5)
            start += 100 * share
        right.text(start + 1, row, f"{100 * shares[1]:.0f} + {100 * shares[2]:.0f} %", va="center", fontsize=8)
    right.set_yticks([0, 1], ["paper", "here"])
    right.set(xlabel="tokens, %", xlim=(0, 122), ylim=(-0.6, 2.1))
    right.set_xticks(range(0, 101, 25))
    right.legend(fontsize=7.5, frameon=False, ncols=3, loc="upper center", columnspacing=1.0, handlelength=1.2)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def draw_answers(texts: list[tuple[str, list[str], list[bool]]], path: Path, *, columns: int = 108) -> None:
    """Texts with a heading each; words of the large model stand out.

    Args:
        texts: heading, pieces of text with their spaces, and whether each piece is the large model's.
    """
    lines: list[list[tuple[int, str, str]]] = []
    for heading, pieces, by_large in texts:
        lines += [[], [(0, heading[:columns], "heading")], []]
        at = 0
        for piece, large in zip(pieces, by_large):
            piece = piece.replace("\n", "↵")
            if at + len(piece) > columns:
                lines.append([])
                at = 0
            lines[-1].append((at, piece, "large" if large else "small"))
            at += len(piece)
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9.2, 0.19 * len(lines) + 0.2))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(-2, columns + 2), ylim=(len(lines), -0.5))
    axis.axis("off")
    styles: dict[str, dict[str, Any]] = {
        "heading": {"color": "black", "weight": "bold"}, "small": {"color": SMALL}, "large": {"color": "white", "backgroundcolor": LARGE},
    }  # fmt: skip
    for row, line in enumerate(lines):
        for column, piece, style in line:
            text = piece.strip(" ") if style == "large" else piece
            shift = len(piece) - len(piece.lstrip(" ")) if style == "large" else 0
            drawn = axis.text(column + shift, row, text, family="monospace", fontsize=7.6, va="center", **styles[style])
            if style == "large":
                drawn.set_bbox({"facecolor": LARGE, "edgecolor": "none", "pad": 1.2})
    figure.savefig(path, dpi=130)
