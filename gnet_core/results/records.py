"""What a run directory holds, as rows: run.json and pytest-benchmark's raw files in, one Row a case out."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gnet_core.config import Execution, GnetError, StepConfig
from gnet_core.files import bounded, json_documents, migrations
from gnet_core.files.whole import PROFILE_FILE
from gnet_core.networks.map_sizes import single_value_norms
from gnet_core.plan.request import BenchRequest, command_line
from gnet_core.plan.schedule import WorkerName
from gnet_core.plan.suites import AGAIN
from gnet_core.results import gpu_summary, raw_files
from gnet_core.results.gpu_summary import GpuSummary
from gnet_core.results.raw_files import RawProcess, Trajectory
from gnet_core.results.run_document import RecordedCase, RunDocument, best_peaks
from gnet_core.results.turns import TURNS_FILE, read_turns, without_turns
from gnet_core.stats import ratio
from gnet_core.stats.drift import drift_by_case
from gnet_core.stats.losses import judge_trajectories


@dataclasses.dataclass(kw_only=True)
class Row:
    """One case of a run, a column each, in the order of cases.csv. None is a figure that was not measured."""

    case: str
    suite: str
    """The suites that share the case, separated by +."""
    execution: str
    precision: str
    batch_size: int
    image_size: int
    data: str
    device: str
    status: str
    """ok, oom, failed, timeout or unsupported."""
    replicates: int = 0
    """Processes that measured it."""
    samples: int = 0
    """Timed blocks, over all processes, without the voided ones."""
    trace_seconds: float | None = None
    """Of get_concrete_function."""
    compile_seconds: float | None = None
    """The first call less a steady step: on a GPU with the timing of candidate kernels by cuDNN and XLA."""
    first_step_seconds: float | None = None
    """From TensorFlow imported to the end of the first step: build, trace, first call."""
    step_seconds: float | None = None
    """Mean over timed blocks of a block's seconds ÷ its steps; over processes, the mean of their means."""
    step_seconds_ci_low: float | None = None
    step_seconds_ci_high: float | None = None
    step_seconds_p50: float | None = None
    """Percentiles of steps synchronised one by one, in whichever process."""
    step_seconds_p95: float | None = None
    step_seconds_p99: float | None = None
    images_per_second: float | None = None
    """batch_size ÷ step_seconds."""
    images_per_second_ci_low: float | None = None
    images_per_second_ci_high: float | None = None
    peak_memory_bytes: int | None = None
    memory_source: str | None = None
    gflop_per_image: float | None = None
    gflop_per_second: float | None = None
    mfu: float | None = None
    loss_first: float | None = None
    """Of the first step, and of the last timed one."""
    loss_last: float | None = None
    note: str = ""
    turn_spread: float | None = None
    """Standard deviation ÷ mean of the timed blocks within a process, averaged over processes. Not an interval."""
    single_steps: int = 0
    """Steps that the percentiles rest on."""
    skipped_steps: int | None = None
    """Steps that loss scaling skipped, of all that the processes ran."""
    finite: bool = True
    """Whether every loss that was looked at was a number."""
    import_seconds: float | None = None
    build_seconds: float | None = None
    warmup_seconds: float | None = None
    command: str = ""
    """What measures this case again."""
    source: str = ""
    """Which interpreter or revision it is from, where a run compares several."""
    voided_samples: int = 0
    """Timed blocks in which the step was traced anew, left out of every figure."""
    disturbed_turns: int = 0
    """Turns in which the machine was busy with something else, of all its turns; their samples count."""
    drift: float | None = None
    """How far the time of a step still changed over the run, where that is beyond doubt: there is no steady state."""
    loss_deviation: float | None = None
    """Largest difference of its loss trajectory from float32's, as a fraction."""
    equal_work: bool | None = None
    """Whether that trajectory is float32's within tolerance, which is a CPU's; None where there was none to compare
    with."""
    low_precision_share: float | None = None
    """Of the matrix work that ran, how much ran in the lower precision, by floating-point operations."""
    images_per_joule: float | None = None
    """Of the GPU, over all steps of its turns; what it takes while nothing runs is not in it."""
    resumed_step_ratio: float | None = None
    """Median of the steps right after others ran, which are outside the clock ÷ the timed steps' median."""
    waiting_cpu_share: float | None = None
    """Of one processor, what its processes took while they waited for their turns."""
    delay_seconds: float | None = None
    """What a plugin of the tests added to every step; None in a run that measures."""
    gpu_power_watts: float | None = None
    """This and the next are medians over turns, of each of which the timed block counts."""
    gpu_sm_clock_hz: float | None = None
    run: str = ""
    """The identity of its run."""

    def add_note(self, told: str) -> None:
        self.note = f"{self.note}; {told}" if self.note else told


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run directory, read. Two are equal when they are one, so that what follows from a run can be kept for it."""

    directory: Path
    document: RunDocument
    rows: list[Row]
    configs: dict[str, StepConfig]
    """Of each row, by case."""
    processes: dict[str, tuple[ratio.Process, ...]]
    """The samples of each row that has any, by case."""
    trajectories: dict[str, list[Trajectory]]
    """The losses of each of their processes after 0, 1, 2, … updates, by case."""
    unmeasured: list[tuple[str, str]]
    """Cases that were configured and have no row, with the reason."""
    profiles: list[dict[str, Any]]
    """What profile.json says of each case that was traced, in a process of its own."""
    unread: list[str]
    """Why files that the run wrote cannot be read now, a sentence each: a report of it tells less than it did."""
    gpu: GpuSummary | None
    """Of the GPU over all turns."""
    gpu_by_case: dict[str, GpuSummary]
    """Of the GPU over the turns of each case of which any tells of it."""

    @functools.cached_property
    def identity(self) -> str:
        """What tells it from every other run."""
        return self.document.run

    @functools.cached_property
    def row_of(self) -> dict[str, Row]:
        """The rows by case."""
        return {row.case: row for row in self.rows}

    @functools.cached_property
    def row_of_config(self) -> dict[tuple[StepConfig, str], Row]:
        """The rows by configuration and source."""
        return {(self.configs[row.case], row.source): row for row in self.rows}


def load_run(directory: Path) -> Run:
    """Read a run directory. Raises GnetError naming the file for a run.json that is missing or cannot be read.

    A raw file that cannot be read costs its case's row the figures, not the run: the row is `failed` and says why.

    >>> from pathlib import Path
    >>> from gnet_core import load_run
    >>> run = load_run(Path("reports/example"))
    >>> row = next(row for row in run.rows if row.execution == "xla")
    >>> row.case, row.status, f"{row.images_per_second:.1f} images/s"
    ('xla-float32-b16-i224-synthetic-cpu', 'ok', '18.2 images/s')
    """
    path = directory / "run.json"
    document = read_run_document(directory)
    reader = _Reader(directory, document)
    rows, unmeasured, configs = [], [], {}
    for number, case in enumerate(document.cases):
        try:
            if case.status is None:
                unmeasured.append((case.case, case.note or "the run ended before it"))
            else:
                configs[case.case] = migrations.read_config(case.config)
                rows.append(reader.row(case, case.status, configs[case.case]))
        except (TypeError, GnetError) as error:
            where = f"field 'cases[{number}].config' of case {case.case!r}"
            raise GnetError(f"{path}: {where} cannot be read: {error!s:.200}") from error
    _add_equal_work(rows, configs, reader.trajectories)
    _add_drift(rows, reader.processes)
    _add_single_values(rows, configs)
    _add_peaks(rows, configs, document)
    reader.add_turns(rows)
    profiles = reader.profiles(unmeasured)
    return Run(
        directory=directory,
        document=document,
        rows=rows,
        configs=configs,
        processes=reader.processes,
        trajectories=reader.trajectories,
        unmeasured=unmeasured,
        profiles=profiles,
        unread=reader.unread,
        gpu=reader.gpu,
        gpu_by_case=reader.gpu_by_case,
    )


def read_run_document(directory: Path) -> RunDocument:
    """run.json of a run of gnet bench. Raises GnetError naming it and the field that is missing or wrong."""
    path = directory / "run.json"
    plain = migrations.current_run(json_documents.read_versioned(path, directory))
    document = json_documents.typed(str(path), plain, RunDocument)
    BenchRequest.from_dict(f"{path}: options", document.options)
    return document


class _Reader:
    """Reads the raw files of a run, each once."""

    def __init__(self, directory: Path, document: RunDocument) -> None:
        self._directory = directory
        self._document = document
        self._cohort_of_worker = {
            worker: f"{directory.resolve()}#{number}"
            for number, cohort in enumerate(document.cohorts, start=1)
            for worker in cohort.names
        }
        self._names: set[str] = set()
        """Of the raw files that were read."""
        self._seen: dict[str, str] = {}
        """The same by what they hold."""
        self.processes: dict[str, tuple[ratio.Process, ...]] = {}
        self.trajectories: dict[str, list[Trajectory]] = {}
        self._case_of_worker: dict[WorkerName, str] = {}
        self.unread: list[str] = []
        """Why files that the run wrote cannot be read, a sentence each."""
        self.gpu: GpuSummary | None = None
        self.gpu_by_case: dict[str, GpuSummary] = {}

    def row(self, case: RecordedCase, status: str, config: StepConfig) -> Row:
        """The row of a case of run.json, without what rests on other cases."""
        row = Row(
            case=case.case,
            suite="+".join(case.suites),
            execution=config.execution,
            precision=config.precision,
            batch_size=config.batch_size,
            image_size=config.image_size,
            data=config.data,
            device=config.device,
            status=status,
            note=case.note,
            source=case.source,
            run=self._document.run,
            command=command_line(_requested_of_case(case, config, self._document)),
        )
        if row.status == "ok":
            measured = dataclasses.replace(row)
            try:
                self._measure(measured, config, case.raw)
            except GnetError as error:
                row.status, row.note = "failed", str(error)
            else:
                return measured
        return row

    def _measure(self, row: Row, config: StepConfig, names: Sequence[str]) -> None:
        processes = [self._process(name, row.case, config) for name in names]
        _add_figures(row, processes)
        workers = [WorkerName.parse(Path(name).stem) for name in names]
        for worker in workers:
            if worker not in self._cohort_of_worker:
                raise GnetError(f"{self._directory / 'run.json'}: worker {worker} is in none of the cohorts")
        self.trajectories[row.case] = [process.trajectory for process in processes]
        self._case_of_worker |= dict.fromkeys(workers, row.case)
        self.processes[row.case] = tuple(
            process.samples(self._cohort_of_worker[worker]) for process, worker in zip(processes, workers, strict=True)
        )

    def add_turns(self, rows: list[Row]) -> None:
        """What the machine was like during the turns of each case; a run without turns.csv says nothing of it."""
        path = self._directory / TURNS_FILE
        turns = read_turns(self._directory, self._document.run)
        if missing := without_turns(self._case_of_worker, turns):
            why = f"it has no turns of {missing[0]}" if path.exists() else "there is no such file"
            self.unread.append(f"{path}: {why}")
        if turns.empty:
            return
        turns["case"] = turns["worker"].map({str(worker): case for worker, case in self._case_of_worker.items()})
        by_case = dict(list(turns.groupby("case")))
        for row in rows:
            if row.case in by_case:
                _add_case_turns(row, by_case[row.case])
                if gpu := gpu_summary.summary(by_case[row.case]):
                    self.gpu_by_case[row.case] = gpu
                    row.gpu_power_watts = gpu.power_watts.median if gpu.power_watts else None
                    row.gpu_sm_clock_hz = gpu.sm_clock_hz.median if gpu.sm_clock_hz else None
        self.gpu = gpu_summary.summary(turns[turns["case"].notna()])

    def profiles(self, unmeasured: list[tuple[str, str]]) -> list[dict[str, Any]]:
        """What the run's traces tell; those that cannot be read join what was not measured, and the figures stand."""
        found, unread = [], []
        try:
            paths = bounded.trace_files(self._directory, PROFILE_FILE)
        except GnetError as error:
            paths, unread = [], [("traces", str(error))]
        for path in paths:
            try:
                document, _digest = json_documents.read_json(path, self._directory, strict=True)
                found.append(migrations.current_profile(document))
            except GnetError as error:
                unread.append((path.parent.name, str(error)))
        run = self._document
        if requested(run).profile and run.complete and not run.profile_note and not found and not unread:
            where = self._directory / "traces"
            unread.append(("a trace", f"it is not there any more; no folder in {where} holds a {PROFILE_FILE}"))
        unmeasured += unread
        self.unread += [why for _what, why in unread]
        return found

    def _process(self, name: str, case: str, config: StepConfig) -> RawProcess:
        try:
            return self._read_process(name, case, config)
        except raw_files.VoidError:
            raise
        except GnetError as error:
            self.unread.append(str(error))
            raise

    def _read_process(self, name: str, case: str, config: StepConfig) -> RawProcess:
        run, path = self._directory / "run.json", self._directory / name
        if Path(name).parts != ("raw", Path(name).name):
            raise GnetError(f"{run}: raw is {name!r}; it lies in raw/")
        if name in self._names:
            raise GnetError(f"{run}: {name} is named twice; each process has its own")
        process = raw_files.read(path, self._directory, case, config, self._document.run)
        # The same samples twice would look like two processes that agree wonderfully.
        if process.digest in self._seen:
            raise GnetError(f"{path}: it is a copy of {self._seen[process.digest]}; each process has its own")
        self._seen[process.digest] = name
        self._names.add(name)
        return process


