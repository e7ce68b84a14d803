"""A TensorFlow trace (*.xplane.pb) as the tables of a profile.json, by way of xprof. Nothing here needs TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from gnet_core.profile import gpu_tables, tensor_cores
from gnet_core.profile.operations import by_part, by_type, single_operations
from gnet_core.profile.step_breakdown import AT_WORK, breakdown, step_seconds, step_table
from gnet_core.profile.xprof import NoAnswerError, Trace, open_trace
from gnet_core.text import plain

_ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a document that is not in xprof's shape raises where it is read."""

Table = TypeVar("Table")


class NotTold(NamedTuple):
    """What a trace does not tell, and why."""

    what: str
    why: str


def tables(xplane: Path, *, on_gpu: bool) -> dict[str, Any]:
    """What a trace tells, as plain data for JSON; what it does not tell is named in `not_available`, with the reason.

    One of xprof's tools that fails, that says nothing or something odd costs its table and no other. Raises GnetError
    for a file that is no trace.
    """
    missing: list[NotTold] = []
    with open_trace(xplane) as trace:
        steps = _attempt("what a step's time goes to", lambda: step_table(trace), missing, "xprof recognised no step")
        operations = _operations(trace, missing, on_gpu=on_gpu)
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
            missing.append(NotTold("device compute and idle time", NOTHING_OF_THE_GPU))
    return {
        "step_seconds": step_seconds(steps or []),
        "breakdown": divided,
        **operations.told,
        "kernels": kernels.listed if kernels else [],
        "tensor_cores": kernels.tensor_cores if kernels else None,
        "device_time": _device_time(operations, kernels) if kernels else None,
        "peak_memory": memory,
        "not_available": [each._asdict() for each in (*missing, *(() if on_gpu else _ONLY_ON_A_GPU))],
    }


def _attempt(what: str, read: Callable[[], Table], missing: list[NotTold], empty: str) -> Table | None:
    """What `read` gives; None, and a note in `missing`, where it gives nothing for the reason `empty`, or fails."""
    try:
        if found := read():
            return found
        why = empty
    except NoAnswerError as error:
        why = str(error)
    except _ODD as error:
        why = f"the trace holds what no step leaves ({type(error).__name__}: {plain(error)})"
    missing.append(NotTold(what, why))
    return None


class _Operations(NamedTuple):
    told: dict[str, Any]
    """Operations by type and by part of the network; `note` says what their times are, or why there are none."""
    seconds: float
    launched_seconds: float
    """Of it, what only the launches of kernels gave to operations."""
    cut: bool
    """Whether xprof left out the shorter ones."""


def _operations(trace: Trace, missing: list[NotTold], *, on_gpu: bool) -> _Operations:
    def read() -> tuple[pd.DataFrame, dict[str, Any]]:
        singles = single_operations(trace, on_gpu=on_gpu)
        told = {"operations": _records(by_type(singles)), "parts": _records(by_part(singles))}
        return singles, told | {"note": str(singles.attrs["note"])}

    found = _attempt("time by operation and by part of the network", read, missing, "")
    if found is None:
        note = f"There is no table of operations: {missing[-1].why}."
        return _Operations({"operations": [], "parts": [], "note": note}, 0.0, 0.0, cut=False)
    singles, told = found
    if why := singles.attrs["unplaced"]:
        missing.append(NotTold("time by part of the network", why))
    seconds, launched_seconds = float(singles["self_seconds"].sum()), float(singles.attrs["launched_seconds"])
    return _Operations(told, seconds, launched_seconds, cut=bool(singles.attrs["cut"]))


class _Kernels(NamedTuple):
    listed: list[dict[str, Any]]
    tensor_cores: dict[str, float] | None
    """Shares of the kernels' time by what their names tell."""
    unnamed_seconds: float
    """Of kernels that belong to no operation."""
    cut: bool
    """Whether xprof left out the shorter ones."""


def _kernels(trace: Trace, missing: list[NotTold]) -> _Kernels | None:
    def read() -> _Kernels | None:
        stats = trace.tool("kernel_stats")
        listed = gpu_tables.kernels(stats)
        if not listed:
            return None
        shares = tensor_cores.shares((kernel["tensor_cores"], kernel["seconds"]) for kernel in listed)
        return _Kernels(listed, shares, gpu_tables.seconds_without_operation(stats), cut=gpu_tables.is_cut(stats))

    return _attempt("the GPU's kernels and their tensor cores", read, missing, NOTHING_OF_THE_GPU)


def _device_time(operations: _Operations, kernels: _Kernels) -> dict[str, Any]:
    """What operations and kernels tell of the device's time, over the whole trace."""
    return {
        "operations_seconds": operations.seconds,
        "kernels_seconds": sum(kernel["seconds"] for kernel in kernels.listed),
        "unnamed_kernels_seconds": max(0.0, kernels.unnamed_seconds - operations.launched_seconds),
        "operations_cut": operations.cut,
        "kernels_cut": kernels.cut,
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(column): value for column, value in row.items()} for row in table.to_dict(orient="records")]


NOTHING_OF_THE_GPU = "the trace holds nothing of it; see whether the profiler was allowed to look at the GPU"

_HOST = NotTold(
    "what the host did in a step: input, launches, compilation",
    "xprof divides a GPU's step by what the device did, from its first kernel to its last",
)

_ONLY_ON_A_GPU = (
    NotTold(
        "device compute and idle time",
        "on a CPU the host is the device: what computes is host compute, and nothing is launched on anything",
    ),
    NotTold("kernels, tensor cores, occupancy", "a CPU has none; they are of a GPU's trace"),
)
