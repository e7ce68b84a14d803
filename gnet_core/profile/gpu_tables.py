"""The kernels of a GPU in a trace, and the peak of a device's memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from gnet_core.profile import tensor_cores
from gnet_core.profile.xprof import NoAnswerError, rows

MAX_KERNELS = 1_000
"""Rows of xprof's kernel_stats, which leaves out shorter kernels. A row is a kernel, an operation and a launch size."""

NOTHING_OF_THE_GPU = "the trace holds nothing of the GPU; check whether the profiler was allowed to read it"

_NO_OPERATION = ("", None, "XlaModule")
"""Names that xprof gives to the operation of a kernel without one. XlaModule: its module has no such instruction."""


class Kernels(NamedTuple):
    """The kernels of a trace, over all its steps."""

    table: pd.DataFrame
    """A row a kernel, longest first: kernel, tensor_cores (by its name), occurrences, seconds, occupancy (theoretical,
    0 to 1, weighted by time), share (of the time of all, 0 to 1)."""
    unnamed_seconds: float
    """Those of kernels that belong to no operation."""
    cut: bool
    """Whether xprof left out the shorter ones."""


def kernels(kernel_stats: Mapping[str, Any]) -> Kernels:
    """The kernels of xprof's kernel_stats, each once for all its operations. Raises NoAnswerError for none."""
    listed = rows(kernel_stats)
    if not listed:
        raise NoAnswerError(NOTHING_OF_THE_GPU)
    table = pd.DataFrame(
        {
            "kernel": str(row["kernel_name"]),
            "occurrences": int(row["occurrences"]),
            "seconds": float(row["total_duration_us"]) / 1e6,
            "occupied": float(row["total_duration_us"]) / 1e6 * float(row["occupancy_pct"]) / 100,
        }
        for row in listed
    )
    table = table.groupby("kernel", as_index=False, sort=False).sum()
    table = table.sort_values("seconds", ascending=False, kind="stable")
    table.insert(1, "tensor_cores", table["kernel"].map(tensor_cores.use))
    table["occupancy"] = table.pop("occupied") / table["seconds"].where(table["seconds"] > 0, 1.0)
    table["share"] = table["seconds"] / (table["seconds"].sum() or 1.0)
    unnamed = (float(row["total_duration_us"]) / 1e6 for row in listed if row["op_name"] in _NO_OPERATION)
    return Kernels(table, sum(unnamed), cut=len(listed) >= MAX_KERNELS)


def peak_memory(memory_profile: Mapping[str, Any], *, on_gpu: bool) -> dict[str, Any]:
    """The allocator of the device with the highest peak: its name and bytes. Raises NoAnswerError where there is none.

    TensorFlow names those of GPUs GPU_0_bfc and so on, that of pinned memory of the host gpu_host_bfc, and those of a
    CPU cpu or mklcpu. The protocol buffer MemoryProfile as JSON has whole numbers as text, and leaves out zeros.
    """
    allocators: list[dict[str, Any]] = []
    for allocator, profile in memory_profile.get("memoryProfilePerAllocator", {}).items():
        if allocator.startswith("GPU_") != on_gpu or allocator.startswith("gpu_"):
            continue
        summary = profile.get("profileSummary", {})
        peak = int(summary.get("peakStats", {}).get("peakBytesInUse", 0))
        capacity = int(summary.get("memoryCapacity", 0))
        allocators.append({"allocator": str(allocator), "peak_bytes": peak, "capacity_bytes": capacity or None})
    highest = max(allocators, key=lambda allocator: allocator["peak_bytes"], default=None)
    if not highest or not highest["peak_bytes"]:
        raise NoAnswerError("the trace holds no allocation; gnet bench tells what was held")
    return highest
