"""The cost of a batch's task signals: no receivers, plain ones, OpenTelemetry. Run by `python -m bench.listening`.

No server is needed: the batch is one that has run.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import orjson
from celery import signals

from dbstorage.application import create_app
from dbstorage.batch.job import BatchJob
from dbstorage.settings import load_settings
from dbstorage.storage.outcome import STORED, Outcome, Report, Status
from dbstorage.tracing import batch_span
from dbstorage.worker.task_signals import SIGNALS, tell_of_batch

ENTRIES = 500
ROUNDS = 200
STREAM = "exness:dbstorage-stream"
FAILED = Outcome(Status.FAILED, "invalid_symbol", "symbol is something else.")


def order(order_id: str) -> bytes:
    """A command; its outcome is given, so its other fields do not matter."""
    return orjson.dumps({"function": "createCloseOrder", "message": {"orderId": order_id, "userId": "user-1"}})


def batch(failed: int) -> tuple[BatchJob, Report]:
    """A batch of orders, the first of which failed."""
    ids = [f"1795357518476-{number}" for number in range(ENTRIES)]
    outcomes: list[Outcome | None] = [FAILED if number < failed else STORED for number in range(ENTRIES)]
    fields: list[Any] = [[b"message", order(f"order-{number}")] for number in range(ENTRIES)]
    return BatchJob(ids, fields, "worker@bench"), Report(outcomes, [True] * ENTRIES, seconds={"database": 0.01})


def microseconds(job: BatchJob, report: Report) -> float:
    """Microseconds for one batch, the median of ROUNDS."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with batch_span(STREAM, ENTRIES):
            pass
        tell_of_batch(job, report, STREAM, 0.01)
        taken.append((time.perf_counter() - began) * 1e6)
    return statistics.median(taken)


def ignore(**_: Any) -> None:
    """A receiver that does nothing."""


def plug_receivers() -> None:
    """Listen to all five signals."""
    for signal in SIGNALS:
        signal.connect(ignore, weak=False)


def plug_opentelemetry() -> None:
    """Listen as OpenTelemetry does, with every span recorded and thrown away."""
    from opentelemetry import trace
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.sdk.trace import TracerProvider

    for signal in SIGNALS:
        signal.disconnect(ignore)
    trace.set_tracer_provider(TracerProvider())
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]


def main() -> None:
    """Print a line for each."""
    settings = load_settings({"REDIS_URL": "redis://nowhere", "DATABASE_URL": "postgresql://nobody@nowhere/nothing"})
    create_app(settings).set_current()
    assert not signals.task_prerun.receivers
    listeners: list[tuple[str, Callable[[], None]]] = [
        ("nobody listens", lambda: None),
        ("five plain receivers", plug_receivers),
        ("OpenTelemetry, all recorded", plug_opentelemetry),
    ]
    for name, plug in listeners:
        plug()
        for failed in (0, 10):
            cost = microseconds(*batch(failed))
            print(f"{name:28} {failed:3} of {ENTRIES} failed: {cost:10.1f} µs a batch, {cost / ENTRIES:7.3f} an entry")


if __name__ == "__main__":
    main()
