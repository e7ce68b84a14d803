"""The share of matrix work in a lower precision falls when part of the network is kept in float32."""

import dataclasses
import gzip
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.compiler.xla.service import hlo_pb2

from gnet_core.config import GnetError, StepConfig
from gnet_core.frameworks.flops import train_step_flop_per_image
from gnet_core.frameworks.keras_layers import LayerKit
from gnet_core.frameworks.tf.input_pipeline import synthetic_batch
from gnet_core.frameworks.tf.model import build_model
from gnet_core.frameworks.tf.precision_proof import (
    MatrixWork,
    hlo_work,
    low_precision_share,
    profile_one_step,
    share_of,
)
from gnet_core.frameworks.tf.step import make_train_step

CONFIG = StepConfig(batch_size=2, image_size=67, classes=3, aux_weight=0.0)
F8, BF16, F32 = 20, 16, 11

COMPILED_FOR_H100 = Path(__file__).parents[3] / "shared/gpu/without-a-gpu/jax-step-bfloat16-b64-h100.hlo.pb.gz"


def two_blocks(dtype, second):
    """A step's network of two blocks, a convolution each, of which the second may have another dtype."""
    inputs = keras.Input((CONFIG.image_size, CONFIG.image_size, 3))
    x = layers.Conv2D(16, 7, strides=8, dtype=dtype)(inputs)
    for name, policy in (("first", dtype), ("second", second)):
        kit = LayerKit(dtype=policy)
        x = kit.conv(kit.norm_relu(x, name), 16, 3, name, padding="same")
    x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
    model = keras.Model(inputs, layers.Dense(CONFIG.classes, dtype="float32")(x))
    model.inception_model = keras.Model(model.inputs, model.outputs[0])
    model.main_output = lambda images, training: model.inception_model(images, training=training)
    return model


def warm_step(execution, dtype, second=None):
    config = dataclasses.replace(CONFIG, execution=execution, precision=dtype)
    step = make_train_step(two_blocks(dtype, second or dtype), config)
    images, labels = synthetic_batch(config)
    step(images, labels)
    return step, images, labels


@pytest.mark.parametrize("execution", ["eager", "graph"])
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_a_block_kept_in_float32_lowers_the_share_by_its_work(execution, dtype):
    share = low_precision_share(*warm_step(execution, dtype))
    assert 0.98 < share < 1  # the logits are float32
    partly = low_precision_share(*warm_step(execution, dtype, second="float32"))
    assert 0.1 < partly < share - 0.1


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
def test_float32_has_no_share_and_asking_neither_traces_nor_compiles(execution):
    step, images, labels = warm_step(execution, "float32")
    traces = step.trace_count
    assert low_precision_share(step, images, labels) == 0.0
    assert step.trace_count == traces
    assert step.calls == 2


def test_kernels_that_tensorflow_calls_cheap_are_seen_as_all_on_a_gpu_are():
    """A function's arguments are such wherever it runs."""
    space = profile_one_step(*warm_step("graph", "float32"))
    seen = {kind.name for plane in space.planes for kind in plane.event_metadata.values()}
    assert any(name.endswith(":_Arg") for name in seen)


def unoptimised(dtype, second=None):
    """XLA's module before its optimiser, which on a CPU makes every product a float32 one."""
    step, images, labels = warm_step("xla", dtype, second)
    serialised = step.function.experimental_get_compiler_ir(images, labels)(stage="hlo_serialized")
    return hlo_pb2.HloModuleProto.FromString(serialised)


def test_an_xla_modules_share_falls_with_a_block_in_float32():
    share = share_of(hlo_work(unoptimised("mixed_bfloat16")))
    assert 0.98 < share < 1
    assert 0.1 < share_of(hlo_work(unoptimised("mixed_bfloat16", second="float32"))) < share - 0.1


def test_xla_on_a_cpu_multiplies_in_float32_whatever_the_policy():
    step, images, labels = warm_step("xla", "mixed_bfloat16")
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a GPU has kernels for bfloat16")
    assert low_precision_share(step, images, labels) == 0.0


def module(opcode, operands, result, target="", tuple_result=False):
    """An XLA module of one instruction on two parameters; a shape is (type, sides)."""
    built = hlo_pb2.HloModuleProto()
    computation = built.computations.add()
    for number, (kind, sides) in enumerate(operands, start=1):
        parameter = computation.instructions.add(opcode="parameter", id=number)
        parameter.shape.element_type = kind
        parameter.shape.dimensions.extend(sides)
    last = computation.instructions.add(opcode=opcode, id=9, operand_ids=[1, 2], custom_call_target=target)
    last.convolution_dimension_numbers.kernel_output_feature_dimension = 3
    shape = last.shape.tuple_shapes.add() if tuple_result else last.shape
    shape.element_type, sides = result
    shape.dimensions.extend(sides)
    return built


