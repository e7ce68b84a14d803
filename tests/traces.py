"""Real traces for the tests, and profile documents as they are written."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from gnet_core.config import StepConfig


def trace_tiny_network(execution: Any, log_dir: Path, steps: int) -> Path:
    """A real train step with two convolutions, a batch normalisation and three outputs.

    Three images: of four 16-bit labels XLA makes a load that its compiler dies of ("LLVM ERROR: Cannot select").
    """
    import keras
    import tensorflow as tf

    from gnet_core.step import make_train_step
    from gnet_core.trace import capture

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
