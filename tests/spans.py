"""Traces under test: recorded in memory, by OpenTelemetry's own SDK."""

import contextlib
from collections.abc import Iterator
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from holdfast.telemetry import traces


class Recorded:
    """Spans that have ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def all(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def names(self) -> list[str]:
        return [span.name for span in self.all()]

    def one(self, name: str) -> Any:
        (found,) = [span for span in self.all() if span.name == name]
        return found

    def said(self, name: str) -> dict[str, Any]:
        """Return the attributes of the span of this name."""
        return dict(self.one(name).attributes or {})

    def trace_ids(self) -> set[str]:
        return {format(span.context.trace_id, "032x") for span in self.all()}

    def id_of(self, name: str) -> str:
        return format(self.one(name).context.span_id, "016x")

    def parent_id_of(self, name: str) -> str:
        parent = self.one(name).parent
        return "" if parent is None else format(parent.span_id, "016x")

    def parent_of(self, name: str) -> str | None:
        """Return the name of the span that the one of this name lies below."""
        parent = self.one(name).parent
        by_id = {span.context.span_id: span.name for span in self.all()}
        return None if parent is None else by_id.get(parent.span_id)


@contextlib.contextmanager
def recording(**options: object) -> Iterator[Recorded]:
    """Record all spans of Holdfast; `options` are those of `TracerProvider`."""
    recorded = Recorded()
    provider = TracerProvider(shutdown_on_exit=False, **options)  # type: ignore[arg-type]
    provider.add_span_processor(SimpleSpanProcessor(recorded.exporter))
    before = traces._tracer
    traces._tracer = provider.get_tracer("holdfast")
    try:
        yield recorded
    finally:
        traces._tracer = before
        provider.shutdown()
