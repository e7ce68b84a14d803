"""A case in TensorFlow: the network and the train step that this project is about, or what feeds it."""

from __future__ import annotations

import contextlib
import functools
import itertools
from typing import Any

import tensorflow as tf

from gnet_core.config import GnetError, StepConfig
from gnet_core.frameworks import flops
from gnet_core.frameworks.base import Exchange
from gnet_core.frameworks.lockstep import Lockstep
from gnet_core.frameworks.tf import device, exchange, feeds, model, precision_proof, step
from gnet_core.frameworks.tf.replicas import Several
from gnet_core.frameworks.tf.strategy import open_strategy
from gnet_core.system.cluster import Cluster


class Case(Lockstep):
    """See gnet_core.frameworks.base.Case."""

    def __init__(self, config: StepConfig, cluster: Cluster | None = None) -> None:
        super().__init__(cluster, config.workers)
        tensorflow_device = device.prepare(config, cluster)
        self._config = config
        strategy = open_strategy(config, cluster)
        self._several = Several(strategy, config) if strategy else None
        self.feed = (
            feeds.BatchFeed(itertools.repeat(self._several.parts_of_batch()))
            if self._several
            else feeds.open_feed(config, tensorflow_device)
        )
        with strategy.scope() if strategy else contextlib.nullcontext():
            self._network = model.build_model(config)
            self._step = step.make_train_step(self._network, config)
        if self._several:
            self._several.tell_dropout_apart(self._network.dropouts)
        self._synchronise = self._several.synchronise if self._several else device.synchronise
        self._images, self._labels = next(self.feed)
        self._synchronise()

    @property
    def steps(self) -> int:
        return self._step.calls

    @property
    def trace_count(self) -> int:
        return self._step.trace_count

    def trace(self) -> None:
        self._step.trace(self._images, self._labels)

    def _run(self, steps: int) -> Any:
        for _ in range(steps):
            result = self._step(*next(self.feed))
        self._synchronise()
        return result.loss

    def _set_dropout(self, active: bool) -> None:
        self._network.set_dropout(active)

    def applied_steps(self) -> int:
        return self._step.applied_steps()

    def skipped_steps(self) -> int:
        return self._step.skipped_steps()

    def peak_memory(self) -> tuple[int, str]:
        return device.peak_memory(self._config)

    def flop_per_image(self) -> int:
        return flops.train_step_flop_per_image(self._network, self._config)

    def low_precision_share(self) -> float:
        if self._several:
            raise GnetError("precision: it is looked at where one replica takes the step; several multiply alike")
        return precision_proof.low_precision_share(self._step, self._images, self._labels)

    def _exchange(self) -> Exchange | None:
        if not self._several or not self._config.all_reduce or self._config.part == "forward":
            return None
        return exchange.measure(self._several, self._step, self._images, self._labels)

    def _summed(self, numbers: list[int]) -> list[int]:
        summed: list[int] = self._sum_over_workers(tf.constant(numbers, tf.int64)).numpy().tolist()
        return summed

    @functools.cached_property
    def _sum_over_workers(self) -> Any:
        assert self._several is not None
        reduce = functools.partial(self._several.strategy.reduce, tf.distribute.ReduceOp.SUM, axis=None)
        return tf.function(lambda values: reduce(values), autograph=False)  # eagerly it takes twice as long


class InputCase(Lockstep):
    """The feed of a case alone, also a gnet_core.frameworks.base.Case: a step of it is a batch on the step's device."""

    trace_count = 0

    def __init__(self, config: StepConfig, cluster: Cluster | None = None) -> None:
        super().__init__(cluster, config.workers)
        self._config = config
        self.feed = feeds.open_feed(config, device.prepare(config))
        self.steps = 0

    def trace(self) -> None:
        """There is nothing to trace."""

    def _run(self, steps: int) -> None:
        for _ in range(steps):
            next(self.feed)
        device.synchronise()
        self.steps += steps

    def _set_dropout(self, active: bool) -> None:
        """There is none."""

    def applied_steps(self) -> int:
        return 0

    def skipped_steps(self) -> int:
        return 0

    def peak_memory(self) -> tuple[int, str]:
        return device.peak_memory(self._config)

    def flop_per_image(self) -> int:
        return 0

    def low_precision_share(self) -> None:
        return None
