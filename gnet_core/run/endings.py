"""How the process of a worker ended before it had finished: from its exit status and what it printed last."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from gnet_core.run.timer import OUT_OF_MEMORY_SIGNS

_MAX_LOG_BYTES = 2**16
"""Length of the end of a worker's log that is read. A log may be of any length."""


class WorkerLost(Exception):  # noqa: N818 - it is what happened to a worker, not an error of ours
    """A worker that did not finish: its row's status, why, and whether it may be for lack of memory beside others."""

    def __init__(self, status: str, note: str, *, short_of_memory: bool = False) -> None:
        super().__init__(note)
        self.status = status
        self.note = note
        self.short_of_memory = short_of_memory


class PortTaken(WorkerLost):
    """A worker whose port another process took before it could listen on it; it may be started again with another."""


class WorkerCrowded(Exception):  # noqa: N818 - likewise
    """A worker for which there is no memory beside the others; alone it may have enough."""


def log_end(path: Path) -> str:
    """The end of what a worker printed. Raises OSError."""
    with path.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _MAX_LOG_BYTES))
        return log.read().decode(errors="replace")


def death(code: int, log: str, who: str = "the worker") -> WorkerLost:
    """The loss of a process that ended without having finished, from its exit status and the end of its log."""
    if "std::bad_alloc" in log:
        return WorkerLost("oom", f"{who} ran out of memory (std::bad_alloc)", short_of_memory=True)
    if code == -signal.SIGKILL:
        return WorkerLost("failed", f"{who} was killed (SIGKILL); the system may have run out of memory")
    how = f"ended with status {code}" if code >= 0 else f"died of {_SIGNAL_NAMES.get(-code, f'signal {-code}')}"
    if line := memory_line(log):
        return WorkerLost("oom", f"{who} {how}, saying: {line}", short_of_memory=True)
    return WorkerLost("failed", f"{who} {how}, saying: {reason(log)}", short_of_memory=may_lack_memory(log))


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
_PORT_TAKEN_SIGNS = ("address already in use", "could not start grpc server")
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


def is_port_taken(log: str) -> bool:
    """Whether a process ended since it could not listen on its port."""
    return any(sign in log.casefold() for sign in _PORT_TAKEN_SIGNS)
