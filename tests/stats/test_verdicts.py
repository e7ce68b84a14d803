"""What is said of two cases, for samples whose statistics are known."""

import dataclasses
import json
import math

import pytest

from gnet_core.config import GnetError
from gnet_core.stats.ratio import Process, log_ratio
from gnet_core.stats.verdicts import Comparison, Pair, judge, reason_of_all, require_margin

SPREAD = (-0.01, 0.0, 0.01, 0.0)
"""Of four pairs' log ratios: a standard error of 0.0041, so a 95 % interval of ±0.013."""


def pair(log_ratio: float, *, scatter: tuple[float, ...] = SPREAD, in_turns: bool = True, **changes: object) -> Pair:
    """A variant faster by the log ratio; process i of base and of variant are a cohort where they take turns."""
    base = tuple(Process(f"{i}", (0.0,)) for i, _ in enumerate(scatter))
    variant = tuple(Process(f"{i}" if in_turns else f"v{i}", (-log_ratio - x,)) for i, x in enumerate(scatter))
    given = Pair(base="graph", variant="xla", base_processes=base, variant_processes=variant)
    return dataclasses.replace(given, **changes)  # type: ignore[arg-type]


def sides(given: Pair) -> tuple[tuple[Process, ...], tuple[Process, ...]]:
    return given.base_processes, given.variant_processes


def verdict(given: Pair, margin: float = 0.02) -> Comparison:
    (comparison,) = judge([given], margin)
    return comparison


@pytest.mark.parametrize(
    ("log_ratio", "expected"),
    [(0.1, "FASTER"), (-0.1, "SLOWER"), (0.0, "SAME"), (0.015, "UNRESOLVED"), (0.0205, "FASTER")],
)
def test_the_verdict_follows_from_estimate_interval_and_margin(log_ratio, expected):
    comparison = verdict(pair(log_ratio))
    assert comparison.verdict == expected
    assert comparison.ratio == pytest.approx(math.exp(log_ratio))
    assert bool(comparison.reason) == (expected == "UNRESOLVED")


def test_a_wide_interval_is_unresolved_and_says_how_many_processes_would_resolve_it():
    comparison = verdict(pair(0.03, scatter=(-0.05, 0.05, 0.03, -0.03)))
    assert comparison.verdict == "UNRESOLVED"
    assert comparison.reason == "The interval holds 1; about 34 more processes a side would probably tell."


def test_as_many_processes_as_advised_would_see_the_effect_and_fewer_would_not():
    few = log_ratio(*sides(pair(0.03, scatter=(-0.05, 0.05, 0.03, -0.03))))
    assert few is not None
    smallest = []
    for more in (28, 34):
        many = log_ratio(*sides(pair(0.03, scatter=(0.0,) * (4 + more))))
        assert many is not None
        smallest.append(many.minimum_detectable_effect(few.spread, margin=0.02) or math.nan)
    assert smallest[0] > math.expm1(0.03) > smallest[1]


@pytest.mark.parametrize(
    ("log_ratio", "scatter", "doubt"),
    [
        (0.0, (-0.05, 0.05, 0.03, -0.03), "The interval holds 1 and reaches beyond the margin of 2 %"),
        (0.015, SPREAD, "The speeds differ, but whether by more than the margin of 2 % is open"),
        (0.0198, SPREAD, "not even 100 more processes a side would probably tell."),
    ],
)
def test_the_reason_says_what_is_in_doubt(log_ratio, scatter, doubt):
    assert doubt in verdict(pair(log_ratio, scatter=scatter)).reason


@pytest.mark.parametrize("in_turns", [True, False])
def test_two_processes_a_side_are_unresolved_whatever_they_say(in_turns):
    comparison = verdict(pair(1.0, scatter=(0.0, 1e-6), in_turns=in_turns))
    assert comparison.verdict == "UNRESOLVED"
    assert "2 of base and 2 of variant" in comparison.reason
    assert "at least 3 a side" in comparison.reason
    assert comparison.adjusted_p_value is None
    assert comparison.low is not None


def test_many_processes_of_one_cohort_are_one_unit_when_timed_in_sequence():
    base = tuple(Process("first run", (x,)) for x in SPREAD)
    variant = tuple(Process("second run", (x - 1,)) for x in SPREAD)
    comparison = verdict(Pair(base="a", variant="b", base_processes=base, variant_processes=variant))
    assert (comparison.verdict, comparison.mode, comparison.base_processes) == ("UNRESOLVED", "sequential", 4)
    assert comparison.reason.startswith("1 of base and 1 of variant cohorts were timed one after the other")


