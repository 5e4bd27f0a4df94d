"""Runs commands as a person types them, in a directory of their own, without the URLs of servers in the environment."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_until

SERVER_VARIABLES = ("REDIS_URL", "DATABASE_URL")


def environment(**variables: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in SERVER_VARIABLES}, **variables}


def shell(line: str, directory: Path, **variables: str) -> str:
    """What a command prints; it has to succeed."""
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=directory,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )
    output = ended.stdout + ended.stderr
    assert ended.returncode == 0, f"{line}\n{output}"
    assert "Traceback" not in output
    return output


@contextmanager
def serving(line: str, directory: Path, ready: str, **variables: str) -> Iterator[None]:
    """Run a command that serves; it has to say that it does, and to end when it is asked to."""
    log_file = directory / "serving.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=directory, env=environment(**variables), stdout=log, stderr=log
        )
    try:
        wait_until(lambda: ready in log_file.read_text() or process.poll() is not None, f"{line} to be ready")
        assert process.poll() is None, log_file.read_text()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            exit_code = process.wait(30)
        finally:
            process.kill()
    assert exit_code == 0, log_file.read_text()
