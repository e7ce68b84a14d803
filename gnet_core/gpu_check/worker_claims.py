"""What one worker each of graph, eager and XLA, alone on a GPU, says of the promises of the GPU side."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from gnet_core.gpu_check.evidence import Claims, Figure, Finding, Seen, WorkerReading, of_workers
from gnet_core.machine.gpu_conditions import SAMPLE_SECONDS, Sample
from gnet_core.results.gpu_summary import SETTLED
from gnet_core.run.gpu_memory import CONTEXT_BYTES, reserve

LEAST_LOW_PRECISION_SHARE = 0.95
"""Of the matrix work of a step under a mixed policy; the logits' product stays in float32."""

ENERGY_TOLERANCE = 0.20
"""Between the energy counter and mean power × time. Power is averaged over up to a second, and the counter moves every
20 to 100 ms."""

LEAST_RISE_WATTS = 5.0
"""Of a GPU's power over idling for it to be work: less is noise of the sensor."""

MOST_FALLING_SECONDS = 0.5
"""After the last step, until power is half way down to idling. The mean of a second takes half of one, and its sensor's
own lag; power of the moment a reading or two."""

MOST_READING_SECONDS = 0.1 * SAMPLE_SECONDS
"""For NVML to answer one reading, on average: a tenth of the time it has some of the driver's locks."""

MOST_COMPILE_SECONDS = 120.0
"""Of XLA's first call. A worker of the preset quick is given 300 s in all."""


def _precision_proved(worker: WorkerReading) -> Finding:
    share = worker.process.info.low_precision_share
    if share is None:
        return Finding("wrong", because=str(worker.process.info.low_precision_note or "no share was found"))
    return Finding(
        "confirmed" if share >= LEAST_LOW_PRECISION_SHARE else "wrong", (Figure("share of the matrix work", share, ""),)
    )


def _memory_covered(worker: WorkerReading) -> Finding:
    """NVML's figure of the process, or else what the device's grew by while the worker was alone."""
    figures = _memory_figures(worker)
    if not (taken := _taken_bytes(worker)):
        return Finding("open", figures, _NO_MEMORY)
    return Finding("confirmed" if worker.process.info.peak_memory_bytes <= taken else "wrong", figures)


def _memory_counted_by_process(worker: WorkerReading) -> Finding:
    if not _taken_bytes(worker):
        return Finding("open", because=_NO_MEMORY)
    if worker.taken and worker.taken.process_bytes:
        return Finding("confirmed", _memory_figures(worker))
    because = "as in a container; what the whole device's grew by counts in its place"
    return Finding("open", _memory_figures(worker), because)


def _reserve_covers(worker: WorkerReading) -> Finding:
    reserved = reserve(worker.process.info.peak_memory_bytes)
    figures = (Figure("with the reserve", reserved / 2**30, "GiB"), *_memory_figures(worker))
    if not (taken := _taken_bytes(worker)):
        return Finding("open", figures, _NO_MEMORY)
    return Finding("confirmed" if taken <= reserved else "wrong", figures)


_NO_MEMORY = "NVML tells no memory of this device"


def _taken_bytes(worker: WorkerReading) -> int:
    """By NVML's count for the process, or else what the device's grew by; 0 where neither is told."""
    return worker.taken.process_bytes or worker.taken.growth_bytes if worker.taken else 0


def _memory_figures(worker: WorkerReading) -> tuple[Figure, ...]:
    taken = worker.taken
    told = {
        worker.process.info.memory_source: worker.process.info.peak_memory_bytes,
        "NVML's of the process": taken.process_bytes if taken else 0,
        "NVML's growth of the device": taken.growth_bytes if taken else 0,
    }
    return tuple(Figure(name, value / 2**30, "GiB") for name, value in told.items() if value)


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
    work, idle = worker.gpu.power_watts, _known(worker.idle, lambda each: each.power_watts)
    if work is None or not idle:
        return Finding("open", because="power is not told" if worker.samples else _NO_SAMPLES)
    rest = statistics.median(idle)
    figures = (Figure("in the block", work, "W"), Figure("idle", rest, "W"))
    return Finding("confirmed" if work >= rest + LEAST_RISE_WATTS else "wrong", figures)


def _power_is_of_the_moment(worker: WorkerReading) -> Finding:
    """A second's mean would keep the work in its figures for as long."""
    rise = _power_above_idle(worker)
    if worker.work is None or rise.verdict != "confirmed":
        return Finding("open", because=rise.because or "power in the block is not above that of idling")
    idle = statistics.median(_known(worker.idle, lambda each: each.power_watts))
    half = (idle + (worker.gpu.power_watts or 0.0)) / 2
    ended = worker.work.ended
    high = [each for each in worker.samples if each.at_seconds > ended and (each.power_watts or 0.0) > half]
    seconds = max((each.at_seconds for each in high), default=ended) - ended
    figures = (Figure("until half way down", seconds, "s"),)
    return Finding("confirmed" if seconds <= MOST_FALLING_SECONDS else "wrong", figures)


