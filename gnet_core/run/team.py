"""The processes of one worker, heard as one: the first reports, and whoever is lost first is named."""

from __future__ import annotations

import dataclasses
import select
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from gnet_core.run.endings import PortTaken, WorkerLost, death, is_port_taken, may_lack_memory
from gnet_core.run.members import Member, Task
from gnet_core.run.protocol import ChannelClosed
from gnet_core.system.cluster import Cluster

LAST_WORDS_SECONDS = 20
"""Time in which a process that failed may end by itself."""

GRACE_SECONDS = 2.0
"""Time in which the death shows of whose loss made another fail: that one may be heard of first."""

SILENT_SECONDS = 5.0
"""A process that has told no steps for so long is stopped: it does so once a second from a thread of its own."""

_PAUSE_SECONDS = 0.05

_COMMON_PHASES = 4
"""Phases that each process enters: its imports, building, tracing, and the first steps."""

_CONSEQUENCES = (
    *("unavailableerror", "abortederror", "cancellederror", "deadlineexceedederror", "collective"),
    *("socket closed", "connection reset", "connection refused", "by peer"),
)
"""Signs of errors that frameworks raise in a process when another is gone."""


@dataclasses.dataclass(eq=False)
class _Process:
    """A member with what was heard of it."""

    member: Member
    name: str
    heard_at: float | None = None
    """None: nothing yet."""
    beats: bool = False
    phases: int = 0
    """Phases that it has entered, which all enter in the same order."""
    steps: int = 0
    versions: dict[str, str] | None = None
    failure: dict[str, Any] | None = None
    """What it said of why it failed."""
    closed: bool = False

    @property
    def died_silently(self) -> bool:
        return self.closed and self.failure is None and self.member.exit_code() != 0

    @property
    def progress(self) -> tuple[int, int]:
        """How far it is; who follows enters no phases of its own after the one in which it begins to."""
        return min(self.phases, _COMMON_PHASES), self.steps

    @property
    def failed_for_itself(self) -> bool:
        why = str(self.failure and self.failure.get("message")).casefold()
        return self.failure is not None and not any(sign in why for sign in _CONSEQUENCES)

    def silence(self, now: float) -> float:
        """Seconds since it was heard, of one that is to be heard all the time; 0 of others."""
        return now - self.heard_at if self.beats and self.heard_at is not None else 0.0


