"""The train and test step, on a network small enough to compile in a second, in every execution and precision."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.python.eager import context

from gnet_core.config import StepConfig
from gnet_core.frameworks.tf.step import make_test_step, make_train_step

CONFIG = StepConfig(batch_size=8, image_size=67, classes=3, dropout=False)


class TinyNetwork(keras.Model):  # type: ignore[misc]
    """Three outputs over one convolution, shaped like the real one."""

    def __init__(self, config: StepConfig) -> None:
        dtype = config.precision if config.precision.startswith("mixed_") else "float32"
        keras.utils.set_random_seed(config.seed)
        inputs = keras.Input((config.image_size, config.image_size, 3))
        # Batch norm takes a bias out again: its gradient would be rounding noise that Adam makes into whole steps.
        x = layers.Conv2D(4, 7, strides=8, use_bias=False, dtype=dtype, name="trunk")(inputs)
        x = layers.BatchNormalization(momentum=0.9, dtype=dtype, synchronized=config.synchronises)(x)
        x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
        outputs = [layers.Dense(config.classes, dtype="float32", name=name)(x) for name in ("main", "aux_1", "aux_2")]
        super().__init__(inputs, tuple(outputs))
        self.inception_model = keras.Model(inputs, outputs[0])

    def main_output(self, images, training):
        return self.inception_model(images, training=training)


def batch(config=CONFIG):
    """Images whose mean tells their label."""
    labels = np.arange(config.batch_size) % config.classes
    noise = np.random.default_rng(0).random((config.batch_size, config.image_size, config.image_size, 3))
    images = 0.2 * noise + labels[:, None, None, None] / config.classes
    return tf.constant(images, tf.float32), tf.constant(labels, tf.uint16)


def train(steps, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    model = TinyNetwork(config)
    step = make_train_step(model, config)
    losses = [float(step(*batch(config)).loss) for _ in range(steps)]
    return losses, model, step


def weights(model, name):
    return model.get_layer(name).get_weights()


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_every_execution_and_precision_learns(execution, precision):
    losses, _, step = train(40, execution=execution, precision=precision, learning_rate=0.05)
    assert losses[-1] < 0.6 * losses[0]
    assert step.trace_count == (0 if execution == "eager" else 1)


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_executions_agree_with_eager_on_losses_and_weights(execution):
    eager_losses, eager, _ = train(3, execution="eager")
    losses, model, _ = train(3, execution=execution)
    np.testing.assert_allclose(losses, eager_losses, rtol=1e-4)
    for mine, theirs in zip(model.variables, eager.variables, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-4, err_msg=mine.path)


def test_the_result_stays_on_the_device_as_float32_scalars():
    model = TinyNetwork(CONFIG)
    result = make_train_step(model, CONFIG)(*batch())
    assert all(isinstance(tensor, tf.Tensor) for tensor in result)
    assert [(tensor.dtype, tensor.shape.rank) for tensor in result] == [(tf.float32, 0)] * 3


def test_one_trace_a_shape():
    model = TinyNetwork(CONFIG)
    step = make_train_step(model, CONFIG)
    images, labels = batch()
    step.trace(images, labels)
    assert step.trace_count == 1
    step(images, labels)
    step(images + 0.0, labels)
    assert step.trace_count == 1
    step(images[:4], labels[:4])
    assert step.trace_count == 2


def test_the_loss_adds_the_auxiliary_losses_by_their_weight():
    images, labels = batch()
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = TinyNetwork(CONFIG)
    main, aux_1, aux_2 = (float(crossentropy(labels, logits)) for logits in model(images, training=False))
    for weight in (0.3, 0.0):
        step = make_test_step(model, dataclasses.replace(CONFIG, execution="eager", aux_weight=weight))
        assert float(step(images, labels).loss) == pytest.approx(main + weight * (aux_1 + aux_2), rel=1e-5)


def test_auxiliary_losses_train_their_classifiers_and_without_them_they_stand_still():
    for changes, trained in ({}, True), ({"aux_weight": 0.0}, False), ({"as_published": True}, False):
        config = dataclasses.replace(CONFIG, **changes)
        before = weights(TinyNetwork(config), "aux_1")
        _, model, _ = train(1, **changes)
        moved = not np.array_equal(before[0], weights(model, "aux_1")[0])
        assert moved == trained, changes


def test_metrics_are_means_since_their_reset():
    model = TinyNetwork(CONFIG)
    step = make_test_step(model, CONFIG)
    images, labels = batch()
    first = step(images, labels)
    half = step(images[:4], labels[:4])
    assert float(half.mean_loss) == pytest.approx((float(first.loss) + float(half.loss)) / 2, rel=1e-5)
    step.reset_metrics()
    again = step(images[:4], labels[:4])
    assert float(again.mean_loss) == pytest.approx(float(half.loss), rel=1e-5)


def test_accuracy_is_that_of_the_main_output():
    model = TinyNetwork(CONFIG)
    images, labels = batch()
    expected = np.mean(np.argmax(model(images, training=False)[0], axis=1) == labels.numpy())
    assert float(make_test_step(model, CONFIG)(images, labels).accuracy) == pytest.approx(expected)


def test_the_test_step_changes_no_weight_and_no_moving_statistic():
    model = TinyNetwork(CONFIG)
    before = model.get_weights()
    make_test_step(model, CONFIG)(*batch())
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_float16_counts_the_steps_that_loss_scaling_skipped_and_leaves_the_weights_alone():
    config = dataclasses.replace(CONFIG, precision="mixed_float16")
    model = TinyNetwork(config)
    step = make_train_step(model, config)
    images, labels = batch()
    before = weights(model, "trunk")
    step(images * np.inf, labels)
    assert step.skipped_steps() == 1
    np.testing.assert_array_equal(before[0], weights(model, "trunk")[0])
    model.layers[2].set_weights(TinyNetwork(config).layers[2].get_weights())  # its moving statistics took the infinity
    step(images, labels)
    assert step.skipped_steps() == 1
    assert not np.array_equal(before[0], weights(model, "trunk")[0])


def test_other_precisions_skip_nothing():
    _, _, step = train(2)
    assert step.skipped_steps() == 0


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("part", ["forward", "gradients"])
def test_a_part_of_the_step_gives_its_loss_and_moves_statistics_but_no_weight(execution, precision, part):
    changes = {"execution": execution, "precision": precision}
    whole_losses, _, whole = train(1, **changes)
    losses, model, step = train(2, part=part, **changes)
    assert losses == [pytest.approx(whole_losses[0], rel=1e-3)] * 2
    before = TinyNetwork(dataclasses.replace(CONFIG, **changes))
    for new, old in zip(model.trainable_variables, before.trainable_variables, strict=True):
        np.testing.assert_array_equal(new.numpy(), old.numpy())
    moved = [(new.numpy() != old.numpy()).any() for new, old in zip(model.variables, before.variables, strict=True)]
    assert any(moved)
    assert (step.applied_steps(), step.skipped_steps()) == (0, 0)
    assert whole.applied_steps() + whole.skipped_steps() == 1


def kernels_that_ran(part, **changes):
    """The kinds of operation in the graph that ran, as TensorFlow's optimiser left it."""
    config = dataclasses.replace(CONFIG, part=part, **changes)
    step = make_train_step(TinyNetwork(config), config)
    context.enable_graph_collection()
    try:
        step(*batch(config))
        graphs = context.export_run_metadata().partition_graphs
    finally:
        context.disable_graph_collection()
    nodes = [node for graph in graphs for node in graph.node]
    gradients = sum("Conv2DBackpropFilter" in node.op for node in nodes)
    forward = sum("Conv2D" in node.op and "Backprop" not in node.op for node in nodes)
    return (
        forward,
        gradients,
        sum("adam" in node.name.casefold() and node.op.startswith(("Assign", "ResourceApply")) for node in nodes),
    )


