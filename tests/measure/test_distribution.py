"""Entropies against scipy and against values worked by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from tokenloom.core.errors import InvalidInput
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.measure.distribution import renyi_efficiency, renyi_entropy, text_ids, token_counts, token_entropy

COUNTS = st.lists(st.integers(0, 30), min_size=2, max_size=12).map(np.array)


@given(COUNTS)
def test_shannon_is_that_of_scipy(counts):
    assume(counts.sum())
    assert token_entropy(counts) == pytest.approx(stats.entropy(counts, base=2), abs=1e-9)


@given(COUNTS, st.floats(0.1, 6))
def test_renyi_is_the_definition(counts, order):
    assume(counts.sum() and abs(order - 1) > 1e-3)
    p = counts / counts.sum()
    right = np.log2(sum(x**order for x in p if x)) / (1 - order)
    assert renyi_entropy(counts, order) == pytest.approx(right, abs=1e-9)


@given(COUNTS)
def test_the_higher_the_order_the_lower_the_entropy(counts):
    assume(counts.sum())
    values = [renyi_entropy(counts, order) for order in (0, 0.5, 1, 2.5, 10, np.inf)]
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(values))


def test_even_use_is_fully_efficient_and_half_of_it_half_a_bit_of_two():
    assert renyi_efficiency(np.full(16, 3)) == pytest.approx(1.0)
    assert renyi_efficiency(np.array([1, 1, 0, 0])) == pytest.approx(0.5)
    assert renyi_efficiency(np.array([1, 1, 0, 0]), size=2) == pytest.approx(1.0)


def test_order_two_and_a_half_by_hand():
    # p = 3/4, 1/4: sum p^2.5 = 0.48714 + 0.03125 = 0.51839; log2 = -0.94789; / (1 - 2.5) = 0.63193
    assert renyi_efficiency(np.array([3, 1])) == pytest.approx(0.63193, abs=1e-4)


def test_special_and_unused_ids_cannot_stand_for_text():
    vocab = Vocabulary([b"a", b"", b"\x00"], special=[b"<end>"], kinds=[0, 3, 1])
    assert text_ids(vocab).tolist() == [True, False, True, False]
    assert token_counts(np.array([3, 0, 0]), vocab).tolist() == [2, 0, 0, 1]


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: token_entropy(np.array([0, 0])), "one token at least"),
        (lambda: token_entropy(np.array([-1, 3])), "not negative"),
        (lambda: renyi_entropy(np.array([1, 3]), -1), "order=-1"),
        (lambda: renyi_efficiency(np.array([1, 3]), size=1), "size=1"),
        (lambda: renyi_efficiency(np.array([1, 3, 4]), size=2), "3 ids that occur"),
        (lambda: token_counts(np.array([5]), Vocabulary([b"a"])), "id 5"),
    ],
)
def test_entropies_refuse(call, said):
    with pytest.raises(InvalidInput, match=said):
        call()
