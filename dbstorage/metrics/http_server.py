"""The HTTP server on METRICS_PORT: /metrics, /livez and /readyz, in threads of its own."""

import logging
import os
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import disable_created_metrics
from prometheus_client.exposition import choose_encoder

from dbstorage.metrics.service_metrics import ServiceMetrics

logger = logging.getLogger(__name__)

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104  # whoever scrapes and probes comes from another host
PLAIN_TEXT = "text/plain; charset=utf-8"
#: Seconds that a client may take for its request.
REQUEST_TIMEOUT = 5.0


class MetricsServer:
    """Serves the metrics of one worker; raises OSError where the port is taken or not allowed."""

    def __init__(self, metrics: ServiceMetrics, port: int) -> None:
        # prometheus_client would add a `_created` series to each counter; the process' start time says the same.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._server = _Server((EVERY_ADDRESS, port), _MetricsHandler)
        self._server.metrics = metrics
        self._thread = threading.Thread(target=self._server.serve_forever, name="dbstorage-http", daemon=True)
        # A pool process that is forked later must not keep the port.
        os.register_at_fork(after_in_child=self._server.socket.close)

    def start(self) -> None:
        """Start answering; ends with the process."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and give the port back."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    metrics: ServiceMetrics

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("A request from %s failed: %s", client_address[0], sys.exc_info()[1])


class _MetricsHandler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "dbstorage"
    sys_version = ""
    timeout = REQUEST_TIMEOUT

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        health = self.server.metrics.health
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, content_type, encode(self.server.metrics.registry))
        elif path == "/livez":
            self._answer_health(health.stuck(), f"alive ({health.state})")
        elif path == "/readyz":
            remark = f"; {health.remark}" if health.remark else ""
            self._answer_health(health.not_ready(), f"ready ({health.state}){remark}")
        else:
            self._answer_text(HTTPStatus.NOT_FOUND, "Here are /metrics, /livez and /readyz.")

    do_HEAD = do_GET

    def _answer_health(self, wrong: str | None, right: str) -> None:
        self._answer_text(HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK, wrong or right)

    def _answer_text(self, status: HTTPStatus, text: str) -> None:
        self._answer(status, PLAIN_TEXT, f"{text}\n".encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Probes come every few seconds and are no events."""
