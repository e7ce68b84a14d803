"""A run directory as rows: run.json and pytest-benchmark's raw files in, one Row a case out."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnet_core.config import Execution, GnetError, StepConfig
from gnet_core.files import bounded, json_documents, migrations
from gnet_core.files.whole import PROFILE_FILE
from gnet_core.networks.map_sizes import single_value_norms
from gnet_core.plan.request import BenchRequest, command_line
from gnet_core.plan.suites import AGAIN, AXES
from gnet_core.results import exchange, gpu_summary, raw_files
from gnet_core.results.gpu_summary import GpuSummary
from gnet_core.results.raw_files import Pictures, RawProcess, Trajectory, WorkerInfo
from gnet_core.results.run_document import RecordedCase, RunDocument, best_peaks, source_of_peaks
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
    """Duration of get_concrete_function."""
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
    """Loss of the first step; loss_last is that of the last timed one."""
    loss_last: float | None = None
    note: str = ""
    turn_spread: float | None = None
    """Standard deviation ÷ mean of the timed blocks within a process, averaged over processes. Not an interval."""
    single_steps: int = 0
    """Steps that the percentiles rest on."""
    skipped_steps: int | None = None
    """Steps that loss scaling skipped, among all that the processes ran."""
    finite: bool = True
    """Whether every loss that was looked at was a number."""
    import_seconds: float | None = None
    build_seconds: float | None = None
    warmup_seconds: float | None = None
    command: str = ""
    """The command that measures this case again."""
    source: str = ""
    """Name of the interpreter or revision, where a run compares several."""
    voided_samples: int = 0
    """Timed blocks in which the step was traced anew, left out of every figure."""
    disturbed_turns: int = 0
    """Turns in which the machine was busy with something else; their samples count."""
    drift: float | None = None
    """How far the time of a step still changed over the run, where that is beyond doubt: there is no steady state."""
    loss_deviation: float | None = None
    """Largest difference of its loss trajectory from float32's, as a fraction."""
    equal_work: bool | None = None
    """Whether that trajectory is float32's within tolerance, which is a CPU's; None where there was none to compare
    with."""
    low_precision_share: float | None = None
    """Share of the matrix work that ran in the lower precision, by floating-point operations, 0 to 1."""
    images_per_joule: float | None = None
    """Images for each joule of the GPU, over all steps of its turns; what it takes while nothing runs is left out."""
    resumed_step_ratio: float | None = None
    """Median of the steps right after others ran, which are outside the clock ÷ the timed steps' median."""
    waiting_cpu_share: float | None = None
    """Share of one processor that its processes took while they waited for their turns."""
    delay_seconds: float | None = None
    """Delay that a plugin of the tests added to every step; None in a run that measures."""
    gpu_power_watts: float | None = None
    """This and the next are medians over the timed blocks of all turns."""
    gpu_sm_clock_hz: float | None = None
    gradient_bytes: int | None = None
    """Bytes of the gradients that each replica brings into a step's all-reduce. This and the next are empty where there
    is one replica, or where several exchange nothing."""
    all_reduce_seconds: float | None = None
    """Time of one all-reduce of so many bytes by itself: its median in a process, of which this is the mean."""
    all_reduce_seconds_ci_low: float | None = None
    all_reduce_seconds_ci_high: float | None = None
    bus_bytes_per_second: float | None = None
    """gradient_bytes ÷ all_reduce_seconds · 2(n - 1) ÷ n for n replicas, the bus bandwidth of nccl-tests."""
    straggler_spread: float | None = None
    """(max - min) ÷ mean of the time that each replica takes for its own part of a step."""
    replica_memory_bytes: int | None = None
    """The highest peak memory of a worker ÷ its replicas; on GPUs the peak of a worker's first."""
    run: str = ""

    def add_note(self, text: str) -> None:
        self.note = f"{self.note}; {text}" if self.note else text


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run directory, read, with dictionaries by case. Two are equal when they are one, so results can be cached."""

    directory: Path
    document: RunDocument
    rows: list[Row] = dataclasses.field(default_factory=list)
    configs: dict[str, StepConfig] = dataclasses.field(default_factory=dict)
    processes: dict[str, tuple[ratio.Process, ...]] = dataclasses.field(default_factory=dict)
    """The samples of each row that has any."""
    timed_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    """What the timed blocks of such a row took, over all its processes."""
    trajectories: dict[str, list[Trajectory]] = dataclasses.field(default_factory=dict)
    """The losses of each of their processes after 0, 1, 2, … updates."""
    pictures: dict[str, Pictures] = dataclasses.field(default_factory=dict)
    """The images that such a row was fed from, where it was not fed one batch that was ready."""
    unmeasured: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    """Cases that were configured and have no row, with the reason."""
    profiles: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """The profile.json of each case that was traced, in a process of its own."""
    unread: list[str] = dataclasses.field(default_factory=list)
    """Why files that the run wrote cannot be read now, a sentence each: a report of it says less than it did."""
    gpu: GpuSummary | None = None
    """The GPU over all turns."""
    gpu_by_case: dict[str, GpuSummary] = dataclasses.field(default_factory=dict)
    """The GPU over the turns of each case in which it was read."""

    def cohort_name(self, number: int) -> str:
        """The name in statistics of the cohort of that number, which counts from 1: no two runs share one."""
        return f"{self.directory.resolve()}#{number}"

    @functools.cached_property
    def row_of(self) -> dict[str, Row]:
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
    ('xla-float32-b16-i224-synthetic-cpu', 'ok', '16.9 images/s')
    """
    document = read_run_document(directory)
    run = Run(directory=directory, document=document)
    reader = _Reader(run)
    for number, case in enumerate(document.cases):
        try:
            if case.status is None:
                run.unmeasured.append((case.case, case.note or "the run ended before it"))
            else:
                run.configs[case.case] = migrations.read_config(case.config)
                run.rows.append(reader.row(case, case.status, run.configs[case.case]))
        except (TypeError, GnetError) as error:
            where = f"{directory / 'run.json'}: field 'cases[{number}].config' of case {case.case!r}"
            raise GnetError(f"{where} cannot be read: {error!s:.200}") from error
    _add_equal_work(run)
    _add_settings(run)
    _add_drift(run)
    _add_single_values(run)
    _add_peaks(run)
    gpu = _add_turns(run)
    _add_profiles(run)
    return dataclasses.replace(run, gpu=gpu)


