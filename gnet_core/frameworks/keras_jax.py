"""A case in JAX, by Keras' JAX backend: the same Keras layers, and a step compiled by jax.jit."""

from __future__ import annotations

import dataclasses
import os
import random
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"  # Keras reads it when it is imported

import jax
import keras

from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets import synthetic
from gnet_core.frameworks import flops, jax_device
from gnet_core.frameworks.base import Feed
from gnet_core.frameworks.keras_layers import LayerKit
from gnet_core.frameworks.lockstep import Lockstep
from gnet_core.networks.googlenet import Architecture
from gnet_core.system import settings
from gnet_core.system.cluster import Cluster

settings.require_keras_backend("jax")


class SwitchedDropout(keras.layers.Dropout):  # type: ignore[misc]
    """Dropout that can be switched off without a compiled step being compiled anew."""

    def build(self, input_shape: Any) -> None:
        self.switch = self.add_weight(shape=(), initializer="ones", trainable=False, name="switch")
        super().build(input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        dropped = super().call(inputs, training=training)
        return inputs + self.switch.value.astype(inputs.dtype) * (dropped - inputs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class JaxKit(LayerKit):
    def dropout(self, x: Any, rate: float, name: str) -> Any:
        return self.layer(SwitchedDropout, name, rate)(x)


def make_network(config: StepConfig) -> Any:
    """GoogleNet_2 as a Keras model with the outputs that the case needs, its weights drawn from the case's seed."""
    random.seed(config.seed)  # which Keras draws its seeds from; its own set_random_seed imports TensorFlow
    inputs = keras.Input((config.image_size, config.image_size, 3), name="images")
    kit = JaxKit.of(config)
    outputs = Architecture.of(config).outputs(inputs, kit, classifiers=config.trains_classifiers)
    return keras.Model(inputs, list(outputs))


class Case(Lockstep):
    """See gnet_core.frameworks.base.Case. xla is what jax.jit compiles with."""

    feed = Feed()

    def __init__(self, config: StepConfig, cluster: Cluster | None = None) -> None:
        super().__init__(cluster, config.workers)
        self._device = jax_device.prepare(config)
        self._config = config
        self.network = make_network(config)
        self.optimizer = keras.optimizers.Adam(config.learning_rate)
        self.optimizer.build(self.network.trainable_variables)
        images, labels = synthetic.batch(config)
        self._batch = jax.device_put((images, labels.astype("int32")), self._device)
        others = self.network.non_trainable_variables
        self._switches = [index for index, variable in enumerate(others) if variable.name == "switch"]
        self.load_state()
        self.steps = self.trace_count = 0
        self._step = jax.jit(self._train, donate_argnums=0)
        self._lowered: Any = None
        self._compiled: Any = None

    def load_state(self) -> None:
        """Take the values of the network's and the optimizer's variables as the state to train from."""
        network = self.network
        parts = (network.trainable_variables, network.non_trainable_variables, self.optimizer.variables)
        self.state: Any = tuple([variable.value for variable in variables] for variables in parts)

    def _loss(self, trained: Any, others: Any, images: Any, labels: Any) -> Any:
        (main, *aux), others = self.network.stateless_call(trained, others, images, training=True)
        crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        loss = crossentropy(labels, main)
        if self._config.trains_classifiers:
            loss += self._config.aux_weight * sum(crossentropy(labels, logits) for logits in aux)
        return loss, others

    def _train(self, state: Any, images: Any, labels: Any) -> Any:
        self.trace_count += 1  # Python runs only while tracing
        trained, others, optimizing = state
        gradient = jax.value_and_grad(self._loss, has_aux=True)
        (loss, others), gradients = gradient(trained, others, images, labels)
        trained, optimizing = self.optimizer.stateless_apply(optimizing, gradients, trained)
        return (trained, others, optimizing), loss

    def trace(self) -> None:
        self._lowered = self._step.lower(self.state, *self._batch)

    def _run(self, steps: int) -> Any:
        if self._compiled is None:
            self._compiled = self._lowered.compile()
        for _ in range(steps):
            self.state, loss = self._compiled(self.state, *self._batch)
            self.steps += 1
        loss.block_until_ready()
        return loss

    def _set_dropout(self, active: bool) -> None:
        trained, others, optimizing = self.state
        for index in self._switches:
            others[index] = jax.device_put(float(active), self._device).astype("float32")
        self.state = trained, others, optimizing

    def applied_steps(self) -> int:
        return self.steps

    def skipped_steps(self) -> int:
        return 0

    def peak_memory(self) -> tuple[int, str]:
        return jax_device.peak_memory(self._device)

    def flop_per_image(self) -> int:
        return flops.train_step_flop_per_image(self.network, self._config)

    def low_precision_share(self) -> float:
        raise GnetError("precision: nothing tells in what precision JAX's kernels multiply")
