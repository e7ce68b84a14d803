"""Servers of libraries that would listen on every address of the host, kept to the one that was asked for."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Sequence

import psutil

from gnet_core.system.cluster import Cluster, own_addresses

_POLL_SECONDS = 0.005

_ATTACH_FILTER = 26
"""SO_ATTACH_FILTER (Linux, asm-generic/socket.h), which Python's socket does not have."""

_LOAD_BYTE, _LOAD_WORD, _SHIFT_RIGHT, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x20, 0x74, 0x15, 0x06
"""Operations of classic BPF (Linux, Documentation/networking/filter.rst): to load is from the packet, at an offset."""
_NETWORK_HEADER = 2**32 - 0x100000
"""SKF_NET_OFF: offsets from here on count from the packet's IP header."""
_DESTINATION = {4: 16, 6: 24}
"""Where the destination's address stands in that header, by version of IP (RFC 791, RFC 8200)."""
_WHOLE_PACKET, _NOTHING = 2**32 - 1, 0


@contextlib.contextmanager
def kept_to_own_address(cluster: Cluster) -> Iterator[None]:
    """Let what of this process listens on the port of its address in the cluster, which it begins to do in the block,
    hear what is sent to that address alone. Raises OSError where nobody knows the address's name.

    TensorFlow 2.21 and PyTorch 2.13 listen on [::], all addresses of the host, whatever address of a worker they are
    given, and whoever reaches TensorFlow's server may run operations in its process. None of their options says
    otherwise, so the socket gets a filter from outside, some milliseconds after it is there (Linux, for every user).
    Where the system does not let this process, the socket stays as it is.
    """
    addresses, over = own_addresses(cluster), threading.Event()

    def keep() -> None:
        while not _keep(cluster.port, addresses):
            if over.wait(_POLL_SECONDS):
                _keep(cluster.port, addresses)  # what has begun since
                return

    thread = threading.Thread(target=keep, name="gnet-listening", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def hear_only(listening: socket.socket, addresses: Sequence[str]) -> None:
    """Have a socket drop what is sent to any other address of this host. Raises OSError where Linux refuses."""
    program = b"".join(_filter(addresses))
    instructions = ctypes.create_string_buffer(program, len(program))
    count = len(program) // struct.calcsize("HBBI")
    listening.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", count, ctypes.addressof(instructions)))


def _keep(port: int, addresses: Sequence[str]) -> bool:
    """Keep this process's listening socket of that port to the addresses; False where there is none yet."""
    for connection in psutil.Process().net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            if sys.platform == "linux":
                with socket.socket(fileno=os.dup(connection.fd)) as listening, contextlib.suppress(OSError):
                    hear_only(listening, addresses)
                    if all(ipaddress.ip_address(address).is_loopback for address in addresses):
                        # Others are refused at once then, and `ss` shows it (from Linux 5.7 on for every user).
                        listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            return True
    return False


def _filter(addresses: Sequence[str]) -> Iterator[bytes]:
    """A program of classic BPF that lets packets to one of these addresses through and no others."""
    for address in map(ipaddress.ip_address, addresses):
        words = struct.unpack(f"!{len(address.packed) // 4}I", address.packed)
        version = [(_LOAD_BYTE, _NETWORK_HEADER), (_SHIFT_RIGHT, 4), (_JUMP_IF_EQUAL, address.version)]
        first = _NETWORK_HEADER + _DESTINATION[address.version]
        loads = [[(_LOAD_WORD, first + 4 * place), (_JUMP_IF_EQUAL, word)] for place, word in enumerate(words)]
        block = [*version, *(each for load in loads for each in load), (_RETURN, _WHOLE_PACKET)]
        for place, (operation, operand) in enumerate(block):
            # Where it is not equal, the next address may be the one.
            skipped = len(block) - place - 1 if operation == _JUMP_IF_EQUAL else 0
            yield struct.pack("HBBI", operation, 0, skipped, operand)
    yield struct.pack("HBBI", _RETURN, 0, 0, _NOTHING)