def read_run_document(directory: Path) -> RunDocument:
    """run.json of a run of gnet bench. Raises GnetError naming it and the field that is missing or wrong."""
    path = directory / "run.json"
    plain = migrations.current_run(json_documents.read_versioned(path, directory))
    document = json_documents.typed(str(path), plain, RunDocument)
    BenchRequest.from_dict(f"{path}: options", document.options)
    return document


class _Reader:
    """Reads the raw files of a run, each once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._path = run.directory / "run.json"
        self._cohort_of = {
            worker: run.cohort_name(number)
            for number, cohort in enumerate(run.document.cohorts, start=1)
            for worker in cohort.workers
        }
        self._file_of_digest: dict[str, str] = {}

    def row(self, case: RecordedCase, status: str, config: StepConfig) -> Row:
        """The row of a case of run.json, without what rests on other cases."""
        axes = {name: getattr(config, name) for name in (*AXES, "image_size", "data", "device")}
        row = Row(
            case=case.case,
            suite="+".join(case.suites),
            status=status,
            note=case.note,
            source=case.source,
            run=self._run.document.run,
            command=command_line(_request_of_case(case, config, self._run.document)),
            **axes,
        )
        if status == "ok":
            try:
                if not case.raw:
                    raise GnetError(f"run.json: case {row.case} is ok but names no raw file")
                cohorts, processes = zip(*(self._read(name, row.case, config) for name in case.raw), strict=True)
            except GnetError as error:
                row.status, row.note = "failed", str(error)
                if not isinstance(error, raw_files.VoidError):
                    self._run.unread.append(str(error))
            else:
                _add_figures(row, processes)
                if pictures := processes[0].info.pictures:
                    self._run.pictures[row.case] = pictures
                self._run.trajectories[row.case] = [process.trajectory for process in processes]
                self._run.processes[row.case] = tuple(map(RawProcess.samples, processes, cohorts))
                blocks = itertools.chain.from_iterable(process.block_seconds for process in processes)
                self._run.timed_seconds[row.case] = math.fsum(block for block in blocks if not math.isnan(block))
        return row

    def _read(self, name: str, case: str, config: StepConfig) -> tuple[str, RawProcess]:
        """The cohort and the figures of a worker. Raises GnetError where its file is not one process of a cohort."""
        path = self._run.directory / name
        if Path(name).parts != ("raw", Path(name).name):
            raise GnetError(f"{self._path}: raw is {name!r}; it lies in raw/")
        if name in self._file_of_digest.values():
            raise GnetError(f"{self._path}: {name} is named twice; each process has its own")
        process = raw_files.read(path, self._run.directory, case, config, self._run.document.run)
        # The same samples twice would look like two processes that agree wonderfully.
        if (other := self._file_of_digest.setdefault(process.digest, name)) != name:
            raise GnetError(f"{path}: it is a copy of {other}; each process has its own")
        if path.stem not in self._cohort_of:
            raise GnetError(f"{self._path}: worker {path.stem} is in none of the cohorts")
        return self._cohort_of[path.stem], process


def _add_figures(row: Row, processes: Sequence[RawProcess]) -> None:
    seconds = [process.step_seconds for process in processes]
    means = list(map(statistics.fmean, seconds))
    row.replicates = len(processes)
    row.samples = sum(map(len, seconds))
    row.voided_samples = sum(len(process.block_seconds) for process in processes) - row.samples
    row.step_seconds = statistics.fmean(means)
    row.images_per_second = row.batch_size / row.step_seconds
    if interval := ratio.geometric_interval(means):
        row.step_seconds_ci_low, row.step_seconds_ci_high = interval
        row.images_per_second_ci_low, row.images_per_second_ci_high = (row.batch_size / s for s in reversed(interval))
    single = [step for process in processes for step in process.single_steps]
    row.single_steps = len(single)
    percentiles = (ratio.percentile(single, rank) for rank in (50, 95, 99))
    row.step_seconds_p50, row.step_seconds_p95, row.step_seconds_p99 = percentiles
    spreads = [spread for steps in seconds if (spread := ratio.relative_spread(steps)) is not None]
    row.turn_spread = statistics.fmean(spreads) if spreads else None
    if resumed := [step for process in processes for step in process.info.resumed_step_seconds]:
        row.resumed_step_ratio = statistics.median(resumed) / statistics.median(itertools.chain(*seconds))
    _add_exchange(row, processes)
    _add_start(row, processes)
    _add_work_and_memory(row, processes[0].config, [process.info for process in processes])


def _add_exchange(row: Row, processes: Sequence[RawProcess]) -> None:
    """What several replicas exchanged, and what of their work is not one replica's."""
    config = processes[0].config
    if config.total_replicas == 1:
        return
    if measured := [process.info.exchange for process in processes if process.info.exchange]:
        figures = exchange.summary(config, measured)
        row.gradient_bytes, row.all_reduce_seconds = figures.gradient_bytes, figures.all_reduce_seconds
        if figures.all_reduce_interval:
            row.all_reduce_seconds_ci_low, row.all_reduce_seconds_ci_high = figures.all_reduce_interval
        row.bus_bytes_per_second, row.straggler_spread = figures.bus_bytes_per_second, figures.straggler_spread
        row.replica_memory_bytes = figures.replica_memory_bytes
    if not config.all_reduce:
        row.add_note("replicas exchange no gradients and each goes its own way, which is other work")
    if not config.synchronises:
        row.add_note(f"each replica normalises its own {config.replica_batch_size} images, which is not one's work")


