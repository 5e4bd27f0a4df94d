import random
import socket

LOOPBACK = "127.0.0.1"

#: Below the range from which systems take the ports of outgoing connections. A client that keeps trying to reach a
#: stopped server on a port of that range may be given this very port for its own end, and connect to itself.
CANDIDATES = range(10_000, 32_768)


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port now."""
    with socket.socket() as probe:
        # As servers do (SO_REUSEADDR): connections of an earlier server that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen()
        except OSError:
            return False
    return True


def choose_port(*preferred: int | None) -> int:
    """The first preferred port that is free, else any free one."""
    for port in preferred:
        if port and is_free(port):
            return port
    while True:
        candidate = random.choice(CANDIDATES)
        if is_free(candidate):
            return candidate
