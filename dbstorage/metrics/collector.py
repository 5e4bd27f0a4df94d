"""Gauges whose values were gathered by a thread of their own; what is not known is absent."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from dbstorage.metrics.figures import Figures, StreamFigures
from dbstorage.metrics.health import Health, ReaderState
from dbstorage.operating.verdict import Standing


class FiguresCollector(Collector):
    """Shows the latest figures, the reader's state and the worker's name; a scrape asks no server."""

    def __init__(self, health: Health) -> None:
        self.figures = Figures()
        self.worker: dict[str, str] = {}
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Return the metrics (called at each scrape, in the server's thread)."""
        figures = self.figures
        yield InfoMetricFamily("dbstorage_worker", "The worker.", self.worker)
        yield self._reader_state()
        yield from _gauge(
            "dbstorage_reader_stalled_seconds",
            "Seconds for which the reader has made no progress although it should.",
            self._health.stalled_for,
        )
        yield from _gauge("dbstorage_redis_up", "Whether Redis answered (1) or not (0).", figures.redis_up)
        yield from _gauge("dbstorage_database_up", "Whether the database answered (1) or not (0).", figures.database_up)
        yield from _gauge("dbstorage_redis_full", "Whether Redis is full (1) or not (0).", figures.redis_full)
        if figures.sequences is not None:
            used = GaugeMetricFamily(
                "dbstorage_sequence_used_ratio",
                "Share of a sequence's numbers that is used up, from 0 to 1.",
                labels=("table", "column"),
            )
            for (table, column), ratio in figures.sequences.items():
                used.add_metric((table, column), ratio)
            yield used
        if figures.verdict is not None:
            verdict = GaugeMetricFamily(
                "dbstorage_verdict",
                "How the service stands: 1 for its standing.",
                labels=("standing",),
            )
            for standing in Standing:
                verdict.add_metric((standing.value,), standing is figures.verdict.standing)
            yield verdict
        if figures.stream is not None:
            yield from _stream(figures.stream)
        yield from _gauge(
            "dbstorage_failed_tasks_bytes",
            "Bytes on disk of the failed tasks of all services in the database.",
            figures.failed_tasks_bytes,
        )
        if figures.failed_tasks is not None:
            failed = GaugeMetricFamily(
                "dbstorage_failed_tasks", "Failed tasks that are not resolved or discarded.", labels=("code", "state")
            )
            for (code, state), count in figures.failed_tasks.items():
                failed.add_metric((code, state), count)
            yield failed

    def _reader_state(self) -> Metric:
        metric = GaugeMetricFamily(
            "dbstorage_reader_state",
            "State of the reader of the stream: 1 for its state.",
            labels=("state",),
        )
        current = self._health.state
        for state in ReaderState:
            metric.add_metric((state.value,), state is current)
        return metric


def _stream(figures: StreamFigures) -> Iterator[Metric]:
    yield from _gauge("dbstorage_stream_entries", "Entries in the command stream.", figures.entries)
    yield from _gauge("dbstorage_stream_lag_entries", "Entries that no worker has read yet.", figures.lag)
    yield from _gauge(
        "dbstorage_stream_pending_entries", "Entries that were read and are not acknowledged.", figures.pending
    )
    yield from _gauge(
        "dbstorage_stream_oldest_pending_age_seconds",
        "Seconds since the oldest pending entry was written, 0 without one.",
        figures.oldest_pending_age,
    )
    yield from _gauge(
        "dbstorage_stream_oldest_unread_age_seconds",
        "Seconds since the oldest entry was written that no worker has read, 0 without one.",
        figures.oldest_unread_age,
    )
    yield from _gauge(
        "dbstorage_stream_trimmed_unread_entries",
        "Entries that were trimmed from the command stream before any worker read them.",
        figures.trimmed_unread,
    )


def _gauge(name: str, help: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, help, value=float(value))
