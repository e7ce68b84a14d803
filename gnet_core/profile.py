"""A TensorFlow trace (*.xplane.pb) as the tables of a profile.json, by way of xprof. Nothing here needs TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from gnet_core import gpu_tables
from gnet_core.config import GnetError, require_whole
from gnet_core.step_breakdown import breakdown, step_seconds, step_table
from gnet_core.tables import plain
from gnet_core.traced_operations import by_part, by_type, single_operations
from gnet_core.xprof_tools import Trace, open_trace

MOST_STEPS = 10
"""xprof recognises no more steps in one trace."""

_ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a document that is not in xprof's shape raises where it is read."""


def require_steps(steps: int) -> None:
    """Raise GnetError for a number of steps that a trace cannot have."""
    require_whole("steps", steps, least=1)
    if steps > MOST_STEPS:
        raise GnetError(f"steps: {steps} is too many; xprof recognises at most {MOST_STEPS} in a trace")


def tables(xplane: Path, *, on_gpu: bool) -> dict[str, Any]:
    """What a trace tells, as plain data for JSON; what it does not tell is named in `not_available`, with the reason.

    Raises GnetError for a file that is no trace, or one that holds what no step leaves.
    """
    with open_trace(xplane) as trace:
        try:
            found = _tables(trace, on_gpu=on_gpu)
        except GnetError:
            raise
        except _ODD as error:
            told = f"{type(error).__name__}: {plain(error)}"
            raise GnetError(f"xplane: '{xplane}' holds what no step leaves ({told}); take the trace again") from error
    found["not_available"] = [{"what": what, "why": why} for what, why in _not_available(found, on_gpu=on_gpu)]
    return found


def _tables(trace: Trace, *, on_gpu: bool) -> dict[str, Any]:
    steps = step_table(trace)
    return {
        "step_seconds": step_seconds(steps),
        "breakdown": breakdown(steps, on_gpu=on_gpu),
        **_operations(trace),
        "kernels": gpu_tables.kernels(trace.tool("kernel_stats")) if on_gpu else [],
        "peak_memory": gpu_tables.peak_memory(trace.tool("memory_profile"), on_gpu=on_gpu),
    }


def _operations(trace: Trace) -> dict[str, Any]:
    """Operations by type and by part of the network, or in `note` why there are none."""
    try:
        singles = single_operations(trace)
    except GnetError as error:
        return {"operations": [], "parts": [], "note": f"There is no table of operations. {error}."}
    return {
        "operations": _records(by_type(singles)),
        "parts": _records(by_part(singles)),
        "note": str(singles.attrs["note"]),
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(column): value for column, value in row.items()} for row in table.to_dict(orient="records")]


def _not_available(found: dict[str, Any], *, on_gpu: bool) -> list[tuple[str, str]]:
    missing = []
    if not found["breakdown"]:
        missing.append(("what a step's time goes to", "xprof recognised no step in the trace"))
    if not found["operations"]:
        missing.append(("time by operation and by part of the network", found["note"]))
    elif not found["parts"]:
        missing.append(
            (
                "time by part of the network",
                "eager execution tells the profiler an operation's type and not its name; trace with execution graph",
            )
        )
    if not on_gpu and not found["peak_memory"]:
        missing.append(("the peak of memory", "the trace holds no allocation; gnet bench tells that of the process"))
    if not on_gpu:
        return [*missing, *_ONLY_ON_A_GPU]
    lacking = "the trace holds nothing of it; see whether the profiler was allowed to look at the GPU"
    if not found["kernels"]:
        missing.append(("the GPU's kernels and their tensor cores", lacking))
    if not found["peak_memory"]:
        missing.append(("the peak of the GPU's memory", lacking))
    return missing


_ONLY_ON_A_GPU = (
    (
        "device compute and idle time",
        "on a CPU the host is the device: what computes is host compute, and nothing is launched on anything",
    ),
    ("kernels, tensor cores, occupancy", "a CPU has none; they are of a GPU's trace"),
)