class Team:
    """The processes that measure a case together; of most cases it is one."""

    def __init__(self, members: Sequence[Member]) -> None:
        """The first of them is the one that reports."""
        self.members = members
        self._processes: list[_Process] = []
        self._arrived: deque[dict[str, Any]] = deque()

    def launch(self, task: Task) -> None:
        """Start all of them beside each other, at addresses that are free now. Raises OSError."""
        self._processes = [_Process(member, self._name(index)) for index, member in enumerate(self.members)]
        self._arrived.clear()
        if len(self.members) == 1:
            self.members[0].launch(task)
            return
        addresses = tuple(member.reserve() for member in self.members)
        for index, member in enumerate(self.members):
            cluster = Cluster(addresses=addresses, index=index)
            member.launch(dataclasses.replace(task, cluster=cluster, raw_file="" if index else task.raw_file))

    def send(self, **message: Any) -> None:
        """Tell all of them; who cannot be told is lost, which `receive` finds."""
        for process in self._processes:
            self._drain(process)  # what it did while nobody asked is not to be held against it
            process.heard_at = time.monotonic()
            try:
                process.member.send(**message)
            except ChannelClosed:
                process.closed = True

    def receive(self, timeout_seconds: float) -> dict[str, Any] | None:
        """The next message of the one that reports; None where none came in time. Raises WorkerLost where one of them
        died, failed or has other versions than the first.
        """
        if not self._arrived:
            self._hear(timeout_seconds)
        self._require_alike()
        if self._arrived:  # what it has done counts, also where it is heard of late
            return self._arrived.popleft()
        if lost := [process for process in self._processes if process.failure or process.closed]:
            raise self._loss(lost[0])
        return None

    def has_ended(self, timeout_seconds: float) -> bool:
        """Wait so long for all of them to end; say whether they have. Raises WorkerLost for who did not end well,
        or had other versions than the first.
        """
        self._hear(timeout_seconds)
        for process in self._processes:
            if process.failure or process.member.exit_code() not in (None, 0):
                raise self._loss(process)
        if not all(process.member.exit_code() == 0 for process in self._processes):
            return False
        for process in self._processes:
            self._drain(process)  # what it said last may have come from another host only now
        self._require_alike()
        return True

    def laggard(self) -> str:
        """Who the others waited for, where they took too long: a clause for the note; empty where it is not known."""
        if len(self._processes) == 1:
            return ""
        for process in self._processes:
            if process.heard_at is None:
                return f"{process.name} never arrived"
        now = time.monotonic()
        silent = max(self._processes, key=lambda process: process.silence(now))
        if silent.silence(now) > SILENT_SECONDS:
            return f"{silent.name} fell silent {silent.silence(now):.0f} s before"
        running = [process for process in self._processes if process.member.exit_code() is None]
        if running and len(running) < len(self._processes):
            return f"{running[0].name} did not end"
        behind = min(self._processes, key=lambda process: process.progress)
        ahead = max(self._processes, key=lambda process: process.progress)
        if behind.progress < ahead.progress:
            return f"{behind.name} was behind, at step {behind.steps} where {ahead.name} was at step {ahead.steps}"
        return ""

    def stop(self) -> None:
        """End all of them, however far they came."""
        for member in self.members:
            member.stop()

    def remove_logs(self) -> None:
        """They did what they were to do."""
        for member in self.members:
            member.remove_log()

    def _name(self, index: int) -> str:
        if len(self.members) == 1:
            return "the worker"
        where = self.members[index].where
        return f"worker {index + 1} of {len(self.members)}" + (f" on {where}" if where else "")

    def _hear(self, timeout_seconds: float) -> None:
        """Take in what they say, waiting for the first of it for so long."""
        speaking = [process for process in self._processes if not process.closed]
        if not speaking:
            time.sleep(min(timeout_seconds, _PAUSE_SECONDS))
            return
        select.select([process.member for process in speaking], [], [], timeout_seconds)
        for process in speaking:  # those on one host share a connection, so each may have been heard
            self._drain(process)

    def _drain(self, process: _Process) -> None:
        while not process.closed:
            try:
                message = process.member.receive()
            except ChannelClosed:
                process.closed = True
            else:
                if message is None:
                    return
                self._take(process, message)

    def _take(self, process: _Process, message: dict[str, Any]) -> None:
        process.heard_at = time.monotonic()
        match message.get("event"):
            case "beat":
                process.beats, process.steps = True, message["steps"]
            case "versions":
                process.versions = message["versions"]
            case "failed":
                process.failure = message
            case event:
                process.phases += event == "phase"
                if process is self._processes[0]:
                    self._arrived.append(message)

    def _require_alike(self) -> None:
        first, *others = self._processes
        for process in others:
            mine, theirs = process.versions, first.versions
            if mine and theirs and mine != theirs:
                differing = [name for name in {**theirs, **mine} if mine.get(name) != theirs.get(name)]
                has = " and ".join(f"{name} {mine.get(name)}" for name in differing)
                where = " and ".join(str(theirs.get(name)) for name in differing)
                raise WorkerLost("failed", f"{process.name} has {has}, where {first.name} has {where}")

    def _loss(self, lost: _Process) -> WorkerLost:
        """Who was lost first, of whom the others then failed, and why."""
        now = started = time.monotonic()
        silent = max(self._processes, key=lambda process: process.silence(started))
        # It is about to write its traceback into its log, and another may be about to show that it had died before.
        while lost.failure and now < started + LAST_WORDS_SECONDS:
            self._hear(_PAUSE_SECONDS)
            lost = self._first_lost(lost)
            now = time.monotonic()
            waited = now - started >= GRACE_SECONDS or lost.failed_for_itself
            if waited and lost.member.exit_code() is not None:
                break
        if not lost.failure:
            return self._death(lost)
        log, why = lost.member.log_end(), str(lost.failure.get("message", "it did not say why"))
        kind, note = str(lost.failure.get("kind", "failed")), why
        if len(self._processes) > 1:
            note = f"{lost.name}: {why}"
        if silent is not lost and silent.silence(started) > SILENT_SECONDS:
            note = f"{silent.name} fell silent {silent.silence(started):.0f} s before; {note}"
        if is_port_taken(f"{why}\n{log}"):
            return PortTaken(kind, note)
        return WorkerLost(kind, note, short_of_memory=kind == "oom" or may_lack_memory(log))

    def _death(self, lost: _Process) -> WorkerLost:
        """The loss of one that ended, or closed its channel, without a word."""
        end = time.monotonic() + LAST_WORDS_SECONDS / 2
        while (code := lost.member.exit_code()) is None and time.monotonic() < end:
            time.sleep(_PAUSE_SECONDS)
        if code is None:
            return WorkerLost("failed", f"{lost.name} closed its channel but went on")
        return death(code, lost.member.log_end(), lost.name)

    def _first_lost(self, known: _Process) -> _Process:
        """Of those that are lost by now the one whose loss explains that of the others."""
        if known.failed_for_itself:
            return known
        others = [process for process in self._processes if process.died_silently or process.failed_for_itself]
        # One that left in good order did so before the others were done.
        others += [process for process in self._processes if process.closed and process.failure is None]
        return others[0] if others else known
