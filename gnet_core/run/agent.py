"""Another host's side of a cluster: it joins the first, and starts, feeds and ends the processes that it asks for."""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import tempfile
import time
from pathlib import Path

import psutil

from gnet_core.config import GnetError
from gnet_core.machine.environment import Environment
from gnet_core.plan.suites import Source
from gnet_core.run.host_protocol import (
    BEAT_SECONDS,
    JOIN_SECONDS,
    Beat,
    Ended,
    HostLink,
    Join,
    Launch,
    Message,
    Over,
    Reserve,
    Reserved,
    Stop,
)
from gnet_core.run.members import LocalMember
from gnet_core.run.protocol import ChannelClosed
from gnet_core.system import interrupts
from gnet_core.system.cluster import Cluster, address_of, free_port, host_of

_RETRY_SECONDS = 0.25


def join(cluster: Cluster, source: Source, environment: Environment, memory_bytes: int) -> None:
    """Take part in the run of the first host until that has ended, by processes of that source, which may take so much
    memory together. No process is left behind. Raises GnetError where the first host cannot be reached, or is lost.
    """
    first = cluster.addresses[0]
    link = HostLink(_connected(first))
    try:
        # Beside the code, which is removed by the next run where this process is killed.
        with tempfile.TemporaryDirectory(prefix="logs-", dir=source.checkout.parent) as folder:
            link.send(Join(index=cluster.index, environment=environment))
            _Agent(link, source, host_of(cluster.addresses[cluster.index]), Path(folder), memory_bytes).serve()
    except ChannelClosed as error:
        raise GnetError(f"workers: the run's first host, {first}, is gone ({error})") from None
    finally:
        link.close()


def _connected(address: str) -> socket.socket:
    """A connection to that address, as soon as somebody listens there."""
    end = time.monotonic() + JOIN_SECONDS
    while True:
        try:
            _, place = address_of(address)
            connection = socket.create_connection(place, timeout=JOIN_SECONDS)
            connection.settimeout(None)
            return connection
        except OSError as error:  # also of a name that is not known yet, as of a container that is about to start
            if time.monotonic() > end:
                raise GnetError(
                    f"workers: {address}, the cluster's first address, cannot be reached ({error.strerror or error}); "
                    "start the same gnet bench there"
                ) from error
        time.sleep(_RETRY_SECONDS)


@dataclasses.dataclass
class _Running:
    """A process, and whether it has closed its channel."""

    member: LocalMember
    closed: bool = False


class _Agent:
    """Does what the first host asks for."""

    def __init__(self, link: HostLink, source: Source, host: str, folder: Path, memory_bytes: int) -> None:
        self._link = link
        self._source = source
        self._host = host
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._running: dict[int, _Running] = {}
        self._beat_at = time.monotonic()

    def serve(self) -> None:
        """Raises ChannelClosed where the first host is gone."""
        try:
            while self._obey():
                self._look_after()
                self._wait()
        finally:
            with interrupts.deferred():
                for number in list(self._running):
                    self._stop(number)

    def _obey(self) -> bool:
        """Do what has been asked for by now; False where the run is over."""
        while (order := self._link.order()) is not None:
            match order:
                case Reserve():
                    self._link.send(Reserved(member=order.member, address=f"{self._host}:{free_port()}"))
                case Launch():
                    self._launch(order)
                case Message():
                    if running := self._running.get(order.member):
                        with contextlib.suppress(ChannelClosed):  # its end is told by its exit status
                            running.member.send(**order.content)
                case Stop():
                    self._stop(order.member)
                case Over():
                    return False
        return True

    def _launch(self, order: Launch) -> None:
        source = dataclasses.replace(self._source, variables=order.variables)
        member = LocalMember(source, self._folder / f"{order.member}.log")
        try:
            with interrupts.deferred():
                self._running[order.member] = _Running(member)
                member.launch(order.task)
        except OSError as error:
            del self._running[order.member]
            why = f"the worker could not be started ({error.strerror or error})"
            self._fail(order.member, why, "failed")

    def _stop(self, number: int) -> None:
        if running := self._running.pop(number, None):
            running.member.stop()
            running.member.remove_log()

    def _look_after(self) -> None:
        """Hand on what the processes say, and that some have ended or taken too much memory."""
        for number, running in list(self._running.items()):
            self._hand_on(number, running)
            if running.closed and (code := running.member.exit_code()) is not None:
                self._link.send(Ended(member=number, code=code, log=running.member.log_end()))
                self._stop(number)
        if self._running and time.monotonic() - self._beat_at > BEAT_SECONDS:
            self._beat_at = time.monotonic()
            self._link.send(Beat())
            self._keep_to_memory()

    def _hand_on(self, number: int, running: _Running) -> None:
        try:
            while not running.closed and (content := running.member.receive()) is not None:
                self._link.send(Message(member=number, content=content))
        except ChannelClosed:
            running.closed = True

    def _keep_to_memory(self) -> None:
        taken = {number: _resident_bytes(running.member) for number, running in self._running.items()}
        if sum(taken.values()) > self._memory_bytes:
            largest = max(taken, key=lambda number: taken[number])
            gibibytes, allowed = taken[largest] / 2**30, self._memory_bytes / 2**30
            self._stop(largest)
            self._fail(largest, f"took {gibibytes:.1f} GiB of memory, more than the {allowed:.1f} GiB allowed", "oom")

    def _fail(self, number: int, why: str, kind: str) -> None:
        self._link.send(Message(member=number, content={"event": "failed", "kind": kind, "message": why}))
        self._link.send(Ended(member=number, code=1, log=""))

    def _wait(self) -> None:
        """Until the first host or a process says something, or something is to be looked after."""
        speaking = [running.member for running in self._running.values() if not running.closed]
        ending = len(speaking) < len(self._running)
        seconds = 0.05 if ending else BEAT_SECONDS / 2 if self._running else None
        heard: list[HostLink | LocalMember] = [self._link, *speaking]
        select.select(heard, [], [], seconds)


def _resident_bytes(member: LocalMember) -> int:
    with contextlib.suppress(psutil.Error):
        return sum(process.memory_info().rss for process in member.family())
    return 0
