"""The train step and the test step: the only home of @tf.function and of jit_compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gnet_core import device
from gnet_core.config import StepConfig
from gnet_core.model import GoogleNet_2

Tensor = Any
"""A tf.Tensor; TensorFlow ships no types."""


class StepResult(NamedTuple):
    """What a step leaves on the device: float32 scalars. The last two are running means since `reset_metrics`."""

    loss: Tensor
    mean_loss: Tensor
    accuracy: Tensor


class Step:
    """A callable step: images float32 (batch, size, size, 3) and labels uint16 (batch,) → StepResult.

    It never waits for the device. Use make_train_step and make_test_step to build one.
    """

    def __init__(self, body: Callable[[Tensor, Tensor], StepResult], config: StepConfig, metrics: list[Any]) -> None:
        device.set_tf32(config.precision)
        self.metrics = metrics
        self.trace_count = 0
        """How often the body was traced; stays 0 in eager execution, which traces nothing."""
        self.function: Callable[[Tensor, Tensor], StepResult] = body
        if config.execution != "eager":

            def counted(images: Tensor, labels: Tensor) -> StepResult:
                self.trace_count += 1  # Python runs only while tracing
                return body(images, labels)

            self.function = tf.function(counted, jit_compile=config.execution == "xla")

    def __call__(self, images: Tensor, labels: Tensor) -> StepResult:
        return self.function(images, labels)

    def trace(self, images: Tensor, labels: Tensor) -> None:
        """Trace for these shapes without running, where the execution traces at all. XLA compiles at the first call."""
        if isinstance(self.function, tf.types.experimental.PolymorphicFunction):
            self.function.get_concrete_function(images, labels)

    def reset_metrics(self) -> None:
        for metric in self.metrics:
            metric.reset_state()


class TrainStep(Step):
    """A step that also updates the weights, with the optimizer that does it."""

    def __init__(
        self, body: Callable[[Tensor, Tensor], StepResult], config: StepConfig, metrics: list[Any], optimizer: Any
    ) -> None:
        super().__init__(body, config, metrics)
        self.optimizer = optimizer
        self.calls = 0

    def __call__(self, images: Tensor, labels: Tensor) -> StepResult:
        self.calls += 1
        return super().__call__(images, labels)

    def skipped_steps(self) -> int:
        """Steps whose gradients were not finite, so that loss scaling left the weights alone. Waits for the device.

        Counted from the optimizer's own steps, so of a restored one only differences mean anything.
        """
        applied = getattr(self.optimizer, "inner_optimizer", self.optimizer).iterations
        return self.calls - int(applied.numpy())


def make_optimizer(config: StepConfig) -> Any:
    """Adam, wrapped in loss scaling for float16, whose gradients would otherwise fall below its smallest number."""
    adam = keras.optimizers.Adam(config.learning_rate)
    return keras.optimizers.LossScaleOptimizer(adam) if config.precision == "mixed_float16" else adam


def make_train_step(model: GoogleNet_2, config: StepConfig) -> TrainStep:
    """The step that trains `model` in place as the case says. Loss = main + aux_weight · (class_1 + class_2)."""
    objective = _make_objective(config)
    metrics = _make_metrics()
    optimizer = make_optimizer(config)
    # The notebook trained the main output alone; without auxiliary losses their classifiers have no gradient either.
    trained = model if _uses_auxiliary_losses(config) else model.inception_model
    variables = trained.trainable_variables
    optimizer.build(variables)  # inside the step it would cost a second trace

    def train_step(images: Tensor, labels: Tensor) -> StepResult:
        labels = tf.cast(labels, tf.int32)
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            loss = objective(labels, outputs)
            scaled_loss = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return _update_metrics(metrics, loss, labels, outputs[0])

    return TrainStep(train_step, config, metrics, optimizer)


def make_test_step(model: GoogleNet_2, config: StepConfig) -> Step:
    """The step that judges `model` in inference mode with the same loss, changing nothing but its metrics."""
    objective = _make_objective(config)
    metrics = _make_metrics()

    def test_step(images: Tensor, labels: Tensor) -> StepResult:
        labels = tf.cast(labels, tf.int32)
        outputs = model(images, training=False)
        return _update_metrics(metrics, objective(labels, outputs), labels, outputs[0])

    return Step(test_step, config, metrics)


def _uses_auxiliary_losses(config: StepConfig) -> bool:
    return config.aux_weight > 0 and not config.as_published


def _make_objective(config: StepConfig) -> Callable[[Tensor, tuple[Tensor, Tensor, Tensor]], Tensor]:
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=not config.as_published)

    def objective(labels: Tensor, outputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        main, class_1, class_2 = outputs
        loss = crossentropy(labels, main)
        if _uses_auxiliary_losses(config):
            loss += config.aux_weight * (crossentropy(labels, class_1) + crossentropy(labels, class_2))
        return loss

    return objective


def _make_metrics() -> list[Any]:
    return [keras.metrics.Mean(name="loss"), keras.metrics.SparseCategoricalAccuracy(name="accuracy")]


def _update_metrics(metrics: list[Any], loss: Tensor, labels: Tensor, logits: Tensor) -> StepResult:
    mean_loss, accuracy = metrics
    mean_loss.update_state(loss)
    accuracy.update_state(labels, logits)
    return StepResult(loss, mean_loss.result(), accuracy.result())
