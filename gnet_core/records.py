"""What a run directory holds, as rows: run.json and pytest-benchmark's raw files in, one Row a case out."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import statistics
from pathlib import Path
from typing import Any

from gnet_core import stats
from gnet_core.config import GnetError, StepConfig
from gnet_core.files import RAW_FORMAT_VERSION, RUN_FORMAT_VERSION

PROFILE_FILE = "profile.json"

_RUN_FIELDS = ("created", "preset", "device", "seed", "environment", "suites", "complete", "cases")
_PROFILE_FIELDS = ("created", "device", "config", "environment", "trace")


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
    """Timed blocks, over all processes."""
    trace_seconds: float | None = None
    """Of get_concrete_function."""
    compile_seconds: float | None = None
    """The first call less a steady step."""
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run directory, read."""

    directory: Path
    document: dict[str, Any]
    """run.json."""
    rows: list[Row]
    unmeasured: list[tuple[str, str]]
    """Cases that were configured and have no row, with the reason."""
    profiles: list[dict[str, Any]]
    """What profile.json says of each case that was traced, in a process of its own."""


def load_run(directory: Path) -> Run:
    """Read a run directory. Raises GnetError naming the file for a run.json that is missing or cannot be read.

    A raw file that cannot be read costs its case's row the figures, not the run: the row is `failed` and says why.
    """
    path = directory / "run.json"
    document = _read_document(path, _RUN_FIELDS)
    rows, unmeasured = [], []
    for case in document["cases"]:
        try:
            if case["status"] is None:
                unmeasured.append((case["case"], case["note"] or "the run ended before it"))
            else:
                rows.append(_row(directory, case, document))
        except (KeyError, TypeError, GnetError) as error:
            raise GnetError(f"{path}: case {case!r:.80} cannot be read: {error}") from error
    profiles = [_read_json(found) for found in sorted(directory.glob(f"traces/*/{PROFILE_FILE}"))]
    return Run(directory=directory, document=document, rows=rows, unmeasured=unmeasured, profiles=profiles)


def is_profile(directory: Path) -> bool:
    """Whether gnet profile wrote it. Raises GnetError where no run.json can be read."""
    return _read_json(directory / "run.json").get("kind") == "profile"


def load_profile(directory: Path) -> dict[str, Any]:
    """What gnet profile wrote into run.json. Raises GnetError naming it for a field that is missing or wrong."""
    path = directory / "run.json"
    document = _read_document(path, _PROFILE_FIELDS)
    try:
        StepConfig.from_dict(document["config"])
        (directory / document["trace"]["xplane"]).resolve().relative_to(directory.resolve())
    except (KeyError, TypeError, ValueError) as error:
        raise GnetError(f"{path}: it describes no profile: {error}") from error
    return document


def _read_document(path: Path, fields: tuple[str, ...]) -> dict[str, Any]:
    document = _read_json(path)
    if document.get("format_version") != RUN_FORMAT_VERSION:
        found = document.get("format_version")
        raise GnetError(f"{path}: format_version is {found!r}; this version of gnet reads {RUN_FORMAT_VERSION}")
    for field in fields:
        if field not in document:
            raise GnetError(f"{path}: field {field!r} is missing; is it a run.json of another program?")
    return document


def _row(directory: Path, case: dict[str, Any], document: dict[str, Any]) -> Row:
    config = StepConfig.from_dict(case["config"])
    row = Row(
        case=case["case"],
        suite="+".join(case["suites"]),
        execution=config.execution,
        precision=config.precision,
        batch_size=config.batch_size,
        image_size=config.image_size,
        data=config.data,
        device=config.device,
        status=case["status"],
        note=case["note"],
        command=_command(config, case["suites"][0], document),
    )
    if row.status == "ok":
        measured = dataclasses.replace(row)
        try:
            _add_figures(measured, [_read_raw(directory / name, row.case) for name in case["raw"]])
        except GnetError as error:
            row.status, row.note = "failed", str(error)
        except (KeyError, TypeError, ValueError) as error:
            row.status, row.note = "failed", f"{', '.join(case['raw'])}: field missing or wrong: {error}"
        else:
            return measured
    return row


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Process:
    """The figures of one worker."""

    block_seconds: list[float]
    info: dict[str, Any]

    @property
    def step_seconds(self) -> list[float]:
        return [seconds / self.info["block_steps"] for seconds in self.block_seconds]

    @property
    def single_steps(self) -> list[float]:
        """Steps synchronised one by one; a block of one step is such a step already."""
        single: list[float] = self.info["single_step_seconds"]
        return single or self.step_seconds


