"""Real traces of a tiny train step through real xprof, and the pure parts on events with known times."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gnet_core.config import GnetError
from gnet_core.profile import gpu_tables, operations, step_breakdown, xprof
from gnet_core.profile.operations import OperationTimes
from gnet_core.profile.xprof import NoAnswerError, nested
from tests.traces import Launch, gpu_trace, trace_tiny_network

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 3
CONVOLUTIONS = 2


@pytest.fixture(scope="module", params=["graph", "eager"])
def xplane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trace_tiny_network(request.param, tmp_path_factory.mktemp(request.param), STEPS)


@pytest.fixture(scope="module")
def graph_xplane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trace_tiny_network("graph", tmp_path_factory.mktemp("only_graph"), STEPS)


def operation_times(xplane: Path) -> OperationTimes:
    with xprof.open_trace(xplane) as trace:
        return operations.operation_times(trace, on_gpu=False)


def types(xplane: Path) -> pd.DataFrame:
    return operations.by_type(operation_times(xplane))


def step_seconds(xplane: Path) -> list[float]:
    with xprof.open_trace(xplane) as trace:
        return [step["stepTimeMs"] / 1e3 for step in step_breakdown.step_table(trace)]


def _occurrences(table: pd.DataFrame, part: str) -> int:
    """By part of the type: oneDNN renames what it takes over, so that Conv2D may be _MklNativeFusedConv2D."""
    return int(table.loc[table["operation"].str.contains(part), "occurrences"].sum())


def test_a_convolution_is_counted_once_a_step(xplane: Path) -> None:
    table = types(xplane)
    assert _occurrences(table, r"Conv2D$") == STEPS * CONVOLUTIONS
    assert _occurrences(table, r"Conv2DBackpropFilter") == STEPS * CONVOLUTIONS


def test_a_graph_drops_the_gradient_of_the_images_that_nobody_reads(graph_xplane: Path) -> None:
    assert _occurrences(types(graph_xplane), r"Conv2DBackpropInput") == STEPS * (CONVOLUTIONS - 1)


def test_shares_sum_to_one_longest_first_and_follow_self_time(xplane: Path) -> None:
    table = types(xplane)
    assert list(table.columns) == ["operation", "occurrences", "self_seconds", "share"]
    assert table["share"].sum() == pytest.approx(1)
    assert table["share"].is_monotonic_decreasing
    assert table["operation"].is_unique
    assert (table["self_seconds"] / table["self_seconds"].sum()).tolist() == pytest.approx(table["share"].tolist())


def test_single_operations_add_up_to_their_types(xplane: Path) -> None:
    times = operation_times(xplane)
    singles, table = times.table, operations.by_type(times)
    assert list(singles.columns) == ["name", "operation", "occurrences", "self_seconds", "share"]
    assert singles["occurrences"].sum() == table["occurrences"].sum()
    assert singles["self_seconds"].sum() == pytest.approx(table["self_seconds"].sum())
    assert set(singles["operation"]) == set(table["operation"])


def test_parts_add_up_to_all_operations_and_tell_forward_from_backward(graph_xplane: Path) -> None:
    times = operation_times(graph_xplane)
    singles, table = times.table, operations.by_part(times)
    assert list(table.columns) == ["part", "direction", "occurrences", "self_seconds", "share"]
    assert table["self_seconds"].sum() == pytest.approx(singles["self_seconds"].sum())
    places = set(table[["part", "direction"]].itertuples(index=False, name=None))
    assert {("stem", "forward"), ("stem", "backward"), ("inception_3a", "backward"), ("optimizer", "neither")} <= places
    convolutions = singles[singles["operation"].str.contains("Conv2DBackpropFilter")]
    only = operations.by_part(times._replace(table=convolutions.reset_index(drop=True)))
    assert set(only["direction"]) == {"backward"}


def test_eager_operations_have_no_parts_since_they_have_no_names(tmp_path: Path) -> None:
    times = operation_times(trace_tiny_network("eager", tmp_path, 1))
    assert times.unplaced == operations.NO_NAMES
    assert operations.by_part(times).empty


def test_self_times_agree_with_those_of_xprof_where_it_lists_every_operation(graph_xplane: Path) -> None:
    with xprof.open_trace(graph_xplane) as trace:
        rows = xprof.rows(trace.tool("framework_op_stats")[1])
    assert 100 < len(rows) < operations.MAX_DEVICE_OPERATIONS
    theirs = {(row["operation"], row["type"]): row["total_self_time"] / 1e6 for row in rows}
    ours = {
        (row.name, row.operation): row.self_seconds
        for row in operation_times(graph_xplane).table.itertuples(index=False)
    }
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-8)


def test_every_requested_step_is_recognised(xplane: Path) -> None:
    seconds = step_seconds(xplane)
    assert len(seconds) == STEPS
    assert min(seconds) > 0
    assert max(seconds) < 60  # seconds, not milliseconds or microseconds


def test_a_cpu_trace_says_what_its_times_are(graph_xplane: Path) -> None:
    assert operation_times(graph_xplane).counting == "graph operations"


def test_nothing_is_left_behind_by_a_conversion(
    graph_xplane: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    operation_times(graph_xplane)
    step_seconds(graph_xplane)
    assert list(graph_xplane.parent.iterdir()) == [graph_xplane]
    assert list(tmp_path.iterdir()) == []


def test_a_conversion_prints_nothing_and_gives_stderr_back(
    graph_xplane: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    operation_times(graph_xplane)
    os.write(2, b"after a table. ")
    with pytest.raises(GnetError):
        operation_times(_write(graph_xplane.parent.parent / "bad.xplane.pb", b"no trace"))
    os.write(2, b"after a failure.")
    assert capfd.readouterr() == ("", "after a table. after a failure.")


def test_tables_need_no_tensorflow_and_raise_no_deprecation_warning(graph_xplane: Path) -> None:
    code = (
        "import sys, pathlib; from gnet_core.profile import reading as profile;"
        "told = profile.tables(pathlib.Path(sys.argv[1]), on_gpu=False);"
        "print(len(told['operations']) > 1, len(told['step_seconds']), 'tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-W", "error::DeprecationWarning", "-c", code, str(graph_xplane)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"True {STEPS} False\n", "")


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("read", [operation_times, step_seconds])
def test_a_file_that_is_no_trace_is_refused_by_name(
    read: Callable[[Path], Any], graph_xplane: Path, tmp_path: Path
) -> None:
    with pytest.raises(GnetError, match=r"^xplane: .*gone\.xplane\.pb: there is no such file"):
        read(tmp_path / "gone.xplane.pb")
    with pytest.raises(GnetError, match=r"^xplane: .*: it cannot be read \(is no regular file\)"):
        read(tmp_path)
    with pytest.raises(GnetError, match=r"^xplane: .*text\.xplane\.pb' is no trace"):
        read(_write(tmp_path / "text.xplane.pb", b"this is not a trace\n" * 50))
    whole = graph_xplane.read_bytes()
    with pytest.raises(GnetError, match=r"^xplane: .*cut\.xplane\.pb' is no trace"):
        read(_write(tmp_path / "cut.xplane.pb", whole[: len(whole) // 2]))


def test_a_trace_without_events_gives_no_empty_table(tmp_path: Path) -> None:
    empty = gpu_trace(tmp_path / "empty.xplane.pb", [], steps=0)
    with pytest.raises(NoAnswerError, match="the trace holds no operations"):
        operation_times(empty)
    with pytest.raises(NoAnswerError, match="xprof recognised no step"):
        step_seconds(empty)


def _event(long_name: str, ts: float, dur: float, tid: int = 1) -> dict[str, Any]:
    return {"name": long_name.rpartition(":")[2], "args": {"long_name": long_name}, "ts": ts, "dur": dur, "tid": tid}


class Told:
    """A trace of which xprof told these events."""

    xplane = Path("told.xplane.pb")

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events = events

    def tool(self, name: str) -> Any:
        assert name == "framework_op_stats"
        return [{}, {}]

    def events(self) -> list[dict[str, Any]]:
        return self._events


def test_self_time_leaves_out_what_ran_inside_on_the_same_thread() -> None:
    events = [
        _event("child:Mul", 1, 4),
        _event("loop:While", 0, 10),
        _event("grandchild:Add", 2, 1),
        _event("second_child:Mul", 5.001, 2),  # starts where the first ends, within rounding
        _event("elsewhere:Mul", 1, 8, tid=2),
        _event("after:Mul", 10, 3),
    ]
    own_microseconds, parents = nested(events)
    assert own_microseconds == pytest.approx([3, 4, 1, 2, 8, 3])
    assert parents == [1, None, 0, 1, None, None]


def test_every_operation_of_a_cpu_is_kept_and_memory_events_are_not_counted() -> None:
    events: list[dict[str, Any]] = [_event(f"block/{number}:Mul", 10 * number, 5) for number in range(600)]
    events += [_event("block/0:Mul", 10_000, 5), {"name": "process_name", "args": {}, "ts": 0, "dur": 0, "tid": 1}]
    events.append({"name": "MemoryAllocation", "args": {"tf_op": "block/0"}, "ts": 1, "dur": 0, "tid": 1})
    trace: Any = Told(events)
    table = operations.operation_times(trace, on_gpu=False).table
    assert len(table) == 600
    assert table.set_index("name").loc["block/0", "occurrences"] == 2
    assert table["occurrences"].sum() == 601
    assert table["self_seconds"].sum() == pytest.approx(601 * 5e-6)


def test_a_trace_beyond_what_xprof_keeps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_EVENTS", 2)
    trace: Any = Told([_event("a:Mul", 0, 1), _event("b:Mul", 1, 1)])
    with pytest.raises(GnetError, match=r"trace fewer steps"):
        operations.operation_times(trace, on_gpu=False)


@pytest.fixture
def gpu_operations(tmp_path: Path) -> Callable[..., OperationTimes]:
    """What real xprof tells of the operations of a made-up step on a GPU."""

    def times_of(*launches: Launch, **how: Any) -> OperationTimes:
        with xprof.open_trace(gpu_trace(tmp_path / "gpu.xplane.pb", launches, **how)) as trace:
            return operations.operation_times(trace, on_gpu=True)

    return times_of


STEM = "googlenet_2_1/stem_7x7_1/convolution/Conv2D:Conv2D"


def test_a_gpus_operations_are_those_of_its_kernels(gpu_operations: Callable[..., OperationTimes]) -> None:
    times = gpu_operations(Launch("xmma", 400, STEM), Launch("mul", 100, "adam/mul:Mul"), Launch("nobody's", 50))
    assert times.table[["name", "operation", "occurrences"]].to_dict("records") == [
        {"name": STEM.partition(":")[0], "operation": "Conv2D", "occurrences": 3},
        {"name": "adam/mul", "operation": "Mul", "occurrences": 3},
    ]
    assert times.table["self_seconds"].tolist() == pytest.approx([1200e-6, 300e-6])
    assert times.counting == "kernels"
    assert (times.unplaced, times.cut, times.launched_seconds) == ("", False, 0.0)
    parts = operations.by_part(times)
    assert list(parts["part"]) == ["stem", "optimizer"]


@pytest.fixture(scope="module")
def compiled() -> tuple[bytes, list[str]]:
    """A small module of XLA's, serialised, and the names of its instructions that came from an operation."""
    import tensorflow as tf
    from tensorflow.compiler.xla.service import hlo_pb2

    def step(x: Any) -> Any:
        with tf.name_scope("googlenet_2_1/stem_7x7_1"):
            x = tf.linalg.matmul(x, x)
        with tf.name_scope("adam"):
            return tf.math.tanh(x)

    jitted = tf.function(step, jit_compile=True)
    module = jitted.experimental_get_compiler_ir(tf.ones((4, 4)))(stage="optimized_hlo_serialized")
    computations = hlo_pb2.HloModuleProto.FromString(module).computations
    return module, [each.name for one in computations for each in one.instructions if each.metadata.op_type][-2:]


