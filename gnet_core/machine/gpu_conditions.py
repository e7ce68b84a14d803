"""Conditions of a GPU while a worker had its turn, from readings of NVML every 0.1 s.

A thread of the runner reads them, during the worker's turn alone. A reading is at most five calls, which took 5 ms on
an H200 (4 in the median, 26 at the longest); gnet gpu-check reports it for other GPUs. The calls take locks of the
driver that the worker may want as well, so none lists processes: others saw programs wait where one did at 40 Hz.
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
"""Period in which an H200's driver updates power and energy: at 0.05 s most readings came twice."""
PATIENCE_SECONDS = 5.0
"""Seconds for a call that NVML does not answer, as when a GPU fell off the bus. The run goes on without it."""
MIN_REASON_SHARE = 0.05
"""Share of a block from which a reason counts. NVML may report a hardware slowdown while a clock merely changes."""
FIRST_PART = 0.25
"""Share of a block whose clock is compared with the rest's: a clock that still rises or falls does so there."""
MIN_CLOCKS = 5
"""Fewer readings of a block do not show whether its clock had settled."""

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
"""An idle GPU, and clocks that somebody set, are no throttling."""

_LIMITS = frozenset({POWER_CAP, SYNC_BOOST})
"""Limits under which a GPU may run all the time, by design or by choice. Other reasons are always disturbances."""

_COUNTERS = {
    pynvml.NVML_FI_DEV_PERF_POLICY_POWER: pynvml.nvmlClocksEventReasonSwPowerCap,
    pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL: pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    pynvml.NVML_FI_DEV_PERF_POLICY_SYNC_BOOST: pynvml.nvmlClocksEventReasonSyncBoost,
}
"""The driver's counters of nanoseconds for which a reason lowered the clocks, and the reason of each, as nvml.h maps
them at nvmlDeviceGetViolationStatus. The newer fields of the remaining reasons are left out, since their numbers differ
between drivers: 251 to 253 in nvml.h of CUDA 12.9 and 13.0, 269 to 271 from 13.1 on."""

_COUNTER_PERIOD_SECONDS = 0.1  # the longest in which others have seen a driver update its counters

_FIELDS = (pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, *_COUNTERS)
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Members of the union that holds a field's value, by NVML's number of its type."""

_CLOCK_HZ = (1e6, 1e10)
_WATTS = (0.1, 1e5)
_CELSIUS = (-50.0, 200.0)
"""Smallest and largest figure of a GPU that works. For what drivers do not know they report 0 or the largest number."""


class Span(NamedTuple):
    """A span of time, in seconds of the monotonic clock, which all processes of a machine share."""

    began: float
    ended: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One reading. None is a figure that this GPU, its driver or its permissions do not give."""

    at_seconds: float
    """Time on the monotonic clock."""
    clock_hz: float | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    reasons: int | None = None
    """Bits of NVML's clocks event reasons."""
    joules: float | None = None
    """Energy since the driver was loaded."""
    lowered_seconds: dict[int, float] = dataclasses.field(default_factory=dict)
    """Time for which a reason has lowered the clocks, by its bit, as far as the driver counts it."""
    took_seconds: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuConditions:
    """A GPU during one turn. None is a figure that could not be read.

    Clock and temperature, both medians of `samples` readings, power and reasons are of the timed block alone; the steps
    around it, and the wait at the turn's end in which the GPU idles, have no part in them.
    """

    samples: int | None = None
    sm_clock_hz: float | None = None
    sm_clock_change: float | None = None
    """Median of the block's first quarter ÷ that of its rest - 1: how far the clock was from settled."""
    power_watts: float | None = None
    """Mean of the readings. Where the driver does not report the present draw, a reading is the mean of the second
    before it (from Ampere on, but for GA100), so the block's first second holds what was before."""
    power_limit_watts: float | None = None
    """Limit that the driver enforces, as the turn ended."""
    temperature_celsius: float | None = None
    throttle_reasons: str | None = None
    """Reasons that lowered the clocks for more than a twentieth of the block, separated by ", " and "" for nothing."""
    power_cap_share: float | None = None
    """Share of the block's time in which the power limit lowered the clocks."""
    energy_joules: float | None = None
    """Energy from the turn's first step to its last: the discarded step, the block and the single steps, not the wait.
    The driver updates its counter every 20 to 100 ms, so up to 4 % of 2.5 s of work may be missing at its end."""
    other_processes: int | None = None
    """Processes on the GPU that are not ours; None too where the worker is not seen there, as in some containers."""

    @property
    def reasons(self) -> list[str]:
        """Each of `throttle_reasons`."""
        return self.throttle_reasons.split(", ") if self.throttle_reasons else []


