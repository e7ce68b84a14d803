"""Messages between a runner and its worker: one JSON object a line over a socket that the worker inherits.

The worker: {"event": "phase", "name"} when it enters one, {"event": "ready", "step_seconds", "block_steps"},
{"event": "turn_done", "steps": run in it, "block": [its beginning, its end], "work": [of all steps]} in seconds of the
monotonic clock, which both share, {"event": "failed", "kind", "message"}. The runner: {"turn": its number,
"after_others": whether other workers had turns since this one's last}, and {"finish": true} when there are no more
turns, which may be early. The end of the stream is the other's death.
"""

from __future__ import annotations

import json
import select
import socket
from typing import Any, Self

import msgspec

MAX_MESSAGE_BYTES = 2**20


class ChannelClosed(EOFError):  # noqa: N818 - it may be the ordinary end
    """The other side is gone."""


class Channel:
    """One end of the conversation."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._pending = b""

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends: the runner's, and the one whose descriptor its worker inherits."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    @classmethod
    def inherited(cls, descriptor: int) -> Channel:
        """The end that this process was started with."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, **message: Any) -> None:
        """Raises ChannelClosed where nobody is left to read it."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise ChannelClosed(str(error)) from error

    def receive(self, timeout_seconds: float | None = None) -> dict[str, Any] | None:
        """The next message, or None when none came in time. Sleeps in the kernel: a waiting process costs nothing.

        Raises ChannelClosed at the end of the stream and for a line that is no JSON object or far too long for one.
        """
        while b"\n" not in self._pending:
            if timeout_seconds is not None and not select.select([self._socket], [], [], timeout_seconds)[0]:
                return None
            try:
                received = self._socket.recv(65536)
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            if not received:
                raise ChannelClosed("the other side closed the channel")
            self._pending += received
            if len(self._pending) > MAX_MESSAGE_BYTES:
                raise ChannelClosed(f"not a message: {self._pending[:80]!r}")
        line, self._pending = self._pending.split(b"\n", 1)
        try:
            return msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ChannelClosed(f"not a message: {line[:80]!r}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()
