"""xprof's division of a step, on documents in its own shape."""

from __future__ import annotations

from typing import Any

import pytest

from gnet_core.profile import step_breakdown
from gnet_core.profile.xprof import NoAnswerError


class Told:
    """A trace of which xprof told this."""

    def __init__(self, *steps: dict[str, float]) -> None:
        columns = ["stepnum", *step_breakdown.KINDS, "tooltip", "stepTimeMs"]
        rows = [{"c": [{"v": step.get(column, 0.0)} for column in columns]} for step in steps]
        self._tables = [{"cols": [{"id": "host_id"}], "rows": []}, {"cols": [{"id": c} for c in columns], "rows": rows}]

    def tool(self, name):
        assert name == "overview_page"
        return [*self._tables, {}]


STEPS: Any = Told(
    {"deviceComputeTimeMs": 60, "deviceToDeviceTimeMs": 20, "otherTimeMs": 20, "stepTimeMs": 100},
    {"deviceComputeTimeMs": 100, "deviceToDeviceTimeMs": 40, "otherTimeMs": 60, "stepTimeMs": 200},
)
NO_STEPS: Any = Told()


def test_kinds_are_means_over_steps_and_shares_of_the_mean_step():
    rows = step_breakdown.breakdown(step_breakdown.step_table(STEPS), on_gpu=True)
    expected = {row["kind"]: (row["seconds"], row["share"]) for row in rows}
    assert expected["device compute"] == (pytest.approx(0.08), pytest.approx(80 / 150))
    assert expected["device to device"] == (pytest.approx(0.03), pytest.approx(0.2))
    assert sum(share for _, share in expected.values()) == pytest.approx(1)


def test_a_gpu_has_rows_of_the_host_only_where_xprof_measures_it():
    rows = step_breakdown.breakdown(step_breakdown.step_table(STEPS), on_gpu=True)
    assert [row["kind"] for row in rows] == [*step_breakdown.AT_WORK, "idle, Python and all other"]
    launches: Any = Told({"deviceComputeTimeMs": 60, "kernelLaunchTimeMs": 40, "stepTimeMs": 100})
    rows = step_breakdown.breakdown(step_breakdown.step_table(launches), on_gpu=True)
    assert {row["kind"]: row["seconds"] for row in rows}["kernel launch"] == pytest.approx(0.04)


def test_a_cpu_has_no_rows_for_what_only_a_device_has():
    rows = step_breakdown.breakdown(step_breakdown.step_table(STEPS), on_gpu=False)
    assert {"device compute", "kernel launch"}.isdisjoint(row["kind"] for row in rows)
    assert {"input", "compilation", "host compute"} <= {row["kind"] for row in rows}


def test_a_trace_without_marked_steps_has_no_breakdown():
    with pytest.raises(NoAnswerError, match="xprof recognised no step"):
        step_breakdown.step_table(NO_STEPS)


def test_a_step_is_launch_bound_where_the_gpu_idles_for_more_than_half_of_it():
    assert step_breakdown.launch_bound(0.05, 0.1) == ""
    assert step_breakdown.launch_bound(0.04, 0.1) == (
        "Launch-bound: the GPU is at work for 40 ms of a step of 100 ms (40%) and waits for the host in the rest; a "
        "larger batch gives each kernel more to do."
    )


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.049, "Not input-bound: 4.9% of a step is input"),
        (0.05, "Moderately input-bound: 5.0%"),
        (0.2, "Highly input-bound: 20.0%"),
    ],
)
def test_what_a_step_is_bound_by_is_said_with_its_number(share, expected):
    assert step_breakdown.input_bound(share).startswith(expected)
