"""What a run would do, before it does it: its cohorts, and a guess at the time, the memory and the effect it finds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from gnet_core.plan.request import Until
from gnet_core.plan.schedule import Job, estimated_bytes
from gnet_core.plan.suites import PlannedCase
from gnet_core.results.run_document import LookAtComparison, Size
from gnet_core.run import gpu_memory
from gnet_core.run.budget import PEAKS_SECONDS, REPORT_SECONDS, TRACE_SECONDS, looks_within
from gnet_core.run.cohort import expected_seconds
from gnet_core.run.runner import Runner
from gnet_core.run.worker import RunSettings
from gnet_core.stats.ratio import resolvable_effect
from gnet_core.stats.sequential import FIRST_LOOK, nominal_error


class ForecastCase(msgspec.Struct, frozen=True, kw_only=True):
    """A case and the processes that it would have."""

    case: str
    note: str
    """Why it would not be measured; empty where it would."""
    processes: int
    """Processes that have measured it in earlier parts of the run."""
    more_processes: int
    """Processes to come, in a run until resolved at most."""
    process_seconds: float
    memory_bytes: int | None
    """Memory of one process; None on a GPU, where it is measured as the run begins."""


class ForecastCohort(msgspec.Struct, frozen=True, kw_only=True):
    """Cases whose processes would be alive together."""

    cases: tuple[str, ...]
    times: int
    """Cohorts of these cases, in a run until resolved at most."""
    seconds: float
    """Time of one of them."""
    memory_bytes: int | None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would do. Times are guesses, and of a run until resolved the least and the most."""

    until: Until
    device: str
    cases: tuple[ForecastCase, ...]
    cohorts: tuple[ForecastCohort, ...]
    memory_bytes: int | None
    """Memory that all workers alive together may take; None where NVML does not tell what is free of a GPU."""
    min_seconds: float
    max_seconds: float
    """Time from now on, with peaks, trace and report: until the first verdicts can come, and to the end."""
    times_measured: bool
    """Whether they follow from what the run's processes took so far, and not from a CPU of two cores."""
    left_seconds: float | None
    """What is left of the budget; None where there is none."""
    processes: int
    """Processes of a case at the end, at most."""
    comparisons: int
    minimum_detectable_effect: float | None
    """The smallest true effect, as a fraction, that so many processes find 9 times in 10 on a shared machine."""
    still_open: tuple[LookAtComparison, ...]
    """Comparisons that the last look of an earlier part of the run left open."""


def forecast(runner: Runner, settings: RunSettings, *, traces: bool) -> Forecast:
    """What the run would do from now on. Nothing is started, and a GPU is asked for no more than its free memory."""
    document, states = runner.document, runner.standing.states
    known, allowed = _memory(runner, settings)
    sizes = known or dict.fromkeys(states, 0)  # as if all of them fitted together
    to_come = runner.cohorts_to_come(sizes, allowed or 0)
    pace, measured = _pace(runner, settings)
    seconds = {case: pace * expected_seconds(case.config, settings.plan) for case in states}
    once = REPORT_SECONDS + (TRACE_SECONDS if traces else 0.0) + _peaks_seconds(runner, settings, to_come)
    round_seconds = sum(seconds[job.case] for jobs in to_come for job in jobs)
    least, most, processes, effect = _rounds(runner, settings, to_come, document.left_seconds - once, seconds)
    wanted = Counter(job.case for jobs in to_come for job in jobs)
    workers = ({job.case for job in jobs} for jobs in to_come)
    together = Counter(tuple(case for case in states if case in cases) for cases in workers)
    return Forecast(
        until=document.until,
        device=document.device,
        cases=tuple(
            ForecastCase(
                case=case.name,
                note=state.note if state.status is not None and not state.raw else "",
                processes=len(state.raw),
                more_processes=most * wanted[case],
                process_seconds=seconds[case],
                memory_bytes=known[case] if known else None,
            )
            for case, state in states.items()
        ),
        cohorts=tuple(
            ForecastCohort(
                cases=tuple(case.name for case in cases),
                times=most * times,
                seconds=sum(seconds[case] for case in cases),
                memory_bytes=sum(known[case] for case in cases) if known else None,
            )
            for cases, times in together.items()
        ),
        memory_bytes=allowed,
        min_seconds=once + least * round_seconds,
        max_seconds=once + most * round_seconds,
        times_measured=measured,
        left_seconds=None if document.budget_seconds is None else document.left_seconds,
        processes=processes,
        comparisons=len(runner.compared),
        minimum_detectable_effect=effect if runner.compared else None,
        still_open=tuple(
            comparison
            for look in document.looks[-1:]
            for comparison in look.comparisons
            if comparison.verdict == "UNRESOLVED"
        ),
    )


