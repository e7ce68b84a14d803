"""Drift is seen where a case changes and the others do not."""

import math

import numpy as np
import pytest

from gnet_core.stats.drift import drift_by_case
from gnet_core.stats.ratio import Process


def steady(cases: int, rounds: int = 20, seed: int = 0) -> dict[str, list[Process]]:
    """Three processes a case, all in one cohort, with 10 % of common-mode noise and 1 % of their own."""
    rng = np.random.default_rng(seed)
    common = 0.1 * rng.normal(size=rounds)
    logs = common + 0.01 * rng.normal(size=(cases, 3, rounds))
    return {str(case): [Process("all", tuple(row)) for row in rows] for case, rows in enumerate(logs.tolist())}


def falling(process: Process, change: float) -> Process:
    rounds = len(process.log_seconds)
    line = (math.log1p(change) * i / (rounds - 1) for i in range(rounds))
    return Process(process.cohort, tuple(a + b for a, b in zip(process.log_seconds, line, strict=True)))


def test_a_case_that_becomes_faster_than_the_others_drifts_and_they_do_not():
    cases = steady(4)
    cases["2"] = [falling(process, -0.2) for process in cases["2"]]
    drifts = drift_by_case(cases)
    assert [case for case, drift in drifts.items() if drift and drift.drifting] == ["2"]
    assert drifts["2"] is not None
    assert drifts["2"].change == pytest.approx(-0.2, abs=0.03)


def test_a_drift_of_three_percent_is_seen_but_no_matter():
    cases = steady(4)
    cases["2"] = [falling(process, -0.03) for process in cases["2"]]
    drift = drift_by_case(cases)["2"]
    assert drift is not None
    assert drift.p_value < 0.01
    assert not drift.drifting


def test_a_machine_that_slows_down_for_all_is_no_drift():
    cases = {case: [falling(process, 0.5) for process in members] for case, members in steady(3).items()}
    assert not any(drift and drift.drifting for drift in drift_by_case(cases).values())


def test_a_stalled_turn_and_voided_samples_are_no_drift():
    cases = steady(3)
    logs = list(cases["0"][0].log_seconds)
    logs[-1] += math.log(5)
    logs[3] = logs[4] = math.nan
    cases["0"][0] = Process("all", tuple(logs))
    assert not any(drift and drift.drifting for drift in drift_by_case(cases).values())


def test_a_case_alone_drifts_only_where_common_mode_drift_is_hardly_the_cause():
    rng = np.random.default_rng(0)
    alone = [Process(str(i), tuple(0.01 * rng.normal(size=100))) for i in range(3)]
    (flat,) = drift_by_case({"alone": alone}).values()
    (fallen,) = drift_by_case({"alone": [falling(process, -0.3) for process in alone]}).values()
    assert flat is not None
    assert fallen is not None
    assert (flat.drifting, fallen.drifting) == (False, True)


def test_too_few_rounds_say_nothing_about_drift():
    assert drift_by_case(steady(2, rounds=4)) == {"0": None, "1": None}
    assert drift_by_case({"voided": [Process("all", (math.nan,) * 9 + (1.0,))]}) == {"voided": None}
