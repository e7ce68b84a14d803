"""A TensorFlow trace (*.xplane.pb) as the tables of a profile.json, by way of xprof. Nothing here needs TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pandas as pd

from gnet_core.profile import gpu_tables, tensor_cores
from gnet_core.profile.document import COUNTINGS, NotAvailable
from gnet_core.profile.operations import by_part, by_type, operation_times
from gnet_core.profile.step_breakdown import AT_WORK, breakdown, step_table
from gnet_core.profile.xprof import NoAnswerError, open_trace
from gnet_core.text import plain

# What reading a document raises that does not have the form of xprof's.
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_HOST = NotAvailable(
    what="what the host did in a step: input, launches, compilation",
    why="xprof divides a GPU's step by what the device did, from its first kernel to its last",
)
_ONLY_ON_A_GPU = (
    NotAvailable(
        what="device compute and idle time",
        why="on a CPU the host is the device: what computes is host compute, and nothing is launched on anything",
    ),
    NotAvailable(what="kernels, tensor cores, occupancy", why="a CPU has none; they are of a GPU's trace"),
)

Table = TypeVar("Table")


def tables(xplane: Path, *, on_gpu: bool) -> dict[str, Any]:
    """The contents of a trace as plain data for JSON. What is missing is listed in `not_available`, with the reason.

    Where one of xprof's tools fails, or answers with nothing or with something odd, only its table is missing. Raises
    GnetError for a file that is no trace.
    """
    missing: list[NotAvailable] = []

    def attempt(what: str, read: Callable[[], Table]) -> Table | None:
        """The result of `read`; None, with an entry in `missing`, where it fails."""
        try:
            return read()
        except NoAnswerError as error:
            why = str(error)
        except _UNREADABLE as error:
            why = f"the trace holds what no step leaves ({type(error).__name__}: {plain(error)})"
        missing.append(NotAvailable(what=what, why=why))
        return None

    kernels = None
    with open_trace(xplane) as trace:
        steps = attempt("what a step's time goes to", lambda: step_table(trace))
        times = attempt("time by operation and by part of the network", lambda: operation_times(trace, on_gpu=on_gpu))
        note = COUNTINGS[times.counting] if times else f"There is no table of operations: {missing[-1].why}."
        if times and times.unplaced:
            missing.append(NotAvailable(what="time by part of the network", why=times.unplaced))
        if on_gpu:
            what = "the GPU's kernels and their tensor cores"
            kernels = attempt(what, lambda: gpu_tables.kernels(trace.tool("kernel_stats")))
        what = "the peak of the GPU's memory" if on_gpu else "the peak of memory"
        memory = attempt(what, lambda: gpu_tables.peak_memory(trace.tool("memory_profile"), on_gpu=on_gpu))
    divided = breakdown(steps, on_gpu=on_gpu) if steps else []
    if not on_gpu:
        missing += _ONLY_ON_A_GPU
    elif any(row["seconds"] for row in divided if row["kind"] in AT_WORK):
        missing.append(_HOST)
    elif steps:  # of a device that was not recorded, 0 would be no measurement
        divided = breakdown(steps, on_gpu=False)
        missing.append(NotAvailable(what="device compute and idle time", why=gpu_tables.NOTHING_OF_THE_GPU))
    kernel_times = kernels and {
        "operations_seconds": float(times.table["self_seconds"].sum()) if times else 0.0,
        "kernels_seconds": float(kernels.table["seconds"].sum()),
        "unnamed_kernels_seconds": max(0.0, kernels.unnamed_seconds - (times.launched_seconds if times else 0.0)),
        "operations_cut": times is not None and times.cut,
        "kernels_cut": kernels.cut,
    }
    return {
        "step_seconds": [step["stepTimeMs"] / 1e3 for step in steps or []],
        "breakdown": divided,
        "operations": _records(by_type(times)) if times else [],
        "parts": _records(by_part(times)) if times else [],
        "counting": times.counting if times else "",
        "note": note,
        "kernels": _records(kernels.table) if kernels else [],
        "tensor_cores": kernels
        and tensor_cores.shares(zip(kernels.table["tensor_cores"], kernels.table["seconds"], strict=True)),
        "device_time": kernel_times,
        "peak_memory": memory,
        "not_available": msgspec.to_builtins(missing),
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(column): value for column, value in row.items()} for row in table.to_dict(orient="records")]
