"""Whether the times of a GPU's operations, kernels and steps agree; where they do not, by how much and why."""

from __future__ import annotations

from gnet_core.profile.document import DeviceTime
from gnet_core.text import milliseconds

MAX_GAP = 0.03
"""Share of the larger of two times by which they may differ."""

_COMPUTE = "device compute"


def reconciled(time: DeviceTime, steps: int, device_seconds: float | None) -> list[str]:
    """Sentences on the device's time in a step by operations, kernels and xprof's steps: every gap, or agreement.

    `time` is over all traced `steps`; `device_seconds` is that of work in one, None where xprof recognised no step.
    """
    kernels = time.kernels_seconds / steps
    others = {"operations": time.operations_seconds / steps, _COMPUTE: device_seconds or 0.0}
    compared = {name: seconds for name, seconds in others.items() if seconds}
    gaps = []
    for name, seconds in compared.items():
        gap = abs(seconds - kernels) / max(seconds, kernels)
        if gap > MAX_GAP:
            times = f"{milliseconds(seconds)} ms a step of {name} against {milliseconds(kernels)} ms of kernels"
            reasons = _reasons(name, time, steps, more=seconds > kernels)
            gaps.append(f"A gap of {gap:.0%}: {times}; {', and '.join(reasons)}.")
    if gaps or not compared:
        return gaps
    names = " and of ".join(["kernels", *compared])
    return [f"The time of {names} agrees within {MAX_GAP:.0%}: {milliseconds(kernels)} ms a step."]


def _reasons(name: str, time: DeviceTime, steps: int, *, more: bool) -> list[str]:
    if name == _COMPUTE:
        side_by_side = "kernels ran side by side, or outside of the steps that xprof divides"
        return ["copies and fills of memory count there too" if more else side_by_side]
    if more:
        cut = ["xprof lists the longest 1,000 kernels and leaves out the rest"] if time.kernels_cut else []
        return ["copies and fills of memory are operations without a kernel", *cut]
    reasons = []
    if time.unnamed_kernels_seconds:
        reasons.append(f"{milliseconds(time.unnamed_kernels_seconds / steps)} ms of kernels belong to no operation")
    if time.operations_cut:
        reasons.append("xprof lists the longest 499 operations and leaves out the rest")
    return reasons or ["the trace does not tell why"]
