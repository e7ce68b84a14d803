"""What a GPU was like while a worker had its turn: NVML, asked every 0.1 s, and what the readings come to.

A thread of the runner asks, from right before the worker gets its turn until it has handed it back, and at no other
time. It is at most five calls a reading, which took 5 ms on an H200 (4 in the median, 26 at the longest), at work as
idle; gnet gpu-check tells it of others. They take locks of the driver that the worker may want as well, so none of them
lists processes: others have seen programs wait where that was asked 40 times a second.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pynvml

from gnet_core.machine import nvml

SAMPLE_SECONDS = 0.1
"""As often as an H200's driver brings power and energy up to date: asked every 0.05 s it told most figures twice."""

PATIENCE_SECONDS = 5.0
"""For a call that NVML does not answer, as of a GPU that fell off the bus. The run goes on without it."""

MIN_REASON_SHARE = 0.05
"""Of a block, for a reason to count. NVML may tell of a hardware slowdown while a clock merely changes."""

FIRST_PART = 0.25
"""Of a block, whose clock is compared with the rest's: where a clock still rises or falls, it is there."""

MIN_CLOCKS = 5
"""In a block, to tell whether the clock had settled."""

POWER_CAP = "power cap"
SYNC_BOOST = "kept in step with other GPUs"

_REASONS = {
    pynvml.nvmlClocksEventReasonSwPowerCap: POWER_CAP,
    pynvml.nvmlClocksEventReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksEventReasonSyncBoost: SYNC_BOOST,
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "too hot (software)",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "too hot (hardware)",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "power brake",
}

_CHOSEN = (
    pynvml.nvmlClocksEventReasonGpuIdle
    | pynvml.nvmlClocksEventReasonApplicationsClocksSetting
    | pynvml.nvmlClocksEventReasonDisplayClockSetting
)
"""Nothing to do, and clocks that somebody set: no throttling."""

_LIMITS = frozenset({POWER_CAP, SYNC_BOOST})
"""Under which a GPU may run all the time by its design or its administrator's choice. The other reasons never are how
it runs."""

_COUNTERS = {
    pynvml.NVML_FI_DEV_PERF_POLICY_POWER: pynvml.nvmlClocksEventReasonSwPowerCap,
    pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL: pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    pynvml.NVML_FI_DEV_PERF_POLICY_SYNC_BOOST: pynvml.nvmlClocksEventReasonSyncBoost,
}
"""The driver's counters of nanoseconds for which a reason lowered the clocks, and the reason of each, as nvml.h maps
them at nvmlDeviceGetViolationStatus. These have the same number in every driver. The newer fields of the remaining
reasons do not: 251 to 253 in nvml.h of CUDA 12.9 and 13.0 and 269 to 271 from 13.1 on, where the former are of power
smoothing."""

_COUNTER_PERIOD_SECONDS = 0.1
"""After which, at the latest, others have seen a driver bring its counters up to date."""

_FIELDS = (pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, *_COUNTERS)
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Of the union that holds a field's value, by NVML's number of its type."""

_CLOCK_HZ = (1e6, 1e10)
_WATTS = (0.1, 1e5)
_CELSIUS = (-50.0, 200.0)
"""What can be true of a GPU that works. Drivers also tell 0, and the largest number there is, of what they do not know.
"""


class Span(NamedTuple):
    """From when to when, in seconds of the monotonic clock, which all processes of a machine share."""

    began: float
    ended: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One reading. None is what this GPU, its driver or its permissions do not tell."""

    at_seconds: float
    """On the monotonic clock."""
    clock_hz: float | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    reasons: int | None = None
    """Bits of NVML's clocks event reasons."""
    joules: float | None = None
    """Since the driver was loaded."""
    lowered_seconds: dict[int, float] = dataclasses.field(default_factory=dict)
    """By the bit of a reason, for how long it has lowered the clocks, as far as the driver counts it."""
    took_seconds: float = 0.0
    """For NVML to answer all of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuConditions:
    """A GPU during one turn. None is a figure that is not told.

    Clock, power, temperature and reasons are of the timed block alone; the steps around it, and the wait at the turn's
    end in which the GPU idles, have no part in them.
    """

    samples: int | None = None
    """Readings within the block, which the next figures rest on."""
    sm_clock_hz: float | None = None
    """Their median."""
    sm_clock_change: float | None = None
    """The median of the block's first quarter ÷ that of its rest - 1: how far the clock was from settled."""
    power_watts: float | None = None
    """Their mean. Where the driver does not tell the present draw, a reading is the mean of the second before it (from
    Ampere on, but for GA100), and so the block's first second holds what was before."""
    power_limit_watts: float | None = None
    """That the driver enforces, as the turn ended."""
    temperature_celsius: float | None = None
    """Their median."""
    throttle_reasons: str | None = None
    """What lowered the clocks for more than a twentieth of the block, separated by ", " and "" for nothing."""
    power_cap_share: float | None = None
    """Of the block's time, for how much the power limit lowered the clocks."""
    energy_joules: float | None = None
    """From the turn's first step to its last: the discarded step, the block and the single steps, without the wait.

    The driver brings its counter up to date every 20 to 100 ms, so that each end may be late by as much: of 2.5 s of
    work up to 4 %, and more often too little than too much, since it is the work's end that is missing.
    """
    other_processes: int | None = None
    """Processes that compute on the GPU and are none of ours. None too where the worker itself is not seen there, as
    in a container whose process numbers are not the driver's."""

    @property
    def reasons(self) -> list[str]:
        """The single ones of `throttle_reasons`."""
        return self.throttle_reasons.split(", ") if self.throttle_reasons else []


