"""The network, to the parameter."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gnet_core.config import GnetError, StepConfig
from gnet_core.frameworks.keras_layers import LayerKit, SwitchedDropout
from gnet_core.frameworks.tf.model import GoogleNet_2, build_model
from gnet_core.networks.googlenet import PAPER, classifier_layer, inception_layer


@pytest.fixture(scope="module")
def published():
    return GoogleNet_2((224, 224, 3), 47)


@pytest.fixture(scope="module")
def small():
    return build_model(StepConfig(image_size=67, classes=5, precision="mixed_bfloat16"))


def test_parameters_are_those_the_notebook_printed(published):
    counts = [model.count_params() for model in (published.inception_model, published.class_1, published.class_2)]
    assert counts == [5_592_255, 2_276_831, 3_774_031]
    assert published.count_params() == 8_179_037


def test_trainable_and_other_parameters_are_those_the_notebook_printed(published):
    trainable = sum(np.prod(variable.shape) for variable in published.trainable_variables)
    assert (trainable, published.count_params() - trainable) == (8_140_253, 38_784)


def count_block_parameters(channels, widths, norm_before_conv3):
    """A block of the paper counted by hand: convolutions with bias, four parameters a channel for batch norm."""
    a, b, e, c, f, d = widths
    convolutions = [(channels, a, 1), (channels, b, 1), (b, e, 3), (channels, c, 1), (c, f, 5), (channels, d, 1)]
    norms = [channels, channels, channels, channels, c] + ([b] if norm_before_conv3 else [])
    return sum(i * o * k * k + o for i, o, k in convolutions) + 4 * sum(norms)


def test_a_block_of_the_papers_width_has_the_parameters_counted_by_hand():
    inputs = keras.Input((28, 28, 192))
    outputs = inception_layer(inputs, PAPER["3a"], LayerKit(), "block", norm_before_conv3=True)
    assert outputs.shape == (None, 28, 28, 256)  # arXiv 1409.4842, table 1
    assert keras.Model(inputs, outputs).count_params() == count_block_parameters(192, PAPER["3a"], True)


@pytest.mark.parametrize(
    ("block", "channels"),
    [
        ("3a", 256),
        ("3b", 480),
        ("4a", 512),
        ("4b", 512),
        ("4c", 512),
        ("4d", 528),
        ("4e", 832),
        ("5a", 832),
        ("5b", 1024),
    ],
)
def test_the_papers_blocks_have_the_channels_of_its_table_1(block, channels):
    filters = PAPER[block]
    assert filters.conv1 + filters.conv3 + filters.conv5 + filters.pool == channels


def test_the_classifier_at_full_size_pools_to_3_by_3():
    inputs = keras.Input((12, 12, 512))
    model = keras.Model(inputs, classifier_layer(inputs, 47, LayerKit(), "head"))
    assert model.get_layer("head_pool").output.shape == (None, 3, 3, 512)
    assert model.output.shape == (None, 47)


def test_one_call_passes_over_the_trunk_once(small):
    function = tf.function(lambda images: small(images, training=False))
    graph = function.get_concrete_function(tf.TensorSpec((1, 67, 67, 3))).graph
    convolutions = [layer for layer in small.layers if isinstance(layer, keras.layers.Conv2D)]
    assert sum(operation.type == "Conv2D" for operation in graph.get_operations()) == len(convolutions)


def test_the_sub_models_share_the_trunks_weights_and_outputs(small):
    images = tf.random.stateless_uniform((2, 67, 67, 3), (0, 1))
    outputs = small(images, training=False)
    for model, output in zip((small.inception_model, small.class_1, small.class_2), outputs, strict=True):
        np.testing.assert_array_equal(model(images, training=False), output)
        assert model.get_layer("stem_7x7") is small.get_layer("stem_7x7")


def test_mixed_precision_is_a_policy_of_each_layer_and_logits_and_variables_are_float32(small):
    assert keras.config.dtype_policy().name == "float32"
    computed = {layer.name: layer.compute_dtype for layer in small.layers}
    in_float32 = {name for name, dtype in computed.items() if dtype == "float32"}
    assert in_float32 == {"images", "main_logits", "class_1_logits", "class_2_logits"}
    assert {variable.dtype for variable in small.trainable_variables} == {"float32"}
    assert {output.dtype for output in small(tf.zeros((1, 67, 67, 3)))} == {tf.float32}


def test_a_saved_network_comes_back_the_same(small, tmp_path):
    small.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert type(loaded) is GoogleNet_2
    images = tf.random.stateless_uniform((2, 67, 67, 3), (1, 2))
    for before, after in zip(small(images), loaded(images), strict=True):
        np.testing.assert_array_equal(before, after)
    assert loaded.class_1.get_layer("stem_7x7") is loaded.get_layer("stem_7x7")


def test_an_image_too_small_is_refused_by_its_size():
    with pytest.raises(GnetError, match=r"image_size: 66 .* at least 67"):
        GoogleNet_2((66, 66, 3), 10)


def test_the_seed_decides_the_weights():
    def first_kernel(seed):
        return build_model(StepConfig(image_size=67, seed=seed)).get_layer("stem_7x7").kernel.numpy()

    np.testing.assert_array_equal(first_kernel(1), first_kernel(1))
    assert not np.array_equal(first_kernel(1), first_kernel(2))


def test_dropout_can_be_switched_off():
    model = build_model(StepConfig(image_size=67, dropout=False))
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {"main_dropout": 0.0, "class_1_dropout": 0.0, "class_2_dropout": 0.0}


def test_the_switch_is_no_weight(small):
    assert not [variable.path for variable in small.variables if "switch" in variable.path]
    assert len(small.get_weights()) == len(small.weights)


def test_as_published_ends_in_a_relu():
    model = build_model(StepConfig(image_size=67, as_published=True))
    assert float(tf.reduce_min(model(tf.random.uniform((4, 67, 67, 3)))[0])) == 0.0


@pytest.fixture
def network_with_dropout():
    """One of each kind of layer that a step needs, small enough to compile in a second."""

    def build(dtype, rate=0.5):
        inputs = keras.Input((16,))
        x = keras.layers.Dense(32, dtype=dtype, kernel_initializer=keras.initializers.GlorotUniform(3))(inputs)
        x = SwitchedDropout(rate, dtype=dtype, seed=1)(x)
        return keras.Model(inputs, keras.layers.Dense(4, dtype="float32", kernel_initializer="ones")(x))

    return build


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_dropout_goes_off_and_on_within_one_trace(network_with_dropout, execution, dtype):
    model, without = network_with_dropout(dtype), network_with_dropout(dtype, rate=0.0)
    traces = []

    def body(images):
        traces.append(1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(images, training=True) ** 2)
        return loss, tape.gradient(loss, model.trainable_variables)[0]

    step = body if execution == "eager" else tf.function(body, jit_compile=execution == "xla")
    images = tf.random.stateless_uniform((8, 16), (0, 1))
    on = [float(step(images)[0]) for _ in range(2)]
    layer = model.layers[2]
    layer.switch.assign(0.0)
    off = [step(images) for _ in range(2)]
    layer.switch.assign(1.0)
    on_again = float(step(images)[0])

    assert on[0] != on[1]
    assert float(off[0][0]) == float(off[1][0])
    np.testing.assert_array_equal(off[0][1], off[1][1])
    expected = float(tf.reduce_mean(without(images, training=True) ** 2))
    assert float(off[0][0]) == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-2)
    assert on_again not in (on[0], on[1], float(off[0][0]))
    assert execution == "eager" or len(traces) == 1


def test_switched_dropout_drops_its_rate_and_keeps_the_mean():
    layer = SwitchedDropout(0.7, seed=0)
    dropped = layer(tf.ones((200, 200)), training=True).numpy()
    assert np.mean(dropped == 0) == pytest.approx(0.7, abs=0.02)
    assert np.mean(dropped) == pytest.approx(1.0, abs=0.05)
    np.testing.assert_array_equal(layer(tf.ones((2, 2)), training=False), 1.0)


def test_the_network_switches_all_its_dropout(small):
    small.set_dropout(False)
    assert [float(layer.switch) for layer in small.layers if isinstance(layer, SwitchedDropout)] == [0.0] * 3
    small.set_dropout(True)
    assert [float(layer.switch) for layer in small.layers if isinstance(layer, SwitchedDropout)] == [1.0] * 3
