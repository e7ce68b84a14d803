"""A few train steps under TensorFlow's profiler, written where TensorBoard's Profile page looks for them."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from gnet_core.config import GnetError, StepConfig, require_steps
from gnet_core.frameworks.tf import command_buffers, device
from gnet_core.frameworks.tf.input_pipeline import endless_batches
from gnet_core.frameworks.tf.model import build_model
from gnet_core.frameworks.tf.step import Step, make_train_step
from gnet_core.networks.builder import Tensor

_WARMUP_STEPS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class TraceSummary:
    """Where a trace lies and what taking it cost. The steps under the profiler are no measurement of the step."""

    xplane: Path
    """The trace, log_dir/plugins/profile/<run>/<host>.xplane.pb."""
    traced_step_seconds: tuple[float, ...]
    untraced_step_seconds: tuple[float, ...]
    """Seconds of as many steps right before, without the profiler."""
    warnings: tuple[str, ...] = ()
    """Sentences on what the trace lacks, and how its steps differ from those that are measured."""

    @property
    def overhead_seconds(self) -> float:
        """Seconds that the profiler adds to a step: median with it less median without. Noise can make it negative."""
        return statistics.median(self.traced_step_seconds) - statistics.median(self.untraced_step_seconds)

    def to_dict(self, directory: Path) -> dict[str, Any]:
        """Plain data for JSON, with the path of the trace relative to `directory`."""
        trace = str(self.xplane.relative_to(directory))
        return dataclasses.asdict(self) | {"xplane": trace, "overhead_seconds": self.overhead_seconds}


def trace_case(config: StepConfig, log_dir: Path, steps: int) -> TraceSummary:
    """Build the case's step on its device, warm it up and capture `steps` of it. Raises what capture raises."""
    require_steps(steps)
    if config.feed != "ready":
        raise GnetError(f"feed: {config.feed!r} cannot be traced; a trace is of steps on a batch that is ready")
    tensorflow_device = device.prepare(config)
    batch = next(endless_batches(config, tensorflow_device))
    with tf.device(tensorflow_device):  # tf.data leaves its batches with the host
        images, labels = map(tf.identity, batch)
    step = make_train_step(build_model(config), config)
    for _ in range(_WARMUP_STEPS):
        step(images, labels)
    summary = capture(step, images, labels, log_dir, steps)
    if config.device != "cpu" and command_buffers.are_off(os.environ):
        return dataclasses.replace(summary, warnings=(*summary.warnings, command_buffers.NOTE))
    return summary


def capture(step: Step, images: Tensor, labels: Tensor, log_dir: Path, steps: int) -> TraceSummary:
    """Run a warmed-up train step `steps` times without and `steps` times under the profiler, on one batch.

    The weights move on by 2 · `steps` steps. The batch is already on the device. Raises GnetError for steps outside 1
    to 10, for a log_dir that cannot be a folder, and where the profiler does not start or leaves no trace.
    """
    require_steps(steps)
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GnetError(f"log_dir: '{log_dir}' cannot be a folder ({error.strerror}); name one to write to") from error

    traces_of_function = step.trace_count
    untraced = [_timed_step(step, images, labels, nullcontext) for _ in range(steps)]
    with profiler(log_dir):
        marks = [partial(tf.profiler.experimental.Trace, "train", step_num=number, _r=1) for number in range(steps)]
        traced = [_timed_step(step, images, labels, mark) for mark in marks]
    xplane = newest_trace(log_dir)
    warnings = _missing_from(xplane)
    if step.trace_count != traces_of_function:
        warnings.append("the step was not warmed up for this batch: tf.function traced it anew while it was timed")
    samples = {"traced_step_seconds": tuple(traced), "untraced_step_seconds": tuple(untraced)}
    return TraceSummary(xplane=xplane, warnings=tuple(warnings), **samples)


def _timed_step(step: Step, images: Tensor, labels: Tensor, mark: Callable[[], AbstractContextManager[Any]]) -> float:
    """Seconds of a step inside of what `mark` makes: a profiler's Trace starts when it is made, not when entered."""
    device.synchronise()
    start = time.perf_counter()
    with mark():
        step(images, labels)
        device.synchronise()
    return time.perf_counter() - start


@contextmanager
def profiler(log_dir: Path, options: Any = None) -> Iterator[None]:
    """Record the block in a trace for `newest_trace`. Raises GnetError where the profiler fails to start or to save."""
    device.synchronise()
    try:
        tf.profiler.experimental.start(str(log_dir), options)
    except tf.errors.OpError as error:
        raise GnetError(f"profiler: did not start ({_first_line(error)}); end other traces, or do without") from error
    try:
        yield
        device.synchronise()
    except BaseException:
        tf.profiler.experimental.stop(save=False)  # or no later trace could start
        raise
    try:
        tf.profiler.experimental.stop()
    except tf.errors.OpError as error:
        raise GnetError(f"profiler: left no trace in '{log_dir}' ({_first_line(error)}); is it writable?") from error


def newest_trace(log_dir: Path) -> Path:
    """The trace (.xplane.pb) that was written last below a directory. Raises GnetError where there is none."""
    traces = list(log_dir.glob("plugins/profile/*/*.xplane.pb"))
    if not traces:
        raise GnetError(f"profiler: left no trace in '{log_dir}'; see if it is writable and has room")
    return max(traces, key=lambda path: path.stat().st_mtime_ns)


def _missing_from(xplane: Path) -> list[str]:
    """Errors that the profiler reports, and a GPU of which there is no trace."""
    space = xplane_pb2.XSpace.FromString(xplane.read_bytes())
    missing = [f"the profiler reports: {text}" for text in (*space.errors, *space.warnings)]
    gpus = [plane for plane in space.planes if plane.name.startswith("/device:GPU")]
    has_gpu_side = any(line.events for plane in gpus for line in plane.lines)
    if tf.config.get_visible_devices("GPU") and not has_gpu_side:
        missing.append(
            "the trace holds nothing of the GPU, only of the host: the profiler needs CUPTI and the right to use it "
            "(NVIDIA's driver may reserve it for the administrator: ERR_NVGPUCTRPERM)"
        )
    return missing


def _first_line(error: tf.errors.OpError) -> str:
    return str(error.message).partition("\n")[0]