@dataclasses.dataclass(frozen=True, kw_only=True)
class UsualGpu:
    """How a GPU usually runs one worker's step; another worker's step has another clock and other limits."""

    sm_clock_hz: float | None = None
    limits: frozenset[str] = frozenset()
    """Reasons that are no disturbance, since most of the worker's turns run under them."""


def usual(turns: Sequence[GpuConditions]) -> UsualGpu:
    """The median clock of one worker's turns, and the limits that held in more than half of them."""
    reasons = [turn.reasons for turn in turns if turn.throttle_reasons is not None]
    limits = {limit for limit in _LIMITS if 2 * sum(limit in held for held in reasons) > len(reasons)}
    return UsualGpu(sm_clock_hz=_median(_values(turns, "sm_clock_hz")), limits=frozenset(limits))


class Sampler:
    """Reads a GPU from its creation until `stop`."""

    def __init__(self, gpu: nvml.Handle) -> None:
        self._gpu = gpu
        self._samples = [_read(gpu)]  # before the worker begins, so that its counters are known at the beginning
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
        """Whether NVML still does not answer."""
        return self._thread.is_alive()

    def _go_on(self) -> None:
        over = False
        while not over:
            over = self._over.wait(SAMPLE_SECONDS)
            self._samples.append(_read(self._gpu))


def span(times: Any) -> Span | None:
    """The span in which a worker says that it worked; None for what is none, as from a worker too old to say."""
    match times:
        case [int() | float() as began, int() | float() as ended] if 0 <= began <= ended < math.inf:
            return Span(float(began), float(ended))
    return None


def conditions(samples: Sequence[Sample], block: Span | None, work: Span | None) -> GpuConditions:
    """Conditions of a turn from its readings, those of its timed block and, for the energy, of all its work."""
    if block is None or work is None:
        return GpuConditions()
    within = [sample for sample in samples if block.began <= sample.at_seconds <= block.ended - sample.took_seconds]
    shares = _reason_shares(samples, within, block)
    watts = _values(within, "power_watts")
    joules, seconds = _gained(samples, lambda sample: sample.joules, work), work.ended - work.began
    # A counter that stands still, or rises as no GPU can draw, counts something else.
    counted = joules and seconds and _believable(joules / seconds, _WATTS)
    return GpuConditions(
        samples=len(within),
        sm_clock_hz=_median(_values(within, "clock_hz")),
        sm_clock_change=_clock_change(within, block),
        power_watts=statistics.fmean(watts) if watts else None,
        temperature_celsius=_median(_values(within, "temperature_celsius")),
        throttle_reasons=None if shares is None else _in_words(shares),
        power_cap_share=None if shares is None else shares.get(pynvml.nvmlClocksEventReasonSwPowerCap, 0.0),
        energy_joules=joules if counted else None,
    )


def power_limit_watts(gpu: nvml.Handle) -> float | None:
    """Power below which the driver keeps the GPU."""
    return _figure(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu), _WATTS, 1e-3)


def other_processes(gpu: nvml.Handle, worker: int, ours: Collection[int]) -> int | None:
    """Number of processes that compute on the GPU besides ours; None where the worker is not seen among them."""
    running = nvml.ask(lambda: {process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)})
    return len(running - {worker, *ours}) if running is not None and worker in running else None


