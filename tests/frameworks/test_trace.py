"""Real traces of a tiny convolution, and what capture refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from gnet_core.config import GnetError, StepConfig
from gnet_core.frameworks.tf import command_buffers, trace
from gnet_core.frameworks.tf.step import Step, StepResult
from tests.traces import Launch, gpu_trace

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = tf.random.stateless_uniform((2, 8, 8, 3), seed=(0, 0))
LABELS = tf.constant([0, 1], tf.uint16)
KERNEL = tf.ones((3, 3, 3, 4))


def convolve(images: Any, labels: Any) -> StepResult:
    mean = tf.reduce_mean(tf.nn.conv2d(images, KERNEL, strides=1, padding="SAME"))
    return StepResult(mean, mean, tf.cast(labels[0], tf.float32))


def make_step(body: Any = convolve, execution: Any = "graph") -> Step:
    return Step(body, StepConfig(execution=execution), metrics=[])


@pytest.fixture
def warm_step() -> Step:
    step = make_step()
    step(IMAGES, LABELS)
    return step


def test_a_trace_lies_where_tensorboard_lists_it(warm_step: Step, tmp_path: Path) -> None:
    summary = trace.capture(warm_step, IMAGES, LABELS, tmp_path / "new" / "logs", steps=1)
    assert summary.xplane.stat().st_size > 0
    plugins, profile, run, host = summary.xplane.relative_to(tmp_path / "new" / "logs").parts
    assert (plugins, profile) == ("plugins", "profile")
    assert run
    assert host.endswith(".xplane.pb")


def test_a_trace_holds_its_steps_marked_by_number_and_the_convolution_inside_them(
    warm_step: Step, tmp_path: Path
) -> None:
    summary = trace.capture(warm_step, IMAGES, LABELS, tmp_path, steps=4)
    space = xplane_pb2.XSpace.FromString(summary.xplane.read_bytes())
    (host,) = [plane for plane in space.planes if plane.name == "/host:CPU"]
    names = [host.event_metadata[event.metadata_id].name for line in host.lines for event in line.events]
    assert names.count("train") == 4
    assert sum(name.startswith("Conv2D:") for name in names) == 4
    marks = [e for line in host.lines for e in line.events if host.event_metadata[e.metadata_id].name == "train"]
    numbers = [s.int64_value for e in marks for s in e.stats if host.stat_metadata[s.metadata_id].name == "step_num"]
    assert sorted(numbers) == [0, 1, 2, 3]


def test_every_step_is_timed_with_the_profiler_and_without_it(warm_step: Step, tmp_path: Path) -> None:
    calls = warm_step.calls
    summary = trace.capture(warm_step, IMAGES, LABELS, tmp_path, steps=3)
    assert warm_step.calls == calls + 6
    assert len(summary.traced_step_seconds) == len(summary.untraced_step_seconds) == 3
    assert min(summary.traced_step_seconds + summary.untraced_step_seconds) > 0
    assert summary.warnings == ()


def test_overhead_is_the_difference_of_the_medians(tmp_path: Path) -> None:
    summary = trace.TraceSummary(
        xplane=tmp_path, traced_step_seconds=(0.5, 0.375, 9.0), untraced_step_seconds=(0.25, 0.125, 7.0)
    )
    assert summary.overhead_seconds == 0.25


def test_the_newest_of_several_traces_is_the_one_returned(warm_step: Step, tmp_path: Path) -> None:
    older = tmp_path / "plugins" / "profile" / "9999_12_31_23_59_59" / "host.xplane.pb"
    older.parent.mkdir(parents=True)
    older.touch()
    assert trace.capture(warm_step, IMAGES, LABELS, tmp_path, steps=1).xplane != older


@pytest.mark.parametrize("steps", [0, -1, 11, 2.0, True, "3"])
def test_a_number_of_steps_outside_1_to_10_is_refused_before_anything_runs(
    warm_step: Step, tmp_path: Path, steps: Any
) -> None:
    calls = warm_step.calls
    with pytest.raises(GnetError, match=r"^steps: "):
        trace.capture(warm_step, IMAGES, LABELS, tmp_path, steps)
    assert warm_step.calls == calls
    assert list(tmp_path.iterdir()) == []


def test_a_log_dir_that_is_a_file_is_refused(warm_step: Step, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GnetError, match=r"^log_dir: .*file' cannot be a folder"):
        trace.capture(warm_step, IMAGES, LABELS, tmp_path / "file", steps=1)


def test_a_step_that_fails_leaves_no_trace_and_the_profiler_ready(warm_step: Step, tmp_path: Path) -> None:
    calls = 0

    def fails_at_its_third_call(images: Any, labels: Any) -> StepResult:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("out of luck")
        return convolve(images, labels)

    failing = make_step(fails_at_its_third_call, execution="eager")
    with pytest.raises(RuntimeError, match="out of luck"):
        trace.capture(failing, IMAGES, LABELS, tmp_path, steps=2)
    assert list(tmp_path.rglob("*.xplane.pb")) == []
    assert trace.capture(warm_step, IMAGES, LABELS, tmp_path, steps=1).xplane.is_file()


def test_a_profiler_that_cannot_start_is_reported_in_one_line(warm_step: Step, tmp_path: Path) -> None:
    tf.profiler.experimental.start(str(tmp_path / "other"))
    try:
        with pytest.raises(GnetError, match=r"^profiler: did not start \(.+\)") as raised:
            trace.capture(warm_step, IMAGES, LABELS, tmp_path, steps=1)
    finally:
        tf.profiler.experimental.stop(save=False)
    assert "\n" not in str(raised.value)


def test_a_step_that_was_not_warmed_up_brings_a_warning(tmp_path: Path) -> None:
    summary = trace.capture(make_step(), IMAGES, LABELS, tmp_path, steps=1)
    assert len(summary.warnings) == 1
    assert "not warmed up" in summary.warnings[0]


def test_a_trace_without_the_gpu_is_kept_with_a_warning(
    warm_step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [f"a {kind}"])
    summary = trace.capture(warm_step, IMAGES, LABELS, tmp_path, steps=1)
    assert summary.xplane.is_file()
    assert len(summary.warnings) == 1
    assert "CUPTI" in summary.warnings[0]


def test_a_gpu_of_which_nothing_was_recorded_is_no_trace_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [f"a {kind}"])
    busy = gpu_trace(tmp_path / "busy.xplane.pb", [Launch("xmma", 1)])
    assert trace._missing_from(busy) == []
    (warning,) = trace._missing_from(gpu_trace(tmp_path / "idle.xplane.pb", []))
    assert "CUPTI" in warning


def test_what_the_profiler_itself_reports_becomes_a_warning(
    warm_step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = tf.profiler.experimental.stop

    def stop_with_an_error() -> None:
        stop()
        (xplane,) = tmp_path.rglob("*.xplane.pb")
        reported = xplane_pb2.XSpace(errors=["CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"])
        xplane.write_bytes(xplane.read_bytes() + reported.SerializeToString())

    monkeypatch.setattr(tf.profiler.experimental, "stop", stop_with_an_error)
    summary = trace.capture(warm_step, IMAGES, LABELS, tmp_path, steps=1)
    assert summary.warnings == ("the profiler reports: CUPTI_ERROR_INSUFFICIENT_PRIVILEGES",)


def test_a_profiler_that_writes_nothing_is_reported(
    warm_step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = tf.profiler.experimental.stop
    monkeypatch.setattr(tf.profiler.experimental, "stop", lambda: stop(save=False))
    with pytest.raises(GnetError, match=r"^profiler: left no trace in "):
        trace.capture(warm_step, IMAGES, LABELS, tmp_path, steps=1)


FLAGS = """
import os, sys
from gnet_core.frameworks.tf import command_buffers
command_buffers.switch_off(os.environ)
os.environ["XLA_FLAGS"] += sys.argv[1]
import tensorflow as tf
print(float(tf.function(lambda x: 2 * x, jit_compile=True)(tf.constant(1.0))), os.environ["XLA_FLAGS"])
"""


@pytest.mark.parametrize(("further", "ends"), [("", False), (" --xla_gpu_enable_command_bufer=", True)])
def test_the_installed_tensorflow_knows_the_flag_and_ends_at_one_it_does_not_know(further: str, ends: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", FLAGS, further]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == ends
    assert ("Unknown flag in XLA_FLAGS" in done.stderr) == ends
    assert done.stdout == ("" if ends else f"2.0 {command_buffers.FLAG}\n")


def test_flags_that_are_there_already_stay_in_force() -> None:
    environ = {"XLA_FLAGS": "--xla_gpu_autotune_level=2"}
    assert not command_buffers.are_off(environ)
    command_buffers.switch_off(environ)
    assert environ["XLA_FLAGS"] == f"--xla_gpu_autotune_level=2 {command_buffers.FLAG}"
    assert command_buffers.are_off(environ)
    assert not command_buffers.are_off({"XLA_FLAGS": f"{command_buffers.FLAG}FUSION"})
    assert not command_buffers.are_off({})


def test_the_batch_of_a_data_set_that_is_traced_lies_on_the_device() -> None:
    placed = """
