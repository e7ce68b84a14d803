"""The fused kit computes what Keras' layers compute from the same weights: outputs, gradients, moving statistics."""

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gnet_core.config import LAYERS, StepConfig
from gnet_core.frameworks.keras_layers import LayerKit
from gnet_core.frameworks.tf import fused
from gnet_core.frameworks.tf.fused import FusedKit
from gnet_core.frameworks.tf.input_pipeline import synthetic_batch
from gnet_core.frameworks.tf.model import build_model
from gnet_core.frameworks.tf.step import make_test_step, make_train_step
from gnet_core.networks.googlenet import PAPER, PUBLISHED, Filters, classifier_layer, inception_layer
from gnet_core.profile.parts import OTHER, place
from gnet_core.stats.losses import judge_trajectory

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")

# Of a result's largest magnitude. What both compute in float32 differs by the order of sums; a value of 8 or 11 bits
# that falls on the other side of a rounding is one unit in its last place away.
TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 1e-2, "mixed_float16": 2e-3}

FLOAT16_IN_THE_CAMPAIGN = ("mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.campaign))
"""Of the whole network: a processor emulates float16. Its parts are tested in all three."""

DEVICES = ("cpu", "gpu:0")
"""Of a case. The fused kit's choices for either are computed here."""

UNALIGNED = Filters(conv1=8, reduce3=6, conv3=10, reduce5=4, conv5=5, pool=4)
"""27 channels, so that the fused kit adds five of zeros on a CPU."""


def assert_alike(actual, expected, tolerance, magnitude=None):
    actual, expected = (np.asarray(tf.cast(tensor, tf.float32)) for tensor in (actual, expected))
    assert actual.shape == expected.shape
    largest = np.max(np.abs(expected)) if magnitude is None else magnitude
    assert np.max(np.abs(actual - expected)) <= tolerance * largest + 1e-6


def set_weights_as_training_leaves_them(model):
    """None is 0 or 1."""
    chance = np.random.default_rng(0)
    for variable in model.weights:
        if "seed" in variable.path:
            continue
        scale = 0.1 if len(variable.shape) == 1 else np.sqrt(2 / np.prod(variable.shape[:-1]))
        value = scale * chance.standard_normal(variable.shape)
        value += {"gamma": 1.0, "moving_variance": 1.0}.get(variable.name, 0.0)
        variable.assign(np.abs(value) if variable.name == "moving_variance" else value)


def results(outputs_of, model, images, execution="graph"):
    """Outputs in training, the gradients of a weighted sum of them, what was left behind, and outputs in inference.

    The model's weights are as before afterwards. Of its variables those that are seeds stay out.
    """
    before = [tf.identity(variable.value) for variable in model.weights]
    variables = model.trainable_variables

    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = [tf.cast(output, tf.float32) for output in tf.nest.flatten(outputs_of(images, True))]
            loss = sum(
                tf.reduce_mean(output * tf.cos(tf.range(tf.size(output), dtype=tf.float32)[: tf.shape(output)[-1]]))
                for output in outputs
            )
        return outputs, tape.gradient(loss, [images, *(variable.value for variable in variables)])

    run = step if execution == "eager" else tf.function(step, jit_compile=execution == "xla")
    outputs, (of_images, *gradients) = run(images)
    moved = {v.path: tf.identity(v.value) for v in model.non_trainable_variables if "seed" not in v.path}
    inference = tf.nest.flatten(outputs_of(images, False))
    for variable, value in zip(model.weights, before, strict=True):
        variable.assign(value)
    return {
        "outputs": dict(enumerate(outputs)),
        "gradients": {"images": of_images}
        | {v.path: gradient for v, gradient in zip(variables, gradients, strict=True)},
        "moved": moved,
        "inference": dict(enumerate(inference)),
    }


def both(part, shape, policy, execution="graph", on_gpu=False):
    """The results of a part of the network, a function of x and kit, by Keras' layers and by the fused kit.

    `on_gpu` takes the fused kit's choices for a GPU. They are computed here all the same.
    """
    inputs = keras.Input(shape[1:], dtype=keras.DTypePolicy(policy).compute_dtype)
    model = keras.Model(inputs, part(inputs, LayerKit(dtype=policy)))
    set_weights_as_training_leaves_them(model)

    def fused_outputs(images, training):
        layers = {layer.name: layer for layer in model.layers}
        return part(images, FusedKit(dtype=policy, layers=layers, training=training, on_gpu=on_gpu))

    images = tf.cast(tf.random.stateless_normal(shape, (1, 2)) * 2 + 1, keras.DTypePolicy(policy).compute_dtype)
    plain = results(lambda images, training: model(images, training=training), model, images, execution)
    return plain, results(fused_outputs, model, images, execution)


def assert_same_results(plain, ours, tolerance):
    for kind, expected in plain.items():
        assert ours[kind].keys() == expected.keys()
        for name, value in ours[kind].items():
            magnitude = None
            if kind == "gradients" and str(name).endswith("bias"):
                if np.any(value):  # in 16 bits each addition of Keras' sum is rounded
                    magnitude = 2 * np.max(np.abs(tf.cast(expected[name], tf.float32)))
                else:  # the sum over a map of what adds up to nothing: Keras' is rounding errors of the kernel's size
                    magnitude = 10 * np.max(np.abs(tf.cast(expected[name.replace("bias", "kernel")], tf.float32)))
            assert_alike(value, expected[name], tolerance, magnitude)


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize("policy", POLICIES)
def test_batch_normalization_is_keras_own(policy, execution):
    plain, ours = both(lambda x, kit: kit.norm_relu(x, "one"), (4, 5, 6, 7), policy, execution)
    assert_same_results(plain, ours, TOLERANCE[policy])


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_on_a_gpu_the_gradient_of_a_bias_is_summed_in_float32(policy, execution):
    """257 ones make 256 where each addition is rounded to bfloat16."""

    def part(x, kit):
        return kit.conv(x, 1, 1, "one", normalised=False)

    inputs = keras.Input((257, 1, 3), dtype=keras.DTypePolicy(policy).compute_dtype)
    model = keras.Model(inputs, part(inputs, LayerKit(dtype=policy)))
    images = tf.ones((1, 257, 1, 3), inputs.dtype)

    def gradient():
        kit = FusedKit(dtype=policy, layers={layer.name: layer for layer in model.layers}, training=True, on_gpu=True)
        bias = model.get_layer("one").bias.value
        with tf.GradientTape() as tape:
            outputs = part(images, kit)
        assert outputs.dtype == inputs.dtype
        return tape.gradient(outputs, bias)

    summed = (gradient if execution == "eager" else tf.function(gradient, jit_compile=execution == "xla"))()
    assert summed.dtype == tf.float32
    assert summed.numpy().tolist() == [257]


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize("policy", POLICIES)
def test_normalisations_that_share_statistics_are_keras_own(policy, execution):
    def part(x, kit):
        return kit.concatenate([kit.norm_relu(x, name) for name in ("a", "b", "c")], "joined")

    plain, ours = both(part, (4, 5, 6, 16), policy, execution)
    assert_same_results(plain, ours, TOLERANCE[policy])


def test_statistics_of_one_input_are_computed_once():
    inputs = keras.Input((5, 5, 16))
    model = keras.Model(inputs, [LayerKit().norm_relu(inputs, name) for name in ("a", "b", "c")])

    @tf.function
    def forward(images):
        kit = FusedKit(layers={layer.name: layer for layer in model.layers}, training=True, on_gpu=False)
        return [kit.norm_relu(images, name) for name in ("a", "b", "c")]

    norms = [
        operation.get_attr("is_training")
        for operation in forward.get_concrete_function(tf.zeros((2, 5, 5, 16))).graph.get_operations()
        if operation.type == "FusedBatchNormV3"
    ]
    assert sorted(norms) == [False, False, True]


def test_every_kernel_of_the_network_bears_the_name_of_its_part():
    config = StepConfig(image_size=67, batch_size=2, classes=3)
    step: Any = make_train_step(build_model(config), config)
    graph = step.function.get_concrete_function(*synthetic_batch(config)).graph
    kernels = ("Conv2D", "MatMul", "FusedBatchNorm", "MaxPool", "Relu")
    names = [operation.name for operation in graph.get_operations() if operation.type.startswith(kernels)]
    assert len(names) > 400
    assert [name for name in names if place(name).part == OTHER] == []
    backward = [name for name in names if place(name).direction == "backward"]
    assert len(backward) > len(names) / 2


@pytest.mark.parametrize("policy", POLICIES)
def test_the_pool_of_the_stem_is_keras_own(policy):
    plain, ours = both(lambda x, kit: kit.norm_relu_pool(x, "stem", "pool"), (4, 9, 9, 16), policy)
    assert_same_results(plain, ours, TOLERANCE[policy])


def test_moving_variance_is_of_the_batch_and_not_of_what_it_was_drawn_from():
    images = tf.reshape(tf.constant([0.0, 2.0]), (2, 1, 1, 1))  # variance 1; unbiased it would be 2
    layer = keras.layers.BatchNormalization(momentum=0.0, name="one_bn")
    layer.build(images.shape)
    FusedKit(layers={layer.name: layer}, training=True, on_gpu=False).norm_relu(images, "one")
    np.testing.assert_allclose(layer.moving_variance, [1.0], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_mean, [1.0], rtol=1e-6)


def test_a_frozen_layer_uses_and_keeps_its_moving_statistics_and_the_bias_before_it_has_a_gradient():
    images = tf.random.stateless_normal((4, 3, 3, 2), (1, 2))
    norm, conv = keras.layers.BatchNormalization(name="one_bn"), keras.layers.Conv2D(2, 1, name="conv")
    norm.trainable = False
    norm.build((None, 3, 3, 2))
    conv.build(images.shape)
    kit = FusedKit(layers={"one_bn": norm, "conv": conv}, training=True, on_gpu=False)
    with tf.GradientTape() as tape:
        maps = kit.conv(images, 2, 1, "conv")
        outputs = kit.norm_relu(maps, "one")
    np.testing.assert_allclose(outputs, np.maximum(maps, 0) / np.sqrt(1 + norm.epsilon), rtol=1e-5)
    np.testing.assert_array_equal(norm.moving_mean, [0.0, 0.0])
    assert np.all(tape.gradient(outputs, conv.bias.value) > 0)


@pytest.mark.parametrize(
    ("filters", "norm_before_conv3", "on_gpu"),
    [(PUBLISHED["3a"], False, False), (PAPER["3a"], True, False), (UNALIGNED, False, False), (UNALIGNED, False, True)],
)
@pytest.mark.parametrize("policy", POLICIES)
def test_an_inception_block_is_keras_own(policy, filters, norm_before_conv3, on_gpu):
    def part(x, kit):
        x = kit.norm_relu(inception_layer(x, filters, kit, "block", norm_before_conv3=norm_before_conv3), "after")
        return kit.conv(x, 8, 1, "after", normalised=False)

    plain, ours = both(part, (4, 6, 6, 24), policy, on_gpu=on_gpu)
    assert_same_results(plain, ours, 5 * TOLERANCE[policy])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_classifier_is_keras_own(policy):
    plain, ours = both(lambda x, kit: classifier_layer(x, 5, kit, "class_1", dropout=0.0), (4, 6, 6, 24), policy)
    assert_same_results(plain, ours, 3 * TOLERANCE[policy])


@pytest.fixture(scope="module")
def network_results():
    """What the whole network comes to, each kind of result as one vector; by layers, precision and device."""
    images = tf.random.stateless_uniform((4, 160, 160, 3), (0, 1))

    @functools.cache
    def of(layers, precision, device="cpu"):
        settings = {"precision": precision, "layers": layers, "device": device}
        network = build_model(StepConfig(image_size=160, classes=5, dropout=False, **settings))
        of_network = results(lambda images, training: network(images, training=training), network, images)
        return {
            kind: np.concatenate([np.ravel(tf.cast(value, tf.float64)) for value in values.values()])
            for kind, values in of_network.items()
        }

    return of


def distance(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("device", DEVICES)
def test_the_whole_network_is_keras_own(network_results, device):
    # Of the whole vector's length. A rounding error turns a ReLU or a pool's choice, so that gradients, which go
    # through all of them, differ by a percent where what they are gradients of differs by 0.002 %.
    tolerance = {"outputs": 2e-4, "moved": 2e-4, "inference": 2e-4, "gradients": 0.05}
    plain, ours = network_results("keras", "float32"), network_results("fused", "float32", device)
    for kind, expected in plain.items():
        assert distance(ours[kind], expected) <= tolerance[kind], kind


@pytest.mark.parametrize("precision", FLOAT16_IN_THE_CAMPAIGN)
@pytest.mark.parametrize("device", DEVICES)
def test_in_a_lower_precision_the_network_is_as_near_to_float32_as_keras_own(network_results, device, precision):
    exact, plain, ours = (
        network_results(*settings)
        for settings in (("keras", "float32"), ("keras", precision), ("fused", precision, device))
    )
    for kind, expected in exact.items():
        assert distance(ours[kind], expected) <= 1.2 * distance(plain[kind], expected), kind


@pytest.mark.parametrize("precision", [pytest.param("float32", marks=pytest.mark.campaign), *FLOAT16_IN_THE_CAMPAIGN])
def test_a_training_step_with_the_kernels_of_either_device_does_equal_work(precision):
    def losses(device):
        config = StepConfig(image_size=96, batch_size=8, dropout=False, precision=precision, device=device)
        step = make_train_step(build_model(config), config)
        return [float(step(*synthetic_batch(config)).loss) for _ in range(3)]

    judged = judge_trajectory(losses("gpu:0"), losses("cpu"), precision)
    assert judged.within, judged.reason


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_graph_that_only_tests_runs_in_16_bits_on_a_cpu(precision):
    config = StepConfig(precision=precision, batch_size=2, image_size=67, classes=3)
    model = build_model(config)
    # Where a filter is widened by a Pad, TensorFlow 2.21 ends the process here.
    outputs = make_test_step(model, config).with_logits(*synthetic_batch(config))
    assert np.isfinite(float(outputs.result.loss))


def test_the_main_output_alone_is_that_of_the_whole_network():
    for layers in LAYERS:
        network = build_model(StepConfig(image_size=67, classes=3, layers=layers))
        images = tf.random.stateless_uniform((2, 67, 67, 3), (0, 1))
        main, *_ = network(images, training=False)
        np.testing.assert_allclose(network.main_output(images, training=False), main, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("saved", "loaded"), [LAYERS, LAYERS[::-1]])
def test_weights_saved_by_one_load_into_the_other(tmp_path, saved, loaded):
    networks = {
        layers: build_model(StepConfig(image_size=67, classes=3, layers=layers, seed=seed))
        for seed, layers in enumerate(LAYERS)
    }
    networks[saved].save_weights(tmp_path / "network.weights.h5")
    networks[loaded].load_weights(tmp_path / "network.weights.h5")
    for ours, theirs in zip(*(network.get_weights() for network in networks.values()), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("scaled", [False, True])
def test_adam_is_keras_own(scaled):
    gradients = tf.random.stateless_normal((5, 3, 4), (0, 1))

    def trained(kind):
        variables = [keras.Variable(tf.ones((3, 4))), keras.Variable(tf.ones((4,)))]
        optimizer = kind(1e-2)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)
        optimizer.build(variables)

        @tf.function
        def update(gradient):
            optimizer.apply_gradients(zip([gradient, gradient[0]], variables, strict=True))

        for gradient in gradients:
            update(gradient)
        return [*variables, *optimizer.variables]

    for ours, theirs in zip(trained(fused.Adam), trained(keras.optimizers.Adam), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, err_msg=ours.path)
