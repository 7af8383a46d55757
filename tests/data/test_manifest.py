import json
import os

import pytest
import typer
from typer.testing import CliRunner

from tokenloom.app.verify import verify
from tokenloom.core.errors import StoreError
from tokenloom.data import open_shards, verify_shards
from tokenloom.data.manifest import read_manifest, write_manifest

SHARDS = [(0, [[1, 2, 3], [], [4]]), (0, [[5, 6]]), (1, [[7, 8, 9]])]


def change(folder, *, tokenizer=(), settings=(), shard=(), file=(), **content):
    """Rewrite some values of a manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest.update(content)
    manifest["tokenizer"].update(tokenizer)
    manifest["settings"].update(settings)
    if shard:
        manifest["shards"][0].update(shard)
    if file:
        manifest["shards"][0]["files"][0].update(file)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_manifest_comes_back_as_it_was_written(tmp_path, write_folder):
    manifest = read_manifest(write_folder(tmp_path, SHARDS))
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert manifest.totals == {"documents": 5, "tokens": 9}


def test_a_folder_without_a_manifest_is_not_finished(tmp_path, write_folder):
    (write_folder(tmp_path, SHARDS) / "manifest.json").unlink()
    for read in (read_manifest, verify_shards, open_shards):
        with pytest.raises(StoreError, match="has not finished; run the same command again"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": 2, "tokenloom": "9.1"}, "format version 2, written by tokenloom 9.1"),
        ({"format_version": None}, "no format_version"),
        ({"surprise": 1}, "damaged.*surprise"),
        ({"tokenizer": {"vocab_size": 0}}, "damaged.*without tokens"),
        ({"tokenizer": {"vocab_size": "many"}}, "damaged.*many"),
        ({"settings": {"format": "pickle"}}, "damaged.*pickle"),
        ({"shard": {"documents": -1}}, "damaged.*-1"),
        ({"shard": {"tokens": 5}}, "damaged.*totals name 9 tokens, the shards 10"),
        ({"shard": {"dtype": "object"}}, "damaged.*object"),
        ({"shard": {"files": []}}, "damaged"),
        ({"file": {"name": "../../secret.bin"}}, "damaged.*secret"),
        ({"file": {"name": "shard-00001.bin"}}, "damaged.*file name 'shard-00001.bin'"),
        ({"file": {"name": "shard-00000.exe"}}, "damaged.*file name"),
        ({"file": {"bytes": 1.5}}, "damaged.*1.5"),
        ({"file": {"sha256": None}}, "damaged.*sha256"),
        ({"totals": {}}, "damaged.*documents"),
        ({"shards": 3}, "damaged"),
    ],
)
def test_a_damaged_or_foreign_manifest_is_refused(tmp_path, write_folder, changes, words):
    change(write_folder(tmp_path, SHARDS), **changes)
    with pytest.raises(StoreError, match=words):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"shards": '])
def test_a_manifest_that_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_verify_finds_any_flipped_bit(tmp_path, write_folder, form):
    write_folder(tmp_path, SHARDS, form)
    verify_shards(tmp_path)
    for path in sorted(tmp_path.glob("shard-00000.*")):
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(StoreError, match="shard-00000"):
                verify_shards(tmp_path)
        path.write_bytes(content)
    verify_shards(tmp_path)


def test_verify_names_every_wrong_shard(tmp_path, write_folder, form):
    write_folder(tmp_path, SHARDS, form)
    data = {"megatron": "bin", "parquet": "parquet"}[form]
    os.truncate(tmp_path / f"shard-00000.{data}", 1)
    (tmp_path / f"shard-00002.{data}").unlink()
    with pytest.raises(
        StoreError, match=r"(?s)shard-00000.*: 1 bytes, but the manifest says.*shard-00002.*cannot be read"
    ):
        verify_shards(tmp_path)
    with pytest.raises(StoreError, match="shard-00000"):
        open_shards(tmp_path)


def test_verify_finds_an_id_that_the_vocabulary_does_not_have(tmp_path, write_folder, form):
    change(write_folder(tmp_path, SHARDS, form), tokenizer={"vocab_size": 9})
    with pytest.raises(StoreError, match=r"shard-00002.*: id 9, but the vocabulary of 9 tokens ends at 8"):
        verify_shards(tmp_path)


def test_verify_reports_progress_to_the_end(tmp_path, write_folder):
    seen = []
    manifest = verify_shards(write_folder(tmp_path, SHARDS), progress=lambda done, total: seen.append((done, total)))
    total = sum(file["bytes"] for shard in manifest.shards for file in shard["files"])
    assert [size for _, size in seen] == [total] * 3
    assert seen[-1][0] == total


def test_the_command_prints_a_table_and_ok_or_nothing(tmp_path, write_folder):
    write_folder(tmp_path, SHARDS)
    app = typer.Typer()
    app.command()(verify)
    told = CliRunner().invoke(app, [str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines()[-1] == "ok"
    assert "documents" in told.stdout
    quiet = CliRunner().invoke(app, [str(tmp_path), "--quiet"])
    assert (quiet.exit_code, quiet.output) == (0, "")
    (tmp_path / "shard-00000.idx").unlink()
    wrong = CliRunner().invoke(app, [str(tmp_path)])
    assert isinstance(wrong.exception, StoreError)
    assert "ok" not in wrong.stdout.split()
