"""When a batch is due, and what is committed for it."""

import pytest

from attendance_writer.batch import Batch, BatchLimits
from attendance_writer.decode import Rejected, decode
from shared.domain.attendance import AttendanceEvent
from shared.domain.events import Fault
from shared.stores.interfaces import StoredPicture
from tests.support.attendance import consumed, event_record, make_event, picture_record

LIMITS = BatchLimits(records=3, bytes=10_000, age_seconds=0.5)


def filled(count: int, now: float = 100.0, size: int = 10) -> Batch:
    batch = Batch(LIMITS)
    for offset in range(count):
        record = consumed(picture_record(make_event(), b"x" * size), offset)
        batch.add(record, decode(record), now)
    return batch


def test_an_empty_batch_is_never_due() -> None:
    assert Batch(LIMITS).remaining_seconds(1e9) == 0.5


@pytest.mark.parametrize(("count", "remaining"), [(2, 0.5), (3, 0.0), (4, 0.0)])
def test_a_batch_is_due_by_count(count: int, remaining: float) -> None:
    assert filled(count).remaining_seconds(100.0) == remaining


@pytest.mark.parametrize(("size", "remaining"), [(4000, 0.5), (5000, 0.0)])
def test_a_batch_is_due_by_bytes(size: int, remaining: float) -> None:
    assert filled(2, size=size).remaining_seconds(100.0) == remaining


@pytest.mark.parametrize(("now", "remaining"), [(100.25, 0.25), (100.5, 0.0), (200.0, 0.0)])
def test_a_batch_is_due_by_the_age_of_its_first_record(now: float, remaining: float) -> None:
    batch = filled(1)
    record = consumed(event_record(make_event()), 1)
    batch.add(record, decode(record), 100.2)
    assert batch.remaining_seconds(now) == pytest.approx(remaining)


def test_the_offsets_to_commit_are_one_past_the_last_of_each_partition() -> None:
    batch = Batch(LIMITS)
    for partition, offset in ((0, 7), (0, 8), (3, 41)):
        record = consumed(event_record(make_event()), offset, partition)
        batch.add(record, decode(record), 0.0)
    rejected = consumed(picture_record(make_event()), 5, 3)
    batch.add(rejected, Rejected(Fault.JSON, ""), 0.0)
    assert batch.next_offsets == {
        ("attendance.sign-in.v1", 0): 9,
        ("attendance.sign-in.v1", 3): 42,
        ("attendance.sensitive.v1", 3): 6,
    }


def test_records_come_out_by_kind_in_the_order_in_which_they_were_read() -> None:
    batch = Batch(LIMITS)
    events = [make_event(), make_event()]
    records = [
        consumed(event_record(events[0]), 0),
        consumed(picture_record(events[1]), 1),
        consumed(event_record(events[1]), 2),
    ]
    for record in records:
        batch.add(record, decode(record), 0.0)
    assert [record.offset for record, _ in batch.of_kind(AttendanceEvent)] == [0, 2]
    assert [record.offset for record, _ in batch.of_kind(StoredPicture)] == [1]
    assert list(batch.of_kind(Rejected)) == []
