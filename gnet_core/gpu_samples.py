"""What NVML tells of a GPU while a worker works and while it waits, a sample every 50 ms."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator

import pynvml

from gnet_core import nvml

SAMPLE_SECONDS = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One look at the GPU. None is a figure that the driver or the GPU does not tell."""

    at_seconds: float
    """Of this machine's monotonic clock."""
    power_watts: float | None
    clock_hz: float | None
    temperature_celsius: float | None
    joules: float | None
    """Since the driver was loaded."""
    reasons: int | None
    """NVML's bits of why the clock is not higher."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TakenMemory:
    """What is taken of the GPU's memory, in bytes. None is a figure that is not told."""

    device: int | None
    """By everything on it, its driver included."""
    process: int | None
    """By the process that was asked for; not told where its number is not the driver's, as in a container."""


@contextlib.contextmanager
def sampled(number: int | None) -> Iterator[list[Sample]]:
    """The samples of gpu:`number` since the context began, which grow until it ends; none of a CPU (None), nor of a
    GPU that NVML cannot tell apart.
    """
    samples: list[Sample] = []
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        gpu = nvml.find(number) if number is not None and stack.enter_context(nvml.opened()) else None
        if gpu is None:
            yield samples
            return

        def look() -> None:
            while not over.wait(SAMPLE_SECONDS):
                samples.append(_sample(gpu))

        thread = threading.Thread(target=look, daemon=True)  # a driver that never answers must not keep gnet alive
        thread.start()
        try:
            yield samples
        finally:
            over.set()
            thread.join(timeout=1.0)


def taken_memory(number: int | None, pid: int | None = None) -> TakenMemory:
    """What is taken of gpu:`number` now, and by the process `pid` of it; neither is known of a CPU (None)."""
    with nvml.opened() as answers:
        gpu = nvml.find(number) if answers and number is not None else None
        if gpu is None:
            return TakenMemory(device=None, process=None)
        memory = nvml.ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(gpu))
        running = nvml.ask(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)) or []
        told = [each.usedGpuMemory for each in running if each.pid == pid and each.usedGpuMemory is not None]
        return TakenMemory(device=None if memory is None else int(memory.used), process=sum(told) if told else None)


def _sample(gpu: nvml.Handle) -> Sample:
    return Sample(
        at_seconds=time.monotonic(),
        power_watts=nvml.figure(lambda: pynvml.nvmlDeviceGetPowerUsage(gpu), 1e-3),
        clock_hz=nvml.figure(lambda: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM), 1e6),
        temperature_celsius=nvml.figure(lambda: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU), 1.0),
        joules=nvml.figure(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu), 1e-3),
        reasons=nvml.ask(lambda: int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))),
    )
