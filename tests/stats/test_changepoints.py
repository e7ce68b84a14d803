"""Change points: right as often as they say by simulation from fixed seeds, and what they do with single series."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnet_core.stats import ratio
from gnet_core.stats.changepoints import MIN_RUNS, MIN_SEGMENT, log_standard_error, segmented
from tests.histories import DISTURBED, USUAL, RunNoise, false_changes, found

UNCHANGED = (12, 40), (20, 100), (60, 30), (100, 20), (1000, 3)
"""Runs of a series, and number of series: 9,280 runs in all."""


@pytest.mark.parametrize("noise", [USUAL, *DISTURBED.values()], ids=["usual", *DISTURBED])
def test_at_most_one_run_in_a_thousand_of_unchanged_series_has_a_change(noise):
    false = sum(false_changes(noise, runs, series) for runs, series in UNCHANGED)
    assert false <= 9


@pytest.mark.parametrize("step", [-0.03, 0.03])
def test_a_step_of_three_percent_at_one_percent_noise_is_found_within_one_run_of_its_place(step):
    assert found(USUAL, 60, step, series=100) >= 0.95


@pytest.mark.parametrize("runs", [30, 100, 300])
def test_so_it_is_in_shorter_and_longer_series(runs):
    assert found(USUAL, runs, -0.03, series=100, seed=1) >= 0.9


def test_a_slowdown_of_ten_percent_is_found_three_runs_later():
    assert found(USUAL, 30, -0.1, series=100, beside=3) >= 0.95


def scattered(levels, scatter=0.01, seed=0):
    """A speed for each level, with noise that is alike each time."""
    noise = scatter * np.random.default_rng(seed).standard_normal(len(levels))
    return (np.asarray(levels, float) * np.exp(noise)).tolist()


def changes_of(speeds, errors=None):
    return segmented(speeds, errors or [None] * len(speeds)).changes


def test_a_change_tells_the_first_run_after_it_and_its_ratio_with_an_interval():
    (change,) = changes_of(scattered([100] * 20 + [90] * 15))
    assert change.index == 20
    assert change.low < 0.9 < change.high
    assert change.high - change.low < 0.03
    assert change.ratio == pytest.approx(0.9, abs=0.01)
    assert change.p_value < 1e-9


def test_segments_have_the_levels_between_the_changes():
    result = segmented(scattered([100] * 20 + [90] * 15 + [110] * 12), [None] * 47)
    assert [(segment.start, segment.end) for segment in result.segments] == [(0, 20), (20, 35), (35, 47)]
    assert [segment.level for segment in result.segments] == pytest.approx([100, 90, 110], rel=0.01)
    for change, before, after in zip(result.changes, result.segments, result.segments[1:], strict=False):
        assert change.index == after.start
        assert change.ratio == pytest.approx(after.level / before.level)


def test_a_slowdown_that_was_undone_in_the_middle_of_a_long_series_is_found():
    # Binary segmentation alone misses it: no single place explains much of it.
    slower = changes_of(scattered([100] * 40 + [95] * 8 + [100] * 40))
    assert [change.index for change in slower] == [40, 48]
    assert slower[0].ratio < 1 < slower[1].ratio


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    hits, trials = 0, 200
    for seed in range(trials):
        (change, *_) = changes_of(scattered([100] * 30 + [90] * 30, seed=seed))
        hits += change.low <= 0.9 <= change.high
    assert hits / trials >= 0.9


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("level", [20, 500])
def test_one_or_two_runs_that_stand_out_are_no_change(length, level):
    assert changes_of(scattered([100] * 15 + [level] * length + [100] * 15)) == ()


def test_an_outlier_does_not_hide_a_change():
    (change,) = changes_of(scattered([100] * 10 + [20] + [100] * 10 + [90] * 12))
    assert change.index == 21


def test_a_short_series_has_no_changes_whatever_it_shows():
    speeds = [100.0] * (MIN_RUNS // 2) + [10.0] * (MIN_RUNS // 2 - 1)
    result = segmented(speeds, [None] * len(speeds))
    assert result.changes == ()
    assert len(result.segments) == 1
    assert changes_of([*speeds, 10.0]) != ()


def test_the_unit_of_the_speeds_does_not_matter():
    speeds = scattered([100] * 20 + [96] * 20)
    (change,) = changes_of(speeds)
    (other,) = changes_of([1000 * speed for speed in speeds])
    assert (other.index, other.ratio) == (change.index, pytest.approx(change.ratio))


def test_a_run_with_a_wide_interval_weighs_less():
    speeds = scattered([100] * 30)
    speeds[-4:] = [94, 94.5, 93.5, 94]
    narrow: list[float | None] = [0.01] * 30
    wide: list[float | None] = [*narrow[:-4], 0.2, 0.2, 0.2, 0.2]
    (change,) = changes_of(speeds, narrow)
    assert change.index == 26
    assert changes_of(speeds, wide) == ()


def test_an_interval_that_is_narrow_by_luck_makes_no_run_count_more():
    speeds = scattered([100] * 30)
    errors: list[float | None] = [0.01] * 30
    lucky = [*errors[:10], 1e-9, *errors[11:]]
    assert segmented(speeds, lucky).segments[0].level == pytest.approx(segmented(speeds, errors).segments[0].level)


def test_figures_that_repeat_exactly_have_no_change_until_they_differ():
    assert changes_of([100.0] * 20) == ()
    (change,) = changes_of([100.0] * 20 + [99.0] * 5)
    assert change.index == 20


def test_the_standard_error_is_that_of_the_interval_of_processes():
    seconds = [1.0, 1.02, 0.99, 1.05]
    interval = ratio.geometric_interval(seconds)
    assert interval is not None
    logs = np.log(seconds)
    assert log_standard_error(*interval, 4) == pytest.approx(logs.std(ddof=1) / math.sqrt(4))
    assert log_standard_error(1.0, 2.0, 1) is None


@given(
    st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=60),
    st.lists(st.one_of(st.none(), st.floats(0, 50)), min_size=60, max_size=60),
)
def test_any_speeds_are_parted_into_segments_and_nothing_is_endless(speeds, errors):
    result = segmented(speeds, errors[: len(speeds)])
    assert [segment.start for segment in result.segments[1:]] == [change.index for change in result.changes]
    assert [segment.end for segment in result.segments[:-1]] == [change.index for change in result.changes]
    assert (result.segments[0].start, result.segments[-1].end) == (0, len(speeds))
    if len(result.segments) > 1:
        assert min(segment.end - segment.start for segment in result.segments) >= MIN_SEGMENT
    for change in result.changes:
        assert 0 < change.low <= change.ratio <= change.high < math.inf
    assert all(0 < segment.level < math.inf for segment in result.segments)


def test_noise_that_lasts_is_outside_of_the_promise():
    # Runs that resemble their neighbours look like steps: the README says so.
    assert false_changes(RunNoise(memory=0.9), 100, 20) > 2
