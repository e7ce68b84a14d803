"""Signals that ask gnet to end: each of them is one KeyboardInterrupt, so that what was finished is kept."""

from __future__ import annotations

import atexit
import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

REPEAT_SECONDS = 2.0
"""A second signal within this time of the last is the same wish: people press Ctrl-C twice, and a terminal that closes
sends SIGHUP to every process of a pipeline."""

_ASKING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""From a terminal or a build server; by the last three batch systems warn of a limit that is about to be reached."""


class _Handler:
    """What the signals are handled by, once `install` was called."""

    def __init__(self) -> None:
        self.deferring = 0
        self.pending = False
        self._last_seconds = -REPEAT_SECONDS

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        repeated = now - self._last_seconds < REPEAT_SECONDS
        self._last_seconds = now
        if repeated:
            return
        if self.deferring:
            self.pending = True
        else:
            raise KeyboardInterrupt


_handler = _Handler()


def install() -> None:
    """Handle the signals that a terminal, a build server or a closing session sends; ignored ones stay ignored.

    nohup and a shell that starts a job in the background ignore some of them on purpose. When all is done and Python
    ends, the others are ignored as well: one that arrives then would change the status.
    """
    atexit.register(_ignore)
    for name in _ASKING:
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handler)


def _ignore() -> None:
    for name in _ASKING:
        signal.signal(getattr(signal, name), signal.SIG_IGN)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Hold back a signal that arrives during the block, which has to be short, until the block has ended.

    What is begun there is done whole: a process that was started is known, one that is ended has ended.
    """
    _handler.deferring += 1
    try:
        yield
    finally:
        _handler.deferring -= 1
        if _handler.pending and not _handler.deferring:
            _handler.pending = False
            raise KeyboardInterrupt
