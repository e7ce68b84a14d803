"""What a traced step's time goes to as xprof divides it: input, host, compilation, launches, device, and the rest."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gnet_core.xprof_tools import Trace, rows

KINDS = {
    "deviceComputeTimeMs": "device compute",
    "deviceToDeviceTimeMs": "device to device",
    "deviceCollectivesTimeMs": "device collectives",
    "hostComputeTimeMs": "host compute",
    "kernelLaunchTimeMs": "kernel launch",
    "infeedTimeMs": "input",
    "outfeedTimeMs": "output",
    "compileTimeMs": "compilation",
    "otherTimeMs": "idle, Python and all other",
}
"""Columns of xprof's overview_page, milliseconds a step, and what they are called here."""

MODERATE, HIGH = {"input": 0.05, "kernel launch": 0.03}, {"input": 0.20, "kernel launch": 0.15}
"""Shares of the step from which xprof calls it bound by them (xprof/convert/op_stats_to_input_pipeline_analysis.h)."""

DEVICE_KINDS = ("device compute", "device to device", "device collectives", "kernel launch")
"""What only an accelerator has."""


def step_table(trace: Trace) -> list[dict[str, Any]]:
    """Each traced step as xprof sees it, in order, by its column ids; empty for a trace whose steps were not marked.

    Of six steps or more xprof leaves out the first and the last. Raises GnetError for a file that is no trace.
    """
    return [row for table in trace.tool("overview_page") for row in rows(table) if "stepTimeMs" in row]


def step_seconds(steps: Sequence[Mapping[str, Any]]) -> list[float]:
    """Of each step of a step_table."""
    return [step["stepTimeMs"] / 1e3 for step in steps]


def breakdown(steps: Sequence[Mapping[str, Any]], *, on_gpu: bool) -> list[dict[str, Any]]:
    """Mean seconds a step of each kind, with its share of the step; kinds that a CPU has not are left out there."""
    if not steps:
        return []
    whole = statistics.fmean(step["stepTimeMs"] for step in steps)
    seconds = {
        kind: statistics.fmean(step.get(column) or 0.0 for step in steps) / 1e3
        for column, kind in KINDS.items()
        if on_gpu or kind not in DEVICE_KINDS
    }
    return [
        {"kind": kind, "seconds": value, "share": value / (whole / 1e3) if whole else 0.0}
        for kind, value in seconds.items()
    ]


def bound_by(kind: str, share: float) -> str:
    """Whether a share of the step's time makes the step input-bound or launch-bound, by xprof's thresholds."""
    what = {"input": "input-bound", "kernel launch": "launch-bound"}[kind]
    if share >= HIGH[kind]:
        degree = f"Highly {what}"
    elif share >= MODERATE[kind]:
        degree = f"Moderately {what}"
    else:
        degree = f"Not {what}"
    lines = f"xprof's line is {MODERATE[kind]:.0%}, and {HIGH[kind]:.0%} is high"
    return f"{degree}: {share:.1%} of a step is {kind} ({lines})."
