"""Conditions of the machine in a turn, read before and after it: who else took processors, clocks, throttling, GPU."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

from gnet_core.machine import gpu_conditions, nvml
from gnet_core.machine.description import USABLE_THREADS
from gnet_core.machine.gpu_conditions import GpuConditions, Sample, Sampler, Span, UsualGpu
from gnet_core.system.cgroups import ControlGroups

MAX_OTHER_CPU_SHARE = 0.05
"""Share of the machine's processor time. A 2-core virtual machine's own services took 0.5–0.8 % of it; what compares
cases wants to see effects of 5 %, and one more busy thread is 50 % there and still 6 % on 16 processors."""

MAX_STEAL_SHARE = 0.05
"""Share of the machine's processor time. Of 591 spans of 0.4 s on that machine, both processors busy, 2 lost more; the
mean was 0.15 %."""

MIN_TAKEN_SECONDS = 0.05
"""Less processor time than this says nothing. Linux counts in hundredths of a second, and each counter behind a share
may be off by one: the time that others took came out up to 0.03 s wrong, which is 5 % of 0.3 s on 2 processors."""

CLOCK_DROP = 0.2
"""Share by which a clock is below its usual one. Boost clocks move by 10 % with temperature and busy cores."""

_BUSY = ("user", "nice", "system", "irq", "softirq")  # guest time is within user; waiting for a disk is no work
_PROCESSORS = Path("/sys/devices/system/cpu")

Number = TypeVar("Number", int, float)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditions:
    """The machine during one turn. None is a figure that this machine, its driver or its permissions do not give."""

    seconds: float
    """From `Watch.begin` to `Watch.end`: a little more than what the turn's own clock shows."""
    processors: int
    """Logical processors of the whole machine, those that the worker may not use included; shares are of their time."""
    load_1_minute: float
    """Load as the turn ended, the worker's own threads included."""
    other_cpu_share: float | None
    """Processor time of everything but the worker ÷ (seconds × processors). Neither idle nor stolen time counts."""
    steal_share: float | None
    """Time that a hypervisor kept from this machine ÷ (seconds × processors)."""
    worker_cpu_seconds: float | None
    frequency_hz: float | None
    """Mean of the processors' clocks as the turn ended. A virtual machine reports a nominal one that never changes."""
    throttled: bool | None
    """Whether a processor slowed itself down for heat. None where nothing counts it: on AMD, in virtual machines."""
    quota_throttled_periods: int | None = None
    """Periods in which a CPU quota stopped this process' control groups."""
    quota_throttled_seconds: float | None = None
    """Time for which it did, summed over the `usable_processors` of a worker."""
    usable_processors: int | None = None
    gpu: GpuConditions = dataclasses.field(default_factory=GpuConditions)

    def to_dict(self) -> dict[str, Any]:
        """Flat, for JSON and CSV; the GPU's fields begin with gpu_."""
        fields = dataclasses.asdict(self)
        gpu = fields.pop("gpu")
        return fields | {f"gpu_{name}": value for name, value in gpu.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Counters at one end of a turn; seconds are processor time, but for the clock's."""

    pids: tuple[int, ...]
    """The worker's processes, the one that reports first."""
    clock_seconds: float
    busy_seconds: float
    steal_seconds: float | None
    worker_seconds: float | None
    throttle_count: int | None
    quota_periods: int | None
    quota_seconds: float | None


class Watch:
    """Reads the machine around turns on a device, cpu or gpu:N; a context manager, as NVML stays open.

    A pair of begin and end took 0.7 ms on a 2-core virtual machine with 80 processes, and 2 ms more at first, for the
    worker's children. Files of clocks and throttling add 0.05 ms a thread. A GPU that NVML cannot name has no figures.
    """

    def __init__(self, device: str) -> None:
        self._processors = psutil.cpu_count() or 1
        self._frequency_files = sorted(_PROCESSORS.glob("cpufreq/policy*/scaling_cur_freq"))
        self._throttle_files = sorted(_PROCESSORS.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
        self._groups = ControlGroups()  # which the workers are in as well
        self._families: dict[int, list[psutil.Process]] = {}
        self._nvml = contextlib.ExitStack()
        self._samples: list[Sample] = []  # of the last turn
        opened = device != "cpu" and self._nvml.enter_context(nvml.opened())
        self._gpu = nvml.find(int(device.removeprefix("gpu:"))) if opened else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._nvml.close()

    def begin(self, *pids: int) -> Snapshot:
        """Call it right before the worker of these processes gets its turn, the one that reports first."""
        worker_seconds = _all_of(_spent_seconds(self._family(pid)) for pid in pids)
        throttle_count = _sum(self._throttle_files)
        quota = self._groups.throttling()
        times = psutil.cpu_times()
        return Snapshot(
            pids=pids,
            clock_seconds=time.perf_counter(),
            busy_seconds=float(sum(getattr(times, name, 0.0) for name in _BUSY)),
            steal_seconds=getattr(times, "steal", None),
            worker_seconds=worker_seconds,
            throttle_count=throttle_count,
            quota_periods=quota and quota.periods,
            quota_seconds=quota and quota.seconds,
        )

    @contextlib.contextmanager
    def sampling(self) -> Iterator[None]:
        """Read the GPU, if there is one, until the context ends: around the turn and nothing else."""
        if self._gpu is None:
            yield
            return
        sampler = Sampler(self._gpu)
        try:
            yield
        finally:
            self._samples = sampler.stop()
            if sampler.hangs:  # to ask it again, or to close it, would hang the run
                nvml.give_up()
                self._gpu = None

    def end(
        self, begun: Snapshot, ours: Collection[int] = (), *, block: Span | None = None, work: Span | None = None
    ) -> Conditions:
        """Call it right after the turn.

        `ours` are the other workers on the GPU. `block` and `work` are the spans in which the worker timed its block
        and in which it ran steps at all; without them only the GPU's limit and its other processes are known.
        """
        ended = self.begin(*begun.pids)
        seconds = ended.clock_seconds - begun.clock_seconds
        busy = max(0.0, ended.busy_seconds - begun.busy_seconds)
        worker = _gained(begun.worker_seconds, ended.worker_seconds)
        stolen = _gained(begun.steal_seconds, ended.steal_seconds)
        throttles = _gained(begun.throttle_count, ended.throttle_count)
        offered = seconds * self._processors
        samples, self._samples = self._samples, []
        gpu = GpuConditions()
        if self._gpu is not None:
            gpu = dataclasses.replace(
                gpu_conditions.conditions(samples, block, work),
                power_limit_watts=gpu_conditions.power_limit_watts(self._gpu),
                other_processes=gpu_conditions.other_processes(self._gpu, begun.pids[0], ours),
            )
        return Conditions(
            seconds=seconds,
            processors=self._processors,
            load_1_minute=psutil.getloadavg()[0],
            other_cpu_share=None if worker is None else min(1.0, max(0.0, busy - worker) / offered),
            steal_share=None if stolen is None else min(1.0, stolen / offered),
            worker_cpu_seconds=worker,
            frequency_hz=_frequency_hz(self._frequency_files),
            throttled=None if throttles is None else throttles > 0,
            quota_throttled_periods=_gained(begun.quota_periods, ended.quota_periods),
            quota_throttled_seconds=_gained(begun.quota_seconds, ended.quota_seconds),
            usable_processors=USABLE_THREADS,
            gpu=gpu,
        )

    def _family(self, pid: int) -> list[psutil.Process]:
        """The worker and the children it had at first; later ones count as others until they end."""
        family = self._families.get(pid)  # kept, since to look for children reads every process there is
        if not family or not family[0].is_running():
            family = self._families[pid] = _find_family(pid)
        return family


def processor_seconds(*pids: int) -> float | None:
    """User and system time so far of processes and their children, ended ones included; None when one is gone."""
    return _all_of(_spent_seconds(_find_family(pid)) for pid in pids)


def disturbance(
    conditions: Conditions, usual_frequency_hz: float | None = None, usual_gpu: UsualGpu | None = None
) -> str:
    """Why the turn counts as disturbed, separated by "; ", or "". The usual GPU is that of the same worker's turns."""
    gpu, usual_gpu = conditions.gpu, usual_gpu or UsualGpu()
    throttled = [reason for reason in gpu.reasons if reason not in usual_gpu.limits]
    strangers = gpu.other_processes
    reasons = [
        _share_taken(conditions, conditions.other_cpu_share, MAX_OTHER_CPU_SHARE, "other processes took"),
        _share_taken(conditions, conditions.steal_share, MAX_STEAL_SHARE, "the hypervisor took"),
        "the processor was throttled" if conditions.throttled else "",
        _quota_stops(conditions),
        _clock_drop(conditions.frequency_hz, usual_frequency_hz, "the processors' clock was", "the run's median"),
        f"the GPU was throttled: {', '.join(throttled)}" if throttled else "",
        _clock_drop(gpu.sm_clock_hz, usual_gpu.sm_clock_hz, "the GPU's clock was", "the median of this process"),
        f"{strangers} other process{'es' if strangers > 1 else ''} on the GPU" if strangers else "",
    ]
    return "; ".join(filter(None, reasons))


def _share_taken(conditions: Conditions, share: float | None, maximum: float, who: str) -> str:
    if share is None or share <= maximum:
        return ""
    taken_seconds = share * conditions.seconds * conditions.processors
    return f"{who} {share:.0%} of the processors' time" if taken_seconds > MIN_TAKEN_SECONDS else ""


def _quota_stops(conditions: Conditions) -> str:
    """Any stop counts: the quota is part of the machine, but when it strikes depends on what ran before the turn."""
    if not conditions.quota_throttled_periods:
        return ""
    offered = conditions.seconds * (conditions.usable_processors or conditions.processors)
    share = min(1.0, (conditions.quota_throttled_seconds or 0.0) / offered)
    return f"the CPU quota stopped it for {share:.0%} of the processors' time"


def _clock_drop(clock_hz: float | None, usual_hz: float | None, whose: str, usual: str) -> str:
    if not clock_hz or not usual_hz or clock_hz >= (1 - CLOCK_DROP) * usual_hz:
        return ""
    return f"{whose} {1 - clock_hz / usual_hz:.0%} below {usual}"


def _gained(before: Number | None, after: Number | None) -> Number | None:
    """Increase of a counter; 0 for one that fell, as a child's does that ends without its parent's asking."""
    return None if before is None or after is None else max(after - before, type(after)(0))


def _find_family(pid: int) -> list[psutil.Process]:
    """The process and its children, all generations; empty when it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _spent_seconds(family: list[psutil.Process]) -> float | None:
    total = None
    for process in family:
        try:
            times = process.cpu_times()
        except psutil.Error:
            if total is None:
                return None  # the worker itself: without it the sum says nothing
            continue  # a child that ended: its parent's count has it now
        total = (total or 0.0) + times.user + times.system + times.children_user + times.children_system
    return total


def _all_of(seconds: Iterable[float | None]) -> float | None:
    """Their sum; None where one is not known."""
    known = list(seconds)
    return None if None in known else sum(filter(None, known))


def _sum(files: list[Path]) -> int | None:
    try:
        return sum(map(_read_number, files)) if files else None
    except (OSError, ValueError):
        return None  # a processor was taken offline


def _read_number(file: Path) -> int:
    descriptor = os.open(file, os.O_RDONLY)  # a third of read_text's time, and there may be hundreds
    try:
        return int(os.read(descriptor, 32))
    finally:
        os.close(descriptor)


def _frequency_hz(files: list[Path]) -> float | None:
    kilohertz = _sum(files)  # psutil reads three files a processor for the same
    if kilohertz is not None:
        return kilohertz * 1e3 / len(files)
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return None
    return frequency.current * 1e6 if frequency and frequency.current else None
