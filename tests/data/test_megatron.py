import os
import resource
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput, StoreError, VocabularyError
from tokenloom.core.segmentation import Ragged
from tokenloom.data.manifest import FORMATS
from tokenloom.data.megatron import MegatronReader, MegatronWriter

documents = st.lists(st.lists(st.integers(0, 499), max_size=7), max_size=9)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def plain_files(documents: list[list[int]], letter: str, code: int) -> tuple[bytes, bytes]:
    """Both files as the layout says, value by value."""
    data, index = b"", b"MMIDIDX\x00\x00" + struct.pack("<Q", 1) + struct.pack("<B", code)
    index += struct.pack("<Q", len(documents)) + struct.pack("<Q", len(documents) + 1)
    positions = []
    for document in documents:
        index += struct.pack("<i", len(document))
        positions.append(len(data))
        for token in document:
            data += struct.pack("<" + letter, token)
    for position in positions:
        index += struct.pack("<q", position)
    for mark in range(len(documents) + 1):
        index += struct.pack("<q", mark)
    return data, index


def plain_read(prefix: Path) -> list[list[int]]:
    """The documents, read value by value."""
    index, data = prefix.with_suffix(".idx").read_bytes(), prefix.with_suffix(".bin").read_bytes()
    magic, version, code, sequences, marks = struct.unpack_from("<9sQBQQ", index)
    assert (magic, version, marks) == (b"MMIDIDX\x00\x00", 1, sequences + 1)
    letter, width = {8: ("H", 2), 4: ("i", 4)}[code]
    sizes = struct.unpack_from(f"<{sequences}i", index, 34)
    places = struct.unpack_from(f"<{sequences}q", index, 34 + 4 * sequences)
    assert struct.unpack_from(f"<{marks}q", index, 34 + 12 * sequences) == tuple(range(marks))
    assert len(index) == 34 + 12 * sequences + 8 * marks
    assert len(data) == width * sum(sizes)
    return [list(struct.unpack_from(f"<{size}{letter}", data, place)) for size, place in zip(sizes, places)]


def write(folder: Path, batches: list[list[list[int]]], vocab_size: int = 500) -> dict:
    writer, first = MegatronWriter(folder, "s", vocab_size), 0
    for batch in batches:
        writer.add(Ragged.of(batch), np.arange(first, first + len(batch)), ["a.txt"] * len(batch))
        first += len(batch)
    return writer.close()


@in_one_folder
@given(st.lists(documents, max_size=4), st.sampled_from([(500, "H", 8), (65_499, "H", 8), (65_500, "i", 4)]))
def test_files_are_byte_for_byte_the_published_layout(tmp_path, batches, kind):
    vocab_size, letter, code = kind
    receipt = write(tmp_path, batches, vocab_size)
    joined = [document for batch in batches for document in batch]
    data, index = plain_files(joined, letter, code)
    assert (tmp_path / "s.bin").read_bytes() == data
    assert (tmp_path / "s.idx").read_bytes() == index
    assert [file["bytes"] for file in receipt["files"]] == [len(data), len(index)]
    assert (receipt["documents"], receipt["tokens"]) == (len(joined), sum(map(len, joined)))


@in_one_folder
@given(documents)
def test_an_independent_reader_and_ours_read_the_same_documents(tmp_path, documents):
    reader = MegatronReader(tmp_path, write(tmp_path, [documents]))
    assert plain_read(tmp_path / "s") == documents
    assert [reader.document(i).tolist() for i in range(len(documents))] == documents
    assert reader.read(0, reader.tokens).tolist() == [token for document in documents for token in document]
    reader.check(500)


@pytest.mark.parametrize(("vocab_size", "last"), [(65_499, 65_498), (65_500, 65_499), (1 << 31, (1 << 31) - 1)])
def test_the_largest_id_of_a_vocabulary_survives(tmp_path, vocab_size, last):
    write(tmp_path, [[[0, last]]], vocab_size)
    assert plain_read(tmp_path / "s") == [[0, last]]


@pytest.mark.parametrize(
    ("batch", "indices", "sources", "words"),
    [
        ([[1], [2, 500]], [7, 8], ["a.txt", "b.txt"], "b.txt: document 8 has id 500; a vocabulary of 500 tokens"),
        ([[1], [2]], [7], ["a.txt", "b.txt"], "2 documents came with 1 document indices and 2 sources"),
        ([[1], [2]], [7, 8], ["a.txt"], "2 documents came with 2 document indices and 1 sources"),
    ],
)
def test_writers_refuse(tmp_path, form, batch, indices, sources, words):
    writer = FORMATS[form](tmp_path, "s", 500)
    with pytest.raises(InvalidInput, match=words):
        writer.add(Ragged.of(batch), np.array(indices), sources)
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("vocab_size", [0, (1 << 31) + 1])
def test_a_vocabulary_that_no_dtype_holds_is_refused_before_a_file_exists(tmp_path, form, vocab_size):
    with pytest.raises(VocabularyError, match=f"vocab_size={vocab_size}"):
        FORMATS[form](tmp_path, "s", vocab_size)
    assert list(tmp_path.iterdir()) == []


def test_nothing_has_its_name_before_close_and_an_abort_leaves_nothing(tmp_path, form):
    writer = FORMATS[form](tmp_path, "s", 500)
    writer.add(Ragged.of([[1, 2, 3]]), np.arange(1), ["a.txt"])
    assert all(path.name.startswith(".s.") and path.name.endswith(".part") for path in tmp_path.iterdir())
    writer.abort()
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, form):
    writer = FORMATS[form](tmp_path, "s", 100_000)
    batch = Ragged.of([np.random.default_rng(0).integers(0, 100_000, 1 << 19)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, hard))  # the kernel refuses larger files, as a full disk does
    try:
        with pytest.raises(StoreError, match=r"cannot write .*s\.(bin|parquet)"):
            writer.add(batch, np.arange(1), ["a.txt"])
            writer.close()
        writer.abort()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_told(tmp_path, form):
    with pytest.raises(StoreError, match=r"cannot write .*nowhere"):
        FORMATS[form](tmp_path / "nowhere", "s", 500)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, b"X", "header"),
        (9, b"\x02", "header"),
        (17, b"\x05", "header"),
        (18, b"\x09", "header"),
        (34, b"\x04", "do not divide 3 ids"),
        (34 + 8 + 8, b"\x06", "do not divide 3 ids"),
        (34 + 24 + 8, b"\x05", "document marks"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path, place, value, words):
    receipt = write(tmp_path, [[[1, 2], [3]]])
    with (tmp_path / "s.idx").open("r+b") as file:
        file.seek(place)
        file.write(value)
    with pytest.raises(StoreError, match=words):
        MegatronReader(tmp_path, receipt).check(500)


@pytest.mark.parametrize("name", ["s.bin", "s.idx"])
def test_a_truncated_file_is_refused(tmp_path, name):
    receipt = write(tmp_path, [[[1, 2], [3]]])
    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size - 1)
    with pytest.raises(StoreError, match=name):
        MegatronReader(tmp_path, receipt)
