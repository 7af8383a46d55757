"""The bootstrap: draws add up, and intervals are those of the definition."""

import numpy as np
import pytest
from scipy import stats

from tokenloom.core.errors import InvalidInput
from tokenloom.measure.resampling import basic_interval, resample


def test_every_resample_has_as_many_units_and_the_seed_decides():
    drawn = resample(7, 50, np.random.default_rng(3))
    assert drawn.shape == (50, 7) and (drawn.sum(1) == 7).all()
    assert np.array_equal(drawn, resample(7, 50, np.random.default_rng(3)))


def test_the_basic_interval_is_that_of_scipy():
    sample = np.random.default_rng(0).gamma(2.0, size=60)
    drawn = resample(60, 4000, np.random.default_rng(1)) @ sample / 60
    right = stats.bootstrap(
        (sample,), np.mean, n_resamples=4000, method="basic", rng=np.random.default_rng(2)
    ).confidence_interval
    assert basic_interval(sample.mean(), drawn) == pytest.approx((right.low, right.high), abs=0.03)


def test_what_cannot_be_computed_is_left_out():
    assert basic_interval(1.0, np.array([np.nan, 1.0, np.nan])) == (1.0, 1.0)
    assert np.isnan(basic_interval(1.0, np.array([np.nan]))).all()


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: resample(0, 5, np.random.default_rng(0)), "units=0"),
        (lambda: resample(5, 0, np.random.default_rng(0)), "times=0"),
        (lambda: basic_interval(1.0, np.ones(3), 1.0), "confidence=1.0"),
    ],
)
def test_the_bootstrap_refuses(call, said):
    with pytest.raises(InvalidInput, match=said):
        call()
