"""Processes that work together: where each of them listens, and which one this is."""

from __future__ import annotations

import dataclasses
import ipaddress
import socket


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """The workers that take a step together, as each of their processes is told them."""

    addresses: tuple[str, ...]
    """HOST:PORT of each worker, the one that reports first; a port is free for the framework's own server."""
    index: int = 0
    """Which of them this process is."""

    @property
    def reports(self) -> bool:
        """Whether this is the worker that measures for all."""
        return self.index == 0

    @property
    def on_loopback(self) -> bool:
        """Whether all workers are on this host and meet on addresses that no other can reach."""
        return all(_is_loopback(address) for address in self.addresses)

    @property
    def port(self) -> int:
        """The port of this process's own address."""
        return int(self.addresses[self.index].rpartition(":")[2])

    @property
    def place_on_host(self) -> int:
        """How many workers of the same host come before this one, which take the devices before this one's."""
        return self._hosts[: self.index].count(self._hosts[self.index])

    @property
    def workers_on_host(self) -> int:
        """How many workers share this one's host and its processors; on loopback all, whatever their addresses."""
        return len(self.addresses) if self.on_loopback else self._hosts.count(self._hosts[self.index])

    @property
    def _hosts(self) -> list[str]:
        return [host_of(address) for address in self.addresses]


def host_of(address: str) -> str:
    """The host of HOST:PORT, without the brackets of an IPv6 address."""
    return address.rpartition(":")[0].strip("[]")


def address_of(address: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """HOST:PORT as sockets take it, the first that the host's name stands for. Raises OSError for an unknown name."""
    port = int(address.rpartition(":")[2])
    family, _, _, _, place = socket.getaddrinfo(host_of(address), port, type=socket.SOCK_STREAM)[0]
    return family, (str(place[0]), port)


def own_addresses(cluster: Cluster) -> list[str]:
    """The IP addresses by which this process is found: those that its host's name stands for. Raises OSError for a name
    that nobody knows.

    Many a host has its own name stand for 127.0.1.1, by which no other host finds it; the one by which it reaches
    another host of the cluster is then the first of them.
    """
    own = cluster.addresses[cluster.index]
    known = _ip_addresses(own)
    others = [address for address in cluster.addresses if host_of(address) != host_of(own)]
    loopback_is_meant = _is_loopback(own) or not others
    if loopback_is_meant or not all(ipaddress.ip_address(address).is_loopback for address in known):
        return known
    family, place = address_of(others[0])
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(place)  # sends nothing, but chooses the way there
        return [*dict.fromkeys([str(probe.getsockname()[0]), *known])]


def _ip_addresses(address: str) -> list[str]:
    """All that the host of HOST:PORT stands for, without the zone of IPv6."""
    known = socket.getaddrinfo(host_of(address), None, type=socket.SOCK_STREAM)
    return [*dict.fromkeys(str(place[0]).partition("%")[0] for *_, place in known)]


def _is_loopback(address: str) -> bool:
    host = host_of(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def free_port() -> int:
    """A port that nothing on this host listens on now; by the time that it is used another may have taken it."""
    with socket.socket() as probe:
        probe.bind(("", 0))  # on all addresses: TensorFlow takes its port on all of them
        port: int = probe.getsockname()[1]
        return port
