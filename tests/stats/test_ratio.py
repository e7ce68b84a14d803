"""Intervals, spreads and percentiles against numbers worked out elsewhere."""

import math

import numpy as np
import pytest
from scipy import stats as distributions

from gnet_core.stats import ratio as stats


def test_the_interval_of_two_values_is_the_t_interval_of_their_logarithms():
    # By hand: logs 0 and 1, mean 0.5, standard error 0.5, t(0.975, 1 degree of freedom) = 12.7062.
    interval = stats.geometric_interval([1.0, math.e])
    assert interval is not None
    low, high = interval
    assert math.log(low) == pytest.approx(0.5 - 12.7062 * 0.5, rel=1e-4)
    assert math.log(high) == pytest.approx(0.5 + 12.7062 * 0.5, rel=1e-4)


def test_an_interval_of_another_confidence_is_wider():
    # t(0.995, 1 degree of freedom) = 63.6567.
    interval = stats.geometric_interval([1.0, math.e], confidence=0.99)
    assert interval is not None
    assert math.log(interval[1]) == pytest.approx(0.5 + 63.6567 * 0.5, rel=1e-4)


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


def processes(*rows: list[float], cohort: str = "all") -> list[stats.Process]:
    """Processes of one cohort, from seconds."""
    return [stats.Process(cohort, tuple(math.log(seconds) for seconds in row)) for row in rows]


def pairs(base: list[float], variant: list[float]) -> tuple[list[stats.Process], list[stats.Process]]:
    """Cohort i holds base[i] and variant[i], logs of one round."""
    sides = ([stats.Process(str(i), (log,)) for i, log in enumerate(side)] for side in (base, variant))
    return next(sides), next(sides)


def known(ratio: stats.LogRatio | None) -> stats.LogRatio:
    assert ratio is not None
    return ratio


def test_a_variant_that_takes_half_the_time_is_twice_as_fast():
    ratio = known(stats.log_ratio(processes([2.0, 4.0]), processes([1.0, 2.0])))
    assert math.exp(ratio.estimate) == pytest.approx(2)
    assert ratio.interleaved


def test_cohorts_of_one_pair_each_give_the_paired_t_test():
    base, variant = [0.3, 0.1, 0.7, 0.2], [0.1, 0.2, 0.4, 0.1]
    ratio = known(stats.log_ratio(*pairs(base, variant)))
    expected = distributions.ttest_rel(base, variant)
    interval = expected.confidence_interval()
    assert ratio.p_value == pytest.approx(expected.pvalue)
    assert ratio.interval == pytest.approx((interval.low, interval.high))
    assert ratio.degrees_of_freedom == 3


def test_one_cohort_gives_the_pooled_two_sample_t_test():
    base, variant = [0.3, 0.1, 0.7], [0.1, 0.2, 0.4, 0.1]
    sides = [[stats.Process("all", (log,)) for log in side] for side in (base, variant)]
    ratio = known(stats.log_ratio(sides[0], sides[1]))
    expected = distributions.ttest_ind(base, variant)
    assert ratio.p_value == pytest.approx(expected.pvalue)
    assert ratio.degrees_of_freedom == 5
    assert ratio.spread == pytest.approx(math.sqrt((2 * np.var(base, ddof=1) + 3 * np.var(variant, ddof=1)) / 5))


def test_cohorts_of_several_sizes_give_least_squares_with_an_effect_a_cohort():
    rng = np.random.default_rng(0)
    layout = [("a", 0), ("a", 1), ("a", 1), ("b", 0), ("b", 0), ("b", 1), ("c", 0), ("c", 1)]
    logs = rng.normal(size=len(layout))
    sides = [
        [stats.Process(cohort, (log,)) for (cohort, case), log in zip(layout, logs, strict=True) if case == side]
        for side in (0, 1)
    ]
    ratio = known(stats.log_ratio(sides[0], sides[1]))
    design = np.array([[cohort == "a", cohort == "b", cohort == "c", case] for cohort, case in layout], dtype=float)
    coefficients, squares, *_ = np.linalg.lstsq(design, logs)
    variance = squares[0] / 4 * np.linalg.inv(design.T @ design)[3, 3]
    assert ratio.degrees_of_freedom == 4
    assert ratio.estimate == pytest.approx(-coefficients[3])
    assert ratio.standard_error == pytest.approx(math.sqrt(variance))