def _read(gpu: nvml.Handle) -> Sample:
    at_seconds = time.monotonic()
    answers = nvml.ask(lambda: pynvml.nvmlDeviceGetFieldValues(gpu, _FIELDS))  # one call for all of them
    fields = {
        answer.fieldId: getattr(answer.value, _MEMBERS[answer.valueType])
        for answer in answers or ()
        if answer.nvmlReturn == pynvml.NVML_SUCCESS and answer.valueType < len(_MEMBERS)
    }
    milliwatts = fields.get(pynvml.NVML_FI_DEV_POWER_INSTANT)  # not by a driver older than R535
    millijoules = fields.get(pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION)
    return Sample(
        at_seconds=at_seconds,
        power_watts=_figure(
            lambda: pynvml.nvmlDeviceGetPowerUsage(gpu) if milliwatts is None else milliwatts, _WATTS, 1e-3
        ),
        temperature_celsius=_figure(
            lambda: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU), _CELSIUS
        ),
        clock_hz=_figure(lambda: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM), _CLOCK_HZ, 1e6),
        reasons=nvml.ask(lambda: pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)),
        joules=None if millijoules is None else millijoules * 1e-3,
        lowered_seconds={bit: fields[field] * 1e-9 for field, bit in _COUNTERS.items() if field in fields},
        took_seconds=time.monotonic() - at_seconds,
    )


def _figure(question: Callable[[], float], limits: tuple[float, float], unit: float = 1) -> float | None:
    answer = nvml.ask(question)
    return None if answer is None else _believable(answer * unit, limits)


def _believable(value: float, limits: tuple[float, float]) -> float | None:
    return value if limits[0] <= value <= limits[1] else None


def _values(samples: Sequence[Sample | GpuConditions], field: str) -> list[float]:
    return [value for sample in samples if (value := getattr(sample, field)) is not None]


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _gained(samples: Sequence[Sample], counter: Callable[[Sample], float | None], during: Span) -> float | None:
    """Increase of a counter, interpolated; None where it fell, or where no reading is on one side of the span."""
    readings = [(sample.at_seconds, value) for sample in samples if (value := counter(sample)) is not None]
    if not readings or readings[0][0] > during.began or readings[-1][0] < during.ended:
        return None
    at_seconds, values = zip(*readings, strict=True)
    if any(later < earlier for earlier, later in itertools.pairwise(values)):
        return None
    began, ended = np.interp(during, at_seconds, values)
    return float(ended - began)


def _reason_shares(samples: Sequence[Sample], within: Sequence[Sample], block: Span) -> dict[int, float] | None:
    """Share of the block in which a reason lowered the clocks, by its bit; None where nothing reports any.

    It is the larger of the share of readings that have the bit, which miss what happens between two, and the increase
    of the driver's counter, which may stand still although a limit holds, or gain more than the time that went by.
    """
    seconds = block.ended - block.began
    readings = [sample.reasons & ~_CHOSEN for sample in within if sample.reasons is not None]
    bits = {1 << n: sum(reading >> n & 1 for reading in readings) for n in range(64)}
    shares = {bit: count / len(readings) for bit, count in bits.items() if count}
    counted = False
    for bit in _COUNTERS.values():
        gained = _gained(samples, lambda sample, bit=bit: sample.lowered_seconds.get(bit), block)  # type: ignore[misc]
        if gained is not None and seconds and gained <= seconds + 2 * _COUNTER_PERIOD_SECONDS:
            counted = True
            shares[bit] = max(shares.get(bit, 0.0), min(1.0, gained / seconds))
    return shares if readings or counted else None


def _in_words(shares: dict[int, float]) -> str:
    holding = [bit for bit, share in shares.items() if share > MIN_REASON_SHARE]
    names = [name for bit, name in _REASONS.items() if bit in holding]
    unnamed = sum(bit for bit in holding if bit not in _REASONS)
    return ", ".join([*names, f"reasons {unnamed:#x}"] if unnamed else names)


def _clock_change(within: Sequence[Sample], block: Span) -> float | None:
    until = block.began + FIRST_PART * (block.ended - block.began)
    first = _values([sample for sample in within if sample.at_seconds < until], "clock_hz")
    rest = _values([sample for sample in within if sample.at_seconds >= until], "clock_hz")
    if len(first) + len(rest) < MIN_CLOCKS or not first or not rest:
        return None
    return statistics.median(first) / statistics.median(rest) - 1