def _add_figures(row: Row, processes: list[RawProcess]) -> None:
    if not processes:
        raise GnetError(f"run.json: case {row.case} is ok but names no raw file")
    means = [statistics.fmean(process.step_seconds) for process in processes]
    row.replicates = len(processes)
    row.samples = sum(len(process.step_seconds) for process in processes)
    row.voided_samples = sum(len(process.block_seconds) for process in processes) - row.samples
    row.step_seconds = statistics.fmean(means)
    row.images_per_second = row.batch_size / row.step_seconds
    if interval := ratio.geometric_interval(means):
        row.step_seconds_ci_low, row.step_seconds_ci_high = interval
        row.images_per_second_ci_low, row.images_per_second_ci_high = (row.batch_size / s for s in reversed(interval))
    single = [seconds for process in processes for seconds in process.single_steps]
    row.single_steps = len(single)
    row.step_seconds_p50 = ratio.percentile(single, 50)
    row.step_seconds_p95 = ratio.percentile(single, 95)
    row.step_seconds_p99 = ratio.percentile(single, 99)
    spreads = [ratio.relative_spread(process.step_seconds) for process in processes]
    if known := [spread for spread in spreads if spread is not None]:
        row.turn_spread = statistics.fmean(known)
    _add_resumed(row, processes)
    _add_phases(row, processes)
    _add_losses_and_memory(row, processes)


