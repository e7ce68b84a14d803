"""The share of a step's matrix work that ran in a lower precision, read from what ran and not from the policy.

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
from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2
from tensorflow.python.framework import op_callbacks
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from gnet_core.config import GnetError
from gnet_core.frameworks.tf import trace
from gnet_core.frameworks.tf.step import Step
from gnet_core.networks.builder import Tensor


class MatrixWork(NamedTuple):
    """One convolution, gradient of one or matrix product; `low` where it multiplies in bfloat16, float16 or less."""

    flop: float
    low: bool


def low_precision_share(train_step: Step, images: Tensor, labels: Tensor) -> float:
    """The share, 0 to 1, of the step's matrix work whose operands were bfloat16 or float16. Takes one train step.

    It is read off what ran, by execution:

    - eager: every operation as it is run, by TensorFlow's operation callbacks;
    - graph: the kernels that the profiler saw run, with the operand types that the traced graph gives them by name;
    - xla: the module that ran, as XLA's optimiser left it, which the profiler keeps. XLA on a CPU turns bfloat16 and
      float16 products into float32 ones, so this can be 0 under a mixed policy, and rightly so.

    What no type shows stays unknown: tf32 has float32 operands, so it is 0 here, and a kernel may widen its operands.
    Call it outside every clock, on a step that has run before, while nothing else is profiling. Raises GnetError where
    the profiler does not start, and where what ran holds no matrix work or some that the traced step does not know.
    """
    if train_step.execution == "eager":
        return share_of(_eager_work(train_step, images, labels))
    space = profile_one_step(train_step, images, labels)
    assert isinstance(train_step.function, tf.types.experimental.PolymorphicFunction)
    function = train_step.function.get_concrete_function(images, labels)
    xla = train_step.execution == "xla"
    return share_of(_module_work(space, function.name) if xla else _kernel_work(space, function))


def share_of(work: Iterable[MatrixWork]) -> float:
    """The share of the work's FLOP in low precision. Raises GnetError where there is no work."""
    work = list(work)
    total = math.fsum(operation.flop for operation in work)
    if not total:
        raise GnetError("precision: no matrix work was seen to run; the step must have run once before it is asked")
    return math.fsum(operation.flop for operation in work if operation.low) / total


def _operation_work(kind: str, operands: list[Tensor], outputs: list[Tensor]) -> MatrixWork | None:
    """The matrix work of one TensorFlow operation; None for an operation of another kind."""
    match kind:
        case "Conv2D":
            flop = _convolution_flop(operands[1].shape, outputs[0].shape)
        case "Conv2DBackpropInput":
            flop = _convolution_flop(operands[1].shape, operands[2].shape)
        case "Conv2DBackpropFilter":
            flop = _convolution_flop(outputs[0].shape, operands[2].shape)
        case "MatMul":
            flop = _product_flop(*(math.prod(tensor.shape) for tensor in (*operands, outputs[0])))
        case _:
            return None
    return MatrixWork(flop, operands[-1].dtype.size < tf.float32.size)


def _convolution_flop(kernel: Iterable[int], output: Iterable[int], output_features: int | None = None) -> float:
    """FLOP of a convolution or of one of its gradients. The kernel's last side is its output features unless given."""
    kernel = tuple(kernel)
    return 2.0 * math.prod(kernel) * math.prod(output) / (output_features or kernel[-1])


def _product_flop(*sizes: int) -> float:
    """FLOP of a matrix product from its sizes m·k, k·n and m·n, in whatever layout: their product is (m·k·n)²."""
    return 2.0 * math.sqrt(math.prod(sizes))  # for a batch of b products √b times too many


def _eager_work(train_step: Step, images: Tensor, labels: Tensor) -> list[MatrixWork]:
    seen: list[MatrixWork] = []

    def record(kind: Any, inputs: Any, _attributes: Any, outputs: Any, *_: Any, **__: Any) -> None:
        name = kind.decode() if isinstance(kind, bytes) else str(kind)
        if work := _operation_work(name, list(inputs), outputs):
            seen.append(work)

    op_callbacks.add_op_callback(record)
    try:
        train_step(images, labels)
    finally:
        op_callbacks.remove_op_callback(record)
    return seen


class _Level(int):
    """A level of one of the profiler's tracers.

    TensorFlow 2.20 and 2.21 make each option a bool where they can and then pass over it, so that of plain integers
    they silently take the defaults. 2.19 takes both kinds.
    """

    def __bool__(self) -> bool:
        raise TypeError("a level is no bool")


_OFF, _VERBOSE = _Level(0), _Level(3)
"""At level 2 TensorFlow leaves out kernels that take the host little time, as every kernel on a GPU does
(tensorflow/core/common_runtime/executor.cc). Level 3 adds about half as many events again; none is dropped."""