@dataclasses.dataclass(frozen=True, kw_only=True)
class UsualGpu:
    """How a GPU usually runs one worker's step. Of another's step clock and limits are others."""

    sm_clock_hz: float | None = None
    limits: frozenset[str] = frozenset()
    """Those of NVML's reasons that are no disturbance since most of the worker's turns run under them."""


def usual(turns: Sequence[GpuConditions]) -> UsualGpu:
    """Of the turns of one worker: the median clock, and the limits that held in more than half of them."""
    clocks = [turn.sm_clock_hz for turn in turns if turn.sm_clock_hz is not None]
    told = [turn.reasons for turn in turns if turn.throttle_reasons is not None]
    limits = {limit for limit in _LIMITS if 2 * sum(limit in reasons for reasons in told) > len(told)}
    return UsualGpu(sm_clock_hz=statistics.median(clocks) if clocks else None, limits=frozenset(limits))


class Sampler:
    """Reads a GPU from its creation until `stop`."""

    def __init__(self, gpu: nvml.Handle) -> None:
        self._gpu = gpu
        self._samples = [_read(gpu)]  # before the worker begins, so that its counters' beginnings are known
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="GPU samples", daemon=True)
        self._thread.start()

    def stop(self) -> list[Sample]:
        """All readings; the last is made after this was called."""
        self._over.set()
        self._thread.join(PATIENCE_SECONDS)
        return list(self._samples)

    @property
    def hangs(self) -> bool:
        """Whether NVML has not answered."""
        return self._thread.is_alive()

    def _go_on(self) -> None:
        over = False
        while not over:
            over = self._over.wait(SAMPLE_SECONDS)
            self._samples.append(_read(self._gpu))


def span(times: Any) -> Span | None:
    """What a worker says of when it worked; None where that is no span, or it is too old a worker to say."""
    match times:
        case [int() | float() as began, int() | float() as ended] if 0 <= began <= ended < math.inf:
            return Span(float(began), float(ended))
    return None


def conditions(samples: Sequence[Sample], block: Span | None, work: Span | None) -> GpuConditions:
    """What the readings of a turn tell of its timed block and, for the energy, of all its work."""
    if block is None or work is None:
        return GpuConditions()
    within = [sample for sample in samples if block.began <= sample.at_seconds <= block.ended]
    shares = _shares(samples, within, block)
    clocks = _known(within, lambda sample: sample.clock_hz)
    watts = _known(within, lambda sample: sample.power_watts)
    heat = _known(within, lambda sample: sample.temperature_celsius)
    return GpuConditions(
        samples=len(within),
        sm_clock_hz=statistics.median(clocks) if clocks else None,
        sm_clock_change=_clock_change(within, block),
        power_watts=statistics.fmean(watts) if watts else None,
        temperature_celsius=statistics.median(heat) if heat else None,
        throttle_reasons=None if shares is None else _in_words(shares),
        power_cap_share=None if shares is None else shares.get(pynvml.nvmlClocksEventReasonSwPowerCap, 0.0),
        energy_joules=_energy_joules(samples, work),
    )


def power_limit_watts(gpu: nvml.Handle) -> float | None:
    """What the driver keeps the GPU below."""
    return _believable(nvml.figure(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu), 1e-3), _WATTS)


def other_processes(gpu: nvml.Handle, worker: int, ours: Collection[int]) -> int | None:
    """How many compute on the GPU besides ours; None where the worker is not seen among them."""
    running = nvml.ask(lambda: {process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)})
    return len(running - {worker, *ours}) if running is not None and worker in running else None