def test_separate_cohorts_give_welchs_t_test_on_the_cohorts_means():
    base, variant = [[0.3, 0.5], [0.1], [0.7]], [[0.1], [0.2], [0.4], [0.6, 0.2]]
    sides = [
        [stats.Process(f"{side} {i}", (log,)) for i, cohort in enumerate(cohorts) for log in cohort]
        for side, cohorts in enumerate((base, variant))
    ]
    ratio = known(stats.log_ratio(sides[0], sides[1]))
    expected = distributions.ttest_ind(*[[np.mean(c) for c in side] for side in (base, variant)], equal_var=False)
    assert ratio.p_value == pytest.approx(expected.pvalue)
    assert ratio.degrees_of_freedom == pytest.approx(expected.df)
    assert not ratio.interleaved
    assert (ratio.processes, ratio.units) == ((4, 5), (3, 4))


def test_common_mode_drift_leaves_no_trace_where_cases_are_interleaved():
    drift = [1.0, 3.0, 0.5, 2.0]
    base, variant = processes(drift, drift), processes(drift, drift)
    ratio = known(stats.log_ratio(base, variant))
    assert (ratio.estimate, ratio.spread) == pytest.approx((0, 0))


def test_a_round_in_which_one_sample_is_void_counts_for_none_of_its_cohort():
    base = [stats.Process("all", (0.0, 5.0, 1.0)), stats.Process("all", (0.0, 5.0, 1.0))]
    variant = [stats.Process("all", (1.0, math.nan, 2.0)), stats.Process("all", (1.0, 5.0, 2.0, 9.0))]
    assert known(stats.log_ratio(base, variant)).estimate == pytest.approx(-1)


def test_a_cohort_that_lacks_one_case_does_not_count_where_others_hold_both():
    base, variant = pairs([0.0, 0.2, 0.1], [0.1, 0.1, 0.3])
    alone = stats.Process("alone", (9.0,))
    assert stats.log_ratio([*base, alone], variant) == stats.log_ratio(base, variant)


def test_one_pair_alone_does_not_replace_the_interval_of_the_other_processes():
    base = [stats.Process(f"base {number}", (0.0 + number / 100,)) for number in range(3)]
    variant = [stats.Process(f"variant {number}", (0.5 + number / 100,)) for number in range(3)]
    both = [stats.Process("both", (0.0,))], [stats.Process("both", (9.0,))]
    assert stats.log_ratio([*base, *both[0]], [*variant, *both[1]]) == stats.log_ratio(base, variant)
    assert known(stats.log_ratio(base[:1] + both[0], variant[:1] + both[1])).interleaved


def test_one_pair_has_a_ratio_without_an_interval():
    for base, variant in (pairs([0.0], [1.0]), ([stats.Process("a", (0.0,))], [stats.Process("b", (1.0,))])):
        ratio = known(stats.log_ratio(base, variant))
        assert ratio.estimate == -1
        assert [ratio.interval, ratio.p_value, ratio.spread, ratio.minimum_detectable_effect()] == [None] * 4


def test_nothing_is_compared_without_samples():
    voided = [stats.Process("all", (math.nan, math.nan))]
    assert stats.log_ratio(voided, processes([1.0, 2.0])) is None
    assert stats.log_ratio([], processes([1.0, 2.0])) is None
    taking_turns_in_vain = stats.Process("all", (math.nan, 0.0)), stats.Process("all", (0.0, math.nan))
    assert stats.log_ratio(taking_turns_in_vain[:1], taking_turns_in_vain[1:]) is None


def test_the_scale_turns_steps_into_images():
    one, other = processes([1.0], [1.0]), processes([1.5], [1.5])
    assert math.exp(known(stats.log_ratio(one, other, scale=2)).estimate) == pytest.approx(2 / 1.5)


def test_ratios_without_any_scatter_are_certain():
    equal, other = processes([1.0], [1.0]), processes([2.0], [2.0])
    assert known(stats.log_ratio(equal, equal)).p_value == 1
    assert known(stats.log_ratio(equal, other)).p_value == 0


