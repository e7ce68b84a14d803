"""The parent's side of one worker: start it, give it turns, end it, and say what became of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

from gnet_core.config import GnetError
from gnet_core.files import json_documents
from gnet_core.files.migrations import read_config
from gnet_core.files.whole import PARTIAL_PREFIX, read_text
from gnet_core.machine.differences import differences
from gnet_core.machine.environment import Environment
from gnet_core.plan.schedule import Job
from gnet_core.plan.suites import Plan, Source
from gnet_core.run.endings import PortTaken, WorkerLost
from gnet_core.run.hosts import Hosts
from gnet_core.run.members import LocalMember, Member, Task
from gnet_core.run.team import Team
from gnet_core.system import interrupts

POLL_SECONDS = 0.5
SLOWEST_TURN = 20
"""A turn that takes so many times what the worker expected is not coming back."""

MIN_TURN_LIMIT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How to run: everything that a run needs besides its cases."""

    directory: Path
    plan: Plan
    replicates: int
    memory_bytes: int
    """Memory that all workers alive together may take."""
    seed: int
    run: str
    """The run's identity, which its files have."""
    with_peaks: bool
    sources: Mapping[str, Source]
    own_source: Source
    """The one that measures what is not a case: peaks and traces."""
    environments: Mapping[str, Environment]
    """The environment of each interpreter as the run began, by its name (see Source.environment_name)."""
    worker_bytes: int | None = None
    """GPU memory of each worker, where the user gave it; else it is measured."""
    hosts: Hosts | None = None
    """Those that take part, each with one process of a case of several; None where all are on this one."""


