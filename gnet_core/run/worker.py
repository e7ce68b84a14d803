"""The parent's side of one worker: start it, give it turns, end it, and say what became of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from gnet_core.run.protocol import Channel, ChannelClosed
from gnet_core.run.timer import OUT_OF_MEMORY_SIGNS
from gnet_core.system import children, interrupts

POLL_SECONDS = 0.5
LAST_WORDS_SECONDS = 20
"""Time in which a worker that failed may end by itself."""

SLOWEST_TURN = 20
"""A turn that takes so many times what the worker expected is not coming back."""

MIN_TURN_LIMIT_SECONDS = 30.0

_MAX_LOG_BYTES = 2**16
"""Length of the end of a worker's log that is read. A log may be of any length."""


class WorkerLost(Exception):  # noqa: N818 - it is what happened to a worker, not an error of ours
    """A worker that did not finish: its row's status, why, and whether it may be for lack of memory beside others."""

    def __init__(self, status: str, note: str, *, short_of_memory: bool = False) -> None:
        super().__init__(note)
        self.status = status
        self.note = note
        self.short_of_memory = short_of_memory


class WorkerCrowded(Exception):  # noqa: N818 - likewise
    """A worker for which there is no memory beside the others; alone it may have enough."""


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


class Worker:
    """A pytest process that measures one case in its plan's limit, for which only time with the baton counts.

    `watch` is called whenever it is waited for, and may raise WorkerLost.
    """

    def __init__(
        self, job: Job, settings: RunSettings, watch: Callable[[Worker], None], step_seconds: float | None = None
    ) -> None:
        """`step_seconds` is a step's time, where the worker is not to measure it since it starts beside others."""
        self.job = job
        self._plan = dataclasses.replace(settings.plan, step_seconds=step_seconds)
        self._settings = settings
        self._source = settings.sources[job.case.source]
        self._watch = watch
        self._final = settings.directory / job.worker.raw_file
        token = secrets.token_hex(8)  # a directory may hold links of any name that can be guessed
        self._partial = self._final.with_name(f"{PARTIAL_PREFIX}{token}.r{job.replicate}.json")
        self._log = self._final.with_suffix(".log")
        self._environment = settings.environments[self._source.environment_name(job.case.config.framework)]
        self._left_seconds = settings.plan.limit_seconds
        self._turn_limit_seconds = settings.plan.limit_seconds
        self._deadline, self._lateness = math.inf, ""
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._collected = False

    @property
    def pid(self) -> int:
        return self._running.pid

    def launch(self) -> None:
        """Start its process. Raises WorkerLost."""
        with interrupts.deferred():
            self._launch()

    def await_ready(self, progress: Callable[[str], None]) -> None:
        """Return when it has built, traced, compiled and warmed up, and waits for its first turn. Raises WorkerLost."""
        with self._holding_the_baton():
            while (message := self._next()).get("event") != "ready":
                progress(str(message.get("name", message.get("event"))))
        expected = message.get("step_seconds", 0.0) * (2 * message.get("block_steps", 1) + 1)
        self._turn_limit_seconds = max(MIN_TURN_LIMIT_SECONDS, SLOWEST_TURN * expected)

    def take_turn(self, number: int, *, after_others: bool) -> dict[str, Any]:
        """Let it time one block; return what it says of the turn. Raises WorkerLost."""
        assert self._channel is not None
        with self._holding_the_baton(self._turn_limit_seconds):
            try:
                self._channel.send(turn=number, after_others=after_others)
            except ChannelClosed:
                raise self._death() from None
            while (message := self._next()).get("event") != "turn_done":
                pass
        return message

    def end_turns(self) -> None:
        """Tell it that its turns are over; also again."""
        assert self._channel is not None
        with contextlib.suppress(ChannelClosed):  # its exit status tells how it ended
            self._channel.send(finish=True)

    def finish(self, limit_seconds: float = math.inf) -> None:
        """End its turns, wait for its end, and name its raw file; also again after an interrupt. Raises WorkerLost."""
        with self._holding_the_baton(limit_seconds):
            self.end_turns()
            self._await_end()
        with interrupts.deferred():
            if not self._collected:
                self._collect()
            self._collected = True
        self._log.unlink(missing_ok=True)

    def stop(self) -> None:
        """Leave nothing of it behind but its log, however far it came."""
        with interrupts.deferred():
            if self._process is not None:
                children.kill(self._process)
                self._process = None  # its number may soon be another's
            if self._channel is not None:
                self._channel.close()
            self._partial.unlink(missing_ok=True)

    def discard(self) -> None:
        """Stop it without a trace: it will be started again."""
        self.stop()
        self._log.unlink(missing_ok=True)

    def command(self, descriptor: int) -> list[str]:
        """How this worker is started, in the folder of its code."""
        plan = {name: value for name, value in dataclasses.asdict(self._plan).items() if value is not None}
        return [
            self._source.interpreter(self.job.case.config.framework),
            *pytest_words(self.job.case.module, self._source.checkout),
            f"--benchmark-json={self._partial}",
            # No more than that: a revision from before a field was there refuses it.
            f"--gnet-case={json.dumps(self.job.case.config.overrides())}",
            f"--gnet-plan={json.dumps(plan)}",
            f"--gnet-run={self._settings.run}",
            f"--gnet-channel={descriptor}",
        ]

    def resident_bytes(self) -> int:
        """Resident memory of it and its children; 0 when they ended."""
        with contextlib.suppress(psutil.Error):
            return sum(process.memory_info().rss for process in self._family())
        return 0

    def pids(self) -> set[int]:
        """The numbers of its process and its children's; none when they ended."""
        with contextlib.suppress(psutil.Error):
            return {process.pid for process in self._family()}
        return set()

    def _family(self) -> list[psutil.Process]:
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]

    def _launch(self) -> None:
        self._log.unlink(missing_ok=True)  # it may be an earlier worker's, or a link
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            self._channel, theirs = Channel.pair()
            with theirs:
                descriptor, checkout = theirs.fileno(), self._source.checkout
                self._process = children.start(
                    self.command(descriptor),
                    cwd=checkout,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(descriptor,),
                    asked=self._source.variables,
                )
        except OSError as error:  # the machine has no more processes or memory now, and may have them again
            raise WorkerLost("failed", f"the worker could not be started ({error.strerror or error})") from error
        finally:
            os.close(log)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "a worker is started before it is spoken to"
        return self._process

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
        kind, why = message.get("kind", "failed"), message.get("message", "it did not say why")
        raise WorkerLost(kind, why, short_of_memory=kind == "oom" or may_lack_memory(self._last_words()))

    def _look_after(self) -> None:
        if time.monotonic() > self._deadline:
            raise WorkerLost("timeout", self._lateness)
        self._watch(self)

    def _death(self) -> WorkerLost:
        """The loss of a worker that ended without having finished, from its exit status and its log."""
        try:
            code = self._running.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return WorkerLost("failed", "the worker closed its channel but went on")
        return death(code, self._last_words())

    def _last_words(self) -> str:
        return log_end(self._log)

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


