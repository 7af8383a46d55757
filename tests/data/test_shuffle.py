import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.data.shuffle import shuffled


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_every_index_is_met_exactly_once(size, key):
    assert np.array_equal(np.sort(shuffled(np.arange(size), size, key)), np.arange(size))


@given(st.integers(1, 2**62), st.integers(0, 2**64 - 1), st.data())
def test_indices_can_be_asked_alone_and_stay_in_range_at_any_size(size, key, data):
    index = np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=5, unique=True)), np.int64)
    together = shuffled(index, size, key)
    assert together.tolist() == [int(shuffled(index[i : i + 1], size, key)[0]) for i in range(index.size)]
    assert len(set(together.tolist())) == index.size
    assert all(0 <= place < size for place in together.tolist())


def test_all_orders_of_four_items_come_equally_often():
    # 24 orders, 4,800 keys: 200 each, and a standard deviation of 14.
    orders = [tuple(shuffled(np.arange(4), 4, key).tolist()) for key in range(4800)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 24
    assert min(counts) > 130 and max(counts) < 270


def test_neighbours_do_not_stay_together():
    places = shuffled(np.arange(100_000), 100_000, 7)
    assert abs(np.corrcoef(np.arange(100_000), places)[0, 1]) < 0.02
    assert (np.abs(np.diff(places)) == 1).sum() < 20


@pytest.mark.parametrize(
    ("index", "size", "words"), [([0], 0, "size=0"), ([5], 5, "0 … 4"), ([-1], 5, "-1"), ([0], 2**62 + 1, "2\\^62")]
)
def test_shuffled_refuses(index, size, words):
    with pytest.raises(InvalidInput, match=words):
        shuffled(np.array(index), size, 0)
