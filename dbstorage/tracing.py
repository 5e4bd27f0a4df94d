"""Spans of batches and entries where OpenTelemetry is loaded. What an idle worker does makes no spans.

OpenTelemetry is never imported here: who wants spans has loaded it before the first batch.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

#: The span of the batch that ran last in this thread.
_last = threading.local()


@contextmanager
def batch_span(stream: str, entries: int) -> Iterator[None]:
    """The span of a batch, above everything that is done within; it begins a trace of its own."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        yield
        return
    from opentelemetry import context

    # Whatever surrounds us, be it the main thread's silence, is not what caused the batch.
    token = context.attach(context.Context())
    try:
        attributes = {
            "messaging.system": "redis",
            "messaging.operation.type": "process",
            "messaging.destination.name": stream,
            "messaging.batch.message_count": entries,
        }
        tracer = trace.get_tracer("dbstorage")
        with tracer.start_as_current_span("streamBatch", kind=trace.SpanKind.CONSUMER, attributes=attributes) as span:
            _last.span = span
            yield
    finally:
        context.detach(token)


def within_batch() -> AbstractContextManager[Any]:
    """Have what follows belong to the batch that ran last in this thread, whose span has ended."""
    span, _last.span = getattr(_last, "span", None), None
    if span is None:
        return nullcontext()
    return sys.modules["opentelemetry.trace"].use_span(span, end_on_exit=False)  # type: ignore[no-any-return]


def describe_entry(batch: Any, entry_id: str | None, outcome: str) -> None:
    """Say on the current span, if it is an entry's, what became of it, and link it to its batch."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return
    span = trace.get_current_span()
    if span is batch or not span.is_recording():
        return
    span.set_attribute("dbstorage.outcome", outcome)
    if entry_id:
        span.set_attribute("dbstorage.entry_id", entry_id)
    if batch is not None and batch.get_span_context().is_valid:
        span.add_link(batch.get_span_context())


def current_span() -> Any:
    """The span that what follows belongs to; None without OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    return trace.get_current_span() if trace is not None else None


def quiet() -> AbstractContextManager[Any]:
    """Make no spans of what follows: it is done again and again, whether or not there is work."""
    instrumentation = sys.modules.get("opentelemetry.instrumentation.utils")
    return instrumentation.suppress_instrumentation() if instrumentation is not None else nullcontext()


def speak() -> None:
    """End the silence that a forked process has from its parent."""
    if "opentelemetry.context" in sys.modules:
        from opentelemetry import context

        context.attach(context.Context())
