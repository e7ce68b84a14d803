"""The train step and the test step: the only home of @tf.function and of jit_compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gnet_core.config import Execution, GnetError, StepConfig
from gnet_core.frameworks.tf import device, fused
from gnet_core.frameworks.tf.model import GoogleNet_2
from gnet_core.frameworks.tf.replicas import replicas_of
from gnet_core.networks.builder import Tensor


class StepResult(NamedTuple):
    """Results of a step, float32 scalars on the device. The last two are running means since `reset_metrics`."""

    loss: Tensor
    mean_loss: Tensor
    accuracy: Tensor


class ResultAndGradients(NamedTuple):
    """Outputs of a step without an optimizer. They include the gradients, which would not be computed unread."""

    result: StepResult
    gradients: list[Tensor]
    """Gradients in float32, one a trained variable."""


class ResultAndLogits(NamedTuple):
    """Outputs of a test step, of which a session also counts what was said of which image."""

    result: StepResult
    logits: Tensor
    """The main output, float32 (batch, classes)."""


Body = Callable[[Tensor, Tensor], StepResult | ResultAndGradients | ResultAndLogits]


class Step:
    """A callable step: images float32 (batch, size, size, 3) and labels uint16 (batch,) → StepResult.

    It never waits for the device. Without an `optimizer` nothing updates the weights.
    """

    def __init__(
        self,
        body: Body,
        config: StepConfig,
        metrics: list[Any],
        optimizer: Any = None,
        own_part: Callable[[Tensor, Tensor], ResultAndGradients] | None = None,
        variables: Sequence[Any] = (),
    ) -> None:
        device.set_tf32(config.precision)
        self.execution: Execution = config.execution
        self.metrics = metrics
        self.optimizer = optimizer
        self.own_part = own_part
        """What one of several replicas does by itself, forward and backward; None of a step without gradients."""
        self.variables = variables
        """Variables that have a gradient, in its order."""
        self.calls = 0
        self.trace_count = 0
        self.function: Body = body
        if config.execution != "eager":

            def counted(images: Tensor, labels: Tensor) -> StepResult | ResultAndGradients | ResultAndLogits:
                self.trace_count += 1  # Python runs only while tracing
                return body(images, labels)

            # No step has Python control flow over tensors for AutoGraph to convert, which it would take time to see.
            # Of several replicas XLA compiles what each does by itself (see replicas.Several).
            whole = config.execution == "xla" and config.total_replicas == 1
            self.function = tf.function(counted, jit_compile=whole, autograph=False)

    def __call__(self, images: Tensor, labels: Tensor) -> StepResult:
        self.calls += 1
        returned = self.function(images, labels)
        return returned if isinstance(returned, StepResult) else returned.result

    def with_logits(self, images: Tensor, labels: Tensor) -> ResultAndLogits:
        """As a call, of a step that make_test_step has made."""
        self.calls += 1
        returned = self.function(images, labels)
        assert isinstance(returned, ResultAndLogits)
        return returned

    def trace(self, images: Tensor, labels: Tensor) -> None:
        """Trace for these shapes without running, where the execution traces at all. XLA compiles at the first call."""
        if isinstance(self.function, tf.types.experimental.PolymorphicFunction):
            self.function.get_concrete_function(images, labels)

    def reset_metrics(self) -> None:
        for metric in self.metrics:
            metric.reset_state()

    def applied_steps(self) -> int:
        """Updates of the weights by the optimizer, restored ones included; 0 without one. Waits for the device."""
        if self.optimizer is None:
            return 0
        return int(getattr(self.optimizer, "inner_optimizer", self.optimizer).iterations.numpy())

    def skipped_steps(self) -> int:
        """Steps that loss scaling left out; of a restored optimizer only differences count. Waits for the device."""
        return 0 if self.optimizer is None else self.calls - self.applied_steps()


def make_train_step(
    model: GoogleNet_2,
    config: StepConfig,
    *,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
) -> Step:
    """The step that trains `model` in place as the case says. Loss = main + aux_weight · (class_1 + class_2).

    Where config.part leaves out the optimizer, the weights stay as they are; moving statistics and metrics move on.
    What a training session adds is off by default: `weight_decay`, times the learning rate, comes off the weights of
    convolutions and dense layers before each update; labels are smoothed over all classes. The learning rate is a
    variable, which may be assigned to step.optimizer.learning_rate between steps.

    Several replicas take it in the scope of their strategy: each does its own part, gradients are summed over all of
    them, and the result is the whole batch's; where config.all_reduce is off, it is that of this process's first
    replica.

    >>> import numpy as np
    >>> from gnet_core import StepConfig, build_model, make_train_step
    >>> config = StepConfig(batch_size=2, image_size=96, classes=10)
    >>> step = make_train_step(build_model(config), config)
    >>> result = step(np.zeros((2, 96, 96, 3), np.float32), np.zeros(2, np.uint16))
    >>> bool(result.loss > 0), step.applied_steps()
    (True, 1)
    """
    if config.part == "input":
        raise GnetError("part: 'input' has no step; use train, gradients or forward")
    replicas = replicas_of(config)
    loss_and_logits, metrics = _make_forward_pass(model, config, label_smoothing), _make_metrics()
    # The notebook trained the main output alone; without auxiliary losses their classifiers have no gradient either.
    trained = model if config.trains_classifiers else model.inception_model
    variables = trained.trainable_variables
    adam = (fused.Adam if config.layers == "fused" else keras.optimizers.Adam)(
        config.learning_rate, weight_decay=weight_decay or None
    )
    if weight_decay:  # scales, offsets and biases have one axis
        adam.exclude_from_weight_decay(var_list=[variable for variable in variables if len(variable.shape) < 2])
    # In float16 gradients would fall below the smallest number without loss scaling.
    optimizer = keras.optimizers.LossScaleOptimizer(adam) if config.precision == "mixed_float16" else adam

    def forward(images: Tensor, labels: Tensor) -> StepResult:
        labels = tf.cast(labels, tf.int32)
        loss, logits = loss_and_logits(images, labels, training=True)
        result = _update_metrics(metrics, loss, labels, logits)
        return StepResult(*map(replicas.part_of_whole, result))

    def forward_and_backward(images: Tensor, labels: Tensor) -> ResultAndGradients:
        labels = tf.cast(labels, tf.int32)
        with tf.GradientTape() as tape:
            loss, logits = loss_and_logits(images, labels, training=True)
            scaled_loss = replicas.part_of_whole(optimizer.scale_loss(loss))
        gradients = tape.gradient(scaled_loss, variables)
        result = _update_metrics(metrics, loss, labels, logits)
        return ResultAndGradients(StepResult(*map(replicas.part_of_whole, result)), gradients)

    own_forward, own_part = replicas.compiled(forward), replicas.compiled(forward_and_backward)

    def forward_of_all(images: Tensor, labels: Tensor) -> StepResult:
        return replicas.summed(own_forward(images, labels))

    def gradients_of_all(images: Tensor, labels: Tensor) -> ResultAndGradients:
        return replicas.summed(own_part(images, labels))

    def train(images: Tensor, labels: Tensor) -> StepResult:
        result, gradients = gradients_of_all(images, labels)
        replicas.update(optimizer, gradients, variables)
        return result

    if config.part == "forward":
        return Step(replicas.on_each(forward_of_all), config, metrics)
    if config.part == "gradients":
        return Step(replicas.on_each(gradients_of_all), config, metrics, None, own_part, variables)
    optimizer.build(variables)  # inside the step it would cost a second trace
    return Step(replicas.on_each(train), config, metrics, optimizer, own_part, variables)


def make_test_step(model: GoogleNet_2, config: StepConfig) -> Step:
    """The step that judges `model` in inference mode with the same loss, changing nothing but its metrics."""
    loss_and_logits, metrics = _make_forward_pass(model, config), _make_metrics()

    def test_step(images: Tensor, labels: Tensor) -> ResultAndLogits:
        labels = tf.cast(labels, tf.int32)
        loss, logits = loss_and_logits(images, labels, training=False)
        return ResultAndLogits(_update_metrics(metrics, loss, labels, logits), logits)

    return Step(test_step, config, metrics)


def _make_forward_pass(
    model: GoogleNet_2, config: StepConfig, label_smoothing: float = 0.0
) -> Callable[..., tuple[Tensor, Tensor]]:
    """The case's loss and main logits of images and labels; only the published run computes idle classifiers."""
    crossentropy: Callable[[Tensor, Tensor], Tensor]
    if label_smoothing:
        crossentropy = _make_smoothed_crossentropy(label_smoothing)
    elif config.total_replicas == 1:
        crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=not config.as_published)
    else:
        by_image = keras.losses.SparseCategoricalCrossentropy(from_logits=not config.as_published, reduction="none")

        def crossentropy(labels: Tensor, logits: Tensor) -> Tensor:
            return tf.reduce_mean(by_image(labels, logits))  # Keras' own mean is divided by the replicas besides

    def loss_and_logits(images: Tensor, labels: Tensor, *, training: bool) -> tuple[Tensor, Tensor]:
        if config.trains_classifiers or config.as_published:
            main, class_1, class_2 = model(images, training=training)
        else:
            main = model.main_output(images, training)
        with tf.name_scope("loss"):  # so that a profile can tell it apart
            loss = crossentropy(labels, main)
            if config.trains_classifiers:
                loss += config.aux_weight * (crossentropy(labels, class_1) + crossentropy(labels, class_2))
            return loss, main

    return loss_and_logits


def _make_smoothed_crossentropy(smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Mean cross-entropy of logits (batch, classes) with labels (batch,) that hold with probability 1 - smoothing and
    else are any class alike (Szegedy et al., arXiv 1512.00567, section 7).
    """

    def crossentropy(labels: Tensor, logits: Tensor) -> Tensor:
        by_label = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        over_all = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
        return tf.reduce_mean((1 - smoothing) * by_label + smoothing * over_all)

    return crossentropy


def _make_metrics() -> list[Any]:
    return [keras.metrics.Mean(name="loss"), keras.metrics.SparseCategoricalAccuracy(name="accuracy")]


def _update_metrics(metrics: list[Any], loss: Tensor, labels: Tensor, logits: Tensor) -> StepResult:
    mean_loss, accuracy = metrics
    with tf.name_scope("metrics"):  # so that a profile can tell them apart
        mean_loss.update_state(loss)
        accuracy.update_state(labels, logits)
        return StepResult(loss, mean_loss.result(), accuracy.result())
