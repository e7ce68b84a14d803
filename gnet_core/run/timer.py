"""In the worker: a train step from nothing to steady state, each phase timed, then blocks by pytest-benchmark."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import platform
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import gnet_core
from gnet_core.config import TITLES, Framework, GnetError, StepConfig
from gnet_core.files.whole import RAW_FORMAT_VERSION
from gnet_core.frameworks import base
from gnet_core.frameworks.base import Case
from gnet_core.machine import description
from gnet_core.machine.environment import UNKNOWN, Environment
from gnet_core.plan.suites import Plan, Source
from gnet_core.run import sources
from gnet_core.run.protocol import Channel, ChannelClosed
from gnet_core.stats.losses import TOLERANCE
from gnet_core.system.cluster import Cluster

COMPARED_UPDATES = len(TOLERANCE["mixed_float16"])
SETTLE_SECONDS = 0.1
"""Time that a worker waits before it hands its turn back. JAX goes on freeing a step's buffers for a while after the
step has finished, which came out of the next one's turn: 9 % of the processors."""

MAX_SETTLE_SECONDS = 10.0
"""A worker that is not idle by then hands its turn back all the same, and the next one's is disturbed."""

WAITING_SHARE = 0.05
"""Share of a step's time from which on waiting for its batch says that the input is what takes longer."""

MAX_OBSERVED = 12
"""Steps without dropout, at most: a step whose updates are all skipped has no more losses to compare."""

BEAT_SECONDS = 1.0
"""Time between the signs of life of a worker's processes, from which a runner tells whom the others wait for."""


class Turns:
    """The worker's end of the protocol. Without a runner there is nobody to wait for and waiting is nothing."""

    def __init__(self, channel: Channel | None = None) -> None:
        self._channel = channel
        self._speaking = threading.Lock()  # beats come from a thread of their own

    def announce(self, event: str, **details: Any) -> None:
        if self._channel:
            with self._speaking:
                self._channel.send(event=event, **details)

    def settle(self, *, until_idle: bool = False) -> None:
        """Return when nothing goes on any more of what this worker did, before another may have its turn; `until_idle`
        where threads of it work ahead, which takes them longer.
        """
        if not self._channel:
            return
        time.sleep(SETTLE_SECONDS)
        waited, used = SETTLE_SECONDS, math.inf
        while until_idle and used > SETTLE_SECONDS / 10 and waited < MAX_SETTLE_SECONDS:
            before = time.process_time()  # of all threads
            time.sleep(SETTLE_SECONDS)
            waited, used = waited + SETTLE_SECONDS, time.process_time() - before

    def wait(self) -> Literal["first", "again", "over"]:
        """Return when it is this worker's turn: again, or the first since others ran; or when all turns are over."""
        if not self._channel:
            return "again"
        turn = self._channel.receive()
        if not turn or "finish" in turn:
            return "over"
        return "first" if turn["after_others"] else "again"


