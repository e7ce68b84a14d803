"""What one worker each of graph, eager and XLA, alone on a GPU, shows of the promises of the GPU side."""

from __future__ import annotations

import statistics

from gnet_core.gpu_check.evidence import Claims, Figure, Finding, OpenError, Seen, WorkerReading, by_step, judged
from gnet_core.machine.gpu_conditions import SAMPLE_SECONDS
from gnet_core.run.gpu_memory import CONTEXT_BYTES, reserve

CLAIMS = Claims()

MIN_BFLOAT16_SHARE = 0.95
"""Share of a step's matrix work in the lower precision of a mixed policy; the logits' product stays in float32."""

ENERGY_TOLERANCE = 0.20
"""Relative difference of the energy counter and mean power × time. Power is averaged over up to a second, and the
counter moves every 20 to 100 ms."""

MIN_RISE_WATTS = 5.0
"""Power above that of idling from which a GPU is at work; less is noise of the sensor."""

MAX_FALLING_SECONDS = 0.5
"""Time from the last step until power is half way down to idling. The mean of a second takes half of one, and its
sensor's own lag; power of the moment takes a reading or two."""

MAX_READING_SECONDS = 0.1 * SAMPLE_SECONDS
"""Mean time in which NVML answers one reading: some of the driver's locks are held for a tenth of the time then."""

MAX_COMPILE_SECONDS = 120.0
"""Time of XLA's first call. A worker of the preset quick is given 300 s in all."""


@CLAIMS.of_workers(f"The proof of precision finds at least {MIN_BFLOAT16_SHARE:.0%} of the matrix work in bfloat16")
def _precision_proved(worker: WorkerReading) -> Finding:
    share, note = worker.process.info.low_precision_share, worker.process.info.low_precision_note
    if share is None:
        return judged(False, because=note or "no share was found")
    return judged(share >= MIN_BFLOAT16_SHARE, Figure("share of the matrix work", share))


@CLAIMS.of_workers(
    "What NVML says a worker takes lies between its allocator's peak and what is reserved: twice the power of two "
    f"that holds the peak and {CONTEXT_BYTES / 2**30:g} GiB"
)
def _memory_bounded(worker: WorkerReading) -> Finding:
    """Judges by NVML's count for the process, or else by the growth of the device's memory, on which it was alone."""
    peak = worker.process.info.peak_memory_bytes
    sizes = {
        worker.process.info.memory_source: peak,
        "NVML's of the process": worker.process_bytes,
        "NVML's growth of the device": worker.growth_bytes,
        "reserved": reserve(peak),
    }
    figures = [Figure(name, size / 2**30, "GiB") for name, size in sizes.items() if size]
    if not (counted := worker.process_bytes or worker.growth_bytes):
        raise OpenError("NVML tells no memory of this device", *figures)
    in_container = "the process is not told, as in a container, and the device's growth counts instead"
    return judged(peak <= counted <= reserve(peak), *figures, because="" if worker.process_bytes else in_container)


@CLAIMS.of_workers(f"Power rises with the work and falls within {MAX_FALLING_SECONDS:g} s of the last step")
def _power_follows_the_work(worker: WorkerReading) -> Finding:
    """Sees a reading that is a second's mean: it would keep the work in its figures for as long."""
    _require_samples(worker)
    ended, last = worker.work.ended if worker.work else 0.0, worker.samples[-1].at_seconds
    busy, idling = worker.gpu.power_watts, worker.watts(max(ended, last - 1.0), last)
    if busy is None or not idling:
        raise OpenError("power is not told")
    idle = statistics.median(idling)
    half = (idle + busy) / 2
    later = [sample for sample in worker.samples if sample.at_seconds > ended]
    high = [sample.at_seconds for sample in later if (sample.power_watts or 0.0) > half]
    seconds = max(high, default=ended) - ended
    return judged(
        busy >= idle + MIN_RISE_WATTS and seconds <= MAX_FALLING_SECONDS,
        Figure("in the block", busy, "W"),
        Figure("idle", idle, "W"),
        Figure("until half way down", seconds, "s"),
    )


@CLAIMS.of_workers(f"The energy counter agrees with mean power × time within {ENERGY_TOLERANCE:.0%}")
def _energy_agrees(worker: WorkerReading) -> Finding:
    _require_samples(worker)
    joules, work = worker.gpu.energy_joules, worker.work
    if joules is None or work is None or not (watts := worker.watts(*work)):
        raise OpenError("power or energy is not told")
    seconds = work.ended - work.began
    expected = statistics.fmean(watts) * seconds
    return judged(
        abs(joules / expected - 1) <= ENERGY_TOLERANCE,
        Figure("counter", joules, "J"),
        Figure("mean power × time", expected, "J"),
        Figure("over", seconds, "s"),
    )


@CLAIMS.of_workers(f"A reading of NVML takes at most {MAX_READING_SECONDS * 1e3:g} ms, on average")
def _readings_cost_little(worker: WorkerReading) -> Finding:
    _require_samples(worker)
    milliseconds = [1e3 * sample.took_seconds for sample in worker.samples]
    mean = statistics.fmean(milliseconds)
    return judged(
        mean <= 1e3 * MAX_READING_SECONDS,
        Figure("mean", mean, "ms"),
        Figure("longest", max(milliseconds), "ms"),
        Figure("readings", len(milliseconds)),
    )


def _require_samples(worker: WorkerReading) -> None:
    if not worker.samples:
        raise OpenError("NVML cannot tell which of its GPUs this is, or does not answer")


@CLAIMS.of_all(f"XLA's first call, which compiles, takes at most {MAX_COMPILE_SECONDS:g} s")
def _compiles_in_time(seen: Seen) -> Finding:
    xla: WorkerReading = seen.result("worker xla")
    figures = [
        Figure(f"first call of {name}", worker.process.info.phase_seconds.first_call, "s")
        for name, worker in seen.results_of(WorkerReading).items()
    ]
    return judged(xla.process.info.phase_seconds.first_call <= MAX_COMPILE_SECONDS, *figures)


@CLAIMS.of_all("No step in bfloat16 does more than the peak that was measured")
def _below_peak(seen: Seen) -> Finding | list[Finding]:
    peak: float = seen.result("peak")

    def below(worker: WorkerReading) -> Finding:
        process = worker.process
        step_flop = process.info.flop_per_image * process.config.batch_size
        flop_per_second = step_flop / statistics.fmean(process.step_seconds)
        figures = (Figure("TFLOP/s", flop_per_second / 1e12), Figure("MFU", flop_per_second / peak))
        return judged(flop_per_second <= peak, *figures)

    return by_step(below, seen)
