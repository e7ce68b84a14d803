"""Whether the three accounts of a GPU's time agree, in sentences."""

from __future__ import annotations

import pytest

from gnet_core.profile.device_time import reconciled
from gnet_core.profile.document import DeviceTime


def time(operations, kernels, **changes):
    values = {"unnamed_kernels_seconds": 0.0, "operations_cut": False, "kernels_cut": False} | changes
    return DeviceTime(operations_seconds=operations, kernels_seconds=kernels, **values)


def test_times_that_agree_are_said_to():
    assert reconciled(time(0.0199, 0.02), 2, 0.0101) == [
        "The time of kernels and of operations and of device compute agrees within 3%: 10 ms a step."
    ]


def test_a_gap_has_its_size_and_its_reasons():
    cut = time(0.018, 0.02, unnamed_kernels_seconds=0.001, operations_cut=True)
    assert reconciled(cut, 2, None) == [
        "A gap of 10%: 9 ms a step of operations against 10 ms of kernels; 0.5 ms of kernels belong to no operation, "
        "and xprof lists the longest 499 operations and leaves out the rest."
    ]


@pytest.mark.parametrize(
    ("times", "device", "reason"),
    [
        (time(0.01, 0.02), None, "the trace does not tell why"),
        (time(0.03, 0.02), None, "copies and fills of memory are operations without a kernel"),
        (time(0.03, 0.02, kernels_cut=True), None, "xprof lists the longest 1,000 kernels and leaves out the rest"),
        (time(0.02, 0.02), 0.02, "copies and fills of memory count there too"),
        (time(0.02, 0.02), 0.005, "kernels ran side by side, or outside of the steps that xprof divides"),
    ],
)
def test_each_gap_has_a_reason(times, device, reason):
    (sentence,) = reconciled(times, 2, device)
    assert sentence.startswith("A gap of ")
    assert sentence.endswith(f"{reason}.")


def test_a_gap_of_both_is_two_sentences():
    assert len(reconciled(time(0.01, 0.02), 2, 0.03)) == 2


def test_kernels_alone_are_compared_with_nothing():
    assert reconciled(time(0.0, 0.02), 2, None) == []


def test_kernels_that_took_no_time_are_no_division_by_zero():
    assert reconciled(time(0.0, 0.0), 1, 0.0) == []
    assert len(reconciled(time(0.01, 0.0), 1, None)) == 1
