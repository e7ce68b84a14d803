"""A case in PyTorch: the same network of native modules, and the train step that its users would write."""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as its users call it
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets import synthetic
from gnet_core.frameworks import pytorch_device, pytorch_workers
from gnet_core.frameworks.base import Exchange, Feed
from gnet_core.frameworks.lockstep import Lockstep
from gnet_core.networks.builder import Kit
from gnet_core.networks.googlenet import Architecture
from gnet_core.system.cluster import Cluster

BN_EPSILON = 1e-3
ADAM_EPSILON = 1e-7
"""Keras' defaults, which the network under test has; PyTorch's own are 1e-5 and 1e-8."""


class SwitchedDropout(nn.Dropout):  # type: ignore[misc]
    """Dropout that can be switched off without a compiled step being compiled anew."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.register_buffer("switch", torch.ones(()), persistent=False)

    def forward(self, x: Any) -> Any:
        return torch.lerp(x, super().forward(x), self.switch.to(x.dtype))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchKit(Kit):
    """Puts x, (batch, channels, h, w), through modules with the names of Keras' layers, each made when first needed."""

    bn_momentum: float
    modules: nn.ModuleDict = dataclasses.field(default_factory=nn.ModuleDict)

    def _module(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        if name not in self.modules:
            self.modules[name] = make()
        return self.modules[name]

    def conv(self, x: Any, filters: int, size: int, name: str, **how: Any) -> Any:
        strides, padding = how.get("strides", 1), size // 2 if how.get("padding") == "same" else 0
        return self._module(name, lambda: nn.Conv2d(x.shape[1], filters, size, strides, padding))(x)

    def relu(self, x: Any, name: str) -> Any:  # noqa: ARG002
        return F.relu(x, inplace=True)

    def norm_relu(self, x: Any, name: str) -> Any:
        norm = self._module(f"{name}_bn", lambda: nn.BatchNorm2d(x.shape[1], BN_EPSILON, 1 - self.bn_momentum))
        return F.relu(norm(x), inplace=True)

    def max_pool(self, x: Any, name: str, strides: int = 2, padding: str = "valid") -> Any:  # noqa: ARG002
        return F.max_pool2d(x, 3, strides, padding=1 if padding == "same" else 0)

    def average_pool(self, x: Any, name: str, size: int, strides: int) -> Any:  # noqa: ARG002
        return F.avg_pool2d(x, (min(size, x.shape[2]), min(size, x.shape[3])), strides)

    def global_average_pool(self, x: Any, name: str) -> Any:  # noqa: ARG002
        return F.adaptive_avg_pool2d(x, 1).flatten(1)

    def concatenate(self, parts: list[Any], name: str) -> Any:  # noqa: ARG002
        return torch.cat(parts, dim=1)

    def flatten(self, x: Any, name: str) -> Any:  # noqa: ARG002
        return x.permute(0, 2, 3, 1).flatten(1)  # in Keras' order; of channels_last memory it is no copy

    def dense(self, x: Any, units: int, name: str) -> Any:
        return self._module(name, lambda: nn.Linear(x.shape[1], units))(x)

    def dropout(self, x: Any, rate: float, name: str) -> Any:
        return self._module(name, lambda: SwitchedDropout(rate))(x)

    def logits(self, x: Any, classes: int, name: str) -> Any:
        module = self._module(name, lambda: nn.Linear(x.shape[1], classes))
        with torch.autocast(x.device.type, enabled=False):
            return module(x.float())


class Network(nn.Module):  # type: ignore[misc]
    """GoogleNet_2 of native modules: images (batch, 3, h, w) → float32 logits (main, class_1, class_2) or (main,)."""

    def __init__(self, config: StepConfig) -> None:
        super().__init__()
        self._kit = TorchKit(bn_momentum=config.bn_momentum)
        self.named = self._kit.modules
        self._architecture = Architecture.of(config)
        self._classifiers = True
        with torch.no_grad():
            self(torch.zeros(2, 3, config.image_size, config.image_size))  # which makes the modules
        self._classifiers = config.trains_classifiers

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self._architecture.outputs(images, self._kit, classifiers=self._classifiers)

    def initialise(self) -> None:
        """Initialise as Keras does: Glorot's uniform weights, zero biases, fresh statistics."""
        for module in self.named.values():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)


