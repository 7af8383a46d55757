"""The main job. The law: the same bytes out for any workers, and after any interruption followed by the same call."""

import fcntl
import gzip
import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tokenloom as tl
from tokenloom.core.errors import CorpusError, InvalidInput, StoreError, TokenizerError
from tokenloom.core.seeds import stream_seeds
from tokenloom.core.segmentation import Ragged
from tokenloom.data import encode_corpus, open_shards, read_corpus, sample, verify_shards
from tokenloom.data.encode import end_of_text

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)

TOK = tl.load_tokenizer("tokenloom-en-16k")
LOOK = tl.StochasTok(TOK.vocab, 0.3)
TEXTS = [sample("en-literary")[:30_000], sample("code-python")[:20_000], sample("de-technical")[:10_000]]


@pytest.fixture
def corpus(tmp_path):
    """Six files, 100 kB, of text and JSON lines, one of them packed; each but the small one fills a shard."""
    folder = tmp_path / "corpus"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text(TEXTS[0], encoding="utf-8")
    (folder / "b.jsonl").write_text(
        "".join(json.dumps({"id": i, "text": line}) + "\n" for i, line in enumerate(TEXTS[1].splitlines())),
        encoding="utf-8",
    )
    (folder / "c.txt.gz").write_bytes(gzip.compress(TEXTS[2].encode()))
    (folder / "sub" / "d.md").write_text("one\n\ntwo\n", encoding="utf-8")
    (folder / "sub" / "e.txt").write_text(TEXTS[2] * 2, encoding="utf-8")
    (folder / "sub" / "f.txt").write_text(TEXTS[2], encoding="utf-8")
    return folder


