"""What was kept long enough stays away, whatever the writer reads afterwards, between a real broker and a real database
(ADR 0023, design rule 10)."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from console_service.audit import Auditor
from console_service.metrics import ConsoleMetrics
from console_service.retention import Retention
from shared.domain.attendance import AttendanceEvent, SensitiveParts, rfc3339
from shared.domain.events import Record, sensitive_records, sign_in_record
from shared.domain.retention import DAY_MS, Kept, floor_of
from shared.runtime.clock import SystemClock
from shared.runtime.settings import KafkaSettings, MongoSettings
from shared.stores.memory_tasks import MemoryLock
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.audit import MongoAuditStore
from shared.stores.mongo.client import Database
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.retention import MongoRetentionStore
from shared.stores.operator_interfaces import AuditQuery
from tests.support.attendance import JPEG, make_event, with_picture
from tests.support.waiting import eventually
from tests.support.writers import (
    TestWriter,
    dead_letters_with,
    fresh_group,
    opened_database,
    produce,
    running,
    uncommitted,
)

NOW_MS = SystemClock().now_ms()
PICTURES_DAYS, RECORDS_DAYS = 30, 90


@pytest.fixture
async def database(mongo_settings: MongoSettings) -> AsyncIterator[Database]:
    async with opened_database(mongo_settings) as database:
        await make_indexes(database)
        yield database


def passage(days_ago: float, person_id: str) -> AttendanceEvent:
    at_ms = NOW_MS - int(days_ago * DAY_MS)
    return with_picture(make_event(person_id=person_id, record_time=at_ms, received_at=rfc3339(at_ms)))


def records_of(event: AttendanceEvent, received_ms: int) -> list[Record]:
    """As they stand in Kafka, received then."""
    received = msgspec.structs.replace(event, received_at=rfc3339(received_ms))
    parts = SensitiveParts(picture=JPEG, iris_info="iris", extra='{"x":1}')
    return [*sensitive_records(received, parts, received_ms), sign_in_record(received, received_ms)]


async def sweep(database: Database) -> None:
    """As the console does."""
    metrics = ConsoleMetrics()
    retention = Retention(
        MongoRetentionStore(database),
        Auditor(MongoAuditStore(database), SystemClock(), metrics),
        SystemClock(),
        metrics,
        {Kept.PICTURES: PICTURES_DAYS, Kept.RECORDS: RECORDS_DAYS},
    )
    await retention.work(MemoryLock())
    metrics.close()


async def contents(database: Database) -> dict[str, tuple[bool, bool, str | None]]:
    """By person: whether there is a picture's document, hasImage, and imageDropped."""
    found: dict[str, tuple[bool, bool, str | None]] = {}
    async for row in database["attendance"].find():
        has_parts = await database["pictures"].find_one({"_id": row["_id"]}) is not None
        found[row["personId"]] = (has_parts, row["hasImage"], row.get("imageDropped"))
    return found


async def test_neither_a_replay_nor_a_terminal_brings_back_what_was_kept_long_enough(
    kafka_settings: KafkaSettings, database: Database
) -> None:
    events = {days: passage(days, f"{days} days") for days in (5, 40, 100)}
    received = {days: NOW_MS - days * DAY_MS for days in events}
    then = [record for days, event in events.items() for record in records_of(event, received[days])]
    again = [record for event in events.values() for record in records_of(event, NOW_MS)]
    group_id = await fresh_group(kafka_settings)

    async def all_is_read() -> bool:
        return await uncommitted(kafka_settings, group_id) == 0

    async with running(TestWriter(kafka_settings, database, group_id)) as writer:
        await produce(kafka_settings, then)
        await eventually(lambda: (writer.counts.stored, writer.counts.pictures) == (3, 3))
        await sweep(database)
        kept = {"5 days": (True, True, None), "40 days": (False, False, "retention")}
        assert await contents(database) == kept
        await produce(kafka_settings, then)  # a replay
        await produce(kafka_settings, again)  # terminals that send again
        await produce(kafka_settings, then[::-1])
        await eventually(all_is_read)
        # At least: two parts of 40 and 100 days' each, twice in replays; the row of 100 days', three times.
        assert writer.counts.past_retention >= 2 * 2 * 2 + 3
        assert writer.counts.stored == 3
        assert await contents(database) == kept
        orphans = await database["pictures"].count_documents({"_id": events[100].event_id})
        assert orphans == 0
        assert sum(writer.counts.dead_letters.values()) == 0
    ours = {event.event_id.encode() for event in events.values()}
    letters = await dead_letters_with(kafka_settings, JPEG)
    assert [letter for letter in letters if dict(letter.headers)["ce_id"] in ours] == []
    record = await MongoAttendanceStore(database).find(events[5].event_id)
    assert record is not None
    assert record.has_image


async def test_the_audit_says_once_a_day_what_was_deleted(database: Database) -> None:
    store = MongoAuditStore(database)
    await MongoAttendanceStore(database).add_many([passage(100, "1"), passage(95, "2"), passage(1, "3")])
    for _ in range(2):
        await sweep(database)
    entries = await store.page(AuditQuery(who="retention", action="retention."))
    told = {entry.action: (entry.what, entry.after, entry.outcome) for entry in entries}
    assert len(entries) == 1  # there is no picture to go
    before = rfc3339(floor_of(NOW_MS, RECORDS_DAYS))
    assert told["retention.records"] == (
        {"keptDays": RECORDS_DAYS, "before": before},
        {"deleted": 2, "whole": True},
        "done",
    )
