"""The experiment runs from end to end on the embedded samples; what it finds at full size is in results/kl3m-tokenizers."""

import json

import numpy as np
import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import kl3m_tokenizers
from tokenloom.evidence.kl3m_tokenizers.texts import Texts, legal_texts
from tokenloom.evidence.kl3m_tokenizers.trials import TERMS


def test_no_held_out_paragraph_repeats_what_is_trained_on():
    texts = legal_texts(None)
    assert set(texts.train) == set(texts.held_out) == {"legal", "general"}
    for kind, held in texts.held_out.items():
        words = " ".join("\n\n".join(texts.train[kind]).lower().split())
        assert len(held) > 20
        assert not [paragraph for paragraph in held if " ".join(paragraph.lower().split()) in words]


def test_documents_are_drawn_until_there_are_enough_characters_each_once():
    texts = Texts({"legal": ["a" * n for n in range(1, 20)]}, {})
    drawn = texts.drawn("legal", 50, np.random.default_rng(0))
    sizes = [len(text) for text in drawn]
    assert len(set(sizes)) == len(sizes)
    assert sum(sizes[:-1]) < 50 <= sum(sizes)
    assert drawn == texts.drawn("legal", 50, np.random.default_rng(0))


def test_there_are_twenty_different_terms():
    terms = [term for names in TERMS.values() for term in names.split(",")]
    assert len(set(terms)) == 20


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "--archives FOLDER"), ({"quick": True, "seeds": 0}, "seeds=0"), ({"quick": True, "workers": 0}, "workers=0")],
)
def test_bad_settings_are_refused_before_anything_is_written(options, words, tmp_path):
    with pytest.raises(InvalidInput, match=words):
        kl3m_tokenizers.run(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_missing_archives_are_named(tmp_path):
    with pytest.raises(CorpusError, match="pip download --no-deps scancode-toolkit"):
        legal_texts(tmp_path)


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_two_pictures(tmp_path):
    kl3m_tokenizers.run(tmp_path, seeds=2, workers=1, quick=True)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert {figure["name"] for figure in result["figures"]} >= {
        "legal, held out",
        "ten legal terms",
        "cuts in the same places",
    }
    assert all(len(cell["values"]) == 2 for figure in result["figures"] for cell in figure["ours"].values())
    for picture in result["pictures"]:
        assert (tmp_path / picture["file"]).read_bytes().startswith(b"\x89PNG")
