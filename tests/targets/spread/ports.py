"""Free ports on loopback, for the servers and workers of a test."""

from __future__ import annotations

import socket


def free_addresses(count: int) -> list[str]:
    """So many addresses, all different. Another process could take one of them meanwhile."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return found
