"""The machine and its software as they are here, described without importing a framework."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import sys
from pathlib import Path

import cpuinfo
import psutil
import pynvml

from gnet_core.machine import gpu_chain, nvml
from gnet_core.machine.environment import UNKNOWN, DriverGpu, Machine
from gnet_core.system import git, settings, variables
from gnet_core.system.cgroups import ControlGroups

PACKAGES = (
    *("gnet", "tensorflow", "tensorflow-cpu", "keras", "numpy", "pytest-benchmark", "xprof", "protobuf"),
    *("torch", "jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin"),
)
PROCESSOR_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")

USABLE_THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
"""Processors of this process' cpuset as it was started: a framework's OpenMP may bind it to one later."""


def describe(checkout: Path | None = None) -> Machine:
    """The machine and its software, in a container with the container's limits; `checkout` adds its commit."""
    groups = ControlGroups()
    processor, frequency = cpuinfo.get_cpu_info(), psutil.cpu_freq()
    flags = set(processor.get("flags", ()))
    return Machine(
        processor=processor.get("brand_raw", platform.processor() or UNKNOWN),
        processor_family=[processor.get(field) for field in ("family", "model", "stepping")],
        processor_flags=[flag for flag in PROCESSOR_FLAGS if flag in flags],
        hypervisor="hypervisor" in flags,
        cores=psutil.cpu_count(logical=False),
        threads=psutil.cpu_count() or 1,
        usable_threads=USABLE_THREADS,
        cpu_quota_cores=groups.cpu_quota_cores(),
        frequency_hz=frequency.current * 1e6 if frequency else None,
        memory_bytes=_limited(psutil.virtual_memory().total, groups.memory_limit_bytes()),
        available_memory_bytes=_limited(psutil.virtual_memory().available, groups.memory_left_bytes()),
        load_1_minute=psutil.getloadavg()[0],
        gpus=_driver_gpus(),
        nvidia=gpu_chain.describe(),
        system=platform.platform(),
        python=platform.python_version(),
        packages=_package_versions(),
        environment_variables=variables.recorded(),
        settings_left_out=settings.left_out(),
        commit=git.commit(checkout) if checkout else None,
    )


def available_memory_bytes() -> int:
    """Memory that this process may still take: what is free, or what its control groups have left."""
    return _limited(psutil.virtual_memory().available, ControlGroups().memory_left_bytes())


def peak_resident_memory() -> tuple[int, str]:
    """Peak memory of this process in bytes, interpreter and libraries included, and the source of the figure."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "peak resident memory of the process"


def _limited(amount: int, limit: int | None) -> int:
    return amount if limit is None else min(amount, limit)


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def _driver_gpus() -> list[DriverGpu]:
    """The GPUs in NVML's order. One that does not answer is listed as well: it may be why a framework sees none."""
    with nvml.opened() as answers:
        count = (nvml.ask(pynvml.nvmlDeviceGetCount) or 0) if answers else 0
        driver = nvml.ask(pynvml.nvmlSystemGetDriverVersion) or UNKNOWN
        return [_driver_gpu(index, driver) for index in range(count)]


def _driver_gpu(index: int, driver: str) -> DriverGpu:
    handle = nvml.ask(lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
    name = handle and nvml.ask(lambda: pynvml.nvmlDeviceGetName(handle))
    memory = handle and nvml.ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    total = int(memory.total) if memory else None
    return DriverGpu(name=name or "a GPU that does not answer", memory_bytes=total, driver=driver)