import tensorflow as tf
from pathlib import Path
from gnet_core.frameworks.tf import device; from gnet_core.frameworks.tf import trace
from gnet_core.config import StepConfig
cpu, two = tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
device.prepare = lambda _config: "/CPU:1"
trace.build_model = trace.make_train_step = lambda *_: lambda *_: None
trace.capture = lambda _step, images, labels, *_: print(images.device, labels.device)
trace.trace_case(StepConfig(data="digits", classes=10, batch_size=2, image_size=67), Path(), 1)
"""
    answer = subprocess.run([sys.executable, "-c", placed], capture_output=True, text=True, check=True)
    assert answer.stdout.count("CPU:1") == 2


@pytest.mark.parametrize(
    ("device", "off", "warned"), [("gpu:0", True, True), ("gpu:0", False, False), ("cpu", True, False)]
)
def test_a_trace_on_a_gpu_says_that_command_buffers_were_off(
    device: str, off: bool, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnet_core.frameworks.tf.device.prepare", lambda _config: "/CPU:0")
    monkeypatch.setattr(trace, "build_model", lambda _config: None)
    monkeypatch.setattr(trace, "make_train_step", lambda _model, _config: make_step())
    monkeypatch.setenv("XLA_FLAGS", command_buffers.FLAG if off else "")
    config = StepConfig(execution="xla", batch_size=2, image_size=67, device=device)
    summary = trace.trace_case(config, tmp_path, steps=1)
    assert (command_buffers.NOTE in summary.warnings) == warned
