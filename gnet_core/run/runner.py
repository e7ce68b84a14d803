"""In the parent: runs the cases cohort by cohort, and keeps run.json true to what is finished."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import whole
from gnet_core.files.json_documents import typed
from gnet_core.plan.schedule import Job, cohorts, estimated_bytes, groups
from gnet_core.plan.suites import PlannedCase, Suite, comparisons
from gnet_core.results import looks
from gnet_core.results.raw_files import RawFile
from gnet_core.results.records import Run, load_run
from gnet_core.results.run_document import GpuMemory, Look, RecordedCase, RecordedCohort, RunDocument, Size
from gnet_core.results.turns import write_turns
from gnet_core.run import gpu_memory
from gnet_core.run.account import Account
from gnet_core.run.apart import peaks, profile_case
from gnet_core.run.budget import Budget
from gnet_core.run.cohort import Cohort, Outcome, Progress
from gnet_core.run.standing import MAX_LOST, CaseState, Standing
from gnet_core.run.worker import RunSettings
from gnet_core.stats.sequential import FIRST_LOOK, MAX_LOOKS
from gnet_core.system import interrupts

Looked = Callable[[Look, int, float], None]
"""Called with each look, the number of processes of a case at the last look, and the seconds left of the budget."""

MIN_TURNS, MAX_TURNS = 3, 24
"""Turns of a process after the pilot. Three pairs of processes do not tell their variance well enough for more."""

LONE_TURNS = 5
"""Turns of a process of cases that are compared with none. Fresh processes one after the other differ by 4 to 8 %, and
the mean of five blocks, which scatter by 7 %, by 3 %.
"""


class Runner:
    """Measures the cases that are still open. `document` is run.json with neither cases nor cohorts."""

    def __init__(
        self,
        states: list[CaseState],
        suites: Sequence[Suite],
        settings: RunSettings,
        document: RunDocument,
        standing: Standing | None = None,
        require_unchanged: Callable[[], None] = lambda: None,
        began: float | None = None,
    ) -> None:
        """`standing` is how far an earlier part of the run came (see gnet_core.run.resuming). `require_unchanged` is
        called after each cohort and raises GnetError where that is void, since what is fed to the step has changed.
        The run `began` to be prepared at that time of the monotonic clock, if it is given.
        """
        self.compared = comparisons([state.case for state in states], suites)
        """Each base with each case that is compared with it."""
        self._settings = settings
        self._document = document
        self._standing = standing or Standing(states={state.case: state for state in states})
        self._require_unchanged = require_unchanged
        self._account = Account(document.time_spent, began)

    @property
    def document(self) -> RunDocument:
        """run.json as it stands; its cases and cohorts are filled in as it is written."""
        return self._document

    @property
    def standing(self) -> Standing:
        """How far the run is."""
        return self._standing

    def cohorts_to_come(self, sizes: Mapping[PlannedCase, int], memory_bytes: int) -> list[list[Job]]:
        """The processes that would be started next, by cohort, if cases took so many bytes of so many for all workers
        alive together. In a run until resolved that is one process more of each open case, else all of them.
        """
        standing = self._standing
        begun = [standing.jobs(cohort) for cohort in standing.cohorts if not cohort.complete]
        if self._document.until == "fixed":
            cases, rounds = self._unplanned()
        else:
            cases, rounds = ([], 0) if begun else (self._wanted(), 1)
        planned = [*begun, *self._packed({case: sizes[case] for case in cases}, rounds, memory_bytes)]
        wanted = ([job for job in jobs if standing.still_wanted(job.case)] for jobs in planned)
        return list(filter(None, wanted))

    def run(self, progress: Progress, profiled: StepConfig | None = None, looked: Looked = lambda *_: None) -> bool:
        """Measure what is open, then trace the case `profiled`; True when nothing interrupted it. Raises GnetError if
        the run cannot go on; what was finished is on disk, as run.json and turns.csv are written after each cohort.
        `looked` hears how the comparisons of a run until resolved stand after each of its cohorts.
        """
        budget = Budget(self._document, self._account, traces=profiled is not None)
        self._account.begin("waiting")
        self._note(complete=False)
        self.write()  # first, so that a directory with anything in it says what it is
        whole.make_own_folder(self._settings.directory / "raw")
        whole.remove_partial_files(self._settings.directory / "raw")
        try:
            if self._document.until == "resolved":
                self._run_until_resolved(progress, looked, budget)
            else:
                self._plan_cohorts(progress)
                self._run_cohorts(progress)
            if profiled is not None:
                self._trace(profiled, progress)
            self._note(complete=True)
        except KeyboardInterrupt:
            self._standing = self._standing.noted("interrupted before it was measured")
        finally:
            self.write()
            self._account.begin("report")  # which the next write knows the time of
        return self._document.complete

    def require_budget(self, profiled: StepConfig | None = None) -> None:
        """Raise GnetError where the budget is shorter than a first process of each case takes on any machine."""
        if self._document.until == "resolved":
            budget = Budget(self._document, self._account, traces=profiled is not None)
            budget.require_room_for([case.config for case in self._open_cases()])

    def to_measure(self) -> list[PlannedCase]:
        """The case of each process that is still to be measured."""
        if cohorts := self._standing.cohorts:
            planned = [job.case for cohort in cohorts if not cohort.complete for job in self._standing.jobs(cohort)]
            return [*planned, *self._standing.lost]
        return self._open_cases() * self._settings.replicates

    def write(self) -> None:
        """Write turns.csv, then run.json, each whole: turns of a cohort that run.json lacks do not count."""
        standing = self._standing
        write_turns(self._settings.directory, standing.turns)
        cases = tuple(
            RecordedCase(
                case=case.name,
                config=case.config.to_dict(),
                source=case.source,
                suites=case.suites,
                status=state.status,
                note=state.note,
                raw=state.raw,
                gpu_memory=standing.sizes.get(case, msgspec.UNSET),
            )
            for case, state in standing.states.items()
        )
        self._note(cases=cases, cohorts=standing.cohorts, time_spent=self._account.spent)
        text = json.dumps(msgspec.to_builtins(self._document), indent=1)
        whole.write_whole(self._settings.directory / "run.json", text)

    def _note(self, **changes: Any) -> None:
        self._document = msgspec.structs.replace(self._document, **changes)

    def _open_cases(self) -> list[PlannedCase]:
        return [case for case, state in self._standing.states.items() if state.status is None]

    def _plan_cohorts(self, progress: Progress) -> None:
        """Plan the cohorts of a new run, or those that measure again what an earlier part of the run has lost."""
        cases, rounds = self._unplanned()
        if rounds:
            self._plan(cases, rounds, progress)

    def _unplanned(self) -> tuple[list[PlannedCase], int]:
        """The cases for which cohorts are to be planned, and how many processes more each of them is to have."""
        lost = self._standing.lost
        if self._standing.cohorts and not lost:
            return [], 0
        rounds = max(Counter(lost).values(), default=self._settings.replicates)
        # Beside its base, or the comparison would be of processes that never took turns.
        bases = {variant: base for base, variant in reversed(self.compared)}
        beside = [bases[case] for case in lost if case in bases]
        return list(dict.fromkeys([*beside, *(lost or self._open_cases())])), rounds

    def _plan(self, cases: list[PlannedCase], rounds: int, progress: Progress) -> None:
        """Append cohorts in which each of the cases has so many processes more."""
        planned, again = self._standing.cohorts, bool(self._standing.lost)
        sizes, memory = {case: estimated_bytes(case.config) for case in cases}, self._settings.memory_bytes
        if any(case.config.device != "cpu" for case in cases):
            sizes, memory = self._gpu_sizes(cases, progress)
        workers = (tuple(str(job.worker) for job in jobs) for jobs in self._packed(sizes, rounds, memory))
        new = (RecordedCohort(workers=names, order=(), complete=False, again=again) for names in workers)
        self._standing = dataclasses.replace(self._standing, cohorts=(*planned, *new), lost=())
        self.write()

    def _packed(self, sizes: Mapping[PlannedCase, int], rounds: int, memory_bytes: int) -> list[list[Job]]:
        """Cohorts with so many processes more of each case that has a size, numbered on from those there are."""
        jobs = [job for cohort in self._standing.cohorts for job in self._standing.jobs(cohort)]
        started = {job.case: job.replicate for job in sorted(jobs, key=lambda job: job.replicate)}  # the last counts
        bases = {variant: base for base, variant in reversed(self.compared)}
        return cohorts(self._parts(list(sizes)), rounds, memory_bytes, sizes, bases, started)

    def _gpu_sizes(self, cases: list[PlannedCase], progress: Progress) -> tuple[dict[PlannedCase, int], int]:
        """The bytes to plan each case with, and the budget. No formula gives them, so some cases run alone for a
        turn, in ascending batches. One that is out of memory is a row from then on, and no larger batch of it is tried.
        """
        (device,) = {case.config.device for case in cases}
        free = gpu_memory.free_bytes(device)
        budget = int(gpu_memory.SHARE * (free or 0))
        memory = GpuMemory(free_bytes=free, budget_bytes=budget, note="")
        self._note(gpu_memory=memory)
        if (taken := self._settings.worker_bytes) and not self._standing.sizes:
            sizes = dict.fromkeys(cases, Size(taken_bytes=taken, origin="told"))
            self._standing = dataclasses.replace(self._standing, sizes=sizes)
        cases = self._still_wanted(sorted(cases, key=lambda case: case.config.batch_size))
        while probed := gpu_memory.next_probe(self._parts(cases), self._standing.sizes, budget):
            if not self._probe(probed, progress):
                cases.remove(probed)
            cases = self._still_wanted(cases)
        estimates = {case: gpu_memory.estimate(case, self._standing.sizes) for case in cases}
        sizes = {**self._standing.sizes, **{case: size for case, size in estimates.items() if size is not None}}
        self._standing = dataclasses.replace(self._standing, sizes=sizes)
        self._note(gpu_memory=msgspec.structs.replace(memory, note=gpu_memory.note(free, sizes.values())))
        return gpu_memory.planned_bytes(cases, sizes, budget), budget

    def _still_wanted(self, cases: list[PlannedCase]) -> list[PlannedCase]:
        return [case for case in cases if self._standing.still_wanted(case)]

    def _parts(self, cases: list[PlannedCase]) -> list[list[PlannedCase]]:
        return groups(cases, [pair for pair in self.compared if set(pair) <= set(cases)])

    def _probe(self, case: PlannedCase, progress: Progress) -> bool:
        """Whether a worker of the case could run alone for a turn; its size is in run.json from then on."""
        job = Job(case=case, replicate=0)
        settings = dataclasses.replace(self._settings, plan=dataclasses.replace(self._settings.plan, turns=1))
        progress(f"{case.name}: what memory does it take?", 0.0)
        with gpu_memory.metered(case.config.device) as meter:
            outcome = Cohort(
                [job],
                0,
                settings,
                lambda *_: None,
                lambda worker: meter.look(worker.pids()),
                account=self._account,
            ).run()
        if outcome.interrupted:
            raise KeyboardInterrupt
        standing = self._standing
        if job in outcome.lost:
            state, why = standing.states[case], outcome.lost[job]
            if not state.raw:
                state = dataclasses.replace(state, status=why.status, note=why.note)
            self._standing = dataclasses.replace(standing, states={**standing.states, case: state}).noted()
        else:
            raw = self._settings.directory / job.worker.raw_file
            (measured,) = typed(str(raw), json.loads(whole.read_text(raw)), RawFile).benchmarks
            size = meter.size(measured.extra_info.peak_memory_bytes)
            raw.unlink()
            self._standing = dataclasses.replace(standing, sizes={**standing.sizes, case: size})
        self.write()
        return job not in outcome.lost

    def _run_cohorts(self, progress: Progress) -> None:
        """Run the open cohorts, with the device's peaks before and after them."""
        if all(cohort.complete for cohort in self._standing.cohorts):
            return
        self._measure_peaks(progress)
        self._run_open_cohorts(progress)
        if looks.has_become_faster(load_run(self._settings.directory)):
            self._measure_peaks(progress)

    def _run_open_cohorts(self, progress: Progress, budget: Budget | None = None) -> None:
        index = 0
        while index < len(self._standing.cohorts):  # which grows where a worker was crowded out
            if not self._standing.cohorts[index].complete:
                self._run_cohort(index, progress, budget)
            index += 1

    def _run_until_resolved(self, progress: Progress, looked: Looked, budget: Budget) -> None:
        """Measure each open case by one process more, look, and go on until every comparison is settled, the looks are
        used up, or what is left of the budget would not do for another process of each.

        How many looks there are follows from the cost of the first processes, before any result is seen, and from
        nothing else: the error of a look depends on it.
        """
        if self._document.looks and self._document.max_looks is not None:
            looked(self._document.looks[-1], self._document.max_looks, budget.left_seconds)
        if not self._document.peaks:
            self._measure_peaks(progress)
        while True:
            self._run_open_cohorts(progress, budget)
            budget.note_measured(self._measured_processes())
            if any(cohort.complete for cohort in self._standing.cohorts):
                self._look(budget, looked)
            wanted = self._wanted()
            if not wanted or not budget.has_room_for([case.config for case in wanted]):
                break
            self._plan(wanted, 1, progress)
        if unmeasured := self._still_wanted(self._open_cases()):
            needed = budget.predicted_seconds([case.config for case in unmeasured])
            raise GnetError(
                f"budget: it ended before a first process of {len(unmeasured)} of {len(self._standing.states)} cases, "
                f"which take about {needed:.0f} s more, and as much again for each of two further processes"
            )
        if looks.has_become_faster(load_run(self._settings.directory)):
            self._measure_peaks(progress)

    def _measured_processes(self) -> list[tuple[StepConfig, int]]:
        """The processes of the cohorts that are finished, with their turns."""
        standing = self._standing
        finished = [cohort for cohort in standing.cohorts if cohort.complete]
        return [(job.case.config, len(cohort.order)) for cohort in finished for job in standing.jobs(cohort)]

    def _wanted(self) -> list[PlannedCase]:
        """The cases that are to have another process: all that have none; then those of the comparisons that the last
        look left open; then those that are in none and have too few for an interval.
        """
        states = self._standing.states
        if not any(cohort.complete for cohort in self._standing.cohorts):
            return self._still_wanted(list(states))
        run = load_run(self._settings.directory)
        without_any = [case for case, state in states.items() if not state.raw]
        unmeasured = {case.name for case in self._still_wanted(without_any)}  # and not what cannot be measured
        # A process that is lost, or shares no round with another, makes no pair, and the looks would have no end. The
        # base has more processes, one in each cohort with a variant of its.
        most = (self._document.max_looks or MAX_LOOKS) + MAX_LOST
        exhausted = {case.name for case, state in states.items() if len(state.raw) + len(state.lost) >= most}
        of_questions = {name for pair in looks.open_pairs(run) if pair[1] not in exhausted for name in pair}
        wanted = of_questions | unmeasured or looks.lone_cases(run) - exhausted
        return self._still_wanted([case for case in states if case.name in wanted])

    def _look(self, budget: Budget, looked: Looked) -> None:
        """Take a look at the comparisons, which is in run.json from then on if any has pairs that it had not at the
        last one, and enough.
        """
        run, document = load_run(self._settings.directory), self._document
        if (max_looks := document.max_looks) is None:
            in_any = looks.compared_cases(run)
            max_looks = budget.last_look([case.config for case in self._standing.states if case.name in in_any])
        look = looks.look_at(run, max_looks)
        last = document.looks[-1].comparisons if document.looks else ()
        self._note(max_looks=max_looks)
        if look.comparisons != last and any(cell.pairs >= FIRST_LOOK for cell in look.comparisons):
            turns = document.turns or self._optimal_turns(run)
            self._note(looks=(*document.looks, look), turns=turns)
        self.write()
        looked(look, max_looks, budget.left_seconds)

    def _optimal_turns(self, run: Run) -> int:
        """The turns of each process after the pilot, by what a start and a turn have cost and how blocks and processes
        have scattered in it.
        """
        spent, processes = self._account.spent, self._measured_processes()
        start_seconds = (spent.starting + spent.warming_up) / len(processes)
        turn_seconds = spent.timing / sum(turns for _config, turns in processes)
        turns = looks.optimal_turns(run, start_seconds / turn_seconds) or self._settings.plan.turns
        return round(min(MAX_TURNS, max(MIN_TURNS, turns)))

    def _run_cohort(self, index: int, progress: Progress, budget: Budget | None = None) -> None:
        """Run a cohort, until the deadline of the budget where there is one."""
        standing, settings = self._standing, self._settings
        jobs = [job for job in standing.jobs(standing.cohorts[index]) if standing.still_wanted(job.case)]
        deadline, step_seconds = math.inf, {}
        if budget is not None:
            deadline, step_seconds = budget.deadline, self._known_step_seconds()
            turns = self._document.turns
            if not any(job.case in pair for job in jobs for pair in self.compared):
                turns = min(turns or LONE_TURNS, LONE_TURNS)
            if turns and budget.has_room_for([job.case.config for job in jobs], turns):
                settings = dataclasses.replace(settings, plan=dataclasses.replace(settings.plan, turns=turns))
        outcome = Outcome()
        if jobs:
            cohort = Cohort(
                jobs,
                index + 1,
                settings,
                progress,
                account=self._account,
                deadline=deadline,
                step_seconds=step_seconds,
            )
            outcome = cohort.run()
        with interrupts.deferred():
            if jobs:
                self._require_unchanged()
            self._standing = standing.after(index, jobs, outcome)
            self.write()
        if outcome.interrupted:
            raise KeyboardInterrupt

    def _known_step_seconds(self) -> dict[PlannedCase, float]:
        """The time of a step of each case that may start beside others. On a GPU none may, whose libraries choose their
        algorithms by timing them; nor in another checkout, whose code may not know of it.
        """
        sources = {source.checkout for source in self._settings.sources.values()}
        if self._document.device != "cpu" or len(sources) > 1:
            return {}
        rows = load_run(self._settings.directory).row_of
        return {
            case: row.step_seconds
            for case in self._standing.states
            if (row := rows.get(case.name)) and row.step_seconds is not None
        }

    def _trace(self, config: StepConfig, progress: Progress) -> None:
        if why := self._why_no_tensorflow():
            self._note(profile_note=f"{why}, and steps of no other framework are traced")
        elif not (self._settings.directory / "traces" / config.name / whole.PROFILE_FILE).is_file():
            progress(f"{config.name}: tracing where its time goes", 0.0)
            self._account.begin("trace")
            self._note(profile_note=profile_case(config, self._settings))
            self._account.begin("waiting")

    def _why_no_tensorflow(self) -> str:
        """Why there are neither peaks nor a trace, which are TensorFlow's; empty where it is installed."""
        source = self._settings.own_source
        installed = self._settings.environments[source.name].tensorflow
        return "" if installed else f"TensorFlow is not installed in {source.python}"

    def _measure_peaks(self, progress: Progress) -> None:
        """Measure them once more. The best is the peak, as the machine may have had a slow minute."""
        configs = [case.config for case, state in self._standing.states.items() if state.status in (None, "ok")]
        precisions = sorted({config.precision for config in configs})
        if not precisions or not self._settings.with_peaks:
            return
        if why := self._why_no_tensorflow():
            self._note(peaks=({"error": f"{why}, which measures them, so there is no MFU"},))
            return
        progress("the device's peaks", 0.0)
        self._account.begin("peaks")
        measured = peaks(configs[0].device, precisions, self._settings)
        self._account.begin("waiting")
        self._note(peaks=(*self._document.peaks, measured))
