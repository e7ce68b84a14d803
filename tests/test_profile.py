"""Real traces of a tiny train step through real xprof, and the pure parts on events with known times."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gnet_core import profile
from gnet_core.config import GnetError

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 3
CONVOLUTIONS = 2


@pytest.fixture(scope="module", params=["graph", "eager"])
def xplane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trace_tiny_network(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def graph_xplane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trace_tiny_network("graph", tmp_path_factory.mktemp("only_graph"))


def _trace_tiny_network(execution: Any, log_dir: Path) -> Path:
    """A real train step with two convolutions, a batch normalisation and three outputs."""
    import keras
    import tensorflow as tf

    from gnet_core.config import StepConfig
    from gnet_core.step import make_train_step
    from gnet_core.trace import capture

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(x))
    model: Any = keras.Model(inputs, [keras.layers.Dense(5)(x) for _ in range(3)])
    step = make_train_step(model, StepConfig(execution=execution))
    images, labels = tf.random.stateless_uniform((4, 8, 8, 3), seed=(0, 0)), tf.constant([0, 1, 2, 3], tf.uint16)
    step(images, labels)
    return capture(step, images, labels, log_dir, STEPS).xplane


def _occurrences(table: pd.DataFrame, part: str) -> int:
    """By part of the type: oneDNN renames what it takes over, so that Conv2D may be _MklNativeFusedConv2D."""
    return int(table.loc[table["operation"].str.contains(part), "occurrences"].sum())


def test_a_convolution_is_counted_once_a_step(xplane: Path) -> None:
    table = profile.operation_table(xplane)
    assert _occurrences(table, r"Conv2D$") == STEPS * CONVOLUTIONS
    assert _occurrences(table, r"Conv2DBackpropFilter") == STEPS * CONVOLUTIONS


def test_a_graph_drops_the_gradient_of_the_images_that_nobody_reads(graph_xplane: Path) -> None:
    table = profile.operation_table(graph_xplane)
    assert _occurrences(table, r"Conv2DBackpropInput") == STEPS * (CONVOLUTIONS - 1)


def test_shares_sum_to_one_longest_first_and_follow_self_time(xplane: Path) -> None:
    table = profile.operation_table(xplane)
    assert list(table.columns) == ["operation", "occurrences", "self_seconds", "share"]
    assert table["share"].sum() == pytest.approx(1)
    assert table["share"].is_monotonic_decreasing
    assert table["operation"].is_unique
    assert (table["self_seconds"] / table["self_seconds"].sum()).tolist() == pytest.approx(table["share"].tolist())


def test_single_operations_add_up_to_their_types(xplane: Path) -> None:
    singles = profile.single_operation_table(xplane)
    table = profile.operation_table(xplane)
    assert list(singles.columns) == ["name", "operation", "occurrences", "self_seconds", "share"]
    assert singles["occurrences"].sum() == table["occurrences"].sum()
    assert singles["self_seconds"].sum() == pytest.approx(table["self_seconds"].sum())
    assert set(singles["operation"]) == set(table["operation"])


def test_self_times_agree_with_those_of_xprof_where_it_lists_every_operation(graph_xplane: Path) -> None:
    rows = profile._rows(profile._convert(graph_xplane, "framework_op_stats")[1])
    assert 100 < len(rows) < profile.MOST_DEVICE_OPERATIONS
    theirs = {(row["operation"], row["type"]): row["total_self_time"] / 1e6 for row in rows}
    singles = profile.single_operation_table(graph_xplane)
    ours = {(row.name, row.operation): row.self_seconds for row in singles.itertuples(index=False)}
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-8)


def test_every_requested_step_is_recognised(xplane: Path) -> None:
    seconds = profile.step_seconds(xplane)
    assert len(seconds) == STEPS
    assert min(seconds) > 0
    assert max(seconds) < 60  # seconds, not milliseconds or microseconds


def test_a_cpu_trace_says_what_its_times_are(graph_xplane: Path) -> None:
    assert "CPU" in profile.operation_table(graph_xplane).attrs["note"]


def test_an_xla_step_on_a_cpu_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    import tensorflow as tf

    from gnet_core.config import StepConfig
    from gnet_core.step import StepResult, TrainStep
    from gnet_core.trace import capture

    def multiply(images: Any, labels: Any) -> StepResult:
        mean = tf.reduce_mean(images @ images)
        return StepResult(mean, mean, tf.cast(labels[0], tf.float32))

    step = TrainStep(multiply, StepConfig(execution="xla"), metrics=[], optimizer=None)
    images, labels = tf.ones((16, 16)), tf.zeros((2,), tf.uint16)
    step(images, labels)
    xplane = capture(step, images, labels, tmp_path, steps=10).xplane
    with pytest.raises(GnetError, match=r"XLA step on a CPU.*trace with execution graph or eager"):
        profile.operation_table(xplane)
    assert len(profile.step_seconds(xplane)) == 10 - 2  # of a longer trace xprof leaves out the first and the last


def test_nothing_is_left_behind_by_a_conversion(
    graph_xplane: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    profile.operation_table(graph_xplane)
    profile.step_seconds(graph_xplane)
    assert list(graph_xplane.parent.iterdir()) == [graph_xplane]
    assert list(tmp_path.iterdir()) == []


def test_a_conversion_prints_nothing_and_gives_stderr_back(
    graph_xplane: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    profile.operation_table(graph_xplane)
    os.write(2, b"after a table. ")
    with pytest.raises(GnetError):
        profile.operation_table(_write(graph_xplane.parent.parent / "bad.xplane.pb", b"no trace"))
    os.write(2, b"after a failure.")
    assert capfd.readouterr() == ("", "after a table. after a failure.")


def test_tables_need_no_tensorflow_and_raise_no_deprecation_warning(graph_xplane: Path) -> None:
    code = (
        "import sys, pathlib; from gnet_core import profile; path = pathlib.Path(sys.argv[1]);"
        "print(len(profile.operation_table(path)) > 1, len(profile.step_seconds(path)), 'tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-W", "error::DeprecationWarning", "-c", code, str(graph_xplane)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"True {STEPS} False\n", "")


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("read", [profile.operation_table, profile.single_operation_table, profile.step_seconds])
def test_a_file_that_is_no_trace_is_refused_by_name(read: Any, graph_xplane: Path, tmp_path: Path) -> None:
    with pytest.raises(GnetError, match=r"^xplane: .*gone\.xplane\.pb' is no file"):
        read(tmp_path / "gone.xplane.pb")
    with pytest.raises(GnetError, match=r"^xplane: '.*' is no file"):
        read(tmp_path)
    with pytest.raises(GnetError, match=r"^xplane: .*text\.xplane\.pb' is no trace"):
        read(_write(tmp_path / "text.xplane.pb", b"this is not a trace\n" * 50))
    whole = graph_xplane.read_bytes()
    with pytest.raises(GnetError, match=r"^xplane: .*cut\.xplane\.pb' is no trace"):
        read(_write(tmp_path / "cut.xplane.pb", whole[: len(whole) // 2]))


def test_an_empty_trace_gives_no_empty_table(tmp_path: Path) -> None:
    empty = _write(tmp_path / "empty.xplane.pb", b"")
    with pytest.raises(GnetError, match=r"empty\.xplane\.pb' holds no operations"):
        profile.operation_table(empty)
    assert profile.step_seconds(empty) == []


def _event(long_name: str, ts: float, dur: float, tid: int = 1) -> dict[str, Any]:
    return {"name": long_name.rpartition(":")[2], "args": {"long_name": long_name}, "ts": ts, "dur": dur, "tid": tid}


def test_self_time_leaves_out_what_ran_inside_on_the_same_thread() -> None:
    events = [
        _event("child:Mul", 1, 4),
        _event("loop:While", 0, 10),
        _event("grandchild:Add", 2, 1),
        _event("second_child:Mul", 5.001, 2),  # starts where the first ends, within rounding
        _event("elsewhere:Mul", 1, 8, tid=2),
        _event("after:Mul", 10, 3),
    ]
    assert profile._self_seconds(events) == pytest.approx([3e-6, 4e-6, 1e-6, 2e-6, 8e-6, 3e-6])


def test_every_operation_of_a_cpu_is_kept_and_memory_events_are_not_counted(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [_event(f"block/{number}:Mul", 10 * number, 5) for number in range(600)]
    events += [_event("block/0:Mul", 10_000, 5), {"name": "process_name", "ph": "M"}, {}]
    events.append({"name": "MemoryAllocation", "args": {"tf_op": "block/0"}, "ts": 1, "dur": 0, "tid": 1})
    table, _ = profile._host_operations(tmp_path, events)
    assert len(table) == 600
    assert table.set_index("name").loc["block/0", "occurrences"] == 2
    assert table["occurrences"].sum() == 601
    assert table["self_seconds"].sum() == pytest.approx(601 * 5e-6)


def test_a_trace_beyond_what_xprof_keeps_is_refused(graph_xplane: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "MOST_EVENTS", 100)
    with pytest.raises(GnetError, match=r"trace fewer steps"):
        profile.operation_table(graph_xplane)


def _statistics_row(where: str, name: str, self_microseconds: float) -> dict[str, Any]:
    return {
        "host_or_device": where,
        "type": "Conv2D",
        "operation": name,
        "occurrences": 3.0,
        "total_self_time": self_microseconds,
    }


def test_a_gpus_operations_stand_alone_without_those_of_its_host() -> None:
    table, note = profile._device_operations([_statistics_row("Host", "a", 9e6), _statistics_row("Device", "b", 2e6)])
    assert table.to_dict("records") == [{"name": "b", "operation": "Conv2D", "occurrences": 3, "self_seconds": 2.0}]
    assert "leaves the rest out" not in note


def test_a_gpus_table_says_that_xprof_cut_it() -> None:
    rows = [_statistics_row("Device", str(number), 1.0) for number in range(profile.MOST_DEVICE_OPERATIONS)]
    assert "longest 499 operations and leaves the rest out" in profile._device_operations(rows)[1]


TABLE = pd.DataFrame(
    {
        "operation": ["Conv2D", "Mul", "Sub", "Cast"],
        "occurrences": [6, 120, 3, 1],
        "self_seconds": [0.5, 0.3, 0.15, 0.05],
        "share": [0.5, 0.3, 0.15, 0.05],
    }
)


def test_a_cut_table_ends_with_what_was_cut() -> None:
    assert profile.operation_markdown(TABLE, most=2).splitlines() == [
        "| operation            |   count |   self time (ms) |   share |",
        "|:---------------------|--------:|-----------------:|--------:|",
        "| Conv2D               |       6 |           500.00 |   50.0% |",
        "| Mul                  |     120 |           300.00 |   30.0% |",
        "| other (2 operations) |       4 |           200.00 |   20.0% |",
    ]


def test_one_cut_operation_is_named_in_the_singular() -> None:
    assert profile.operation_markdown(TABLE, most=3).splitlines()[-1].startswith("| other (1 operation) ")


@pytest.mark.parametrize("most", [4, 12])
def test_a_table_that_fits_has_no_last_row_for_others(most: int) -> None:
    lines = profile.operation_markdown(TABLE, most).splitlines()
    assert len(lines) == 2 + len(TABLE)
    assert lines[-1].startswith("| Cast ")


@pytest.mark.parametrize("most", [0, -1, 1.5])
def test_fewer_rows_than_one_are_refused(most: Any) -> None:
    with pytest.raises(GnetError, match=r"^most: "):
        profile.operation_markdown(TABLE, most)
