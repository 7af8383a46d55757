"""`tokenloom encode` against itself with StochasTok, and against the script of `naive_encode.py`, whole commands.

The corpus is made of what every machine has: the sources and texts of its Python and the packages installed there, no
text twice, one JSON object a line. All commands get the same two cores; the ratio is that of their CPU seconds, workers
and start included, because the machine may have other things to do; the notes have seconds by the clock.
"""

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.engines import FastokensEngine
from vocabularies import large_tokenizer

__all__ = ["corpus", "run"]

NAIVE = Path(__file__).with_name("naive_encode.py")
ENCODE = "from tokenloom.app.cli import main; main()"
ENDINGS = (".py", ".pyi", ".md", ".rst", ".txt")


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a command and its workers, and seconds by the clock."""

    cpu: float
    clock: float


def corpus(folder: Path, parts: int, part_bytes: int) -> list[Path]:
    """Write JSON-lines files of so many bytes of text; the last one has what is left, when there is no more."""
    texts, paths = _texts(), []
    for number in range(parts):
        path, size = folder / f"part-{number:02}.jsonl", 0
        with path.open("w", encoding="utf-8") as file:
            for text in texts:
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                size += len(text.encode())
                if size >= part_bytes:
                    break
        if size:
            paths.append(path)
    return paths


def _texts() -> Iterator[str]:
    seen = set()
    for root in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
        for path in sorted(Path(root).rglob("*")):
            if path.suffix not in ENDINGS or not path.is_file():
                continue
            content = path.read_bytes()
            digest = hashlib.sha256(content).digest()
            if digest in seen or not content.strip():
                continue
            seen.add(digest)
            try:
                yield content.decode()
            except UnicodeDecodeError:
                continue


def run(quick: bool = False) -> list[dict]:
    """The three bars: with StochasTok against without; against the script with all that is installed, and without."""
    parts, rivals, size, rounds = (4, 1, 40 << 20, 1) if quick else (10, 3, 32 << 20, 3)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "corpus").mkdir()
        paths = corpus(folder / "corpus", parts, size)
        rows.append(_split(folder, paths, rounds))
        for tokenizer in (load_tokenizer("tokenloom-en-16k"), large_tokenizer()):
            rows += _against_script(folder, tokenizer, paths[:rivals], rounds)
    return rows


def _split(folder: Path, paths: list[Path], rounds: int) -> dict:
    # Every file twice, under two names, so that half a second to start numba in each process does not decide.
    again = [path.with_stem(f"{path.stem}-again") for path in paths]
    for path, copy in zip(paths, again, strict=True):
        copy.hardlink_to(path)
    command = [*paths, *again, "-t", "tokenloom-en-16k"]
    works = [lambda: _encode(folder, command), lambda: _encode(folder, [*command, "--stochastok", "0.1"])]
    plain, split = _interleaved(works, rounds)
    text = _megabytes([*paths, *again])
    return {
        "name": "encode --stochastok 0.1, MB/s",
        "ours": text / split.cpu,
        "theirs": text / plain.cpu,
        "ratio": plain.cpu / split.cpu,
        "bar": "≥ 0.85×",
        "note": f"against without; {text:.0f} MB, by the clock {split.clock:.1f} s and {plain.clock:.1f} s",
    }


def _against_script(folder: Path, tokenizer, paths: list[Path], rounds: int) -> list[dict]:
    file, out = folder / "tokenizer.json", folder / "naive.bin"
    tokenizer.save(file)
    engines = {"fastokens": "≥ 8×", "tokenizers": "≥ 1.5×"}
    if not FastokensEngine.installed():
        del engines["fastokens"]
    costs = _interleaved(
        [
            lambda: _cost([sys.executable, NAIVE, file, out, *paths]),
            *(lambda e=engine: _encode(folder, [*paths, "-t", file, "--engine", e]) for engine in engines),
        ],
        # The script takes its time; once is enough to see by how much.
        max(1, rounds - 2),
    )
    theirs, text = costs[0], _megabytes(paths)
    return [
        {
            "name": f"encode with {engine}, MB/s",
            "ours": text / ours.cpu,
            "theirs": text / theirs.cpu,
            "ratio": theirs.cpu / ours.cpu,
            "bar": bar,
            "note": f"against a script with tokenizers; {tokenizer.name}, {text:.0f} MB, by the clock {ours.clock:.1f} s "
            f"and {theirs.clock:.1f} s",
        }
        for (engine, bar), ours in zip(engines.items(), costs[1:], strict=True)
    ]


def _encode(folder: Path, arguments: list) -> Cost:
    with tempfile.TemporaryDirectory(dir=folder) as out:
        return _cost([sys.executable, "-c", ENCODE, "encode", *arguments, "--out", out, "--workers", "2", "--quiet"])


def _cost(command: list) -> Cost:
    """Run a command on two cores."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    start = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], preexec_fn=lambda: os.sched_setaffinity(0, cores))
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command[:3]} ended with status {status}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start)


def _interleaved(works: list, rounds: int) -> list[Cost]:
    """The best of each, all in turn, so that a busy minute hits them alike."""
    costs: list[list[Cost]] = [[] for _ in works]
    for _ in range(rounds):
        for work, seen in zip(works, costs, strict=True):
            seen.append(work())
    return [Cost(min(c.cpu for c in seen), min(c.clock for c in seen)) for seen in costs]


def _megabytes(paths: list[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / 1e6


if __name__ == "__main__":
    from run import show

    show(run(quick="--quick" in sys.argv))
