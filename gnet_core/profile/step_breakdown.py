"""The time of a traced step as xprof divides it: input, host, compilation, launches, device, and the rest."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gnet_core.profile.xprof import NoAnswerError, Trace, rows
from gnet_core.text import milliseconds

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
"""Columns of xprof's overview_page, in milliseconds a step, and their names here."""

MODERATE, HIGH = 0.05, 0.20
"""Shares of input from which xprof calls a step bound by it (xprof/convert/op_stats_to_input_pipeline_analysis.cc)."""

AT_WORK = ("device compute", "device to device", "device collectives")
"""The kinds of time in which a device is at work. Copies and fills count as device compute in current traces."""

REST, _LAUNCH = KINDS["otherTimeMs"], KINDS["kernelLaunchTimeMs"]

MAX_IDLE_SHARE = 0.5
"""Share of a step for which the device may idle before the step counts as launch-bound."""


def step_table(trace: Trace) -> list[dict[str, Any]]:
    """Each traced step by xprof's column ids; of six or more not the first and last. Raises NoAnswerError for none."""
    steps = [row for table in trace.tool("overview_page") for row in rows(table) if "stepTimeMs" in row]
    if not steps:
        raise NoAnswerError("xprof recognised no step")
    return steps


def breakdown(steps: Sequence[Mapping[str, Any]], *, on_gpu: bool) -> list[dict[str, Any]]:
    """Mean seconds a step of each kind, with its share of the step.

    On a CPU the kinds that only another device has are left out. On a GPU xprof divides a step by what its device did,
    from the first kernel to the last, and does not count the host (xprof/convert/xplane_to_op_stats.cc): a zero of the
    host's kinds is no measurement there, so it is left out.
    """
    whole = statistics.fmean(step["stepTimeMs"] for step in steps)
    seconds = {kind: statistics.fmean(step.get(key) or 0.0 for step in steps) / 1e3 for key, kind in KINDS.items()}
    return [
        {"kind": kind, "seconds": value, "share": value / (whole / 1e3) if whole else 0.0}
        for kind, value in seconds.items()
        if (value or kind in (*AT_WORK, REST) if on_gpu else kind not in (*AT_WORK, _LAUNCH))
    ]


def input_bound(share: float) -> str:
    """Whether a share of the step's time makes the step input-bound, by xprof's thresholds."""
    degree = "Highly" if share >= HIGH else "Moderately" if share >= MODERATE else "Not"
    lines = f"xprof's line is {MODERATE:.0%}, and {HIGH:.0%} is high"
    return f"{degree} input-bound: {share:.1%} of a step is input ({lines})."


def at_work(device_seconds: float, step_seconds: float) -> str:
    """Part of a sentence: for how long the device is at work in a step, both in seconds as in `launch_bound`."""
    times = f"{milliseconds(device_seconds)} ms of a step of {milliseconds(step_seconds)} ms"
    return f"the GPU is at work for {times} ({device_seconds / step_seconds:.0%})"


def launch_bound(device_seconds: float, step_seconds: float) -> str:
    """A sentence on a step that is bound by launching kernels, else "". The device is at work for `device_seconds` of
    a step that takes `step_seconds` without the profiler, which slows the host and hardly the kernels.
    """
    if device_seconds >= (1 - MAX_IDLE_SHARE) * step_seconds:
        return ""
    sentence = f"Launch-bound: {at_work(device_seconds, step_seconds)} and waits for the host in the rest"
    return f"{sentence}; a larger batch gives each kernel more to do."