def _add_resumed(row: Row, processes: list[RawProcess]) -> None:
    resumed = [seconds for process in processes for seconds in process.info.resumed_step_seconds]
    timed = [seconds for process in processes for seconds in process.step_seconds]
    if resumed:
        row.resumed_step_ratio = statistics.median(resumed) / statistics.median(timed)


_REFERENCE_EXECUTIONS: tuple[Execution, ...] = ("graph", "eager", "xla")
"""Whose float32 losses the others are judged by: the first of these that was measured."""


def _add_equal_work(rows: list[Row], configs: dict[str, StepConfig], trajectories: dict[str, list[Trajectory]]) -> None:
    """Judge each loss trajectory by the float32 one of the same step: plain layers' as a graph, else another's."""
    judged_rows = [row for row in rows if row.case in trajectories and configs[row.case].part == "train"]
    case_of = {(configs[row.case], row.source): row.case for row in judged_rows}
    for row in judged_rows:
        config = configs[row.case]
        found = float32_case(config, row.source, case_of)
        if found is None or found == row.case:
            continue
        own, reference = trajectories[row.case], trajectories[found][0]
        if max(map(len, own)) < 2 <= len(reference):
            row.add_note("all its updates were skipped, so its losses could not be compared with float32's")
            continue
        judged = judge_trajectories(own, reference, config.precision, config.device)
        row.equal_work = judged.within
        if judged.deviation is not None and math.isfinite(judged.deviation):  # JSON has no infinity
            row.loss_deviation = judged.deviation
        if judged.reason:
            row.add_note(judged.reason)


