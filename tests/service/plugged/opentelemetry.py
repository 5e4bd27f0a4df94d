"""OpenTelemetry with its instrumentations of Celery and psycopg2, as their documentation says; spans go to a file."""

from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from tests.service.plugged.writing import write


class FileExporter(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            write(
                "span",
                name=span.name,
                trace=f"{span.context.trace_id:032x}",
                id=f"{span.context.span_id:016x}",
                parent=f"{span.parent.span_id:016x}" if span.parent else None,
                links=[f"{link.context.span_id:016x}" for link in span.links],
                attributes=dict(span.attributes or {}),
                status=span.status.status_code.name,
                milliseconds=((span.end_time or 0) - (span.start_time or 0)) / 1e6,
            )
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(FileExporter()))
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
Psycopg2Instrumentor().instrument(enable_commenter=True)
