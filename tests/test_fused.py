"""Fused layers compute what Keras' own compute: same weights in, same outputs, gradients and moving statistics out."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from gnet_core import fused
from gnet_core.config import LAYERS, StepConfig
from gnet_core.model import PUBLISHED, LayerKit, build_model, classifier_layer, inception_layer

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")

# Of a result's largest magnitude. What both compute in float32 differs by the order of sums; a value of 8 or 11 bits
# that falls on the other side of a rounding is one unit in its last place away.
LAYER_TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 1e-2, "mixed_float16": 2e-3}


def assert_alike(found, expected, tolerance):
    found, expected = (np.asarray(tf.cast(each, tf.float32)) for each in (found, expected))
    assert found.shape == expected.shape
    assert np.max(np.abs(found - expected)) <= tolerance * np.max(np.abs(expected)) + 1e-6


def set_same_weights(*models):
    """Weights as training leaves them, the same in all of the models: none is 0 or 1."""
    chance = np.random.default_rng(0)
    for variables in zip(*(model.weights for model in models), strict=True):
        shape = variables[0].shape
        if "seed" in variables[0].path:
            continue
        scale = 0.1 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[:-1]))
        value = scale * chance.standard_normal(shape)
        value += {"gamma": 1.0, "moving_variance": 1.0}.get(variables[0].name, 0.0)
        for variable in variables:
            variable.assign(np.abs(value) if variable.name == "moving_variance" else value)


def results(model, images, execution="graph"):
    """Outputs in training, the gradients of a weighted sum of them, outputs in inference, and what was left behind."""

    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = [tf.cast(each, tf.float32) for each in tf.nest.flatten(model(images, training=True))]
            loss = sum(
                tf.reduce_mean(each * tf.cos(tf.range(tf.size(each), dtype=tf.float32)[: tf.shape(each)[-1]]))
                for each in outputs
            )
        return outputs, tape.gradient(loss, [images, *model.trainable_variables])

    run = step if execution == "eager" else tf.function(step, jit_compile=execution == "xla")
    outputs, gradients = run(images)
    return {
        "outputs": outputs,
        "gradients": gradients,
        "moved": list(model.non_trainable_variables),
        "inference": tf.nest.flatten(model(images, training=False)),
    }


def path_of(value):
    """Of a variable; the generators' seeds are variables as well."""
    return getattr(value, "path", "")


def assert_same_results(models, images, tolerance, execution="graph"):
    plain, ours = models
    expected = results(plain, images, execution)
    for kind, values in results(ours, images, execution).items():
        assert len(values) == len(expected[kind]) > 0
        for value, other in zip(values, expected[kind], strict=True):
            if "seed" not in path_of(other):
                assert_alike(value, other, tolerance)


def images_of(shape, policy="float32"):
    return tf.cast(tf.random.stateless_normal(shape, (1, 2)) * 2 + 1, keras.DTypePolicy(policy).compute_dtype)


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize("policy", POLICIES)
def test_batch_normalization_is_keras_own(policy, execution):
    models = []
    for layer in (keras.layers.BatchNormalization, fused.BatchNormalization):
        inputs = keras.Input((5, 6, 7), dtype=keras.DTypePolicy(policy).compute_dtype)
        models.append(keras.Model(inputs, layer(momentum=0.9, name="bn", dtype=policy)(inputs)))
    set_same_weights(*models)
    assert_same_results(models, images_of((4, 5, 6, 7), policy), LAYER_TOLERANCE[policy], execution)


def test_moving_variance_is_of_the_batch_and_not_of_what_it_was_drawn_from():
    layer = fused.BatchNormalization(momentum=0.0)
    images = tf.reshape(tf.constant([0.0, 2.0]), (2, 1, 1, 1))  # variance 1; unbiased it would be 2
    layer(images, training=True)
    np.testing.assert_allclose(layer.moving_variance, [1.0], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_mean, [1.0], rtol=1e-6)


def test_a_frozen_layer_uses_and_keeps_its_moving_statistics():
    layer = fused.BatchNormalization()
    layer.trainable = False
    images = images_of((4, 3, 3, 2))
    np.testing.assert_allclose(layer(images, training=True), images / np.sqrt(1 + layer.epsilon), rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, [0.0, 0.0])


@pytest.mark.parametrize("norm_before_conv3", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_an_inception_block_is_keras_own(policy, norm_before_conv3):
    models = []
    for layers in LAYERS:
        inputs = keras.Input((6, 6, 24), dtype=keras.DTypePolicy(policy).compute_dtype)
        kit = LayerKit(dtype=policy, layers=layers, norm_before_conv3=norm_before_conv3)
        models.append(keras.Model(inputs, inception_layer(inputs, PUBLISHED["3a"], kit, "block")))
    set_same_weights(*models)
    assert_same_results(models, images_of((4, 6, 6, 24), policy), 3 * LAYER_TOLERANCE[policy])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_classifier_is_keras_own(policy):
    models = []
    for layers in LAYERS:
        inputs = keras.Input((6, 6, 24), dtype=keras.DTypePolicy(policy).compute_dtype)
        head = classifier_layer(inputs, 5, LayerKit(dtype=policy, layers=layers), "class_1", dropout=0.0)
        models.append(keras.Model(inputs, head))
    set_same_weights(*models)
    assert_same_results(models, images_of((4, 6, 6, 24), policy), 3 * LAYER_TOLERANCE[policy])


@pytest.fixture(scope="module")
def network_results():
    """What the whole network comes to, each kind of result as one vector; by layers and precision."""
    images = tf.random.stateless_uniform((4, 160, 160, 3), (0, 1))

    @functools.cache
    def of(layers, precision):
        config = StepConfig(image_size=160, classes=5, precision=precision, dropout=False, layers=layers)
        return {
            kind: np.concatenate(
                [np.ravel(tf.cast(each, tf.float64)) for each in values if "seed" not in path_of(each)]
            )
            for kind, values in results(build_model(config), images).items()
        }

    return of


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_the_whole_network_is_keras_own(network_results):
    # Of the whole vector's length. A rounding error turns a ReLU or a pool's choice, so that gradients, which go
    # through all of them, differ by a percent where what they are gradients of differs by 0.002 %.
    tolerance = {"outputs": 2e-4, "moved": 2e-4, "inference": 2e-4, "gradients": 0.05}
    plain, ours = (network_results(layers, "float32") for layers in LAYERS)
    for kind, expected in plain.items():
        assert distance(ours[kind], expected) <= tolerance[kind], kind


@pytest.mark.parametrize("precision", POLICIES[1:])
def test_in_a_lower_precision_the_network_is_as_near_to_float32_as_keras_own(network_results, precision):
    exact, plain, ours = (
        network_results(*each) for each in (("keras", "float32"), *((layers, precision) for layers in LAYERS))
    )
    for kind, expected in exact.items():
        assert distance(ours[kind], expected) <= 1.2 * distance(plain[kind], expected), kind


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
