"""The proxy that other tests put in front of a server does what its methods say."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.chaos.proxy import Proxy
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def echo_port() -> Iterator[int]:
    """The port of a server that sends back what it gets."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(ConnectionResetError):
            while data := connection.recv(65536):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        # Wakes the thread that waits for the next connection.
        listener.shutdown(socket.SHUT_RDWR)


def connect(proxy: Proxy) -> socket.socket:
    """A client's connection, which does not wait for ever."""
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE)


def seconds_to_echo(connection: socket.socket, data: bytes) -> float:
    """Send and wait until all of it is back."""
    began = time.monotonic()
    threading.Thread(target=connection.sendall, args=(data,)).start()
    left = len(data)
    while left:
        received = len(connection.recv(65536))
        assert received, "the connection was closed"
        left -= received
    return time.monotonic() - began


def test_the_delay_is_that_of_each_way_and_not_of_each_piece(echo_port: int) -> None:
    """A megabyte is sixteen pieces: if each waited for the one before it, it would take eight seconds each way."""
    with Proxy(echo_port, delay=0.5) as proxy, closing(connect(proxy)) as client:
        assert seconds_to_echo(client, b"x") >= 1
        assert 1 <= seconds_to_echo(client, b"x" * 1_000_000) < 14


def test_the_connections_share_the_bandwidth(echo_port: int) -> None:
    with Proxy(echo_port, bytes_per_second=1_000_000) as proxy:
        clients = [connect(proxy) for _ in range(2)]
        began = time.monotonic()
        threads = [threading.Thread(target=seconds_to_echo, args=(client, b"x" * 250_000)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began > 0.4
        for client in clients:
            client.close()


def test_a_black_hole_stays_open_and_says_nothing(echo_port: int) -> None:
    with Proxy(echo_port) as proxy, closing(connect(proxy)) as old:
        seconds_to_echo(old, b"x")
        proxy.black_hole()
        old.settimeout(0.3)
        old.sendall(b"lost")
        with pytest.raises(TimeoutError):
            old.recv(10)
        with closing(connect(proxy)) as new:
            seconds_to_echo(new, b"x")
        proxy.black_hole(new_too=True)
        with closing(connect(proxy)) as new:
            new.settimeout(0.3)
            new.sendall(b"lost")
            with pytest.raises(TimeoutError):
                new.recv(10)
        proxy.mend()
        seconds_to_echo(old, b"x")


def test_it_cuts_and_refuses_connections(echo_port: int) -> None:
    with Proxy(echo_port) as proxy, closing(connect(proxy)) as client:
        seconds_to_echo(client, b"x")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(10)
        wait_until(lambda: proxy.connections == 0, "the connection to be forgotten")
        with closing(connect(proxy)) as again:
            seconds_to_echo(again, b"x")
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        proxy.mend()
        with closing(connect(proxy)) as again:
            seconds_to_echo(again, b"x")


def test_urls_lead_through_it(echo_port: int) -> None:
    with Proxy.to(f"redis://127.0.0.1:{echo_port}/0") as proxy:
        assert proxy.url("postgresql://me:pass%40word@localhost:5432/db?x=1") == (
            f"postgresql://me:pass%40word@127.0.0.1:{proxy.port}/db?x=1"
        )
