"""Servers of libraries that would listen on every address of the host, kept to the loopback interface."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator

import psutil

_POLL_SECONDS = 0.005


@contextlib.contextmanager
def kept_to_loopback(port: int) -> Iterator[None]:
    """Bind to the loopback interface what of this process listens on the port, which it begins to do in the block.

    TensorFlow 2.21 and PyTorch 2.13 listen on [::], all addresses of the host, whatever address of a worker they are
    given, and whoever reaches TensorFlow's server may run operations in its process. None of their options says
    otherwise, so the socket is bound from outside, some milliseconds after it is there (SO_BINDTODEVICE: Linux, and
    from 5.7 on for every user). Where the system does not let this process, the socket stays as it is.
    """
    over = threading.Event()

    def bind() -> None:
        while not _bind_to_loopback(port) and not over.wait(_POLL_SECONDS):
            pass

    thread = threading.Thread(target=bind, name="gnet-loopback", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _bind_to_loopback(port: int) -> bool:
    """Bind this process's listening socket of that port; False where there is none yet."""
    for connection in psutil.Process().net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            if sys.platform == "linux":
                with socket.socket(fileno=os.dup(connection.fd)) as listening, contextlib.suppress(OSError):
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            return True
    return False
