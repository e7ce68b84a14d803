"""Whether the times of a GPU's operations, kernels and steps agree; where they do not, by how much and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gnet_core.profile.document import DeviceTime
from gnet_core.text import milliseconds

MAX_GAP = 0.03
"""Share of the larger of two times by which they may differ."""


class _Time(NamedTuple):
    """A time on the device in one step, and what took it."""

    of: str
    seconds: float


def reconciled(time: DeviceTime, steps: int, device_seconds: float | None) -> list[str]:
    """Sentences on the device's time in a step by operations, kernels and xprof's steps: every gap, or agreement.

    `time` is over all traced `steps`; `device_seconds` is how long the device was at work in one, None where xprof
    recognised no step.
    """
    kernels = _Time("kernels", time.kernels_seconds / steps)
    operations = _Time("operations", time.operations_seconds / steps) if time.operations_seconds else None
    device = _Time("device compute", device_seconds) if device_seconds else None
    compared = [kernels, *(each for each in (operations, device) if each)]
    if len(compared) == 1:
        return []
    gaps = []
    if operations and _gap(operations, kernels) > MAX_GAP:
        reasons = _operations_reasons(time, steps, more=operations.seconds > kernels.seconds)
        gaps.append(_sentence(operations, kernels, reasons))
    if device and _gap(device, kernels) > MAX_GAP:
        more = device.seconds > kernels.seconds
        reason = (
            "copies and fills of memory count there too"
            if more
            else "kernels ran side by side, or outside of the steps that xprof divides"
        )
        gaps.append(_sentence(device, kernels, [reason]))
    if gaps:
        return gaps
    names = " and of ".join(each.of for each in compared)
    return [f"The time of {names} agrees within {MAX_GAP:.0%}: {milliseconds(kernels.seconds)} ms a step."]


def _gap(one: _Time, other: _Time) -> float:
    """The difference of two times as a share of the larger one."""
    larger = max(one.seconds, other.seconds)
    return abs(one.seconds - other.seconds) / larger if larger else 0.0


def _operations_reasons(time: DeviceTime, steps: int, *, more: bool) -> list[str]:
    """Why the operations can have taken more, or less, time than the kernels."""
    if more:
        reasons = ["copies and fills of memory are operations without a kernel"]
        return (
            [*reasons, "xprof lists the longest 1,000 kernels and leaves out the rest"] if time.kernels_cut else reasons
        )
    reasons = []
    if time.unnamed_kernels_seconds:
        reasons.append(f"{milliseconds(time.unnamed_kernels_seconds / steps)} ms of kernels belong to no operation")
    if time.operations_cut:
        reasons.append("xprof lists the longest 499 operations and leaves out the rest")
    return reasons or ["the trace does not tell why"]


def _sentence(one: _Time, other: _Time, reasons: Sequence[str]) -> str:
    return (
        f"A gap of {_gap(one, other):.0%}: {milliseconds(one.seconds)} ms a step of {one.of} against "
        f"{milliseconds(other.seconds)} ms of {other.of}; {', and '.join(reasons)}."
    )