def profile_one_step(train_step: Step, images: Tensor, labels: Tensor) -> Any:
    """The profiler's record (XSpace) of one step. Of a GPU it takes the host's side alone, which needs no privilege."""
    options = tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=_VERBOSE, python_tracer_level=_OFF, device_tracer_level=_OFF
    )
    with tempfile.TemporaryDirectory() as folder:
        with trace.profiler(Path(folder), options):
            train_step(images, labels)
        return xplane_pb2.XSpace.FromString(trace.newest_trace(Path(folder)).read_bytes())


_FUSED = {"BiasAdd", "Relu"}  # with a convolution or product, whose kernel then has the name of the last one


def work_by_name(graph: Any) -> dict[str, MatrixWork]:
    """The traced graph's matrix work by every name that its kernel may run under."""
    work: dict[str, MatrixWork] = {}
    for operation in graph.get_operations():
        own = _operation_work(operation.type, list(operation.inputs), operation.outputs)
        if not own:
            continue
        kernels = [operation]
        while kernels:
            work[kernels[0].name] = own
            kernels = [consumer for consumer in kernels[0].outputs[0].consumers() if consumer.type in _FUSED]
    return work


def _kernel_work(space: Any, function: Any) -> Iterator[MatrixWork]:
    """The matrix work of every kernel that ran: the profiler calls it "node:kernel", as in "main/MatMul:_MklMatMul"."""
    traced = work_by_name(function.graph)
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            node, _, kernel = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if node and ("Conv2D" in kernel or "MatMul" in kernel):
                if node not in traced:
                    raise GnetError(f"precision: the kernel {kernel} ran as {node!r}, which the traced step has not")
                yield traced[node]


def _module_work(space: Any, function_name: bytes | str) -> Iterator[MatrixWork]:
    """The matrix work of the XLA modules that were compiled from a function, from their optimised form."""
    name = function_name.decode() if isinstance(function_name, bytes) else function_name
    planes = (plane for plane in space.planes if plane.name == "/host:metadata")
    for module in (module for plane in planes for module in plane.event_metadata.values()):
        if f"{name.lstrip('_')}_" in module.name:
            for stat in module.stats:
                yield from hlo_work(hlo_pb2.HloProto.FromString(stat.bytes_value).hlo_module)


def hlo_work(module: Any) -> Iterator[MatrixWork]:
    """The matrix work of an XLA module (HloModuleProto), that inside its fusions included."""
    for computation in module.computations:
        by_id = {instruction.id: instruction for instruction in computation.instructions}
        for instruction in computation.instructions:
            operands = [by_id[number].shape for number in instruction.operand_ids]
            if flop := _instruction_flop(instruction, operands):
                yield MatrixWork(flop, operands[1].element_type in _LOW_HLO_TYPES)


_LOW_HLO_TYPES = {
    number for name, number in xla_data_pb2.PrimitiveType.items() if name.startswith(("BF16", "F16", "F8", "F4"))
}

_PRODUCT_CALLS = {"__cublas$gemm", "__cublas$lt$matmul", "__cublas$lt$matmul$f8", "__onednn$matmul"}
_CONVOLUTION_CALLS = {
    *("__cudnn$convForward", "__cudnn$convForwardGraph", "__cudnn$convBiasActivationForward"),
    *("__cudnn$convBackwardInput", "__cudnn$convBackwardFilter"),
}
"""Targets of calls to libraries, as xla/service/gpu/cublas_cudnn.cc names a GPU's."""


def _instruction_flop(instruction: Any, operands: list[Any]) -> float:
    """Floating-point operations of an XLA instruction; 0 where it is no matrix work."""
    kind, target = instruction.opcode, instruction.custom_call_target
    result = instruction.shape.tuple_shapes[0] if instruction.shape.tuple_shapes else instruction.shape
    if kind == "dot" or (kind == "custom-call" and target in _PRODUCT_CALLS):
        left, right = (operand.dimensions for operand in operands[:2])
        # XLA splits a long sum into a batch of shorter ones; in cuBLAS' calls a batch's dimensions come first.
        batch = [left[number] for number in instruction.dot_dimension_numbers.lhs_batch_dimensions]
        if target.startswith("__cublas$"):
            batch = result.dimensions[:-2]
        return _product_flop(*map(math.prod, (left, right, result.dimensions))) / math.sqrt(math.prod(batch))
    if kind == "convolution" or (kind == "custom-call" and target in _CONVOLUTION_CALLS):
        kernel, output = operands[1], result
        if target == "__cudnn$convBackwardInput":
            output = operands[0]
        elif target == "__cudnn$convBackwardFilter":
            kernel, output = result, operands[1]
        features: int = kernel.dimensions[instruction.convolution_dimension_numbers.kernel_output_feature_dimension]
        # A strided convolution's gradient for its input goes over an image spread out with zeros, which cost nothing.
        spread: int = math.prod(side.base_dilation or 1 for side in instruction.window.dimensions)
        return _convolution_flop(kernel.dimensions, output.dimensions, features) / spread
    return 0.0
