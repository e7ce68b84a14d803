"""What GNET promises of a GPU, each promise judged by what was seen on one: confirmed, wrong or still open.

Pure: what was seen comes in, claims go out.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import pandas as pd

from gnet_core import comparisons, device_time, equal_work, records
from gnet_core.config import PRECISIONS, Execution
from gnet_core.gpu_conditions import GpuConditions, Sample, Span, conditions
from gnet_core.gpu_summary import SETTLED
from gnet_core.profile_document import Profile
from gnet_core.raw_files import RawProcess
from gnet_core.records import Row, Run
from gnet_core.verdicts import Comparison

Verdict = Literal["wrong", "open", "confirmed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""The worst first."""

LEAST_LOW_PRECISION_SHARE = 0.95
"""Of the matrix work of a step under a mixed policy; the logits' product stays in float32."""

ENERGY_TOLERANCE = 0.20
"""Between the energy counter and mean power × time. Power is averaged over up to a second, and the counter moves every
20 to 100 ms."""

LEAST_RISE_WATTS = 5.0
"""Of a GPU's power over idling for it to be work: less is noise of the sensor."""

KERNEL_TIME_TOLERANCE = 0.10
"""Between the time of operations and that of kernels, which are two readings of the same trace."""

MOST_UNKNOWN_KERNEL_SHARE = 0.05
"""Of the time of all kernels, in kernels whose names do not tell whether they use tensor cores."""

MOST_TRANSPOSES = 10
"""A step in float32 on NHWC images: at its edges TensorFlow's layout optimizer needs 6."""

MOST_TRACE_BYTES = 16 * 2**20
"""What can be brought home from a machine that is lent."""

MOST_COMPILE_SECONDS = 120.0
"""Of XLA's first call. A worker of the preset quick is given 300 s in all."""

MOST_GPU_DISTURBED_SHARE = 0.10
"""Of turns that count as disturbed for the GPU's own state; more would be how GPUs run."""

MOST_NAMED = 5
"""Kernels or cases that evidence names."""

SAMPLED: tuple[Execution, ...] = ("graph", "eager", "xla")
"""The workers, in mixed_bfloat16."""

PROFILED = (*SAMPLED, "float32")
"""The traces: one of each execution in mixed_bfloat16, and that of a graph in float32."""


class Figure(NamedTuple):
    """A figure that a verdict rests on."""

    name: str
    value: float
    unit: str
    """Of the value; empty for a share or a ratio, 0 to 1 or more."""

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g}{f' {self.unit}' if self.unit else ''}"


