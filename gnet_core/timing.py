"""In the worker: a train step from nothing to steady state, each phase timed, then timed in blocks by pytest-benchmark.

Importable without TensorFlow, so that cases can be discovered fast; TensorFlow comes with the first measurement.
"""

from __future__ import annotations

import contextlib
import functools
import math
import statistics
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gnet_core.config import StepConfig
from gnet_core.files import RAW_FORMAT_VERSION
from gnet_core.protocol import Channel
from gnet_core.sweep import Plan

if TYPE_CHECKING:
    from gnet_core.step import StepResult


class Turns:
    """The worker's end of the protocol. Without a runner there is nobody to wait for and waiting is nothing."""

    def __init__(self, channel: Channel | None = None) -> None:
        self._channel = channel

    def announce(self, event: str, **details: Any) -> None:
        if self._channel:
            self._channel.send(event=event, **details)

    def wait(self) -> bool:
        """Return when it is this worker's turn; True if other workers ran since its last one."""
        if not self._channel:
            return False
        turn = self._channel.receive()
        return bool(turn and turn["after_others"])


class Timer:
    """Times cases as one plan says, taking its turns from a runner where there is one."""

    def __init__(self, plan: Plan, turns: Turns) -> None:
        self._plan = plan
        self._turns = turns
        self._phase_seconds: dict[str, float] = {}

    def time_train_step(self, benchmark: Any, config: StepConfig) -> None:
        """Build, trace, compile and warm up the case's step, then time it with pytest-benchmark's fixture.

        pytest-benchmark's samples are seconds a block; `extra_info` tells how many steps a block has, and everything
        else a row needs. What goes wrong is told to the runner and raised again.
        """
        try:
            self._time_train_step(benchmark, config)
        except Exception as error:
            self._turns.announce("failed", kind=failure_kind(error), message=first_line(error))
            raise

    def _time_train_step(self, benchmark: Any, config: StepConfig) -> None:
        self._phase_seconds = {}
        with self._phase("import"):
            from gnet_core import data, device, model, step
        with self._phase("build"):
            tensorflow_device = device.prepare(config)
            batches = data.endless_batches(config, tensorflow_device)
            train_step = step.make_train_step(model.build_model(config), config)
            images, labels = next(batches)
            device.synchronise()
        with self._phase("trace"):
            train_step.trace(images, labels)

        def run(steps: int) -> StepResult:
            for _ in range(steps):
                result = train_step(*next(batches))
            device.synchronise()
            return result

        with self._phase("first_call"):
            loss_first = float(run(1).loss)
        warmup_seconds: list[float] = []
        with self._phase("warmup"):
            # Both: a few steps of a fast device are over before its clocks have risen.
            while len(warmup_seconds) < self._plan.warmup_steps or sum(warmup_seconds) < self._plan.block_seconds:
                warmup_seconds.append(_seconds(lambda: run(1)))
        step_seconds = statistics.median(warmup_seconds[len(warmup_seconds) // 2 :])
        block_steps = max(1, round(self._plan.block_seconds / step_seconds))
        traces_before = train_step.trace_count
        single_steps: list[float] = []

        def take_turn() -> None:
            if self._turns.wait():
                run(1)  # the first step after others ran finds cold caches, so it stays outside the clock

        def hand_back() -> None:
            # A block of one step is a synchronised step already; longer blocks are followed by as many single ones.
            if block_steps > 1:
                single_steps.extend(_seconds(lambda: run(1)) for _ in range(block_steps))
            self._turns.announce("turn_done")

        self._turns.announce("ready", step_seconds=step_seconds, block_steps=block_steps)
        last = benchmark.pedantic(
            lambda: run(block_steps), setup=take_turn, teardown=hand_back, rounds=self._plan.turns, iterations=1
        )
        peak_bytes, memory_source = device.peak_memory(config)
        benchmark.extra_info.update(
            format_version=RAW_FORMAT_VERSION,
            case=config.name,
            config=config.to_dict(),
            block_steps=block_steps,
            phase_seconds=self._phase_seconds,
            warmup_step_seconds=warmup_seconds,
            single_step_seconds=single_steps,
            traces=train_step.trace_count,
            retraces_while_timed=train_step.trace_count - traces_before,
            skipped_steps=train_step.skipped_steps(),
            steps=train_step.calls,
            loss_first=_finite(loss_first),
            loss_last=_finite(float(last.loss)),
            peak_memory_bytes=peak_bytes,
            memory_source=memory_source,
        )

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self._turns.announce("phase", name=name)
        start = time.perf_counter()
        yield
        self._phase_seconds[name] = time.perf_counter() - start


OUT_OF_MEMORY_SIGNS = (
    *("resourceexhausted", "resource_exhausted", "memoryerror", "oom when allocating", "out of memory"),
    *("failed to allocate", "alloc_failed", "cuda_error_out_of_memory"),
)

_FRAME_LINES = ("Graph execution error", "Detected at node")
"""How TensorFlow begins the message of an error inside a graph, before it comes to the point."""


def failure_kind(error: BaseException) -> str:
    """Return "oom" where a device or the host ran out of memory, else "failed"."""
    text = f"{type(error).__name__}: {error}".casefold()
    return "oom" if any(sign in text for sign in OUT_OF_MEMORY_SIGNS) else "failed"


def first_line(error: BaseException) -> str:
    """The error in one line, for a table: the line that tells of memory, or the first that comes to the point."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if any(sign in line.casefold() for sign in OUT_OF_MEMORY_SIGNS)]
    told += [line for line in lines if not line.startswith(_FRAME_LINES)]
    return f"{type(error).__name__}: {told[0][:300]}" if told else type(error).__name__


@functools.cache
def worker_environment() -> dict[str, Any]:
    """The machine and the TensorFlow that this process measures with."""
    from gnet_core import device

    return device.environment()


def _seconds(action: Any) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _finite(value: float) -> float | None:
    """JSON has no NaN; a loss that is none is left out and its row says so."""
    return value if math.isfinite(value) else None
