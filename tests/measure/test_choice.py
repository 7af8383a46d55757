import math

import numpy as np
import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.measure.choice import choose, normalised_accuracy, score_options

torch = pytest.importorskip("torch", reason="needs the package 'torch'")

from tokenloom.models.batches import pack  # noqa: E402
from tokenloom.models.training import train  # noqa: E402
from tokenloom.models.transformer import Transformer  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small():
    return Transformer(vocab_size=13, width=16, layers=2, heads=2, context=16)


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_scores_equal_a_forward_pass_for_each_option(batch):
    rng = np.random.default_rng(0)
    questions = [rng.integers(0, 13, n) for n in (1, 5, 9)]
    options = [[rng.integers(0, 13, n) for n in rng.integers(1, 5, 4)] for _ in questions]
    model = small()
    scores = score_options(model, questions, options, batch=batch)
    assert scores.shape == (3, 4) and scores.dtype == np.float64
    for i, question in enumerate(questions):
        for j, option in enumerate(options[i]):
            ids = [*question, *option]
            expected = 0.0
            for at in range(len(question), len(ids)):
                with torch.no_grad():
                    expected += model(torch.tensor([ids[:at]]))[0, -1].log_softmax(-1)[ids[at]].item()
            assert scores[i, j] == pytest.approx(expected, abs=1e-5), (i, j)


def test_a_model_that_was_taught_the_answers_is_right():
    questions = [[1, 2], [3, 4, 5], [6]]
    options = [[[7], [8, 9], [10]], [[8, 9], [7], [10]], [[10], [11, 12], [7]]]
    answers = [1, 0, 1]
    taught = pack([(q, o[a]) for q, o, a in zip(questions, options, answers)], length=8, pad_id=0)
    model = small()
    train(model, [taught] * 60, steps=60, warmup=5, lr=1e-2)
    result = choose(score_options(model, questions, options), answers)
    assert result.choices.tolist() == answers
    assert (result.accuracy, result.normalised, result.stderr) == (1.0, 1.0, 0.0)


def test_choosing_at_random_is_zero_on_the_normalised_scale():
    rng = np.random.default_rng(0)
    result = choose(rng.normal(size=(20_000, 4)), rng.integers(0, 4, 20_000))
    assert result.stderr == pytest.approx(math.sqrt(0.25 * 0.75 / 20_000), rel=0.05)
    assert abs(result.normalised) < 4 * result.stderr * 4 / 3
    assert result.accuracy == result.correct.mean()


def test_never_right_is_below_chance():
    assert normalised_accuracy(0.0, 4) == pytest.approx(-1 / 3)


@pytest.mark.parametrize(
    "questions, options, words",
    [
        ([], [], "0 questions"),
        ([[1]], [], "1 questions with 0"),
        ([[1], [1]], [[[1], [2]], [[1]]], "question 1 has 1 options, the first 2"),
        ([[1]], [[[1]]], "question 0 has 1 options"),
        ([[]], [[[1], [2]]], "question 0: the question or one of its options is empty"),
        ([[1]], [[[1], []]], "question 0: the question or one of its options is empty"),
        ([[1]], [[[1], [-1]]], "sequence 1 holds id -1, but the model knows 0 … 12"),
        ([[13]], [[[1], [2]]], "sequence 0 holds id 13"),
        ([[1] * 16], [[[1], [2]]], "17 positions, but the context holds 16"),
    ],
)
def test_score_options_refuses(questions, options, words):
    with pytest.raises(InvalidInput, match=words):
        score_options(small(), questions, options)


@pytest.mark.parametrize(
    "scores, answers, words",
    [
        ([[0.0, 1.0]], [2], r"answers must be in 0 … 1"),
        ([[0.0, 1.0]], [0, 1], r"\(1, 2\) and answers of \(2,\)"),
        ([0.0, 1.0], [0], r"need \(N, k\)"),
        ([[0.0, math.nan]], [0], "question 0 are not all numbers"),
        ([[0.0]], [0], "options=1"),
    ],
)
def test_choose_refuses(scores, answers, words):
    with pytest.raises(InvalidInput, match=words):
        choose(np.array(scores), answers)


@pytest.mark.parametrize("accuracy, options, words", [(0.5, 1, "options=1"), (1.5, 4, "accuracy=1.5")])
def test_normalised_accuracy_refuses(accuracy, options, words):
    with pytest.raises(InvalidInput, match=words):
        normalised_accuracy(accuracy, options)
