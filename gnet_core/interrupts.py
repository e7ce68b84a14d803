"""Signals that ask gnet to end: each of them is one KeyboardInterrupt, so that what was finished is kept."""

from __future__ import annotations

import signal
import time
from types import FrameType

REPEAT_SECONDS = 2.0
"""A second signal within this time of the last is the same wish: people press Ctrl-C twice, and a terminal that closes
sends SIGHUP to every process of a pipeline."""

_ASKING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")


class _Handler:
    def __init__(self) -> None:
        self._last = -REPEAT_SECONDS

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        repeated = now - self._last < REPEAT_SECONDS
        self._last = now
        if not repeated:
            raise KeyboardInterrupt


def install() -> None:
    """Handle the signals that a terminal, a build server or a closing session sends; ignored ones stay ignored.

    nohup and a shell that starts a job in the background ignore some of them on purpose.
    """
    handler = _Handler()
    for name in _ASKING:
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
