"""Which share of a step's matrix work ran in a lower precision: asked of what ran, not of the policy.

Matrix work is the convolutions, their two gradients and the matrix products; each weighs its floating-point operations,
a multiplication and an addition counted as two and padding counted as if it were image.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.compiler.xla.service import hlo_pb2
from tensorflow.python.framework import op_callbacks
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from gnet_core import device
from gnet_core.config import GnetError
from gnet_core.step import Tensor, TrainStep


class MatrixWork(NamedTuple):
    """One convolution, gradient of one or matrix product."""

    flop: float
    low: bool
    """Multiplied in bfloat16 or float16."""


def low_precision_share(train_step: TrainStep, images: Tensor, labels: Tensor) -> float:
    """The share, 0 to 1, of the step's matrix work whose operands were bfloat16 or float16. Takes one train step.

    What is asked differs by execution:

    - eager: every operation as it is run, by TensorFlow's operation callbacks;
    - graph: the kernels that the profiler saw run, with the operand types that the traced graph gives them by name;
    - xla: the module that ran, as XLA's optimiser left it, which the profiler keeps. XLA on a CPU turns bfloat16 and
      float16 products into float32 ones, so this can be 0 under a mixed policy, and rightly so.

    What no type tells stays unknown: tf32 has float32 operands, so it is 0 here, and a kernel may widen its operands
    inside. (Variables that have float32 multiplied in bfloat16 do not act, see gnet_core.settings.) Call it outside
    every clock, on a step that has run before: it trains one step more, and nothing else may be profiling. Raises
    GnetError where the profiler does not start, and where what ran holds no matrix work or some that the traced step
    does not know.
    """
    if train_step.execution == "eager":
        work = _eager_work(train_step, images, labels)
    else:
        space = _profile_one_step(train_step, images, labels)
        assert isinstance(train_step.function, tf.types.experimental.PolymorphicFunction)
        function = train_step.function.get_concrete_function(images, labels)
        work = list(
            _module_work(space, function.name) if train_step.execution == "xla" else _kernel_work(space, function)
        )
    return share_of(work)


def share_of(work: Iterable[MatrixWork]) -> float:
    """The low part of the work by operations. Raises GnetError where there is none."""
    work = list(work)
    total = math.fsum(each.flop for each in work)
    if not total:
        raise GnetError("precision: no matrix work was seen to run; the step must have run once before it is asked")
    return math.fsum(each.flop for each in work if each.low) / total


_LOW_TYPES = (tf.bfloat16, tf.float16)


def _operation_work(kind: str, operands: list[Tensor], result: Tensor) -> MatrixWork | None:
    """The matrix work of one TensorFlow operation; None for an operation of another kind."""
    if kind == "Conv2D":
        flop = _convolution_flop(operands[1].shape, result.shape)
    elif kind == "Conv2DBackpropInput":
        flop = _convolution_flop(operands[1].shape, operands[2].shape)
    elif kind == "Conv2DBackpropFilter":
        flop = _convolution_flop(result.shape, operands[2].shape)
    elif kind == "MatMul":
        flop = _product_flop(*(math.prod(tensor.shape) for tensor in (*operands, result)))
    else:
        return None
    return MatrixWork(flop, operands[-1].dtype in _LOW_TYPES)


def _convolution_flop(kernel: Iterable[int], output: Iterable[int], output_features: int | None = None) -> float:
    """Of a convolution and of both its gradients; the kernel's last side is its output features unless given."""
    kernel = tuple(kernel)
    return 2.0 * math.prod(kernel) * math.prod(output) / (output_features or kernel[-1])


def _product_flop(*sizes: int) -> float:
    """Of a matrix product from its three sizes m·k, k·n and m·n, in whatever layout: their product is (m·k·n)²."""
    return 2.0 * math.sqrt(math.prod(sizes))


def _eager_work(train_step: TrainStep, images: Tensor, labels: Tensor) -> list[MatrixWork]:
    seen: list[MatrixWork] = []

    def record(kind: Any, inputs: Any, _attributes: Any, outputs: Any, *_: Any, **__: Any) -> None:
        name = kind.decode() if isinstance(kind, bytes) else str(kind)
        work = _operation_work(name, list(inputs), outputs[0]) if outputs else None
        if work:
            seen.append(work)

    op_callbacks.add_op_callback(record)
    try:
        train_step(images, labels)
    finally:
        op_callbacks.remove_op_callback(record)
    return seen