def _rounds(
    runner: Runner,
    settings: RunSettings,
    to_come: Sequence[Sequence[Job]],
    room: float,
    seconds: Mapping[PlannedCase, float],
) -> tuple[int, int, int, float | None]:
    """How often the cohorts to come are repeated until the first verdicts can come, and at most, if there is `room`
    for them in seconds; the processes of a case that makes; and the effect that those detect.
    """
    round_seconds = sum(seconds[job.case] for jobs in to_come for job in jobs)
    compared_seconds = sum(seconds[case] for case in {case for pair in runner.compared for case in pair})
    turns, states = settings.plan.turns, runner.standing.states
    if runner.document.until == "fixed":
        return 1, 1, settings.replicates, resolvable_effect(settings.replicates, turns)
    measured = [len(states[job.case].raw) for jobs in to_come for job in jobs]
    done = min(measured, default=max(len(state.raw) for state in states.values()))
    looks = runner.document.max_looks or looks_within(room - round_seconds, compared_seconds)
    least = most = 0
    if to_come:  # the first round may begin whatever is left
        affordable = looks if math.isinf(room) else max(1, int(room // round_seconds))
        least, most = max(1, FIRST_LOOK - done), min(affordable, looks - done)
    processes = done + most
    if processes < FIRST_LOOK:
        return least, most, processes, None
    return least, most, processes, resolvable_effect(processes, turns, nominal_error(processes, looks))


def _memory(runner: Runner, settings: RunSettings) -> tuple[dict[PlannedCase, int] | None, int | None]:
    """The bytes to plan each case with, and those that all workers alive together may take. None where only the GPU
    itself can tell, by a worker that is measured, or by NVML.
    """
    cases, device = list(runner.standing.states), runner.document.device
    if device == "cpu":
        return {case: estimated_bytes(case.config) for case in cases}, settings.memory_bytes
    free = gpu_memory.free_bytes(device)
    allowed = None if free is None else int(gpu_memory.SHARE * free)
    told = (
        {}
        if settings.worker_bytes is None
        else dict.fromkeys(cases, Size(taken_bytes=settings.worker_bytes, origin="told"))
    )
    sizes = runner.standing.sizes or told
    if allowed is None or any(gpu_memory.estimate(case, sizes) is None for case in cases):
        return None, allowed
    return gpu_memory.planned_bytes(cases, sizes, allowed), allowed


def _pace(runner: Runner, settings: RunSettings) -> tuple[float, bool]:
    """Seconds for each expected one, and whether that follows from processes of the run that have finished."""
    states = runner.standing.states
    expected = sum(len(state.raw) * expected_seconds(case.config, settings.plan) for case, state in states.items())
    taken = runner.document.time_spent.measuring
    return (taken / expected, True) if taken and expected else (1.0, False)


def _peaks_seconds(runner: Runner, settings: RunSettings, to_come: Sequence[Sequence[Job]]) -> float:
    if not settings.with_peaks or not to_come or not settings.environments[settings.own_source.name].tensorflow:
        return 0.0
    once = PEAKS_SECONDS * len({case.config.precision for case in runner.standing.states})
    if runner.document.until == "resolved":
        return 0.0 if runner.document.peaks else 2 * once
    return once * (2 if len(to_come) > 1 else 1)
