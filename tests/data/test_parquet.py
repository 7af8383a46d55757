import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("pyarrow", reason="Parquet shards need the package pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from tokenloom.core.errors import StoreError
from tokenloom.core.segmentation import Ragged
from tokenloom.data.parquet import ParquetReader, ParquetWriter

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


def write(folder, documents, cuts, vocab_size=500):
    """Write documents, handed over in batches that end at `cuts`."""
    writer, first = ParquetWriter(folder, "s", vocab_size), 0
    for last in [*sorted(min(cut, len(documents)) for cut in cuts), len(documents)]:
        sources = [f"{i % 3}.txt" for i in range(first, last)]
        writer.add(Ragged.of(documents[first:last]), np.arange(first, last), sources)
        first = last
    return writer.close()


@in_one_folder
@given(
    st.lists(st.lists(st.integers(0, 499), max_size=9), max_size=20),
    st.lists(st.integers(0, 20), max_size=4),
)
def test_any_parquet_reader_gives_back_ids_documents_and_sources(tmp_path, documents, cuts):
    receipt = write(tmp_path, documents, cuts)
    table = pq.read_table(tmp_path / "s.parquet")
    assert table.column("ids").to_pylist() == documents
    assert table.column("document").to_pylist() == list(range(len(documents)))
    assert table.column("source").to_pylist() == [f"{i % 3}.txt" for i in range(len(documents))]
    reader = ParquetReader(tmp_path, receipt)
    assert [reader.document(i).tolist() for i in range(len(documents))] == documents
    reader.check(500)


@pytest.mark.parametrize(("vocab_size", "kind"), [(65_499, pa.uint16()), (65_500, pa.int32())])
def test_columns_have_the_promised_types(tmp_path, vocab_size, kind):
    write(tmp_path, [[1]], [], vocab_size)
    schema = pq.read_schema(tmp_path / "s.parquet")
    assert schema.field("ids").type.value_type == kind
    assert (schema.field("document").type, schema.field("source").type) == (pa.int64(), pa.string())


def test_bytes_do_not_depend_on_how_documents_arrive(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenloom.data.parquet._GROUP_TOKENS", 100)
    monkeypatch.setattr("tokenloom.data.parquet._GROUP_DOCUMENTS", 12)
    rng = np.random.default_rng(3)
    documents = [rng.integers(0, 500, rng.choice([0, 1, 5, 30, 300])).tolist() for _ in range(200)]
    contents = set()
    for batches in (0, 1, 3, 17, 200):
        receipt = write(tmp_path, documents, rng.integers(0, 200, batches).tolist())
        contents.add((tmp_path / "s.parquet").read_bytes())
        assert receipt["tokens"] == sum(map(len, documents))
    assert len(contents) == 1
    file = pq.ParquetFile(tmp_path / "s.parquet")
    assert file.num_row_groups > 20
    stream = [token for document in documents for token in document]
    reader = ParquetReader(tmp_path, receipt)
    for _ in range(50):
        start, stop = np.sort(rng.integers(0, len(stream) + 1, 2)).tolist()
        assert reader.read(start, stop).tolist() == stream[start:stop]
    for i in rng.integers(0, 200, 50).tolist():
        assert reader.document(i).tolist() == documents[i]


def test_a_foreign_or_damaged_file_is_refused(tmp_path):
    receipt = write(tmp_path, [[1, 2], [3]], [])
    pq.write_table(pa.table({"ids": [[1]]}), tmp_path / "s.parquet")
    with pytest.raises(StoreError, match=r"s\.parquet: not a Parquet shard of tokenloom"):
        ParquetReader(tmp_path, receipt)
    (tmp_path / "s.parquet").write_bytes(b"PAR1nothingPAR1")
    with pytest.raises(StoreError, match=r"s\.parquet: not a Parquet shard of tokenloom"):
        ParquetReader(tmp_path, receipt)


def test_a_receipt_with_other_counts_is_refused(tmp_path):
    receipt = write(tmp_path, [[1, 2], [3]], [])
    with pytest.raises(StoreError, match="2 documents, 3 tokens; the manifest says 2 and 4"):
        ParquetReader(tmp_path, {**receipt, "tokens": 4})


def test_a_row_group_that_cannot_be_decoded_is_told_by_name(tmp_path):
    receipt = write(tmp_path, [np.random.default_rng(0).integers(0, 500, 4000).tolist()], [])
    content = bytearray((tmp_path / "s.parquet").read_bytes())
    content[40:3000] = bytes(2960)
    (tmp_path / "s.parquet").write_bytes(content)
    with pytest.raises(StoreError, match=r"s\.parquet: row group 0 cannot be decoded"):
        ParquetReader(tmp_path, receipt).document(0)
