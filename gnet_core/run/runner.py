"""In the parent: finds the cases, runs them cohort by cohort, and keeps run.json true to what is finished."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import secrets
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import migrations
from gnet_core.files.json_documents import to_plain, typed
from gnet_core.files.whole import (
    PARTIAL_PREFIX,
    PROFILE_FILE,
    make_own_folder,
    read_text,
    remove_partial_files,
    write_whole,
)
from gnet_core.frameworks.base import why_another_gpu, why_unsupported
from gnet_core.machine.devices import precision_support, require_precision
from gnet_core.machine.environment import Environment
from gnet_core.plan.request import InfoRequest, PeaksRequest, ProfileRequest, Request, program_words
from gnet_core.plan.schedule import Job, cohorts, estimated_bytes, groups
from gnet_core.plan.suites import PlannedCase, Source, Suite, comparisons
from gnet_core.results.raw_files import RawFile
from gnet_core.results.run_document import GpuMemory, Peaks, RecordedCase, RecordedCohort, RunDocument, Size
from gnet_core.results.turns import write_turns
from gnet_core.run import gpu_memory
from gnet_core.run.cohort import Cohort, Outcome, Progress
from gnet_core.run.worker import RunSettings, Worker, WorkerLost
from gnet_core.system import children, interrupts
from gnet_core.system.git import commit

PROBE_LIMIT_SECONDS = 180
SETTLED = ("oom", "unsupported")
"""Statuses that measuring again would not change."""

MAX_LOST = 2
"""Processes of a case that may fail or hang before no more of them are started: once may have been an accident."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundSuite:
    """A suite and the benchmark module that declares it."""

    suite: Suite
    module: Path


@dataclasses.dataclass(kw_only=True)
class CaseState:
    """What became of a case so far. `status` stays None while nothing was measured, and `note` then says why."""

    case: PlannedCase
    module: str
    """The file in benchmarks/ that measures it."""
    status: str | None = None
    note: str = ""
    raw: list[str] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)
    """What became of each process that did not finish."""


def find_checkout(start: Path) -> Path:
    """The folder at or above `start` whose benchmarks/ a run drives. Raises GnetError outside a checkout."""
    for folder in (start, *start.parents):
        if (folder / "benchmarks" / "conftest.py").is_file() and (folder / "gnet_core").is_dir():
            return folder
    raise GnetError(
        f"checkout: {start} is not in one; gnet bench drives the files in benchmarks/, so run it in a checkout"
    )


def discover(checkout: Path) -> list[FoundSuite]:
    """The suites that benchmarks/bench_*.py declare, by their position. Raises GnetError naming a broken file."""
    found = []
    for module in sorted((checkout / "benchmarks").glob("bench_*.py")):
        try:
            spec = importlib.util.spec_from_file_location(f"gnet_benchmarks.{module.stem}", module)
            assert spec is not None
            assert spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
            suite = loaded.SUITE
            if not isinstance(suite, Suite):
                raise TypeError(f"SUITE is {suite!r:.60}")
        except KeyboardInterrupt:
            raise
        except GnetError as error:
            raise GnetError(f"benchmarks: {module.name}: {error}") from error
        except BaseException as error:  # also what ends a program, or skips a file of tests
            raise GnetError(f"benchmarks: {module.name} declares no SUITE that can be read: {error!r:.300}") from error
        found.append(FoundSuite(suite=suite, module=module))
    return sorted(found, key=lambda item: (item.suite.position, item.suite.name))


def choose_suites(found: list[FoundSuite], names: tuple[str, ...], preset: str) -> list[FoundSuite]:
    """Those named; when none is, all that the preset has. Raises GnetError for a name that no module declares."""
    known = [item.suite.name for item in found]
    for name in names:
        if name not in known:
            raise GnetError(f"suite: {name!r} is unknown; use one of {', '.join(known)}")
    if names:
        return [item for item in found if item.suite.name in names]
    return [item for item in found if preset in item.suite.presets]