def _energy_agrees(worker: WorkerReading) -> Finding:
    watts = _known(worker.at_work, lambda each: each.power_watts)
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
        Figure("readings with reasons", len(_known(worker.in_block, lambda each: each.reasons)), ""),
        Figure("counters told", len(worker.samples[0].lowered_seconds), ""),
    )
    return Finding("confirmed", figures, gpu.throttle_reasons or "nothing lowers it")


def _clocks_settle(worker: WorkerReading) -> Finding:
    """The figures tell as well when the clock was last away from the usual, so how much of a block it spoils."""
    gpu, block = worker.gpu, worker.block
    if gpu.sm_clock_change is None or gpu.sm_clock_hz is None or block is None:
        return Finding("open", because="the clock is not told" if worker.samples else _NO_SAMPLES)
    usual = gpu.sm_clock_hz
    away = [
        each.at_seconds
        for each in worker.in_block
        if each.clock_hz is not None and abs(each.clock_hz - usual) > SETTLED * usual
    ]
    figures = (
        Figure("first quarter ÷ rest - 1", gpu.sm_clock_change, ""),
        Figure("last away from its median after", max(away, default=block.began) - block.began, "s"),
        Figure("block", block.ended - block.began, "s"),
    )
    return Finding("confirmed" if abs(gpu.sm_clock_change) <= SETTLED else "wrong", figures)


def _readings_cost_little(worker: WorkerReading) -> Finding:
    seconds = [each.took_seconds for each in worker.samples]
    if not seconds:
        return Finding("open", because=_NO_SAMPLES)
    mean = statistics.fmean(seconds)
    figures = (
        Figure("mean", mean * 1e3, "ms"),
        Figure("longest", max(seconds) * 1e3, "ms"),
        Figure("readings", len(seconds), ""),
    )
    return Finding("confirmed" if mean <= MOST_READING_SECONDS else "wrong", figures)


def _compiles_in_time(seen: Seen) -> Finding:
    if "xla" not in seen.workers:
        return seen.missing("worker xla")
    seconds = {name: worker.process.info.phase_seconds.first_call for name, worker in seen.workers.items()}
    figures = tuple(Figure(f"first call of {name}", value, "s") for name, value in seconds.items())
    return Finding("confirmed" if seconds["xla"] <= MOST_COMPILE_SECONDS else "wrong", figures)


def _below_peak(seen: Seen) -> Finding | list[Finding]:
    peak = seen.peak_flop_per_second
    if peak is None:
        return seen.missing("peak")

    def share(worker: WorkerReading) -> Finding:
        process = worker.process
        flop_per_second = process.info.flop_per_image * process.config.batch_size / _step_seconds(worker)
        figures = (Figure("TFLOP/s", flop_per_second / 1e12, ""), Figure("MFU", flop_per_second / peak, ""))
        return Finding("confirmed" if flop_per_second <= peak else "wrong", figures)

    return of_workers(share)(seen)


def _step_seconds(worker: WorkerReading) -> float:
    return statistics.fmean(worker.process.step_seconds)


def _known(samples: list[Sample], figure: Callable[[Sample], float | None]) -> list[float]:
    return [value for sample in samples if (value := figure(sample)) is not None]


CLAIMS: Claims = (
    (
        f"The proof of precision finds at least {LEAST_LOW_PRECISION_SHARE:.0%} of the matrix work in bfloat16",
        of_workers(_precision_proved),
    ),
    ("What NVML says a worker takes is no less than the peak of its allocator", of_workers(_memory_covered)),
    ("NVML counts by process what a worker takes", of_workers(_memory_counted_by_process)),
    (
        f"Twice the power of two that holds the allocator's peak and {CONTEXT_BYTES / 2**30:g} GiB are no less than "
        "what NVML says a worker takes",
        of_workers(_reserve_covers),
    ),
    ("Power, clock and temperature are told during a block", of_workers(_conditions_told)),
    ("Power in a block is above that of idling", of_workers(_power_above_idle)),
    (
        f"Power is that of the moment: it falls within {MOST_FALLING_SECONDS:g} s of the last step",
        of_workers(_power_is_of_the_moment),
    ),
    (
        f"The energy counter agrees with mean power × time within {ENERGY_TOLERANCE:.0%}",
        of_workers(_energy_agrees),
    ),
    ("NVML tells why the clock is what it is", of_workers(_reasons_told)),
    (f"Clocks have settled when a block begins, to within {SETTLED:.0%}", of_workers(_clocks_settle)),
    (
        f"A reading of NVML takes at most {MOST_READING_SECONDS * 1e3:g} ms, on average",
        of_workers(_readings_cost_little),
    ),
    (f"XLA's first call, which compiles, takes at most {MOST_COMPILE_SECONDS:g} s", _compiles_in_time),
    ("No step in bfloat16 does more than the peak that was measured", _below_peak),
)
