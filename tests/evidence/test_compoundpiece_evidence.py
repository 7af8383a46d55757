"""The experiment runs from end to end on the embedded samples; what it finds at full size is in results/compoundpiece."""

import gzip
import json

import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import compoundpiece


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    compoundpiece.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert [figure["name"] for figure in result["figures"][:2]] == [
        "splitting held-out words, compounds",
        "splitting held-out words, whole",
    ]
    assert all(len(cell["values"]) == 2 for figure in result["figures"] for cell in figure["ours"].values())
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_compounds_are_nouns_that_are_two_others_in_one_way():
    nouns = ["Haus", "Boot", "Tür", "Hausboot", "Bootshaus", "Haustürschloss", "Schloss", "Haustür", "Zimmer", "Banane"]
    compounds, whole = compoundpiece._lessons(nouns)
    assert compounds == [["Haus", "boot"], ["Boots", "haus"], ["Haustür", "schloss"]]
    assert whole == ["Schloss", "Haustür", "Zimmer", "Banane"]  # a second noun has four letters at least


def test_the_longest_words_of_the_text_are_taken_one_after_the_other():
    counts = compoundpiece.Counter({"Haus": 3, "Boot": 3, "Hausb": 9, "selten": 2})
    assert compoundpiece._longest("Hausboot", counts) == ["Hausboot"]  # "Hausb" leaves "oot"
    del counts["Hausb"]
    assert compoundpiece._longest("Hausboot", counts) == ["Haus", "boot"]
    assert compoundpiece._longest("Haus", counts) == ["Haus"]
    assert compoundpiece._longest("Seltenboot", counts) == ["Seltenboot"]


def test_manual_pages_lose_their_formatting():
    page = b'.\\" a comment\n.TH LS 1\n.SH NAME\nls \\- \\fBVerzeichnis\\-Inhalte\\fR auf\\(arlisten\n'
    assert list(compoundpiece._manual("ls.gz", gzip.compress(page))) == [
        "\n\nNAME\nls - Verzeichnis-Inhalte auflisten\n"
    ]


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        compoundpiece.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        compoundpiece.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps german-nouns"):
        compoundpiece.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