def _add_start(row: Row, processes: Sequence[RawProcess]) -> None:
    """What it took until the first step had ended; of the input alone, where there is none, until it was built."""
    alone = [process for process in processes if process.info.started_alone]
    phases = [process.info.phase_seconds for process in alone or processes]
    row.import_seconds = statistics.fmean(phase.imports for phase in phases)
    row.build_seconds = statistics.fmean(phase.build for phase in phases)
    row.warmup_seconds = statistics.fmean(phase.warmup for phase in phases)
    if processes[0].config.part == "input":
        return
    trace = statistics.fmean(phase.trace for phase in phases)
    first_call = statistics.fmean(phase.first_call for phase in phases)
    row.first_step_seconds = row.build_seconds + trace + first_call
    if row.execution != "eager":  # which neither traces nor compiles
        if processes[0].config.framework != "torch":  # whose compilation is its tracing as well
            row.trace_seconds = trace
        row.compile_seconds = max(0.0, first_call - (row.step_seconds or 0.0))


def _add_work_and_memory(row: Row, config: StepConfig, workers: list[WorkerInfo]) -> None:
    first, computes = workers[0], config.part != "input"
    row.gflop_per_image = first.flop_per_image / 1e9 if computes else None
    row.low_precision_share = first.low_precision_share
    row.loss_first, row.loss_last = first.loss_first, first.loss_last
    row.skipped_steps = sum(worker.skipped_steps for worker in workers)
    row.peak_memory_bytes = max(worker.peak_memory_bytes for worker in workers)
    row.memory_source = first.memory_source
    row.delay_seconds = max(worker.delay_seconds for worker in workers) or None
    for note in dict.fromkeys(worker.low_precision_note for worker in workers if worker.low_precision_note):
        row.add_note(note)
    if computes and any(None in (worker.loss_first, worker.loss_last) for worker in workers):
        row.finite = False
        row.add_note("the loss was not finite")
    if row.skipped_steps:
        steps = sum(worker.steps for worker in workers)
        row.add_note(f"{row.skipped_steps} of {steps} steps skipped by loss scaling")
    if row.voided_samples:
        row.add_note(f"{row.voided_samples} samples voided: the step was traced anew")
    if row.delay_seconds:
        row.add_note(f"every step was delayed by {row.delay_seconds:g} s to test the suite")
    if not computes:
        row.add_note("batches alone, of which no step is run: a step stands for a batch, and there is no loss")
    elif row.data != "synthetic" or config.feed != "ready":
        kept = config.feed == "cache"
        row.add_note(f"{'shuffling and converting' if kept else 'reading and resizing'} the images is inside the clock")