def _read_raw(path: Path, case: str) -> _Process:
    document = _read_json(path)
    try:
        (benchmark,) = document["benchmarks"]
        info, blocks = benchmark["extra_info"], benchmark["stats"]["data"]
        if info["format_version"] != RAW_FORMAT_VERSION:
            raise GnetError(f"{path}: format_version is {info['format_version']!r}; gnet reads {RAW_FORMAT_VERSION}")
        if info["case"] != case:
            raise GnetError(f"{path}: case is {info['case']!r} but the run says {case!r}")
        if info["retraces_while_timed"]:
            raise GnetError(f"{path}: the step was traced anew while it was timed, so its samples are void")
        for seconds in (*blocks, *info["single_step_seconds"]):
            if not isinstance(seconds, float) or not math.isfinite(seconds) or seconds <= 0:
                raise GnetError(f"{path}: a sample is {seconds!r}; times are numbers above 0")
        if not blocks or not isinstance(info["block_steps"], int) or info["block_steps"] < 1:
            raise GnetError(f"{path}: it holds no timed block")
    except (KeyError, TypeError, ValueError) as error:
        raise (
            error if isinstance(error, GnetError) else GnetError(f"{path}: field missing or wrong: {error}")
        ) from error
    return _Process(block_seconds=blocks, info=info)


def _add_figures(row: Row, processes: list[_Process]) -> None:
    if not processes:
        raise GnetError(f"run.json: case {row.case} is ok but names no raw file")
    means = [statistics.fmean(process.step_seconds) for process in processes]
    row.replicates = len(processes)
    row.samples = sum(len(process.block_seconds) for process in processes)
    row.step_seconds = statistics.fmean(means)
    row.images_per_second = row.batch_size / row.step_seconds
    if interval := stats.geometric_interval(means):
        row.step_seconds_ci_low, row.step_seconds_ci_high = interval
        row.images_per_second_ci_low, row.images_per_second_ci_high = (row.batch_size / s for s in reversed(interval))
    single = [seconds for process in processes for seconds in process.single_steps]
    row.single_steps = len(single)
    row.step_seconds_p50 = stats.percentile(single, 50)
    row.step_seconds_p95 = stats.percentile(single, 95)
    row.step_seconds_p99 = stats.percentile(single, 99)
    spreads = [stats.relative_spread(process.step_seconds) for process in processes]
    if known := [spread for spread in spreads if spread is not None]:
        row.turn_spread = statistics.fmean(known)
    _add_phases(row, processes)
    _add_losses_and_memory(row, processes)


def _add_phases(row: Row, processes: list[_Process]) -> None:
    def mean(phase: str) -> float:
        return statistics.fmean(process.info["phase_seconds"][phase] for process in processes)

    assert row.step_seconds is not None
    row.import_seconds, row.build_seconds, row.warmup_seconds = mean("import"), mean("build"), mean("warmup")
    row.first_step_seconds = mean("build") + mean("trace") + mean("first_call")
    if row.execution != "eager":  # which neither traces nor compiles
        row.trace_seconds = mean("trace")
        row.compile_seconds = max(0.0, mean("first_call") - row.step_seconds)


def _add_losses_and_memory(row: Row, processes: list[_Process]) -> None:
    info = processes[0].info
    row.loss_first, row.loss_last = info["loss_first"], info["loss_last"]
    row.skipped_steps = sum(process.info["skipped_steps"] for process in processes)
    row.peak_memory_bytes = max(process.info["peak_memory_bytes"] for process in processes)
    row.memory_source = info["memory_source"]
    notes = [row.note] if row.note else []
    if any(process.info[loss] is None for process in processes for loss in ("loss_first", "loss_last")):
        row.finite = False
        notes.append("the loss was not finite")
    if row.skipped_steps:
        steps = sum(process.info["steps"] for process in processes)
        notes.append(f"{row.skipped_steps} of {steps} steps skipped by loss scaling")
    if row.data != "synthetic":
        notes.append("reading and resizing the images is inside the clock")
    row.note = "; ".join(notes)


def _command(config: StepConfig, suite: str, document: dict[str, Any]) -> str:
    words = ["gnet", "bench", suite, "--preset", document["preset"], "--device", config.device]
    words += ["--execution", config.execution, "--precision", config.precision]
    words += ["--batch-size", str(config.batch_size), "--image-size", str(config.image_size)]
    words += ["--data", config.data, "--seed", str(config.seed)]
    if document.get("replicates", 1) != 1:
        words += ["--replicates", str(document["replicates"])]
    return shlex.join(words)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GnetError(f"{path}: there is no such file; name a directory that gnet bench wrote") from None
    except (OSError, ValueError) as error:
        raise GnetError(f"{path}: it cannot be read as JSON ({error})") from error
    if not isinstance(document, dict):
        raise GnetError(f"{path}: it holds no JSON object")
    return document
