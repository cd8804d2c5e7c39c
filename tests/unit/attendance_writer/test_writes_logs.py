"""What a writer logs of a sampled record that it cannot store leads to its trace."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from opentelemetry.trace import SpanKind

from attendance_writer.batch import Batch, BatchLimits
from attendance_writer.dead_letters import DeadLetters, RejectionWindow
from attendance_writer.decode import decode
from attendance_writer.metrics import WriterCounts
from attendance_writer.writes import BatchWriter
from shared.domain.events import SIGN_IN_TOPIC, ConsumedRecord, Record
from shared.kafka.record_spans import publish_span, with_traceparent
from shared.runtime.clock import ManualClock
from shared.runtime.logging import JsonFormatter
from shared.runtime.unavailable import Unavailable
from shared.stores.memory_attendance import (
    MemoryAttendance,
    MemoryAttendanceStore,
    MemoryPictureStore,
    MemorySyntheticAttendanceStore,
)
from tests.support.attendance import consumed, event_record, make_event
from tests.support.spans import KeptSpans, trace_id


class NotedProducer:
    """Takes dead letters."""

    def partition_for(self, topic: str, key: bytes) -> int:
        return 0

    async def send(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Acknowledged."""


class Bench:
    """A batch of one sampled record, and what stores it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.kept = KeptSpans()
        self._caplog = caplog
        # JsonFormatter looks for the current span when the line is written, as a handler does
        monkeypatch.setattr(caplog.handler, "formatter", JsonFormatter("attendance-writer"))
        self.memory = MemoryAttendance()
        self.writer = BatchWriter(
            MemoryAttendanceStore(self.memory),
            MemoryPictureStore(self.memory),
            MemorySyntheticAttendanceStore(),
            None,  # type: ignore[arg-type]  # no presence is written
            DeadLetters(NotedProducer(), ManualClock(0)),
            RejectionWindow(10, 10),
            WriterCounts(),
            self.kept.tracing,
        )

    def sampled(self) -> ConsumedRecord:
        with (
            self.kept.tracing.start("frame", SpanKind.SERVER) as frame,
            publish_span(frame, SIGN_IN_TOPIC) as publishing,
        ):
            return consumed(with_traceparent(event_record(make_event()), publishing))

    def line(self, text: str) -> dict[str, str]:
        lines = [json.loads(line) for line in self._caplog.text.splitlines()]
        (found,) = [line for line in lines if text in line["message"]]
        return dict(found)

    async def write(self, record: ConsumedRecord) -> None:
        batch = Batch(BatchLimits(10, 10**6, 1))
        batch.add(record, decode(record), 0)
        await self.writer.write(batch)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Bench:
    return Bench(monkeypatch, caplog)


async def test_that_a_batch_waits_is_said_in_the_batchs_trace_which_links_to_the_records(bench: Bench) -> None:
    bench.memory.available = False
    with pytest.raises(Unavailable):
        await bench.write(bench.sampled())
    batch = bench.kept.one("batch process")
    assert bench.line("1 records wait")["trace_id"] == f"{trace_id(batch):032x}"
    assert [link.context.trace_id for link in batch.links] == [trace_id(bench.kept.one("frame"))]


async def test_that_a_record_is_a_dead_letter_is_said_in_the_records_own_trace(bench: Bench) -> None:
    await bench.write(msgspec.structs.replace(bench.sampled(), value=b"no JSON"))
    assert bench.line("dead letter from")["trace_id"] == f"{trace_id(bench.kept.one('frame')):032x}"


async def test_what_is_not_sampled_is_said_without_a_trace(bench: Bench) -> None:
    await bench.write(msgspec.structs.replace(consumed(event_record(make_event())), value=b"no JSON"))
    assert "trace_id" not in bench.line("dead letter from")