_REFERENCE_EXECUTIONS: tuple[Execution, ...] = ("graph", "eager", "xla")
"""Whose float32 losses the others are judged by: the first of these that was measured."""


def _add_equal_work(run: Run) -> None:
    """Judge each loss trajectory by the float32 one of the same step: plain layers' as a graph, else another's."""
    rows = [row for row in run.rows if row.case in run.trajectories and run.configs[row.case].part == "train"]
    case_of = {(run.configs[row.case], row.source): row.case for row in rows}
    for row in rows:
        config = run.configs[row.case]
        reference_case = float32_case(config, row.source, case_of)
        if reference_case is None or reference_case == row.case:
            continue
        own, reference = run.trajectories[row.case], run.trajectories[reference_case][0]
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
    """The measured case whose losses `config` has to have: float32's of that step, plain layers' as a graph first."""
    references = (
        dataclasses.replace(config, precision="float32", execution=execution, layers=layers)
        for layers in dict.fromkeys(("keras", config.layers))
        for execution in _REFERENCE_EXECUTIONS
    )
    return next((case_of[key] for reference in references if (key := (reference, source)) in case_of), None)


def _add_settings(run: Run) -> None:
    """Say of each row which settings of its source decide what its own fields say otherwise."""
    deciding = {
        one.name: [effect for effect in one.effects if effect.decides and effect.effect != "changes nothing"]
        for one in run.document.sources
    }
    for row in run.rows:
        for effect in deciding.get(row.source, []) if row.status == "ok" else []:
            acts = "acts" if effect.effect == "acts" else "may act (unverified)"
            row.add_note(f"{effect.variable}={effect.value} of its source {acts} on its {effect.decides}")


def _add_drift(run: Run) -> None:
    drifts = drift_by_case(run.processes)
    for row in run.rows:
        if (drift := drifts.get(row.case)) and drift.drifting:
            row.drift = drift.change
            row.add_note(f"no steady state: the step's time still changed by {drift.change:+.0%} over the run")


def _add_single_values(run: Run) -> None:
    for row in run.rows:
        config = run.configs[row.case]
        if row.status == "ok" and config.part != "input" and (names := single_value_norms(config)):
            row.add_note(
                f"{len(names)} batch normalisations see a single value a channel and so learn nothing, "
                "which takes as long as learning"
            )


def _add_peaks(run: Run) -> None:
    """Model FLOP utilisation against the best that the run itself saw the device do in that precision."""
    document, best = run.document, best_peaks(run.document.peaks)
    measured_by = source_of_peaks(document.sources, document.environments)
    with_peaks = document.environments.get(measured_by, document.environment)
    for row in run.rows:
        if row.gflop_per_image is None or row.images_per_second is None:
            continue
        row.gflop_per_second = row.gflop_per_image * row.images_per_second
        peak = best.get(row.precision)
        # A peak is of the TensorFlow that it was measured with, without settings, and of no other framework.
        environment = document.environments.get(row.source, document.environment)
        same = environment.version("tensorflow") == with_peaks.version("tensorflow")
        same = same and not any(one.variables for one in document.sources if one.name in (row.source, measured_by))
        config = run.configs[row.case]
        if peak and same and config.framework == "tensorflow":
            devices = 1 if config.device == "cpu" else config.total_replicas  # which share one CPU
            row.mfu = row.gflop_per_second * 1e9 / (devices * peak.flop_per_second)


