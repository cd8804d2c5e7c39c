"""The spans of a batch: one of its own that links to every sampled record in it, and for each such record one in its
own trace, so that a passage is read as one trace from the frame to MongoDB. None where no record is sampled."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from opentelemetry.trace import SpanContext, SpanKind

from shared.domain.events import ConsumedRecord
from shared.kafka.record_spans import sampled_producer
from shared.runtime.telemetry_names import BATCH_SPAN, DATABASE_SPAN, PROCESS_SPAN
from shared.runtime.tracing import Attributes, SampledSpan, Tracing, as_current
from shared.stores.mongo.client import database_attributes

_Position = tuple[str, int, int]


class BatchSpans:
    """What is traced of a batch while it is written."""

    def __init__(self, of_records: Mapping[_Position, SampledSpan]) -> None:
        self._of_records = of_records

    @contextmanager
    def storing(
        self, items: Iterable[tuple[ConsumedRecord, object]], collection: str, operation: str = "insert"
    ) -> Iterator[None]:
        """Around the write that stores the sampled ones of these records."""
        with ExitStack() as stack:
            for record, _ in items if self._of_records else ():
                if (span := self.of(record)) is not None:
                    name = DATABASE_SPAN.format(operation=operation, collection=collection)
                    attributes = database_attributes(operation, collection)
                    stack.enter_context(span.child(name, SpanKind.CLIENT, attributes))
            yield

    def of(self, record: ConsumedRecord) -> SampledSpan | None:
        """The record's own span."""
        return self._of_records.get(_position(record))

    def reject(self, record: ConsumedRecord, reason: str) -> None:
        """The record became a dead letter."""
        if (span := self.of(record)) is not None:
            span.fail(reason)


@contextmanager
def batch_spans(tracing: Tracing, records: Sequence[ConsumedRecord]) -> Iterator[BatchSpans]:
    """The spans, for the length of one try to write the batch; its own is the current one meanwhile."""
    parents: dict[_Position, SpanContext] = {}
    for record in records if tracing.is_on else ():
        if (parent := sampled_producer(record)) is not None:
            parents[_position(record)] = parent
    with ExitStack() as stack:
        spans = {
            position: stack.enter_context(_record_span(tracing, position, parent))
            for position, parent in parents.items()
        }
        if spans:
            attributes: Attributes = {
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.batch.message_count": len(records),
            }
            whole = tracing.start(BATCH_SPAN, SpanKind.CONSUMER, attributes, links=list(parents.values()))
            stack.enter_context(whole)
            stack.enter_context(as_current(whole))
        yield BatchSpans(spans)


def _record_span(tracing: Tracing, position: _Position, producer: SpanContext) -> SampledSpan:
    topic, partition, offset = position
    attributes: Attributes = {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": offset,
    }
    name = PROCESS_SPAN.format(topic=topic)
    return tracing.start(name, SpanKind.CONSUMER, attributes, parent=producer, links=[producer])


def _position(record: ConsumedRecord) -> _Position:
    return record.topic, record.partition, record.offset