def _read(gpu: nvml.Handle) -> Sample:
    at_seconds = time.monotonic()
    fields = _field_values(gpu)
    milliwatts = fields.get(pynvml.NVML_FI_DEV_POWER_INSTANT)
    if milliwatts is None:  # a driver older than R535
        milliwatts = nvml.ask(lambda: pynvml.nvmlDeviceGetPowerUsage(gpu))
    millijoules = fields.get(pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION)
    celsius = nvml.ask(lambda: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU))
    clock_hz = nvml.figure(lambda: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM), 1e6)
    reasons = nvml.ask(lambda: pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    return Sample(
        at_seconds=at_seconds,
        clock_hz=_believable(clock_hz, _CLOCK_HZ),
        power_watts=_believable(None if milliwatts is None else milliwatts * 1e-3, _WATTS),
        temperature_celsius=_believable(celsius, _CELSIUS),
        reasons=reasons,
        joules=None if millijoules is None else millijoules * 1e-3,
        lowered_seconds={bit: fields[field] * 1e-9 for field, bit in _COUNTERS.items() if field in fields},
        took_seconds=time.monotonic() - at_seconds,
    )


def _field_values(gpu: nvml.Handle) -> dict[int, float]:
    """Those of _FIELDS that the driver tells, by number: one call for all of them."""
    answers = nvml.ask(lambda: pynvml.nvmlDeviceGetFieldValues(gpu, _FIELDS))
    return {
        answer.fieldId: getattr(answer.value, _MEMBERS[answer.valueType])
        for answer in answers or ()
        if answer.nvmlReturn == pynvml.NVML_SUCCESS and answer.valueType < len(_MEMBERS)
    }


def _believable(value: float | None, limits: tuple[float, float]) -> float | None:
    return value if value is not None and limits[0] <= value <= limits[1] else None


def _known(samples: Sequence[Sample], figure: Callable[[Sample], float | None]) -> list[float]:
    return [value for sample in samples if (value := figure(sample)) is not None]


def _gained(samples: Sequence[Sample], counter: Callable[[Sample], float | None], during: Span) -> float | None:
    """By how much a counter rose meanwhile, between two readings in proportion to the time.

    None where it fell, as when the driver was loaded anew, and where no reading is on one side of the span.
    """
    known = [(sample.at_seconds, value) for sample in samples if (value := counter(sample)) is not None]
    if not known or known[0][0] > during.began or known[-1][0] < during.ended:
        return None
    at_seconds, values = zip(*known, strict=True)
    if any(later < earlier for earlier, later in itertools.pairwise(values)):
        return None
    began, ended = np.interp(during, at_seconds, values)
    return float(ended - began)


def _energy_joules(samples: Sequence[Sample], work: Span) -> float | None:
    """None too for a counter that stands still, or rises as no GPU can draw."""
    joules, seconds = _gained(samples, lambda sample: sample.joules, work), work.ended - work.began
    return joules if joules and seconds and _believable(joules / seconds, _WATTS) else None


def _shares(samples: Sequence[Sample], within: Sequence[Sample], block: Span) -> dict[int, float] | None:
    """By the bit of a reason, for which share of the block it lowered the clocks; None where nothing tells.

    It is the larger of two: the share of the readings that have the bit, and what the driver's counter gained. Some
    count none although a limit holds, and no reading sees what happens between two of them. A counter that gained more
    than the time that went by counts something else.
    """
    seconds = block.ended - block.began
    told = [sample.reasons & ~_CHOSEN for sample in within if sample.reasons is not None]
    shares = {1 << n: share for n in range(64) if (share := sum(bits >> n & 1 for bits in told) / max(1, len(told)))}
    counted = False
    for bit in _COUNTERS.values():
        gained = _gained(samples, lambda sample, bit=bit: sample.lowered_seconds.get(bit), block)  # type: ignore[misc]
        if gained is not None and seconds and gained <= seconds + 2 * _COUNTER_PERIOD_SECONDS:
            counted = True
            shares[bit] = max(shares.get(bit, 0.0), min(1.0, gained / seconds))
    return shares if told or counted else None


def _in_words(shares: dict[int, float]) -> str:
    holding = [bit for bit, share in shares.items() if share > MIN_REASON_SHARE]
    names = [name for bit, name in _REASONS.items() if bit in holding]
    unnamed = sum(bit for bit in holding if bit not in _REASONS)
    return ", ".join([*names, f"reasons {unnamed:#x}"] if unnamed else names)


def _clock_change(within: Sequence[Sample], block: Span) -> float | None:
    clocks = [(sample.at_seconds, sample.clock_hz) for sample in within if sample.clock_hz is not None]
    until = block.began + FIRST_PART * (block.ended - block.began)
    first = [hz for at, hz in clocks if at < until]
    rest = [hz for at, hz in clocks if at >= until]
    if len(clocks) < MIN_CLOCKS or not first or not rest:
        return None
    return statistics.median(first) / statistics.median(rest) - 1
