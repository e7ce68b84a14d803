"""A program that takes steps with several replicas and keeps what came of them, for test_strategy.

TensorFlow must not have begun when a CPU is split into logical devices or workers meet, so it has a process of its own:
`python -m tests.frameworks.replicated OUT CASES [CLUSTER]`, where JSON gives what differs from CONFIG in each case.
"""

import contextlib
import json
import sys
from typing import Any

import msgspec
import numpy as np
import tensorflow as tf

from gnet_core.config import StepConfig
from gnet_core.frameworks.keras_layers import SwitchedDropout
from gnet_core.frameworks.tf import device
from gnet_core.frameworks.tf.input_pipeline import synthetic_batch
from gnet_core.frameworks.tf.model import build_model
from gnet_core.frameworks.tf.replicas import Several
from gnet_core.frameworks.tf.step import ResultAndGradients, make_train_step
from gnet_core.frameworks.tf.strategy import open_strategy
from gnet_core.system.cluster import Cluster
from tests.frameworks.test_step import TinyNetwork
from tests.loopback import ears

CONFIG = StepConfig(batch_size=8, image_size=67, classes=3, dropout=False, batch_norm="synchronised")
"""Of the cases with the tiny network; with another number of classes it is the whole one."""


def main(out, cases, cluster=None):
    configs = {name: StepConfig(**(CONFIG.to_dict() | case)) for name, case in cases.items()}
    several = next(config for config in configs.values() if config.total_replicas > 1)
    device.prepare(several, cluster)
    # The only one: another would number its collectives as the first did, which TensorFlow mixes up.
    strategy = open_strategy(several, cluster)
    outcomes: dict[str, Any] = {"masks": masks(strategy, several)}
    for name, config in configs.items():
        for kind, arrays in outcome(config, strategy if config.total_replicas > 1 else None).items():
            outcomes |= {f"{name}/{kind}/{place}": array for place, array in enumerate(arrays)}
    if cluster is None or cluster.reports:
        np.savez(out, ears=ears(), **outcomes)


def outcome(config, strategy):
    """Results of steps, and gradients or, of whole steps, the weights of the first and the last replica here."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        network = TinyNetwork(config) if config.classes == CONFIG.classes else build_model(config)
        step = make_train_step(network, config)
    batch = Several(strategy, config).parts_of_batch() if strategy else synthetic_batch(config)
    if config.part == "gradients":
        returned = step.function(*batch)
        assert isinstance(returned, ResultAndGradients)
        moved = [variable for variable in network.variables if variable.name.startswith("moving")]
        return {"results": returned.result, "gradients": returned.gradients, "moved": copies(moved, 0)}
    results = [result for _ in range(3) for result in step(*batch)]
    kinds = []
    if isinstance(step.function, tf.types.experimental.PolymorphicFunction):
        kinds = [operation.type for operation in step.function.get_concrete_function(*batch).graph.get_operations()]
    return {
        "results": results,
        "sums": [kinds.count("CollectiveReduceV2")],
        "first": copies(network.trainable_variables, 0),
        "last": copies(network.trainable_variables, -1),
    }


def copies(variables, replica):
    """The variables as a replica of this process has them."""
    return [getattr(variable.value, "values", (variable.value,))[replica].numpy() for variable in variables]


def masks(strategy, config):
    """What each replica's dropout leaves of ones."""
    with strategy.scope():
        layer = SwitchedDropout(0.5, seed=1)
    Several(strategy, config).tell_dropout_apart([layer])
    dropped = strategy.run(lambda: layer(tf.ones((64,)), training=True))
    return np.array([mask.numpy() for mask in strategy.experimental_local_results(dropped)])


if __name__ == "__main__":
    _, out, cases, *cluster = sys.argv
    main(out, json.loads(cases), *(msgspec.json.decode(text, type=Cluster) for text in cluster))
