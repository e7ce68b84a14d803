"""A TensorFlow trace (*.xplane.pb) as the tables of a profile.json, by way of xprof. Nothing here needs TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from gnet_core.profile import gpu_tables, tensor_cores
from gnet_core.profile.counting import NOTES
from gnet_core.profile.operations import OperationTimes, by_part, by_type, operation_times
from gnet_core.profile.step_breakdown import AT_WORK, breakdown, step_seconds, step_table
from gnet_core.profile.xprof import NoAnswerError, Trace, open_trace
from gnet_core.text import plain

_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors of reading a document that does not have the form of xprof's."""

Table = TypeVar("Table")


class Missing(NamedTuple):
    """Something that a trace does not hold, and why."""

    what: str
    why: str


def tables(xplane: Path, *, on_gpu: bool) -> dict[str, Any]:
    """The contents of a trace as plain data for JSON. What is missing is listed in `not_available`, with the reason.

    Where one of xprof's tools fails, or answers with nothing or with something odd, only its table is missing. Raises
    GnetError for a file that is no trace.
    """
    missing: list[Missing] = []
    with open_trace(xplane) as trace:
        steps = _attempt("what a step's time goes to", lambda: step_table(trace), missing, "xprof recognised no step")
        operations = _operations(trace, missing, on_gpu=on_gpu)
        no_operations = missing[-1].why if operations is None else ""
        kernels = _kernels(trace, missing) if on_gpu else None
        memory = _attempt(
            "the peak of the GPU's memory" if on_gpu else "the peak of memory",
            lambda: gpu_tables.peak_memory(trace.tool("memory_profile"), on_gpu=on_gpu),
            missing,
            "the trace holds no allocation; gnet bench tells what was held",
        )
    divided = breakdown(steps or [], on_gpu=on_gpu)
    if on_gpu and divided:
        if any(row["seconds"] for row in divided if row["kind"] in AT_WORK):
            missing.append(_HOST)
        else:  # of a device that was not recorded, 0 would be no measurement
            divided = breakdown(steps or [], on_gpu=False)
            missing.append(Missing("device compute and idle time", NOTHING_OF_THE_GPU))
    return {
        "step_seconds": step_seconds(steps or []),
        "breakdown": divided,
        "operations": operations.types if operations else [],
        "parts": operations.parts if operations else [],
        "counting": operations.times.counting if operations else "",
        "note": NOTES[operations.times.counting]
        if operations
        else f"There is no table of operations: {no_operations}.",
        "kernels": kernels.listed if kernels else [],
        "tensor_cores": kernels.tensor_cores if kernels else None,
        "device_time": _device_time(operations and operations.times, kernels) if kernels else None,
        "peak_memory": memory,
        "not_available": [entry._asdict() for entry in (*missing, *(() if on_gpu else _ONLY_ON_A_GPU))],
    }


def _attempt(what: str, read: Callable[[], Table], missing: list[Missing], empty: str) -> Table | None:
    """The result of `read`. None, with an entry in `missing`, where it is empty (for the reason `empty`) or fails."""
    try:
        if result := read():
            return result
        why = empty
    except NoAnswerError as error:
        why = str(error)
    except _UNREADABLE as error:
        why = f"the trace holds what no step leaves ({type(error).__name__}: {plain(error)})"
    missing.append(Missing(what, why))
    return None


class _Operations(NamedTuple):
    times: OperationTimes
    types: list[dict[str, Any]]
    parts: list[dict[str, Any]]


def _operations(trace: Trace, missing: list[Missing], *, on_gpu: bool) -> _Operations | None:
    def read() -> _Operations:
        times = operation_times(trace, on_gpu=on_gpu)
        return _Operations(times, _records(by_type(times)), _records(by_part(times)))

    operations = _attempt("time by operation and by part of the network", read, missing, "")
    if operations and (why := operations.times.unplaced):
        missing.append(Missing("time by part of the network", why))
    return operations


class _Kernels(NamedTuple):
    listed: list[dict[str, Any]]
    tensor_cores: dict[str, float] | None
    """Shares of the kernels' time by use of tensor cores, judged by their names."""
    unnamed_seconds: float
    """Seconds of the kernels that belong to no operation."""
    cut: bool
    """Whether xprof left out the shorter ones."""


def _kernels(trace: Trace, missing: list[Missing]) -> _Kernels | None:
    def read() -> _Kernels | None:
        stats = trace.tool("kernel_stats")
        listed = gpu_tables.kernels(stats)
        if not listed:
            return None
        shares = tensor_cores.shares((kernel["tensor_cores"], kernel["seconds"]) for kernel in listed)
        return _Kernels(listed, shares, gpu_tables.seconds_without_operation(stats), cut=gpu_tables.is_cut(stats))

    return _attempt("the GPU's kernels and their tensor cores", read, missing, NOTHING_OF_THE_GPU)


def _device_time(operations: OperationTimes | None, kernels: _Kernels) -> dict[str, Any]:
    """The device's time by operations and by kernels, over the whole trace."""
    launched_seconds = operations.launched_seconds if operations else 0.0
    return {
        "operations_seconds": float(operations.table["self_seconds"].sum()) if operations else 0.0,
        "kernels_seconds": sum(kernel["seconds"] for kernel in kernels.listed),
        "unnamed_kernels_seconds": max(0.0, kernels.unnamed_seconds - launched_seconds),
        "operations_cut": operations is not None and operations.cut,
        "kernels_cut": kernels.cut,
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(column): value for column, value in row.items()} for row in table.to_dict(orient="records")]


NOTHING_OF_THE_GPU = "the trace holds nothing of the GPU; check whether the profiler was allowed to read it"

_HOST = Missing(
    "what the host did in a step: input, launches, compilation",
    "xprof divides a GPU's step by what the device did, from its first kernel to its last",
)

_ONLY_ON_A_GPU = (
    Missing(
        "device compute and idle time",
        "on a CPU the host is the device: what computes is host compute, and nothing is launched on anything",
    ),
    Missing("kernels, tensor cores, occupancy", "a CPU has none; they are of a GPU's trace"),
)
