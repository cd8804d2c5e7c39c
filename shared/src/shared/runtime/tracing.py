"""Spans, and the decision whether there are any. The SDK is set up in shared.runtime.telemetry.

1. What is sampled is decided here, before the SDK is called: a span that the SDK drops costs as much as a whole frame
   (measured). In place of the span of what is not sampled stands None.
2. A span is passed as an argument. It is also *current* where its work goes through many hands in one task (a web
   request, a batch of the writer): there the clients of Redis and MongoDB, and the logs, find it.
3. Nothing personal or secret becomes an attribute (design rule 8), and of an exception only its class.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    NoOpTracer,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Attributes = Mapping[str, str | int | float | bool]

TRACEPARENT: Final = "traceparent"
"""The W3C header, over HTTP and in Kafka records."""
_NOTHING: Final = Context()
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class SampledSpan:
    """A span that is recorded; as a context manager it ends with its block, as failed where that raises."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def context(self) -> SpanContext:
        """What children and links refer to."""
        return self._span.get_span_context()

    @property
    def traceparent(self) -> str:
        """The W3C header's value, sampled."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    @property
    def trace_id(self) -> str:
        """As logs have it."""
        return f"{self.context.trace_id:032x}"

    @property
    def span_id(self) -> str:
        """As logs have it."""
        return f"{self.context.span_id:016x}"

    def child(
        self, name: str, kind: SpanKind, attributes: Attributes | None = None, links: Sequence[SpanContext] = ()
    ) -> "SampledSpan":
        """A span that this one is waiting for."""
        parent = set_span_in_context(self._span, _NOTHING)
        return SampledSpan(self._tracer, _started(self._tracer, name, kind, attributes, parent, links))

    def set(self, name: str, value: str | int | float | bool) -> None:
        """Adds an attribute."""
        self._span.set_attribute(name, value)

    def link(self, context: SpanContext) -> None:
        """Links to what becomes known only on the way."""
        self._span.add_link(context)

    def rename(self, name: str) -> None:
        """For what is known only at the end."""
        self._span.update_name(name)

    def fail(self, error_type: str) -> None:
        """Marks it as failed by a fault of ours; `error_type` is a class's name or a code."""
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(StatusCode.ERROR)

    def as_sdk_current(self) -> AbstractContextManager[Span]:
        """Makes it the SDK's current span as well: its own histograms take their exemplars from there."""
        return use_span(self._span, record_exception=False, set_status_on_exception=False)

    def end(self) -> None:
        """Ends it now."""
        self._span.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.fail(kind.__name__)
        self.end()


class Tracing:
    """Starts the spans of one process."""

    def __init__(self, tracer: Tracer | None, ratio: float) -> None:
        self.is_on = tracer is not None
        """False where no endpoint is set: nothing is ever sampled."""
        self._tracer = tracer or NoOpTracer()
        self._ratio = ratio if self.is_on else 0.0

    def should_sample(self) -> bool:
        """The decision for something that begins here."""
        return random.random() < self._ratio  # noqa: S311 -- nothing is protected by it

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes | None = None,
        *,
        parent: SpanContext | None = None,
        links: Sequence[SpanContext] = (),
        start_ns: int | None = None,
    ) -> SampledSpan:
        """A span of what was decided to be sampled, here or by whoever sent `parent`."""
        context = _NOTHING if parent is None else set_span_in_context(NonRecordingSpan(parent), _NOTHING)
        return SampledSpan(self._tracer, _started(self._tracer, name, kind, attributes, context, links, start_ns))


NOT_TRACED: Final = Tracing(None, 0.0)
"""For a process without an endpoint, and for tests."""


def sampled_parent(traceparent: str | None) -> SpanContext | None:
    """What a `traceparent` refers to; None where there is none, it cannot be read, or it is not sampled."""
    if not traceparent:
        return None
    context = get_current_span(_PROPAGATOR.extract({TRACEPARENT: traceparent}, _NOTHING)).get_span_context()
    return context if context.is_valid and context.trace_flags.sampled else None


def child_of(
    span: SampledSpan | None, name: str, kind: SpanKind, attributes: Attributes | None = None
) -> AbstractContextManager[SampledSpan | None]:
    """A child for the length of a block; nothing where there is no span."""
    return NO_SPAN if span is None else span.child(name, kind, attributes)


NO_SPAN: Final[AbstractContextManager[None]] = nullcontext()

_current: ContextVar[SampledSpan | None] = ContextVar("span", default=None)


def current_span() -> SampledSpan | None:
    """The span whose work this task does."""
    return _current.get()


def current_traceparent() -> str | None:
    """What is kept with a thing that others will work on later; None where nothing is sampled."""
    span = _current.get()
    return None if span is None else span.traceparent


@contextmanager
def as_current(span: SampledSpan) -> Iterator[None]:
    """Makes it the current one for the length of a block, and of the tasks that are started in it."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


def _started(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    attributes: Attributes | None,
    parent: Context,
    links: Sequence[SpanContext],
    start_ns: int | None = None,
) -> Span:
    return tracer.start_span(
        name,
        parent,
        kind,
        attributes,
        [Link(context) for context in links],
        start_ns,
        record_exception=False,
        set_status_on_exception=False,
    )