def test_the_minimum_detectable_effect_is_the_one_whose_interval_would_leave_out_1_with_the_power():
    ratio = known(stats.log_ratio(*pairs([0.3, 0.1, 0.7, 0.2], [0.1, 0.2, 0.4, 0.1])))
    # t(0.975, 3) = 3.182446, t(0.9, 3) = 1.637744.
    assert ratio.standard_error is not None
    assert ratio.minimum_detectable_effect() == pytest.approx(math.expm1((3.182446 + 1.637744) * ratio.standard_error))
    # Four pairs: the standard error is the spread × sqrt(2 / 4).
    assert ratio.minimum_detectable_effect(spread=0.01) == pytest.approx(
        math.expm1((3.182446 + 1.637744) * 0.01 * math.sqrt(0.5))
    )


def test_an_effect_within_the_margin_is_never_detected_however_quiet_the_machine():
    ratio = known(stats.log_ratio(*pairs([0.3, 0.1, 0.7, 0.2], [0.1, 0.2, 0.4, 0.1])))
    assert ratio.minimum_detectable_effect(spread=0.0, margin=0.02) == pytest.approx(0.02)
    error = 0.001 * math.sqrt(0.5)
    effect = ratio.minimum_detectable_effect(spread=0.001, margin=0.02)
    assert effect == pytest.approx(math.expm1(math.log(1.02) + 1.637744 * error))
    assert ratio.minimum_detectable_effect(spread=0.1, margin=0.02) == ratio.minimum_detectable_effect(spread=0.1)


def test_p_values_are_adjusted_for_their_family():
    # Benjamini & Hochberg by hand: 0.01 × 4 / 1; min(0.02 × 4 / 2, …); 0.03 × 4 / 3; 0.5 × 4 / 4.
    assert stats.benjamini_hochberg([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.04, 0.04])
    assert stats.benjamini_hochberg([]) == []
    for size in (1, 2, 50):
        p_values = np.random.default_rng(size).random(size).tolist()
        p_values[::7] = [0.02] * len(p_values[::7])  # ties
        assert stats.benjamini_hochberg(p_values) == pytest.approx(distributions.false_discovery_control(p_values))


def test_more_processes_and_more_turns_resolve_smaller_effects_and_one_process_none():
    assert stats.resolvable_effect(1, 100) is None
    few, more, longer = (stats.resolvable_effect(*plan) for plan in ((3, 12), (8, 12), (8, 48)))
    assert few is not None
    assert more is not None
    assert longer is not None
    assert few > more > longer
    # Cohen's formula with t quantiles, by hand: (2.365 + 1.415) · sqrt(2 · (0.015² + 0.07² ÷ 12) ÷ 8)
    assert more == pytest.approx(math.expm1(3.780 * math.sqrt(2 * (0.015**2 + 0.07**2 / 12) / 8)), rel=1e-3)


def processes_of(logs):
    """Pairs of processes of logarithms, an array of (pairs, 2, rounds)."""
    return [tuple(stats.Process(str(number), tuple(side)) for side in pair) for number, pair in enumerate(logs)]


@pytest.mark.parametrize(("process", "block", "start", "turns"), [(0.015, 0.03, 10, 6.3), (0.02, 0.02, 9, 3.0)])
def test_the_optimal_turns_are_those_of_kalibera_and_jones(process, block, start, turns):
    rng = np.random.default_rng(1)
    logs = process * rng.standard_normal((4000, 2, 1)) + block * rng.standard_normal((4000, 2, 6))
    logs += rng.standard_normal((4000, 1, 6))  # common-mode drift, which the difference takes out
    assert stats.optimal_turns(processes_of(logs), start) == pytest.approx(turns, rel=0.1)


def test_where_processes_differ_by_no_more_than_their_blocks_explain_more_turns_are_always_better():
    logs = np.array([[[0.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])
    assert stats.optimal_turns(processes_of(logs), 10) == math.inf


@pytest.mark.parametrize("logs", [np.zeros((0, 2, 5)), np.zeros((1, 2, 5)), np.zeros((3, 2, 1))])
def test_too_few_pairs_or_rounds_tell_no_optimal_turns(logs):
    assert stats.optimal_turns(processes_of(logs), 10) is None
