"""The spans of a batch: in which trace each is, what it links to, and that none is without a sampled record."""

import pytest
from opentelemetry.trace import SpanKind

from attendance_writer.batch_spans import batch_spans
from shared.domain.events import ConsumedRecord
from shared.kafka.record_spans import publish_span, with_traceparent
from shared.runtime.tracing import NOT_TRACED, Tracing, current_span
from shared.runtime.unavailable import Unavailable
from tests.support.attendance import consumed, event_record, make_event
from tests.support.spans import KeptSpans, attributes, span_id, trace_id

TOPIC = "attendance.sign-in.v1"


def sampled_record(tracing: Tracing, offset: int) -> ConsumedRecord:
    """A record as ingress publishes it, in a trace of its own."""
    with tracing.start(f"frame {offset}", SpanKind.SERVER) as frame, publish_span(frame, TOPIC) as publishing:
        return consumed(with_traceparent(event_record(make_event()), publishing), offset)


def unsampled_record(offset: int) -> ConsumedRecord:
    return consumed(event_record(make_event()), offset)


def test_a_sampled_record_is_followed_in_its_own_trace_and_the_batch_links_to_it() -> None:
    kept = KeptSpans()
    records = [unsampled_record(0), sampled_record(kept.tracing, 7), unsampled_record(8)]
    with batch_spans(kept.tracing, records) as spans, spans.storing([(one, None) for one in records], "attendance"):
        assert current_span() is not None
    frame, published = kept.one("frame 7"), kept.one(f"{TOPIC} publish")
    processed, stored, batch = kept.one(f"{TOPIC} process"), kept.one("insert attendance"), kept.one("batch process")
    assert {trace_id(one) for one in (published, processed, stored)} == {trace_id(frame)}
    assert processed.parent is not None
    assert processed.parent.span_id == span_id(published)
    assert [link.context.span_id for link in processed.links] == [span_id(published)]
    assert attributes(processed)["messaging.kafka.offset"] == 7
    assert stored.parent is not None
    assert stored.parent.span_id == span_id(processed)
    assert trace_id(batch) != trace_id(frame)
    assert [link.context.span_id for link in batch.links] == [span_id(published)]
    assert attributes(batch)["messaging.batch.message_count"] == 3
    kinds = [one.kind for one in (published, processed, stored, batch)]
    assert kinds == [SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CLIENT, SpanKind.CONSUMER]


def test_what_is_changed_and_not_inserted_is_named_so_in_the_records_own_trace() -> None:
    kept = KeptSpans()
    record = sampled_record(kept.tracing, 7)
    with batch_spans(kept.tracing, [record]) as spans, spans.storing([(record, None)], "devices", "update"):
        pass
    updated = kept.one("update devices")
    assert trace_id(updated) == trace_id(kept.one("frame 7"))
    assert attributes(updated).items() >= {"db.operation.name": "update", "db.collection.name": "devices"}.items()


def test_a_batch_without_a_sampled_record_has_no_span() -> None:
    kept = KeptSpans()
    records = [unsampled_record(0), unsampled_record(1)]
    with batch_spans(kept.tracing, records) as spans, spans.storing([(one, None) for one in records], "attendance"):
        assert current_span() is None
        spans.reject(records[0], "invalid-json")
    assert kept.names == []


def test_a_sampled_record_has_no_span_where_this_process_has_no_endpoint() -> None:
    kept = KeptSpans()
    record = sampled_record(kept.tracing, 1)
    with batch_spans(NOT_TRACED, [record]):
        assert current_span() is None
    assert kept.names == [f"{TOPIC} publish", "frame 1"]


def test_a_try_that_fails_marks_the_batch_and_its_records_and_a_dead_letter_marks_its_own() -> None:
    kept = KeptSpans()
    records = [sampled_record(kept.tracing, 1)]
    with pytest.raises(Unavailable), batch_spans(kept.tracing, records):
        raise Unavailable("MongoDB: away")
    assert attributes(kept.one("batch process"))["error.type"] == "Unavailable"
    assert attributes(kept.one(f"{TOPIC} process"))["error.type"] == "Unavailable"
    kept = KeptSpans()
    with batch_spans(kept.tracing, records) as spans:
        spans.reject(records[0], "invalid-json")
    assert attributes(kept.one(f"{TOPIC} process"))["error.type"] == "invalid-json"
    assert kept.one("batch process").status.is_unset
