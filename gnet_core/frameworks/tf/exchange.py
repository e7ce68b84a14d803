"""What the replicas of a case exchange in a step, and how far they are apart without it, each measured by itself."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from gnet_core.frameworks.base import Exchange
from gnet_core.frameworks.lockstep import EXCHANGE_ROUNDS
from gnet_core.frameworks.tf import device
from gnet_core.frameworks.tf.replicas import Several
from gnet_core.frameworks.tf.step import Step
from gnet_core.networks.builder import Tensor


def measure(replicas: Several, train_step: Step, images: Any, labels: Any) -> Exchange:
    """Measure it on all replicas, which takes each of their processes calling this; images and labels are distributed.

    It leaves the weights as they are and, as every pass does, moves batch normalisation's statistics.
    """
    variables, config = train_step.variables, replicas.config

    def sum_gradients() -> list[Tensor]:
        """The variables stand for their gradients, which have the same shapes."""
        return replicas.summed([tf.identity(variable) for variable in variables])

    def time_own_part(images: Tensor, labels: Tensor) -> Tensor:
        assert train_step.own_part is not None
        with tf.device("CPU:0"):
            began = tf.timestamp()
        with tf.control_dependencies([began]):
            images = tf.identity(images)
        result, gradients = train_step.own_part(images, labels)
        # One value of each, which are all on the host when all are computed. TensorFlow leaves out what is only waited
        # for, so they are used as well.
        last = tf.add_n([tf.reshape(tensor, (-1,))[0] for tensor in (result.loss, *gradients)])
        with tf.device("CPU:0"):
            last = tf.cast(last, tf.float64)
            with tf.control_dependencies([last]):
                seconds = tf.timestamp() - began
            return replicas.summed(tf.concat([by_replica(seconds), [last]], 0))

    def by_replica(value: Tensor) -> Tensor:
        """A number in its replica's place, float64 (replicas,), whose sum over replicas has those of all."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return value * tf.one_hot(replica, config.total_replicas, dtype=tf.float64)

    def peak_bytes() -> Tensor:
        return replicas.summed(by_replica(tf.constant(device.peak_memory(config)[0], tf.float64)))

    def repeated(body: Callable[..., Any], *arguments: Any) -> list[tuple[float, Any]]:
        """What each call took, seen from here, and what it returned."""
        function = replicas.on_each(body)
        if train_step.execution != "eager":
            function = tf.function(function, autograph=False)
        function(*arguments)
        calls = []
        for _ in range(EXCHANGE_ROUNDS):
            replicas.synchronise()
            start = time.perf_counter()
            returned = function(*arguments)
            replicas.synchronise()
            calls.append((time.perf_counter() - start, returned))
        return calls

    peaks = tf.function(replicas.on_each(peak_bytes))().numpy()  # before what is measured here takes more
    own = [returned.numpy()[:-1].tolist() for _, returned in repeated(time_own_part, images, labels)]
    return Exchange(
        gradient_bytes=sum(tf.float32.size * math.prod(variable.shape) for variable in variables),
        all_reduce_seconds=[seconds for seconds, _ in repeated(sum_gradients)],
        local_step_seconds=[statistics.median(seconds) for seconds in zip(*own, strict=True)],
        process_peak_bytes=[round(peak) for peak in peaks[:: config.replicas]],
    )