IMAGES, KERNEL, OUTPUT = (BF16, (2, 8, 8, 3)), (BF16, (3, 3, 3, 16)), (BF16, (2, 6, 6, 16))
CONVOLUTION_FLOP = 2 * 2 * 6 * 6 * 16 * 3 * 3 * 3


@pytest.mark.parametrize(
    ("opcode", "target", "operands", "result"),
    [
        ("convolution", "", (IMAGES, KERNEL), OUTPUT),
        ("custom-call", "__cudnn$convForward", (IMAGES, KERNEL), OUTPUT),
        ("custom-call", "__cudnn$convForwardGraph", (IMAGES, KERNEL), OUTPUT),
        ("custom-call", "__cudnn$convBiasActivationForward", (IMAGES, KERNEL), OUTPUT),
        ("custom-call", "__cudnn$convBackwardInput", (OUTPUT, KERNEL), IMAGES),
        ("custom-call", "__cudnn$convBackwardFilter", (IMAGES, OUTPUT), KERNEL),
    ],
)
def test_a_convolution_and_its_gradients_are_the_same_work_as_an_instruction_and_as_a_library_call(
    opcode, target, operands, result
):
    work = list(hlo_work(module(opcode, operands, result, target, tuple_result=bool(target))))
    assert work == [MatrixWork(CONVOLUTION_FLOP, low=True)]


PRODUCTS = [("dot", ""), *(("custom-call", f"__cublas${name}") for name in ("gemm", "lt$matmul", "lt$matmul$f8"))]


@pytest.mark.parametrize("kind", [F32, BF16, F8])
@pytest.mark.parametrize(("opcode", "target"), PRODUCTS)
def test_a_matrix_product_is_twice_its_three_sides(opcode, target, kind):
    built = module(opcode, ((kind, (4, 5)), (kind, (5, 6))), (F32, (4, 6)), target)
    assert list(hlo_work(built)) == [MatrixWork(2 * 4 * 5 * 6, low=kind != F32)]


@pytest.mark.parametrize(("opcode", "target"), PRODUCTS)
def test_a_sum_that_xla_splits_into_a_batch_is_the_same_work(opcode, target):
    built = module(opcode, ((F32, (4, 7, 5)), (F32, (7, 5, 6))), (F32, (7, 4, 6)), target)
    if opcode == "dot":
        built.computations[0].instructions[-1].dot_dimension_numbers.lhs_batch_dimensions.append(1)
    (work,) = hlo_work(built)
    assert work.flop == pytest.approx(2 * 4 * 35 * 6)


def test_a_product_inside_a_fusion_counts_once():
    built = module("dot", ((BF16, (4, 5)), (BF16, (5, 6))), (F32, (4, 6)))
    entry = built.computations.add(name="entry")
    entry.instructions.add(opcode="fusion", id=20, called_computation_ids=[built.computations[0].id])
    assert list(hlo_work(built)) == [MatrixWork(2 * 4 * 5 * 6, low=True)]


@pytest.mark.parametrize(
    "target", ["Sharding", "__cublas$triangularSolve", "__cudnn$convReorderFilterAndBias", "__cudnn$norm"]
)
def test_other_calls_are_no_matrix_work(target):
    assert list(hlo_work(module("custom-call", (IMAGES, KERNEL), OUTPUT, target))) == []


@pytest.mark.skipif(not COMPILED_FOR_H100.exists(), reason="the module that XLA compiled for an H100 is not at hand")
def test_what_xla_compiles_for_a_gpu_is_the_work_of_the_networks_layers():
    config = StepConfig(batch_size=64, precision="mixed_bfloat16")
    compiled = hlo_pb2.HloModuleProto.FromString(gzip.decompress(COMPILED_FOR_H100.read_bytes()))
    work = list(hlo_work(compiled))
    of_layers = config.batch_size * train_step_flop_per_image(build_model(config), config)
    assert sum(operation.flop for operation in work) == pytest.approx(of_layers, rel=1e-4)
    assert share_of(work) == pytest.approx(0.9999, abs=1e-4)  # the logits are float32


def test_a_step_of_which_nothing_was_seen_is_refused():
    with pytest.raises(GnetError, match="no matrix work"):
        share_of([])