def float32_case(config: StepConfig, source: str, case_of: Mapping[tuple[StepConfig, str], str]) -> str | None:
    """Of the cases that were measured, by configuration and source, the one whose losses those of `config` have to be:
    float32's of the same step, of plain layers as a graph before any other.
    """
    references = (
        dataclasses.replace(config, precision="float32", execution=execution, layers=layers)
        for layers in dict.fromkeys(("keras", config.layers))
        for execution in _REFERENCE_EXECUTIONS
    )
    return next((case_of[each, source] for each in references if (each, source) in case_of), None)


def _add_drift(rows: list[Row], processes: dict[str, tuple[ratio.Process, ...]]) -> None:
    drifts = drift_by_case(processes)
    for row in rows:
        drift = drifts.get(row.case)
        if drift is not None and drift.drifting:
            row.drift = drift.change
            row.add_note(f"no steady state: the step's time still changed by {drift.change:+.0%} over the run")


def _add_single_values(rows: list[Row], configs: dict[str, StepConfig]) -> None:
    for row in rows:
        names = single_value_norms(configs[row.case]) if row.status == "ok" else []
        if names:
            row.add_note(
                f"{len(names)} batch normalisations see a single value a channel and so learn nothing, "
                "which takes as long as learning"
            )


def _add_peaks(rows: list[Row], configs: dict[str, StepConfig], document: RunDocument) -> None:
    """Model FLOP utilisation against the best that the run itself saw the device do in that precision."""
    best = best_peaks(document.peaks)
    for row in rows:
        if row.gflop_per_image is None or row.images_per_second is None:
            continue
        row.gflop_per_second = row.gflop_per_image * row.images_per_second
        peak = best.get(row.precision)
        # A peak is of the TensorFlow that it was measured with, and of no other framework.
        same = _tensorflow_of(document, row.source) == document.environment.version("tensorflow")
        if peak and same and configs[row.case].framework == "tensorflow":
            row.mfu = row.gflop_per_second * 1e9 / peak.flop_per_second


