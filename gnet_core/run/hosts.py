"""The first host's side of a cluster: the other hosts join it, and their processes look like its own to a worker."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from gnet_core.config import GnetError
from gnet_core.machine.differences import differences
from gnet_core.machine.environment import Environment
from gnet_core.plan.suites import Source
from gnet_core.results.run_document import RecordedHost
from gnet_core.run.host_protocol import (
    JOIN_SECONDS,
    Beat,
    Ended,
    FromFirst,
    FromOther,
    HostLink,
    Join,
    Launch,
    Message,
    Over,
    Reserve,
    Reserved,
    Stop,
)
from gnet_core.run.members import LocalMember, Member, Task, open_log
from gnet_core.run.protocol import ChannelClosed
from gnet_core.system.cluster import Cluster, host_of, own_addresses

ANSWER_SECONDS = 10.0
"""Time in which a host has to answer a question, and one that connects to say who it is."""

SILENT_SECONDS = 30.0
"""A host with processes that has said nothing for so long is lost: it does so once a second."""


class Host:
    """A host that has joined."""

    def __init__(self, address: str, environment: Environment, link: HostLink) -> None:
        self.address = address
        self.environment = environment
        self.lost = ""
        """Why nothing can be expected of it any more; empty while it is there."""
        self._link = link
        self._members: dict[int, RemoteMember] = {}
        self._numbers = itertools.count()
        self._heard_at = time.monotonic()

    @property
    def name(self) -> str:
        return host_of(self.address)

    def fileno(self) -> int:
        return self._link.fileno()

    def add(self, member: RemoteMember) -> int:
        """The number by which the host is to know the process from now on."""
        number = next(self._numbers)
        self._members[number] = member
        return number

    def remove(self, number: int) -> None:
        """Have the host end the process."""
        if self._members.pop(number, None):
            self.tell(Stop(member=number))

    def tell(self, message: FromFirst) -> None:
        """Send it where it is not lost yet."""
        try:
            self._link.send(message)
        except ChannelClosed as error:
            self._lose(f"the connection to it ended ({error})")

    def hear(self) -> None:
        """Hand what has arrived of it to its processes, and notice where it is lost."""
        while not self.lost:
            try:
                report = self._link.report()
            except ChannelClosed as error:
                self._lose(f"the connection to it ended ({error})")
                return
            if report is None:
                if self._members and time.monotonic() - self._heard_at > SILENT_SECONDS:
                    self._lose(f"nothing was heard of it for {SILENT_SECONDS:.0f} s")
                return
            self._heard_at = time.monotonic()
            match report:
                case Reserved() | Message() | Ended():
                    if member := self._members.get(report.member):  # it may have been given up meanwhile
                        member.take(report)
                case Beat() | Join():
                    pass

    def expect(self) -> None:
        """From now on it is to be heard of."""
        self._heard_at = time.monotonic()

    def end(self) -> None:
        """Let it go: the run has ended."""
        self.tell(Over())
        self._link.close()

    def _lose(self, why: str) -> None:
        self.lost = self.lost or why


class RemoteMember:
    """A process on another host (see gnet_core.run.members.Member)."""

    pid = None

    def __init__(self, host: Host, source: Source, log: Path) -> None:
        """What it has printed is kept in `log` where it fails."""
        self._host = host
        self._source = source
        self._log = log
        self._number: int | None = None
        self._address = ""
        self._arrived: deque[dict[str, Any]] = deque()
        self._ended: Ended | None = None

    @property
    def where(self) -> str:
        return self._host.name

    def reserve(self) -> str:
        self._host.expect()
        self._address, self._ended = "", None
        self._arrived.clear()
        self._number = self._host.add(self)
        self._host.tell(Reserve(member=self._number))
        end = time.monotonic() + ANSWER_SECONDS
        while not self._address:
            self._host.hear()
            if self._host.lost or time.monotonic() > end:
                raise OSError(f"{self.where} does not answer; {self._host.lost or 'it may be stopped'}")
            time.sleep(0.005)
        return self._address

    def launch(self, task: Task) -> None:
        self._host.tell(Launch(member=self._launched, task=task, variables=dict(self._source.variables)))

    def take(self, report: FromOther) -> None:
        """Take what its host says of it."""
        match report:
            case Reserved():
                self._address = report.address
            case Message():
                self._arrived.append(report.content)
            case Ended():
                self._ended = report
                if report.code != 0:
                    with open(open_log(self._log), "w", encoding="utf-8") as log:  # noqa: PTH123 # of a file that is open
                        log.write(report.log)

    def fileno(self) -> int:
        return self._host.fileno()

    def receive(self) -> dict[str, Any] | None:
        self._host.hear()
        if self._arrived:
            return self._arrived.popleft()
        if self._host.lost and self._ended is None:
            self._ended = Ended(member=self._launched, code=1, log="")
            return {"event": "failed", "kind": "failed", "message": f"its host is lost: {self._host.lost}"}
        if self._ended:
            raise ChannelClosed("it has ended")
        return None

    def send(self, **message: Any) -> None:
        self._host.tell(Message(member=self._launched, content=message))

    def exit_code(self) -> int | None:
        self._host.hear()
        return self._ended.code if self._ended else None

    def log_end(self) -> str:
        return self._ended.log if self._ended else ""

    def family(self) -> list[psutil.Process]:
        return []

    def stop(self) -> None:
        if self._number is not None:
            self._host.remove(self._number)
            self._number = None

    def remove_log(self) -> None:
        self._log.unlink(missing_ok=True)

    @property
    def _launched(self) -> int:
        assert self._number is not None, "a worker is started before it is spoken to"
        return self._number


class Hosts:
    """The hosts of a run, this one first."""

    def __init__(self, address: str, joined: list[Host]) -> None:
        self._address = address
        self._joined = joined

    def member(self, index: int, source: Source, log: Path) -> Member:
        """The process that is the worker of that index: each host has one of a case."""
        if index == 0:
            return LocalMember(source, log, host_of(self._address))
        return RemoteMember(self._joined[index - 1], source, log)

    def recorded(self, environment: Environment) -> tuple[RecordedHost, ...]:
        """The hosts as run.json has them; `environment` is this one's, from which the others may differ."""
        own = RecordedHost(name=host_of(self._address), address=self._address, environment=environment)
        others = (
            RecordedHost(
                name=host.name,
                address=host.address,
                environment=host.environment,
                differences=tuple(map(str, differences(environment, host.environment))),
            )
            for host in self._joined
        )
        return (own, *others)


