"""Starting `celery -A dbstorage flower` and asking it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from dbstorage.embedded.ports import choose_port
from tests.waiting import wait_until


class Reply(NamedTuple):
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Flower:
    """A Flower process of a test's own, on loopback."""

    def __init__(self, environment: Mapping[str, str], directory: Path, *options: str, prefix: str = "") -> None:
        self.port = choose_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = self.origin + prefix
        self.environment = environment
        self.options = options
        self.log_path = directory / f"flower-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        listen = ["--address=127.0.0.1", f"--port={self.port}"]
        with self.log_path.open("wb") as log:
            process = self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "dbstorage", "flower", *listen, *self.options],
                env=dict(self.environment),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: process.poll() is not None or self._listens(), "Flower to listen")
        assert process.poll() is None, self.log
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def _listens(self) -> bool:
        try:
            return self.get("/healthcheck").status == 200
        except OSError:
            return False

    def get(self, path: str, **headers: str) -> Reply:
        """Ask for a path below the prefix; underscores in the headers' names stand for hyphens."""
        return self._ask(urllib.request.Request(self.url + path, headers=_names(headers)))

    def post(self, path: str, fields: Mapping[str, object] | None = None, **headers: str) -> Reply:
        """Send a form."""
        return self._ask(urllib.request.Request(self.url + path, urlencode(fields or {}).encode(), _names(headers)))

    def _ask(self, request: urllib.request.Request) -> Reply:
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=30) as response:
                return Reply(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.headers, error.read())


def _names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
