import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.data import open_shards

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
documents = st.lists(st.lists(st.integers(0, 499), max_size=6), max_size=6)


@in_one_folder
@given(shards=st.lists(documents, max_size=4), data=st.data())
def test_shards_are_one_sequence_and_one_stream(tmp_path, write_folder, form, shards, data):
    opened = open_shards(write_folder(tmp_path, [(0, documents) for documents in shards], form))
    expected = [document for documents in shards for document in documents]
    stream = [token for document in expected for token in document]
    assert len(opened) == len(expected)
    assert [opened[i].tolist() for i in range(len(opened))] == expected
    assert [document.tolist() for document in opened[::-1]] == expected[::-1]
    assert opened.tokens == len(stream)
    start = data.draw(st.integers(0, len(stream)))
    stop = data.draw(st.integers(start, len(stream)))
    assert opened.read(start, stop).tolist() == stream[start:stop]


def test_shards_are_read_only_maps_of_the_stored_dtype(tmp_path, write_folder, form):
    opened = open_shards(write_folder(tmp_path, [(0, [[1, 2], [3]])], form))
    assert isinstance(opened, Sequence)
    assert opened[0].dtype == np.uint16
    assert opened[-1].tolist() == [3]
    with pytest.raises(ValueError, match="read-only"):
        opened[0][0] = 9
    with pytest.raises(IndexError):
        opened[2]


def test_epochs_are_opened_alone_or_one_after_the_other(tmp_path, write_folder, form):
    # A writer that works on both epochs at once lists their shards in turn.
    write_folder(tmp_path, [(0, [[1]]), (1, [[10], [11]]), (0, [[2]]), (1, [[12]])], form)
    assert [d.tolist() for d in open_shards(tmp_path)] == [[1], [2], [10], [11], [12]]
    assert [d.tolist() for d in open_shards(tmp_path, epoch=1)] == [[10], [11], [12]]
    assert [d.tolist() for d in open_shards(tmp_path).epoch(0)] == [[1], [2]]
    assert open_shards(tmp_path).epochs == (0, 1)
    with pytest.raises(InvalidInput, match=r"epoch=2; .* holds \[0, 1\]"):
        open_shards(tmp_path, epoch=2)


def test_pickled_shards_map_the_same_files_again(tmp_path, write_folder, form):
    write_folder(tmp_path, [(0, [list(range(400))] * 50), (1, [[5]])], form)
    for opened in (open_shards(tmp_path), open_shards(tmp_path, epoch=1)):
        pickled = pickle.dumps(opened)
        assert len(pickled) < 1000
        again = pickle.loads(pickled)
        assert (again.epochs, again.digest) == (opened.epochs, opened.digest)
        assert [d.tolist() for d in again] == [d.tolist() for d in opened]


def test_only_what_the_manifest_lists_is_read(tmp_path, write_folder, form):
    write_folder(tmp_path, [(0, [[1]]), (0, [[2]])], form)
    (tmp_path / "shard-00002.bin").write_bytes(b"\x00" * 64)
    (tmp_path / ".shard-00003.bin.0123.part").write_bytes(b"half")
    assert [d.tolist() for d in open_shards(tmp_path)] == [[1], [2]]


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (2, 1), (0, 4)])
def test_the_stream_refuses_what_it_does_not_hold(tmp_path, write_folder, start, stop):
    opened = open_shards(write_folder(tmp_path, [(0, [[1, 2, 3]])]))
    with pytest.raises(InvalidInput, match=f"ids {start} … {stop} of a stream of 3"):
        opened.read(start, stop)
