"""How far a run is: what has become of each case, and the cohorts that were finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gnet_core.plan.schedule import Job
from gnet_core.plan.suites import PlannedCase
from gnet_core.results.run_document import RecordedCohort, Size
from gnet_core.run.cohort import Outcome

SETTLED = ("oom", "unsupported")
"""Statuses that measuring again would not change."""

MAX_LOST = 2
"""Processes of a case that may fail or hang before no more of them are started: once may have been an accident."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseState:
    """State of a case during a run. `status` stays None while nothing was measured, and `note` then says why."""

    case: PlannedCase
    status: str | None = None
    note: str = ""
    raw: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    """A sentence on each process that did not finish."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a run is. Never changed, only replaced as a whole, so that an interrupt finds the one or the next."""

    states: Mapping[PlannedCase, CaseState]
    cohorts: tuple[RecordedCohort, ...] = ()
    turns: tuple[dict[str, Any], ...] = ()
    lost: tuple[PlannedCase, ...] = ()
    """The case of each process that an earlier part of the run has lost and that is to be measured again."""
    sizes: Mapping[PlannedCase, Size] = dataclasses.field(default_factory=dict)
    """GPU memory of a worker of a case, where it was measured or bounded; a case on a CPU has none."""

    def jobs(self, cohort: RecordedCohort) -> list[Job]:
        """The processes of a cohort, in its order."""
        cases = {case.name: case for case in self.states}
        return [Job(case=cases[worker.case], replicate=worker.replicate) for worker in cohort.names]

    def still_wanted(self, case: PlannedCase) -> bool:
        """Whether to start a process of it: not if it is settled, MAX_LOST were lost or a smaller batch did not fit."""
        state = self.states[case]
        tried_enough = state.status in SETTLED or len(state.lost) >= MAX_LOST
        too_large = self.smaller_batch_out_of_memory(case) is not None
        return not too_large and (state.status in (None, "ok") or not tried_enough)

    def smaller_batch_out_of_memory(self, case: PlannedCase) -> int | None:
        """The batch size at which the same case ran out of memory, if a smaller one did."""
        for other, state in self.states.items():
            smaller = other.config.batch_size < case.config.batch_size
            if smaller and state.status == "oom" and other.differs_in_batch_size_alone(case):
                return other.config.batch_size
        return None

    def after(self, index: int, jobs: Sequence[Job], outcome: Outcome) -> Standing:
        """The standing once the cohort of that index has run with these jobs."""
        states = {case: _after(state, outcome) for case, state in self.states.items()}
        planned, order = self.cohorts[index], tuple(map(tuple, outcome.order))
        if outcome.interrupted and outcome.crowded:  # it will run once more, without those that run alone
            jobs, order = [job for job in jobs if job not in outcome.crowded], ()
        workers = tuple(str(job.worker) for job in jobs)
        cohort = msgspec.structs.replace(planned, workers=workers, order=order, complete=not outcome.interrupted)
        crowded = (msgspec.structs.replace(planned, workers=(str(job.worker),)) for job in outcome.crowded)
        cohorts = (*self.cohorts[:index], cohort, *self.cohorts[index + 1 :], *crowded)
        return dataclasses.replace(self, states=states, cohorts=cohorts, turns=(*self.turns, *outcome.turns)).noted()

    def noted(self, otherwise: str = "") -> Standing:
        """Note at each unmeasured case that a smaller batch was out of memory, else its own note, else `otherwise`."""
        states = dict(self.states)
        for case, state in states.items():
            if state.status is None:
                smaller = self.smaller_batch_out_of_memory(case)
                note = f"not run: batch size {smaller} was out of memory already" if smaller else state.note
                states[case] = dataclasses.replace(state, note=note or otherwise)
        return dataclasses.replace(self, states=states)


def _after(state: CaseState, outcome: Outcome) -> CaseState:
    """The state of a case after a cohort: a lost process fails the case only where no other has measured it."""
    raw = [job.worker.raw_file for job in outcome.finished if job.case == state.case]
    gone = {job: why for job, why in outcome.lost.items() if job.case == state.case}
    if not raw and not gone:
        return state
    sentences = [f"replicate {job.replicate} lost ({why.status}): {why.note}" for job, why in gone.items()]
    state = dataclasses.replace(state, raw=(*state.raw, *raw), lost=(*state.lost, *sentences))
    if state.raw:
        return dataclasses.replace(state, status="ok", note="; ".join(state.lost))
    last = list(gone.values())[-1]
    return dataclasses.replace(state, status=last.status, note=last.note)
