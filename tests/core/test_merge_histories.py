"""Two tokens stand side by side exactly where merging their units from the beginning leaves them so."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.merge_histories import MergeHistories
from tokenloom.core.pair_merging import merge_pieces, pair_table


def merged(spelled, table):
    ids, _ = merge_pieces(np.array(spelled, np.int32), np.array([0, len(spelled)]), *table)
    return ids.tolist()


@settings(max_examples=60)
@given(st.data())
def test_tokens_that_stay_apart(data):
    """Merges in any order, also of tokens that are made later, and several that make the same token."""
    alphabet = data.draw(st.integers(1, 3))
    spelled = [(i,) for i in range(alphabet)]
    pairs = []
    for _ in range(data.draw(st.integers(0, 8))):
        left, right = (data.draw(st.integers(0, len(spelled) - 1)) for _ in range(2))
        if len(joined := spelled[left] + spelled[right]) <= 6:
            if joined not in spelled:
                spelled.append(joined)
            if (left, right) not in pairs:
                pairs.append((left, right))
    pairs = data.draw(st.permutations(pairs))
    results = [spelled.index(spelled[left] + spelled[right]) for left, right in pairs]
    table = pair_table(np.array(pairs, np.int32).reshape(-1, 2), np.array(results, np.int32))
    starts = np.cumsum([0, *map(len, spelled)])
    histories = MergeHistories(
        np.array(pairs, np.int32).reshape(-1, 2), np.array(results), np.concatenate(spelled), starts
    )
    for i, units in enumerate(spelled):
        assert histories.reached[i] == (merged(units, table) == [i])
        right = [merged(units + other, table) == [i, j] for j, other in enumerate(spelled)]
        assert histories.follows(i).tolist() == right, (spelled, pairs, i)


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=12),
    st.permutations([(0, 1), (3, 2), (1, 1), (0, 0), (6, 1), (4, 0)]),
)
def test_a_sequence_is_encoded_like_this_if_each_two_neighbours_are(units, order):
    spelled = [(0,), (1,), (2,)]
    made = {(0, 1): (0, 1), (3, 2): (0, 1, 2), (1, 1): (1, 1), (0, 0): (0, 0), (6, 1): (0, 0, 1), (4, 0): (0, 1, 2, 0)}
    spelled += [(0, 1), (0, 1, 2), (1, 1), (0, 0), (0, 0, 1), (0, 1, 2, 0)]
    results = np.array([spelled.index(made[pair]) for pair in order], np.int32)
    table = pair_table(np.array(order, np.int32), results)
    histories = MergeHistories(np.array(order), results, np.concatenate(spelled), np.cumsum([0, *map(len, spelled)]))
    ids = merged(units, table)
    assert all(histories.follows(a)[b] for a, b in pairwise(ids))


def test_ids_that_no_text_has_follow_nothing():
    histories = MergeHistories(np.array([[0, 0]]), np.array([2]), np.array([0, 0, 0]), np.array([0, 1, 1, 3]))
    assert histories.reached.tolist() == [True, False, True]
    assert histories.follows(1).tolist() == [False, False, False]
    assert histories.follows(2).tolist() == [True, False, True]
    assert histories.follows(0).tolist() == [False, False, False]
