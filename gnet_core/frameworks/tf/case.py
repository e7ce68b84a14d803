"""A case in TensorFlow: the network and the train step that this project is about, or what feeds it."""

from __future__ import annotations

from typing import Any

from gnet_core.config import StepConfig
from gnet_core.frameworks import flops
from gnet_core.frameworks.tf import device, feeds, model, precision_proof, step


class Case:
    """See gnet_core.frameworks.base.Case."""

    def __init__(self, config: StepConfig) -> None:
        tensorflow_device = device.prepare(config)
        self._config = config
        self.feed = feeds.open_feed(config, tensorflow_device)
        self._network = model.build_model(config)
        self._step = step.make_train_step(self._network, config)
        self._images, self._labels = next(self.feed)
        device.synchronise()

    @property
    def steps(self) -> int:
        return self._step.calls

    @property
    def trace_count(self) -> int:
        return self._step.trace_count

    def trace(self) -> None:
        self._step.trace(self._images, self._labels)

    def run(self, steps: int) -> Any:
        for _ in range(steps):
            result = self._step(*next(self.feed))
        device.synchronise()
        return result.loss

    def set_dropout(self, active: bool) -> None:
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
        return precision_proof.low_precision_share(self._step, self._images, self._labels)


class InputCase:
    """The feed of a case alone, also a gnet_core.frameworks.base.Case: a step of it is a batch on the step's device."""

    trace_count = 0

    def __init__(self, config: StepConfig) -> None:
        self._config = config
        self.feed = feeds.open_feed(config, device.prepare(config))
        self.steps = 0

    def trace(self) -> None:
        """There is nothing to trace."""

    def run(self, steps: int) -> None:
        for _ in range(steps):
            next(self.feed)
        device.synchronise()
        self.steps += steps

    def set_dropout(self, active: bool) -> None:
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
