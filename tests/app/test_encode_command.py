"""`tokenloom encode` as a user runs it: real processes, killed for real."""

import json
import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

from tokenloom.app.cli import main
from tokenloom.data import encode_corpus, sample, verify_shards
from tokenloom.hosts import load_tokenizer

COMMAND = [sys.executable, "-c", "from tokenloom.app.cli import main; main()", "encode"]
TOKENIZER = ["--tokenizer", "tokenloom-en-16k", "--engine", "tokenizers"]


@pytest.fixture
def corpus(tmp_path):
    """Twelve files of about 100 kB: with --shard-size 50KB a shard each."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for i, name in enumerate(
        ["en-literary", "en-technical", "en-legal", "code-python", "de-technical", "fi-technical"] * 2
    ):
        (folder / f"{i:02}.txt").write_text(sample(name)[i * 1000 : 100_000], encoding="utf-8")
    return folder


def start(*arguments, **options):
    """Start the command in a session of its own, so that all its processes can be found and killed."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        **options,
    )


def run(*arguments, **options):
    process = start(*arguments, **options)
    output, errors = process.communicate()
    return process.returncode, output, errors


@pytest.fixture
def tokenloom(monkeypatch, capsys):
    """Run the command in this process: arguments → (exit code, output, errors)."""

    def run_here(*arguments):
        monkeypatch.setattr(sys, "argv", ["tokenloom", "encode", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, *capsys.readouterr()

    return run_here


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def finished(folder):
    """Files of shards that are recorded as finished, with what would change if they were written again."""
    names = [
        file["name"]
        for receipt in sorted((folder / ".job").glob("[0-9]*.json"))
        for shard in json.loads(receipt.read_text(encoding="utf-8"))["shards"]
        for file in shard["files"]
    ]
    return {name: ((folder / name).stat().st_ino, (folder / name).stat().st_mtime_ns) for name in names}


def workers_of(process):
    """The worker processes that `process` has started."""
    pids = (Path("/proc") / str(process.pid) / "task" / str(process.pid) / "children").read_text().split()
    commands = {int(pid): (Path("/proc") / pid / "cmdline").read_bytes() for pid in pids}
    return [pid for pid, command in commands.items() if b"spawn_main" in command]


def ended(descriptors, seconds):
    """Whether all processes behind these pidfds end in time."""
    waiting = set(descriptors)
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    while waiting:
        events = poll.poll(seconds * 1000)
        if not events:
            return False
        for descriptor, _ in events:
            poll.unregister(descriptor)
            waiting.discard(descriptor)
            os.close(descriptor)
    return True


needs_proc = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watches processes as Linux shows them")


def kill(process, whom):
    """Kill `process` with -9: all its processes, only itself, or one worker; none may be left."""
    workers = workers_of(process)
    watched = [os.pidfd_open(pid) for pid in workers]
    if whom == "worker" and workers:
        os.kill(random.choice(workers), signal.SIGKILL)
        _, errors = process.communicate(timeout=300)
        if process.returncode != 0:  # 0: it had just finished
            assert process.returncode == 1
            assert "a worker process died" in errors
    elif whom == "all":
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    else:
        process.kill()
        process.communicate()
    assert ended(watched, 300), "a worker outlived its parent"


@needs_proc
@pytest.mark.parametrize(
    "whom", ["parent", *(pytest.param(whom, marks=pytest.mark.slow) for whom in ("all", "worker"))]
)
def test_killed_when_the_first_shards_are_there_the_same_command_completes_them(corpus, tmp_path, whom):
    out = tmp_path / "out"
    command = [corpus, *TOKENIZER, "--out", out, "--shard-size", "50KB", "--workers", "2"]
    process = start(*command)
    while process.poll() is None and not (out / ".job" / "00001.json").exists():
        pass
    kill(process, whom)
    assert not (out / "manifest.json").exists()
    before = finished(out)
    assert before
    assert run(*command, "--quiet") == (0, "", "")
    assert (
        before.items() <= {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.iterdir()}.items()
    )
    encode_corpus([corpus], tmp_path / "whole", tokenizer=load_tokenizer(TOKENIZER[1]), shard_bytes=50_000, workers=1)
    assert content(out) == content(tmp_path / "whole")


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("form", ["megatron", "parquet"])
def test_killed_at_random_moments_until_done_the_bytes_are_those_of_an_undisturbed_run(corpus, tmp_path, form, seed):
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs the package pyarrow")
    draw = random.Random(seed)
    options = [*TOKENIZER, "--format", form, "--stochastok", "0.1", "--epochs", "2", "--shard-size", "50KB"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    began = perf_counter()
    assert run(corpus, *options, "--out", whole, "--workers", "1")[0] == 0
    # At first it never gets as far as undisturbed, however fast the machine is.
    longest, kills, seen = 0.7 * (perf_counter() - began), 0, {}
    while True:
        process = start(corpus, *options, "--out", out, "--workers", draw.choice([1, 2, 3]))
        try:
            process.communicate(timeout=draw.uniform(0, longest))
        except subprocess.TimeoutExpired:
            kill(process, draw.choice(["all", "parent", "worker"]))
            kills += 1
        if process.returncode == 0:
            break
        now = finished(out)
        assert seen.items() <= now.items(), "a finished shard was written again"
        seen, longest = now, longest * 1.2
    assert kills
    assert content(out) == content(whole)
    verify_shards(out)


def test_the_summary_says_what_was_made_and_then_that_it_is_complete(corpus, tmp_path, tokenloom):
    out = tmp_path / "out"
    command = [corpus, *TOKENIZER, "--out", out, "--stochastok", "0.1", "--workers", "1"]
    code, output, _ = tokenloom(*command)
    assert code == 0
    rows = {line[:16].strip(): line[16:].strip() for line in output.splitlines()}
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert rows["documents"] == "12"
    assert rows["tokens"] == f"{manifest['totals']['tokens']:,}"
    assert rows["split tokens"].endswith("%")
    assert "MB/s" in rows["throughput"]
    assert f"{manifest['totals']['bytes']:,} bytes" in rows["ledger"]
    before = content(out)
    code, output, _ = tokenloom(*command)
    assert code == 0
    assert "nothing to do: it is complete" in output
    assert content(out) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.txt"], "nowhere.txt: no such file or folder"),
        (["corpus", "--tokenizer", "gpt99"], "no file or folder 'gpt99'"),
        (["corpus", "--format", "csv"], "format='csv'; it is one of megatron, parquet"),
        (["corpus", "--epochs", "2"], "epochs=2 without a perturbation"),
        (["corpus", "--out", "corpus/out"], "corpus/out lies inside the input corpus"),
        (["broken.jsonl"], "broken.jsonl, line 2: not JSON"),
    ],
)
def test_errors_are_one_line_and_exit_code_one(corpus, tmp_path, monkeypatch, tokenloom, arguments, words):
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    defaults = [["--tokenizer", "bytes"], ["--out", "out"], ["--workers", "1"]]
    more = [part for option in defaults if option[0] not in arguments for part in option]
    code, output, errors = tokenloom(*arguments, *more, "--quiet")
    assert (code, output) == (1, "")
    assert words in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("size", "code"), [("1.5KB", 0), ("64KiB", 0), ("1 gb", 0), ("0", 2), ("many", 2), ("3XB", 2)])
def test_sizes_have_units(tmp_path, monkeypatch, tokenloom, size, code):
    (tmp_path / "a.txt").write_text("text", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert tokenloom("a.txt", "-t", "bytes", "-o", "out", "--shard-size", size, "--workers", "1", "-q")[0] == code


def test_skipped_inputs_are_counted_and_named(corpus, tmp_path, tokenloom):
    (corpus / "05.txt").write_bytes(b"caf\xe9")
    command = [corpus, "-t", "bytes", "-o", tmp_path / "out", "--workers", "1"]
    code, output, errors = tokenloom(*command)
    assert (code, output) == (1, "")
    assert "05.txt, byte 3: not UTF-8" in errors
    code, output, _ = tokenloom(*command, "--on-error", "skip")
    assert code == 0
    assert "skipped" in output
    (entry,) = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["skipped"]
    assert entry["place"] == "byte 3"
