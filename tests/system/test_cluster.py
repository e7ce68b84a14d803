"""What a worker knows of the others from their addresses."""

import pytest

from gnet_core.system.cluster import Cluster


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
