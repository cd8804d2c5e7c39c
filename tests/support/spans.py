"""Spans kept in memory, for tests of one part; tests/fixtures/otlp.py receives what whole processes send."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext

from shared.runtime.tracing import Tracing


class KeptSpans:
    """A Tracing and what it recorded."""

    def __init__(self, ratio: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider.get_tracer("test"), ratio)

    @property
    def names(self) -> list[str]:
        """Of the ended ones, in the order in which they ended."""
        return [span.name for span in self._exporter.get_finished_spans()]

    def all(self, name: str) -> list[ReadableSpan]:
        """The ended spans of this name."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only ended span of this name."""
        (found,) = self.all(name)
        return found


def trace_id(span: ReadableSpan) -> int:
    """The trace that a span is part of."""
    return _context(span).trace_id


def span_id(span: ReadableSpan) -> int:
    """The span's own id."""
    return _context(span).span_id


def _context(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def attributes(span: ReadableSpan) -> dict[str, object]:
    """All of them."""
    return dict(span.attributes or {})