class Timer:
    """Times cases as one plan says, taking its turns from a runner where there is one."""

    def __init__(self, plan: Plan, turns: Turns, run: str = "", cluster: Cluster | None = None) -> None:
        """`run` is the run's identity, which its raw files have; `cluster` are the workers of a case of several."""
        self.plan = plan
        self.turns = turns
        self._run = run
        self._cluster = cluster
        self._case: Case | None = None
        self._phase_seconds: dict[str, float] = {}

    @property
    def reports(self) -> bool:
        """Whether this process times its case, and does not follow the one that does."""
        return self._cluster is None or self._cluster.reports

    def time_train_step(self, benchmark: Any, config: StepConfig) -> None:
        """Build, trace, compile and warm up the case's step, then time it with pytest-benchmark's fixture in seconds a
        block; what else a row needs is in `extra_info`. An error is reported to the runner and raised again.
        """
        with self._reporting_errors(), self._beating():
            self._time_train_step(benchmark, config)

    def follow_train_step(self, config: StepConfig) -> None:
        """In a worker that does not report: build and trace the case's step, then do what the first worker does until
        it has finished. An error is reported to the runner and raised again.
        """
        with self._reporting_errors(), self._beating():
            case = self._ready_case(config)
            self.turns.announce("phase", name="follow")
            while case.follow():
                self.turns.wait()  # in no collective, which would take time of whoever is measured meanwhile

    def _ready_case(self, config: StepConfig) -> Case:
        """The case, traced."""
        self._phase_seconds = {}
        with self._phase("import"):
            framework = base.load(config.framework)
        if self._cluster:
            self.turns.announce("versions", versions=_versions(config.framework))
        with self._phase("build"):
            made = framework.InputCase if config.part == "input" else framework.Case
            case: Case = made(config, self._cluster)
        self._case = case
        with self._phase("trace"):
            case.trace()
        return case

    def _time_train_step(self, benchmark: Any, config: StepConfig) -> None:
        case = self._ready_case(config)
        feed = case.feed

        def observe() -> tuple[int, float | None]:
            applied, loss = case.applied_steps(), case.run(1)
            return applied, None if loss is None else float(loss)

        # Dropout's masks differ between executions, so the losses that are compared are those without.
        case.set_dropout(False)
        with self._phase("first_call"):
            losses = [observe()]
        warmup_seconds: list[float] = []
        with self._phase("warmup"):
            losses += [observe() for _ in range(self.plan.warmup_steps)]
            # Loss scaling skips its first steps, so float16 takes more of them to get as far.
            while config.part == "train" and case.applied_steps() < COMPARED_UPDATES and len(losses) < MAX_OBSERVED:
                losses.append(observe())
            case.set_dropout(True)
            if feed.made_ahead:  # while the network was built and traced, which no step would have to wait for
                case.run(feed.made_ahead)
            waited_before = feed.waited_seconds
            # Both: a few steps of a fast device are over before its clocks have risen.
            while not warmup_seconds or sum(warmup_seconds) < self.plan.block_seconds:
                warmup_seconds.append(_seconds(lambda: case.run(1)))
        step_seconds = self.plan.step_seconds or statistics.median(warmup_seconds)
        waits = feed.waited_seconds - waited_before > WAITING_SHARE * sum(warmup_seconds)
        ahead = Ahead(batches=feed.made_ahead, waits=waits)
        blocks = Blocks(self.turns, case, self.plan, step_seconds, ahead)
        last = blocks.time(benchmark)
        peak_bytes, memory_source = case.peak_memory()
        steps, skipped = case.steps, case.skipped_steps()
        share, why_no_share = None, ""
        if self.plan.step_seconds is None:  # else the process that measured it has told the share as well
            try:
                share = case.low_precision_share()
            except GnetError as error:
                why_no_share = str(error)
        exchange = case.exchange()
        case.finish()
        benchmark.extra_info.update(
            format_version=RAW_FORMAT_VERSION,
            run=self._run,
            case=config.name,
            config=config.to_dict(),
            **blocks.to_dict(),
            phase_seconds=self._phase_seconds,
            started_alone=self.plan.step_seconds is None,
            warmup_step_seconds=warmup_seconds,
            traces=case.trace_count,
            skipped_steps=skipped,
            steps=steps,
            losses_without_dropout=[(applied, _finite(loss)) for applied, loss in losses],
            loss_first=_finite(losses[0][1]),
            loss_last=_finite(None if last is None else float(last)),
            peak_memory_bytes=peak_bytes,
            memory_source=memory_source,
            flop_per_image=case.flop_per_image(),
            low_precision_share=share,
            low_precision_note=why_no_share,
            pictures=dataclasses.asdict(feed.pictures) if feed.pictures else None,
            exchange=dataclasses.asdict(exchange) if exchange else None,
        )

    @contextlib.contextmanager
    def _reporting_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.turns.announce("failed", kind=failure_kind(error), message=first_line(error))
            raise

    @contextlib.contextmanager
    def _beating(self) -> Iterator[None]:
        """Tell the runner once a second, while the block runs, how many steps this process has entered: where several
        take them together, who is behind or silent is whom the others wait for.
        """
        if not self._cluster:
            yield
            return
        over = threading.Event()

        def beat() -> None:
            with contextlib.suppress(ChannelClosed):  # whoever waits for the next turn says so
                while not over.wait(BEAT_SECONDS):
                    self.turns.announce("beat", steps=self._case.steps if self._case else 0)

        thread = threading.Thread(target=beat, name="gnet-beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self.turns.announce("phase", name=name)
        start = time.perf_counter()
        yield
        self._phase_seconds[name] = time.perf_counter() - start


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ahead:
    """Batches that a worker makes ahead while others have their turns, which a block must not be credited with.

    Where the step takes longer than its batch, as many as can be are ready at each of its steps, before a block as
    within it, so they change nothing. Where the batch takes longer, none is ready when a step asks, and so they are
    used up outside the clock. A run of the input alone is such a case, with a step of no time.
    """

    batches: int = 0
    """The most that there can be."""
    waits: bool = False
    """Whether a step was seen to wait for its batch."""


class Stepping(Protocol):
    """What blocks need of a gnet_core.frameworks.base.Case, which says what each does."""

    @property
    def trace_count(self) -> int: ...

    def expect(self, steps: int, runs: int = 1) -> None: ...

    def run(self, steps: int) -> Any: ...

    def rest(self) -> None: ...


class Blocks:
    """The timed blocks of one worker, and the steps around them."""

    def __init__(
        self,
        turns: Turns,
        case: Stepping,
        plan: Plan,
        step_seconds: float,
        ahead: Ahead = Ahead(),
    ) -> None:
        self._turns = turns
        self._case = case
        self._rounds = plan.turns
        self._step_seconds = step_seconds
        self._block_steps = max(1, round(plan.block_seconds / step_seconds))
        self._single_steps = max(1, round(plan.single_seconds / step_seconds))
        # A step that is hardly shorter than its batch uses up what is ready slowly, so a long block has a long lead.
        self._lead_steps = max(ahead.batches, self._block_steps) if ahead.waits else 0
        self._works_ahead = ahead.batches > 0
        self._traces = self._steps = self._timed = 0
        self._over = False
        self._resumed_seconds: list[float] = []
        self._single_seconds: list[float] = []
        self._voided: list[int] = []
        self._work_began = self._block_began = 0.0

    def time(self, benchmark: Any) -> Any:
        """Let pytest-benchmark time a block a turn; return the last result. Ends when there are no more turns."""
        self._case.rest()
        self._turns.settle(until_idle=self._works_ahead)
        self._turns.announce("ready", step_seconds=self._step_seconds, block_steps=self._block_steps)
        last = benchmark.pedantic(
            self._block, setup=self._take_turn, teardown=self._hand_back, rounds=self._rounds, iterations=1
        )
        if not self._over:
            self._turns.wait()  # until no other worker is timing, which what is still to be looked at would disturb
        return last if last is not None else self._case.run(1)

    def to_dict(self) -> dict[str, Any]:
        """Their fields of the raw file; seconds are those of a step."""
        return {
            "block_steps": self._block_steps,
            "timed_blocks": self._timed,
            "voided_blocks": self._voided,
            "resumed_step_seconds": self._resumed_seconds,
            "single_step_seconds": self._single_seconds,
        }

    def _take_turn(self) -> None:
        turn = "over" if self._over else self._turns.wait()
        self._over = turn == "over"
        self._steps = 0
        self._work_began = time.monotonic()
        if self._lead_steps and not self._over:
            self._counted(self._lead_steps)
        elif turn == "first" and self._block_steps > 1:
            # The first step after others ran finds cold caches, so it stays outside the clock. Of a step that is longer
            # than a block they are no part that could be seen, and leaving it out would double the run.
            self._resumed_seconds.append(_seconds(lambda: self._counted(1)))
        if not self._over:
            self._case.expect(self._block_steps)
        self._traces = self._case.trace_count
        self._block_began = time.monotonic()

    def _block(self) -> Any:
        return None if self._over else self._counted(self._block_steps)

    def _hand_back(self) -> None:
        block = (self._block_began, time.monotonic())
        if self._over:
            return  # interrupted: the rounds that are left are none
        if self._case.trace_count > self._traces:
            self._voided.append(self._timed)
        self._timed += 1
        # A block of one step is a synchronised step already.
        if self._block_steps > 1:
            traces = self._case.trace_count
            self._case.expect(1, runs=self._single_steps)
            single = [_seconds(lambda: self._counted(1)) for _ in range(self._single_steps)]
            if self._case.trace_count == traces:
                self._single_seconds += single
        work = (self._work_began, time.monotonic())
        self._case.rest()
        self._turns.settle(until_idle=self._works_ahead)
        self._turns.announce("turn_done", steps=self._steps, block=block, work=work)

    def _counted(self, steps: int) -> Any:
        self._steps += steps
        return self._case.run(steps)


OUT_OF_MEMORY_SIGNS = (
    *("resourceexhausted", "resource_exhausted", "memoryerror", "oom when allocating", "out of memory"),
    *("failed to allocate", "alloc_failed", "cuda_error_out_of_memory"),
    *("resource allocation failed", "device_allocation_failed"),  # cuBLAS in words, and cuDNN from 9 on
)

_FRAME_LINES = ("Graph execution error", "Detected at node")
"""How TensorFlow begins the message of an error inside a graph, before it comes to the point."""


def failure_kind(error: BaseException) -> str:
    """Return "oom" where a device or the host ran out of memory, else "failed"."""
    text = f"{type(error).__name__}: {error}".casefold()
    return "oom" if any(sign in text for sign in OUT_OF_MEMORY_SIGNS) else "failed"


def first_line(error: BaseException) -> str:
    """The error in one line, for a table: the line that speaks of memory, or the first that comes to the point."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    best = [line for line in lines if any(sign in line.casefold() for sign in OUT_OF_MEMORY_SIGNS)]
    best += [line for line in lines if not line.startswith(_FRAME_LINES)]
    return f"{type(error).__name__}: {best[0][:300]}" if best else type(error).__name__


@functools.cache
def worker_environment(checkout: Path, framework: Framework) -> Environment:
    """The machine and the framework that this process measures with, and no other; and the commit of its checkout."""
    section: dict[str, Any] = {framework: base.describe(framework)}
    return Environment(machine=description.describe(checkout), **section)


def _versions(framework: Framework) -> dict[str, str]:
    """What all processes of a case have to have alike, by name."""
    return {
        "Python": platform.python_version(),
        TITLES[framework]: getattr(sys.modules.get(framework), "__version__", UNKNOWN),  # which is imported by now
        "gnet's code": sources.digest(Source(checkout=Path(gnet_core.__file__).parents[1]))[:12],
    }


def _seconds(action: Any) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _finite(value: float | None) -> float | None:
    """JSON has no NaN; a loss that is none is left out and its row says so."""
    return value if value is not None and math.isfinite(value) else None
