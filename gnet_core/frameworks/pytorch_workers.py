"""Several workers of a case in PyTorch: how they meet, and what they exchange."""

from __future__ import annotations

import contextlib
import datetime
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from gnet_core.frameworks import pytorch_device
from gnet_core.frameworks.base import Exchange
from gnet_core.frameworks.lockstep import COLLECTIVE_TIMEOUT_SECONDS, EXCHANGE_ROUNDS
from gnet_core.system.cluster import Cluster
from gnet_core.system.listening import kept_to_own_address


def meet(cluster: Cluster, device: torch.device) -> None:
    """Return when all workers are there. The first one's address is where they find each other."""
    if cluster.on_loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    # The first is the only one that listens on an address of the cluster.
    with kept_to_own_address(cluster) if cluster.reports else contextlib.nullcontext():
        distributed.init_process_group(
            "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl",
            init_method=f"tcp://{cluster.addresses[0]}",
            rank=cluster.index,
            world_size=len(cluster.addresses),
            timeout=datetime.timedelta(seconds=COLLECTIVE_TIMEOUT_SECONDS),
        )


def summed(numbers: list[int]) -> list[int]:
    """The numbers summed over all workers, each of which calls this."""
    total = torch.tensor(numbers, dtype=torch.int64)
    distributed.all_reduce(total)
    return [int(number) for number in total]


def mean(value: torch.Tensor) -> torch.Tensor:
    """The mean of a value over all workers, each of which calls this."""
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def measure_exchange(model: DistributedDataParallel, own_losses: Callable[[], torch.Tensor]) -> Exchange:
    """Measure it in all workers at once: one sum of all gradients together, and each worker's forward and backward pass
    of `own_losses`, by which no weight changes.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    device = parameters[0].device
    peak_bytes = _of_all_workers(float(pytorch_device.peak_memory(device)[0]))  # before more is taken here
    gradients = torch.cat([parameter.detach().flatten() for parameter in parameters])

    def sum_gradients() -> None:
        distributed.all_reduce(gradients)

    def compute_own_part() -> None:
        with model.no_sync():
            own_losses().backward()

    own = _seconds(compute_own_part, device)
    model.zero_grad()
    return Exchange(
        gradient_bytes=gradients.nbytes,
        all_reduce_seconds=_seconds(sum_gradients, device),
        local_step_seconds=_of_all_workers(statistics.median(own)),
        process_peak_bytes=[round(peak) for peak in peak_bytes],
    )


def _seconds(action: Callable[[], None], device: torch.device) -> list[float]:
    """What it takes in this worker, each time when all are ready for it."""
    seconds = []
    for _ in range(EXCHANGE_ROUNDS + 1):
        pytorch_device.synchronise(device)
        distributed.barrier()
        start = time.perf_counter()
        action()
        pytorch_device.synchronise(device)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def _of_all_workers(value: float) -> list[float]:
    """Each worker's value, in their order."""
    values = torch.zeros(distributed.get_world_size(), dtype=torch.float64)
    values[distributed.get_rank()] = value
    distributed.all_reduce(values)
    return [float(each) for each in values]
