"""What a trace tells of a GPU's kernels, and of the peak of a device's memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnet_core.profile import tensor_cores
from gnet_core.profile.xprof import rows

MOST_KERNELS = 1_000
"""Rows of xprof's kernel_stats, one a kernel, operation and size of launch; shorter ones are left out."""


_NO_OPERATION = ("", None, "XlaModule")
"""What xprof calls the operation of a kernel without one, the last of one whose module knows no such instruction."""


def kernels(kernel_stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The kernels of xprof's kernel_stats, longest first, those that ran for several operations as one.

    `tensor_cores` is what the kernel's name tells (see gnet_core.profile.tensor_cores); `occupancy` is the theoretical
    one, 0..1, weighted by time; `seconds` is over the whole trace.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows(kernel_stats):
        name = str(row["kernel_name"])
        seconds = float(row["total_duration_us"]) / 1e6
        kernel = found.setdefault(
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
    for kernel in found.values():
        kernel["occupancy"] /= kernel["seconds"] or 1.0
    total = sum(kernel["seconds"] for kernel in found.values())
    ordered = sorted(found.values(), key=lambda kernel: -kernel["seconds"])
    return [{**kernel, "share": kernel["seconds"] / total if total else 0.0} for kernel in ordered]


def seconds_without_operation(kernel_stats: Mapping[str, Any]) -> float:
    """Time of the kernels that belong to no operation, over the whole trace."""
    return sum(float(row["total_duration_us"]) / 1e6 for row in rows(kernel_stats) if row["op_name"] in _NO_OPERATION)


def is_cut(kernel_stats: Mapping[str, Any]) -> bool:
    """Whether xprof left out the shorter kernels."""
    return len(rows(kernel_stats)) >= MOST_KERNELS


def peak_memory(memory_profile: Mapping[str, Any], *, on_gpu: bool) -> dict[str, Any] | None:
    """The device's allocator whose peak within the trace was the highest: its name and bytes; None where none was seen.

    TensorFlow names a GPU's GPU_0_bfc and the like; what it holds of the host's memory for a GPU is gpu_host_bfc, and a
    CPU's allocator is cpu or mklcpu. What xprof's memory_profile gives is the protocol buffer MemoryProfile as JSON,
    where whole numbers are text and what is 0 is left out.
    """
    found: list[dict[str, Any]] = []
    for allocator, told in memory_profile.get("memoryProfilePerAllocator", {}).items():
        if allocator.startswith("GPU_") != on_gpu or allocator.startswith("gpu_"):
            continue
        summary = told.get("profileSummary", {})
        peak = int(summary.get("peakStats", {}).get("peakBytesInUse", 0))
        capacity = int(summary.get("memoryCapacity", 0))
        found.append({"allocator": str(allocator), "peak_bytes": peak, "capacity_bytes": capacity or None})
    seen = [each for each in found if each["peak_bytes"]]
    return max(seen, key=lambda each: each["peak_bytes"], default=None)
