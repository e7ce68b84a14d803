"""A process of a worker: what it is told, and how it is started, heard and ended. Most workers are one process."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

import psutil

from gnet_core.config import StepConfig
from gnet_core.plan.suites import Plan, Source
from gnet_core.run.endings import log_end
from gnet_core.run.protocol import Channel
from gnet_core.system import children
from gnet_core.system.cluster import Cluster, free_port


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a process is started to do: to measure a case, or to follow the one that does."""

    module: str
    config: StepConfig
    plan: Plan
    run: str
    """The run's identity, which the raw file has."""
    raw_file: str = ""
    """The path that the one that reports writes its samples to."""
    cluster: Cluster | None = None
    """Those that take the step together; None where there is one."""

    def words(self, source: Source, descriptor: int) -> list[str]:
        """The command that does it with that code, in its folder; the descriptor is the channel's."""
        plan = {name: value for name, value in dataclasses.asdict(self.plan).items() if value is not None}
        return [
            source.interpreter(self.config.framework),
            *pytest_words(self.module, source.checkout),
            *([f"--benchmark-json={self.raw_file}"] if self.raw_file else []),
            # No more than that: a revision from before a field was there refuses it.
            f"--gnet-case={json.dumps(self.config.overrides())}",
            f"--gnet-plan={json.dumps(plan)}",
            f"--gnet-run={self.run}",
            *([f"--gnet-cluster={json.dumps(dataclasses.asdict(self.cluster))}"] if self.cluster else []),
            f"--gnet-channel={descriptor}",
        ]


def pytest_words(module: str, checkout: Path) -> list[str]:
    """The words after an interpreter that run a module of benchmarks/, in the folder of its code."""
    return [
        # A path from there: pytest takes a part of one for the name of a test where it holds "::" or "[".
        *("-m", "pytest", f"benchmarks/{module}", "--quiet", "--capture=no", "--color=no", "--benchmark-only"),
        # The second collects all garbage of TensorFlow before the process ends, which takes half a second.
        *("-p", "no:cacheprovider", "-p", "no:unraisableexception", "--rootdir", str(checkout)),
        *("-W", "ignore::pytest.PytestConfigWarning"),  # which PYTHONOPTIMIZE gives, of assertions it leaves out
    ]


def open_log(path: Path) -> int:
    """The descriptor of a new file there; what was there may be an earlier worker's, or a link."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


class Member(Protocol):
    """A process of a worker, wherever it runs."""

    @property
    def where(self) -> str:
        """The host that it runs on, for a note; empty for this one."""

    @property
    def pid(self) -> int | None:
        """Its number; None where it runs on another host."""

    def reserve(self) -> str:
        """HOST:PORT that is free for it to listen on. Raises OSError."""

    def launch(self, task: Task) -> None:
        """Start it. Raises OSError."""

    def fileno(self) -> int:
        """The descriptor that can be read from when there may be a message."""

    def receive(self) -> dict[str, Any] | None:
        """The next of its messages that have arrived; None where there is none. Raises ChannelClosed."""

    def send(self, **message: Any) -> None:
        """Raises ChannelClosed."""

    def exit_code(self) -> int | None:
        """As subprocess has it; None while it runs."""

    def log_end(self) -> str:
        """The end of what it has printed."""

    def family(self) -> list[psutil.Process]:
        """It and its children where they run on this host."""

    def stop(self) -> None:
        """Leave nothing of it behind but its log, however far it came."""

    def remove_log(self) -> None:
        """What it printed is of no interest."""


class LocalMember:
    """A process on this host (see Member)."""

    where = ""

    def __init__(self, source: Source, log: Path, host: str = "127.0.0.1") -> None:
        """`host` is the address at which the others of its cluster find it."""
        self._source = source
        self._log = log
        self._host = host
        self._temporary: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    @property
    def pid(self) -> int:
        return self._running.pid

    def reserve(self) -> str:
        return f"{self._host}:{free_port()}"

    def launch(self, task: Task) -> None:
        log = open_log(self._log)
        try:
            self._channel, theirs = Channel.pair()
            with theirs:
                descriptor, checkout = theirs.fileno(), self._source.checkout
                # A process that is killed cannot remove its own. Beside the code, this goes even where gnet is killed.
                self._temporary = Path(tempfile.mkdtemp(prefix="worker-", dir=checkout.parent))
                self._process = children.start(
                    task.words(self._source, descriptor),
                    cwd=checkout,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(descriptor,),
                    asked=self._source.variables,
                    temporary=self._temporary,
                )
        finally:
            os.close(log)

    def fileno(self) -> int:
        return self._open_channel.fileno()

    def receive(self) -> dict[str, Any] | None:
        return self._open_channel.receive(0)

    def send(self, **message: Any) -> None:
        self._open_channel.send(**message)

    def exit_code(self) -> int | None:
        return self._running.poll()

    def log_end(self) -> str:
        return log_end(self._log)

    def family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        return []

    def stop(self) -> None:
        if self._process is not None:
            children.kill(self._process)
            self._process = None  # its number may soon be another's
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def remove_log(self) -> None:
        self._log.unlink(missing_ok=True)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "a worker is started before it is spoken to"
        return self._process

    @property
    def _open_channel(self) -> Channel:
        assert self._channel is not None, "a worker is started before it is spoken to"
        return self._channel