class Case(Lockstep):
    """See gnet_core.frameworks.base.Case. graph is torch.compile, and memory is channels_last. Several workers exchange
    gradients by DistributedDataParallel.
    """

    feed = Feed()

    def __init__(self, config: StepConfig, cluster: Cluster | None = None) -> None:
        super().__init__(cluster, config.workers)
        self._device = pytorch_device.prepare(config, cluster)
        self._config = config
        self._worker = cluster.index if cluster else 0
        self.network = Network(config)
        torch.manual_seed(config.seed)
        self.network.initialise()
        self.network.to(self._device, memory_format=torch.channels_last)
        self._model: nn.Module = self.network
        if cluster:
            pytorch_workers.meet(cluster, self._device)
            torch.manual_seed(config.seed + cluster.index)  # for dropout, which is to differ
            self._model = self._distributed()
        self.optimizer = torch.optim.Adam(self.network.parameters(), config.learning_rate, eps=ADAM_EPSILON, fused=True)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=config.precision == "mixed_float16")
        images, labels = (part[self._own_part] for part in synthetic.batch(config))
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).to(self._device)
        self.labels = torch.from_numpy(labels.astype("int64")).to(self._device)
        self._losses: Callable[[], torch.Tensor] = self._forward
        if config.execution != "eager":
            # Compiled by each process anew: what an earlier one left would pass for a short compilation. The last
            # setting does not disable the caches of compiled C++ and of Triton's kernels.
            self._caches = tempfile.TemporaryDirectory(prefix="gnet-torch-", ignore_cleanup_errors=True)
            os.environ |= dict.fromkeys(("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"), self._caches.name)
            torch.compiler.config.force_disable_caches = True
            warnings.filterwarnings("ignore", "dynamo_pgo force disabled")  # is what was asked for
            self._losses = torch.compile(self._forward)
        self.steps = 0

    def _distributed(self) -> nn.Module:
        """The network as one of several workers trains it."""
        config = self._config
        if config.synchronises:
            self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        if not config.all_reduce:
            return self.network
        # Moving statistics are each worker's own, as they are under TensorFlow's strategies.
        unused = not config.trains_classifiers
        return DistributedDataParallel(self.network, broadcast_buffers=False, find_unused_parameters=unused)

    @property
    def _own_part(self) -> slice:
        """Where this worker's images are in the batch."""
        size = self._config.replica_batch_size
        return slice(self._worker * size, (self._worker + 1) * size)

    def _forward(self) -> torch.Tensor:
        config = self._config
        dtype = getattr(torch, config.compute_dtype)
        with torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32):
            main, *aux = self._model(self.images)
        loss = F.cross_entropy(main, self.labels)
        if config.trains_classifiers:
            loss = loss + config.aux_weight * sum(F.cross_entropy(logits, self.labels) for logits in aux)
        return loss

    def trace(self) -> None:
        """torch.compile traces and compiles at its first call."""

    def _run(self, steps: int) -> torch.Tensor:
        for _ in range(steps):
            self.steps += 1
            self.optimizer.zero_grad(set_to_none=True)
            loss = self._losses()
            self._scaler.scale(loss).backward()
            self._scaler.step(self.optimizer)
            self._scaler.update()
        if isinstance(self._model, DistributedDataParallel):
            loss = pytorch_workers.mean(loss)
        pytorch_device.synchronise(self._device)
        return loss.detach()

    def _set_dropout(self, active: bool) -> None:
        for module in self.network.modules():
            if isinstance(module, SwitchedDropout):
                module.switch.fill_(float(active))

    @property
    def trace_count(self) -> int:
        return 0 if self._config.execution == "eager" else int(torch._dynamo.utils.counters["stats"]["unique_graphs"])

    def applied_steps(self) -> int:
        """Updates by the optimizer's own count: asking the scaler at each step would wait for the device."""
        state = next(iter(self.optimizer.state.values()), None)
        return int(state["step"]) if state else 0

    def skipped_steps(self) -> int:
        return self.steps - self.applied_steps()

    def peak_memory(self) -> tuple[int, str]:
        return pytorch_device.peak_memory(self._device)

    def flop_per_image(self) -> int:
        return round(self._work.total / self._config.replica_batch_size)

    def low_precision_share(self) -> float:
        if self._config.execution != "eager":
            raise GnetError("precision: nothing tells in what precision torch.compile's kernels multiply")
        return self._work.low / self._work.total

    def _exchange(self) -> Exchange | None:
        if not isinstance(self._model, DistributedDataParallel):
            return None
        return pytorch_workers.measure_exchange(self._model, self._losses)

    def _summed(self, numbers: list[int]) -> list[int]:
        return pytorch_workers.summed(numbers)

    @functools.cached_property
    def _work(self) -> _MatrixWork:
        """The matrix work of this worker's part of an eager step, which does not update weights."""
        self.optimizer.zero_grad(set_to_none=True)
        exchanging, self._model = self._model, self.network
        # By moving statistics it takes no other worker, and as many products.
        self.network.train(not self._config.synchronises)
        work = _MatrixWork()
        with work:
            self._forward().backward()
        self.network.train()
        self._model = exchanging
        return work


class _MatrixWork(TorchDispatchMode):  # type: ignore[misc]
    """Counts the operations of every convolution and matrix product that is run, and those on 16 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.low = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if flop := flop_registry.get(func.overloadpacket):
            operations = float(flop(*args, **(kwargs or {}), out_val=result))
            self.total += operations
            self.low += operations * (args[1].dtype in (torch.bfloat16, torch.float16))
        return result
