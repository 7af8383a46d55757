from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.measure.representation import (
    hidden_at_last,
    layer_distances,
    linear_probe,
    number_probe,
    pca,
    representation_distance,
)

torch = pytest.importorskip("torch", reason="needs the package 'torch'")

from tokenloom.models.transformer import Transformer  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small():
    return Transformer(vocab_size=13, width=16, layers=2, heads=2, context=16)


# Distances


def by_definition(words):
    words = [[x / np.sqrt(x @ x) for x in word] for word in words]
    within = np.mean([np.mean([np.linalg.norm(a - b) for a, b in combinations(word, 2)]) for word in words])
    between = np.mean([np.mean([np.linalg.norm(a - b) for a, b in product(v, w)]) for v, w in combinations(words, 2)])
    return within / between


@given(st.lists(st.integers(2, 5), min_size=2, max_size=6), st.integers(2, 5), st.integers(0, 99))
def test_the_distance_is_its_definition(counts, width, seed):
    rng = np.random.default_rng(seed)
    words = [rng.normal(size=(count, width)) for count in counts]
    assert representation_distance(words) == pytest.approx(by_definition(words), rel=1e-6)


def test_the_distance_is_zero_where_words_are_points_and_one_where_words_mean_nothing():
    points = [np.tile(x, (3, 1)) for x in np.eye(4)]
    assert representation_distance(points) == pytest.approx(0.0, abs=1e-7)
    noise = np.random.default_rng(0).normal(size=(200, 5, 64))
    assert representation_distance(list(noise)) == pytest.approx(1.0, abs=0.01)


def test_the_distance_knows_directions_only():
    rng = np.random.default_rng(0)
    words = [rng.normal(size=(3, 4)) for _ in range(4)]
    scaled = [word * rng.uniform(0.1, 10, (3, 1)) for word in words]
    assert representation_distance(scaled) == pytest.approx(representation_distance(words))


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_hidden_states_are_those_of_each_sequence_alone(batch):
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 13, n) for n in (3, 1, 7, 2, 7, 5)]
    model = small()
    hidden = hidden_at_last(model, sequences, batch=batch)
    assert hidden.shape == (3, 6, 16) and hidden.dtype == np.float32
    for i, sequence in enumerate(sequences):
        with torch.no_grad():
            expected = model.run(torch.from_numpy(sequence)[None]).hidden
        for layer in range(3):
            assert np.allclose(hidden[layer, i], expected[layer][0, -1].numpy(), atol=1e-6)