def test_an_xla_step_on_a_gpu_is_told_by_the_names_of_tensorflows_operations(
    gpu_operations: Callable[..., OperationTimes], compiled: tuple[bytes, list[str]]
) -> None:
    module, instructions = compiled
    launches = [Launch(name, 100 * (2 - number), instruction=name) for number, name in enumerate(instructions)]
    times = gpu_operations(*launches, module=module)
    assert times.table[["name", "operation", "occurrences"]].to_dict("records") == [
        {"name": "googlenet_2_1/stem_7x7_1/MatMul", "operation": "MatMul", "occurrences": 3},
        {"name": "adam/Tanh", "operation": "Tanh", "occurrences": 3},
    ]
    assert list(operations.by_part(times)["part"]) == ["stem", "optimizer"]


def test_an_xla_step_whose_module_is_missing_has_kernels_without_operations(
    gpu_operations: Callable[..., OperationTimes], tmp_path: Path
) -> None:
    with pytest.raises(NoAnswerError, match="no operation that ran on the GPU"):
        gpu_operations(Launch("fusion_1", 100, instruction="fusion.1"))
    with xprof.open_trace(tmp_path / "gpu.xplane.pb") as trace:
        kernels = gpu_tables.kernels(trace.tool("kernel_stats"))
    assert kernels.unnamed_seconds == pytest.approx(3 * 100e-6)


