"""How often judge and drift are right under the machine's own noise (tests/noise.py), by simulation from fixed seeds.

With 1,000 trials a rate of 5 % comes out with a standard deviation of 0.7 %; `python -m tests.noise` prints more rates.
"""

import statistics

import numpy as np
import pytest

from gnet_core.results.rules import Margin
from gnet_core.stats import ratio
from gnet_core.stats.drift import drift_by_case
from gnet_core.stats.verdicts import DEFAULT_MARGIN, Pair, judge
from tests.noise import (
    ANY_DIFFERENCE,
    DISTURBED,
    TYPICAL,
    WORST,
    Noise,
    comparisons,
    decaying,
    log_seconds,
    one_after_the_other,
    rates,
)

FULL = 8, 12
"""Processes a case × turns: the fewest blocks with 8 processes that SAME at 5 % margin asks for under typical noise."""


def rate(verdict, noise, layout, replicates, turns, **options):
    return rates(comparisons(noise, layout, replicates, turns, **options))[verdict]


@pytest.mark.parametrize("layout", ["pairs", "cohort"])
@pytest.mark.parametrize("noise", [TYPICAL, WORST, *DISTURBED.values()], ids=["typical", "worst", *DISTURBED])
def test_identical_code_seldom_differs_in_turns(noise, layout):
    assert rate("different", noise, layout, *FULL, margin=ANY_DIFFERENCE) <= 0.065


@pytest.mark.parametrize("layout", ["pairs", "cohort"])
def test_identical_code_differs_more_seldom_still_by_more_than_the_margin(layout):
    assert rate("different", TYPICAL, layout, *FULL, margin=DEFAULT_MARGIN) <= 0.05


@pytest.mark.parametrize("replicates", [3, 8])
@pytest.mark.parametrize("noise", [TYPICAL, one_after_the_other(0.08)], ids=["common-mode drift", "spread"])
def test_identical_code_seldom_differs_in_sequence(noise, replicates):
    assert rate("different", noise, "sequential", replicates, 10, margin=ANY_DIFFERENCE) <= 0.065


def test_separate_runs_differ_by_their_common_mode_drift():
    # No statistics of the two runs alone can tell drift that outlasts a process from a difference between the cases.
    assert rate("different", TYPICAL, "runs", *FULL, margin=ANY_DIFFERENCE) >= 0.15


def test_identical_code_is_called_same_at_the_full_preset():
    assert rate("SAME", TYPICAL, "pairs", *FULL, margin=0.05) >= 0.8


@pytest.mark.parametrize(
    ("process", "layout", "replicates", "turns"),
    [
        (0.01, "cohort", 10, 7),
        (0.01, "cohort", 4, 30),
        (0.01, "pairs", 10, 8),
        (0.02, "cohort", 10, 10),
        (0.02, "pairs", 10, 12),
    ],
)
def test_a_slowdown_of_five_percent_is_detected_in_turns(process, layout, replicates, turns):
    noise = Noise(rest=0.08, process=process)
    assert rate("SLOWER", noise, layout, replicates, turns, effect=-0.05) >= 0.9


@pytest.mark.parametrize(
    ("process", "replicates", "turns", "least", "most"), [(0.01, 3, 27, 0.68, 0.78), (0.02, 5, 38, 0.8, 0.9)]
)
def test_few_processes_fall_short_of_ninety_percent_however_many_their_turns(process, replicates, turns, least, most):
    noise = Noise(rest=0.08, process=process)
    assert least <= rate("SLOWER", noise, "cohort", replicates, turns, effect=-0.05) < most


@pytest.mark.parametrize(("spread", "replicates"), [(0.03, 9), (0.05, 22)])
def test_a_slowdown_of_five_percent_is_detected_in_sequence(spread, replicates):
    noise = one_after_the_other(spread)
    assert rate("SLOWER", noise, "sequential", replicates, 2, effect=-0.05) >= 0.9