def _profile_one_step(train_step: TrainStep, images: Tensor, labels: Tensor) -> Any:
    """The profiler's record (XSpace) of one step. Of a GPU it takes the host's side alone, which needs no privilege."""
    options = tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=2, python_tracer_level=0, device_tracer_level=0
    )
    device.synchronise()
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.profiler.experimental.start(folder, options)
        except tf.errors.OpError as error:
            raise GnetError(f"profiler: did not start ({error.message}); end other traces first") from error
        try:
            train_step(images, labels)
            device.synchronise()
        finally:
            tf.profiler.experimental.stop()
        (trace,) = Path(folder).glob("plugins/profile/*/*.xplane.pb")
        return xplane_pb2.XSpace.FromString(trace.read_bytes())


_FUSED = {"BiasAdd", "Relu"}
"""What a convolution or product is fused with; the kernel then bears the name of the last."""


def _traced_work(graph: Any) -> dict[str, MatrixWork]:
    """The traced graph's matrix work by every name that its kernel may run under."""
    work: dict[str, MatrixWork] = {}
    for operation in graph.get_operations():
        own = (
            _operation_work(operation.type, list(operation.inputs), operation.outputs[0]) if operation.outputs else None
        )
        if not own:
            continue
        work[operation.name] = own
        last = operation
        while followers := [each for each in last.outputs[0].consumers() if each.type in _FUSED]:
            last = followers[0]
            work[last.name] = own
    return work


_MATRIX_KINDS = ("Conv2D", "MatMul")


def _kernel_work(space: Any, function: Any) -> Iterator[MatrixWork]:
    """The matrix work of every kernel that ran: the profiler calls it "node:kernel", as in "main/MatMul:_MklMatMul"."""
    traced = _traced_work(function.graph)
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            node, _, kernel = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if not node or not any(kind in kernel for kind in _MATRIX_KINDS):
                continue
            if node not in traced:
                raise GnetError(f"precision: the kernel {kernel} ran as {node!r}, which the traced step has not")
            yield traced[node]


def _module_work(space: Any, function_name: bytes | str) -> Iterator[MatrixWork]:
    """The matrix work of the XLA modules that were compiled from a function, from their optimised form."""
    name = function_name.decode() if isinstance(function_name, bytes) else function_name
    for plane in space.planes:
        if plane.name != "/host:metadata":
            continue
        for module in plane.event_metadata.values():
            if f"{name.lstrip('_')}_" in module.name:
                for stat in module.stats:
                    yield from hlo_work(hlo_pb2.HloProto.FromString(stat.bytes_value).hlo_module)


def hlo_work(module: Any) -> Iterator[MatrixWork]:
    """The matrix work of an XLA module (HloModuleProto), that inside its fusions included.

    GPU libraries' calls are known by their targets, as XLA's source has them: xla/service/gpu/cublas_cudnn.cc.
    """
    for computation in module.computations:
        by_id = {instruction.id: instruction for instruction in computation.instructions}
        for instruction in computation.instructions:
            operands = [by_id[number].shape for number in instruction.operand_ids]
            flop = _instruction_flop(instruction, operands)
            if flop:
                yield MatrixWork(flop, operands[1].element_type in _LOW_HLO_TYPES)


_LOW_HLO_TYPES = (10, 16)
"""F16 and BF16 in xla/xla_data.proto."""


def _instruction_flop(instruction: Any, operands: list[Any]) -> float:
    """Floating-point operations of an XLA instruction; 0 where it is no matrix work."""
    target = instruction.custom_call_target
    if instruction.opcode not in ("convolution", "dot", "custom-call") or len(operands) < 2:
        return 0.0
    result = instruction.shape.tuple_shapes[0] if instruction.shape.tuple_shapes else instruction.shape
    left, right = operands[:2]
    if instruction.opcode == "dot" or target.startswith(("__cublas$", "__onednn$matmul")):
        return _product_flop(*(math.prod(shape.dimensions) for shape in (left, right, result)))
    if instruction.opcode == "custom-call" and not target.startswith("__cudnn$conv"):
        return 0.0
    kernel, output = right, result
    if "BackwardInput" in target:
        output = left
    elif "BackwardFilter" in target:
        kernel, output = result, right
    features: int = kernel.dimensions[instruction.convolution_dimension_numbers.kernel_output_feature_dimension]
    # A strided convolution's gradient for its input goes over an image spread out with zeros, which cost nothing.
    spread: int = math.prod(side.base_dilation or 1 for side in instruction.window.dimensions)
    return _convolution_flop(kernel.dimensions, output.dimensions, features) / spread
