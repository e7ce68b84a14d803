"""Processes that gnet starts: with an environment made on purpose, ended when gnet is, and never left behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gnet_core.system import settings, variables

_NEEDED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "TERM"),
    "SSL_CERT_FILE",
)
_NEEDED_PREFIXES = ("LC_", "XDG_")

_NOTHING: Mapping[str, str] = MappingProxyType({})

_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, which lasts over exec
if os.getppid() != parent:
    sys.exit("the process that started it is gone")
os.execv(command[0], command)
"""


def environment(asked: Mapping[str, str] = _NOTHING, temporary: Path | None = None) -> dict[str, str]:
    """The environment of every child: what a process needs, and what gnet records because it can change a figure, then
    the variables that are `asked` for, which act in it whatever they decide (see settings.ASKED_VARIABLE). It makes its
    temporary files in `temporary`, where that is given.

    What a shell, a hook or a test runner around gnet sets for others (PYTEST_*, GIT_*, PYTHON*) stays out.
    """
    prefixes, names = (*variables.PREFIXES, *_NEEDED_PREFIXES), (*variables.NAMES, *_NEEDED)
    passed = {name: value for name, value in os.environ.items() if name.startswith(prefixes) or name in names}
    passed.pop(settings.ASKED_VARIABLE, None)
    if temporary:
        passed["TMPDIR"] = str(temporary)
    if asked:
        passed |= {**asked, settings.ASKED_VARIABLE: json.dumps(dict(asked))}
    return {**passed, "PYTHONHASHSEED": "0"}  # hashing decides the order of sets, which no run is to differ in


def start(
    command: Sequence[str],
    *,
    cwd: Path,
    stdout: int,
    stderr: int,
    pass_fds: Sequence[int] = (),
    asked: Mapping[str, str] = _NOTHING,
    temporary: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program, given by its path, in a session of its own: Ctrl-C is its parent's to handle.

    On Linux it is killed as soon as this process ends, however that ends. `stdout` and `stderr` are as Popen takes
    them; there is nothing to read from stdin. `asked` are variables for its environment, and `temporary` is the folder
    of its temporary files.
    """
    if sys.platform == "linux":
        # A step in between, since preexec_fn may dead-lock a process that has threads.
        command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
    return subprocess.Popen(
        list(command),
        cwd=cwd,
        env=environment(asked, temporary),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a child that `start` started and whatever it started itself, also where it is stopped, and wait for it."""
    with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ask(
    command: Sequence[str], *, cwd: Path, limit_seconds: float, asked: Mapping[str, str] = _NOTHING
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and leave nothing behind. Raises OSError where it cannot be started, TimeoutExpired."""
    with start(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, asked=asked) as process:
        try:
            out, err = process.communicate(timeout=limit_seconds)
        finally:
            kill(process)
    texts = (text.decode(errors="replace") for text in (out, err))
    return subprocess.CompletedProcess(list(command), process.returncode, *texts)


def document(printed: str) -> Any:
    """The JSON object that a program printed, whatever libraries print around it. Raises ValueError for none."""
    rest = itertools.dropwhile(lambda line: not line.startswith("{"), printed.splitlines(keepends=True))
    return json.JSONDecoder().raw_decode("".join(rest))[0]


def last_words(printed: str) -> str:
    """The last line of what a program printed, or "nothing"."""
    return (printed.strip().splitlines() or ["nothing"])[-1]