@contextlib.contextmanager
def gathered(cluster: Cluster) -> Iterator[Hosts]:
    """All hosts of the cluster, of which this is the first, until the context ends: they join at its address, and on no
    other does anything listen. Raises GnetError for an address that is not this host's, and for hosts that stay away.
    """
    own = cluster.addresses[0]
    try:
        place = own_addresses(cluster)[0]
        family = socket.AF_INET6 if ":" in place else socket.AF_INET
        listening = socket.create_server((place, cluster.port), family=family)
    except OSError as error:
        raise GnetError(
            f"workers: nothing can listen on {own}, the first address of the cluster ({error.strerror or error}); it "
            "has to be one of this host's, with a port that is free"
        ) from error
    joined: dict[int, Host] = {}
    try:
        with listening:
            end = time.monotonic() + JOIN_SECONDS
            while len(joined) < len(cluster.addresses) - 1:
                _admit(listening, max(0.0, end - time.monotonic()), cluster, joined)
        yield Hosts(own, [joined[index] for index in sorted(joined)])
    finally:
        for host in joined.values():
            host.end()


def _admit(listening: socket.socket, left_seconds: float, cluster: Cluster, joined: dict[int, Host]) -> None:
    """Wait for the next host; whoever else connects is sent away. Raises GnetError where none comes in time."""
    listening.settimeout(left_seconds)
    try:
        connection, _ = listening.accept()
    except (TimeoutError, BlockingIOError):
        missing = [address for index, address in enumerate(cluster.addresses) if index and index not in joined]
        raise GnetError(
            f"workers: {', '.join(missing)} did not join within {JOIN_SECONDS:.0f} s; start the same gnet bench on "
            "every host of the cluster"
        ) from None
    connection.setblocking(True)
    link = HostLink(connection)
    with contextlib.suppress(ChannelClosed):
        first = link.report(ANSWER_SECONDS)
        if isinstance(first, Join) and 0 < first.index < len(cluster.addresses) and first.index not in joined:
            joined[first.index] = Host(cluster.addresses[first.index], first.environment, link)
            return
    link.close()
