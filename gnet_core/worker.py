"""The parent's side of one worker: start it, give it turns, end it, and say what became of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from gnet_core.protocol import Channel, ChannelClosed
from gnet_core.schedule import Job
from gnet_core.sweep import Plan, Source

POLL_SECONDS = 0.5
LAST_WORDS_SECONDS = 20
"""What a worker that failed is given to end by itself."""

SLOWEST_TURN = 20
"""A turn that takes this many times what the worker said it would is not coming back."""

SHORTEST_TURN_LIMIT_SECONDS = 30.0


class WorkerLost(Exception):  # noqa: N818 - it is what happened to a worker, not an error of ours
    """A worker that did not finish its case: the status its row gets, and why."""

    def __init__(self, status: str, note: str) -> None:
        super().__init__(note)
        self.status = status
        self.note = note


class WorkerCrowded(Exception):  # noqa: N818 - likewise
    """A worker for which there is no memory beside the others; alone it may have enough."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How to run: everything that a run needs besides its cases."""

    directory: Path
    plan: Plan
    replicates: int
    memory_bytes: int
    """What all workers alive together may take."""
    seed: int
    run: str
    """When it was started: what its raw files are told from those of others by."""
    with_peaks: bool
    """Whether the device's peaks are measured as well, without which there is no MFU."""
    sources: Mapping[str, Source]
    """By name."""
    own_source: Source
    """The one that measures what is not a case: peaks and traces."""