def test_hidden_states_of_a_hugging_face_model():
    transformers = pytest.importorskip("transformers", reason="needs the package 'transformers'")
    config = transformers.GPT2Config(
        vocab_size=13, n_embd=16, n_layer=2, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    hidden = hidden_at_last(model, [[1, 2, 3], [4]])
    with torch.no_grad():
        expected = model(torch.tensor([[1, 2, 3]]), output_hidden_states=True).hidden_states
    assert hidden.shape == (3, 2, 16)
    assert np.allclose(hidden[:, 0], torch.stack(expected)[:, 0, -1].numpy(), atol=1e-6)


def test_layer_distances_are_distances_of_the_hidden_states_of_each_layer():
    words = [[[1, 2], [3]], [[4], [5, 6], [7, 8, 9]], [[10, 11], [12]]]
    model = small()
    result = layer_distances(model, words)
    hidden = [hidden_at_last(model, word) for word in words]
    assert result.shape == (3,)
    for layer in range(3):
        assert result[layer] == pytest.approx(by_definition([h[layer].astype(np.float64) for h in hidden]), rel=1e-5)


@pytest.mark.parametrize(
    "words, message",
    [
        ([np.ones((2, 3))], "1 words"),
        ([np.ones((2, 3)), np.ones((1, 3))], r"word 1 has vectors of shape \(1, 3\)"),
        ([np.ones((2, 3)), np.ones((2, 4))], r"word 1 has vectors of shape \(2, 4\)"),
        ([np.ones((2, 3)), np.zeros((2, 3))], "zero or not finite"),
        ([np.ones((2, 3)), np.full((2, 3), np.nan)], "zero or not finite"),
        ([np.ones((2, 3)), 2 * np.ones((2, 3))], "all words lie in one direction"),
    ],
    ids=str,
)
def test_the_distance_refuses(words, message):
    with pytest.raises(InvalidInput, match=message):
        representation_distance(words)


@pytest.mark.parametrize("sequences, words", [([], "no sequence"), ([[1], []], "sequence 1 is empty")])
def test_hidden_at_last_refuses(sequences, words):
    with pytest.raises(InvalidInput, match=words):
        hidden_at_last(small(), sequences)


# Probes


def data(seed, n):
    """Two labels that a plane divides, a third that is noise, and a number linear in the features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(3, [1, 5, 0.1, 1], (n, 4))
    labels = np.stack([x[:, 0] > 3, x[:, 1] - 50 * x[:, 2] > -147, rng.random(n) < 0.2], 1)
    return x, labels, 2 * x[:, 0] - x[:, 3] + 1


def test_a_probe_reads_what_is_there_and_nothing_where_there_is_nothing():
    (x, labels, _), (u, asked, _) = data(0, 2000), data(1, 2000)
    there = linear_probe(x, labels[:, :2], u, asked[:, :2])
    assert there.accuracy > 0.95 and there.auc > 0.99 and there.majority < 0.6
    noise = linear_probe(x, labels[:, 2:], u, asked[:, 2:])
    assert noise.accuracy == noise.majority == pytest.approx(0.8, abs=0.03)
    assert noise.auc == pytest.approx(0.5, abs=0.04)


def test_the_probe_is_its_definition():
    (x, labels, numbers), (u, asked, wanted) = data(0, 60), data(1, 40)
    mean, deviation = x.mean(0), x.std(0)
    z, target = (x - mean) / deviation, np.where(labels, 1.0, -1.0)

    # Ridge regression as least squares with extra rows: sqrt(ridge N) on the diagonal, targets 0.
    def solve(y):
        rows = np.concatenate([z, np.sqrt(0.3 * 60) * np.eye(4)])
        weights = np.linalg.lstsq(rows, np.concatenate([y - y.mean(0), np.zeros((4, *y.shape[1:]))]), rcond=None)[0]
        return (u - mean) / deviation @ weights + y.mean(0)

    scores = solve(target)
    result = linear_probe(x, labels, u, asked, ridge=0.3)
    assert result.accuracy == pytest.approx(((scores > 0) == asked).mean())
    wins = [
        np.mean([(a > b) + (a == b) / 2 for a in score[label] for b in score[~label]])
        for score, label in zip(scores.T, asked.T)
    ]
    assert result.auc == pytest.approx(np.mean(wins))
    number = number_probe(x, numbers, u, wanted, ridge=0.3)
    assert number.r2 == pytest.approx(1 - ((solve(numbers) - wanted) ** 2).mean() / wanted.var())
    assert number.baseline == pytest.approx(1 - ((numbers.mean() - wanted) ** 2).mean() / wanted.var())
    assert number.baseline <= 0


def test_equal_scores_are_chance():
    x, y = np.zeros((4, 2)), np.array([[True], [False], [True], [False]])
    assert linear_probe(x, y, x, y).auc == 0.5


def test_a_number_that_is_linear_is_read_exactly():
    (x, _, numbers), (u, _, wanted) = data(0, 500), data(1, 500)
    assert number_probe(x, numbers, u, wanted, ridge=1e-9).r2 == pytest.approx(1.0)


X, Y = np.arange(6.0).reshape(3, 2), np.array([[True], [False], [True]])


@pytest.mark.parametrize(
    "train_x, train_y, test_x, test_y, ridge, words",
    [
        (X, Y.astype(int), X, Y, 0.1, "labels are int64 and bool"),
        (X, Y[:, 0], X, Y, 0.1, r"train_y has shape \(3,\)"),
        (X[:2], Y, X, Y, 0.1, r"train_x has shape \(2, 2\) and train_y 3 rows"),
        (X, Y, X[:, :1], Y, 0.1, r"training has \(2,\) features"),
        (X, Y, X * np.nan, Y, 0.1, "test_x or test_y is not finite"),
        (X, Y, X, Y, 0.0, "ridge=0.0"),
        (X, Y, X, np.ones_like(Y), 0.1, "no label has both"),
    ],
    ids=str,
)
def test_linear_probe_refuses(train_x, train_y, test_x, test_y, ridge, words):
    with pytest.raises(InvalidInput, match=words):
        linear_probe(train_x, train_y, test_x, test_y, ridge=ridge)


@pytest.mark.parametrize("y, words", [(Y, r"train_y has shape \(3, 1\)"), (np.ones(3), r"all test numbers are 1\.0")])
def test_number_probe_refuses(y, words):
    with pytest.raises(InvalidInput, match=words):
        number_probe(X, y, X, y)


# Plane


def test_pca_is_the_eigenvectors_of_the_correlation_matrix():
    x = np.random.default_rng(0).normal(size=(50, 6)) @ np.random.default_rng(1).normal(size=(6, 6))
    plane = pca(x, dims=3)
    values, vectors = np.linalg.eigh(np.corrcoef(x.T))
    z = (x - x.mean(0)) / x.std(0)
    assert plane.var(0) == pytest.approx(values[::-1][:3])
    for i in range(3):
        expected = z @ vectors[:, -1 - i]
        assert np.allclose(plane[:, i], expected) or np.allclose(plane[:, i], -expected)


def test_pca_ignores_a_constant_feature_and_the_scale_of_the_others():
    x = np.random.default_rng(0).normal(size=(30, 4))
    constant = np.concatenate([x * [1, 10, 100, 1000], np.full((30, 1), 0.1)], 1)
    assert np.allclose(pca(constant), pca(x))


@pytest.mark.parametrize(
    "x, dims, words",
    [
        (np.ones(3), 1, r"shape \(3,\)"),
        (np.full((2, 2), np.inf), 1, "finite"),
        (np.ones((2, 3)), 3, "dims=3; it must be in 1 … 2"),
        (np.ones((2, 3)), 0, "dims=0"),
    ],
    ids=str,
)
def test_pca_refuses(x, dims, words):
    with pytest.raises(InvalidInput, match=words):
        pca(x, dims=dims)