def test_xprof_cuts_a_gpus_table_and_that_is_noticed(
    gpu_operations: Callable[..., OperationTimes], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [Launch("mul", 10, f"stem_7x7/mul_{number}:Mul") for number in range(600)]
    assert len(gpu_operations(*many, steps=1).table) == 600
    monkeypatch.setattr(operations, "MAX_EVENTS", 100)
    cut = gpu_operations(*many, steps=1)
    assert len(cut.table) == operations.MAX_DEVICE_OPERATIONS
    assert cut.cut
    assert not gpu_operations(*many[:498], steps=1).cut


def test_a_kernel_without_an_operation_belongs_to_the_eager_one_that_launched_it(
    gpu_operations: Callable[..., OperationTimes],
) -> None:
    launches = (
        Launch("xmma", 400, eager="Conv2D"),
        Launch("pad", 50, eager="Conv2D"),
        Launch("mul", 100, eager="Mul"),
        Launch("nobody's", 70),
        Launch("MemcpyD2H", 10, "edge_7_loss:_Recv"),
    )
    times = gpu_operations(*launches)
    assert times.table[["name", "operation", "occurrences"]].to_dict("records") == [
        {"name": "Conv2D", "operation": "Conv2D", "occurrences": 6},
        {"name": "Mul", "operation": "Mul", "occurrences": 3},
        {"name": "edge_7_loss", "operation": "_Recv", "occurrences": 3},
    ]
    assert times.table["self_seconds"].tolist() == pytest.approx([1350e-6, 300e-6, 30e-6])
    assert times.launched_seconds == pytest.approx(1650e-6)
    assert times.unplaced == operations.NO_NAMES
    assert times.counting == "launched kernels"


def test_operations_that_ran_eagerly_on_a_gpu_have_no_part(gpu_operations: Callable[..., OperationTimes]) -> None:
    times = gpu_operations(Launch("xmma", 400, "Conv2D:Conv2D"), Launch("mul", 100, "Mul:Mul"))
    assert set(times.table["operation"]) == {"Conv2D", "Mul"}
    assert times.unplaced == operations.NO_NAMES
    assert operations.by_part(times).empty


def test_names_that_are_none_of_the_networks_are_not_one_part(gpu_operations: Callable[..., OperationTimes]) -> None:
    times = gpu_operations(Launch("xmma", 400, "jit(step)/dot:Dot"), Launch("mul", 100, "jit(step)/mul:Mul"))
    assert times.unplaced == operations.NO_PARTS
    assert operations.by_part(times).empty


def test_a_gpus_trace_without_its_operations_never_shows_the_hosts(
    gpu_operations: Callable[..., OperationTimes], graph_xplane: Path
) -> None:
    with pytest.raises(NoAnswerError, match="no operation that ran on the GPU"):
        gpu_operations(Launch("xmma", 400))
    with (
        xprof.open_trace(graph_xplane) as trace,
        pytest.raises(NoAnswerError, match="no operation that ran on the GPU"),
    ):
        operations.operation_times(trace, on_gpu=True)
