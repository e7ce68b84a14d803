"""Verdicts that are looked at after every pair of processes: the thresholds, and how often the verdicts are right."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from gnet_core.stats.ratio import Process
from gnet_core.stats.sequential import MAX_LOOKS, nominal_error, repeated_log_ratio, repeated_p_value, spent_share
from gnet_core.stats.verdicts import Pair, judge_repeatedly
from tests.looks import NOISES, decide, differences, differences_with_pilot, rates
from tests.noise import TYPICAL, family_log_seconds

TRIALS = 4000
VERDICTS = {"FASTER": 1, "SLOWER": -1, "SAME": 2, "UNRESOLVED": 0}


@pytest.mark.parametrize(
    ("max_looks", "percent"),
    [
        (8, (1.13, 0.90, 1.10, 1.41, 1.72, 2.10)),
        (12, (0.625, 0.457, 0.556, 0.684, 0.872, 1.06, 1.28, 1.48, 1.75, 2.04)),
    ],
)
def test_the_thresholds_are_those_of_an_independent_simulation(max_looks, percent):
    # By a Monte Carlo program of its own, whose error is about 2 %.
    nominal = [100 * nominal_error(looks, max_looks) for looks in range(3, max_looks + 1)]
    assert nominal == pytest.approx(percent, rel=0.025)


@pytest.mark.parametrize("max_looks", [3, 5, 8, 12, MAX_LOOKS])
def test_all_looks_together_leave_out_the_truth_in_five_percent(max_looks):
    rng = np.random.default_rng(max_looks)
    values = rng.standard_normal((100_000, max_looks))
    crossed = np.zeros(len(values), bool)
    for looks in range(3, max_looks + 1):
        seen = values[:, :looks]
        t = seen.mean(axis=1) / (seen.std(axis=1, ddof=1) / math.sqrt(looks))
        crossed |= 2 * special.stdtr(looks - 1, -np.abs(t)) < nominal_error(looks, max_looks)
    assert crossed.mean() == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / len(values)))


@pytest.mark.parametrize("error", [0.002, 0.01, 0.2])
def test_the_smallest_repeated_p_value_is_below_an_error_as_often_as_it_says(error):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((100_000, 12))
    smallest = np.ones(len(values))
    for looks in range(3, 13):
        seen = values[:, :looks]
        t = seen.mean(axis=1) / (seen.std(axis=1, ddof=1) / math.sqrt(looks))
        p_value = 2 * special.stdtr(looks - 1, -np.abs(t))
        smallest = np.minimum(smallest, repeated_p_value(p_value, looks, 12))
    assert (smallest < error).mean() == pytest.approx(error, rel=0.02, abs=4 * math.sqrt(error / len(values)))


@given(st.floats(1e-12, 1), st.floats(1e-12, 1), st.integers(3, 12))
def test_a_smaller_p_value_has_no_larger_repeated_one(one, other, looks):
    low, high = sorted((one, other))
    assert repeated_p_value(low, looks, 12) <= repeated_p_value(high, looks, 12) <= 1


def test_a_threshold_is_where_the_repeated_p_value_is_the_error():
    for looks in range(3, 13):
        assert repeated_p_value(nominal_error(looks, 12), looks, 12) == pytest.approx(0.05)


def test_nothing_is_spent_before_the_first_look_and_all_by_the_last():
    assert [spent_share(looks, 8) for looks in (0, 2)] == [0, 0]
    assert spent_share(8, 8) == 1
    assert nominal_error(2, 8) == 0
    assert repeated_p_value(1e-9, 2, 8) == 1


@pytest.mark.parametrize("cells", [1, 6])
@pytest.mark.parametrize("max_looks", [8, 12, 20])
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_identical_code_is_called_different_in_at_most_five_percent_of_tables(noise, max_looks, cells):
    null = differences(noise, cells, max_looks, TRIALS, 0.0, seed=max_looks)
    assert rates(null).any_different <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / TRIALS)


@pytest.mark.parametrize("max_looks", [6, 12, 20])
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_turns_that_follow_from_the_pilots_scatter_cost_no_error(noise, max_looks):
    null = differences_with_pilot(noise, max_looks, TRIALS, 0.0, seed=max_looks)
    assert rates(null).any_different <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / TRIALS)


@pytest.mark.parametrize("max_looks", [8, 12, 20])
def test_naive_peeking_calls_identical_code_different_far_more_often(max_looks):
    null = differences(TYPICAL, 1, max_looks, TRIALS, 0.0, seed=max_looks)
    assert rates(null, procedure="peeking").any_different > 0.1


@pytest.mark.parametrize("name", [name for name in NOISES if name != "one block takes ×5"])
def test_a_slowdown_of_five_percent_is_found_with_eight_pairs_on_average(name):
    slower = rates(differences(NOISES[name], 1, 12, TRIALS, -0.05, seed=1))
    assert slower.slower >= 0.9
    assert slower.pairs <= 8


def test_an_effect_of_two_and_a_half_times_is_settled_at_the_first_look():
    assert rates(differences(TYPICAL, 6, 12, TRIALS, 1.5, seed=1)).settled_first >= 0.99


def test_identical_code_is_called_same_at_a_margin_of_five_percent():
    assert rates(differences(TYPICAL, 1, 12, TRIALS, 0.0, seed=1), margin=0.05).same >= 0.85


def pairs_of(logs):
    """The table of one trial: a base, which comes first, and its variants, a process of each in every cohort."""
    base, *variants = (tuple(Process(str(i), tuple(turns)) for i, turns in enumerate(case)) for case in logs.tolist())
    return [
        Pair(base="base", variant=f"variant {i}", base_processes=base, variant_processes=variant)
        for i, variant in enumerate(variants)
    ]


def looks_until(cohorts: int):
    return [{str(i) for i in range(looks)} for looks in range(1, cohorts + 1)]


@pytest.mark.parametrize("effect", [0.0, 0.05, -0.03])
def test_a_table_of_processes_is_judged_as_the_simulation_judges_its_means(effect):
    logs = family_log_seconds(TYPICAL, 3, 10, 6, 20, effect, seed=3)
    verdicts, _used = decide((logs[:, :1] - logs[:, 1:]).mean(axis=3), margin=0.02, procedure="repeated")
    judged = [judge_repeatedly(pairs_of(trial), looks_until(10), 10) for trial in logs]
    assert [[VERDICTS[cell.verdict] for cell in table] for table in judged] == verdicts.tolist()


@pytest.mark.parametrize("seed", range(10))
def test_no_verdict_changes_as_data_arrive(seed):
    (logs,) = family_log_seconds(TYPICAL, 4, 12, 4, 1, 0.03, seed=seed)
    settled: dict[str, str] = {}
    for cohorts in range(3, 13):
        for cell in judge_repeatedly(pairs_of(logs), looks_until(cohorts), 12):
            assert settled.get(cell.variant, cell.verdict) == cell.verdict
            if cell.verdict != "UNRESOLVED":
                settled[cell.variant] = cell.verdict


def test_a_settled_cell_rests_on_the_pairs_that_settled_it():
    (logs,) = family_log_seconds(TYPICAL, 1, 12, 12, 1, 1.5, seed=1)
    (cell,) = judge_repeatedly(pairs_of(logs), looks_until(12), 12)
    assert (cell.verdict, cell.base_processes, cell.variant_processes) == ("FASTER", 3, 3)


def test_before_the_third_pair_there_is_no_interval_and_no_verdict():
    (logs,) = family_log_seconds(TYPICAL, 2, 2, 12, 1, 1.5, seed=1)
    for cell in judge_repeatedly(pairs_of(logs), looks_until(2), 8):
        assert (cell.verdict, cell.low, cell.high) == ("UNRESOLVED", None, None)
        assert "a verdict needs at least 3 a side" in cell.reason


def test_a_process_that_was_lost_makes_one_pair_less_and_the_others_keep_theirs():
    (logs,) = family_log_seconds(TYPICAL, 2, 6, 12, 1, 0.0, seed=1)
    first, second = pairs_of(logs)
    lossy = Pair(
        base="base",
        variant="lossy",
        base_processes=first.base_processes,
        variant_processes=first.variant_processes[1:],
    )
    one, other = judge_repeatedly([lossy, second], looks_until(4), 8)
    assert one.variant_processes == 3
    assert other.variant_processes == 4


def test_processes_that_do_not_fit_together_are_pairs_in_their_order():
    (logs,) = family_log_seconds(TYPICAL, 1, 5, 12, 1, 0.2, seed=1)
    (pair,) = pairs_of(logs)
    apart = [Process(f"{process.cohort} alone", process.log_seconds) for process in pair.variant_processes]
    together = repeated_log_ratio(pair.base_processes, pair.variant_processes, 1.0, 8)
    sequential = repeated_log_ratio(pair.base_processes, apart, 1.0, 8)
    assert together is not None
    assert sequential is not None
    assert (together.interleaved, sequential.interleaved) == (True, False)
    assert (sequential.estimate, sequential.interval) == (together.estimate, together.interval)
