"""How files are cut. The laws: no byte is lost, cuts do not depend on where reading began, documents are those of a twin."""

import gzip
import json
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.data import segments as module
from tokenloom.data.corpus import find_sources
from tokenloom.data.documents import documents
from tokenloom.data.segments import segments

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)

# Pieces that make line ends, blank lines, long lines and broken characters meet the small limits below.
TEXTS = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\n", b"\r\n", b" ", b"\t", "é".encode(), b"x" * 9, b"\n\n", b"\xff"]),
    max_size=60,
).map(b"".join)


@pytest.fixture
def small(monkeypatch):
    """Limits of a few bytes, so that short texts reach them."""
    monkeypatch.setattr(module, "_STRETCH", 8)
    monkeypatch.setattr(module, "_PIECE", 16)
    monkeypatch.setattr(module, "LONGEST", 32)
    cuts = {kind: (16 if kind == "file" else 8, *rest) for kind, (_, *rest) in module._CUTS.items()}
    monkeypatch.setattr(module, "_CUTS", cuts)


def read(path, content, split, behind=None):
    path.write_bytes(content)
    return list(segments(find_sources([path]), split=split, behind=behind))


@in_one_folder
@given(text=TEXTS.filter(bool), split=st.sampled_from(["file", "paragraph", "line"]))
def test_no_byte_is_lost_but_what_a_fault_names(small, tmp_path, text, split):
    found = read(tmp_path / "a.txt", text, split)
    at = 0
    for segment in found:
        if not segment.faults:
            assert segment.start == at
            assert text[at : at + len(segment.data)] == segment.data
            at += len(segment.data)
        else:
            assert "without a" in segment.faults[0].reason
            after = [other.start for other in found if other.start > segment.start]
            at = min(after, default=len(text))
            assert at - segment.start > 32
    assert at == len(text)


@in_one_folder
@given(text=TEXTS.filter(bool), split=st.sampled_from(["file", "paragraph", "line"]), packed=st.booleans())
def test_reading_goes_on_behind_any_segment_as_if_it_had_not_stopped(small, tmp_path, text, split, packed):
    name, content = ("a.txt.gz", gzip.compress(text)) if packed else ("a.txt", text)
    found = read(tmp_path / name, content, split)
    assert [segment.address for segment in found] == sorted({segment.address for segment in found})
    for i, segment in enumerate(found):
        rest = list(segments(find_sources([tmp_path / name]), split=split, behind=segment.address))
        # What was read of a packed file at once differs; the bytes do not.
        assert [(s.address, s.data, s.whole, s.faults) for s in rest] == [
            (s.address, s.data, s.whole, s.faults) for s in found[i + 1 :]
        ]


@in_one_folder
@given(text=TEXTS.filter(bool))
def test_lines_are_the_lines_that_are_not_blank(small, tmp_path, text):
    found = [documents(segment, "") for segment in read(tmp_path / "a.txt", text, "line")]
    lines = text.split(b"\n")
    good, bad = {}, set()
    for number, line in enumerate(lines):
        if line and not line.isspace():
            try:
                good[number] = line.removesuffix(b"\r").decode()
            except UnicodeDecodeError:
                bad.add(number)
    passed = {fault.item for part in found for fault in part.faults}
    got = {item: text for part in found for item, text in zip(part.items, part.texts)}
    assert got == {number: line for number, line in good.items() if number not in passed}
    assert bad <= passed
    assert all(len(lines[number]) > 30 or number in bad for number in passed)


@in_one_folder
@given(text=TEXTS.filter(bool).filter(lambda text: b"\xff" not in text))
def test_paragraphs_are_the_runs_of_lines_that_are_not_blank(small, tmp_path, text):
    found = [documents(segment, "") for segment in read(tmp_path / "a.txt", text, "paragraph")]
    runs, run = {}, []
    for number, line in enumerate([*text.split(b"\n"), b""]):
        if line and not line.isspace():
            run.append(line)
        elif run:
            runs[number - len(run)] = b"\n".join(run).removesuffix(b"\r").decode()
            run = []
    got = {item: text for part in found for item, text in zip(part.items, part.texts)}
    if not any(part.faults for part in found):
        assert got == runs


