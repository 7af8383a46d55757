"""Explainability-guided compression, tried where one knows which patch an answer depends on.

pip download --no-deps scikit-learn==1.9.1      # its wheel holds 1,797 digits of handwriting, 8 x 8
tokenloom evidence explainability-compression -- --archives FOLDER

A small LLaVA answers "which digit is at row r, column c" on grids of handwritten digits: one patch of sixteen matters. Is it the
one that relevance finds, after the answer and, by the trained compressor, before it? Digits of the test were written by other
people than those that model and compressor saw.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import tokenloom as tl

from ..core.errors import require
from ..core.token_map import TokenMap
from ..hosts.vision_language.relevance import attention_gradients, text_attentions, visual_span
from ..measure.digit_grid import DigitGrids, DigitGridTask, answers
from ..reduce.budgets import top
from ..reduce.explainability_compression import (
    Compressor,
    ExplainabilityCompression,
    relevance,
    relevance_targets,
    train_compressor,
    visual_relevance,
)
from .digit_grid import DIGITS, LEARNING, read_digits, trained_digit_grid
from .packages import check_run
from .result import Figure, Picture, run_seeds, write_result

__all__ = ["run", "trial"]

FULL: dict[str, Any] = {"side": 4, "steps": LEARNING["steps"], "taught": 1500, "epochs": 40, "tested": 1000}
QUICK: dict[str, Any] = {"side": 2, "steps": 60, "taught": 100, "epochs": 1, "tested": 40}
PAPER = "Qwen2-VL, a quarter of the tokens: 92.9 % of the full performance (FastV on MMStar: 39.6 of 61.1, this: 55.8)"


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 2, quick: bool = False) -> None:
    """Train models and compressors, and drop patches; some three minutes a seed, of which two train the model.

    Args:
        out: folder of result.json, the picture, and the finished trials and trained models in .trials.
        archives: folder of the package; needed unless quick.
        seeds: of models, compressors and questions.
        workers: processes.
        quick: generated digits and a smaller grid instead, to see that it runs.
    """
    check_run(archives, [DIGITS], seeds=seeds, workers=workers, quick=quick)
    settings = QUICK if quick else FULL
    source, cache = None if archives is None else str(archives), str(out / ".trials" / "models")
    found = run_seeds(
        trial, {"archives": source, "cache": cache, **settings}, out / ".trials", seeds=seeds, workers=workers
    )
    _draw(found, out / "relevance.png")
    cells = settings["side"] ** 2
    write_result(
        out,
        system="explainability-compression",
        sentence=_sentence(found),
        settings={**settings, "learnt": dict(LEARNING["mix"]), "asked": "which digit is at a row and a column"},
        seeds=list(range(seeds)),
        figures=[
            *(
                Figure(f"{what}, {cells // share} of {cells} tokens kept",
                       {name: [one["kept"][str(share)][name][k] for one in found] for name in found[0]["kept"]["4"]},
                       PAPER if k and share == 4 else "", "share of questions")
                for share in (4, 2)
                for k, what in enumerate(("asked cell survives", "right answers"))
            ),
            *(
                Figure(what, {kind: [one[kind][k] for one in found] for kind in ("right answers", "wrong answers")}, "", unit)
                for k, what, unit in ((0, "asked cell is the most relevant one", "share of questions"),
                                      (1, "rank of the asked cell by relevance", "1 is the highest"))
            ),
        ],
        pictures=[Picture("relevance.png", "Left: a quarter of the tokens kept. Right: questions whose asked cell has at most a rank.")],
        ledger=tl.Ledger(),
        details={"trials": found},
    )  # fmt: skip


def trial(
    archives: str | None, cache: str, seed: int, side: int, steps: int, taught: int, epochs: int, tested: int
) -> dict[str, Any]:
    """Train a model and a compressor for it; rank the tokens of test pictures in seven ways, and keep a half or a quarter."""
    source = None if archives is None else Path(archives)
    model = trained_digit_grid(source, Path(cache), seed, side=side, steps=steps)
    lessons, held_out = read_digits(source)
    rng = np.random.default_rng((seed, 1))
    learnt = DigitGridTask(side=side, mix=LEARNING["mix"]).draw(lessons, taught, rng=rng)
    learnt = learnt[answers(model, learnt) == learnt.answers_B]  # of wrong answers the authors learn nothing either
    relevance_BN, attention_BN = _relevance(model, learnt, learnt.answers_B), _attention(model, learnt).mean(1)
    compressor = Compressor(generator=torch.Generator().manual_seed(seed))
    losses = train_compressor(compressor, attention_BN, relevance_targets(relevance_BN), epochs=epochs, rng=rng)
    grids = DigitGridTask(side=side).draw(held_out, tested, rng=rng)
    said_B, attention_BQN, n = answers(model, grids), _attention(model, grids), side * side
    scores = {
        "relevance of the answer": _relevance(model, grids, said_B),
        "rollout without gradients": _rollout(model, grids),
        "first layer, last question token": attention_BQN[:, -1],
        "first layer, mean of question": attention_BQN.mean(1),
        "random": torch.from_numpy(rng.random((tested, n))),
    }
    asked_B = grids.relevant_BN.int().argmax(1)
    kept: dict[str, dict[str, list[float]]] = {}
    for share in (4, 2):
        compression = ExplainabilityCompression(compressor, keep=n // share)
        maps = {"compressor": compression(torch.zeros(tested, n, 1), text_attention_BQN=attention_BQN)}
        for name, score_BN in scores.items():
            maps[name] = TokenMap.keep(top(score_BN, n // share).sort(1).values, of=n)
        kept[str(share)] = {
            name: [float((found.positions_BM == asked_B[:, None]).any(1).float().mean()), _right(model, grids, found)]
            for name, found in maps.items()
        }
        kept[str(share)]["all tokens"] = [1.0, _right(model, grids, None)]
    rank_B = 1 + (
        scores["relevance of the answer"] > scores["relevance of the answer"].gather(1, asked_B[:, None])
    ).sum(1)
    by_answer = {}
    for name, some_B in (("right answers", said_B == grids.answers_B), ("wrong answers", said_B != grids.answers_B)):
        ranks = rank_B[some_B].tolist() or [n]
        by_answer[name] = [
            float(np.mean(np.array(ranks) == 1)),
            float(np.mean(ranks)),
            np.bincount(ranks, minlength=n + 1)[1:].tolist(),
        ]
    return {"kept": kept, **by_answer, "learnt from": len(learnt), "losses": losses}


def _relevance(model: Any, grids: DigitGrids, said_B: Tensor, block: int = 250) -> Tensor:
    parts = [slice(start, start + block) for start in range(0, len(grids), block)]
    return torch.cat([visual_relevance(model, grids[part].inputs, said_B[part, None]) for part in parts])


def _attention(model: Any, grids: DigitGrids) -> Tensor:
    return text_attentions(model, grids.inputs)


def _rollout(model: Any, grids: DigitGrids) -> Tensor:
    (found,) = attention_gradients(model, grids.inputs, grids.answers_B[:, None])
    ones = [torch.ones_like(weights) for weights in found.attention]
    return relevance(found.attention, ones, found.query, visual_span(grids.ids_BT, model.config.image_token_id))


def _right(model: Any, grids: DigitGrids, reduction: TokenMap | None) -> float:
    return float((answers(model, grids, reduction) == grids.answers_B).float().mean())


def _mean(found: list[dict[str, Any]], *keys: Any) -> float:
    values: list[Any] = found
    for key in keys:
        values = [one[key] for one in values]
    return float(np.mean(values))


def _sentence(found: list[dict[str, Any]]) -> str:
    def quarter(name: str) -> str:
        return f"{_mean(found, 'kept', '4', name, 0):.0%} and {_mean(found, 'kept', '4', name, 1):.0%}"

    return (
        f"After a right answer the asked cell is the most relevant one in {_mean(found, 'right answers', 0):.0%} of the questions "
        f"(mean rank {_mean(found, 'right answers', 1):.1f}), after a wrong one in {_mean(found, 'wrong answers', 0):.0%} "
        f"({_mean(found, 'wrong answers', 1):.1f}). With a quarter of the tokens the asked cell survives, and the answer is right, "
        f"in {quarter('relevance of the answer')} of the questions by relevance of the model's own answer, in {quarter('compressor')} "
        f"by the compressor, which sees the first layer only, in {quarter('random')} at random; all tokens give "
        f"{_mean(found, 'kept', '4', 'all tokens', 1):.0%}. What needs no training does as follows: the mean of the question's "
        f"attention in the first layer {quarter('first layer, mean of question')}, its last token "
        f"{quarter('first layer, last question token')}, rollout without gradients {quarter('rollout without gradients')}. A "
        "model of three layers, whose patches know nothing of each other, does not show what gradients are worth in a large one."
    )


def _draw(found: list[dict[str, Any]], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    names = list(found[0]["kept"]["4"])
    for offset, k, colour, label in ((0.2, 0, "#0a6fb5", "asked cell survives"), (-0.2, 1, "#d1860a", "right answers")):
        values = np.array([[one["kept"]["4"][name][k] for one in found] for name in names])
        spread = values.std(1, ddof=1) if values.shape[1] > 1 else None
        left.barh(
            np.arange(len(names)) + offset, values.mean(1), 0.38, xerr=spread, color=colour, capsize=3, label=label
        )
    left.set_yticks(range(len(names)), names, fontsize=8)
    left.invert_yaxis()
    left.set(xlabel="share of questions", xlim=(0, 1.02))
    left.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    for name, colour in (("right answers", "#0a6fb5"), ("wrong answers", "#d1860a")):
        counts = np.sum([one[name][2] for one in found], 0)
        right.step(
            np.arange(1, len(counts) + 1),
            counts.cumsum() / max(1, counts.sum()),
            where="post",
            color=colour,
            label=name,
        )
    n = len(found[0]["right answers"][2])
    right.plot([1, n], [1 / n, 1], ":", color="#4c4c4c", label="chance")
    right.set(xlabel="rank of the asked cell by relevance", ylabel="share of questions, cumulative", ylim=(0, 1.02))
    right.set_xticks([1, *range(max(2, n // 4), n + 1, max(2, n // 4))])
    right.legend(frameon=False, fontsize=8, loc="lower right")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
