"""Free ports on loopback, the same ones as the last time where they are still free."""

from __future__ import annotations

import random
import socket

# Below the kernel's range for outgoing connections (32768 up), so that none of those takes a port between
# its choice and the server's start; random, so that stacks that start side by side choose different ones.
FIRST, LAST = 20_000, 29_999


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None, taken: frozenset[int] | set[int] = frozenset()) -> int:
    """A port that is free on 127.0.0.1 and not in `taken`: `preferred` if it is one, else a random one."""
    if preferred and preferred not in taken and is_free(preferred):
        return preferred
    while True:
        port = random.randint(FIRST, LAST)
        if port not in taken and is_free(port):
            return port