def probe(source: Source) -> Environment:
    """The machine and the frameworks as the source's interpreter sees them, with its commit. Raises GnetError naming
    the interpreter.
    """
    python = source.python
    command = [python, "-m", *program_words(InfoRequest(as_json=True))]
    try:
        answer = children.ask(command, cwd=source.checkout, limit_seconds=PROBE_LIMIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GnetError(f"python: {python} could not be asked about its frameworks ({error})") from error
    try:
        document = children.document(answer.stdout)
    except ValueError:
        said = children.last_words(answer.stderr)
        raise GnetError(f"python: {python} could not describe its frameworks; it said: {said}") from None
    environment = typed(f"python: {python} described its frameworks otherwise than gnet does", document, Environment)
    machine = msgspec.structs.replace(environment.machine, commit=commit(source.checkout))
    return msgspec.structs.replace(environment, machine=machine)


_TELLS_DEFAULTS = "import json; from gnet_core.config import StepConfig; print(json.dumps(StepConfig().to_dict()))"


def fields_known(checkout: Path) -> dict[str, Any]:
    """The fields of StepConfig in the code of a checkout, which may be older or newer than this, with their defaults.

    Raises GnetError for code that has none.
    """
    command = [sys.executable, "-c", _TELLS_DEFAULTS]
    try:
        answer = children.ask(command, cwd=checkout, limit_seconds=PROBE_LIMIT_SECONDS)
        found = children.document(answer.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GnetError(f"checkout: {checkout} could not be asked what a case is there ({error})") from error
    except ValueError:
        said = children.last_words(answer.stderr)
        raise GnetError(f"checkout: {checkout} could not tell what a case is there; it said: {said}") from None
    return dict(found)


def probe_all(sources: Iterable[Source]) -> dict[str, Environment]:
    """What each interpreter of the sources says of itself, by its name (see Source.environment_name), sources first."""
    found = {source.name: probe(source) for source in sources}
    for source in sources:
        of_python = {source.python: found[source.name]}
        for framework, python in source.peers.items():
            if python not in of_python:
                of_python[python] = probe(dataclasses.replace(source, python=python))
            found[framework] = of_python[python]
    return found


def deciding(environments: Mapping[str, Environment]) -> Environment:
    """The environment whose devices a run's are: the first in which there is a framework."""
    first = next(iter(environments.values()))
    return next((each for each in environments.values() if each.section(each.leading)), first)


def make_states(
    planned: Sequence[PlannedCase],
    found: Sequence[FoundSuite],
    sources: Mapping[str, Source],
    environments: Mapping[str, Environment],
    most_images: float = math.inf,
) -> list[CaseState]:
    """A state for each case. One that cannot be run is `unsupported` from the start: a framework that its interpreter
    has not, a precision that its device cannot do, a batch of more than `most_images`, the images that there are, or
    what the code of its source does not know.
    `environments` has what each interpreter of the sources said (see `probe_all`). Raises GnetError where nothing else
    is left.
    """
    modules = {item.suite.name: item.module.name for item in found}
    states = []
    for case in planned:
        config = case.config
        # Every module times any case; a case that no suite asked for, as of an A/A comparison, takes the first.
        state = CaseState(case=case, module=modules.get(case.suites[0], found[0].module.name))
        if reason := why_not(case, sources, environments, most_images):
            state.status, state.note = "unsupported", reason
        states.append(state)
    if all(state.status == "unsupported" for state in states):
        config, source = states[0].case.config, sources[states[0].case.source]
        environment = environments[source.environment_name(config.framework)]
        if why := why_unsupported(config, environment, _of_another(source, config)):
            raise GnetError(f"framework: {config.framework!r} cannot be measured: {why}")
        require_precision(config.precision, config.device, environment)
        raise GnetError(f"batch_size: {config.batch_size} is too large; {states[0].note}, so use at most {most_images}")
    checkouts = {source.checkout for source in sources.values()}
    known = {each: fields_known(each) for each in checkouts} if len(checkouts) > 1 else {}  # one is of this code
    for state in states:
        checkout = sources[state.case.source].checkout
        if checkout in known and (reason := why_not_in_code(state.case.config, known[checkout])):
            state.status, state.note = "unsupported", reason
    return states


def why_not(
    case: PlannedCase,
    sources: Mapping[str, Source],
    environments: Mapping[str, Environment],
    most_images: float = math.inf,
) -> str:
    """Why a case cannot be run, as make_states takes them; empty where it can."""
    config, source = case.config, sources[case.source]
    environment = environments[source.environment_name(config.framework)]
    support = precision_support(environment, config.device, config.framework)[config.precision]
    return (
        why_unsupported(config, environment, _of_another(source, config))
        or why_another_gpu(config, environment, deciding(environments))
        or ("" if support.supported else support.reason)
        or ("" if config.batch_size <= most_images else f"the data has only {most_images} images to train on")
    )


def why_not_in_code(config: StepConfig, known: Mapping[str, Any]) -> str:
    """Why code with these fields and defaults (see `fields_known`) would not measure the case by what a worker is told
    of it; empty where it would.
    """
    asked = config.overrides()
    if unknown := [field for field in asked if field not in known]:
        return f"this revision has no {unknown[0]}, of which {asked[unknown[0]]!r} was asked"
    try:
        others = migrations.read_config({**known, **asked}).differences(config)
    except GnetError as error:  # it has a field that this version does not know
        return str(error)
    told = [f"{field} {theirs!r}, where {ours!r} was asked" for field, (theirs, ours) in others.items()]
    return f"this revision measures {'; '.join(told)}" if told else ""


def _of_another(source: Source, config: StepConfig) -> str:
    """The interpreter that would run the case, where it is not gnet's own."""
    python = source.interpreter(config.framework)
    return "" if python == sys.executable else python


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedCohort:
    """Processes that are to be alive together, and what became of their turns."""

    jobs: tuple[Job, ...]
    order: tuple[tuple[int, ...], ...] = ()
    """Of each round, the workers by number as they took their turns."""
    complete: bool = False
    again: bool = False
    """Whether it measures again what an earlier part of the run has lost."""

    def recorded(self) -> RecordedCohort:
        """As run.json has it."""
        workers = tuple(str(job.worker) for job in self.jobs)
        return RecordedCohort(workers=workers, order=self.order, complete=self.complete, again=self.again)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a run is. Never changed, only replaced as a whole, so that an interrupt finds the one or the next."""

    states: Mapping[PlannedCase, CaseState]
    cohorts: tuple[PlannedCohort, ...] = ()
    turns: tuple[dict[str, Any], ...] = ()
    """Rows of turns.csv."""
    lost: tuple[PlannedCase, ...] = ()
    """The case of each process that an earlier part of the run has lost and that is to be measured again."""
    sizes: Mapping[PlannedCase, Size] = dataclasses.field(default_factory=dict)
    """What a worker of a case takes of the GPU, as far as that is known; a case on a CPU has none."""

    def still_wanted(self, job: Job) -> bool:
        """Not when the case was lost MAX_LOST times and never measured or would be again, nor when a smaller batch of
        it was out of memory.
        """
        state = self.states[job.case]
        too_large = self.smaller_batch_out_of_memory(job.case)
        tried_enough = state.status in SETTLED or len(state.lost) >= MAX_LOST
        return too_large is None and (state.status in (None, "ok") or not tried_enough)

    def smaller_batch_out_of_memory(self, case: PlannedCase) -> int | None:
        """The batch size at which the same case ran out of memory, if a smaller one did."""
        for other in self.states.values():
            smaller = other.case.config.batch_size
            same = dataclasses.replace(other.case.config, batch_size=case.config.batch_size) == case.config
            same = same and other.case.source == case.source
            if same and other.status == "oom" and smaller < case.config.batch_size:
                return smaller
        return None

    def after(self, index: int, jobs: Sequence[Job], outcome: Outcome) -> Standing:
        """The standing once the cohort of that index has run with these jobs."""
        states = {case: _after(state, outcome) for case, state in self.states.items()}
        planned, order = self.cohorts[index], tuple(map(tuple, outcome.order))
        if outcome.interrupted and outcome.crowded:  # it will run once more, without those that run alone
            jobs, order = [job for job in jobs if job not in outcome.crowded], ()
        cohort = dataclasses.replace(planned, jobs=tuple(jobs), order=order, complete=not outcome.interrupted)
        crowded = tuple(dataclasses.replace(planned, jobs=(job,)) for job in outcome.crowded)
        cohorts = (*self.cohorts[:index], cohort, *self.cohorts[index + 1 :], *crowded)
        return dataclasses.replace(self, states=states, cohorts=cohorts, turns=(*self.turns, *outcome.turns)).noted()

    def noted(self) -> Standing:
        """The same with a reason at every case that is not measured since a smaller batch was out of memory."""
        states = {}
        for case, state in self.states.items():
            too_large = self.smaller_batch_out_of_memory(case) if state.status is None else None
            note = f"not run: batch size {too_large} was out of memory already"
            states[case] = state if too_large is None else dataclasses.replace(state, note=note)
        return dataclasses.replace(self, states=states)

    def interrupted(self) -> Standing:
        """The same with a reason at every case that was not measured."""
        told = "interrupted before it was measured"
        states = {
            case: dataclasses.replace(state, note=state.note or told) if state.status is None else state
            for case, state in self.states.items()
        }
        return dataclasses.replace(self, states=states)


def _after(state: CaseState, outcome: Outcome) -> CaseState:
    """The state of a case after a cohort: a lost process fails the case only where no other has measured it."""
    raw = state.raw + [raw for job, raw in outcome.finished.items() if job.case == state.case]
    gone = {job: why for job, why in outcome.lost.items() if job.case == state.case}
    if len(raw) == len(state.raw) and not gone:
        return state
    lost = state.lost + [f"replicate {job.replicate} lost ({why.status}): {why.note}" for job, why in gone.items()]
    if raw:
        return dataclasses.replace(state, raw=raw, lost=lost, status="ok", note="; ".join(lost))
    why = list(gone.values())[-1]
    return dataclasses.replace(state, lost=lost, status=why.status, note=why.note)


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
    ) -> None:
        """`standing` is how far an earlier part of the run came (see gnet_core.run.resuming). `require_unchanged` is
        asked after each cohort and raises GnetError where that is void, since what is fed to the step has changed.
        """
        self._compared = comparisons([state.case for state in states], suites)
        self._modules = {state.case: state.module for state in states}
        self._settings = settings
        self._document = document
        self._standing = standing or Standing(states={state.case: state for state in states})
        self._require_unchanged = require_unchanged

    def run(self, progress: Progress, profiled: StepConfig | None = None) -> bool:
        """Measure what is open, then trace the case `profiled`; True when nothing interrupted it.

        run.json and turns.csv are written anew after each cohort, so that whatever was finished is on disk. Raises
        GnetError where the run cannot go on; what was finished before stands.
        """
        self._note(complete=False)
        self.write()  # first, so that a directory with anything in it tells what it is
        make_own_folder(self._settings.directory / "raw")
        remove_partial_files(self._settings.directory / "raw")
        try:
            self._plan_cohorts(progress)
            self._run_cohorts(progress)
            if profiled is not None:
                self._trace(profiled, progress)
            self._note(complete=True)
        except KeyboardInterrupt:
            self._standing = self._standing.interrupted()
        finally:
            self.write()
        return self._document.complete

    def open_jobs(self) -> list[Job]:
        """What there is to measure."""
        if self._standing.cohorts:
            planned = [job for cohort in self._standing.cohorts if not cohort.complete for job in cohort.jobs]
            return [*planned, *(Job(case=case, replicate=0) for case in self._standing.lost)]
        replicates = range(1, self._settings.replicates + 1)
        return [Job(case=case, replicate=replicate) for replicate in replicates for case in self._open_cases()]

    def write(self) -> None:
        """turns.csv, then run.json, each whole: turns of a cohort that run.json does not know yet are of no account."""
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
                raw=tuple(state.raw),
                gpu_memory=standing.sizes.get(case, msgspec.UNSET),
            )
            for case, state in standing.states.items()
        )
        self._note(cases=cases, cohorts=tuple(cohort.recorded() for cohort in standing.cohorts))
        write_whole(self._settings.directory / "run.json", json.dumps(to_plain(self._document), indent=1))

    def _note(self, **changes: Any) -> None:
        self._document = msgspec.structs.replace(self._document, **changes)

    def _open_cases(self) -> list[PlannedCase]:
        return [case for case, state in self._standing.states.items() if state.status is None]

    def _plan_cohorts(self, progress: Progress) -> None:
        """Those of a new run, or those that measure again what an earlier part of the run has lost."""
        bases = {variant: base for base, variant in reversed(self._compared)}
        lost = self._standing.lost
        if self._standing.cohorts and not lost:
            return
        started: dict[PlannedCase, int] = {}
        for job in (job for cohort in self._standing.cohorts for job in cohort.jobs):
            started[job.case] = max(job.replicate, started.get(job.case, 0))
        rounds = max(Counter(lost).values(), default=self._settings.replicates)
        wanted = list(dict.fromkeys(lost)) or self._open_cases()
        # Beside its base, or the comparison would be of processes that never took turns.
        beside = [bases[case] for case in lost if case in bases]
        cases = list(dict.fromkeys([*beside, *wanted]))
        sizes, memory = {case: estimated_bytes(case.config) for case in cases}, self._settings.memory_bytes
        if any(case.config.device != "cpu" for case in cases):
            sizes, memory = self._gpu_sizes(cases, progress)
        planned = tuple(
            PlannedCohort(jobs=tuple(jobs), again=bool(lost))
            for jobs in cohorts(self._parts(list(sizes)), rounds, memory, sizes, bases, started)
        )
        self._standing = dataclasses.replace(self._standing, cohorts=(*self._standing.cohorts, *planned), lost=())
        self.write()

    def _gpu_sizes(self, cases: list[PlannedCase], progress: Progress) -> tuple[dict[PlannedCase, int], int]:
        """What each case takes of a GPU, which no formula knows: some run alone for a turn, in ascending batches.

        One that is out of memory is a row from then on, and larger batches of the same are not tried.
        """
        (device,) = {case.config.device for case in cases}
        free = gpu_memory.free_bytes(device)
        budget = int(gpu_memory.SHARE * (free or 0))
        known = GpuMemory(free_bytes=free, budget_bytes=budget, note="")
        self._note(gpu_memory=known)
        if (taken := self._settings.worker_bytes) and not self._standing.sizes:
            told = dict.fromkeys(cases, Size(taken_bytes=taken, origin="told"))
            self._standing = dataclasses.replace(self._standing, sizes=told)
        cases = self._still_wanted(sorted(cases, key=lambda case: case.config.batch_size))
        while probed := gpu_memory.next_probe(self._parts(cases), self._standing.sizes, budget):
            if not self._probe(probed, progress):
                cases.remove(probed)
            cases = self._still_wanted(cases)
        estimates = {case: gpu_memory.estimate(case, self._standing.sizes) for case in cases}
        sizes = {**self._standing.sizes, **{case: size for case, size in estimates.items() if size is not None}}
        self._standing = dataclasses.replace(self._standing, sizes=sizes)
        self._note(gpu_memory=msgspec.structs.replace(known, note=gpu_memory.note(free, sizes.values())))
        return gpu_memory.planned_bytes(cases, sizes, budget), budget

    def _still_wanted(self, cases: list[PlannedCase]) -> list[PlannedCase]:
        return [case for case in cases if self._standing.still_wanted(Job(case=case, replicate=0))]

    def _parts(self, cases: list[PlannedCase]) -> list[list[PlannedCase]]:
        return groups(cases, [pair for pair in self._compared if set(pair) <= set(cases)])

    def _probe(self, case: PlannedCase, progress: Progress) -> bool:
        """Whether a worker of the case could run alone for a turn; what it took is in run.json from then on."""
        job = Job(case=case, replicate=0)
        plan = dataclasses.replace(self._settings.plan, turns=1)
        settings = dataclasses.replace(self._settings, plan=plan)
        progress(f"{case.name}: what memory does it take?", 0.0)
        with gpu_memory.metered(case.config.device) as meter:

            def look(worker: Worker) -> None:
                meter.look(worker.pids())

            outcome = Cohort([job], 0, settings, self._module_of, lambda _what, _seconds: None, look).run()
        if outcome.interrupted:
            raise KeyboardInterrupt
        if job in outcome.lost:
            self._give_up(case, outcome.lost[job])
            self.write()
            return False
        raw = self._settings.directory / outcome.finished[job]
        (measured,) = typed(str(raw), json.loads(read_text(raw)), RawFile).benchmarks
        size = meter.size(measured.extra_info.peak_memory_bytes)
        raw.unlink()
        self._standing = dataclasses.replace(self._standing, sizes={**self._standing.sizes, case: size})
        self.write()
        return True

    def _give_up(self, case: PlannedCase, why: WorkerLost) -> None:
        state = self._standing.states[case]
        if not state.raw:
            state = dataclasses.replace(state, status=why.status, note=why.note)
        self._standing = dataclasses.replace(self._standing, states={**self._standing.states, case: state}).noted()

    def _run_cohorts(self, progress: Progress) -> None:
        """Those that are open, with the device's peaks before and after them."""
        if all(cohort.complete for cohort in self._standing.cohorts):
            return
        self._measure_peaks(progress)
        index = 0
        while index < len(self._standing.cohorts):  # which grows where a worker was crowded out
            if not self._standing.cohorts[index].complete:
                self._run_cohort(index, progress)
            index += 1
        if len(self._standing.cohorts) > 1:
            self._measure_peaks(progress)

    def _run_cohort(self, index: int, progress: Progress) -> None:
        jobs = [job for job in self._standing.cohorts[index].jobs if self._standing.still_wanted(job)]
        outcome = Cohort(jobs, index + 1, self._settings, self._module_of, progress).run() if jobs else Outcome()
        with interrupts.deferred():
            if jobs:
                self._require_unchanged()
            self._standing = self._standing.after(index, jobs, outcome)
            self.write()
        if outcome.interrupted:
            raise KeyboardInterrupt

    def _module_of(self, job: Job) -> str:
        return self._modules[job.case]

    def _trace(self, config: StepConfig, progress: Progress) -> None:
        if why := self._why_no_tensorflow():
            self._note(profile_note=f"{why}, and steps of no other framework are traced")
        elif not (self._settings.directory / "traces" / config.name / PROFILE_FILE).is_file():
            progress(f"{config.name}: tracing where its time goes", 0.0)
            self._note(profile_note=profile_case(config, self._settings))

    def _why_no_tensorflow(self) -> str:
        """Why there are neither peaks nor a trace, which are TensorFlow's; empty where it is installed."""
        source = self._settings.own_source
        installed = self._settings.environments[source.name].tensorflow
        return "" if installed else f"TensorFlow is not installed in {source.python}"

    def _measure_peaks(self, progress: Progress) -> None:
        """Before the cases and after: the best of both is the peak, since the machine may have had a slow minute."""
        configs = [case.config for case, state in self._standing.states.items() if state.status in (None, "ok")]
        precisions = sorted({config.precision for config in configs})
        if not precisions or not self._settings.with_peaks:
            return
        if why := self._why_no_tensorflow():
            self._note(peaks=({"error": f"{why}, which measures them, so there is no MFU"},))
            return
        progress("the device's peaks", 0.0)
        measured = peaks(configs[0].device, precisions, self._settings)
        self._note(peaks=(*self._document.peaks, measured))


def profile_case(config: StepConfig, settings: RunSettings) -> str:
    """Trace a few steps of a case in a process of its own, into traces/<case>; say why when that failed, else "".

    The folder has that name only once all of it is there.
    """
    traces = settings.directory / "traces"
    partial = settings.directory / f"{PARTIAL_PREFIX}{secrets.token_hex(8)}"
    try:
        request = ProfileRequest.of(config, out=partial, as_json=True)
        make_own_folder(traces)
        _said, why_not = _ask(request, settings)
        if not why_not:
            shutil.rmtree(traces / config.name, ignore_errors=True)  # what is left of one that was whole
            partial.replace(traces / config.name)
    except (OSError, GnetError) as error:
        return str(error)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return why_not


def peaks(device: str, precisions: Sequence[str], settings: RunSettings) -> Peaks:
    """By precision, what the device does at best (see gnet_core.frameworks.tf.peaks), or {"error": why that is
    unknown}."""
    said, why_not = _ask(PeaksRequest(device=device, precision=tuple(precisions)), settings)
    if why_not:
        return {"error": why_not}
    try:
        return msgspec.convert(children.document(said), Peaks)
    except ValueError:  # no JSON, or no peaks
        return {"error": f"it said {said[:80]!r}"}


def _ask(request: Request, settings: RunSettings) -> tuple[str, str]:
    """What a command prints as a child, and why it failed, else ""."""
    source, limit = settings.own_source, settings.plan.limit_seconds
    try:
        answer = children.ask([source.python, "-m", *program_words(request)], cwd=source.checkout, limit_seconds=limit)
    except subprocess.TimeoutExpired:
        return "", f"{' '.join(request.program)} had not finished after {limit:g} s"
    except OSError as error:
        return "", f"{' '.join(request.program)} could not be started ({error})"
    if answer.returncode != 0:
        return "", children.last_words(answer.stderr)
    return answer.stdout, ""
