import json
from hashlib import sha256

import pytest

from tokenloom.core.errors import StoreError
from tokenloom.core.pretrained import MANIFEST, load_files, save_files

FILES = {"config.json": b"{}", "weights": bytes(range(256))}


def test_what_was_saved_is_loaded(tmp_path):
    save_files(tmp_path / "a" / "b", "Thing", FILES)
    saved = load_files(tmp_path / "a" / "b")
    assert (saved.kind, saved.files) == ("Thing", FILES)
    manifest = json.loads((tmp_path / "a" / "b" / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["files"] == {name: sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda folder: (folder / "weights").write_bytes(b"other"),
            "weights is not the file that tokenloom.json names",
        ),
        (lambda folder: (folder / "weights").unlink(), "cannot read .*weights"),
        (lambda folder: (folder / MANIFEST).unlink(), "cannot read .*tokenloom.json"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "is not JSON"),
        (
            lambda folder: (folder / MANIFEST).write_text('{"format": 2}'),
            "has format 2; this version of tokenloom reads 1",
        ),
        (lambda folder: (folder / MANIFEST).write_text('{"format": 1}'), "lacks format, kind or files"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "lacks format, kind or files"),
        (
            lambda folder: (folder / MANIFEST).write_text('{"format": 1, "kind": "T", "files": {"../x": ""}}'),
            "names '../x', which does not lie in its folder",
        ),
        (
            lambda folder: (folder / MANIFEST).write_text('{"format": 1, "kind": "T", "files": {"weights": 1}}'),
            "its SHA-256 differs",
        ),
    ],
)
def test_a_folder_that_is_not_as_saved_is_refused(change, words, tmp_path):
    save_files(tmp_path, "Thing", FILES)
    change(tmp_path)
    with pytest.raises(StoreError, match=words):
        load_files(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot make the folder"):
        save_files(tmp_path / "file" / "folder", "Thing", FILES)
