"""The train step after TensorFlow's graph optimizer, for an H100 that is described to it and need not be there.

It chooses layouts, fuses and prunes before any kernel is picked; the CPU build was seen to do what the CUDA build does.
"""

from collections import Counter
from typing import NamedTuple

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, device_properties_pb2, rewriter_config_pb2
from tensorflow.python.grappler import cluster, tf_optimizer
from tensorflow.python.training.saver import export_meta_graph

from gnet_core.config import StepConfig
from gnet_core.frameworks.tf.input_pipeline import synthetic_batch
from gnet_core.frameworks.tf.model import build_model
from gnet_core.frameworks.tf.precision_proof import MatrixWork, share_of, work_by_name
from gnet_core.frameworks.tf.step import make_train_step

DEVICE = "/job:localhost/replica:0/task:0/device:{}:0"

MAX_TRANSPOSES = 10
"""Of layouts. 6 were seen in float32 and tf32, where the optimizer computes channels first (150 with the choices for a
CPU, 388 with Keras' layers), and none in 16 bits, where it leaves channels last (none either)."""

MAX_NODES = 3_000
"""Of a step in float32 with the default layers; 2,736 were seen, and 10,550 with Keras'."""

MATRIX_KINDS = {"Conv2D", "_FusedConv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "MatMul", "_FusedMatMul"}


class Optimised(NamedTuple):
    """A train step, before and after the optimizer."""

    traced: Counter[str]
    """How many nodes there are of each kind."""
    kinds: Counter[str]
    """Likewise afterwards."""
    matrix_kernels: dict[str, str]
    """The kind of each node that is a convolution, a gradient of one or a matrix product, afterwards."""
    work: dict[str, MatrixWork]
    """What the traced step says of such nodes, by name."""


def named_device(kind, **properties):
    about = device_properties_pb2.DeviceProperties(type=kind, num_cores=16, frequency=2000, **properties)
    return device_properties_pb2.NamedDevice(name=DEVICE.format(kind), properties=about)


def h100():
    environment = {"architecture": "9.0", "cuda": "12050", "cudnn": "91000"}
    gpu = named_device("GPU", vendor="NVIDIA", memory_size=80 * 2**30, bandwidth=3350000000, environment=environment)
    return cluster.Cluster(devices=[named_device("CPU"), gpu])


def optimised(precision, layers):
    """What is counted here was seen to be the same at batch 64 and 224×224."""
    config = StepConfig(batch_size=2, image_size=67, precision=precision, layers=layers, device="gpu:0")
    step = make_train_step(build_model(config), config)
    assert isinstance(step.function, tf.types.experimental.PolymorphicFunction)
    graph = step.function.get_concrete_function(*synthetic_batch(config)).graph
    nodes = optimise(graph).node
    return Optimised(
        traced=Counter(operation.type for operation in graph.get_operations()),
        kinds=Counter(node.op for node in nodes),
        matrix_kernels={node.name: node.op for node in nodes if "Conv2D" in node.op or "MatMul" in node.op},
        work=work_by_name(graph),
    )


def optimise(graph):
    """The graph after the optimizer, all of it placed on the H100."""
    definition = graph.as_graph_def(add_shapes=True)
    for nodes in (definition.node, *(function.node_def for function in definition.library.function)):
        for node in nodes:
            node.device = DEVICE.format("GPU")
    document = export_meta_graph(graph_def=definition, graph=graph)
    kept = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    kept += [
        operation for operation in graph.get_operations() if operation.type.startswith(("Assign", "ResourceApply"))
    ]
    document.collection_def["train_op"].node_list.value.extend(operation.name for operation in kept)
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.min_graph_nodes = -1
    rewriting.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.TWO
    return tf_optimizer.OptimizeGraph(config, document, graph_id=b"step", cluster=h100())


@pytest.mark.parametrize(
    ("precision", "fused_normalisations"),
    [
        ("float32", 18),
        pytest.param("tf32", 18, marks=pytest.mark.campaign),
        ("mixed_bfloat16", 0),
        pytest.param("mixed_float16", 0, marks=pytest.mark.campaign),
    ],
)
def test_the_default_layers_cost_no_kernels_but_their_own(precision, fused_normalisations):
    step = optimised(precision, "fused")
    assert step.kinds["Transpose"] <= MAX_TRANSPOSES
    assert step.kinds["Pad"] == 0
    assert step.kinds["Cast"] <= step.traced["Cast"]
    assert precision not in ("float32", "tf32") or step.kinds.total() <= MAX_NODES

    # The gradient of a bias that normalisation takes away again is none. In 16 bits the 11 other convolutions sum
    # theirs up in float32, and what is left are the five dense layers.
    sixteen_bits = precision.startswith("mixed_")
    assert step.traced["BiasAddGrad"] == step.kinds["BiasAddGrad"] == (5 if sixteen_bits else 16)
    assert step.kinds["ZerosLike"] == 0

    # Fused with their ReLU are those with shared statistics, two of the three on each block's input. One with its own
    # never is, unless TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT is set.
    assert step.kinds["_FusedBatchNormEx"] == fused_normalisations
    assert step.kinds["FusedBatchNormV3"] == 50 - fused_normalisations

    every_matrix_kernel_is_known_by_its_name(step, low=precision.startswith("mixed_"))


@pytest.mark.campaign  # what ours are better than; what ours are is tested each time
def test_keras_layers_are_transposed_a_good_deal_and_three_times_the_nodes():
    step = optimised("float32", "keras")
    assert step.kinds["Transpose"] > 10 * MAX_TRANSPOSES
    assert step.kinds.total() > 3 * MAX_NODES
    every_matrix_kernel_is_known_by_its_name(step, low=False)


def every_matrix_kernel_is_known_by_its_name(step, *, low):
    """To the proof of precision, which then finds all of them in the lower precision, or none."""
    assert set(step.matrix_kernels.values()) <= MATRIX_KINDS
    assert len(step.matrix_kernels) == 188  # 58 convolutions, five dense layers, two gradients each but the images'
    assert [name for name in step.matrix_kernels if name not in step.work] == []
    share = share_of(step.work[name] for name in step.matrix_kernels)
    assert share > 0.98 if low else share == 0
