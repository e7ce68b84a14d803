"""The devices that take a step together: TensorFlow's strategy for them, and where its server listens."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import threading
from collections.abc import Iterator

import psutil
import tensorflow as tf
from tensorflow.python.distribute.mirrored_strategy import MirroredExtended

from gnet_core.config import StepConfig
from gnet_core.system.cluster import Cluster

TIMEOUT_SECONDS = 600
"""After which a collective fails whose other workers do not come. It outlasts any compilation, and a runner's limit of
a case comes before it."""

_POLL_SECONDS = 0.005


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
        implementation=implementations.RING if kind == "CPU" else implementations.NCCL, timeout_seconds=TIMEOUT_SECONDS
    )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={} if kind == "CPU" else {"GPU": config.replicas},
        rpc_layer="grpc",
    )
    port = int(cluster.addresses[cluster.index].rpartition(":")[2])
    with _kept_to_loopback(port) if cluster.on_loopback else contextlib.nullcontext():
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    _have_each_worker_initialise(strategy)
    return strategy


def _have_each_worker_initialise(strategy: tf.distribute.Strategy) -> None:
    """Leave out that the first worker sends its initial value of each variable to the others: all of them draw the same
    from the case's seed, and some 800 messages one after the other took most of the time in which a network is built.
    """
    from_first_replica = MirroredExtended._get_variable_creator_initial_value
    strategy.extended._get_variable_creator_initial_value = functools.partial(from_first_replica, strategy.extended)


@contextlib.contextmanager
def _kept_to_loopback(port: int) -> Iterator[None]:
    """Bind to the loopback interface what listens on the port while the block runs, where the system lets this process.

    TensorFlow 2.21 listens on [::], all addresses of the host, whatever address its cluster gives it, and whoever
    reaches it may run operations in this process. None of its options says otherwise, so the socket is bound from
    outside, some milliseconds after it is there (SO_BINDTODEVICE: Linux, and from 5.7 on for every user). NCCL is told
    by its own variable.
    """
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    over = threading.Event()

    def bind() -> None:
        while not _bind_to_loopback(port) and not over.wait(_POLL_SECONDS):
            pass

    thread = threading.Thread(target=bind, name="gnet-loopback", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _bind_to_loopback(port: int) -> bool:
    """Bind this process's listening socket of that port to the loopback interface; False where there is none yet."""
    for connection in psutil.Process().net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            if sys.platform == "linux":
                with socket.socket(fileno=os.dup(connection.fd)) as listening, contextlib.suppress(OSError):
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            return True
    return False
