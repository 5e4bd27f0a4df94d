"""A TLS proxy in front of a server without TLS. Clients that begin with a handshake get one, others are passed through.

The certificate is signed by an authority that the test makes, and is valid for 127.0.0.1 alone.
"""

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import pytest

from dbstorage.embedded.ports import LOOPBACK

#: How a handshake begins, and how a client of PostgreSQL asks for one.
HANDSHAKE, SSL_REQUEST = b"\x16", bytes.fromhex("0000000804d2162f")


class Certificate(NamedTuple):
    """A certificate that is its own authority, and its key."""

    certificate: Path
    key: Path


def make_certificate(directory: Path, address: str = "IP:127.0.0.1") -> Certificate:
    """A new one, good for this address; skips where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    made = Certificate(directory / "certificate.pem", directory / "key.pem")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    subprocess.run(
        ["openssl", *words.split(), "-addext", f"subjectAltName={address}", "-keyout", made.key, "-out",
         made.certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return made


class TlsFront:
    """A listener that speaks TLS to clients and plainly to a server's port. `handshakes` counts those that came off."""

    def __init__(self, certificate: Certificate, server_port: int) -> None:
        self._server_port = server_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.certificate, certificate.key)
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.handshakes = 0
        self.refused = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            first = client.recv(len(SSL_REQUEST), socket.MSG_PEEK)
            if first == SSL_REQUEST:
                client.recv(len(SSL_REQUEST))
                client.sendall(b"S")
            if first[:1] == HANDSHAKE or first == SSL_REQUEST:
                client = self._context.wrap_socket(client, server_side=True)
                self.handshakes += 1
            server = socket.create_connection((LOOPBACK, self._server_port))
        except OSError:
            self.refused += 1
            client.close()
            return
        back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
        back.start()
        _pass_on(client, server)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError, ValueError):
        while chunk := source.recv(65_536):
            target.sendall(chunk)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
