"""A program that takes steps of PyTorch in one of several workers, or the same by itself, for test_pytorch_distributed:
`python -m tests.frameworks.torch_workers OUT CHANGES [CLUSTER]`, with what differs from CONFIG as JSON.
"""

import json
import sys

import msgspec
import numpy as np
import torch

from gnet_core.config import StepConfig
from gnet_core.frameworks import base
from gnet_core.system.cluster import Cluster
from tests.loopback import ears

PARTS = 2
CONFIG = {"framework": "torch", "execution": "eager", "batch_size": 8, "image_size": 96, "classes": 10}


def in_a_worker(config, cluster):
    case = base.load("torch").Case(config, cluster)
    case.trace()
    if not cluster.reports:
        while case.follow():
            pass
        return {"applied": case.applied_steps(), "last": last_weights(case)}
    case.set_dropout(False)
    losses = [float(case.run(1))]
    gradients = gradients_of(case)
    case.rest()
    case.expect(1, runs=2)
    losses += [float(case.run(1)) for _ in range(2)]
    exchange = case.exchange()
    flop, last = case.flop_per_image(), last_weights(case)
    case.finish()
    measured = {"losses": losses, "flop": flop, "applied": case.applied_steps(), "last": last, "ears": ears()}
    measured["threads"] = torch.get_num_threads()
    if exchange:
        measured |= {f"exchange {name}": value for name, value in vars(exchange).items()}
    return measured | {f"gradient {number}": gradient for number, gradient in enumerate(gradients)}


def by_itself(config):
    """The mean over the parts of a batch, each normalised by itself, of loss and gradients."""
    case = base.load("torch").Case(config)
    threads = torch.get_num_threads()
    # As a worker has: the order of a sum's terms changes with them, which this deep a network makes a lot of.
    torch.set_num_threads(max(1, threads // PARTS))
    case.set_dropout(False)
    images, labels = case.images, case.labels
    losses = []
    for part in range(PARTS):
        case.images, case.labels = images.chunk(PARTS)[part], labels.chunk(PARTS)[part]
        loss = case._forward() / PARTS
        loss.backward()
        losses.append(float(loss))
    gradients = gradients_of(case)
    case.images, case.labels = images, labels
    measured = {"losses": [sum(losses)], "flop": case.flop_per_image(), "threads": threads}
    return measured | {f"gradient {number}": gradient for number, gradient in enumerate(gradients)}


def gradients_of(case):
    """Those of the last backward pass; without auxiliary losses their classifiers have none."""
    parameters = case.network.parameters()
    return [parameter.grad.numpy().copy() for parameter in parameters if parameter.grad is not None]


def last_weights(case):
    """The weights that make the main output's logits."""
    return case.network.named["main_logits"].weight.detach().numpy().copy()


if __name__ == "__main__":
    _, out, changes, *cluster = sys.argv
    config = StepConfig(**(CONFIG | json.loads(changes)))
    alone = not cluster
    measured = by_itself(config) if alone else in_a_worker(config, msgspec.json.decode(cluster[0], type=Cluster))
    np.savez(out, **measured)
