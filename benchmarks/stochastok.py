"""StochasTok against its bars: the split table, expansion, the plain-list algorithm, memory."""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from clock import best
from tokenloom import Ragged, StochasTok
from tokenloom.tokenize.text.stochastok import split_table
from vocabularies import english, large_tokenizer

__all__ = ["run"]

DOCUMENT, LONG = 10_000, 64_000


def run(quick: bool = False) -> list[dict]:
    """All of StochasTok's rows; kernels are compiled before anything is timed."""
    runs = 3 if quick else 7
    tokenizer = large_tokenizer()
    look = StochasTok(tokenizer.vocab)
    stream = np.concatenate(list(tokenizer.encode_batch(english())))
    return [
        _table(tokenizer, runs),
        *_expansion(look, stream, 100 if quick else 1000, runs),
        _against_lists(look, stream, 1 if quick else 3),
        _memory([10**5, 10**6] if quick else [10**5, 10**6, 10**7]),
    ]


def _table(tokenizer, runs: int) -> dict:
    vocab = tokenizer.vocab
    compiled, loaded = _first_use()
    return {
        "name": f"split table of {len(vocab):,} ids, s",
        "ours": best(lambda: split_table(vocab), runs),
        "theirs": None,
        "ratio": None,
        "bar": "≤ 1",
        "note": f"{tokenizer.name}, {split_table(vocab).pairs.shape[0]:,} splits; kernels besides: compiled once in "
        f"{compiled:.1f} s, from the cache in {loaded:.2f} s",
    }


def _expansion(look: StochasTok, stream: np.ndarray, documents: int, runs: int) -> list[dict]:
    rng = np.random.default_rng(0)
    begins = rng.integers(0, stream.size - DOCUMENT, documents)
    batch = Ragged.of([stream[begin : begin + DOCUMENT] for begin in begins])
    rows = []
    for proportion, bar in ((0.1, "≥ 50"), (1.0, None)):
        splitter = StochasTok(look.vocab, proportion)
        grown = splitter(batch, rng=rng).ids.size / batch.ids.size
        seconds = best(lambda splitter=splitter: splitter(batch, rng=rng), runs)
        rows.append(
            {
                "name": f"expansion at p = {proportion}, M tokens/s",
                "ours": batch.ids.size / seconds / 1e6,
                "theirs": None,
                "ratio": None,
                "bar": bar,
                "note": f"{documents} documents of {DOCUMENT:,} tokens of English, one thread; grows by {100 * (grown - 1):.1f} %",
            }
        )
    return rows


def _against_lists(look: StochasTok, stream: np.ndarray, runs: int) -> dict:
    ids = np.resize(stream, LONG)
    table = {i: look.table[i].tolist() for i in range(len(look.vocab)) if len(look.table[i])}
    plain, attempts, rng = ids.tolist(), LONG // 10, np.random.default_rng(0)
    theirs = best(lambda: expand_list(plain, table, attempts, random.Random(0)), runs)
    ours = best(lambda: [look(ids, rng=rng) for _ in range(20)], 5 * runs) / 20
    return {
        "name": f"one document of {LONG:,} tokens at p = 0.1, M tokens/s",
        "ours": LONG / ours / 1e6,
        "theirs": LONG / theirs / 1e6,
        "ratio": theirs / ours,
        "bar": "≥ 500×",
        "note": "against a Python list that is sliced at every split, same process",
    }


def expand_list(ids: list[int], table: dict[int, list[list[int]]], attempts: int, rng: random.Random) -> list[int]:
    """The paper's algorithm as one would write it on a list: every split copies the document."""
    for _ in range(attempts):
        at = rng.randrange(len(ids))
        if halves := table.get(ids[at]):
            ids = ids[:at] + rng.choice(halves) + ids[at + 1 :]
    return ids


def _memory(sizes: list[int]) -> dict:
    peaks = [_child("memory", str(size)) / size for size in sizes]
    return {
        "name": f"peak memory at n = {', '.join(f'10^{len(str(n)) - 1}' for n in sizes)}, bytes/token",
        "ours": " / ".join(f"{peak:.0f}" for peak in peaks),
        "theirs": None,
        "ratio": peaks[-1] / peaks[0],
        "bar": "≤ 1.25×",
        "note": "one document, growth of the resident peak in a process of its own; ratio of the last to the first",
    }


def _first_use() -> tuple[float, float]:
    """CPU seconds of the first table and expansion in a process: with an empty cache of kernels, and with a full one."""
    with tempfile.TemporaryDirectory() as folder:
        return _child("first", NUMBA_CACHE_DIR=folder), _child("first", NUMBA_CACHE_DIR=folder)


def _child(*task: str, **environment: str) -> float:
    command = [sys.executable, str(Path(__file__).resolve()), *task]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _toy() -> StochasTok:
    from tokenloom import Vocabulary

    return StochasTok(Vocabulary([b"a", b"b", b"ab", b"aba", b"abab"]))


def _first_seconds() -> float:
    return best(lambda: _toy()(Ragged.of([[4] * 100]), rng=np.random.default_rng(0)), 1)


def _peak_bytes(size: int) -> int:
    """Growth of the resident peak while one document of `size` tokens is split (Linux)."""
    look, rng = _toy(), np.random.default_rng(0)
    look(np.full(100, 4, np.int32), rng=rng)
    ids = np.full(size, 4, np.int32)
    # Makes the present size the peak, so that what compiling took before does not hide it.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmHWM")
    look(ids, rng=rng)
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["first"]:
        print(_first_seconds())
    elif sys.argv[1:2] == ["memory"]:
        print(_peak_bytes(int(sys.argv[2])))
    else:
        from run import show

        show(run())