def test_no_part_of_a_graph_is_pruned_and_nothing_else_is_in_it():
    assert kernels_that_ran("forward") == (1, 0, 0)
    assert kernels_that_ran("gradients") == (1, 1, 0)
    forward, gradients, updates = kernels_that_ran("train")
    assert (forward, gradients) == (1, 1)
    assert updates > 0


def convolutions_compiled(part):
    """How many convolutions are left in what XLA compiled and optimised."""
    config = dataclasses.replace(CONFIG, part=part, execution="xla")
    step: Any = make_train_step(TinyNetwork(config), config)
    compiled = step.function.experimental_get_compiler_ir(*batch(config))(stage="optimized_hlo")
    return compiled.count(" convolution(")


def test_no_part_of_an_xla_program_is_pruned():
    assert [convolutions_compiled(part) for part in ("forward", "gradients", "train")] == [1, 2, 2]


@pytest.mark.parametrize(
    ("changes", "computed"), [({}, True), ({"aux_weight": 0.0}, False), ({"as_published": True}, True)]
)
def test_classifiers_without_a_loss_are_computed_only_as_published(changes, computed):
    config = dataclasses.replace(CONFIG, **changes)
    step: Any = make_train_step(TinyNetwork(config), config)
    graph = step.function.get_concrete_function(*batch(config)).graph
    assert any("aux_1" in operation.name for operation in graph.get_operations()) == computed


