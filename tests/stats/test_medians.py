"""The median with its interval covers as it says, also where some were never reached."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gnet_core.stats.medians import median


@pytest.mark.parametrize(
    ("count", "place", "coverage"),
    [(2, 1, 0.5), (3, 1, 0.75), (5, 1, 0.9375), (6, 1, 0.96875), (9, 2, 0.9609375), (20, 6, 0.9586105)],
)
def test_the_interval_is_between_two_values_of_known_coverage(count: int, place: int, coverage: float) -> None:
    values = [float(value) for value in range(1, count + 1)]
    found = median(values[::-1])
    assert found.value == (count + 1) / 2
    assert (found.low, found.high) == (place, count + 1 - place)
    assert found.coverage == pytest.approx(coverage)


def test_one_value_has_an_interval_that_covers_nothing() -> None:
    found = median([4.0])
    assert (found.value, found.coverage) == (4.0, 0.0)


def test_what_was_not_reached_is_endless_in_the_median_and_in_the_interval() -> None:
    assert median([3.0, math.inf, 2.0]).value == 3.0
    assert median([3.0, math.inf, 2.0]).high == math.inf
    assert median([3.0, math.inf, math.inf]).value == math.inf
    assert median([3.0, math.inf]).value == math.inf


@pytest.mark.parametrize("count", [3, 6, 11])
def test_the_interval_covers_the_median_as_often_as_it_says_whatever_the_distribution(count: int) -> None:
    random = np.random.default_rng(count)
    samples = random.exponential(size=(4000, count)) ** 3  # far from normal
    intervals = [median(sample) for sample in samples.tolist()]
    covered = np.mean([one.low <= math.log(2) ** 3 <= one.high for one in intervals])
    assert covered == pytest.approx(intervals[0].coverage, abs=3 * math.sqrt(0.25 / 4000))
