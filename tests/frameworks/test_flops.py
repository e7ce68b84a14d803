"""FLOP from layer shapes, against counts by hand, the published figures and TensorFlow's own counter."""

import dataclasses

import keras
import pytest
import tensorflow as tf
from keras import layers

from gnet_core.config import GnetError, StepConfig
from gnet_core.frameworks.flops import multiply_adds, train_step_flop_per_image
from gnet_core.frameworks.keras_layers import LayerKit
from gnet_core.frameworks.tf.model import GoogleNet_2, build_model
from gnet_core.frameworks.tf.step import make_train_step
from gnet_core.networks.googlenet import PUBLISHED, inception_layer

COUNTED = {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "MatMul"}
SMALL = StepConfig(batch_size=2, image_size=67, classes=5, layers="keras")  # fused ones fill up channels


@pytest.fixture(scope="module")
def published():
    return GoogleNet_2((224, 224, 3), 47)


@pytest.fixture(scope="module")
def small():
    return build_model(SMALL)


def counted_by_tensorflow(graph, names=frozenset()):
    """FLOP of the graph's convolutions and matrix products (of those named), where a multiply-add counts 2."""
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    tree = tf.compat.v1.profiler.profile(graph, cmd="scope", options=options)
    flop = {node.name: node.float_ops for node in leaves(tree)}
    types = {operation.name: operation.type for operation in graph.get_operations()}
    return sum(count for name, count in flop.items() if types.get(name) in COUNTED and (not names or name in names))


def leaves(node):
    return [node] if not node.children else [leaf for child in node.children for leaf in leaves(child)]


def traced_train_step(model, config):
    size = config.image_size
    step = make_train_step(model, config)
    assert isinstance(step.function, tf.types.experimental.PolymorphicFunction)
    images, labels = tf.TensorSpec((config.batch_size, size, size, 3)), tf.TensorSpec((config.batch_size,), tf.uint16)
    return step.function.get_concrete_function(images, labels).graph


def needed_operations(graph):
    """Names of whatever the graph's results and changes of state depend on: the rest never runs."""
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    needed = set()
    while waiting:
        operation = waiting.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return needed


class TinyNetwork(keras.Model):  # type: ignore[misc]
    """Two convolutions and three outputs over them, shaped like the real one."""

    def __init__(self, size: int | None = 8) -> None:
        inputs = keras.Input((size, size, 3))
        x = layers.Conv2D(4, 3, strides=2, padding="same", name="first")(inputs)  # 8 → 4
        x = layers.Conv2D(5, 3, padding="same", name="second")(x)
        x = layers.GlobalAveragePooling2D()(x)
        outputs = [layers.Dense(7, name=name)(x) for name in ("main", "class_1", "class_2")]
        super().__init__(inputs, tuple(outputs))
        self.inception_model = keras.Model(inputs, outputs[0])

    def main_output(self, images, training):
        return self.inception_model(images, training=training)


FIRST, SECOND, DENSE = 4 * 4 * 3 * 3 * 3 * 4, 4 * 4 * 3 * 3 * 4 * 5, 5 * 7


def test_multiply_adds_of_a_tiny_network_are_those_counted_by_hand():
    expected = {"first": FIRST, "second": SECOND, "main": DENSE, "class_1": DENSE, "class_2": DENSE}
    assert multiply_adds(TinyNetwork()) == expected


def test_a_train_step_is_three_passes_but_for_the_gradient_of_the_images():
    expected = 2 * (2 * FIRST + 3 * (SECOND + 3 * DENSE))
    assert train_step_flop_per_image(TinyNetwork(), StepConfig()) == expected


def test_the_optimizer_counts_for_nothing():
    model = TinyNetwork()
    assert train_step_flop_per_image(model, StepConfig(part="gradients")) == train_step_flop_per_image(
        model, StepConfig()
    )


def test_a_step_without_gradients_is_one_pass():
    config = StepConfig(part="forward")
    assert train_step_flop_per_image(TinyNetwork(), config) == 2 * (FIRST + SECOND + 3 * DENSE)


@pytest.mark.parametrize("config", [StepConfig(aux_weight=0), StepConfig(as_published=True)])
def test_classifiers_that_are_not_trained_count_for_nothing(config):
    assert train_step_flop_per_image(TinyNetwork(), config) == 2 * (2 * FIRST + 3 * (SECOND + DENSE))


def test_a_block_has_the_multiply_adds_counted_by_hand():
    inputs = keras.Input((26, 26, 192))
    model = keras.Model(inputs, inception_layer(inputs, PUBLISHED["3a"], LayerKit(), "3a"))
    a, b, e, c, f, d = PUBLISHED["3a"]
    expected = 26 * 26 * (192 * (a + b + c + d) + 9 * b * e + 25 * c * f)
    assert sum(multiply_adds(model).values()) == expected


def test_a_forward_pass_is_the_published_1_2138_billion_multiply_adds(published):
    assert sum(multiply_adds(published).values()) / 1e9 == pytest.approx(1.2138, abs=5e-5)


def test_a_train_step_is_the_published_7_06_gflop(published):
    assert train_step_flop_per_image(published, StepConfig()) / 1e9 == pytest.approx(7.06, abs=5e-3)


def test_tensorflow_counts_the_same_in_the_forward_graph(published):
    function = tf.function(lambda images: published(images, training=True))
    graph = function.get_concrete_function(tf.TensorSpec((1, 224, 224, 3))).graph
    assert counted_by_tensorflow(graph) == 2 * sum(multiply_adds(published).values())


def test_tensorflow_counts_the_same_in_what_a_traced_train_step_needs(small):
    graph = traced_train_step(small, SMALL)
    counted = counted_by_tensorflow(graph, needed_operations(graph))
    # Of a strided convolution's gradient TensorFlow takes (67 / 2)² positions where the valid ones are 31².
    stem_excess = 2 * ((67 / 2) ** 2 - 31**2) * 7 * 7 * 3 * 64
    assert counted == SMALL.batch_size * (train_step_flop_per_image(small, SMALL) + stem_excess)


@pytest.mark.parametrize(
    "changes", [{}, {"aux_weight": 0.0}, {"as_published": True}, {"part": "gradients"}, {"part": "forward"}]
)
def test_a_traced_step_needs_nothing_that_is_not_counted(changes):
    config = dataclasses.replace(SMALL, image_size=68, **changes)
    model = TinyNetwork(config.image_size)
    graph = traced_train_step(model, config)
    counted = counted_by_tensorflow(graph, needed_operations(graph))
    assert counted == config.batch_size * train_step_flop_per_image(model, config)


def test_the_precision_does_not_change_the_count(small):
    mixed = dataclasses.replace(SMALL, precision="mixed_bfloat16")
    assert train_step_flop_per_image(build_model(mixed), mixed) == train_step_flop_per_image(small, SMALL)


def test_a_network_of_no_fixed_image_size_is_refused_by_its_layer():
    with pytest.raises(GnetError, match=r"model: the output of layer 'first' is .* build the model for images of one"):
        train_step_flop_per_image(TinyNetwork(size=None), StepConfig())