def test_applied_steps_count_only_steps_that_moved_the_weights():
    config = dataclasses.replace(CONFIG, precision="mixed_float16")
    step = make_train_step(TinyNetwork(config), config)
    images, labels = batch()
    step(images * np.inf, labels)
    assert (step.applied_steps(), step.skipped_steps()) == (0, 1)


def trained_weights(execution, precision="float32", layers_kind="fused", **options):
    config = dataclasses.replace(CONFIG, execution=execution, precision=precision, layers=layers_kind)
    model = TinyNetwork(config)
    step = make_train_step(model, config, **options)
    for _ in range(3):
        step(*batch())
    return model, step


@pytest.mark.parametrize("layers_kind", ["fused", "keras"])
def test_weight_decay_takes_the_learning_rate_times_itself_off_kernels_and_leaves_biases_alone(layers_kind):
    """Without a gradient Adam stands still, so what moves is the decay."""
    config = dataclasses.replace(CONFIG, execution="eager", learning_rate=0.5, layers=layers_kind, aux_weight=0.0)
    model = TinyNetwork(config)
    step, trained = make_train_step(model, config, weight_decay=0.1), model.inception_model.trainable_variables
    biases = [variable for variable in trained if len(variable.shape) < 2]
    for variable in biases:
        variable.assign(np.ones(variable.shape, np.float32))
    kernels = [variable for variable in trained if len(variable.shape) >= 2]
    before = [variable.numpy() for variable in kernels]
    gradients = [(tf.zeros(variable.shape), variable) for variable in trained]
    step.optimizer.apply_gradients(gradients)
    for variable, value in zip(kernels, before, strict=True):
        np.testing.assert_allclose(variable.numpy(), 0.95 * value, rtol=1e-6)
    for variable in biases:
        np.testing.assert_array_equal(variable.numpy(), np.ones(variable.shape, np.float32))


def test_smoothed_labels_add_their_share_of_all_classes_to_each_loss():
    images, labels = batch()
    config = dataclasses.replace(CONFIG, execution="eager")
    model = TinyNetwork(config)
    outputs = model(images, training=True)
    smoothed = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)
    one_hot = tf.one_hot(tf.cast(labels, tf.int32), config.classes)
    main, aux_1, aux_2 = (float(smoothed(one_hot, logits)) for logits in outputs)
    expected = main + config.aux_weight * (aux_1 + aux_2)
    step = make_train_step(TinyNetwork(config), config, label_smoothing=0.3)
    assert float(step(images, labels).loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("layers_kind", ["fused", "keras"])
def test_the_learning_rate_may_be_assigned_between_steps_without_another_trace(execution, precision, layers_kind):
    model, step = trained_weights(execution, precision, layers_kind, weight_decay=0.1, label_smoothing=0.1)
    step.optimizer.learning_rate = 0.0
    before = weights(model, "trunk")
    step(*batch())
    np.testing.assert_array_equal(before[0], weights(model, "trunk")[0])
    step.optimizer.learning_rate = 0.1
    for _ in range(4):  # loss scaling may leave some out
        step(*batch())
    assert not np.array_equal(before[0], weights(model, "trunk")[0])
    assert step.trace_count == (0 if execution == "eager" else 1)


def test_what_a_session_may_add_to_a_step_changes_nothing_where_it_is_off():
    plain, _ = trained_weights("graph")
    off, _ = trained_weights("graph", weight_decay=0.0, label_smoothing=0.0)
    for ours, theirs in zip(plain.variables, off.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6, err_msg=ours.path)


def test_a_test_step_tells_its_logits_beside_its_result():
    model = TinyNetwork(CONFIG)
    images, labels = batch()
    step = make_test_step(model, CONFIG)
    result, logits = step.with_logits(images, labels)
    assert float(result.loss) == pytest.approx(float(step(images, labels).loss))
    np.testing.assert_allclose(logits, model(images, training=False)[0], rtol=1e-4, atol=1e-5)