def test_cases_timed_one_after_the_other_are_sequential():
    comparison = verdict(pair(0.02, scatter=(-0.05, 0.05, 0.03, -0.03), in_turns=False))
    assert comparison.mode == "sequential"
    assert "a side, each in a cohort of its own, would probably tell" in comparison.reason


def test_one_process_a_side_has_a_ratio_and_no_interval():
    comparison = verdict(pair(0.5, scatter=(0.0,)))
    assert comparison.ratio == pytest.approx(math.exp(0.5))
    assert comparison.low is comparison.high is comparison.p_value is comparison.minimum_detectable_effect is None
    assert comparison.verdict == "UNRESOLVED"


def test_an_invalid_pair_keeps_its_reason_and_has_no_figures():
    comparison = verdict(pair(0.5, invalid="The loss of xla diverged."))
    assert (comparison.verdict, comparison.ratio, comparison.mode) == ("UNRESOLVED", None, "")
    assert comparison.reason == "The loss of xla diverged."


def test_a_case_without_samples_is_unresolved():
    comparison = verdict(pair(0.5, base_processes=()))
    assert (comparison.verdict, comparison.ratio) == ("UNRESOLVED", None)
    assert comparison.reason == "No sample of the one can be set against the other."


def test_one_table_is_one_family():
    doubtful = pair(0.05, scatter=(-0.03, 0.03, 0.02, -0.02))
    alone = verdict(doubtful)
    assert alone.verdict == "FASTER"
    among_many = judge([doubtful, *[pair(0.0)] * 9])[0]
    assert (among_many.low, among_many.p_value) == (alone.low, alone.p_value)
    assert among_many.adjusted_p_value is not None
    assert alone.p_value is not None
    assert among_many.adjusted_p_value == pytest.approx(10 * alone.p_value)
    assert among_many.verdict == "UNRESOLVED"
    assert among_many.reason.startswith("The interval leaves out 1, but among as many comparisons")


def test_cells_that_cannot_be_judged_do_not_dilute_the_family():
    doubtful = pair(0.05, scatter=(-0.03, 0.03, 0.02, -0.02))
    idle = [pair(0.0, scatter=(0.0, 0.1)), pair(0.0, invalid="It ran out of memory.")] * 9
    assert judge([*idle, doubtful])[-1] == verdict(doubtful)


def test_the_scale_makes_the_ratio_one_of_images():
    comparison = verdict(pair(-math.log(2), scale=2))
    assert comparison.ratio == pytest.approx(1)
    assert comparison.verdict == "SAME"


def test_the_machines_own_spread_sets_the_minimum_detectable_effect_of_its_mode_alone():
    given = [pair(0.0), pair(0.0, in_turns=False)]
    own = judge(given)
    machine = judge(given, spread={"turns": 0.1})
    assert machine[0].minimum_detectable_effect != own[0].minimum_detectable_effect
    assert machine[1] == own[1]
    assert [comparison.verdict for comparison in machine] == [comparison.verdict for comparison in own]


def test_a_comparison_goes_into_json_as_it_is():
    comparison = verdict(pair(0.1))
    plain = json.loads(json.dumps(comparison.to_dict()))
    kept = dataclasses.asdict(comparison)
    assert plain == {name: kept[name] for name in kept if name not in ("doubt", "advice")} | {"reason": ""}


def test_comparisons_that_share_a_doubt_have_one_reason_with_the_range_of_what_would_resolve_them():
    scatters = [(-0.05, 0.05, 0.03, -0.03), (-0.04, 0.04, 0.02, -0.02)]
    first, second = (verdict(pair(0.03, scatter=scatter)) for scatter in scatters)
    assert first.doubt == second.doubt == "The interval holds 1"
    assert (first.more_processes, second.more_processes) == (34, 19)
    assert (
        reason_of_all([first, second]) == "The interval holds 1; about 19–34 more processes a side would probably tell."
    )
    assert reason_of_all([first, first]) == first.reason
    hopeless = dataclasses.replace(first, more_processes=None, advice="not even 100 more processes a side would tell")
    assert reason_of_all([first, hopeless]) == (
        "The interval holds 1; about 34 more processes a side would probably tell, and in 1 of them not even 100."
    )


@pytest.mark.parametrize(("value", "fraction"), [("2", 0.02), (5, 0.05), ("0.5", 0.005)])
def test_a_margin_is_read_in_percent(value, fraction):
    assert require_margin(value) == pytest.approx(fraction)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", 0, -1, 100, "two", "2%", "", None, True])
def test_a_margin_that_is_none_is_refused(value):
    with pytest.raises(GnetError, match=r"margin: .* will not do; use a number of percent above 0 and below 100"):
        require_margin(value)
