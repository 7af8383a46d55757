"""The trainer of byte-pair encodings against those of `tokenizers` and, where it is installed, `gigabpe`.

All read the same file, line by line, and learn 32,000 ids inside GPT-2's words, each in a process of its own; what counts
is the CPU seconds of all its threads, after numba has compiled. The first two make the same merges.

The text is the first 50 MB of english.txt, anywhere below the folder that TOKENLOOM_TEST_FILES names; `python -m
tokenloom.evidence.english` makes it. Without it, Python's sources and texts; with --quick the embedded samples.
"""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from encode import corpus
from tokenloom.data import sample, samples

__all__ = ["run"]

VOCABULARY, SIZE = 32_000, 50_000_000
PYTHON = "Python's sources and texts"


def run(quick: bool = False) -> list[dict]:
    """CPU seconds of ours against each of the others, the best of some rounds in which all take turns."""
    trainers = ["tokenloom", "tokenizers"] + ["gigabpe"] * (importlib.util.find_spec("gigabpe") is not None)
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    with tempfile.TemporaryDirectory() as temporary:
        file, text = _text(Path(temporary), quick)
        for _ in range(1 if quick else 3):
            for name, seen in seconds.items():
                seen.append(_child(name, file))
        ours, theirs = (json.loads(_merges(file, name).read_bytes()) for name in trainers[:2])
        size = file.stat().st_size / 1e6
    cost, note = min(seconds["tokenloom"]), f"{text}, {size:.0f} MB"
    bars = {"tokenizers": "≤ 0.5×", "gigabpe": "≤ 2.5×"}
    rows = [
        {
            "name": f"train BPE, {VOCABULARY:,} ids, CPU s",
            "ours": cost,
            "theirs": min(seconds[name]),
            "ratio": cost / min(seconds[name]),
            "bar": None if quick else bars[name],
            "note": f"against {name}; {note}",
        }
        for name in trainers[1:]
    ]
    same = next((i for i, (one, other) in enumerate(zip(ours, theirs)) if one != other), min(len(ours), len(theirs)))
    return [
        *rows,
        {
            "name": "merges that both make",
            "ours": same,
            "theirs": len(theirs),
            "ratio": same / len(theirs),
            # Python's sources list letters of the newest Unicode, which `tokenizers` does not know as such.
            "bar": None if text == PYTHON else "≥ 1×",
            "note": f"the first {same:,}, until one differs from those of tokenizers; {note}",
        },
    ]


def _text(folder: Path, quick: bool) -> tuple[Path, str]:
    """A file of whole lines, and what it is."""
    root = os.environ.get("TOKENLOOM_TEST_FILES")
    english = next(Path(root).rglob("english.txt"), None) if root else None
    texts: Iterable[str]
    if quick:
        texts, name = (sample(name) for name in samples()), "embedded samples"
    elif english:
        texts, name = english.open(encoding="utf-8"), "English"
    else:
        [lines] = corpus(folder, 1, SIZE)
        texts, name = (json.loads(line)["text"] for line in lines.open(encoding="utf-8")), PYTHON
    path, size = folder / "text.txt", 0
    with path.open("wb") as file:
        for text in texts:
            size += file.write(text.encode())
            if size >= SIZE:
                break
    return path, name


def _merges(file: Path, trainer: str) -> Path:
    return file.with_name(f"{trainer}.json")


def _child(trainer: str, file: Path) -> float:
    command = [sys.executable, str(Path(__file__).resolve()), "train", trainer, str(file)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


# -- in the child ------------------------------------------------------------------------------------------------------


def _tokenloom(file: Path, lines: int | None = None) -> list:
    from tokenloom.tokenize.text.bpe import BPE

    with file.open(encoding="utf-8", newline="\n") as texts:
        tokenizer = BPE(VOCABULARY, special=())(islice(texts, lines))
    return json.loads(tokenizer.spec["text"])["model"]["merges"]


def _tokenizers(file: Path) -> list:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, min_frequency=1, show_progress=False
    )
    tokenizer.train([str(file)], trainer)
    return json.loads(tokenizer.to_str())["model"]["merges"]


def _gigabpe(file: Path) -> list:
    import gigabpe

    # Its ids are those of bytes that occur, so it learns some merges more.
    return gigabpe.train_bpe([str(file)], VOCABULARY, special_tokens=[], min_frequency=1)[1]


def _train(trainer: str, file: Path) -> float:
    """Learn, keep the merges, return the CPU seconds of learning."""
    train: Callable[[Path], list] = {"tokenloom": _tokenloom, "tokenizers": _tokenizers, "gigabpe": _gigabpe}[trainer]
    if trainer == "tokenloom":
        _tokenloom(file, 1000)
    before = _cpu()
    merges = train(file)
    seconds = _cpu() - before
    _merges(file, trainer).write_text(json.dumps(merges), encoding="utf-8")
    return seconds


def _cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        print(_train(sys.argv[2], Path(sys.argv[3])))
    else:
        from run import show

        show(run(quick="--quick" in sys.argv))
