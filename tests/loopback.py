"""Addresses on loopback for processes that meet there, and whether they listen nowhere else."""

import ipaddress
import socket

import psutil


def free_addresses(number):
    """HOST:PORT of so many ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def ears():
    """Where each listening socket of this process hears: its interface where it is bound to one, else its address."""
    names = []
    for connection in psutil.Process().net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN:
            listening = socket.socket(fileno=connection.fd)
            interface = listening.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
            listening.detach()  # it stays the library's
            names.append(interface.rstrip(b"\0").decode() or connection.laddr.ip)
    return names


def all_on_loopback(ears):
    return all(ear == "lo" or ipaddress.ip_address(ear).is_loopback for ear in ears)