@in_one_folder
@given(text=TEXTS.filter(bool))
def test_a_long_text_is_cut_at_line_ends_before_text_where_there_is_one(small, tmp_path, text):
    found = read(tmp_path / "a.txt", text, "file")
    assert [segment.item for segment in found] == list(range(len(found)))
    for segment, after in pairwise(found):
        if segment.data:
            assert segment.data.endswith(b"\n")
            assert not segment.whole
            inner = [i for i in range(1, len(segment.data)) if segment.data[i - 1 : i] == b"\n"]
            if after.data[:1].isspace():
                assert not any(not segment.data[i : i + 1].isspace() for i in inner)
    assert found[-1].whole or found[-1].faults


def test_a_text_up_to_the_limit_is_one_document(small, tmp_path):
    (segment,) = read(tmp_path / "a.txt", b"ab\ncd\n" + b"x" * 10, "file")
    assert (segment.whole, len(segment.data)) == (True, 16)
    first, second = read(tmp_path / "a.txt", b"ab\ncd\n" + b"x" * 11, "file")
    assert (first.data, first.whole, second.data, second.whole) == (b"ab\ncd\n", False, b"x" * 11, True)


@pytest.mark.parametrize(
    ("split", "place", "reason", "after"),
    [
        ("file", "byte 3", "64 MiB without a line break", b"tail\n"),
        ("line", "line 2 (byte 3)", "64 MiB without a line break", b"tail\n"),
        ("paragraph", "line 1 (byte 0)", "64 MiB without a blank line", b"tail\n"),
    ],
)
def test_a_line_too_long_to_be_held_is_a_fault_with_its_place_and_what_follows_is_read(
    tmp_path, split, place, reason, after
):
    with (tmp_path / "a.txt").open("wb") as file:
        file.write(b"ok\n")
        for _ in range(70):
            file.write(b"x" * (1 << 20))
        file.write(b"\n\n" + after)
    found = list(segments(find_sources([tmp_path / "a.txt"]), split=split))
    (fault,) = [fault for segment in found for fault in segment.faults]
    assert fault.place == place
    assert reason in fault.reason
    assert found[-1].data.strip() == after.strip()


def test_a_truncated_file_gives_its_whole_lines_and_a_fault_behind_them(tmp_path):
    lines = b"".join(b'{"text": "line %d"}\n' % i for i in range(20_000))
    packed = gzip.compress(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    found = list(segments(find_sources([tmp_path / "a.jsonl.gz"])))
    texts = [text for segment in found for text in documents(segment, "text").texts]
    assert texts == [f"line {i}" for i in range(len(texts))]
    (fault,) = found[-1].faults
    assert fault.item == len(texts)
    assert fault.place.startswith(f"line {len(texts) + 1} (byte ")
    assert fault.reason == "the gzip file ends in the middle"


def test_a_file_that_cannot_be_read_is_one_fault(tmp_path):
    (tmp_path / "a.txt").touch()
    (segment,) = segments(find_sources([tmp_path / "a.txt"]))
    assert [fault.reason for fault in segment.faults] == ["the file is empty"]


def test_no_such_split_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="split='word'; plain text is split by file, paragraph, line"):
        list(segments([], split="word"))


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    """Write a Parquet file of texts."""
    pa = pytest.importorskip("pyarrow", reason="Parquet needs the package pyarrow")
    import pyarrow.parquet as pq

    def write(texts, kind=None, **options):
        pq.write_table(
            pa.table({"id": range(len(texts)), "text": pa.array(texts, kind)}), tmp_path / "a.parquet", **options
        )
        return find_sources([tmp_path / "a.parquet"])

    return write


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
def test_a_table_gives_its_rows(table, kind):
    pa = pytest.importorskip("pyarrow")
    kind = pa.dictionary(pa.int32(), pa.string()) if kind == "dictionary" else getattr(pa, kind)()
    texts = [f"row {i} é" * (i % 7) for i in range(5000)]
    sources = table(texts, kind, row_group_size=700)
    found = list(segments(sources))
    parts = [documents(segment, "text") for segment in found]
    assert [text for part in parts for text in part.texts] == texts
    assert [item for part in parts for item in part.items] == list(range(5000))
    for i in (0, 1, len(found) - 2):
        rest = segments(sources, behind=found[i].address)
        assert [segment.address for segment in rest] == [segment.address for segment in found[i + 1 :]]