class Finding(NamedTuple):
    """What one worker, trace or case says of a claim, or the whole of it where `of` is empty."""

    verdict: Verdict
    figures: tuple[Figure, ...] = ()
    because: str = ""
    """Why it is wrong or open, or what else was seen."""
    of: str = ""

    def __str__(self) -> str:
        told = "; ".join(filter(None, [self.because, ", ".join(map(str, self.figures))]))
        return f"{self.of} ({self.verdict}): {told}" if self.of else told

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, which has no infinity."""
        figures = [
            figure._asdict() | {"value": figure.value if math.isfinite(figure.value) else None}
            for figure in self.figures
        ]
        return {**self._asdict(), "figures": figures}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One promise, and what became of it."""

    claim: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings'."""
        return min((finding.verdict for finding in self.findings), key=VERDICTS.index)

    @property
    def evidence(self) -> list[str]:
        """A line a finding."""
        return [text for finding in self.findings if (text := str(finding))]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "claim": self.claim,
            "verdict": self.verdict,
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class TakenMemory:
    """What NVML says of a worker after its turn, in bytes; 0 is not told."""

    process_bytes: int
    """Of its processes. Not told where their numbers are not the driver's, as in a container."""
    growth_bytes: int
    """By which the device's used memory grew since before its start, alone on the device."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerReading:
    """What was seen of one worker that took a single turn, alone on the device."""

    process: RawProcess
    samples: Sequence[Sample]
    """Of the turn and of the idle seconds after it; none where NVML cannot tell which of its GPUs the device is."""
    block: Span | None
    """Of the timed block, as the worker says."""
    work: Span | None
    """Of all its steps; after it the GPU idles."""
    taken: TakenMemory | None
    """None on a CPU."""

    @property
    def gpu(self) -> GpuConditions:
        """What turns.csv would tell of the turn."""
        return conditions(self.samples, self.block, self.work)

    @property
    def idle(self) -> list[Sample]:
        """Of the last second, by when power that is averaged has fallen."""
        last = max((sample.at_seconds for sample in self.samples), default=0.0)
        return [] if self.work is None else self._between(max(self.work.ended, last - 1.0), last)

    @property
    def at_work(self) -> list[Sample]:
        return [] if self.work is None else self._between(*self.work)

    def _between(self, begin: float, end: float) -> list[Sample]:
        return [sample for sample in self.samples if begin <= sample.at_seconds <= end]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TraceReading:
    """A profile and the trace that it was read from."""

    profile: Profile
    trace_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """What the steps of a check have left so far."""

    device: str
    environment: Mapping[str, Any]
    """As `gnet info --json` tells it."""
    workers: Mapping[Execution, WorkerReading]
    traces: Mapping[str, TraceReading]
    """By the names of PROFILED."""
    peak_flop_per_second: float | None
    """Of the device in mixed_bfloat16."""
    run: Run | None
    turns: pd.DataFrame
    """Of the run (see turns.read_turns); empty where there is none."""
    frameworks: Run | None
    why_not: Mapping[str, str]
    """Why a step left nothing, by its name: worker graph, profile float32, bench, frameworks, and so on."""

    def missing(self, step: str) -> Finding:
        return Finding("open", because=self.why_not.get(step, f"the step {step!r} was not reached"))


Question = Callable[[Seen], Finding | list[Finding]]


def judge(seen: Seen) -> list[Claim]:
    """Every claim with its verdict. On a CPU all are open: what was seen there says nothing of a GPU."""
    return [Claim(claim=text, findings=tuple(_findings(question, seen))) for text, question in _CLAIMS]


def _findings(question: Question, seen: Seen) -> list[Finding]:
    try:
        answer = question(seen)
        found = [answer] if isinstance(answer, Finding) else answer
    except Exception as error:  # what a GPU leaves was never seen before, and the other claims must not be lost for it
        found = [Finding("open", because=f"it could not be judged: {type(error).__name__}: {error!s:.200}")]
    if seen.device != "cpu":
        return found
    rehearsed = [each._replace(verdict="open") for each in found]
    return [Finding("open", because="rehearsed on a CPU"), *rehearsed]


def _of_workers(seen: Seen, ask: Callable[[WorkerReading], Finding]) -> list[Finding]:
    found = {name: ask(worker) for name, worker in seen.workers.items()}
    return [(found.get(name) or seen.missing(f"worker {name}"))._replace(of=name) for name in SAMPLED]


def _of_traces(seen: Seen, ask: Callable[[TraceReading], Finding], names: Sequence[str] = PROFILED) -> list[Finding]:
    found = {name: ask(seen.traces[name]) for name in names if name in seen.traces}
    return [(found.get(name) or seen.missing(f"profile {name}"))._replace(of=name) for name in names]


# --- the devices ------------------------------------------------------------------------------------------------------


def _devices_seen(seen: Seen) -> Finding:
    driver, tensorflow = seen.environment["machine"]["gpus"], seen.environment["tensorflow"]["gpus"]
    figures = (Figure("NVML", len(driver), "GPUs"), Figure("TensorFlow", len(tensorflow), "GPUs"))
    if len(driver) == len(tensorflow):
        return Finding("confirmed", figures)
    if tensorflow and (visible := _visible(seen.environment)):
        return Finding("confirmed", figures, f"CUDA_VISIBLE_DEVICES={visible}")
    return Finding("wrong", figures)


def _devices_agree(seen: Seen) -> Finding:
    driver = [gpu["name"] for gpu in seen.environment["machine"]["gpus"]]
    tensorflow = [gpu["name"] for gpu in seen.environment["tensorflow"]["gpus"]]
    told = f"NVML: {', '.join(driver) or 'none'}; TensorFlow: {', '.join(tensorflow) or 'none'}"
    if visible := _visible(seen.environment):
        return Finding("open", because=f"CUDA_VISIBLE_DEVICES={visible} chooses among them; {told}")
    return Finding("confirmed" if driver == tensorflow else "wrong", because=told)


def _visible(environment: Mapping[str, Any]) -> str:
    return str(environment["machine"]["environment_variables"].get("CUDA_VISIBLE_DEVICES", ""))


def _libraries_found(seen: Seen) -> Finding:
    places = (seen.environment["machine"].get("nvidia") or {}).get("libraries") or []
    missing = [f"{place['name']}: {place['error']}" for place in places if place["path"] is None]
    figures = (Figure("found", len(places) - len(missing), "libraries"), Figure("missing", len(missing), "libraries"))
    if not places:
        return Finding("open", because="nothing was looked for")
    return Finding("wrong" if missing else "confirmed", figures, "; ".join(missing))


# --- one worker each of graph, eager and XLA --------------------------------------------------------------------------


def _precision_proved(worker: WorkerReading) -> Finding:
    share = worker.process.info["low_precision_share"]
    if share is None:
        return Finding("wrong", because=str(worker.process.info.get("low_precision_note") or "no share was found"))
    return Finding(
        "confirmed" if share >= LEAST_LOW_PRECISION_SHARE else "wrong", (Figure("share of the matrix work", share, ""),)
    )


def _memory_covered(worker: WorkerReading) -> Finding:
    """NVML's figure of the process, or else what the device's grew by while the worker was alone."""
    allocator, taken = worker.process.info["peak_memory_bytes"], worker.taken
    read = (taken.process_bytes, taken.growth_bytes) if taken else (0, 0)
    figures = tuple(
        Figure(name, value / 2**30, "GiB")
        for name, value in (
            (worker.process.info["memory_source"], allocator),
            ("NVML's of the process", read[0]),
            ("NVML's growth of the device", read[1]),
        )
        if value
    )
    if not any(read):
        return Finding("open", figures, "NVML tells no memory of this device")
    return Finding("confirmed" if allocator <= (read[0] or read[1]) else "wrong", figures)


_NO_SAMPLES = "NVML cannot tell which of its GPUs this is, or does not answer"


def _conditions_told(worker: WorkerReading) -> Finding:
    gpu = worker.gpu
    if not gpu.samples:
        return Finding("open", because=_NO_SAMPLES)
    told = {
        ("power", "W"): gpu.power_watts,
        ("SM clock", "MHz"): gpu.sm_clock_hz and gpu.sm_clock_hz / 1e6,
        ("temperature", "°C"): gpu.temperature_celsius,
    }
    figures = tuple(Figure(name, value, unit) for (name, unit), value in told.items() if value is not None)
    untold = [name for (name, _), value in told.items() if value is None]
    return Finding("wrong" if untold else "confirmed", figures, f"not told: {', '.join(untold)}" if untold else "")


def _power_above_idle(worker: WorkerReading) -> Finding:
    work, idle = worker.gpu.power_watts, [each.power_watts for each in worker.idle if each.power_watts is not None]
    if work is None or not idle:
        return Finding("open", because="power is not told" if worker.samples else _NO_SAMPLES)
    rest = statistics.median(idle)
    figures = (Figure("in the block", work, "W"), Figure("idle", rest, "W"))
    return Finding("confirmed" if work >= rest + LEAST_RISE_WATTS else "wrong", figures)


def _energy_agrees(worker: WorkerReading) -> Finding:
    watts = [each.power_watts for each in worker.at_work if each.power_watts is not None]
    counted, work = worker.gpu.energy_joules, worker.work
    if counted is None or work is None or not watts:
        return Finding("open", because="power or energy is not told" if worker.samples else _NO_SAMPLES)
    seconds = work.ended - work.began
    expected = statistics.fmean(watts) * seconds
    figures = (
        Figure("counter", counted, "J"),
        Figure("mean power × time", expected, "J"),
        Figure("over", seconds, "s"),
    )
    return Finding("confirmed" if abs(counted / expected - 1) <= ENERGY_TOLERANCE else "wrong", figures)


def _reasons_told(worker: WorkerReading) -> Finding:
    gpu = worker.gpu
    if not gpu.samples:
        return Finding("open", because=_NO_SAMPLES)
    if gpu.throttle_reasons is None:
        return Finding("wrong", because="neither reasons nor counters are told")
    figures = (
        Figure("share under the power cap", gpu.power_cap_share or 0.0, ""),
        Figure("counters told", len(worker.samples[0].lowered_seconds), ""),
    )
    return Finding("confirmed", figures, gpu.throttle_reasons or "nothing lowers it")


def _clocks_settle(worker: WorkerReading) -> Finding:
    gpu = worker.gpu
    if gpu.sm_clock_change is None or worker.block is None:
        return Finding("open", because="the clock is not told" if worker.samples else _NO_SAMPLES)
    length = worker.block.ended - worker.block.began
    figures = (Figure("first quarter ÷ rest - 1", gpu.sm_clock_change, ""), Figure("block", length, "s"))
    return Finding("confirmed" if abs(gpu.sm_clock_change) <= SETTLED else "wrong", figures)


def _compiles_in_time(seen: Seen) -> Finding:
    if "xla" not in seen.workers:
        return seen.missing("worker xla")
    seconds = {name: worker.process.info["phase_seconds"]["first_call"] for name, worker in seen.workers.items()}
    figures = tuple(Figure(f"first call of {name}", value, "s") for name, value in seconds.items())
    return Finding("confirmed" if seconds["xla"] <= MOST_COMPILE_SECONDS else "wrong", figures)


def _below_peak(seen: Seen) -> list[Finding]:
    peak = seen.peak_flop_per_second
    if peak is None:
        return [seen.missing("peak")]

    def share(worker: WorkerReading) -> Finding:
        info = worker.process.info
        flop_per_second = info["flop_per_image"] * info["config"]["batch_size"] / _step_seconds(worker)
        figures = (Figure("TFLOP/s", flop_per_second / 1e12, ""), Figure("MFU", flop_per_second / peak, ""))
        return Finding("confirmed" if flop_per_second <= peak else "wrong", figures)

    return _of_workers(seen, share)


def _step_seconds(worker: WorkerReading) -> float:
    return statistics.fmean(worker.process.step_seconds)


# --- traces -----------------------------------------------------------------------------------------------------------


def _holds_kernels(trace: TraceReading) -> Finding:
    kernels = trace.profile.kernels
    seconds = sum(each.seconds for each in kernels) / trace.profile.steps
    figures = (Figure("kernels", len(kernels), ""), Figure("in a step", seconds * 1e3, "ms"))
    return Finding("confirmed" if kernels else "wrong", figures, "; ".join(trace.profile.warnings))


def _steps_recognised(trace: TraceReading) -> Finding:
    shares = {each.kind: each.share for each in trace.profile.breakdown}
    if not shares:
        return Finding("wrong", because="xprof recognised no step")
    figures = tuple(Figure(kind, share, "") for kind, share in shares.items() if share >= 0.005)
    return Finding("confirmed" if shares.get("device compute") else "wrong", figures)


def _names_judged(trace: TraceReading) -> Finding:
    kernels = trace.profile.kernels
    if not kernels:
        return Finding("open", because="there are no kernels")
    unknown = [each for each in kernels if each.tensor_cores == "unknown"]
    share = sum(each.share for each in unknown)
    named = ", ".join(f"{each.kernel[:80]} {each.share:.1%}" for each in unknown[:MOST_NAMED])
    figures = (Figure("share on tensor cores", _on_tensor_cores(trace), ""), Figure("unknown share", share, ""))
    return Finding("confirmed" if share <= MOST_UNKNOWN_KERNEL_SHARE else "wrong", figures, named)


def _uses_tensor_cores(trace: TraceReading) -> Finding:
    if not trace.profile.kernels:
        return Finding("open", because="there are no kernels")
    share = _on_tensor_cores(trace)
    return Finding("confirmed" if share > 0 else "wrong", (Figure("of the kernels' time", share, ""),))


def _on_tensor_cores(trace: TraceReading) -> float:
    return sum(each.share for each in trace.profile.kernels if each.tensor_cores == "used")


def _times_agree(trace: TraceReading) -> Finding:
    profile = trace.profile
    told = profile.device_time
    if told is None or not told.operations_seconds or not told.kernels_seconds:
        return Finding("open", because="operations or kernels are missing")
    figures = tuple(
        Figure(f"{name} in a step", seconds / profile.steps * 1e3, "ms")
        for name, seconds in (
            ("operations", told.operations_seconds),
            ("kernels", told.kernels_seconds),
            ("kernels without an operation", told.unnamed_kernels_seconds),
        )
    )
    agree = abs(told.operations_seconds / told.kernels_seconds - 1) <= KERNEL_TIME_TOLERANCE
    gaps = device_time.reconciled(told, profile.steps, None)
    return Finding("confirmed" if agree else "wrong", figures, " ".join(gaps))


def _few_transposes(trace: TraceReading) -> Finding:
    if not trace.profile.operations:
        return Finding("open", because=trace.profile.note)
    counts = {each.plain: each.occurrences for each in trace.profile.operations if "Transpose" in each.operation}
    each_step = sum(counts.values()) / trace.profile.steps
    figures = (Figure("transposes of a step", each_step, ""),)
    return Finding("confirmed" if each_step <= MOST_TRANSPOSES else "wrong", figures)


def _memory_traced(trace: TraceReading) -> Finding:
    memory = trace.profile.peak_memory
    if memory is None:
        return Finding("wrong", because="it holds no allocation")
    return Finding("confirmed", (Figure(f"peak of {memory.allocator}", memory.peak_bytes / 2**30, "GiB"),))


def _small_enough(trace: TraceReading) -> Finding:
    figures = (Figure("trace", trace.trace_bytes / 2**20, "MiB"),)
    return Finding("confirmed" if trace.trace_bytes <= MOST_TRACE_BYTES else "wrong", figures)


def _parts_told(trace: TraceReading) -> Finding:
    other = sum(each.share for each in trace.profile.parts if each.part == "other")
    if not trace.profile.parts:
        lacking = [each.why for each in trace.profile.not_available if "part of the network" in each.what]
        return Finding("wrong", because="; ".join(lacking))
    return Finding("confirmed" if other <= 0.10 else "wrong", (Figure("in no part of the network", other, ""),))


# --- the run ----------------------------------------------------------------------------------------------------------


def _all_fit(seen: Seen) -> Finding:
    run = seen.run
    if run is None:
        return seen.missing("bench")
    lost = [f"{row.case} {row.status}" for row in run.rows if row.status not in ("ok", "unsupported")]
    cohorts = [set(cohort["workers"]) for cohort in run.document["cohorts"]]
    crowded = sorted(
        stem
        for number, cohort in enumerate(cohorts)
        for stem in cohort
        if any(stem in each for each in cohorts[:number])
    )
    figures = (
        Figure("cases", len(run.rows), ""),
        Figure("processes", sum(row.replicates for row in run.rows), ""),
        Figure("alive together", max(map(len, cohorts), default=0), ""),
    )
    if lost or crowded:
        told = [*lost, *(f"{stem} crowded out" for stem in crowded)]
        return Finding("wrong", figures, ", ".join(told[:MOST_NAMED]))
    if run.unmeasured or not run.document["complete"]:
        return Finding("open", figures, seen.why_not.get("bench", "the run is not complete"))
    return Finding("confirmed", figures)


def _tf32_off(seen: Seen) -> list[Finding]:
    return _of_comparisons(seen, "precision", "tf32", confirmed=("FASTER",))


def _bfloat16_pays(seen: Seen) -> list[Finding]:
    return _of_comparisons(seen, "precision", "mixed_bfloat16", confirmed=("FASTER",))


def _fused_no_slower(seen: Seen) -> list[Finding]:
    return _of_comparisons(seen, "implementation", "", confirmed=("FASTER", "SAME"))


def _of_comparisons(seen: Seen, suite: str, precision: str, confirmed: tuple[str, ...]) -> list[Finding]:
    """The comparisons of a suite, of one precision or of all."""
    run = seen.run
    if run is None:
        return [seen.missing("bench")]
    found = [
        _of_comparison(comparison, confirmed)._replace(of=case)
        for family in comparisons.within(run)
        if family.suite == suite
        for case, comparison in family.comparisons.items()
        if precision in ("", run.configs[case].precision)
    ]
    return found or [Finding("open", because=seen.why_not.get("bench", "there is nothing to compare"))]


def _of_comparison(comparison: Comparison, confirmed: tuple[str, ...]) -> Finding:
    figures = tuple(
        Figure(name, value, "")
        for name, value in (("ratio", comparison.ratio), ("from", comparison.low), ("to", comparison.high))
        if value is not None
    )
    if comparison.verdict == "UNRESOLVED":
        return Finding("open", figures, comparison.reason)
    return Finding("confirmed" if comparison.verdict in confirmed else "wrong", figures, comparison.verdict)


def _losses_within(seen: Seen) -> Finding:
    """The largest deviation of each precision as a share of its tolerance, and which row has it."""
    if seen.run is None:
        return seen.missing("bench")
    run = seen.run
    case_of = {(run.configs[case], run.row_of[case].source): case for case in run.trajectories}
    shares: dict[str, float] = {}
    for case, trajectories in run.trajectories.items():
        config = run.configs[case]
        reference = records.float32_case(config, run.row_of[case].source, case_of)
        for losses in trajectories if reference not in (None, case) else ():
            share = equal_work.share_of_tolerance(losses, run.trajectories[str(reference)][0], config.precision)
            shares[config.precision] = max(share or 0.0, shares.get(config.precision, 0.0))
    figures = tuple(
        Figure(f"largest deviation ÷ tolerance in {precision}", shares[precision], "")
        for precision in PRECISIONS
        if precision in shares
    )
    outside = [row for row in run.rows if row.equal_work is False or not row.finite]
    if outside:
        return Finding("wrong", figures, ", ".join(f"{row.case}: {row.note}" for row in outside[:MOST_NAMED]))
    return Finding("confirmed", figures) if figures else Finding("open", because="no losses could be compared")


def _turns_told(seen: Seen) -> Finding:
    if seen.run is None or seen.turns.empty:
        return seen.missing("bench") if seen.run is None else Finding("open", because="the run has no turns")
    figures = tuple(
        Figure(column.removeprefix("gpu_"), _told_share(seen.turns, column), "of turns") for column in _TURN_COLUMNS
    )
    return Finding("confirmed" if all(figure.value == 1 for figure in figures) else "wrong", figures)


_TURN_COLUMNS = ("gpu_sm_clock_hz", "gpu_power_watts", "gpu_temperature_celsius", "gpu_energy_joules")


def _told_share(turns: pd.DataFrame, column: str) -> float:
    if column not in turns:
        return 0.0
    return float(pd.to_numeric(turns[column], errors="coerce").notna().mean())


def _gpu_disturbs_few_turns(seen: Seen) -> Finding:
    if seen.run is None or seen.turns.empty:
        return seen.missing("bench") if seen.run is None else Finding("open", because="the run has no turns")
    reasons = seen.turns["disturbed"].fillna("")
    by_gpu = reasons[reasons.str.contains("GPU")]
    figures = (
        Figure("turns", len(reasons), ""),
        Figure("disturbed by the GPU's state", len(by_gpu) / len(reasons), ""),
        Figure("disturbed by anything", float((reasons != "").mean()), ""),
    )
    usual = ", ".join(map(str, by_gpu.value_counts().index[:MOST_NAMED]))
    return Finding("confirmed" if figures[1].value <= MOST_GPU_DISTURBED_SHARE else "wrong", figures, usual)


def _energy_told(seen: Seen) -> Finding:
    rows = _measured(seen.run)
    if not rows:
        return seen.missing("bench")
    figures = tuple(Figure(row.case, row.images_per_joule, "images/J") for row in rows if row.images_per_joule)
    return Finding("confirmed" if len(figures) == len(rows) else "wrong", figures)


def _measured(run: Run | None) -> list[Row]:
    return [row for row in run.rows if row.status == "ok"] if run else []


def _peers_measured(seen: Seen) -> list[Finding]:
    run = seen.frameworks
    if run is None:
        return [seen.missing("frameworks")]
    peers = [row for row in run.rows if run.configs[row.case].framework != "tensorflow"]
    return [_of_peer(row)._replace(of=row.case) for row in peers]


def _of_peer(row: Row) -> Finding:
    if row.status == "ok" and row.images_per_second:
        return Finding("confirmed", (Figure("speed", row.images_per_second, "images/s"),))
    return Finding("open" if row.status == "unsupported" else "wrong", because=row.note)


_CLAIMS: tuple[tuple[str, Question], ...] = (
    ("TensorFlow sees the GPUs that NVML shows", _devices_seen),
    ("Each of NVIDIA's libraries that TensorFlow opens is found", _libraries_found),
    ("NVML and TensorFlow have them under the same names in the same order", _devices_agree),
    (
        f"The proof of precision finds at least {LEAST_LOW_PRECISION_SHARE:.0%} of the matrix work in bfloat16",
        lambda seen: _of_workers(seen, _precision_proved),
    ),
    (
        "What NVML says a worker takes is no less than the peak of its allocator",
        lambda seen: _of_workers(seen, _memory_covered),
    ),
    ("Power, clock and temperature are told during a block", lambda seen: _of_workers(seen, _conditions_told)),
    ("Power in a block is above that of idling", lambda seen: _of_workers(seen, _power_above_idle)),
    (
        f"The energy counter agrees with mean power × time within {ENERGY_TOLERANCE:.0%}",
        lambda seen: _of_workers(seen, _energy_agrees),
    ),
    ("NVML tells why the clock is what it is", lambda seen: _of_workers(seen, _reasons_told)),
    (
        f"Clocks have settled when a block begins, to within {SETTLED:.0%}",
        lambda seen: _of_workers(seen, _clocks_settle),
    ),
    (f"XLA's first call, which compiles, takes at most {MOST_COMPILE_SECONDS:g} s", _compiles_in_time),
    ("No step in bfloat16 does more than the peak that was measured", _below_peak),
    (
        f"A trace of a few steps has at most {MOST_TRACE_BYTES / 2**20:g} MiB",
        lambda seen: _of_traces(seen, _small_enough),
    ),
    ("A trace holds the GPU's kernels", lambda seen: _of_traces(seen, _holds_kernels)),
    ("A trace tells the peak of the GPU's memory", lambda seen: _of_traces(seen, _memory_traced)),
    ("xprof recognises the steps and what the GPU computes in them", lambda seen: _of_traces(seen, _steps_recognised)),
    (
        "Kernels' names tell whether they use tensor cores, but for at most "
        f"{MOST_UNKNOWN_KERNEL_SHARE:.0%} of their time",
        lambda seen: _of_traces(seen, _names_judged),
    ),
    ("mixed_bfloat16 runs on tensor cores", lambda seen: _of_traces(seen, _uses_tensor_cores, SAMPLED)),
    (
        f"The times of operations and of kernels agree within {KERNEL_TIME_TOLERANCE:.0%}",
        lambda seen: _of_traces(seen, _times_agree),
    ),
    (
        "A graph and XLA tell the time of each part of the network",
        lambda seen: _of_traces(seen, _parts_told, ("graph", "xla", "float32")),
    ),
    (
        f"A step in float32 has at most {MOST_TRANSPOSES} layout transposes",
        lambda seen: _of_traces(seen, _few_transposes, ("float32",)),
    ),
    ("Every case of the run fits, beside those that it takes turns with", _all_fit),
    ("TF32 is off in float32: tf32 is faster", _tf32_off),
    ("mixed_bfloat16 is faster than float32", _bfloat16_pays),
    ("The fused layers are not slower than Keras' own", _fused_no_slower),
    ("Losses are float32's within the tolerances, which are a CPU's", _losses_within),
    ("Every turn tells the GPU's clock, power, temperature and energy", _turns_told),
    (
        f"At most {MOST_GPU_DISTURBED_SHARE:.0%} of the turns count as disturbed for the GPU's own state",
        _gpu_disturbs_few_turns,
    ),
    ("Every case tells its images for each joule", _energy_told),
    ("PyTorch and JAX are measured beside TensorFlow", _peers_measured),
)
