"""The devices that take a step together: TensorFlow's strategy for them."""

from __future__ import annotations

import functools
import os

import tensorflow as tf
from tensorflow.python.distribute.mirrored_strategy import MirroredExtended

from gnet_core.config import StepConfig
from gnet_core.frameworks.lockstep import COLLECTIVE_TIMEOUT_SECONDS
from gnet_core.system.cluster import Cluster
from gnet_core.system.listening import kept_to_own_address


def open_strategy(config: StepConfig, cluster: Cluster | None) -> tf.distribute.Strategy | None:
    """The strategy of a case of several replicas, on the devices that are visible; None where there is one.

    Must run before TensorFlow has touched a device where there are several workers, and returns when all of them are
    there.
    """
    if config.total_replicas == 1:
        return None
    kind = "CPU" if config.device == "cpu" else "GPU"
    if cluster is None:
        return tf.distribute.MirroredStrategy([f"{kind}:{index}" for index in range(config.replicas)])
    implementations = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=implementations.RING if kind == "CPU" else implementations.NCCL,
        timeout_seconds=COLLECTIVE_TIMEOUT_SECONDS,
    )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={} if kind == "CPU" else {"GPU": config.replicas},
        rpc_layer="grpc",
    )
    if cluster.on_loopback:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    with kept_to_own_address(cluster):
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    _have_each_worker_initialise(strategy)
    return strategy


def _have_each_worker_initialise(strategy: tf.distribute.Strategy) -> None:
    """Leave out that the first worker sends its initial value of each variable to the others: all of them draw the same
    from the case's seed, and some 800 messages one after the other took most of the time in which a network is built.
    """
    from_first_replica = MirroredExtended._get_variable_creator_initial_value
    strategy.extended._get_variable_creator_initial_value = functools.partial(from_first_replica, strategy.extended)
