"""The kernels of a GPU in a trace, and the peak of a device's memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnet_core.profile import tensor_cores
from gnet_core.profile.xprof import rows

MAX_KERNELS = 1_000
"""Rows of xprof's kernel_stats, which leaves out shorter kernels. A row is a kernel, an operation and a launch size."""

_NO_OPERATION = ("", None, "XlaModule")
"""Names that xprof gives to the operation of a kernel without one. XlaModule: its module has no such instruction."""


def kernels(kernel_stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The kernels of xprof's kernel_stats, longest first, those that ran for several operations as one.

    `tensor_cores` is judged by the kernel's name (see gnet_core.profile.tensor_cores). `occupancy` is the theoretical
    occupancy, 0..1, weighted by time. `seconds` are those of the whole trace.
    """
    by_name: dict[str, dict[str, Any]] = {}
    for row in rows(kernel_stats):
        name = str(row["kernel_name"])
        seconds = float(row["total_duration_us"]) / 1e6
        kernel = by_name.setdefault(
            name,
            {
                "kernel": name,
                "tensor_cores": tensor_cores.use(name),
                "occurrences": 0,
                "seconds": 0.0,
                "occupancy": 0.0,
            },
        )
        kernel["occupancy"] += seconds * float(row["occupancy_pct"]) / 100
        kernel["seconds"] += seconds
        kernel["occurrences"] += int(row["occurrences"])
    for kernel in by_name.values():
        kernel["occupancy"] /= kernel["seconds"] or 1.0
    total = sum(kernel["seconds"] for kernel in by_name.values())
    ordered = sorted(by_name.values(), key=lambda kernel: -kernel["seconds"])
    return [{**kernel, "share": kernel["seconds"] / total if total else 0.0} for kernel in ordered]


def seconds_without_operation(kernel_stats: Mapping[str, Any]) -> float:
    """Time of the kernels that belong to no operation, over the whole trace."""
    return sum(float(row["total_duration_us"]) / 1e6 for row in rows(kernel_stats) if row["op_name"] in _NO_OPERATION)


def is_cut(kernel_stats: Mapping[str, Any]) -> bool:
    """Whether xprof left out the shorter kernels."""
    return len(rows(kernel_stats)) >= MAX_KERNELS


def peak_memory(memory_profile: Mapping[str, Any], *, on_gpu: bool) -> dict[str, Any] | None:
    """The allocator of the device with the highest peak in the trace: its name and bytes. None where no allocation was
    traced.

    TensorFlow names those of GPUs GPU_0_bfc and so on, that of pinned memory of the host gpu_host_bfc, and those of a
    CPU cpu or mklcpu. xprof's memory_profile is the protocol buffer MemoryProfile as JSON, in which whole numbers are
    text and zeros are left out.
    """
    allocators: list[dict[str, Any]] = []
    for allocator, profile in memory_profile.get("memoryProfilePerAllocator", {}).items():
        if allocator.startswith("GPU_") != on_gpu or allocator.startswith("gpu_"):
            continue
        summary = profile.get("profileSummary", {})
        peak = int(summary.get("peakStats", {}).get("peakBytesInUse", 0))
        capacity = int(summary.get("memoryCapacity", 0))
        allocators.append({"allocator": str(allocator), "peak_bytes": peak, "capacity_bytes": capacity or None})
    used = [allocator for allocator in allocators if allocator["peak_bytes"]]
    return max(used, key=lambda allocator: allocator["peak_bytes"], default=None)
