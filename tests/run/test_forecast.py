"""What a run would do: its cohorts are those that it plans, its rounds those that its budget holds."""

import dataclasses
import math
from pathlib import Path

import msgspec
import pytest

from gnet_core.config import StepConfig
from gnet_core.plan.suites import Plan, PlannedCase, Source
from gnet_core.results.run_document import Look, LookAtComparison, Size
from gnet_core.run import discovery, runner
from gnet_core.run import forecast as forecasts
from gnet_core.run.budget import MIN_LAST_LOOK, PEAKS_SECONDS, REPORT_SECONDS, TRACE_SECONDS
from gnet_core.run.cohort import expected_seconds
from gnet_core.run.standing import CaseState, Standing
from gnet_core.run.worker import RunSettings
from gnet_core.stats.ratio import resolvable_effect
from gnet_core.stats.sequential import FIRST_LOOK, MAX_LOOKS, nominal_error
from tests.conftest import MACHINE, TENSORFLOW, environment_of, run_document

ENVIRONMENT = {"machine": MACHINE, "tensorflow": TENSORFLOW}
ROOT = Path(__file__).parents[2]
GB = 10**9


@pytest.fixture
def foresee(tmp_path):
    """The forecast of a run of graph against eager execution at a batch size, on a CPU unless told."""
    (suite,) = [suite for suite in discovery.discover(ROOT) if suite.name == "execution"]

    def call(
        *, device="cpu", batch_sizes=(8,), raw=0, statuses=(), sizes=None, traces=False, settings=None, **document
    ):
        cases = [
            PlannedCase(config=StepConfig(execution=execution, batch_size=size, device=device), suites=("execution",))
            for size in batch_sizes
            for execution in ("graph", "eager")
        ]
        states = [
            CaseState(
                case=case,
                status="ok" if raw else None,
                raw=tuple(f"raw/{case.name}.r{number}.json" for number in range(1, raw + 1)),
            )
            for case in cases
        ]
        for number, (status, note) in enumerate(statuses):
            states[number] = dataclasses.replace(states[number], status=status, note=note, raw=())
        source = Source(checkout=ROOT)
        given = {"replicates": 4, "memory_bytes": 8 * 2**30, "with_peaks": False} | (settings or {})
        run_settings = RunSettings(
            directory=tmp_path,
            plan=Plan(),
            seed=0,
            run="now",
            sources={"": source},
            own_source=source,
            environments={"": environment_of(ENVIRONMENT)},
            **given,
        )
        plain = {"run": "now", "created": "now", "preset": "quick", "device": device, "seed": 0, "replicates": 4}
        plain |= {"memory_bytes": 1, "suites": [], "options": {}, "environment": ENVIRONMENT, "complete": False}
        plain |= {"environments": {"": ENVIRONMENT}, "cohorts": [], "cases": []}
        so_far = Standing(states={state.case: state for state in states}, sizes=sizes(cases) if sizes else {})
        runs = runner.Runner(
            states, (suite,), run_settings, run_document(plain | msgspec.to_builtins(document)), so_far
        )
        return forecasts.forecast(runs, run_settings, traces=traces)

    return call


def seconds_of_a_round(batch_size=8):
    configs = [StepConfig(execution=execution, batch_size=batch_size) for execution in ("graph", "eager")]
    return sum(expected_seconds(config, Plan()) for config in configs)


def test_a_fixed_run_has_its_processes_and_as_many_cohorts(foresee):
    found = foresee()
    assert [(case.processes, case.more_processes) for case in found.cases] == [(0, 4), (0, 4)]
    (cohort,) = found.cohorts
    assert (cohort.cases, cohort.times) == (tuple(case.case for case in found.cases), 4)
    assert cohort.seconds == pytest.approx(seconds_of_a_round())
    assert found.min_seconds == found.max_seconds == pytest.approx(4 * seconds_of_a_round() + REPORT_SECONDS)
    assert found.minimum_detectable_effect == resolvable_effect(4, Plan().turns)
    assert (found.memory_bytes, found.left_seconds, found.times_measured) == (8 * 2**30, None, False)


def test_peaks_and_a_trace_take_their_time(foresee):
    plain, more = foresee(), foresee(traces=True, settings={"with_peaks": True})
    assert more.max_seconds - plain.max_seconds == pytest.approx(TRACE_SECONDS + 2 * PEAKS_SECONDS)


def test_cases_for_which_there_is_no_memory_together_are_in_cohorts_of_their_own(foresee):
    found = foresee(settings={"memory_bytes": 2 * 2**30})
    assert [len(cohort.cases) for cohort in found.cohorts] == [1, 1]
    assert [cohort.memory_bytes for cohort in found.cohorts] == [case.memory_bytes for case in found.cases]


