"""What changed in a history: accepted changes, slowdowns that stand, and gates."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

from gnet_core.config import GnetError
from gnet_core.results.changes import (
    HISTORY_GATES,
    Judged,
    Trend,
    failed_in_history,
    idle_gates,
    is_idle,
    judge,
    missing,
    not_looked_at,
    require_gates,
)
from gnet_core.results.gates import NOTHING, under_rules
from gnet_core.results.history import History
from gnet_core.results.rules import Accepted, Rules, Waiver
from gnet_core.stats.verdicts import DEFAULT_MARGIN
from tests.histories import FIRST_DAY, history_of, level, together

TODAY = datetime.date(2027, 1, 1)


def accepted(cases: str, date: datetime.date, expires: datetime.date | None = None) -> Accepted:
    return Accepted(cases=cases, date=date, reason="meant", expires=expires)


def day(number: int) -> datetime.date:
    """The day of that run of a history that has one a day."""
    return (FIRST_DAY + datetime.timedelta(days=number)).date()


def judged(history: History, *rules: Accepted, margin: float = DEFAULT_MARGIN) -> Judged:
    return judge(history, rules, lambda _case: margin, TODAY)


def only_trend(history: History, *rules: Accepted, margin: float = DEFAULT_MARGIN) -> Trend:
    (trend,) = judged(history, *rules, margin=margin).trends
    return trend


SLOWER = history_of({"a": level(100, 20) + level(90, 10)})


def test_a_slowdown_stands_since_the_first_run_that_has_it():
    trend = only_trend(SLOWER)
    (change,) = trend.changes
    assert (change.verdict, change.after.run.created.date()) == ("SLOWER", day(20))
    assert change.before.run.created.date() == day(19)
    assert trend.slowdown is not None
    assert trend.slowdown.since is change
    assert trend.slowdown.ratio == pytest.approx(0.9, abs=0.01)
    assert failed_in_history(judged(SLOWER), HISTORY_GATES) == {"slower": ["a"]}


def test_what_was_undone_does_not_stand():
    history = history_of({"a": level(100, 15) + level(90, 10) + level(100, 10)})
    trend = only_trend(history)
    slower, faster = trend.changes
    assert (slower.verdict, faster.verdict) == ("SLOWER", "FASTER")
    assert trend.is_undone(slower)
    assert trend.slowdown is None
    assert failed_in_history(judged(history), HISTORY_GATES) == {}


def test_what_was_undone_in_part_stands_since_it_began():
    trend = only_trend(history_of({"a": level(100, 15) + level(80, 10) + level(90, 10)}))
    assert trend.slowdown is not None
    assert trend.slowdown.since is trend.changes[0]
    assert trend.slowdown.ratio == pytest.approx(0.9, abs=0.01)
    assert not trend.is_undone(trend.changes[0])


def test_a_speedup_that_was_lost_again_is_a_slowdown():
    trend = only_trend(history_of({"a": level(100, 15) + level(110, 10) + level(100, 10)}))
    assert trend.slowdown is not None
    assert trend.slowdown.since is trend.changes[1]


def test_a_speedup_fails_nothing():
    history = history_of({"a": level(100, 15) + level(110, 15)})
    (change,) = only_trend(history).changes
    assert change.verdict == "FASTER"
    assert failed_in_history(judged(history), HISTORY_GATES) == {}


def test_a_change_within_the_margin_is_told_and_fails_nothing():
    history = history_of({"a": level(100, 20, 0.002) + level(98.5, 20, 0.002)})
    trend = only_trend(history)
    assert [change.verdict for change in trend.changes] == ["SAME"]
    assert trend.slowdown is None
    assert only_trend(history, margin=0.01).slowdown is not None


def test_small_slowdowns_add_up():
    speeds = [*level(100, 20, 0.002), *level(98.5, 20, 0.002), *level(97, 20, 0.002)]
    trend = only_trend(history_of({"a": speeds}))
    assert [change.verdict for change in trend.changes] == ["SAME", "SAME"]
    assert trend.slowdown is not None
    assert trend.slowdown.since is trend.changes[1]
    assert trend.slowdown.ratio == pytest.approx(0.97, abs=0.003)


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_an_accepted_change_is_the_one_of_that_day_or_its_neighbour(off):
    rule = accepted("a*", day(20 + off))
    trend = only_trend(SLOWER, rule)
    assert trend.changes[0].accepted is rule
    assert trend.changes[0].is_accepted
    assert trend.slowdown is None
    assert judged(SLOWER, rule).unmatched == []
    assert failed_in_history(judged(SLOWER, rule), HISTORY_GATES) == {}


def test_a_day_without_a_run_means_the_first_run_after_it():
    history = history_of({"a": level(100, 12) + level(90, 12)}, days_apart=7)
    assert only_trend(history, accepted("*", day(12 * 7 - 3))).changes[0].is_accepted


@pytest.mark.parametrize("rule", [accepted("b*", day(20)), accepted("*", day(15)), accepted("*", day(500))])
def test_an_accepted_change_that_matches_none_excuses_none_and_is_told(rule):
    assert only_trend(SLOWER, rule).slowdown is not None
    assert judged(SLOWER, rule).unmatched == [rule]


def test_an_acceptance_that_has_expired_counts_no_more_and_is_told():
    expired = accepted("*", day(20), expires=TODAY - datetime.timedelta(days=1))
    (change,) = only_trend(SLOWER, expired).changes
    assert (change.accepted, change.expired, change.is_accepted) == (expired, True, False)
    assert judged(SLOWER, expired).unmatched == []
    assert failed_in_history(judged(SLOWER, expired), ["slower"]) == {"slower": ["a"]}
    until_today = accepted("*", day(20), expires=TODAY)
    assert only_trend(SLOWER, expired, until_today).changes[0].accepted is until_today
    assert judged(SLOWER, expired, until_today).unmatched == []
    assert only_trend(SLOWER, until_today).slowdown is None


def test_after_an_accepted_change_its_level_is_the_one_to_keep():
    history = history_of({"a": level(100, 15) + level(90, 15) + level(80, 15)})
    trend = only_trend(history, accepted("*", day(15)))
    assert trend.slowdown is not None
    assert trend.slowdown.since is trend.changes[1]
    assert trend.slowdown.ratio == pytest.approx(80 / 90, abs=0.01)


def test_gaps_do_not_move_the_day_of_a_change():
    speeds: list[float | None] = [*level(100, 20), *level(90, 10)]
    speeds[3] = speeds[12] = speeds[19] = None
    (change,) = only_trend(history_of({"a": speeds})).changes
    assert change.after.run.created.date() == day(20)


def test_a_series_that_a_newer_setup_has_replaced_fails_no_gate():
    runs = 40
    old = [*level(100, 15), *level(90, 10), *[None] * 15]
    new = [*[None] * 25, *level(95, 15)]
    history = history_of({"a": old}, runs=runs, framework="TensorFlow 2.20.0", skip_gaps=True)
    newer = history_of({"a": new}, runs=runs, framework="TensorFlow 2.21.0", skip_gaps=True)
    both = together(history, newer)
    before, after = judged(both).trends
    assert (before.current, after.current) == (False, True)
    assert before.slowdown is not None
    assert failed_in_history(judged(both), ["slower"]) == {}
    assert failed_in_history(judged(history), ["slower"]) == {"slower": ["a"]}


def test_a_case_that_the_last_run_lacks_is_missing():
    history = history_of({"a": level(100, 5), "b": [*level(50, 4), None]}, skip_gaps=True)
    assert failed_in_history(judged(history), HISTORY_GATES) == {"missing": ["b"]}


def test_a_case_that_another_machine_measured_is_not_missing():
    history = history_of({"a": level(100, 5), "b": [*level(50, 4), None]}, skip_gaps=True)
    elsewhere = [dataclasses.replace(run, machine=2) for run in history.runs[:-1]]
    runs = dict(zip(history.runs, [*elsewhere, history.runs[-1]], strict=True))
    for series in history.series:
        series.points[:] = [dataclasses.replace(point, run=runs[point.run]) for point in series.points]
    moved = History(runs=list(runs.values()), series=history.series, notes=[], unread=[])
    assert failed_in_history(judged(moved), ["missing"]) == {}


@pytest.mark.parametrize(
    ("status", "measured_before", "expected"),
    [
        ("failed", True, {"failed": ["b"]}),
        ("timeout", True, {"failed": ["b"]}),
        ("oom", True, {"failed": ["b"]}),
        ("failed", False, {"failed": ["b"]}),
        ("oom", False, {}),
        ("unsupported", False, {}),
    ],
)
def test_a_case_that_failed_in_the_last_run_fails_its_gate(status, measured_before, expected):
    before: list[float | None] = [*level(50, 4)] if measured_before else [None] * 4
    history = history_of({"a": level(100, 5), "b": [*before, None]}, gap=status)
    assert failed_in_history(judged(history), HISTORY_GATES) == expected


def test_a_case_that_failed_in_an_earlier_run_fails_nothing():
    history = history_of({"a": [*level(100, 3), None, *level(100, 1)]}, gap="failed")
    assert failed_in_history(judged(history), HISTORY_GATES) == {}


@pytest.mark.parametrize("speeds", [[100.0], [100.0, None], [None, None]])
def test_a_history_that_compares_nothing_fails_every_gate(speeds):
    history = history_of({"a": speeds})
    assert is_idle(judged(history))
    for wanted in (["slower", "missing"], []):
        rules = Rules(
            today=datetime.date(2026, 1, 1),
            waivers=(Waiver(cases="*", reason="all", expires=datetime.date(2027, 1, 1)),),
        )
        failed = failed_in_history(judged(history), wanted)
        result = under_rules(failed, wanted, rules, ["a"], idle_gates=idle_gates(judged(history), wanted))
        assert result.failed == {gate: [NOTHING] for gate in wanted}  # which no waiver excuses


def test_a_gate_that_a_history_has_not_is_refused():
    require_gates(HISTORY_GATES)
    with pytest.raises(GnetError, match="'unresolved' is no gate of a history; use one of slower, missing, failed"):
        require_gates(["slower", "unresolved"])


RELEASES = ("TensorFlow 2.19.0", "TensorFlow 2.20.0", "TensorFlow 2.21.0")


@pytest.mark.parametrize("slower", RELEASES)
def test_setups_that_take_turns_are_all_current_whichever_came_last(slower):
    """Three releases each night: a slowdown of any of them fails."""
    speeds = {release: level(100, 12) + level(90 if release == slower else 100, 8) for release in RELEASES}
    nightly = together(
        *(
            history_of({"a": speeds[release]}, framework=release, hours_later=hours)
            for hours, release in enumerate(RELEASES)
        )
    )
    assert [trend.current for trend in judged(nightly).trends] == [True, True, True]
    assert failed_in_history(judged(nightly), ["slower"]) == {"slower": ["a"]}


def test_a_case_that_failed_last_with_one_setup_fails_though_another_one_came_later():
    crashed = history_of({"a": [*level(100, 9), None]}, framework=RELEASES[0])
    later = history_of({"a": level(100, 10)}, framework=RELEASES[1], hours_later=1)
    elsewhere = history_of({"a": level(100, 10)}, machine=2, hours_later=2)
    assert failed_in_history(judged(together(crashed, later)), HISTORY_GATES) == {"failed": ["a"]}
    assert failed_in_history(judged(together(crashed, elsewhere)), HISTORY_GATES) == {"failed": ["a"]}


def test_a_crash_of_a_setup_that_was_replaced_fails_nothing():
    crashed = history_of({"a": [*level(100, 9), None]}, framework=RELEASES[0])
    newer = history_of({"a": level(100, 10)}, framework=RELEASES[1], hours_later=24 * 10)
    assert failed_in_history(judged(together(crashed, newer)), HISTORY_GATES) == {}


def test_a_case_is_missing_in_the_last_run_of_its_options_whatever_ran_later():
    lacking = history_of({"a": level(100, 10), "b": [*level(50, 9), None]}, skip_gaps=True)
    other_suite = history_of({"c": level(10, 10)}, request="another suite", hours_later=1)
    other_machine = history_of({"a": level(100, 10), "b": level(50, 10)}, machine=2, hours_later=2)
    other_release = history_of({"a": level(100, 10), "b": level(50, 10)}, framework=RELEASES[0], hours_later=3)
    whole = judged(together(lacking, other_suite, other_machine, other_release))
    assert failed_in_history(whole, HISTORY_GATES) == {"missing": ["b"]}
    (item,) = missing(whole)
    assert (item.run.directory.name, item.before.directory.name) == ("9", "8")


def test_a_run_of_another_suite_lacks_nothing():
    nightly = history_of({"a": level(100, 10)})
    other = history_of({"c": level(10, 1)}, request="another suite", hours_later=24 * 10)
    assert failed_in_history(judged(together(nightly, other)), HISTORY_GATES) == {}


def test_the_first_run_of_a_new_release_is_held_against_the_last_one_before_it():
    before = history_of({"a": level(100, 9), "b": level(50, 9)})
    upgraded = history_of({"a": level(100, 1)}, framework="TensorFlow 2.22.0", hours_later=24 * 9)
    assert failed_in_history(judged(together(before, upgraded)), HISTORY_GATES) == {"missing": ["b"]}


def test_options_that_have_changed_on_purpose_leave_nothing_missing_that_is_measured_still():
    before = history_of({"a": level(100, 9), "b": [*level(50, 8), None]}, skip_gaps=True)
    changed = history_of({"b": level(50, 3)}, request="other options", hours_later=24 * 9)
    assert failed_in_history(judged(together(before, changed)), HISTORY_GATES) == {}


@pytest.mark.parametrize(("runs", "idle"), [(2, ["slower"]), (7, ["slower"]), (8, [])])
def test_slower_looks_at_nothing_below_the_runs_that_a_change_takes(runs, idle):
    history = history_of({"a": level(100, runs)})
    assert not is_idle(judged(history))
    assert idle_gates(judged(history), HISTORY_GATES) == idle
    assert [series.key.case for series in not_looked_at(judged(history))] == (["a"] if idle else [])


def test_a_series_that_was_replaced_is_none_that_slower_looks_at():
    old = history_of({"a": level(100, 20)}, framework=RELEASES[0])
    new = history_of({"a": level(100, 3)}, framework=RELEASES[1], hours_later=24 * 20)
    assert idle_gates(judged(together(old, new)), ["slower", "missing"]) == ["slower"]
