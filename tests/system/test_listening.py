"""A server that listens everywhere hears what is sent to the address that was asked for, and nothing else."""

import contextlib
import socket

import pytest

from gnet_core.system.cluster import Cluster
from gnet_core.system.listening import hear_only, kept_to_own_address


def answers(address, port):
    """Whether something at the address can be connected to."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=0.5):
        return True
    return False


@contextlib.contextmanager
def listening_everywhere():
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        yield server, server.getsockname()[1]


@pytest.mark.parametrize(
    ("asked", "heard", "unheard"),
    [
        (["127.0.0.2"], ["127.0.0.2"], ["127.0.0.1", "127.0.0.3", "::1"]),
        (["::1"], ["::1"], ["127.0.0.1"]),
        (["127.0.0.2", "::1", "127.0.0.4"], ["127.0.0.2", "::1", "127.0.0.4"], ["127.0.0.1", "127.0.0.3"]),
        (["198.51.100.7"], [], ["127.0.0.1", "::1"]),
        (["2001:db8::1"], [], ["127.0.0.1", "::1"]),
    ],
)
def test_a_socket_hears_what_is_sent_to_its_addresses(asked, heard, unheard):
    with listening_everywhere() as (server, port):
        assert all(answers(address, port) for address in heard + unheard)
        hear_only(server, asked)
        assert all(answers(address, port) for address in heard)
        assert not any(answers(address, port) for address in unheard)


def test_what_was_sent_through_a_filter_arrives_whole():
    sent = bytes(range(256)) * 256
    with listening_everywhere() as (server, port):
        hear_only(server, ["127.0.0.2"])
        with socket.create_connection(("127.0.0.2", port)) as client, server.accept()[0] as accepted:
            client.settimeout(10)
            accepted.settimeout(10)
            for writer, reader in ((client, accepted), (accepted, client)):
                writer.sendall(sent)
                received = b""
                while len(received) < len(sent):
                    received += reader.recv(65536)
                assert received == sent


def test_what_begins_to_listen_in_the_block_is_kept_to_the_address_of_this_process():
    with listening_everywhere() as (_, port):
        pass
    cluster = Cluster(addresses=("127.0.0.3:1", f"127.0.0.2:{port}"), index=1)
    with contextlib.ExitStack() as stack:
        with kept_to_own_address(cluster):
            server = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
            stack.enter_context(server)
        assert answers("127.0.0.2", port)
        assert not answers("127.0.0.1", port)


def test_a_block_in_which_nothing_listens_ends():
    with kept_to_own_address(Cluster(addresses=("127.0.0.1:1", "127.0.0.1:2"))):
        pass
