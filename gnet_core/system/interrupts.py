"""Signals that ask gnet to end: each of them is one KeyboardInterrupt, so that what was finished is kept."""

from __future__ import annotations

import atexit
import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

REPEAT_SECONDS = 2.0
"""A second signal within this time is the same wish: people press Ctrl-C twice, and closing terminals send several."""

_SIGNALS = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
)
"""Signals of a terminal or a build server, and those by which batch systems warn of a limit about to be reached."""

_AGAIN_SECONDS = 0.01  # until a signal that arrived where nothing can be raised is sent again
_IMPORT_CALLBACK = ("<frozen importlib._bootstrap>", "cb")  # what Python calls at the end of each import


class _Handler:
    """The handler of the signals, once `install` was called."""

    def __init__(self) -> None:
        self.deferring = 0
        self.pending = False
        self._last_seconds = -REPEAT_SECONDS

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _would_be_lost(frame):
            again = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, (threading.get_ident(), number))
            again.daemon = True
            again.start()
            return
        before, self._last_seconds = self._last_seconds, time.monotonic()
        if self._last_seconds - before < REPEAT_SECONDS:
            return
        if not self.deferring:
            raise KeyboardInterrupt
        self.pending = True


_handler = _Handler()


def install() -> None:
    """Handle the signals that ask gnet to end; those that nohup or a shell has ignored stay ignored."""
    atexit.register(_ignore)  # one that arrives when all is done would change the status
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handler)


def _would_be_lost(frame: FrameType | None) -> bool:
    """Whether Python would print an exception raised there and go on, as in a __del__ or at the end of an import."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__del__" or (code.co_filename, code.co_name) == _IMPORT_CALLBACK:
            return True
        frame = frame.f_back
    return False


def _ignore() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Hold back a signal that arrives during the block, which has to be short: what is begun there is done whole."""
    _handler.deferring += 1
    try:
        yield
    finally:
        _handler.deferring -= 1
        if _handler.pending and not _handler.deferring:
            _handler.pending = False
            raise KeyboardInterrupt
