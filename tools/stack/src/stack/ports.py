"""Free TCP ports of 127.0.0.1, so that several stacks live side by side."""

import random
import socket

# Below the range from which Linux takes the local ports of outgoing connections (32768 on): a port chosen here is not
# lost to a client between its choice and its use.
FIRST, LAST = 20_000, 32_000

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on now, and that this process was not given before."""
    while True:
        port = random.randint(FIRST, LAST)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
