"""What TensorFlow does in this process, seen from a few small operations: the proof that a setting acts or does not."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import tensorflow as tf

_SIDE = 64
_BELOW_BFLOAT16, _BELOW_TF32 = 2.0**-9, 2.0**-12
"""What is added to 1 and lost where a product is of bfloat16 numbers, of 8 bits, or of TF32's, of 11."""

_INTER_OP = "tf_Compute"
"""How Linux's names of the inter-op threads begin. Those of the intra-op pool have the name of the process."""


def observe() -> dict[str, str]:
    """By name, how TensorFlow behaves here, on the CPU and on the first GPU if there is one. What a release does not
    show is left out. Touches the devices, so it is for a process that measures nothing.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)  # as in every case whose precision is not tf32
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:  # it would take all of its memory, and others are alive
        tf.config.experimental.set_memory_growth(gpu, True)
    looks = {"oneDNN": _onednn}
    for device, name in (("/CPU:0", "the CPU"), *([("/GPU:0", "the first GPU")] if gpus else [])):
        looks[f"float32 products on {name}"] = functools.partial(_products, device)
        looks[f"graphs on {name}"] = functools.partial(_graphs, device)
    observed = {}
    for name, look in looks.items():
        with contextlib.suppress(Exception):
            observed[name] = look()
    return observed | _threads()


def _onednn() -> str:
    from tensorflow.python.util import _pywrap_util_port

    return "on" if _pywrap_util_port.IsMklEnabled() else "off"


def _products(device: str) -> str:
    """The type to which the factors of a float32 matrix product are rounded."""
    for lost, name in ((_BELOW_BFLOAT16, "bfloat16"), (_BELOW_TF32, "TF32")):
        with tf.device(device):
            ones = tf.constant(1.0 + lost, shape=(_SIDE, _SIDE))
            product = tf.linalg.matmul(ones, tf.eye(_SIDE))
        if float(product[0, 0]) != 1.0 + lost:
            return f"of {name} numbers"
    return "of float32 numbers"


def _graphs(device: str) -> str:
    """Whether operations of a graph that asks for nothing are compiled by XLA, as autoclustering does."""
    from tensorflow.python.eager import context

    weights = tf.random.stateless_normal((_SIDE, _SIDE), seed=(1, 2))

    def layers(values: tf.Tensor) -> tf.Tensor:
        with tf.device(device):
            for _ in range(4):  # a cluster has four operations at least
                values = tf.nn.relu(tf.linalg.matmul(values, weights) + 1.0)
        return values

    context.enable_run_metadata()
    try:
        tf.function(layers, autograph=False)(weights)
        metadata = context.export_run_metadata()
    finally:
        context.disable_run_metadata()
    graphs = [*metadata.partition_graphs, *(part for one in metadata.function_graphs for part in one.partition_graphs)]
    clustered = any("Xla" in node.op for one in graphs for node in one.node)
    return "clustered for XLA" if clustered else "not clustered for XLA"


def _threads() -> dict[str, str]:
    """How many threads there are of each pool of the CPU's, the intra-op one's with the main thread and those of
    libraries; empty where the system does not list a process's threads.
    """
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    if not names:
        return {}
    own = Path("/proc/self/comm").read_text().strip()
    inter = sum(name.startswith(_INTER_OP) for name in names)
    return {"intra-op and other threads": str(names.count(own)), "inter-op threads": str(inter)}
