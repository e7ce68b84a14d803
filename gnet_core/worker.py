"""The parent's side of one worker: start it, hand it its turns, and say what became of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from gnet_core.config import StepConfig
from gnet_core.protocol import Channel, ChannelClosed
from gnet_core.sweep import Plan

POLL_SECONDS = 0.5
LAST_WORDS_SECONDS = 20
"""What a worker that failed is given to end by itself."""


class WorkerLost(Exception):  # noqa: N818 - it is what happened to a worker, not an error of ours
    """A worker that did not finish its case: the status its row gets, and why."""

    def __init__(self, status: str, note: str) -> None:
        super().__init__(note)
        self.status = status
        self.note = note


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How to run: everything that a run needs besides its cases."""

    checkout: Path
    directory: Path
    plan: Plan
    replicates: int
    memory_bytes: int
    python: str = sys.executable


class Worker:
    """A pytest process that measures one case, from its start to its raw file."""

    def __init__(
        self, config: StepConfig, module: Path, stem: str, settings: RunSettings, progress: Callable[[str, float], None]
    ) -> None:
        self._config = config
        self._module = module
        self._settings = settings
        self._progress = progress
        self._final = settings.directory / "raw" / f"{stem}.json"
        self._partial = self._final.with_suffix(".partial")
        self._log = self._final.with_suffix(".log")
        self._deadline = time.monotonic() + settings.plan.limit_seconds

    def run(self) -> None:
        """Raises WorkerLost, its log then kept beside the raw files; leaves no process behind in any case."""
        ours, theirs = Channel.pair()
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                self.command(theirs.fileno()),
                cwd=self._settings.checkout,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
                start_new_session=True,  # Ctrl-C is the runner's to handle
            )
        theirs.close()
        try:
            self._converse(process, ours)
            self._collect()
            self._log.unlink()
        finally:
            _kill(process)
            ours.close()
            self._partial.unlink(missing_ok=True)

    def command(self, descriptor: int) -> list[str]:
        """How this worker is started."""
        return [
            self._settings.python,
            *("-m", "pytest", str(self._module), "--quiet", "--capture=no", "-p", "no:cacheprovider"),
            *("--rootdir", str(self._settings.checkout), "--benchmark-only", f"--benchmark-json={self._partial}"),
            f"--gnet-case={json.dumps(self._config.to_dict())}",
            f"--gnet-plan={json.dumps(dataclasses.asdict(self._settings.plan))}",
            f"--gnet-channel={descriptor}",
        ]

    def _converse(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        """Wait until it is ready, hand it its turns one after the other, and wait for its end."""
        name = self._config.name
        starting = 0.5  # of the case's expected time; the rest belongs to its turns
        while (message := self._next(process, channel))["event"] != "ready":
            self._progress(f"{name}: {message.get('name', message['event'])}", 0.0)
        self._progress(f"{name}: timing", starting)
        for turn in range(self._settings.plan.turns):
            try:
                channel.send(turn=turn, after_others=False)  # this runner keeps one worker alive at a time
            except ChannelClosed:
                raise self._death(process) from None
            while self._next(process, channel)["event"] != "turn_done":
                pass
            self._progress(f"{name}: timing", (1 - starting) / self._settings.plan.turns)
        self._await_end(process, channel)

    def _next(self, process: subprocess.Popen[bytes], channel: Channel) -> dict[str, Any]:
        """The worker's next message. Raises WorkerLost when it died, failed, took too long or too much memory."""
        while True:
            try:
                message = channel.receive(POLL_SECONDS)
            except ChannelClosed:
                raise self._death(process) from None
            self._watch(process)
            if message is not None:
                self._raise_if_failed(process, message)
                return message

    def _await_end(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        while process.poll() is None:
            try:
                message = channel.receive(POLL_SECONDS)
            except ChannelClosed:
                time.sleep(POLL_SECONDS / 10)
            else:
                if message:
                    self._raise_if_failed(process, message)
            self._watch(process)
        if process.returncode != 0:
            raise self._death(process)

    def _raise_if_failed(self, process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
        if message.get("event") != "failed":
            return
        with contextlib.suppress(subprocess.TimeoutExpired):  # it is about to write its traceback into the log
            process.wait(timeout=LAST_WORDS_SECONDS)
        raise WorkerLost(message.get("kind", "failed"), message.get("message", "it did not say why"))

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        limit = self._settings.plan.limit_seconds
        if time.monotonic() > self._deadline:
            raise WorkerLost("timeout", f"not finished after {limit:g} s")
        used = _resident_bytes(process.pid)
        if used > self._settings.memory_bytes:
            allowed = self._settings.memory_bytes / 2**30
            raise WorkerLost("oom", f"took {used / 2**30:.1f} GiB of memory, more than the {allowed:.1f} GiB allowed")

    def _death(self, process: subprocess.Popen[bytes]) -> WorkerLost:
        """What the exit status and the log say of a worker that ended without having finished."""
        try:
            code = process.wait(timeout=10)
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


def _resident_bytes(pid: int) -> int:
    try:
        process = psutil.Process(pid)
        return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0  # it ended between two looks
