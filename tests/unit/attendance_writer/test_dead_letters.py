"""Dead letters keep the record's own bytes; too many of them stop the consumer."""

from collections.abc import Sequence

import msgspec
import pytest

from attendance_writer.dead_letters import DeadLetters, RejectionWindow, TooManyRejected, dead_letter
from attendance_writer.decode import Rejected
from shared.domain.events import ConsumedRecord, Fault, Record
from shared.runtime.clock import ManualClock
from shared.runtime.unavailable import Unavailable
from tests.support.attendance import JPEG, consumed, make_event, picture_record

WHY = Rejected(Fault.TIME, "a time is not RFC 3339")


class Outbox:
    """A producer that keeps what it is given, or refuses it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, Record]] = []
        self.refuses_after: int | None = None

    def partition_for(self, topic: str, key: bytes) -> int:
        return len(key)

    async def send(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        if self.refuses_after is not None and len(self.sent) >= self.refuses_after:
            raise Unavailable("broker away")
        self.sent += [(topic, partition, record) for record in records]


def test_a_dead_letter_has_the_bytes_key_and_headers_of_the_record_and_says_why_and_whence() -> None:
    record = consumed(picture_record(make_event()), offset=41, partition=3)
    letter = dead_letter(record, WHY, 1_764_000_000_000)
    assert (letter.topic, letter.key, letter.value) == ("attendance.dead-letter.v1", b"1388186", JPEG)
    assert letter.headers[: len(record.headers)] == record.headers
    assert dict(letter.headers[len(record.headers) :]) == {
        "dl_reason": b"invalid-time",
        "dl_detail": b"a time is not RFC 3339",
        "dl_topic": b"attendance.sensitive.v1",
        "dl_partition": b"3",
        "dl_offset": b"41",
    }


def test_a_record_without_key_and_value_is_a_dead_letter_too() -> None:
    letter = dead_letter(ConsumedRecord("t", 0, 0, None, None, ()), WHY, 1)
    assert (letter.key, letter.value) == (b"", b"")


async def test_each_rejected_record_is_sent_to_the_partition_of_its_key() -> None:
    outbox = Outbox()
    first = consumed(picture_record(make_event()), 1)
    second = msgspec.structs.replace(first, key=b"7", offset=2)
    await DeadLetters(outbox, ManualClock(5)).send([(first, WHY), (second, WHY)])
    assert [(partition, record.timestamp_ms) for _, partition, record in outbox.sent] == [(7, 5), (1, 5)]


async def test_a_dead_letter_that_is_not_acknowledged_is_unavailable_and_never_dropped() -> None:
    outbox = Outbox()
    outbox.refuses_after = 1
    record = consumed(picture_record(make_event()))
    with pytest.raises(Unavailable):
        await DeadLetters(outbox, ManualClock(5)).send([(record, WHY), (record, WHY)])


def test_the_window_takes_as_many_rejections_as_it_allows_and_no_more() -> None:
    window = RejectionWindow(max_rejected=2, records=10)
    for is_rejected in (True, False, True, False):
        window.note(is_rejected=is_rejected)
    with pytest.raises(TooManyRejected, match="3 of the last 5 records"):
        window.note(is_rejected=True)


def test_rejections_leave_the_window_with_their_record() -> None:
    window = RejectionWindow(max_rejected=2, records=3)
    for is_rejected in (True, True, False, False) * 50:
        window.note(is_rejected=is_rejected)
    window.note(is_rejected=True)
    window.note(is_rejected=True)
    with pytest.raises(TooManyRejected):
        window.note(is_rejected=True)