def test_a_case_that_cannot_be_measured_has_no_processes_and_says_why(foresee):
    found = foresee(statuses=[("unsupported", "there is none")])
    assert [(case.more_processes, case.note) for case in found.cases] == [(0, "there is none"), (4, "")]
    assert [cohort.cases for cohort in found.cohorts] == [(found.cases[1].case,)]


@pytest.mark.parametrize("rounds", [FIRST_LOOK, 7, MAX_LOOKS, MAX_LOOKS + 5])
def test_a_run_until_resolved_has_as_many_rounds_as_its_budget_holds(foresee, rounds):
    budget = REPORT_SECONDS + (rounds + 0.5) * seconds_of_a_round()
    found = foresee(until="resolved", budget_seconds=budget)
    most = min(rounds, MAX_LOOKS)
    assert {case.more_processes for case in found.cases} == {most}
    assert (found.processes, found.cohorts[0].times, found.left_seconds) == (most, most, budget)
    assert found.min_seconds == pytest.approx(REPORT_SECONDS + FIRST_LOOK * seconds_of_a_round())
    assert found.max_seconds == pytest.approx(REPORT_SECONDS + most * seconds_of_a_round())
    assert found.minimum_detectable_effect == resolvable_effect(
        most, Plan().turns, nominal_error(most, max(most, MIN_LAST_LOOK))
    )


def test_a_budget_too_short_for_a_verdict_finds_nothing_and_says_how_long_one_takes(foresee):
    found = foresee(until="resolved", budget_seconds=1.0)
    assert (found.processes, found.minimum_detectable_effect) == (1, None)
    assert found.min_seconds == pytest.approx(REPORT_SECONDS + FIRST_LOOK * seconds_of_a_round())
    assert found.max_seconds < found.min_seconds


def test_without_a_budget_a_run_until_resolved_goes_on_to_the_last_look(foresee):
    found = foresee(until="resolved")
    assert (found.processes, found.left_seconds) == (MAX_LOOKS, None)
    assert math.isfinite(found.max_seconds)


def test_a_run_that_is_gone_on_with_is_foreseen_from_what_it_took_so_far(foresee):
    found = foresee(
        until="resolved", raw=2, budget_seconds=600.0, time_spent={"timing": 6 * seconds_of_a_round()}, max_looks=8
    )
    assert found.times_measured
    assert [(case.processes, case.more_processes) for case in found.cases] == [(2, 6)] * 2
    assert found.cohorts[0].seconds == pytest.approx(3 * seconds_of_a_round())
    assert found.min_seconds == pytest.approx(REPORT_SECONDS + 3 * seconds_of_a_round())
    assert found.minimum_detectable_effect == resolvable_effect(8, Plan().turns, nominal_error(8, 8))


def test_what_the_last_look_left_open_is_told(foresee, monkeypatch):
    still_open = LookAtComparison(
        suite="execution",
        base="a",
        variant="b",
        pairs=3,
        ratio=1.0,
        low=0.9,
        high=1.1,
        p_value=1.0,
        verdict="UNRESOLVED",
    )
    cells = (msgspec.structs.replace(still_open, variant="c", verdict="SAME"), still_open)
    monkeypatch.setattr(runner.Runner, "_wanted", lambda _runner: [])
    looks = [Look(cohorts=3, spent_error=0.1, comparisons=cells)]
    found = foresee(until="resolved", raw=3, looks=looks, max_looks=8)
    assert found.still_open == (still_open,)
    assert (found.cohorts, found.processes, found.max_seconds) == ((), 3, REPORT_SECONDS)


def test_of_a_gpu_memory_is_not_foreseen_before_a_worker_was_measured(foresee, nvml):
    nvml.set(total=100 * GB, used=10 * GB)
    found = foresee(device="gpu:0", batch_sizes=(8, 16))
    assert found.memory_bytes == int(0.7 * 90 * GB)
    assert {case.memory_bytes for case in found.cases} == {None}
    assert [(len(cohort.cases), cohort.times, cohort.memory_bytes) for cohort in found.cohorts] == [(4, 4, None)]


def test_of_a_gpu_what_is_told_or_was_measured_decides_what_is_alive_together(foresee, nvml):
    nvml.set(total=100 * GB, used=10 * GB)
    told = foresee(device="gpu:0", batch_sizes=(8, 16), settings={"worker_bytes": 30 * GB})
    measured = foresee(
        device="gpu:0",
        batch_sizes=(8, 16),
        sizes=lambda cases: {case: Size(taken_bytes=30 * GB, origin="process") for case in cases[:2]},
    )
    assert [cohort.memory_bytes for cohort in told.cohorts] == [60 * GB, 60 * GB]
    assert [case.memory_bytes for case in measured.cases] == [30 * GB, 30 * GB, 60 * GB, 60 * GB]
