"""A RabbitMQ of the test's own, from the Debian package."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

#: The script itself: the one on the PATH becomes another user first.
SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_SECONDS = 60


@contextmanager
def running_rabbitmq(directory: Path) -> Iterator[str]:
    """Its URL, with one virtual host; skips where it is not installed, but in continuous integration."""
    if not SCRIPT.exists() or shutil.which("epmd") is None:
        sentence = "RabbitMQ is not installed: the Debian package rabbitmq-server has it."
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    port, distribution_port, epmd_port = _free_port(), _free_port(), _free_port()
    environment = {
        **os.environ,
        "HOME": str(directory),
        "RABBITMQ_NODENAME": f"dbstorage-test-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq"),
    }
    (directory / "enabled_plugins").write_text("[].\n")
    # The daemon that maps names to ports is ours as well, and ends with the test.
    names = subprocess.Popen(["epmd", "-port", str(epmd_port)], env=environment)
    with (directory / "output").open("wb") as output:
        server = subprocess.Popen([SCRIPT], env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_for(port, server, directory / "output")
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        for process in (server, names):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, output.read_text(errors="replace")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            # It answers the protocol's greeting once it serves.
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            connection.settimeout(5)
            if connection.recv(1):
                return
        time.sleep(0.2)
    raise AssertionError(f"RabbitMQ did not start:\n{output.read_text(errors='replace')}")