class Worker:
    """A pytest process that measures one case. `watch` is called whenever it is waited for; it may raise WorkerLost.

    Its deadline is its plan's limit, and only the time in which it holds the baton counts.
    """

    def __init__(self, job: Job, settings: RunSettings, module: str, watch: Callable[[Worker], None]) -> None:
        self.job = job
        self._plan = settings.plan
        self._run = settings.run
        self._source = settings.sources[job.case.source]
        self._module = module
        self._watch = watch
        self._final = settings.directory / "raw" / f"{job.stem}.json"
        self._partial = self._final.with_suffix(".partial")
        self._log = self._final.with_suffix(".log")
        self._left_seconds = settings.plan.limit_seconds
        self._turn_limit_seconds = settings.plan.limit_seconds
        self._deadline, self._lateness = math.inf, ""
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def raw(self) -> str:
        """Its raw file, as run.json names it."""
        return f"raw/{self._final.name}"

    def start(self, progress: Callable[[str], None]) -> None:
        """Return when it has built, traced, compiled and warmed up, and waits for its first turn. Raises WorkerLost."""
        self._channel, theirs = Channel.pair()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(theirs.fileno()),
                cwd=self._source.checkout,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
                start_new_session=True,  # Ctrl-C is the runner's to handle
            )
        theirs.close()
        with self._holding_the_baton():
            while (message := self._next())["event"] != "ready":
                progress(message.get("name", message["event"]))
        expected = message.get("step_seconds", 0.0) * (2 * message.get("block_steps", 1) + 1)
        self._turn_limit_seconds = max(SHORTEST_TURN_LIMIT_SECONDS, SLOWEST_TURN * expected)

    def take_turn(self, number: int, *, after_others: bool) -> dict[str, Any]:
        """Let it time one block; return what it says of the turn. Raises WorkerLost."""
        with self._holding_the_baton(self._turn_limit_seconds):
            self._tell(turn=number, after_others=after_others)
            while (message := self._next())["event"] != "turn_done":
                pass
        return message

    def finish(self, limit_seconds: float | None = None) -> None:
        """Tell it that there are no more turns, wait for its end, and give its raw file its name. Raises WorkerLost."""
        with self._holding_the_baton(limit_seconds):
            self._tell(finish=True)
            self._await_end()
        self._collect()
        self._log.unlink()

    def stop(self) -> None:
        """Leave nothing of it behind but what it said in its log, however far it came."""
        if self._process is not None:
            _kill(self._process)
            self._process = None  # its number may soon be another's
        if self._channel is not None:
            self._channel.close()
        self._partial.unlink(missing_ok=True)

    def discard(self) -> None:
        """Stop it without a trace: it will be started again."""
        self.stop()
        self._log.unlink(missing_ok=True)

    def command(self, descriptor: int) -> list[str]:
        """How this worker is started."""
        checkout = self._source.checkout
        return [
            self._source.python,
            *("-m", "pytest", str(checkout / "benchmarks" / self._module), "--quiet", "--capture=no"),
            *("-p", "no:cacheprovider", "--rootdir", str(checkout)),
            *("--benchmark-only", f"--benchmark-json={self._partial}"),
            f"--gnet-case={json.dumps(self.job.case.config.to_dict())}",
            f"--gnet-plan={json.dumps(dataclasses.asdict(self._plan))}",
            f"--gnet-run={self._run}",
            f"--gnet-channel={descriptor}",
        ]

    def resident_bytes(self) -> int:
        """What it and its children hold in memory; 0 when they ended."""
        try:
            process = psutil.Process(self.pid)
            return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
        except psutil.Error:
            return 0

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "a worker is started before it is spoken to"
        return self._process

    @contextlib.contextmanager
    def _holding_the_baton(self, limit_seconds: float | None = None) -> Iterator[None]:
        start = time.monotonic()
        self._deadline, self._lateness = (
            start + self._left_seconds,
            f"not finished after {self._plan.limit_seconds:g} s",
        )
        if limit_seconds is not None and limit_seconds < self._left_seconds:
            self._deadline, self._lateness = start + limit_seconds, f"a turn took more than {limit_seconds:.0f} s"
        try:
            yield
        finally:
            self._left_seconds -= time.monotonic() - start

    def _tell(self, **message: Any) -> None:
        assert self._channel is not None
        try:
            self._channel.send(**message)
        except ChannelClosed:
            raise self._death() from None

    def _next(self) -> dict[str, Any]:
        """The worker's next message. Raises WorkerLost when it died, failed, took too long or too much memory."""
        assert self._channel is not None
        while True:
            try:
                message = self._channel.receive(POLL_SECONDS)
            except ChannelClosed:
                raise self._death() from None
            if message is None:
                self._look_after()
                continue
            # What it has done counts, also where this process was stopped meanwhile and hears of it late.
            self._raise_if_failed(message)
            self._watch(self)
            return message

    def _await_end(self) -> None:
        assert self._channel is not None
        while self._running.poll() is None:
            try:
                message = self._channel.receive(POLL_SECONDS)
            except ChannelClosed:
                time.sleep(POLL_SECONDS / 10)
            else:
                if message:
                    self._raise_if_failed(message)
            self._look_after()
        if self._running.returncode != 0:
            raise self._death()

    def _raise_if_failed(self, message: dict[str, Any]) -> None:
        if message.get("event") != "failed":
            return
        with contextlib.suppress(subprocess.TimeoutExpired):  # it is about to write its traceback into the log
            self._running.wait(timeout=LAST_WORDS_SECONDS)
        raise WorkerLost(message.get("kind", "failed"), message.get("message", "it did not say why"))

    def _look_after(self) -> None:
        if time.monotonic() > self._deadline:
            raise WorkerLost("timeout", self._lateness)
        self._watch(self)

    def _death(self) -> WorkerLost:
        """What the exit status and the log say of a worker that ended without having finished."""
        try:
            code = self._running.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return WorkerLost("failed", "the worker closed its channel but went on")
        log = self._log.read_text(errors="replace")
        if "std::bad_alloc" in log:
            return WorkerLost("oom", "the worker ran out of memory (std::bad_alloc)")
        if code == -signal.SIGKILL:
            return WorkerLost("failed", "the worker was killed (SIGKILL); the system may have run out of memory")
        if code < 0:
            return WorkerLost("failed", f"the worker died of {signal.Signals(-code).name}")
        lines = [line for line in log.splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if line.startswith("E ")), lines[-1] if lines else "nothing")
        return WorkerLost("failed", f"the worker ended with status {code}, saying: {said[:300]}")

    def _collect(self) -> None:
        """Give the raw file its name once it is whole."""
        try:
            benchmarks = json.loads(self._partial.read_text())["benchmarks"]
        except (OSError, ValueError, KeyError) as error:
            raise WorkerLost("failed", f"the worker left no raw file that can be read ({error})") from None
        if len(benchmarks) != 1:
            raise WorkerLost("failed", f"the worker left {len(benchmarks)} benchmarks in its raw file instead of one")
        self._partial.rename(self._final)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the worker and whatever it started, also when it is stopped."""
    with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
