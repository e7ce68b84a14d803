"""What XLA's executor reports of a step on a CPU: events with known times, and a real trace."""

from __future__ import annotations

from typing import Any

import pytest

from gnet_core.profile import compiled, operations, reading, xprof
from gnet_core.profile.document import COUNTINGS
from tests.traces import trace_tiny_network


def instruction(name: str, ts: float, dur: float, tid: int = 1) -> dict[str, Any]:
    return {"name": name, "args": {"hlo_op": name, "flow": "6"}, "ts": ts, "dur": dur, "tid": tid}


def recorded(flow: int, ts: float, tid: int = 1) -> dict[str, Any]:
    return {"name": "ThreadpoolListener::Record", "args": {"flow": str(4 * flow + 2)}, "ts": ts, "dur": 0.0, "tid": tid}


def region(flow: int, ts: float, dur: float, tid: int = 2) -> list[dict[str, Any]]:
    """A region of the pool and its start, which xprof tells beside it."""
    start = {"name": "ThreadpoolListener::StartRegion", "args": {"flow": str(4 * flow + 1)}}
    whole = {"name": "ThreadpoolListener::Region", "args": {}}
    return [start | {"ts": ts, "dur": 0.0, "tid": tid}, whole | {"ts": ts, "dur": dur, "tid": tid}]


def seconds(*events: dict[str, Any]) -> dict[str, float]:
    return {name: time for _, name, time in compiled.instruction_seconds(events)}


def test_an_instruction_s_time_is_its_own_and_that_of_the_regions_it_recorded():
    times = seconds(
        instruction("convolution.1", 0, 10),
        recorded(1, 5),
        recorded(2, 6),
        *region(1, 20, 100),
        *region(2, 25, 30, tid=3),
    )
    assert times == {"convolution.1": pytest.approx(140e-6)}


def test_a_region_that_a_region_recorded_belongs_to_the_same_instruction():
    times = seconds(
        instruction("convolution.1", 0, 10), recorded(1, 5), *region(1, 20, 50), recorded(2, 30, tid=2),
        *region(2, 100, 40, tid=3),
    )  # fmt: skip
    assert times == {"convolution.1": pytest.approx(100e-6)}


def test_instructions_that_run_inside_a_region_are_not_the_region_s_own_time():
    times = seconds(
        instruction("convolution.1", 0, 10),
        recorded(1, 5),
        *region(1, 20, 100),
        instruction("fusion.2", 80, 30, tid=2),  # the executor goes on where the convolution ended
    )
    assert times == {"convolution.1": pytest.approx(80e-6), "fusion.2": pytest.approx(30e-6)}


def test_what_was_recorded_outside_of_any_instruction_is_the_executor_s():
    times = seconds(recorded(1, 1), *region(1, 20, 100), instruction("fusion.2", 30, 60, tid=2))
    assert times == {"fusion.2": pytest.approx(60e-6)}


def test_a_region_of_unknown_origin_or_in_a_circle_belongs_to_no_instruction():
    times = seconds(
        instruction("fusion.2", 0, 10), *region(7, 20, 100), *region(1, 200, 50), recorded(1, 210, tid=2),
    )  # fmt: skip
    assert times == {"fusion.2": pytest.approx(10e-6)}


def test_every_run_of_an_instruction_counts():
    events = [instruction("fusion.2", 0, 10), instruction("fusion.2", 100, 20)]
    runs = list(compiled.instruction_seconds(events))
    assert [name for _, name, _ in runs] == ["fusion.2", "fusion.2"]
    assert [seconds for *_, seconds in runs] == pytest.approx([1e-5, 2e-5])


def test_operations_take_their_names_from_the_module():
    text = 'ENTRY %main {\n  %fusion.2 = f32[] add(%a, %b), metadata={op_type="Mul" op_name="googlenet_2/main/mul"}\n}'
    ((name, kind, _),) = compiled.operations([instruction("fusion.2", 0, 10)], [text])
    assert (name, kind) == ("googlenet_2/main/mul", "Mul")


def test_instructions_of_one_name_are_told_by_their_modules():
    texts = [
        f"HloModule {module}, is_scheduled=true\n\nENTRY %main {{\n  %fusion.2 = f32[] add(%a, %b), "
        f'metadata={{op_type="{kind}" op_name="googlenet_2/{part}/x"}}\n}}'
        for module, kind, part in (("first.1", "Mul", "main"), ("second.2", "Sub", "stem"))
    ]
    events = [instruction("fusion.2", ts, 10) for ts in (0, 20, 40)]
    for event, module in zip(events, ("first.1", "second.2", "third.3"), strict=True):
        event["args"]["hlo_module"] = module
    times = [(name, kind) for name, kind, _ in compiled.operations(events, texts)]
    assert times == [("googlenet_2/main/x", "Mul"), ("googlenet_2/stem/x", "Sub"), ("", "fusion")]


@pytest.fixture(scope="module")
def xplane(tmp_path_factory):
    return trace_tiny_network("xla", tmp_path_factory.mktemp("xla"), 2)


def test_an_xla_step_on_a_cpu_is_split_into_operations_and_parts(xplane):
    with xprof.open_trace(xplane) as trace:
        times = operations.operation_times(trace, on_gpu=False)
    types = operations.by_type(times)
    assert {"Conv2D", "Conv2DBackpropFilter"} <= set(types["operation"])
    assert types["share"].sum() == pytest.approx(1)
    assert (times.table["occurrences"] % 2 == 0).all()  # two steps, each of the same instructions
    parts = operations.by_part(times)
    places = set(parts[["part", "direction"]].itertuples(index=False, name=None))
    assert {("stem", "forward"), ("stem", "backward"), ("inception_3a", "backward"), ("optimizer", "neither")} <= places


def test_an_xla_step_tells_what_its_times_are_and_what_else_it_cannot_tell(xplane):
    times = reading.tables(xplane, on_gpu=False)
    assert (times["counting"], times["note"]) == ("compiled instructions", COUNTINGS["compiled instructions"])
    assert "time by part of the network" not in [row["what"] for row in times["not_available"]]
