"""Deleted persons stay erased, whatever the writer reads afterwards, between a real broker and a real database (design
rule 10)."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.domain.attendance import AttendanceEvent, Coordinate
from shared.domain.devices import Direction
from shared.domain.events import Record
from shared.domain.persons import NewPerson
from shared.runtime.settings import KafkaSettings, MongoSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import StoredPicture
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import Database
from shared.stores.mongo.image_links import mark_has_image, stored_references
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.persons import MongoPersonStore
from shared.stores.mongo.pictures import MongoPictureStore
from tests.support.attendance import (
    JPEG,
    RECEIVED_MS,
    details_record,
    event_record,
    make_event,
    picture_record,
    with_picture,
)
from tests.support.waiting import eventually
from tests.support.writers import TestWriter, fresh_group, opened_database, produce, running, uncommitted

RECORD_TIME = 1_763_999_990_123
DELETED_MS = RECORD_TIME + 60_000
ROW = {"_id", "sn", "vendorId", "personId", "type", "recordTime", "sentAt", "receivedAt", "siteId", "direction"}


@pytest.fixture
async def database(mongo_settings: MongoSettings) -> AsyncIterator[Database]:
    async with opened_database(mongo_settings) as database:
        await make_indexes(database)
        yield database


def passage(person_id: str = "1", **members: object) -> AttendanceEvent:
    """An event with all that is erased."""
    values = {
        "person_id": person_id,
        "record_time": RECORD_TIME,
        "site_id": "s1",
        "direction": Direction.IN,
        "temperature": 36.7,
        "coordinate": Coordinate(120.1, 30.2),
        "qr_code_info": msgspec.Raw(b'{"code":"x"}'),
        "health_info": msgspec.Raw(b'{"color":"green"}'),
    } | members
    return with_picture(make_event(**values))


def records_of(event: AttendanceEvent) -> list[Record]:
    return [picture_record(event), details_record(event, "iris", '{"x":1}'), event_record(event)]


def stored_picture(event: AttendanceEvent) -> StoredPicture:
    return StoredPicture(
        event_id=event.event_id, sn=event.sn, content_type="image/jpeg", data=JPEG, received_at_ms=RECEIVED_MS
    )


async def put(database: Database, person_id: str = "1", at_ms: int = RECORD_TIME) -> None:
    await MongoPersonStore(database).put_many([NewPerson(person_id=person_id, name="张三")], at_ms)


async def delete(database: Database, person_id: str = "1") -> None:
    """As the console does: the marker first."""
    persons = MongoPersonStore(database)
    assert await persons.delete(person_id, DELETED_MS) is not None
    await MongoAttendanceStore(database).erase_person(person_id)
    await persons.erased(person_id)


async def written(kafka: KafkaSettings, database: Database, *records: Record) -> None:
    """A writer has read and stored the records, one at a time."""
    group_id = await fresh_group(kafka)
    async with running(TestWriter(kafka, database, group_id)) as writer:
        for record in records:
            before = writer.counts.batches
            await produce(kafka, [record])
            await eventually(lambda before=before: writer.counts.batches > before)
    assert await uncommitted(kafka, group_id) == 0


async def check_erased(database: Database, event: AttendanceEvent) -> None:
    """The row is all that is left, and the tombstone."""
    attendance = await database["attendance"].find_one({"_id": event.event_id})
    assert attendance is not None
    assert set(attendance) == ROW | {"hasImage", "erased"}
    assert (attendance["hasImage"], attendance["erased"]) == (False, True)
    assert await database["pictures"].find_one({"_id": event.event_id}) == {"_id": event.event_id, "erased": True}


async def check_whole(database: Database, event: AttendanceEvent) -> None:
    record = await MongoAttendanceStore(database).find(event.event_id)
    assert record is not None
    assert (record.event, record.has_image, record.erased) == (event, True, False)
    assert await MongoPictureStore(database).picture(event.event_id) is not None


async def test_a_replay_of_the_whole_topic_resurrects_nothing(
    kafka_settings: KafkaSettings, database: Database
) -> None:
    event, other = passage("1", sn="replay"), passage("2", sn="replay")
    await put(database)
    await written(kafka_settings, database, *records_of(event), *records_of(other))
    await check_whole(database, event)
    await delete(database)
    await check_erased(database, event)
    await written(kafka_settings, database, *records_of(event), *reversed(records_of(event)), *records_of(other))
    await check_erased(database, event)
    await check_whole(database, other)


@pytest.mark.parametrize("order", ["sensitive parts first", "event first"])
async def test_what_a_terminal_uploads_only_after_the_deletion_is_erased_as_it_comes(
    kafka_settings: KafkaSettings, database: Database, order: str
) -> None:
    event = passage(sn="late")
    await put(database)
    await delete(database)
    records = records_of(event)
    await written(kafka_settings, database, *(records if order == "sensitive parts first" else records[::-1]))
    await check_erased(database, event)


async def test_a_picture_that_comes_long_after_its_erased_attendance_is_not_stored(
    kafka_settings: KafkaSettings, database: Database
) -> None:
    event = passage(sn="long-after")
    await put(database)
    await written(kafka_settings, database, event_record(event))
    await delete(database)
    await written(kafka_settings, database, picture_record(event), details_record(event, "iris"))
    await check_erased(database, event)


async def test_a_picture_that_came_long_before_its_attendance_is_erased_with_it(
    kafka_settings: KafkaSettings, database: Database
) -> None:
    event = passage(sn="long-before")
    await put(database)
    await written(kafka_settings, database, picture_record(event))
    await delete(database)
    await written(kafka_settings, database, event_record(event))
    await check_erased(database, event)


async def test_of_who_is_put_again_the_time_before_stays_erased_and_what_follows_is_kept(
    kafka_settings: KafkaSettings, database: Database
) -> None:
    earlier, late = passage(sn="again"), passage(sn="again", type=2)
    following = passage(sn="again", record_time=DELETED_MS + 20_000)
    await put(database)
    await written(kafka_settings, database, *records_of(earlier))
    await delete(database)
    await put(database, at_ms=DELETED_MS + 10_000)
    await written(kafka_settings, database, *records_of(earlier), *records_of(late), *records_of(following))
    await check_erased(database, earlier)
    await check_erased(database, late)
    await check_whole(database, following)


async def test_a_writer_that_stored_before_the_marker_and_checks_after_it_leaves_nothing(database: Database) -> None:
    """The race between the two, step by step: the event is stored, the person deleted and erased, and only then does
    the writer link the picture."""
    event = passage()
    await put(database)
    pictures, attendance = MongoPictureStore(database), MongoAttendanceStore(database)
    link = attendance._link

    async def link_late(event_ids: frozenset[str]) -> None:
        await delete(database)
        await link(event_ids)

    attendance._link = link_late  # type: ignore[method-assign,assignment]
    await attendance.add_many([event])
    assert await pictures.picture(event.event_id) is None
    await check_erased(database, event)


async def test_the_link_of_a_picture_that_was_read_before_the_erasure_revives_nothing(database: Database) -> None:
    event = passage()
    await put(database)
    await MongoAttendanceStore(database).add_many([event])
    await MongoPictureStore(database).add_many([stored_picture(event)])
    read_before = await stored_references(database, [event.event_id])
    assert list(read_before) == [event.event_id]
    await delete(database)
    await mark_has_image(database, read_before)
    await check_erased(database, event)


async def test_an_erasure_that_dies_between_its_steps_is_done_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [passage(record_time=RECORD_TIME + number) for number in range(3)]
    await put(database)
    await MongoPictureStore(database).add_many([stored_picture(event) for event in events])
    attendance = MongoAttendanceStore(database)
    await attendance.add_many(events)
    await MongoPersonStore(database).delete("1", DELETED_MS)
    collection = type(database["attendance"])
    update_many = collection.update_many

    def fail(*_arguments: object, **_options: object) -> None:
        raise Unavailable("MongoDB: AutoReconnect")

    monkeypatch.setattr(collection, "update_many", fail)
    with pytest.raises(Unavailable):
        await attendance.erase_person("1")
    monkeypatch.setattr(collection, "update_many", update_many)
    await attendance.erase_person("1")
    for event in events:
        await check_erased(database, event)
