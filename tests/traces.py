"""Real traces for the tests, and profile documents as they are written."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gnet_core.config import StepConfig


def trace_tiny_network(execution: Any, log_dir: Path, steps: int) -> Path:
    """A real train step with two convolutions, a batch normalisation and three outputs.

    Three images: of four 16-bit labels XLA makes a load that its compiler dies of ("LLVM ERROR: Cannot select").
    """
    import keras
    import tensorflow as tf

    from gnet_core.frameworks.tf.step import make_train_step
    from gnet_core.frameworks.tf.trace import capture

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="stem_7x7")(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="inception_3a_1x1_bn")(x))
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, name="inception_3a_1x1")(x))
    model: Any = keras.Model(inputs, [keras.layers.Dense(5)(x) for _ in range(3)])
    step = make_train_step(model, StepConfig(execution=execution))
    images, labels = tf.random.stateless_uniform((3, 8, 8, 3), seed=(0, 0)), tf.constant([0, 1, 2], tf.uint16)
    step(images, labels)
    return capture(step, images, labels, log_dir, steps).xplane


def document(environment: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A profile.json of two steps on a CPU."""
    whole: dict[str, Any] = {
        "created": "2026-01-02T03:04:05+00:00",
        "device": "cpu",
        "config": StepConfig(batch_size=8).to_dict(),
        "environment": environment,
        "trace": {
            "xplane": "traces/plugins/profile/run/host.xplane.pb",
            "traced_step_seconds": [0.6, 0.6],
            "untraced_step_seconds": [0.5, 0.5],
            "overhead_seconds": 0.1,
            "warnings": [],
        },
        "step_seconds": [0.6, 0.6],
        "breakdown": [
            {"kind": "host compute", "seconds": 0.54, "share": 0.9},
            {"kind": "input", "seconds": 0.006, "share": 0.01},
        ],
        "operations": [
            {"operation": "_MklNativeFusedConv2D", "occurrences": 4, "self_seconds": 0.6, "share": 0.6},
            {"operation": "Mul", "occurrences": 100, "self_seconds": 0.4, "share": 0.4},
        ],
        "parts": [
            {"part": "stem", "direction": "forward", "occurrences": 50, "self_seconds": 0.3, "share": 0.3},
            {"part": "stem", "direction": "backward", "occurrences": 50, "self_seconds": 0.6, "share": 0.6},
            {"part": "optimizer", "direction": "neither", "occurrences": 4, "self_seconds": 0.1, "share": 0.1},
        ],
        "kernels": [],
        "peak_memory": None,
        "not_available": [{"what": "kernels", "why": "a CPU has none"}],
        "note": "Wall time inside each operation.",
    }
    return copy.deepcopy(whole | changes)


@dataclasses.dataclass(frozen=True)
class Launch:
    """A kernel of a step on a GPU, or a copy of memory, which has no kernel."""

    kernel: str
    microseconds: float
    operation: str = ""
    """name:Type, as TensorFlow annotates what it launches; nothing for what no operation launched."""
    instruction: str = ""
    """Of a module that XLA compiled, in place of an operation."""
    is_copy: bool = False
    eager: str = ""
    """The type of the eager operation in which the host launched it, of which the kernel tells nothing."""

    @property
    def annotation(self) -> dict[str, int | str]:
        """What CUPTI's events tell of who launched it."""
        if self.instruction:
            return {"tf_op": "XlaModule:", "hlo_op": self.instruction, "hlo_module": "step", "program_id": _PROGRAM}
        return {"tf_op": self.operation} if self.operation else {}


_PROGRAM = 5
"""The number of the module in a trace."""

_KERNEL_DETAILS = "regs:32 static_shared:0 dynamic_shared:0 grid:8,1,1 block:128,1,1 occ_pct:50"
_COPY_DETAILS = "kind_src:device kind_dst:device size:4 dest:0 async:1"


