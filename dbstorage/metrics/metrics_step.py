"""Metrics as a step of the worker's own blueprint, which outlives connections to the broker."""

import logging
from typing import Any

from celery import bootsteps

from dbstorage import __version__
from dbstorage.metrics.http_server import MetricsServer
from dbstorage.metrics.service_metrics import ServiceMetrics
from dbstorage.metrics.watch import Watch
from dbstorage.settings import Settings

logger = logging.getLogger(__name__)


class MetricsStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Starts the threads of metrics and health: after the pool has forked, before the worker connects to its broker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        settings: Settings = worker.app.settings
        self._settings = settings
        self._metrics: ServiceMetrics = worker.app.metrics
        self._metrics.worker_started(node=worker.hostname, version=__version__, ordering=settings.ordering.value)

    def start(self, worker: Any) -> None:
        """Start serving; ends the worker with exit code 2 where METRICS_PORT is taken or not allowed.

        The threads end with the process, so that a worker that stops still answers its probes.
        """
        port = self._settings.metrics_port
        if port is not None:
            try:
                MetricsServer(self._metrics, port).start()
            except OSError as error:
                logger.critical(
                    "METRICS_PORT is '%d': %s; expected a free port for each worker on this host, or off.",
                    port, error.strerror,
                )  # fmt: skip
                raise SystemExit(2) from None
        Watch(self._settings, self._metrics, node=worker.hostname).start()

    def stop(self, worker: Any) -> None:
        """Do nothing: the threads end with the process (see `start`)."""
