"""What TensorFlow does in this process, seen from a few small operations: the proof that a setting acts or does not."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.util import _pywrap_util_port

_SIDE = 64
_BELOW_BFLOAT16, _BELOW_TF32 = 2.0**-9, 2.0**-12
"""What is added to 1 and lost where a product is of bfloat16 numbers, of 8 bits, or of TF32's, of 11."""


def observe() -> dict[str, str]:
    """By name, how TensorFlow behaves here, on the first GPU if there is one, else on the CPU. Touches the device, so
    it is for a process that measures nothing.
    """
    for gpu in tf.config.list_physical_devices("GPU"):  # it would take all of its memory, and others are alive
        tf.config.experimental.set_memory_growth(gpu, True)
    return {
        "oneDNN": "on" if _pywrap_util_port.IsMklEnabled() else "off",
        "float32 products": f"of {_type_of_products()} numbers",
        "graphs": "clustered for XLA" if _clusters_for_xla() else "not clustered for XLA",
    }


def _type_of_products() -> str:
    """The type to which the factors of a float32 matrix product are rounded."""
    for lost, name in ((_BELOW_BFLOAT16, "bfloat16"), (_BELOW_TF32, "TF32")):
        ones = tf.constant(1.0 + lost, shape=(_SIDE, _SIDE))
        product = tf.linalg.matmul(ones, tf.eye(_SIDE))
        if float(product[0, 0]) != 1.0 + lost:
            return name
    return "float32"


def _clusters_for_xla() -> bool:
    """Whether operations of a graph that asks for nothing are compiled by XLA, as autoclustering does."""
    weights = tf.random.stateless_normal((_SIDE, _SIDE), seed=(1, 2))

    def layers(values: tf.Tensor) -> tf.Tensor:
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
    return any("Xla" in node.op for one in graphs for node in one.node)
