import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="windows need the package torch")

import torch
from torch.utils.data import DataLoader

from tokenloom.core.errors import InvalidInput
from tokenloom.data import Windows, open_shards

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def stream(tokens, cuts, first=0):
    """Documents that hold `first`, `first` + 1 … and end at `cuts`."""
    edges = [0, *cuts, tokens]
    return [list(range(first + a, first + b)) for a, b in pairwise(edges)]


@pytest.fixture
def shards(tmp_path, write_folder, form):
    """103 tokens 0 … 102 in two shards; windows of 4 leave out the last 3."""
    write_folder(tmp_path, [(0, stream(50, [3, 3, 20])), (0, stream(53, [30], first=50))], form)
    return open_shards(tmp_path)


def rows(items):
    return [item["input_ids"].tolist() for item in items]


def taken(iterator, count):
    return rows(next(iterator) for _ in range(count))


def test_without_shuffling_windows_follow_the_stream_across_documents_and_shards(shards):
    items = list(Windows(shards, 4, shuffle=False))
    assert rows(items) == [list(range(4 * i, 4 * i + 4)) for i in range(25)]
    assert all(item["input_ids"].dtype == item["labels"].dtype == torch.int64 for item in items)
    assert all(torch.equal(item["input_ids"], item["labels"]) for item in items)
    items[0]["labels"][0] = -100
    assert items[0]["input_ids"][0] == 0


def test_a_shuffled_pass_holds_every_window_once_in_another_order_each_pass(shards):
    items = rows(Windows(shards, 4, epochs=2, seed=5))
    first, second = items[:25], items[25:]
    plain = rows(Windows(shards, 4, shuffle=False))
    assert sorted(first) == sorted(second) == plain
    assert plain != first != second
    assert rows(Windows(shards, 4, seed=5)) == first
    assert rows(Windows(shards, 4, seed=6)) != first


def test_batches_are_the_windows_in_order_and_run_over_the_end_of_a_pass(shards):
    alone = rows(Windows(shards, 4, epochs=2))
    batches = rows(Windows(shards, 4, epochs=2, batch=8))
    assert [len(batch) for batch in batches] == [8] * 6 + [2]
    assert [window for batch in batches for window in batch] == alone
    assert Windows(shards, 4, epochs=2, batch=8).steps == 7


def test_written_epochs_take_turns(tmp_path, write_folder, form):
    write_folder(tmp_path, [(0, stream(9, [])), (1, stream(15, [2], first=100))], form)
    items = rows(Windows(open_shards(tmp_path), 4, epochs=3, shuffle=False))
    zero, one = [[0, 1, 2, 3], [4, 5, 6, 7]], [list(range(100 + 4 * i, 104 + 4 * i)) for i in range(3)]
    assert items == zero + one + zero
    shuffled = rows(Windows(open_shards(tmp_path), 4, epochs=3))
    assert [sorted(part) for part in (shuffled[:2], shuffled[2:5], shuffled[5:])] == [zero, one, zero]


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(shards, workers, batch):
    windows = Windows(shards, 4, batch=batch, epochs=2)
    expected = rows(Windows(shards, 4, batch=batch, epochs=2))
    before = torch.get_rng_state()
    assert rows(windows.loader(workers)) == expected
    assert torch.equal(torch.get_rng_state(), before)
    assert rows(windows.loader(workers)) == expected, "after the end it begins anew"
    assert rows(DataLoader(Windows(shards, 4, batch=batch, epochs=2), batch_size=None, num_workers=workers)) == expected


def test_spawned_workers_read_the_same(tmp_path, write_folder):
    shards = open_shards(write_folder(tmp_path, [(0, stream(103, [40]))]))
    windows = pickle.loads(pickle.dumps(Windows(shards, 4)))
    assert rows(windows) == rows(Windows(shards, 4))


@in_one_folder
@given(
    first=st.integers(0, 17),
    second=st.integers(0, 17),
    batch=st.sampled_from([None, 1, 3, 7]),
    shuffle=st.booleans(),
)
def test_a_state_resumes_exactly_at_every_step_twice(shards, first, second, batch, shuffle):
    make = lambda: Windows(shards, 4, batch=batch, shuffle=shuffle, epochs=2, seed=1)  # noqa: E731
    expected, seen, state = rows(make()), [], make().state_dict()
    for count in (min(first, len(expected)), min(second, len(expected) - min(first, len(expected)))):
        windows = make()
        windows.load_state_dict(json.loads(json.dumps(state)))
        seen += taken(iter(windows), count)
        state = windows.state_dict()
    windows = make()
    windows.load_state_dict(state)
    assert seen + rows(windows) == expected


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_state_resumes_exactly_with_another_number_of_workers_twice(tmp_path, write_folder, before, after):
    shards = open_shards(write_folder(tmp_path, [(0, stream(50, [3])), (0, stream(53, [30], first=50))]))
    make = lambda: Windows(shards, 4, batch=4, epochs=1)  # noqa: E731
    expected = rows(make())
    assert len(expected) == 7
    for consumed in range(len(expected) + 1):
        loader = make().loader(before)
        assert taken(iter(loader), consumed) == expected[:consumed]
        once = make().loader(after)
        once.load_state_dict(loader.state_dict())
        more = min(2, len(expected) - consumed)
        assert taken(iter(once), more) == expected[consumed : consumed + more]
        twice = make().loader(before)
        twice.load_state_dict(json.loads(json.dumps(once.state_dict())))
        assert rows(twice) == expected[consumed + more :]


