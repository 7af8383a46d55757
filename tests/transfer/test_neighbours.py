"""The nearest rows are those of an obvious search in double precision, whatever the block, equals included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.transfer.neighbours import nearest, nearest_rows, normalised


def by_looking(queries, keys, k):
    """Every pair, summed in double precision from left to right; sorted by cosine and id."""
    queries, keys = normalised(queries).astype(float), normalised(keys).astype(float)
    found = []
    for query in queries:
        cosines = [sum(a * b for a, b in zip(query.tolist(), key.tolist())) for key in keys]
        found.append(sorted(range(len(keys)), key=lambda o: (-cosines[o], o))[:k])
    return found


@st.composite
def tables(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n, o, d = draw(st.integers(1, 9)), draw(st.integers(1, 40)), draw(st.integers(1, 20))
    keys = rng.normal(size=(o, d))
    # Equal rows, rows of zeros and rows of small whole numbers make ties.
    if draw(st.booleans()):
        keys = keys[rng.integers(0, max(1, o // 3), o)]
    if draw(st.booleans()):
        keys = np.round(keys)
    queries = np.concatenate([rng.normal(size=(n, d)), keys[: n // 2], np.zeros((n % 2, d))])
    return queries, keys, draw(st.integers(1, o)), draw(st.integers(1, 7))


@settings(max_examples=80)
@given(tables())
def test_the_nearest_are_those_that_looking_at_all_finds(case):
    queries, keys, k, block = case
    scores, ids = nearest(queries, keys, k, block=block)
    assert ids.tolist() == by_looking(queries, keys, k)
    assert scores.dtype == np.float32 and ids.dtype == np.int64
    assert (np.diff(scores, axis=1) <= 0).all()
    assert np.allclose(scores, np.take_along_axis(normalised(queries) @ normalised(keys).T, ids, 1), atol=1e-6)


@settings(max_examples=25)
@given(tables(), st.floats(0.01, 10))
def test_weights_are_the_softmax_over_the_neighbours(case, temperature):
    queries, keys, k, block = case
    weights = nearest_rows(queries, keys, k, temperature=temperature, block=block).toarray()
    cosines = normalised(queries).astype(float) @ normalised(keys).astype(float).T
    for n, kept in enumerate(by_looking(queries, keys, k)):
        right = np.zeros(len(keys))
        right[kept] = np.exp(cosines[n, kept] / temperature) / np.exp(cosines[n, kept] / temperature).sum()
        assert np.allclose(weights[n], right, atol=2e-5)
    assert np.allclose(weights.sum(1), 1, atol=1e-12)


def test_neither_block_nor_length_of_vectors_shows_in_the_result():
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(700, 33)).astype(np.float32)
    keys[350:] = keys[:350]  # each key twice
    queries = rng.normal(size=(60, 33)).astype(np.float32)
    first = nearest(queries, keys, 5)
    for block in (1, 7, 64):
        assert all(map(np.array_equal, first, nearest(queries, keys, 5, block=block)))
    lengths = np.tile(rng.uniform(0.1, 10, (350, 1)), (2, 1))
    scaled = nearest(queries * 1000, keys * lengths, 5)
    assert np.array_equal(first[1], scaled[1]) and np.allclose(first[0], scaled[0], atol=1e-6)
    assert (first[1][:, 0] < 350).all()  # of the two equal ones the lower


def test_extremes_of_temperature_and_number():
    rng = np.random.default_rng(1)
    queries, keys = rng.normal(size=(4, 6)), rng.normal(size=(9, 6))
    cold = nearest_rows(queries, keys, 9, temperature=1e-7).toarray()
    assert np.allclose(cold, nearest_rows(queries, keys, 1, temperature=1.0).toarray(), atol=1e-9)
    warm = nearest_rows(queries, keys, 9, temperature=1e9).toarray()
    assert np.allclose(warm, 1 / 9)


@pytest.mark.parametrize(
    "queries, keys, k, said",
    [
        (np.ones((1, 2)), np.ones((3, 2)), 0, "k=0, but there are 3 keys"),
        (np.ones((1, 2)), np.ones((3, 2)), 4, "k=4, but there are 3 keys"),
        (np.ones((1, 2)), np.ones((3, 3)), 1, "one width"),
        (np.ones((1, 0)), np.ones((3, 0)), 1, "width >= 1"),
        (np.ones(2), np.ones((3, 2)), 1, "one width"),
        (np.array([[0.0, np.nan]]), np.ones((3, 2)), 1, "row 0 of the queries is not finite"),
        (np.ones((1, 2)), np.array([[1.0, 1.0], [np.inf, 0.0]]), 1, "row 1 of the keys is not finite"),
    ],
)
def test_what_has_no_neighbours_is_refused(queries, keys, k, said):
    with pytest.raises(InvalidInput, match=said):
        nearest(queries, keys, k)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(InvalidInput, match="temperature="):
        nearest_rows(np.ones((1, 2)), np.ones((3, 2)), 1, temperature=temperature)


def test_a_block_holds_a_query_at_least():
    with pytest.raises(InvalidInput, match="block=0"):
        nearest(np.ones((1, 2)), np.ones((3, 2)), 1, block=0)


def test_rows_are_divided_by_their_length_and_a_hundred_millionth():
    assert normalised(np.array([[3.0, 4.0], [1e-8, 0.0], [0.0, 0.0]])) == pytest.approx(
        np.array([[0.6, 0.8], [0.5, 0.0], [0.0, 0.0]]), abs=1e-6
    )
