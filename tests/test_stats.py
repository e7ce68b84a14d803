"""Intervals, spreads and percentiles against numbers worked out elsewhere."""

import math

import pytest

from gnet_core import stats


def test_the_interval_of_two_values_is_the_t_interval_of_their_logarithms():
    # By hand: logs 0 and 1, mean 0.5, standard error 0.5, t(0.975, 1 degree of freedom) = 12.7062.
    interval = stats.geometric_interval([1.0, math.e])
    assert interval is not None
    low, high = interval
    assert math.log(low) == pytest.approx(0.5 - 12.7062 * 0.5, rel=1e-4)
    assert math.log(high) == pytest.approx(0.5 + 12.7062 * 0.5, rel=1e-4)


def test_one_process_has_no_interval_and_one_block_no_spread():
    assert stats.geometric_interval([1.0]) is None
    assert stats.relative_spread([1.0]) is None


def test_equal_values_have_an_interval_of_no_width():
    assert stats.geometric_interval([2.0, 2.0, 2.0]) == pytest.approx((2.0, 2.0))


def test_the_relative_spread_is_standard_deviation_over_mean():
    assert stats.relative_spread([1.0, 3.0]) == pytest.approx(math.sqrt(2) / 2)


@pytest.mark.parametrize(("percent", "needed"), [(95, 100), (99, 1000)])
def test_a_percentile_is_left_out_below_the_samples_it_needs(percent, needed):
    assert stats.percentile([1.0] * (needed - 1), percent) is None
    assert stats.percentile([1.0] * needed, percent) == 1.0


def test_percentiles_interpolate_between_samples():
    values = [float(value) for value in range(101)]
    assert stats.percentile(values, 50) == pytest.approx(50)
    assert stats.percentile(values, 95) == pytest.approx(95)
    assert stats.percentile([7.0], 50) == 7.0