@pytest.mark.parametrize("runs", [3, 5])
def test_a_run_seldom_differs_from_several_of_the_same_code_that_count_once_each(runs):
    # In time: all processes of the first run, of the second, …, and then those of the one that is judged.
    replicates, turns = FULL
    logs = log_seconds(TYPICAL, "runs", runs * replicates, turns, 1000, 0.0, seed=0)
    pairs = [
        Pair(
            base="base",
            variant="variant",
            base_processes=tuple(
                ratio.Process(f"base {i // replicates}", tuple(blocks)) for i, blocks in enumerate(base)
            ),
            variant_processes=tuple(ratio.Process("new", tuple(blocks)) for blocks in new[:replicates]),
            by_run=True,
        )
        for base, new in logs.tolist()
    ]
    assert rates([judge([pair])[0] for pair in pairs])["different"] <= 0.065


@pytest.mark.parametrize("margin", [DEFAULT_MARGIN, 0.05])
@pytest.mark.parametrize(
    ("noise", "layout", "replicates", "turns"),
    [
        (TYPICAL, "pairs", *FULL),
        (Noise(rest=0.08, process=0.01), "cohort", 3, 27),
        (Noise(rest=0.08, process=0.02), "cohort", 10, 9),
        (one_after_the_other(0.03), "sequential", 9, 2),
    ],
)
def test_a_slowdown_of_five_percent_is_hardly_ever_called_same(noise, layout, replicates, turns, margin):
    assert rate("SAME", noise, layout, replicates, turns, margin=margin, effect=-0.05) <= 0.05


def gate_fails(noise, effect, percent=None):
    """Share of the cases on which the gate `slower` fails, with a margin of their own in percent or without."""
    own = Margin(cases="*", percent=percent) if percent else None
    found = comparisons(noise, "pairs", *FULL, effect=effect)
    return statistics.fmean(item.verdict == "SLOWER" and (own is None or own.is_exceeded(item)) for item in found)


@pytest.mark.parametrize("noise", [TYPICAL, WORST], ids=["typical", "worst"])
def test_the_gate_seldom_fails_on_equal_code_and_never_with_a_margin_of_its_own(noise):
    assert gate_fails(noise, 0.0) <= 0.035
    assert gate_fails(noise, 0.0, percent=5) == 0


@pytest.mark.parametrize("noise", [TYPICAL, WORST], ids=["typical", "worst"])
def test_the_gate_fails_on_a_slowdown_of_ten_percent(noise):
    assert gate_fails(noise, -0.1) >= 0.95


def test_a_margin_of_its_own_forgives_a_slowdown_of_that_size():
    assert gate_fails(TYPICAL, 1 / 1.05 - 1, percent=5) <= 0.035


def called_drifting(noise, layout, replicates, turns, decay=0.0, trials=300):
    """The shares of trials in which base and variant were called drifting, where base decays in its first third."""
    logs = log_seconds(noise, layout, replicates, turns, trials, 0.0, seed=0)
    logs[:, 0] += decaying(decay, turns)
    drifting = np.zeros(2)
    for trial in logs.tolist():
        cases = {
            str(case): [
                ratio.Process(f"{i if layout == 'pairs' else (case, i)}", tuple(turns)) for i, turns in enumerate(side)
            ]
            for case, side in enumerate(trial)
        }
        drifting += [bool(drift and drift.drifting) for drift in drift_by_case(cases).values()]
    return drifting / trials


@pytest.mark.parametrize("turns", [12, 20, 60])
@pytest.mark.parametrize("noise", [Noise(), Noise(common_mode=0.2, rest=0.06)], ids=["typical", "worst"])
def test_a_steady_process_alone_is_seldom_called_drifting(noise, turns):
    assert max(called_drifting(noise, "sequential", 1, turns)) <= 0.05


@pytest.mark.parametrize("noise", [TYPICAL, *DISTURBED.values()], ids=["typical", *DISTURBED])
def test_steady_processes_that_take_turns_are_seldom_called_drifting(noise):
    # One of sixteen processes that decays is not yet the case that drifts.
    assert max(called_drifting(noise, "pairs", *FULL)) <= 0.05


@pytest.mark.parametrize(("replicates", "turns"), [FULL, (5, 20)])
def test_a_case_that_decays_by_a_fifth_while_taking_turns_is_called_drifting(replicates, turns):
    assert called_drifting(TYPICAL, "pairs", replicates, turns, decay=0.2)[0] >= 0.8