def _tensorflow_of(document: RunDocument, source: str) -> str:
    return document.environments.get(source, document.environment).version("tensorflow")


def _add_case_turns(row: Row, turns: pd.DataFrame) -> None:
    row.disturbed_turns = int(turns["disturbed"].notna().sum())
    waiting = turns["waiting_cpu_share"].dropna()
    row.waiting_cpu_share = float(waiting.mean()) if len(waiting) else None
    counted = turns[turns["gpu_energy_joules"].notna()]
    joules, images = float(counted["gpu_energy_joules"].sum()), float(counted["steps"].sum()) * row.batch_size
    if images and joules and math.isfinite(images / joules):
        row.images_per_joule = images / joules


def _add_phases(row: Row, processes: list[RawProcess]) -> None:
    assert row.step_seconds is not None
    phases = [process.info.phase_seconds for process in processes]
    row.import_seconds = statistics.fmean(each.imports for each in phases)
    row.build_seconds = statistics.fmean(each.build for each in phases)
    row.warmup_seconds = statistics.fmean(each.warmup for each in phases)
    trace = statistics.fmean(each.trace for each in phases)
    first_call = statistics.fmean(each.first_call for each in phases)
    row.first_step_seconds = row.build_seconds + trace + first_call
    if row.execution != "eager":  # which neither traces nor compiles
        if processes[0].config.framework != "torch":  # whose compilation is its tracing as well
            row.trace_seconds = trace
        row.compile_seconds = max(0.0, first_call - row.step_seconds)


def _add_losses_and_memory(row: Row, processes: list[RawProcess]) -> None:
    info = processes[0].info
    row.gflop_per_image = info.flop_per_image / 1e9
    row.low_precision_share = info.low_precision_share
    row.loss_first, row.loss_last = info.loss_first, info.loss_last
    row.skipped_steps = sum(process.info.skipped_steps for process in processes)
    row.peak_memory_bytes = max(process.info.peak_memory_bytes for process in processes)
    row.memory_source = info.memory_source
    notes = [row.note] if row.note else []
    notes += dict.fromkeys(note for process in processes if (note := process.info.low_precision_note))
    if any(None in (process.info.loss_first, process.info.loss_last) for process in processes):
        row.finite = False
        notes.append("the loss was not finite")
    if row.skipped_steps:
        steps = sum(process.info.steps for process in processes)
        notes.append(f"{row.skipped_steps} of {steps} steps skipped by loss scaling")
    if row.voided_samples:
        notes.append(f"{row.voided_samples} samples voided: the step was traced anew")
    row.delay_seconds = max(process.info.delay_seconds for process in processes) or None
    if row.delay_seconds:
        notes.append(f"every step was delayed by {row.delay_seconds:g} s to test the suite")
    if row.data != "synthetic":
        notes.append("reading and resizing the images is inside the clock")
    row.note = "; ".join(notes)


def requested(document: RunDocument) -> BenchRequest:
    """What measures all of a run again.

    Earlier versions did not record every option; the preset and the device stand beside them as well.
    """
    known = {"preset": document.preset, "device": document.device}
    return BenchRequest.from_dict("run.json: options", {**known, **document.options})


def _requested_of_case(case: RecordedCase, config: StepConfig, document: RunDocument) -> BenchRequest:
    """What measures a case of the run again."""
    of_again = case.source == AGAIN  # an option adds it to a case of a suite, which the command has to name
    twins = (each for each in document.cases if each.config == case.config and each.source != AGAIN)
    declared = tuple(suite.name for suite in document.suites)
    suites = next((each.suites for each in twins), declared) if of_again else case.suites
    return dataclasses.replace(
        requested(document),
        suites=suites[:1],
        device=config.device,
        replicates=document.replicates,
        execution=(config.execution,),
        precision=(config.precision,),
        batch_size=(config.batch_size,),
        layers=config.layers,
        widths=config.widths,
        image_size=config.image_size,
        data=config.data,
        seed=config.seed,
        profile=False,
        aa=of_again,
    )
