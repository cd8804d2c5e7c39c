"""How a trace goes through Kafka: the PRODUCER's span in the record's `traceparent` header."""

import msgspec
from opentelemetry.trace import SpanContext, SpanKind

from shared.domain.events import ConsumedRecord, Record
from shared.runtime.telemetry_names import PUBLISH_SPAN
from shared.runtime.tracing import TRACEPARENT, SampledSpan, sampled_parent

TRACEPARENT_BYTES = 80
"""What the header takes in a batch, at most: two lengths, its name of 11 and its value of 55 bytes."""


def publish_span(parent: SampledSpan, topic: str) -> SampledSpan:
    """The span of a record, from when it is given to the producer until it is acknowledged."""
    return parent.child(PUBLISH_SPAN.format(topic=topic), SpanKind.PRODUCER, publish_attributes(topic))


def publish_attributes(topic: str) -> dict[str, str]:
    """What the span of a record says, by OpenTelemetry's conventions."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
    }


def with_traceparent(record: Record, span: SampledSpan) -> Record:
    """The record as one that the span publishes."""
    header = (TRACEPARENT, span.traceparent.encode())
    return msgspec.structs.replace(record, headers=(*record.headers, header))


def sampled_producer(record: ConsumedRecord) -> SpanContext | None:
    """The span that published the record, where it was sampled."""
    for name, value in record.headers:
        if name == TRACEPARENT:
            return sampled_parent(value.decode("ascii", "replace"))
    return None