def test_null_rows_are_faults(table):
    found = [documents(segment, "text") for segment in segments(table(["a", None, "b", None]))]
    assert [text for part in found for text in part.texts] == ["a", "b"]
    assert [(f.item, f.place, f.reason) for part in found for f in part.faults] == [
        (1, "row 2", "null"),
        (3, "row 4", "null"),
    ]


def test_rows_too_long_to_be_held_are_faults(small, table):
    found = [documents(segment, "text") for segment in segments(table(["a", "x" * 33, "b"]))]
    assert [text for part in found for text in part.texts] == ["a", "b"]
    assert [f.place for part in found for f in part.faults] == ["row 2"]


@pytest.mark.parametrize(
    ("field", "words"),
    [("body", "no column 'body'; there are id, text"), ("id", "column 'id' holds int64, not text")],
)
def test_a_table_without_such_texts_is_a_fault(table, field, words):
    (segment,) = segments(table(["a"]), field=field)
    assert [fault.reason for fault in segment.faults] == [words]


def test_a_damaged_table_is_a_fault_behind_what_could_be_read(table, tmp_path):
    sources = table([f"row {i}" for i in range(3000)], row_group_size=1000, compression="none", use_dictionary=False)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    at = content.index(b"row 1500") - 3000
    content[at : at + 2000] = b"\xff" * 2000
    (tmp_path / "a.parquet").write_bytes(content)
    found = list(segments(sources))
    assert sum(len(documents(segment, "text").texts) for segment in found) >= 1000
    assert found[-1].faults or any(documents(segment, "text").faults for segment in found)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing")
    (segment,) = segments(sources)
    assert segment.faults[0].place == "row 1"


# -- JSON --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "a"', "not JSON: Expecting ',' delimiter"),
        ("[1]", "a JSON list; JSON-lines have an object in each line"),
        ("3", "a JSON int"),
        ('{"body": "a", "id": 3}', "no field 'text'; there are 'body', 'id'"),
        ("{}", "no field 'text'; there are none"),
        ('{"text": null}', "field 'text' holds null, not text"),
        ('{"text": ["a"]}', "field 'text' holds [\"a\"], not text"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_line_of_json_without_text_is_a_fault(tmp_path, line, reason):
    content = json.dumps({"text": "before"}) + "\n\n" + line + "\n" + json.dumps({"text": "after"})
    (segment,) = read(tmp_path / "a.jsonl", content.encode(), "file")
    found = documents(segment, "text")
    assert (found.texts, found.items) == (["before", "after"], [0, 3])
    (fault,) = found.faults
    assert (fault.item, fault.place) == (2, "line 3")
    assert reason in fault.reason


def test_json_keeps_surrogates_line_breaks_and_a_byte_order_mark_apart(tmp_path):
    (segment,) = read(
        tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "a\\nb"}\r\n{"text": "\\ud800"}\n{"text": ""}', "file"
    )
    assert documents(segment, "text").texts == ["a\nb", "\ud800", ""]


@pytest.mark.parametrize(
    ("split", "place"), [("file", "byte 6"), ("line", r"line 2 (byte 1 of it)"), ("paragraph", "line 1 (byte 6 of it)")]
)
def test_a_byte_that_is_not_utf8_is_named_with_its_place(tmp_path, split, place):
    (segment,) = read(tmp_path / "a.txt", b"abcd\na\xffb", split)
    (fault,) = documents(segment, "").faults
    assert (fault.place, fault.reason) == (place, "not UTF-8: 0xff, invalid start byte")
