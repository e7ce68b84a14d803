"""What one worker each of graph, eager and XLA, alone on a GPU, says of the promises of the GPU side."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from gnet_core.gpu_check.evidence import Claims, Figure, Finding, Seen, WorkerReading, of_workers
from gnet_core.machine.gpu_conditions import SAMPLE_SECONDS, Sample
from gnet_core.run.gpu_memory import CONTEXT_BYTES, reserve

MIN_LOW_PRECISION_SHARE = 0.95
"""Of the matrix work of a step under a mixed policy; the logits' product stays in float32."""

ENERGY_TOLERANCE = 0.20
"""Between the energy counter and mean power × time. Power is averaged over up to a second, and the counter moves every
20 to 100 ms."""

MIN_RISE_WATTS = 5.0
"""Of a GPU's power over idling for it to be work: less is noise of the sensor."""

MAX_FALLING_SECONDS = 0.5
"""After the last step, until power is half way down to idling. The mean of a second takes half of one, and its sensor's
own lag; power of the moment a reading or two."""

MAX_READING_SECONDS = 0.1 * SAMPLE_SECONDS
"""For NVML to answer one reading, on average: a tenth of the time it has some of the driver's locks."""

MAX_COMPILE_SECONDS = 120.0
"""Of XLA's first call. A worker of the preset quick is given 300 s in all."""


def _precision_proved(worker: WorkerReading) -> Finding:
    share = worker.process.info.low_precision_share
    if share is None:
        return Finding("wrong", because=str(worker.process.info.low_precision_note or "no share was found"))
    return Finding(
        "confirmed" if share >= MIN_LOW_PRECISION_SHARE else "wrong", (Figure("share of the matrix work", share, ""),)
    )


def _memory_bounded(worker: WorkerReading) -> Finding:
    """By NVML's count for the process, or where that is not told by what the device's grew while it was alone there."""
    peak, taken = worker.process.info.peak_memory_bytes, worker.taken
    by_process, growth = (taken.process_bytes, taken.growth_bytes) if taken else (0, 0)
    told = {
        worker.process.info.memory_source: peak,
        "NVML's of the process": by_process,
        "NVML's growth of the device": growth,
        "reserved": reserve(peak),
    }
    figures = tuple(Figure(name, value / 2**30, "GiB") for name, value in told.items() if value)
    if not (counted := by_process or growth):
        return Finding("open", figures, "NVML tells no memory of this device")
    because = "" if by_process else "the process is not told, as in a container, and the device's growth counts instead"
    return Finding("confirmed" if peak <= counted <= reserve(peak) else "wrong", figures, because)


_NO_SAMPLES = "NVML cannot tell which of its GPUs this is, or does not answer"


def _power_follows_the_work(worker: WorkerReading) -> Finding:
    """A second's mean would keep the work in its figures for as long."""
    busy, idling = worker.gpu.power_watts, _known(worker.idle, lambda each: each.power_watts)
    if worker.work is None or busy is None or not idling:
        return Finding("open", because="power is not told" if worker.samples else _NO_SAMPLES)
    idle, ended = statistics.median(idling), worker.work.ended
    half = (idle + busy) / 2
    high = [each for each in worker.samples if each.at_seconds > ended and (each.power_watts or 0.0) > half]
    seconds = max((each.at_seconds for each in high), default=ended) - ended
    figures = (
        Figure("in the block", busy, "W"),
        Figure("idle", idle, "W"),
        Figure("until half way down", seconds, "s"),
    )
    follows = busy >= idle + MIN_RISE_WATTS and seconds <= MAX_FALLING_SECONDS
    return Finding("confirmed" if follows else "wrong", figures)


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
    return Finding("confirmed" if mean <= MAX_READING_SECONDS else "wrong", figures)


def _compiles_in_time(seen: Seen) -> Finding:
    if "xla" not in seen.workers:
        return seen.missing("worker xla")
    seconds = {name: worker.process.info.phase_seconds.first_call for name, worker in seen.workers.items()}
    figures = tuple(Figure(f"first call of {name}", value, "s") for name, value in seconds.items())
    return Finding("confirmed" if seconds["xla"] <= MAX_COMPILE_SECONDS else "wrong", figures)


def _below_peak(seen: Seen) -> Finding | list[Finding]:
    peak = seen.peak_flop_per_second
    if peak is None:
        return seen.missing("peak")

    def share(worker: WorkerReading) -> Finding:
        process = worker.process
        flop_per_second = (
            process.info.flop_per_image * process.config.batch_size / statistics.fmean(process.step_seconds)
        )
        figures = (Figure("TFLOP/s", flop_per_second / 1e12, ""), Figure("MFU", flop_per_second / peak, ""))
        return Finding("confirmed" if flop_per_second <= peak else "wrong", figures)

    return of_workers(share)(seen)


def _known(samples: list[Sample], figure: Callable[[Sample], float | None]) -> list[float]:
    return [value for sample in samples if (value := figure(sample)) is not None]


CLAIMS: Claims = (
    (
        f"The proof of precision finds at least {MIN_LOW_PRECISION_SHARE:.0%} of the matrix work in bfloat16",
        of_workers(_precision_proved),
    ),
    (
        "What NVML says a worker takes lies between its allocator's peak and what is reserved: twice the power of two "
        f"that holds the peak and {CONTEXT_BYTES / 2**30:g} GiB",
        of_workers(_memory_bounded),
    ),
    (
        f"Power rises with the work and falls within {MAX_FALLING_SECONDS:g} s of the last step",
        of_workers(_power_follows_the_work),
    ),
    (
        f"The energy counter agrees with mean power × time within {ENERGY_TOLERANCE:.0%}",
        of_workers(_energy_agrees),
    ),
    (
        f"A reading of NVML takes at most {MAX_READING_SECONDS * 1e3:g} ms, on average",
        of_workers(_readings_cost_little),
    ),
    (f"XLA's first call, which compiles, takes at most {MAX_COMPILE_SECONDS:g} s", _compiles_in_time),
    ("No step in bfloat16 does more than the peak that was measured", _below_peak),
)
