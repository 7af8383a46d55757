import gzip
import os

import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.data.corpus import find_sources


def names(sources, below):
    return [source.path.relative_to(below).as_posix() for source in sources]


def test_a_folder_is_all_files_below_it_sorted_by_path_without_hidden_ones(tmp_path):
    for name in ("b.txt", "a/z.jsonl", "a/y/x.txt.gz", ".hidden", ".git/config", "c.parquet"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    pytest.importorskip("pyarrow", reason="Parquet needs the package pyarrow")
    sources = find_sources([tmp_path])
    assert names(sources, tmp_path) == ["a/y/x.txt.gz", "a/z.jsonl", "b.txt", "c.parquet"]
    assert [source.kind for source in sources] == ["text", "json", "text", "parquet"]
    assert [source.packing for source in sources] == ["gz", "", "", ""]


def test_inputs_keep_their_order(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert names(find_sources([tmp_path / "c", tmp_path / "a"]), tmp_path) == ["c", "a"]


@pytest.mark.parametrize(
    ("name", "kind", "packing"),
    [
        ("a", "text", ""),
        ("a.md", "text", ""),
        ("a.JSONL", "json", ""),
        ("a.ndjson.gz", "json", "gz"),
        ("a.json.GZ", "json", "gz"),
        ("a.b.txt", "text", ""),
        ("gz", "text", ""),
    ],
)
def test_the_ending_says_how_a_file_is_read(tmp_path, name, kind, packing):
    (tmp_path / name).write_bytes(b"x")
    (source,) = find_sources([tmp_path])
    assert (source.kind, source.packing, source.fault) == (kind, packing, "")


def test_what_cannot_be_read_is_listed_with_its_fault(tmp_path):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "up").symlink_to(tmp_path)
    (tmp_path / "packed.parquet.gz").write_bytes(gzip.compress(b"x"))
    os.mkfifo(tmp_path / "pipe")
    faults = {source.path.name: source.fault for source in find_sources([tmp_path])}
    assert faults == {
        "dangling": "cannot be read: No such file or directory",
        "empty.txt": "the file is empty",
        "packed.parquet.gz": "Parquet is compressed inside; unpack the .gz around it",
        "pipe": "neither a file nor a folder",
        "self": "cannot be read: Too many levels of symbolic links",
        "up": f"a symlink loop: it leads back to {tmp_path}",
    }


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.txt").write_text("x", encoding="utf-8")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there")
    assert names(find_sources([tmp_path / "here"]), tmp_path) == ["here/link/a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_fault(tmp_path):
    (tmp_path / "a").write_text("x", encoding="utf-8")
    (tmp_path / "a").chmod(0)
    assert find_sources([tmp_path])[0].fault == "cannot be read: Permission denied"


def test_a_name_that_is_not_utf8_is_shown_in_part(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    try:
        with open(path, "wb") as file:  # noqa: PTH123 - a name in bytes
            file.write(b"x")
    except OSError:
        pytest.skip("the file system takes names in UTF-8 only")
    assert find_sources([tmp_path])[0].name.endswith("/caf\ufffd.txt")


def test_no_input_a_missing_one_an_empty_folder_and_one_twice_are_refused(tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "a").write_text("x", encoding="utf-8")
    for inputs, error, words in (
        ([], InvalidInput, "no input"),
        ([tmp_path / "b"], CorpusError, "b: no such file or folder"),
        ([tmp_path / "none"], CorpusError, "none: the folder holds no file"),
        ([tmp_path / "a", tmp_path], InvalidInput, "a is named twice"),
    ):
        with pytest.raises(error, match=words):
            find_sources(inputs)