class Worker:
    """The pytest process, or processes, that measure one case in its plan's limit, for which only time with the baton
    counts.

    `watch` is called whenever it is waited for, and may raise WorkerLost.
    """

    def __init__(
        self, job: Job, settings: RunSettings, watch: Callable[[Worker], None], step_seconds: float | None = None
    ) -> None:
        """`step_seconds` is a step's time, where the worker is not to measure it since it starts beside others."""
        self.job = job
        self._settings = settings
        self._source = settings.sources[job.case.source]
        self._watch = watch
        self._final = settings.directory / job.worker.raw_file
        token = secrets.token_hex(8)  # a directory may hold links of any name that can be guessed
        self._partial = self._final.with_name(f"{PARTIAL_PREFIX}{token}.r{job.replicate}.json")
        self._environment = settings.environments[self._source.environment_name(job.case.config.framework)]
        self._left_seconds = settings.plan.limit_seconds
        self._turn_limit_seconds = settings.plan.limit_seconds
        self._deadline, self._lateness = math.inf, ""
        self._task = Task(
            module=job.case.module,
            config=job.case.config,
            plan=dataclasses.replace(settings.plan, step_seconds=step_seconds),
            run=settings.run,
            raw_file=str(self._partial),
        )
        self._team = Team([self._member(index) for index in range(job.case.config.workers)])
        self._collected = False

    @property
    def main_pids(self) -> list[int]:
        """The numbers of its processes on this host, the one that reports first."""
        return [member.pid for member in self._team.members if member.pid is not None]

    def launch(self) -> None:
        """Start its processes. Raises WorkerLost."""
        with interrupts.deferred():
            try:
                self._team.launch(self._task)
            except OSError as error:  # the machine has no more processes or memory now, and may have them again
                why = f"the worker could not be started ({error.strerror or error})"
                raise WorkerLost("failed", why) from error

    def await_ready(self, progress: Callable[[str], None]) -> None:
        """Return when it has built, traced, compiled and warmed up, and waits for its first turn. Raises WorkerLost.

        A port that was free when it was chosen may be another's by the time that it is used, but hardly twice.
        """
        with self._holding_the_baton():
            try:
                message = self._next("ready", progress)
            except PortTaken:
                self.stop()
                self.launch()
                message = self._next("ready", progress)
        expected = message.get("step_seconds", 0.0) * (2 * message.get("block_steps", 1) + 1)
        self._turn_limit_seconds = max(MIN_TURN_LIMIT_SECONDS, SLOWEST_TURN * expected)

    def take_turn(self, number: int, *, after_others: bool) -> dict[str, Any]:
        """Let it time one block; return what it says of the turn. Raises WorkerLost."""
        with self._holding_the_baton(self._turn_limit_seconds):
            self._team.send(turn=number, after_others=after_others)
            return self._next("turn_done")

    def end_turns(self) -> None:
        """Tell it that its turns are over; also again."""
        self._team.send(finish=True)  # its exit status tells how it ended

    def finish(self, limit_seconds: float = math.inf) -> None:
        """End its turns, wait for its end, and name its raw file; also again after an interrupt. Raises WorkerLost."""
        with self._holding_the_baton(limit_seconds):
            self.end_turns()
            while not self._team.has_ended(POLL_SECONDS):
                self._look_after()
        with interrupts.deferred():
            if not self._collected:
                self._collect()
            self._collected = True
        self._team.remove_logs()

    def stop(self) -> None:
        """Leave nothing of it behind but its logs, however far it came."""
        with interrupts.deferred():
            self._team.stop()
            self._partial.unlink(missing_ok=True)

    def discard(self) -> None:
        """Stop it without a trace: it will be started again."""
        self.stop()
        self._team.remove_logs()

    def resident_bytes(self) -> int:
        """Resident memory of its processes on this host and their children; 0 when they ended."""
        with contextlib.suppress(psutil.Error):
            return sum(process.memory_info().rss for process in self._family())
        return 0

    def pids(self) -> set[int]:
        """The numbers of its processes on this host and of their children; none when they ended."""
        return {process.pid for process in self._family()}

    def _family(self) -> list[psutil.Process]:
        return [process for member in self._team.members for process in member.family()]

    def _member(self, index: int) -> Member:
        log = self._final.with_suffix(f".worker{index + 1}.log" if index else ".log")
        hosts = self._settings.hosts
        return hosts.member(index, self._source, log) if hosts else LocalMember(self._source, log)

    @contextlib.contextmanager
    def _holding_the_baton(self, limit_seconds: float = math.inf) -> Iterator[None]:
        limit, lateness = self._left_seconds, f"not finished after {self._settings.plan.limit_seconds:g} s"
        if limit_seconds < limit:
            limit, lateness = limit_seconds, f"a turn took more than {limit_seconds:.0f} s"
        start = time.monotonic()
        self._deadline, self._lateness = start + limit, lateness
        try:
            yield
        finally:
            self._left_seconds -= time.monotonic() - start

    def _next(self, awaited: str, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        """What it says at that event, `progress` hearing of others before. Raises WorkerLost when it died, failed, took
        too long or too much memory.
        """
        while True:
            message = self._team.receive(POLL_SECONDS)
            if message is None:
                self._look_after()
                continue
            # What it has done counts, also where this process was stopped meanwhile and hears of it late.
            self._watch(self)
            if message.get("event") == awaited:
                return message
            progress(str(message.get("name", message.get("event"))))

    def _look_after(self) -> None:
        if time.monotonic() > self._deadline:
            raise WorkerLost("timeout", "; ".join(filter(None, (self._lateness, self._team.laggard()))))
        self._watch(self)

    def _collect(self) -> None:
        """Give the raw file its name, once it is whole and of the case and environment that the run began with."""
        try:
            document = json.loads(read_text(self._partial))
            benchmarks = document["benchmarks"]
            environment = msgspec.convert(document["machine_info"]["gnet"], Environment)
        except (OSError, ValueError, TypeError, KeyError, msgspec.ValidationError) as error:
            raise WorkerLost("failed", f"the worker left no raw file that can be read ({error})") from None
        if len(benchmarks) != 1:
            raise WorkerLost("failed", f"the worker left {len(benchmarks)} benchmarks in its raw file instead of one")
        if other := self._measured_otherwise(benchmarks[0]):
            raise WorkerLost("unsupported", f"void: {other}")
        # One of an older revision runs from a copy as well, but looks for its commit in git, which knows none.
        changes = differences(self._environment, environment)
        if changed := [difference for difference in changes if difference.name != "commit"]:
            text = "; ".join(map(str, changed))
            raise WorkerLost("failed", f"void: what it was measured with changed since the run began ({text:.300})")
        self._partial.replace(self._final)

    def _measured_otherwise(self, benchmark: Mapping[str, Any]) -> str:
        """How the measured configuration differs from the case's, or why it cannot be read; "" where it is the same."""
        raw, info, config = Path(self.job.worker.raw_file), benchmark["extra_info"], self.job.case.config
        try:
            json_documents.require_version(raw, info["format_version"])
            differing = read_config(info["config"]).differences(config).items()
        except GnetError as error:
            return str(error)
        except KeyError as error:
            return f"{raw}: field {error} is missing"
        texts = (f"{field} {was!r} was measured, where {wanted!r} was asked" for field, (was, wanted) in differing)
        return "; ".join(texts)
