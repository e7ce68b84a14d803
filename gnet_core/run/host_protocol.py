"""Messages between the first host of a cluster and each other one, over a connection that the other one makes.

They travel as those of a worker do (see gnet_core.run.protocol), and carry those of the processes that the other host
has started. The end of the connection is the end of the other side, and so is a host of which nothing comes any more:
either then ends what it can reach.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import msgspec

from gnet_core.config import GnetError
from gnet_core.machine.environment import Environment
from gnet_core.run.members import Task
from gnet_core.run.protocol import Channel, ChannelClosed

JOIN_SECONDS = 300.0
"""Time in which all hosts of a cluster have to be there: sites start them one after the other."""

BEAT_SECONDS = 1.0
"""Time between the signs of life of a host that has processes."""

_PROBE_SECONDS, _PROBES = 5, 4
"""When and how often the system asks a silent connection whether the other side is there: a host without power is
noticed within half a minute."""


class Join(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first word of a host."""

    index: int
    """Its place in the cluster."""
    environment: Environment


class Reserve(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The wish for an address that is free for a process."""

    member: int


class Reserved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The answer: HOST:PORT."""

    member: int
    address: str


class Launch(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The order to start a process, which this number stands for from then on."""

    member: int
    task: Task
    variables: dict[str, str]
    """For its environment."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A message to a process or from it."""

    member: int
    content: dict[str, Any]


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The order to leave nothing of a process behind."""

    member: int


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A process has ended, with its exit status and the end of what it printed."""

    member: int
    code: int
    log: str


class Beat(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The host is alive."""


class Over(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The run has ended, as it should or not."""


FromFirst = Reserve | Launch | Message | Stop | Over
FromOther = Join | Reserved | Message | Ended | Beat


class HostLink:
    """A side of the connection between two hosts."""

    def __init__(self, connection: socket.socket) -> None:
        _keep_alive(connection)
        self._channel = Channel(connection)

    def fileno(self) -> int:
        return self._channel.fileno()

    def send(self, message: FromFirst | FromOther) -> None:
        """Raises ChannelClosed."""
        self._channel.send(**msgspec.to_builtins(message))

    def order(self) -> FromFirst | None:
        """What the first host wants next, of what has arrived. Raises ChannelClosed."""
        return self._received(FromFirst, 0)  # type: ignore[arg-type,no-any-return] # a union is no type to mypy

    def report(self, timeout_seconds: float = 0.0) -> FromOther | None:
        """What the other host says next; None where nothing comes in time. Raises ChannelClosed."""
        return self._received(FromOther, timeout_seconds)  # type: ignore[arg-type,no-any-return] # as above

    def close(self) -> None:
        self._channel.close()

    def _received(self, kind: type[Any], timeout_seconds: float) -> Any:
        content = self._channel.receive(timeout_seconds)
        try:
            return None if content is None else msgspec.convert(content, kind)
        except (msgspec.ValidationError, GnetError) as error:
            raise ChannelClosed(f"not a message: {error}") from error


def _keep_alive(connection: socket.socket) -> None:
    """Let the system notice where the other host is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
        # Of what was sent and never acknowledged the probes know nothing.
        timeout_milliseconds = 1000 * _PROBE_SECONDS * (_PROBES + 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_milliseconds)