def _add_turns(run: Run) -> GpuSummary | None:
    """Add the machine's conditions in each case's turns, if there is a turns.csv; return the GPU over all of them."""
    path = run.directory / TURNS_FILE
    turns = read_turns(run.directory, run.document.run)
    case_of = {Path(raw).stem: one.case for one in run.document.cases if one.case in run.processes for raw in one.raw}
    if missing := without_turns(case_of, turns):
        why = f"it has no turns of {missing[0]}" if path.exists() else "there is no such file"
        run.unread.append(f"{path}: {why}")
    if turns.empty:
        return None
    turns["case"] = turns["worker"].map(case_of)
    for case, case_turns in turns.groupby("case"):
        row = run.row_of[str(case)]
        row.disturbed_turns = int(case_turns["disturbed"].notna().sum())
        waiting = case_turns["waiting_cpu_share"].dropna()
        row.waiting_cpu_share = float(waiting.mean()) if len(waiting) else None
        counted = case_turns[case_turns["gpu_energy_joules"].notna()]
        joules, images = float(counted["gpu_energy_joules"].sum()), float(counted["steps"].sum()) * row.batch_size
        alone = run.configs[row.case].total_replicas == 1  # of several GPUs one was read
        if alone and images and joules and math.isfinite(images / joules):
            row.images_per_joule = images / joules
        if gpu := gpu_summary.summary(case_turns):
            run.gpu_by_case[row.case] = gpu
            row.gpu_power_watts = gpu.power_watts.median if gpu.power_watts else None
            row.gpu_sm_clock_hz = gpu.sm_clock_hz.median if gpu.sm_clock_hz else None
    return gpu_summary.summary(turns[turns["case"].notna()])


def _add_profiles(run: Run) -> None:
    """The run's traces; those that cannot be read join what was not measured, and the figures stand."""
    unread = []
    try:
        paths = bounded.trace_files(run.directory, PROFILE_FILE)
    except GnetError as error:
        paths, unread = [], [("traces", str(error))]
    for path in paths:
        try:
            profile, _digest = json_documents.read_json(path, run.directory, strict=True)
            run.profiles.append(migrations.current_profile(profile))
        except GnetError as error:
            unread.append((path.parent.name, str(error)))
    document = run.document
    expected = document.request.profile and document.complete and not document.profile_note
    if expected and not run.profiles and not unread:
        where = run.directory / "traces"
        unread.append(("a trace", f"it is not there any more; no folder in {where} holds a {PROFILE_FILE}"))
    run.unmeasured.extend(unread)
    run.unread.extend(why for _what, why in unread)


def _request_of_case(case: RecordedCase, config: StepConfig, document: RunDocument) -> BenchRequest:
    """The request that measures a case of the run again."""
    is_again = case.source == AGAIN  # an option adds it to a case of a suite, which the command has to name
    twins = (other for other in document.cases if other.config == case.config and other.source != AGAIN)
    declared = tuple(suite.name for suite in document.suites)
    suites = next((twin.suites for twin in twins), declared) if is_again else case.suites
    suite = next((suite for suite in document.suites if suite.name in suites[:1]), None)
    fields: dict[str, Any] = {axis: (getattr(config, axis),) for axis in AXES}
    fields |= {name: getattr(config, name) for name in ("device", "layers", "widths", "image_size", "seed")}
    if config.data != "synthetic":  # a case of a run with data may be fed a synthetic batch all the same
        fields["data"] = config.data
    fields |= {"suites": suites[:1], "case": (), "profile": False, "aa": is_again}
    if suite is not None and suite.scaling:
        fields |= {"replicas": (config.replicas,), "workers": (config.workers,)}
        if suite.scaling == "weak":
            fields["batch_size"] = (config.replica_batch_size,)
    else:
        fields |= {"replicas": None, "workers": None}
    if document.until == "fixed":
        fields |= {"replicates": document.replicates, "until": None}  # which is fixed beside a number
    return dataclasses.replace(document.request, **fields)
