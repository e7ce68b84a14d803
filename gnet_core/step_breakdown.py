"""What a traced step's time goes to as xprof divides it: input, host, compilation, launches, device, and the rest."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gnet_core.tables import milliseconds
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

AT_WORK = ("device compute", "device to device", "device collectives")
"""The kinds of time in which the device is at work."""

MOST_IDLE = 0.5
"""Share of a step beyond which a device that idles makes the step launch-bound."""


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


def input_bound(share: float) -> str:
    """Whether a share of the step's time makes the step input-bound, by xprof's thresholds."""
    if share >= HIGH["input"]:
        degree = "Highly input-bound"
    elif share >= MODERATE["input"]:
        degree = "Moderately input-bound"
    else:
        degree = "Not input-bound"
    return f"{degree}: {share:.1%} of a step is input ({_lines('input')})."


def launching(launch_share: float, device_seconds: float, step_seconds: float) -> str:
    """How long the device is at work in a step, and what xprof counts as launching kernels; as in `launch_bound`."""
    counted = f"{launch_share:.1%} of a step under the profiler is kernel launch ({_lines('kernel launch')})"
    return f"The GPU is {_at_work(device_seconds, step_seconds)}; {counted}."


def _lines(kind: str) -> str:
    return f"xprof's line is {MODERATE[kind]:.0%}, and {HIGH[kind]:.0%} is high"


def _at_work(device_seconds: float, step_seconds: float) -> str:
    share = device_seconds / step_seconds
    return f"at work for {milliseconds(device_seconds)} ms of a step of {milliseconds(step_seconds)} ms ({share:.0%})"


def launch_bound(launch_share: float, device_seconds: float | None, step_seconds: float) -> str:
    """A sentence on a step that is bound by launching kernels; empty for one that is not.

    `launch_share` is xprof's, of a step under the profiler. `device_seconds` is how long the device is at work in a
    step, None where that is not known, and `step_seconds` a whole step without the profiler, which slows the host and
    hardly the kernels.
    """
    told = []
    if device_seconds is not None and device_seconds < (1 - MOST_IDLE) * step_seconds:
        told.append(f"the GPU is {_at_work(device_seconds, step_seconds)} and waits for the host in the rest")
    if launch_share >= HIGH["kernel launch"]:
        told.append(f"{launch_share:.0%} of a step goes to launching kernels")
    return f"Launch-bound: {', and '.join(told)}; a larger batch gives each kernel more to do." if told else ""