def test_iterating_goes_on_where_it_stopped_and_begins_anew_after_the_end(shards):
    windows = Windows(shards, 4, batch=10)
    expected = rows(Windows(shards, 4, batch=10))
    assert taken(iter(windows), 1) == expected[:1]
    assert rows(windows) == expected[1:]
    assert windows.state_dict()["position"] == 25
    finished = Windows(shards, 4, batch=10)
    finished.load_state_dict(windows.state_dict())
    assert rows(finished) == []
    assert rows(windows) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_without_end_passes_go_on(tmp_path, write_folder, workers):
    shards = open_shards(write_folder(tmp_path, [(0, stream(8, []))]))
    windows = Windows(shards, 4, epochs=None, shuffle=False)
    assert windows.steps is None
    assert taken(iter(windows.loader(workers)), 5) == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2 + [[0, 1, 2, 3]]


@settings(in_one_folder, max_examples=20)
@given(world_size=st.integers(1, 7), batch=st.sampled_from([None, 1, 2, 5]), passes=st.integers(1, 3))
def test_ranks_share_the_windows_without_overlap_in_equal_steps(shards, world_size, batch, passes):
    make = lambda rank: Windows(shards, 4, batch=batch, epochs=passes, rank=rank, world_size=world_size)  # noqa: E731
    shares = [rows(make(rank)) for rank in range(world_size)]
    assert {len(share) for share in shares} == {make(0).steps}
    order = rows(Windows(shards, 4, epochs=passes))
    kept = len(order) // world_size * world_size
    flat = [share if batch is None else [window for item in share for window in item] for share in shares]
    assert [flat[i % world_size][i // world_size] for i in range(kept)] == order[:kept]
    assert sum(map(len, flat)) == kept


def test_a_state_goes_on_with_another_batch_and_other_ranks(shards):
    order = rows(Windows(shards, 4))
    first = Windows(shards, 4, batch=3, rank=1, world_size=2)
    assert taken(iter(first), 2) == [order[1:6:2], order[7:12:2]]
    later = Windows(shards, 4, batch=5)
    later.load_state_dict(first.state_dict())
    assert [window for item in rows(later) for window in item] == order[12:]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"length": 0}, "length=0"),
        ({"length": 104}, "length=104, but .* has only 103 tokens"),
        ({"batch": 0}, "batch=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"seed": -1}, "-1"),
        ({"world_size": 0}, "world_size=0"),
        ({"rank": 2, "world_size": 2}, "rank=2; with world_size=2 it must be 0 … 1"),
    ],
)
def test_windows_refuse(shards, settings, words):
    with pytest.raises(InvalidInput, match=words):
        Windows(shards, **{"length": 4, **settings})


def test_an_empty_folder_has_no_windows(tmp_path, write_folder):
    with pytest.raises(InvalidInput, match="has only 0 tokens"):
        Windows(open_shards(write_folder(tmp_path, [])), 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"length": 8}, "saved with length=8, but here it is 4"),
        ({"seed": 3}, "saved with seed=3"),
        ({"shuffle": False}, "saved with shuffle=False"),
        ({"shards": "0" * 64}, "saved with shards="),
        ({"position": 26}, "position=26; there are 25 windows"),
        ({"position": None}, "position=None"),
    ],
)
def test_a_state_of_another_order_is_refused(shards, change, words):
    windows = Windows(shards, 4)
    with pytest.raises(InvalidInput, match=words):
        windows.load_state_dict({**windows.state_dict(), **change})


def test_a_negative_number_of_workers_is_refused(shards):
    with pytest.raises(InvalidInput, match="workers=-1"):
        Windows(shards, 4).loader(-1)


def test_windows_hold_int64_of_large_vocabularies_exactly(tmp_path, write_folder, form):
    top = 2**31 - 1
    shards = open_shards(write_folder(tmp_path, [(0, [[top, 0]])], form, vocab_size=2**31))
    assert next(iter(Windows(shards, 2)))["input_ids"].tolist() == [top, 0]
    assert shards[0].dtype == np.int32
