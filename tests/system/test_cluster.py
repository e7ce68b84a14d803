"""What a worker knows of the others from their addresses."""

import socket

import pytest

from gnet_core.system.cluster import Cluster, own_addresses


@pytest.mark.parametrize(
    ("addresses", "on_loopback"),
    [
        (("127.0.0.1:1", "127.0.0.2:1"), True),
        (("localhost:1", "[::1]:2"), True),
        (("127.0.0.1:1", "10.0.0.1:1"), False),
        (("node1:1", "node2:1"), False),
    ],
)
def test_workers_are_on_loopback_where_all_of_them_are(addresses, on_loopback):
    assert Cluster(addresses=addresses).on_loopback is on_loopback


def test_a_worker_has_a_place_among_those_of_its_host():
    addresses = ("a:1", "b:1", "a:2", "b:2", "[::1]:3", "[::1]:4")
    assert [Cluster(addresses=addresses, index=index).place_on_host for index in range(6)] == [0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("addresses", "workers"),
    [
        (("a:1", "b:1", "a:2"), [2, 1, 2]),
        (("127.0.0.1:1", "127.0.0.1:2"), [2, 2]),
        (("127.0.0.2:1", "127.0.0.3:1"), [2, 2]),
    ],
)
def test_workers_share_the_processors_of_their_host(addresses, workers):
    clusters = [Cluster(addresses=addresses, index=index) for index in range(len(addresses))]
    assert [cluster.workers_on_host for cluster in clusters] == workers


def names(monkeypatch, **known):
    """Have these names stand for these IP addresses, and no others."""

    def resolved(host, port, **kind):
        return [(socket.AF_INET, kind["type"], 6, "", (address, port or 0)) for address in known.get(host, [host])]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


def test_a_process_is_found_by_all_that_its_hosts_name_stands_for(monkeypatch):
    names(monkeypatch, node1=["198.51.100.1", "198.51.100.2"])
    assert own_addresses(Cluster(addresses=("node1:1", "node2:1"))) == ["198.51.100.1", "198.51.100.2"]
    assert own_addresses(Cluster(addresses=("127.0.0.2:1", "127.0.0.3:1"))) == ["127.0.0.2"]


def test_a_name_that_stands_for_loopback_on_its_own_host_is_not_how_others_find_it(monkeypatch):
    """127.0.0.9 is the way from here to the other host, as far as this test goes."""
    names(monkeypatch, node1=["127.0.1.1"], node2=["127.0.0.9"])
    for addresses in (("node1:1", "node2:1"), ("node1:1", "node1:2", "node2:1")):
        address, own = own_addresses(Cluster(addresses=addresses))
        assert own == "127.0.1.1" != address
    assert own_addresses(Cluster(addresses=("node1:1", "node1:2"))) == ["127.0.1.1"]  # which no other host is to find


def test_a_name_that_nobody_knows_has_no_address():
    with pytest.raises(OSError, match=r"known|resolution"):
        own_addresses(Cluster(addresses=("no-such-host.invalid:1", "127.0.0.1:1")))