def gpu_trace(
    path: Path,
    launches: Sequence[Launch],
    *,
    steps: int = 3,
    gap: float = 10.0,
    marked: bool = True,
    module: bytes | None = None,
) -> Path:
    """A trace of whole steps on a GPU as TensorFlow's profiler would write it, and a second GPU that did nothing.

    Every step launches the same kernels one after the other; before each the device waits for `gap` microseconds, in
    which the host launches it. xprof recognises the steps only if they are `marked`, and XLA's instructions only if
    their `module` is there, a serialised HloModuleProto.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace(hostnames=["host"])
    host, gpu, _idle = (_Plane(space, name) for name in ("/host:CPU", "/device:GPU:0", "/device:GPU:1"))
    if module is not None:
        _Plane(space, "/host:metadata").keep_module(module)
    python, stream = host.line(1, "python"), gpu.line(7, "Stream #7(Kernel)")
    now, correlation = 0.0, 0
    for number in range(steps):
        length = sum(each.microseconds + gap for each in launches)
        if marked:
            host.event(python, "train", now, length, step_num=number, _r=1)
        for each in launches:
            correlation += 1
            if each.eager:
                host.event(python, f"EagerLocalExecute: {each.eager}", now, gap * 0.9)
            host.event(python, "cuLaunchKernel", now, gap * 0.8, correlation_id=correlation)
            told = each.annotation | {"correlation_id": correlation}
            told |= {"memcpy_details": _COPY_DETAILS} if each.is_copy else {"kernel_details": _KERNEL_DETAILS}
            gpu.event(stream, each.kernel, now + gap, each.microseconds, **told)
            now += gap + each.microseconds
        now += gap
    path.write_bytes(space.SerializeToString())
    return path


class _Plane:
    """A plane of an XSpace, in which names are numbers."""

    def __init__(self, space: Any, name: str) -> None:
        self._plane = space.planes.add(id=len(space.planes), name=name)
        self._numbers: dict[tuple[str, str], int] = {}

    def line(self, number: int, name: str) -> Any:
        return self._plane.lines.add(id=number, name=name, timestamp_ns=1)

    def event(self, line: Any, name: str, start: float, length: float, /, **stats: int | str) -> None:
        """Times are microseconds."""
        number = self._number("event", name)
        event = line.events.add(metadata_id=number, offset_ps=int(start * 1e6), duration_ps=int(length * 1e6))
        for stat, value in stats.items():
            kind = "str_value" if isinstance(value, str) else "int64_value"
            event.stats.add(metadata_id=self._number("stat", stat), **{kind: value})

    def keep_module(self, module: bytes) -> None:
        """Where xprof looks for what XLA compiled: an XEventMetadata that carries an HloProto."""
        from tensorflow.compiler.xla.service import hlo_pb2

        proto = hlo_pb2.HloProto(hlo_module=hlo_pb2.HloModuleProto.FromString(module))
        metadata = self._plane.event_metadata[_PROGRAM]
        metadata.id, metadata.name = _PROGRAM, f"step({_PROGRAM})"
        metadata.stats.add(metadata_id=self._number("stat", "Hlo Proto"), bytes_value=proto.SerializeToString())

    def _number(self, kind: str, name: str) -> int:
        number = self._numbers.setdefault((kind, name), len(self._numbers) + 1)
        metadata = self._plane.event_metadata if kind == "event" else self._plane.stat_metadata
        metadata[number].id, metadata[number].name = number, name
        return number


KERNEL_COLUMNS = (
    *("rank", "kernel_name", "registers_per_thread", "shmem_bytes", "block_dim", "grid_dim", "occupancy_pct"),
    *("is_op_tensor_core_eligible", "is_kernel_using_tensor_core", "op_name", "occurrences", "total_duration_us"),
    *("avg_duration_us", "min_duration_us", "max_duration_us"),
)
"""Of xprof's kernel_stats (xprof/convert/xplane_to_kernel_stats_db.cc)."""


def kernel_stats(*rows: tuple[str, bool, bool, int, float, float]) -> dict[str, Any]:
    """xprof's table of kernels: name, eligible, uses tensor cores, occurrences, microseconds, occupancy in percent."""
    told = []
    for rank, (name, eligible, used, count, microseconds, occupancy) in enumerate(rows, start=1):
        values: dict[str, Any] = dict.fromkeys(KERNEL_COLUMNS, 0) | {"block_dim": "128,1,1", "grid_dim": "8,1,1"}
        values |= {"rank": rank, "kernel_name": name, "occupancy_pct": occupancy, "op_name": f"operation_{rank}"}
        values |= {"is_op_tensor_core_eligible": eligible, "is_kernel_using_tensor_core": used}
        values |= {"occurrences": count, "total_duration_us": microseconds}
        told.append({"c": [{"v": values[column]} for column in KERNEL_COLUMNS]})
    columns = [{"id": column, "label": column, "type": "number"} for column in KERNEL_COLUMNS]
    return {"cols": columns, "rows": told, "p": {}}