def pytest_words(module: str, checkout: Path) -> list[str]:
    """The words after an interpreter that run a module of benchmarks/, in the folder of its code."""
    return [
        # A path from there: pytest takes a part of one for the name of a test where it holds "::" or "[".
        *("-m", "pytest", f"benchmarks/{module}", "--quiet", "--capture=no", "--color=no", "--benchmark-only"),
        # The second collects all garbage of TensorFlow before the process ends, which takes half a second.
        *("-p", "no:cacheprovider", "-p", "no:unraisableexception", "--rootdir", str(checkout)),
        *("-W", "ignore::pytest.PytestConfigWarning"),  # which PYTHONOPTIMIZE gives, of assertions it leaves out
    ]


def log_end(path: Path) -> str:
    """The end of what a worker printed. Raises OSError."""
    with path.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _MAX_LOG_BYTES))
        return log.read().decode(errors="replace")


def death(code: int, log: str) -> WorkerLost:
    """The loss of a worker that ended without having finished, from its exit status and the end of its log."""
    if "std::bad_alloc" in log:
        return WorkerLost("oom", "the worker ran out of memory (std::bad_alloc)", short_of_memory=True)
    if code == -signal.SIGKILL:
        return WorkerLost("failed", "the worker was killed (SIGKILL); the system may have run out of memory")
    how = f"ended with status {code}" if code >= 0 else f"died of {_SIGNAL_NAMES.get(-code, f'signal {-code}')}"
    if line := memory_line(log):
        return WorkerLost("oom", f"the worker {how}, saying: {line}", short_of_memory=True)
    return WorkerLost("failed", f"the worker {how}, saying: {reason(log)}", short_of_memory=may_lack_memory(log))


_REASONS = (
    re.compile(r"E   +(?=\S)"),  # an exception as pytest shows it
    re.compile(r"(?=[\w.]+(Error|Exception|Interrupt|Exit)\b)"),  # the end of a traceback
    re.compile(r"(?=F\d{4} |Fatal |.*: symbol lookup error|ERROR\b|.*\berror: )"),  # a check of C++, usage, collection
    re.compile(r"(?!(rootdir|configfile|inifile|plugins|testpaths|cachedir): |=+|-+$|!+)"),  # whatever is no setting
)
"""Beginnings of the lines that say why a worker ended, the clearest first."""
_DEADLY = re.compile(r"E   +(?=\S)|(?=[\w.]+(Error|Exception)\b|F\d{4} |\S+ \S+: F |terminate called|what\(\): )")
"""How the lines begin that say what a process died of."""
_DEADLY_OR_LOGGED = re.compile(rf"{_DEADLY.pattern}|(?=[EW]\d{{4}} |\S+ \S+: [EW] )")
"""Those too in which C++ says what it may have done without."""
_SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}


def last_line(log: str, pattern: re.Pattern[str], signs: Sequence[str] = ("",)) -> str:
    """The rest of the last line that begins with the pattern and has one of the signs, up to 300 characters, or ""."""
    for line in map(str.strip, reversed(log.splitlines())):
        match = pattern.match(line)
        if line and match and any(sign in line.casefold() for sign in signs):
            return line[match.end() :][:300]
    return ""


def reason(log: str) -> str:
    """The line of a worker's log that says best why it ended, or "nothing"."""
    return next(filter(None, (last_line(log, pattern) for pattern in _REASONS)), "nothing")


def memory_line(log: str, pattern: re.Pattern[str] = _DEADLY) -> str:
    """The last line of a worker's log that speaks of memory that was not there, or ""."""
    return last_line(log, pattern, OUT_OF_MEMORY_SIGNS)


def may_lack_memory(log: str) -> bool:
    """Whether memory may be why a worker ended: a library that cannot start for lack of it says so only in its log."""
    return memory_line(log, _DEADLY_OR_LOGGED) != ""
