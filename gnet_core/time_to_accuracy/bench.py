"""The parent's side: sessions one after the other, each in a process of its own, and what became of each."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gnet_core.config import GnetError
from gnet_core.files.whole import make_own_folder
from gnet_core.plan.suites import Source
from gnet_core.run.endings import death, log_end
from gnet_core.run.members import pytest_words
from gnet_core.run.protocol import Channel, ChannelClosed
from gnet_core.run.team import LAST_WORDS_SECONDS
from gnet_core.run.worker import POLL_SECONDS
from gnet_core.system import children, interrupts
from gnet_core.time_to_accuracy import document as documents
from gnet_core.time_to_accuracy.document import OPEN_STATUSES, SessionEntry, Status, TimeToAccuracy
from gnet_core.time_to_accuracy.task import SessionTask
from gnet_core.training.document import is_training, read_training
from gnet_core.training.session import SESSION_FILE

MODULE = "bench_time_to_accuracy.py"
SLOWEST_EPOCH = 20
"""A session whose next epoch takes so many times the slowest that any session of the bench took is not coming back."""
MIN_EPOCH_LIMIT_SECONDS = 600.0

_ENDED: dict[str, Status] = {"oom": "oom", "not-finite": "not-finite"}
"""What a process tells of its end that is more than that it failed."""


class Progress(Protocol):
    """Hears how far the sessions are."""

    def begin(self, number: int, session: SessionEntry) -> None:
        """A session begins or goes on, the number-th of all."""

    def epoch(self, epoch: int, accuracy: float) -> None:
        """An epoch of it is done."""

    def end(self, session: SessionEntry) -> None:
        """It is over."""


class _Lost(Exception):  # noqa: N818 - it is what became of a session, not an error of ours
    """A session that did not finish, with its status and why."""

    def __init__(self, status: Status, note: str) -> None:
        super().__init__(note)
        self.status = status
        self.note = note


class Bench:
    """The sessions of one directory, of which those that are left are run."""

    def __init__(
        self,
        directory: Path,
        document: TimeToAccuracy,
        source: Source,
        *,
        memory_bytes: int,
        mllog: Path | None = None,
        budget_seconds: float = math.inf,
    ) -> None:
        self.document = document
        self._directory, self._source = directory, source
        self._memory_bytes, self._mllog = memory_bytes, mllog
        self._deadline = time.monotonic() + budget_seconds
        self._slowest_epoch = 0.0

    def run(self, progress: Progress) -> None:
        """Run what is left until it is done or the budget is spent. What became of each session is written at once.

        Raises KeyboardInterrupt where it is interrupted, GnetError for a directory that cannot be written.
        """
        make_own_folder(self._directory / documents.SESSIONS_FOLDER)
        self._write()
        for number, session in enumerate(self.document.sessions):
            if session.status in OPEN_STATUSES:
                if time.monotonic() > self._deadline:
                    return
                self._run_session(number, session, progress)

    def _run_session(self, number: int, session: SessionEntry, progress: Progress) -> None:
        out = self._directory / session.folder
        resume = (out / SESSION_FILE).exists()
        if not resume and os.path.lexists(out):  # its process was killed before anything was saved
            shutil.rmtree(out)
        mllog = numbered(self._mllog, number) if self._mllog else None
        session = msgspec.structs.replace(session, status="unfinished", note="", processes=session.processes + 1)
        if not resume:
            session = msgspec.structs.replace(session, processes=1)
        self._replace(session)
        progress.begin(number, session)
        task = self._task(session, out, mllog, resume=resume)
        status: Status = "unfinished"
        note = ""
        try:
            self._await(task, self._directory / f"{session.folder}.log", progress)
            status = "finished"
        except _Lost as lost:
            status, note = lost.status, lost.note
        finally:  # also where it is interrupted: what it has done by now counts
            self._replace(self._as_trained(msgspec.structs.replace(session, status=status, note=note), out))
        progress.end(next(one for one in self.document.sessions if one.name == session.name))

    def _task(self, session: SessionEntry, out: Path, mllog: Path | None, *, resume: bool) -> SessionTask:
        request = self.document.request
        case = next(case for case in self.document.cases if case.case == session.case)
        return SessionTask(
            directory=out.resolve(),
            config=dataclasses.replace(case.step, seed=session.seed),
            recipe=self.document.recipe,
            epochs=request.epochs,
            target=self.document.target,
            stop_at_target=request.stop_at_target,
            memory_bytes=self._memory_bytes,
            mllog=mllog and mllog.absolute(),
            resume=resume,
        )

    def _as_trained(self, session: SessionEntry, out: Path) -> SessionEntry:
        """The entry with what the session's own document tells. One that cannot be read makes it failed."""
        if not is_training(out):
            failed = session.status == "finished"
            return msgspec.structs.replace(session, status="failed", note="it left no results") if failed else session
        try:
            training = read_training(out)
        except GnetError as error:
            return msgspec.structs.replace(session, status="failed", note=f"{error!s:.300}")
        epochs = len(training.history)
        request, reached = self.document.request, training.reached
        if epochs == request.epochs or (request.stop_at_target and reached and reached.epoch == epochs):
            # Whatever came after the last epoch, such as a signal while it wrote the last network, takes nothing away.
            session = msgspec.structs.replace(session, status="finished", note="")
        return msgspec.structs.replace(
            session,
            test_accuracy=[record.test_accuracy for record in training.history],
            steps=epochs * training.steps_per_epoch,
            reached=reached,
            wall_time=training.wall_time,
            wall_seconds=training.wall_seconds,
            mllog=training.mllog or session.mllog,
        )

    def _await(self, task: SessionTask, log: Path, progress: Progress) -> None:
        """Run the process of a session to its end. Raises _Lost where it did not end well or its time is over."""
        with _started(task, self._source, log) as (process, channel):
            since = time.monotonic()
            while True:
                try:
                    message = channel.receive(POLL_SECONDS)
                except ChannelClosed:
                    break
                if message and message.get("event") == "failed":
                    with contextlib.suppress(subprocess.TimeoutExpired):  # it is about to write its traceback
                        process.wait(timeout=LAST_WORDS_SECONDS)
                    kind, why = message.get("kind", ""), message.get("message", "it did not say why")
                    raise _Lost(_ENDED.get(str(kind), "failed"), str(why))
                if message and message.get("event") == "epoch":
                    since = time.monotonic()
                    self._slowest_epoch = max(self._slowest_epoch, float(message["seconds"]))
                    progress.epoch(int(message["epoch"]), float(message["accuracy"]))
                self._require_time(time.monotonic() - since)
            try:
                code = process.wait(timeout=LAST_WORDS_SECONDS)
            except subprocess.TimeoutExpired:
                raise _Lost("failed", "its process closed its channel but went on") from None
            if code == -signal.SIGKILL:
                raise _Lost("killed", "its process was killed (SIGKILL); the system may have run out of memory")
            if code != 0:
                lost = death(code, log_end(log))
                raise _Lost(_ENDED.get(lost.status, "failed"), lost.note)
        log.unlink(missing_ok=True)

    def _require_time(self, epoch_seconds: float) -> None:
        if time.monotonic() > self._deadline:
            raise _Lost("unfinished", "the budget was spent")
        limit = max(MIN_EPOCH_LIMIT_SECONDS, SLOWEST_EPOCH * self._slowest_epoch)
        if self._slowest_epoch and epoch_seconds > limit:
            raise _Lost("timeout", f"an epoch was not done after {limit:.0f} s")

    def _replace(self, session: SessionEntry) -> None:
        with interrupts.deferred():
            self.document = self.document.with_session(session)
            self._write()

    def _write(self) -> None:
        try:
            documents.write(self._directory, self.document)
        except OSError as error:
            raise GnetError(f"out: {self._directory} cannot be written ({error.strerror})") from error


