"""What a train step does for its replicas: one that is alone, or several that share the batch and their gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets import synthetic
from gnet_core.networks.builder import Tensor

Structure = TypeVar("Structure")
"""Tensors, or tuples and lists of them."""
Function = TypeVar("Function", bound=Callable[..., Any])


class Alone:
    """One replica, which shares nothing: its step is compiled and run as it is."""

    def compiled(self, function: Function) -> Function:
        """What a replica does by itself, between exchanges. Here the whole step is compiled instead."""
        return function

    def part_of_whole(self, value: Tensor) -> Tensor:
        """What a replica's mean over its own images adds to the mean over the batch."""
        return value

    def summed(self, parts: Structure) -> Structure:
        """The sum of every tensor over all replicas."""
        return parts

    def update(self, optimizer: Any, gradients: list[Tensor], variables: list[Any]) -> None:
        """Update each replica's variables by its gradients."""
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def on_each(self, body: Function) -> Function:
        """The body run by every replica with its own arguments; it returns what this process's first one returns."""
        return body


@dataclasses.dataclass(frozen=True)
class Several(Alone):
    """Replicas under a strategy (tf.distribute). The first four methods are for what runs within each of them."""

    strategy: tf.distribute.Strategy
    config: StepConfig

    def compiled(self, function: Function) -> Function:
        # Of a whole step XLA would refuse the sum over replicas, unless all of them are GPUs.
        return tf.function(function, jit_compile=True, autograph=False) if self.config.execution == "xla" else function

    def part_of_whole(self, value: Tensor) -> Tensor:
        return value / self.config.total_replicas if self.config.all_reduce else value

    def summed(self, parts: Structure) -> Structure:
        if not self.config.all_reduce:
            return parts
        whole: Structure = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, parts)
        return whole

    def update(self, optimizer: Any, gradients: list[Tensor], variables: list[Any]) -> None:
        # Keras' optimizer would sum them itself, a second time or against what was asked.
        optimizer._all_reduce_sum_gradients = list
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def on_each(self, body: Function) -> Function:
        def run(*arguments: Any) -> Any:
            returned = self.strategy.run(body, args=arguments)
            return tf.nest.map_structure(lambda value: self.strategy.experimental_local_results(value)[0], returned)

        return run  # type: ignore[return-value] # is called as the body is

    def synchronise(self) -> None:
        """Return when the devices of this process have finished; TensorFlow's own call asks those of all workers."""
        for name in self.strategy.extended.worker_devices:
            with tf.device(name):
                tf.raw_ops.SyncDevice()

    def parts_of_batch(self) -> tuple[Any, Any]:
        """Each replica's equal part of the synthetic batch, in order, on its device."""
        images, labels = synthetic.batch(self.config)
        size, devices = self.config.replica_batch_size, self.strategy.extended.worker_devices

        def part(context: Any) -> tuple[Tensor, Tensor]:
            replica = context.replica_id_in_sync_group
            with tf.device(devices[replica % len(devices)]):
                own = slice(replica * size, (replica + 1) * size)
                return tf.identity(images[own]), tf.identity(labels[own])

        distributed: tuple[Any, Any] = self.strategy.experimental_distribute_values_from_function(part)
        return distributed

    def tell_dropout_apart(self, layers: list[Any]) -> None:
        """Have the replicas draw dropout masks that differ: their seeds were copied from the first one's."""

        def tell_apart() -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for layer in (layer for layer in layers if layer.rate):  # the others have no seed
                state = layer.seed_generator.state.value
                state.assign_add(tf.cast(tf.stack([replica, 0]), state.dtype))

        tf.function(self.on_each(tell_apart), autograph=False)()


def replicas_of(config: StepConfig) -> Alone:
    """The case's replicas, of the strategy in whose scope this is called. Raises GnetError where it has others."""
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync != config.total_replicas:
        raise GnetError(
            f"replicas: {config.total_replicas} do not take a step under {type(strategy).__name__} of "
            f"{strategy.num_replicas_in_sync}; make network and step in the scope of one with as many"
        )
    return Alone() if config.total_replicas == 1 else Several(strategy, config)
