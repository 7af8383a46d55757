"""Questions are asked as they are learnt, joined by one space, and words held out stay unseen."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.data import sample
from tokenloom.measure.cute import Cute
from tokenloom.measure.langgame import LangGame
from tokenloom.measure.questions import Question, ask, check_words, examples, hold_out, pick

WORDS = sample("common-words").split()


def codes(text):
    """One id for each byte."""
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


# Words held out


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 99))
def test_held_out_words_and_the_others_are_all_words_once(count, share, seed):
    words = WORDS[:count]
    if not 0 < round(share * count) < count:
        with pytest.raises(InvalidInput, match="leaves one part empty"):
            hold_out(words, share, rng=np.random.default_rng(seed))
        return
    kept, held = hold_out(words, share, rng=np.random.default_rng(seed))
    assert not {*kept} & {*held} and {*kept} | {*held} == {*words}
    assert len(held) == round(share * count)
    assert kept == [w for w in words if w in kept] and held == [w for w in words if w in held]
    assert (kept, held) == hold_out(words, share, rng=np.random.default_rng(seed))


def test_each_word_is_held_out_equally_often():
    rng = np.random.default_rng(0)
    times = sum(np.isin(WORDS[:10], hold_out(WORDS[:10], 0.3, rng=rng)[1]).astype(int) for _ in range(2_000))
    assert abs(times - 600).max() < 4 * (2_000 * 0.3 * 0.7) ** 0.5


def shown(question):
    """The words that a question asks about or offers; made-up options are none."""
    quoted = {part.replace(" ", "") for part in re.findall(r'"([\w ]+)"', question.text)}
    whole = "[" in question.text or question.kind in ("inverse spelling", "orthographic")
    return {word for word in quoted if len(word) > 1} | (set(question.options) if whole else set())


@pytest.mark.parametrize("benchmark", [LangGame, Cute])
def test_words_of_the_evaluation_are_never_shown_in_fine_tuning(benchmark):
    kept, held = hold_out(WORDS, 0.3, rng=np.random.default_rng(0))
    learnt = set().union(*map(shown, benchmark(kept)(2_000, rng=np.random.default_rng(1))))
    asked = set().union(*map(shown, benchmark(held)(2_000, rng=np.random.default_rng(2))))
    assert learnt <= {*kept} and asked <= {*held}
    assert len(learnt) > 500 and len(asked) > 200


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan"), 0.001])
def test_a_share_that_leaves_a_part_empty_is_refused(share):
    with pytest.raises(InvalidInput, match="of 10 words leaves one part empty"):
        hold_out(WORDS[:10], share, rng=np.random.default_rng(0))


# Questions


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"options": ("a",)}, "need at least 2, all different"),
        ({"options": ("a", "b", "a")}, "need at least 2, all different"),
        ({"answer": 2}, "answer=2; it must be in 0 … 1"),
        ({"answer": -1}, "answer=-1"),
        ({"text": "Which? Answer: "}, "the one space"),
        ({"text": ""}, "none may be empty"),
        ({"options": (" a", "b")}, "the one space"),
        ({"options": ("", "b")}, "none may be empty"),
    ],
)
def test_a_question_is_refused(changes, words):
    with pytest.raises(InvalidInput, match=words):
        Question(**{"text": "Which? Answer:", "options": ("a", "b"), "answer": 0, "kind": "any"} | changes)


def test_examples_are_question_and_answer_with_one_space_between():
    (example,) = examples([Question("Which? Answer:", ("no", "yes"), 1, "any")], codes)
    assert [bytes(part.astype(np.uint8)) for part in example] == [b"Which? Answer:", b" yes"]


def test_words_are_checked():
    check_words(["a", "word"])
    with pytest.raises(InvalidInput, match="word 1 is 'two words'"):
        check_words(["one", "two words"])


def test_picking_is_uniform():
    rng = np.random.default_rng(0)
    counts = np.unique([pick("abc", rng) for _ in range(3_000)], return_counts=True)[1]
    assert abs(counts - 1_000).max() < 4 * (3_000 * 2 / 9) ** 0.5


# Asking

torch = pytest.importorskip("torch", reason="needs the package 'torch'")

from tokenloom.models.batches import packs  # noqa: E402
from tokenloom.models.training import train  # noqa: E402
from tokenloom.models.transformer import Transformer  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(seed=0):
    model = Transformer(
        vocab_size=128, width=16, layers=2, heads=2, context=160, generator=torch.Generator().manual_seed(seed)
    )
    with torch.no_grad():  # fresh weights hardly prefer one option; ten times as large, the choices vary
        for weight in model.parameters():
            weight *= 10 if weight.dim() == 2 else 1
    return model


@pytest.mark.parametrize("benchmark", [LangGame, Cute])
@pytest.mark.parametrize("batch", [3, 64])
def test_asking_equals_a_forward_pass_for_each_option(benchmark, batch):
    model, questions = small(), benchmark(WORDS)(24, rng=np.random.default_rng(0))
    answers = ask(model, questions, codes, batch=batch)
    gains = []
    for question, choice in zip(questions, answers.choices):
        scores = []
        for option in question.options:
            ids = torch.from_numpy(codes(f"{question.text} {option}").astype(np.int64))  # whole, with its one space
            with torch.no_grad():
                logits = model.eval()(ids[None])[0].log_softmax(-1)
            scores.append(sum(logits[i - 1, ids[i]].item() for i in range(len(question.text), len(ids))))
        assert scores[choice] == pytest.approx(max(scores), abs=1e-4), question
        k = len(question.options)
        gains.append((k * (choice == question.answer) - 1) / (k - 1))
    assert len(set(answers.choices.tolist())) > 1
    assert answers.correct.tolist() == [c == q.answer for q, c in zip(questions, answers.choices)]
    assert answers.accuracy == answers.correct.mean()
    assert answers.normalised == pytest.approx(np.mean(gains))
    for kind, result in answers.by_kind.items():
        of_kind = [i for i, q in enumerate(questions) if q.kind == kind]
        assert result.choices.tolist() == answers.choices[of_kind].tolist()
        assert result.accuracy == answers.correct[of_kind].mean()


def test_a_model_that_learnt_the_examples_answers_them():
    words = ["zz", "a", "o", "be"]
    questions = LangGame(words, options=2, kinds=["most"])(6, rng=np.random.default_rng(0))
    model = Transformer(vocab_size=128, width=32, layers=2, heads=2, context=160)
    batches = packs(examples(questions, codes), length=160, batch=4, pad_id=0, rng=np.random.default_rng(0))
    train(model, batches, steps=40, warmup=5, lr=1e-2)
    assert ask(model, questions, codes).normalised == 1.0


def test_no_question_is_refused():
    with pytest.raises(InvalidInput, match="no question to ask"):
        ask(small(), [], codes)


def test_questions_of_one_kind_with_different_numbers_of_options_are_refused():
    mixed = [Question("Q:", ("a", "b"), 0, "any"), Question("Q:", ("a", "b", "c"), 0, "any")]
    with pytest.raises(InvalidInput, match="3 options, the first 2"):
        ask(small(), mixed, codes)