def numbered(pattern: Path, number: int) -> Path:
    """The log of the number-th session, from 0 on: MLPerf's result_0.txt, result_1.txt, … of result.txt."""
    return pattern.with_name(f"{pattern.stem}_{number}{pattern.suffix}")


@contextlib.contextmanager
def _started(task: SessionTask, source: Source, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], Channel]]:
    """The process of a session and the channel to it; nothing is left of it afterwards but its log."""
    with contextlib.ExitStack() as stack:
        with interrupts.deferred():
            log.unlink(missing_ok=True)
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            stack.callback(os.close, descriptor)
            channel, theirs = Channel.pair()
            stack.callback(channel.close)
            with theirs:
                try:
                    process = children.start(
                        _command(task, source, theirs.fileno()),
                        cwd=source.checkout,
                        stdout=descriptor,
                        stderr=subprocess.STDOUT,
                        pass_fds=(theirs.fileno(),),
                    )
                except OSError as error:
                    raise _Lost("failed", f"its process could not be started ({error.strerror or error})") from error
            stack.callback(children.kill, process)
        yield process, channel


def _command(task: SessionTask, source: Source, descriptor: int) -> list[str]:
    words: list[Any] = [sys.executable, *pytest_words(MODULE, source.checkout)]
    return [*words, f"--gnet-session={task.to_word()}", f"--gnet-channel={descriptor}"]
