from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tokenloom.core.errors import InvalidInput, MissingExtra, StoreError, TokenloomError, UnknownMethod, require
from tokenloom.core.ledger import Ledger
from tokenloom.core.seeds import stream_seeds
from tokenloom.core.store import atomic_write, digest_of, read_json, sha256_file, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="stop"), atomic_write(target) as file:
        file.write(b"new")
        raise RuntimeError("stop")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_written_file_is_whole_and_follows_the_umask(tmp_path):
    with atomic_write(tmp_path / "a.bin") as file:
        file.write(b"new")
        assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_writers_of_the_same_file_do_not_meet(tmp_path):
    def write(i):
        write_json(tmp_path / "a.json", {"writer": i, "filler": "x" * 10_000})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert read_json(tmp_path / "a.json")["writer"] in range(40)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_keeps_lone_surrogates_apart_and_digests_ignore_order(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "ö"})
    assert list(read_json(tmp_path / "a.json")) == ["b", "a"]
    assert digest_of({"a": [1, 2]}) != digest_of({"a": [2, 1]})
    assert sha256_file(tmp_path / "a.json") == sha256_file(tmp_path / "a.json")


@pytest.mark.parametrize(
    "act, words",
    [
        (lambda d: write_json(d / "no" / "a.json", 1), "cannot write .*No such file"),
        (lambda d: read_json(d / "none.json"), "cannot read .*none.json"),
        (lambda d: read_json(d / "bad.json"), "bad.json is not JSON"),
        (lambda d: read_json(d / "bad.json", limit=2), "5 bytes, more than the 2"),
        (lambda d: sha256_file(d / "none"), "cannot read"),
    ],
)
def test_the_store_refuses(tmp_path, act, words):
    (tmp_path / "bad.json").write_text("{oops")
    with pytest.raises(StoreError, match=words):
        act(tmp_path)


def test_stream_seeds_depend_on_every_name_and_on_nothing_else():
    seeds = stream_seeds(3, 1, np.arange(1000))
    assert np.array_equal(seeds[400:], stream_seeds(3, 1, np.arange(400, 1000)))
    everything = np.concatenate([stream_seeds(s, e, np.arange(1000)) for s in range(3) for e in range(3)])
    assert np.unique(everything).size == everything.size
    assert stream_seeds(1, 2)[0] != stream_seeds(2, 1)[0]
    with pytest.raises(InvalidInput, match="whole numbers"):
        stream_seeds(-1)


def test_ledgers_add_up():
    assert sum([Ledger(tokens=2, bytes=1), Ledger(forward_passes=3)], Ledger()) == Ledger(3, 2, 0, 1)


def test_errors_have_one_base_and_speak_plainly():
    with pytest.raises(MissingExtra, match=r"pip install 'tokenloom\[data\]'"):
        require("no_such_module_anywhere", "data")
    assert str(UnknownMethod("no reducer 'x'")) == "no reducer 'x'"
    assert issubclass(StoreError, TokenloomError)