def encode(corpus, out, **changes):
    options = {"tokenizer": TOK, "look": LOOK, "epochs": 2, "seed": 7, "shard_bytes": 9_000, "workers": 1}
    return encode_corpus([corpus], out, **{**options, **changes})


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def damage(corpus):
    """Put faults of many kinds into the corpus: names of files and what is said of them."""
    (corpus / "aa-empty.txt").touch()
    (corpus / "ab-latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    with (corpus / "b.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"body": "none"}\n{"text": 3}\nnothing\n{"text": "good"}\n')
    packed = (corpus / "c.txt.gz").read_bytes()
    (corpus / "c.txt.gz").write_bytes(packed[: len(packed) // 2])
    (corpus / "sub" / "loop").symlink_to(corpus)
    return [
        ("aa-empty.txt", "", "the file is empty"),
        ("ab-latin.txt", "byte 3", "not UTF-8: 0xe9, unexpected end of data"),
        ("b.jsonl", f"line {len(TEXTS[1].splitlines()) + 1}", "no field 'text'; there are 'body'"),
        ("b.jsonl", f"line {len(TEXTS[1].splitlines()) + 2}", "field 'text' holds 3, not text"),
        ("b.jsonl", f"line {len(TEXTS[1].splitlines()) + 3}", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("c.txt.gz", "byte ", "the gzip file ends in the middle"),
        ("sub/loop", "", f"a symlink loop: it leads back to {corpus}"),
    ]


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_every_document_is_what_the_tokenizer_and_stochastok_make_of_it_alone(corpus, tmp_path, form):
    manifest = encode(corpus, tmp_path / "out", format=form)
    shards = open_shards(tmp_path / "out")
    places = [(0, 0), *((1, i) for i in range(len(TEXTS[1].splitlines()))), (2, 0), (3, 0), (4, 0), (5, 0)]
    texts = [TEXTS[0], *TEXTS[1].splitlines(), TEXTS[2], "one\n\ntwo\n", TEXTS[2] * 2, TEXTS[2]]
    assert len(shards) == 2 * len(texts)
    for epoch in range(2):
        written = shards.epoch(epoch)
        for (file, item), text, ids in zip(places, texts, written, strict=True):
            plain = Ragged.of([TOK.encode(text).ids])
            alone = LOOK.expand_batch(plain, stream_seeds(7, epoch, file, item))[0]
            assert ids.tolist() == [*alone.tolist(), end_of_text(TOK)], (epoch, file, item)
    assert shards.epoch(0).digest != shards.epoch(1).digest
    assert manifest.totals["bytes"] == sum(len(text.encode()) for text in texts)
    assert manifest.totals["plain_tokens"] == sum(TOK.encode(text).ids.size for text in texts)
    split = sum(ids.size - 1 for ids in shards) - 2 * manifest.totals["plain_tokens"]
    assert manifest.totals["split_tokens"] == split > 0
    assert verify_shards(tmp_path / "out") == manifest


def test_a_parquet_shard_names_the_document_and_its_file(corpus, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the package pyarrow")
    manifest = encode(corpus, tmp_path / "out", format="parquet", look=None, epochs=1)
    tables = [pq.read_table(tmp_path / "out" / shard["files"][0]["name"]) for shard in manifest.shards]
    documents = [i for table in tables for i in table["document"].to_pylist()]
    assert documents == list(range(len(documents)))
    sources = [name for table in tables for name in table["source"].to_pylist()]
    assert sources[0] == f"{corpus.as_posix()}/a.txt"
    assert sources[-1] == f"{corpus.as_posix()}/sub/f.txt"


def test_the_manifest_says_what_was_made_of_what(corpus, tmp_path):
    encode(corpus, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["format_version"] == 1
    assert manifest["tokenizer"] == {
        "name": "tokenloom-en-16k",
        "digest": TOK.digest,
        "vocab_size": 16384,
        "end_of_text": 16383,
        "spec": "tokenloom-en-16k",
    }
    assert manifest["settings"]["perturbation"] == {"name": "StochasTok", "proportion": 0.3, "max_splits": None}
    assert manifest["settings"]["inputs"][0]["name"] == f"{corpus.as_posix()}/a.txt"
    assert {shard["epoch"] for shard in manifest["shards"]} == {0, 1}
    assert len(manifest["shards"]) >= 6
    assert manifest["ledger"]["tokens"] == manifest["totals"]["tokens"]
    listed = {file["name"] for shard in manifest["shards"] for file in shard["files"]} | {"manifest.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == listed


def test_a_trainer_reads_windows_of_what_was_written(corpus, tmp_path):
    pytest.importorskip("torch", reason="windows need the package torch")
    encode(corpus, tmp_path / "out")
    windows = tl.data.Windows(open_shards(tmp_path / "out"), 128, batch=4, epochs=2)
    all_at_once = [item["input_ids"] for item in windows]
    again = tl.data.Windows(open_shards(tmp_path / "out"), 128, batch=4, epochs=2).loader(2)
    some = [item["input_ids"] for _, item in zip(range(5), again)]
    resumed = tl.data.Windows(open_shards(tmp_path / "out"), 128, batch=4, epochs=2)
    resumed.load_state_dict(json.loads(json.dumps(again.state_dict())))
    rest = [item["input_ids"] for item in resumed]
    assert all((a == b).all() for a, b in zip(all_at_once, some + rest, strict=True))


def test_plain_text_is_split_as_asked(corpus, tmp_path):
    for split, count in (("file", 1), ("paragraph", 2), ("line", 2)):
        encode_corpus([corpus / "sub" / "d.md"], tmp_path / split, tokenizer=TOK, split=split, workers=1)
        texts = [TOK.decode(ids) for ids in open_shards(tmp_path / split)]
        assert len(texts) == count
        assert [text.decode() for text in texts] == list(read_corpus([str(corpus / "sub" / "d.md")], split=split))


def test_end_of_text_is_written_or_not(corpus, tmp_path):
    for choice, ends in ((None, True), (True, True), (False, False)):
        encode(corpus, tmp_path / str(choice), append_eot=choice)
        shards = open_shards(tmp_path / str(choice))
        assert all((16383 in ids[-1:]) == ends and 16383 not in ids[:-1] for ids in shards)


def test_a_vocabulary_without_end_of_text_gets_none_and_none_can_be_asked(corpus, tmp_path):
    class Bare:
        name, digest, vocab = "bare", "0", tl.Vocabulary([bytes([byte]) for byte in range(256)])

        def encode_batch(self, texts, threads=None):
            return Ragged.of([list(text.encode()) for text in texts])

    manifest = encode(corpus, tmp_path / "out", tokenizer=Bare(), look=None, epochs=1)
    assert manifest.tokenizer["end_of_text"] is None
    assert manifest.totals["tokens"] == manifest.totals["bytes"]
    with pytest.raises(InvalidInput, match="bare has no end-of-text token"):
        encode(corpus, tmp_path / "other", tokenizer=Bare(), append_eot=True)


def test_a_large_vocabulary_is_written_as_int32_and_no_id_outside_it_is(corpus, tmp_path):
    class Strange:
        name, digest = "strange", "0"
        vocab = tl.Vocabulary([str(i).encode() for i in range(70_000)])

        def encode_batch(self, texts, threads=None):
            return Ragged.of([[69_999] * len(text) + [self.last] for text in texts])

    Strange.last = 3
    encode(corpus, tmp_path / "out", tokenizer=Strange(), look=None, epochs=1)
    assert open_shards(tmp_path / "out")[0].dtype == np.int32
    Strange.last = 70_000
    with pytest.raises(InvalidInput, match="id 70000; a vocabulary of 70000 tokens ends at 69999"):
        encode(corpus, tmp_path / "wrong", tokenizer=Strange(), look=None, epochs=1)
    assert not (tmp_path / "wrong").exists()


# -- the same bytes ----------------------------------------------------------------------------------------------------


def test_the_bytes_do_not_depend_on_the_number_of_workers(corpus, tmp_path, form):
    damage(corpus)
    for workers in (1, 3):
        encode(corpus, tmp_path / str(workers), workers=workers, format=form, on_error="skip")
    assert content(tmp_path / "1") == content(tmp_path / "3")


def test_the_bytes_do_not_depend_on_how_much_a_worker_gets_at_once(corpus, tmp_path, form, monkeypatch):
    damage(corpus)
    for size in (1, 30_000, 1 << 20):
        monkeypatch.setattr("tokenloom.data.encoder._CHUNK_BYTES", size)
        encode(corpus, tmp_path / str(size), shard_bytes=60_000, format=form, on_error="skip")
    assert content(tmp_path / "1") == content(tmp_path / "30000") == content(tmp_path / str(1 << 20))


class Stopped(Exception):
    """Somebody pulled the plug."""


def stop_after(chunks):
    """A `progress` that fails after so many chunks; its first call comes before them."""
    left = iter(range(1 + chunks))

    def progress(_):
        if next(left, None) is None:
            raise Stopped

    return progress


@in_one_folder
@given(stops=st.lists(st.integers(0, 8), max_size=4), faulty=st.booleans())
def test_stopped_anywhere_the_same_call_goes_on_to_the_same_bytes(corpus, tmp_path, form, stops, faulty):
    if faulty and not (corpus / "aa-empty.txt").exists():
        damage(corpus)
    on_error = "skip" if (corpus / "aa-empty.txt").exists() else "stop"
    for name in ("whole", "stopped"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    options = {"format": form, "on_error": on_error, "look": None, "epochs": 1}
    encode(corpus, tmp_path / "whole", **options)
    finished = {}
    for calls in stops:
        try:
            encode(corpus, tmp_path / "stopped", **options, progress=stop_after(calls))
        except Stopped:
            assert not (tmp_path / "stopped" / "manifest.json").exists()
            with pytest.raises(StoreError, match="has not finished"):
                open_shards(tmp_path / "stopped")
        now = {}
        for path in (tmp_path / "stopped").glob("epoch*") if (tmp_path / "stopped").exists() else ():
            now[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
        assert finished.items() <= now.items(), "a finished shard was written again"
        finished = now
    encode(corpus, tmp_path / "stopped", **options)
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")
    assert (
        finished.items()
        <= {
            path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "stopped").iterdir()
        }.items()
    )


def test_the_same_call_on_a_finished_folder_touches_nothing(corpus, tmp_path):
    manifest = encode(corpus, tmp_path / "out")
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()}
    assert encode(corpus, tmp_path / "out", workers=2, progress=stop_after(0)) == manifest
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()} == before


def test_what_a_killed_run_left_is_removed(corpus, tmp_path):
    encode(corpus, tmp_path / "whole")
    with pytest.raises(Stopped):
        encode(corpus, tmp_path / "out", progress=stop_after(2))
    last = sorted((tmp_path / "out").glob("epoch*"))[-1].name
    for left in (f".{last}.0123456789ab.part", "epoch0-shard00099.bin", ".manifest.json.00ff.part", ".job/.x.00.part"):
        (tmp_path / "out" / left).write_bytes(b"half")
    encode(corpus, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 8}, "begun with seed 7, not 8"),
        ({"epochs": 3}, "begun with epochs 2, not 3"),
        ({"shard_bytes": 30_000}, "begun with shard bytes 9000, not 30000"),
        ({"look": tl.StochasTok(TOK.vocab, 0.2)}, "begun with proportion 0.3, not 0.2"),
        ({"look": None, "epochs": 1}, "begun with epochs 2, not 1"),
        ({"split": "line"}, "begun with split 'file', not 'line'"),
        ({"field": "body"}, "begun with field 'text', not 'body'"),
        ({"append_eot": False}, "begun with end of text 16383, not None"),
        ({"tokenizer": tl.load_tokenizer("bytes"), "look": None}, "epochs=2 without a perturbation"),
        ({"tokenizer": tl.load_tokenizer("bytes")}, "begun with name 'tokenloom-en-16k', not 'bytes'"),
    ],
)
def test_another_setting_into_the_same_folder_is_refused_before_anything_is_touched(
    corpus, tmp_path, finished, changes, words
):
    if finished:
        encode(corpus, tmp_path / "out")
    else:
        with pytest.raises(Stopped):
            encode(corpus, tmp_path / "out", progress=stop_after(2))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    with pytest.raises((StoreError, InvalidInput), match=words):
        encode(corpus, tmp_path / "out", **changes)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("finished", [True, False])
def test_another_input_into_the_same_folder_is_refused(corpus, tmp_path, finished):
    if finished:
        encode(corpus, tmp_path / "out")
    else:
        with pytest.raises(Stopped):
            encode(corpus, tmp_path / "out", progress=stop_after(2))
    text = (corpus / "a.txt").read_text(encoding="utf-8")
    (corpus / "a.txt").write_text(text.swapcase(), encoding="utf-8")
    with pytest.raises(StoreError, match="begun with inputs that have changed since"):
        encode(corpus, tmp_path / "out")
    (corpus / "b.jsonl").unlink()
    with pytest.raises(StoreError, match="begun with other inputs"):
        encode(corpus, tmp_path / "out")


def test_an_input_that_changes_while_it_is_read_is_an_error(corpus, tmp_path):
    def change(progress):
        (corpus / "a.txt").write_text("other", encoding="utf-8")

    with pytest.raises(CorpusError, match=r"a\.txt has changed while it was read"):
        encode(corpus, tmp_path / "out", progress=change)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_folder_with_other_things_in_it_is_refused(corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "epoch0-shard00000.bin").write_bytes(b"precious")
    with pytest.raises(StoreError, match=r"holds epoch0-shard00000\.bin, which is not of this job"):
        encode(corpus, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["epoch0-shard00000.bin"]
    with pytest.raises(StoreError, match="is not a folder"):
        encode(corpus, tmp_path / "out" / "epoch0-shard00000.bin")


def test_output_inside_an_input_folder_is_refused(corpus, tmp_path):
    (tmp_path / "link").symlink_to(corpus)
    for out in (corpus, corpus / "sub" / "out", tmp_path / "link" / "out"):
        with pytest.raises(InvalidInput, match="lies inside the input"):
            encode(corpus, out)
    assert not (corpus / "sub" / "out").exists()


def test_two_runs_at_once_are_refused(corpus, tmp_path):
    with pytest.raises(Stopped):
        encode(corpus, tmp_path / "out", progress=stop_after(2))
    with (tmp_path / "out" / ".job" / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another run is writing"):
            encode(corpus, tmp_path / "out")
    encode(corpus, tmp_path / "out")


def test_a_finished_shard_that_has_changed_is_not_continued(corpus, tmp_path):
    with pytest.raises(Stopped):
        encode(corpus, tmp_path / "out", progress=stop_after(2))
    path = min((tmp_path / "out").glob("*.bin"))
    path.write_bytes(b"short")
    with pytest.raises(StoreError, match=f"{path.name} is finished and should have"):
        encode(corpus, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"workers": 0}, "workers=0"),
        ({"shard_bytes": 0}, "shard_bytes=0"),
        ({"seed": -1}, "-1"),
        ({"seed": 2**64}, str(2**64)),
        ({"format": "csv"}, "format='csv'; it is one of megatron, parquet"),
        ({"split": "word"}, "split='word'; it is one of file, paragraph, line"),
        ({"on_error": "ignore"}, "on_error='ignore'; it is one of stop, skip"),
    ],
)
def test_a_value_out_of_range_is_refused_before_anything_is_written(corpus, tmp_path, changes, words):
    with pytest.raises(InvalidInput, match=words):
        encode(corpus, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


# -- faults ------------------------------------------------------------------------------------------------------------


def test_faults_stop_with_file_and_place_and_leave_nothing_that_looks_complete(corpus, tmp_path):
    # What is wrong with a whole file is found before the first byte is read.
    for name, place, reason in sorted(damage(corpus), key=lambda fault: fault[1] != ""):
        with pytest.raises(CorpusError) as caught:
            encode(corpus, tmp_path / "out", shard_bytes=1 << 20)
        assert name in str(caught.value)
        assert place in str(caught.value)
        assert reason in str(caught.value)
        assert not (tmp_path / "out").exists()
        # Mend it, so that the next one is met.
        path = corpus / name
        if name == "b.jsonl":
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            lines[int(place.split()[1]) - 1] = "\n"
            path.write_text("".join(lines), encoding="utf-8")
        else:
            path.unlink()
    encode(corpus, tmp_path / "out")


def test_faults_that_are_skipped_stand_in_the_manifest_and_the_rest_is_encoded(corpus, tmp_path):
    faults = damage(corpus)
    manifest = encode(corpus, tmp_path / "out", on_error="skip")
    assert len(manifest.skipped) == len(faults)
    for entry, (name, place, reason) in zip(manifest.skipped, faults, strict=True):
        assert entry["file"] == f"{corpus.as_posix()}/{name}"
        assert entry["place"].startswith(place)
        assert entry["reason"] == reason
    texts = [TOK.decode(ids[:-1]).decode() for ids in open_shards(tmp_path / "out", 0)]
    assert len(texts) == 1 + len(TEXTS[1].splitlines()) + 1 + 1 + 3  # of the torn file, what was there
    assert "good" in texts


def test_what_was_begun_with_stop_may_be_continued_with_skip(corpus, tmp_path):
    damage(corpus)
    (corpus / "aa-empty.txt").unlink()
    (corpus / "sub" / "loop").unlink()
    with pytest.raises(CorpusError):
        encode(corpus, tmp_path / "out", shard_bytes=1)
    encode(corpus, tmp_path / "out", shard_bytes=1, on_error="skip")
    encode(corpus, tmp_path / "skipped", shard_bytes=1, on_error="skip")
    assert content(tmp_path / "out") == content(tmp_path / "skipped")


@contextmanager
def files_below(size):
    """A file that may not grow further is what a full disk looks like to the one that writes."""
    resource = pytest.importorskip("resource", reason="limits of a process are those of Unix")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_and_with_room_the_same_call_completes(corpus, tmp_path, form):
    options = {"look": None, "epochs": 1, "format": form}
    encode(corpus, tmp_path / "whole", **options)
    largest = max(path.stat().st_size for path in (tmp_path / "whole").glob("epoch*"))
    with files_below(largest - 1), pytest.raises(StoreError, match=r"cannot write .*epoch0-shard0.*: File too large"):
        encode(corpus, tmp_path / "out", **options)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list(tmp_path.rglob("*.part"))
    encode(corpus, tmp_path / "out", **options)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_disk_that_is_full_between_the_two_files_of_a_shard_leaves_neither(tmp_path):
    (tmp_path / "a.txt").write_text("a\n" * 5000, encoding="utf-8")
    with files_below(50_000), pytest.raises(StoreError, match=r"cannot write .*epoch0-shard00000\.idx: File too large"):
        encode_corpus([tmp_path / "a.txt"], tmp_path / "out", tokenizer=TOK, split="line", workers=1)
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_between_the_shards_of_two_epochs_leaves_none(tmp_path):
    (tmp_path / "a.txt").write_text(TEXTS[0][:5000], encoding="utf-8")
    options = {"tokenizer": TOK, "look": LOOK, "epochs": 2, "workers": 1}
    for seed in range(20):
        manifest = encode_corpus([tmp_path / "a.txt"], tmp_path / str(seed), seed=seed, **options)
        first, second = (shard["files"][0]["bytes"] for shard in manifest.shards)
        if first < second:
            break
    with files_below(first), pytest.raises(StoreError, match=r"cannot write .*epoch1-shard00000\.bin: File too large"):
        encode_corpus([tmp_path / "a.txt"], tmp_path / "out", seed=seed, **options)
    assert not (tmp_path / "out").exists()


def test_a_corpus_without_documents_is_an_error(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"a\.jsonl: no document in it"):
        encode_corpus([tmp_path / "a.jsonl"], tmp_path / "out", tokenizer=TOK, workers=1)
    assert not (tmp_path / "out").exists()


def test_faults_without_end_are_not_skipped_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenloom.data.output._MOST_FAULTS", 10)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' + "x\n" * 11, encoding="utf-8")
    with pytest.raises(CorpusError, match=r"10 places were skipped, and there are more, as .*a\.jsonl, line 12"):
        encode_corpus([tmp_path / "a.jsonl"], tmp_path / "out", tokenizer=TOK, workers=1, on_error="skip")


def test_a_tokenizer_without_the_letters_of_a_text_is_a_fault(corpus, tmp_path):
    class Latin:
        name, digest, vocab = "latin", "0", tl.Vocabulary([bytes([byte]) for byte in range(256)])

        def encode_batch(self, texts, threads=None):
            if any("x" in text for text in texts):
                raise TokenizerError("no token for 'x'")
            return Ragged.of([list(text.encode()) for text in texts])

    manifest = encode(corpus, tmp_path / "out", tokenizer=Latin(), look=None, epochs=1, on_error="skip")
    assert {entry["reason"] for entry in manifest.skipped} == {"no token for 'x'"}


def test_the_corpus_can_be_read_as_it_is_encoded(corpus, tmp_path):
    encode(corpus, tmp_path / "out", look=None, epochs=1, append_eot=False)
    texts = [TOK.decode(ids).decode() for ids in open_shards(tmp_path / "out")]
    assert list(read_corpus([str(corpus)])) == texts
    damage(corpus)
    with pytest.raises(CorpusError, match=r"aa-empty\.txt: the file is empty"):
        list(read_corpus([str(corpus)]))


def test_a_missing_input_is_an_error_of_the_corpus(tmp_path):
    with pytest.raises(CorpusError, match="nowhere: no such file or folder"):
        encode(Path(tmp_path / "nowhere"), tmp_path / "out")
