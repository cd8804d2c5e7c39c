"""How old the oldest attendance is that is not stored: exact for what is held, at least what was seen for the rest."""

from attendance_writer.batch import Batch, BatchLimits, Place
from attendance_writer.decode import decode
from attendance_writer.oldest_record import OldestRecord
from shared.domain.events import PRESENCE_TOPIC, SENSITIVE_TOPIC, SIGN_IN_TOPIC, ConsumedRecord

NOW_MS = 1_764_000_000_000
HERE: Place = (SIGN_IN_TOPIC, 0)
THERE: Place = (SENSITIVE_TOPIC, 3)


def record(topic: str, age_ms: int, offset: int = 0) -> ConsumedRecord:
    """One that is no CloudEvent: a dead letter waits to be stored, too."""
    return ConsumedRecord(topic, 0, offset, None, b"", (), NOW_MS - age_ms)


def batch_of(*records: ConsumedRecord) -> Batch:
    batch = Batch(BatchLimits(100, 10**6, 1))
    for one in records:
        batch.add(one, decode(one), 0)
    return batch


def age(oldest: OldestRecord, later_ms: int = 0, held_since_ms: int | None = None) -> float:
    return oldest.age_seconds(held_since_ms, NOW_MS + later_ms)


def test_a_batch_knows_its_oldest_attendance_by_kafkas_time_and_passes_over_presence() -> None:
    records = [record(PRESENCE_TOPIC, 9_000), record(SIGN_IN_TOPIC, 2_000), record(SENSITIVE_TOPIC, 5_000)]
    assert batch_of(*records).oldest_attendance_ms == NOW_MS - 5_000
    assert batch_of(records[0]).oldest_attendance_ms is None
    assert batch_of().oldest_attendance_ms is None


def test_a_record_without_a_time_does_not_count_as_one_of_1970() -> None:
    assert batch_of(ConsumedRecord(SIGN_IN_TOPIC, 0, 0, None, b"", ())).oldest_attendance_ms is None


def test_what_is_held_ages_while_it_is_not_stored() -> None:
    oldest = OldestRecord()
    held_since_ms = batch_of(record(SIGN_IN_TOPIC, 4_000)).oldest_attendance_ms
    assert age(oldest, 0, held_since_ms) == 4.0
    assert age(oldest, 60_000, held_since_ms) == 64.0


def test_nothing_waits_is_0_and_so_is_a_record_of_a_clock_that_runs_ahead() -> None:
    oldest = OldestRecord()
    assert age(oldest) == 0
    assert age(oldest, 0, NOW_MS + 500) == 0


def test_of_a_partition_that_is_not_fetched_the_age_counts_from_when_it_was_first_seen_behind() -> None:
    oldest = OldestRecord()
    oldest.measured({HERE: (5, 5), THERE: (7, 9)}, NOW_MS)
    assert age(oldest, 1_000) == 1.0
    oldest.measured({HERE: (5, 6), THERE: (7, 20)}, NOW_MS + 2_000)
    assert age(oldest, 3_000) == 3.0
    oldest.measured({HERE: (5, 6), THERE: (20, 20)}, NOW_MS + 4_000)
    assert age(oldest, 5_000) == 3.0  # HERE alone, since 2 s


def test_once_what_was_seen_is_stored_the_age_counts_from_the_next_measurement() -> None:
    oldest = OldestRecord()
    oldest.measured({HERE: (0, 10)}, NOW_MS)
    oldest.measured({HERE: (9, 50)}, NOW_MS + 10_000)
    assert age(oldest, 10_000) == 10.0
    oldest.measured({HERE: (10, 50)}, NOW_MS + 12_000)
    assert age(oldest, 12_000) == 0.0
    assert age(oldest, 13_000) == 1.0


def test_a_commit_ends_it_without_waiting_for_the_next_measurement_and_a_part_of_it_does_not() -> None:
    oldest = OldestRecord()
    oldest.measured({HERE: (0, 10), THERE: (0, 4)}, NOW_MS)
    oldest.committed({HERE: 9, THERE: 4})
    assert age(oldest, 1_000) == 1.0
    oldest.committed({HERE: 10})
    assert age(oldest, 1_000) == 0


def test_presence_and_partitions_that_were_given_away_do_not_count() -> None:
    oldest = OldestRecord()
    oldest.measured({(PRESENCE_TOPIC, 0): (0, 99)}, NOW_MS)
    assert age(oldest, 1_000) == 0
    oldest.measured({HERE: (0, 1)}, NOW_MS)
    oldest.measured({}, NOW_MS + 2_000)
    assert age(oldest, 3_000) == 0
