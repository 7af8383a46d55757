"""Correlations against scipy and against known published rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from tokenloom.core.errors import InvalidInput
from tokenloom.measure.correlations import correlation

NUMBERS = st.integers(-50, 50).map(float)


@given(arrays(float, (12, 2), elements=NUMBERS))
def test_r_and_interval_are_those_of_scipy(table):
    x, y = table.T
    found = correlation(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(found.r)
        return
    right = stats.pearsonr(x, y)
    assert found.r == pytest.approx(right.statistic, abs=1e-9)
    if abs(found.r) < 1 - 1e-9:
        assert (found.low, found.high) == pytest.approx(tuple(right.confidence_interval()), abs=1e-6)


@given(arrays(float, (30, 3), elements=NUMBERS))
def test_one_quantity_held_fixed_is_the_formula_of_three_correlations(table):
    x, y, z = table.T
    xy, xz, yz = correlation(x, y).r, correlation(x, z).r, correlation(y, z).r
    # r_xy.z = (r_xy - r_xz r_yz) / sqrt((1 - r_xz²)(1 - r_yz²))
    below = np.sqrt(max(0.0, (1 - xz**2) * (1 - yz**2)))
    if not below > 1e-6:
        return
    assert correlation(x, y, given_NK=z[:, None]).r == pytest.approx((xy - xz * yz) / below, abs=1e-6)


def test_what_the_fixed_quantity_explains_wholly_has_no_correlation():
    x = np.arange(8.0)
    assert np.isnan(correlation(x, x % 3, given_NK=x[:, None]).r)


def test_three_cases_have_no_interval():
    found = correlation([1, 2, 3], [1, 3, 2])
    assert found.r == pytest.approx(0.5) and np.isnan(found.low)


@pytest.mark.parametrize(
    "x, y, settings, said",
    [
        ([1.0], [1.0], {}, "at least 2"),
        ([1.0, 2.0], [1.0], {}, "2 and 1 numbers"),
        ([1.0, np.nan], [1.0, 2.0], {}, "finite"),
        ([1.0, 2.0], [1.0, 2.0], {"confidence": 1.0}, "confidence=1.0"),
        ([[1.0]], [1.0], {}, "two lists"),
    ],
)
def test_a_correlation_refuses(x, y, settings, said):
    with pytest.raises(InvalidInput, match=said):
        correlation(x, y, **settings)


def test_each_quantity_held_fixed_costs_a_case():
    x, y, z, w = np.random.default_rng(0).normal(size=(4, 12))
    found = correlation(x, y, given_NK=np.column_stack([z, w]))
    # Fisher: the width in artanh r is 2 * 1.959964 / sqrt(12 - 2 - 3).
    width = np.arctanh(found.high) - np.arctanh(found.low)
    assert width == pytest.approx(2 * 1.959964 / np.sqrt(7), abs=1e-5)
