"""How retention behaves, in memory and in MongoDB alike: what is past it goes, nothing brings it back (ADR 0023)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from shared.domain.attendance import AttendanceEvent, rfc3339
from shared.domain.retention import DAY_MS, Kept, floor_of
from shared.runtime.settings import MongoSettings
from shared.stores.interfaces import AttendanceQuery, AttendanceStore, PictureStore, StoredDetails, StoredPicture
from shared.stores.memory_attendance import MemoryAttendance
from shared.stores.memory_retention import MemoryRetentionStore
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.pictures import MongoPictureStore
from shared.stores.mongo.retention import MongoRetentionStore
from shared.stores.retention_interfaces import Floor, RetentionStore
from tests.support.attendance import JPEG, make_event, with_picture

FLOOR_MS = 1_764_028_800_000
"""2025-11-25T00:00:00Z."""
OLD_MS, NEW_MS = FLOOR_MS - 5 * DAY_MS, FLOOR_MS + 5 * DAY_MS


@dataclass
class Stores:
    attendance: AttendanceStore
    pictures: PictureStore
    retention: RetentionStore

    async def put(self, event: AttendanceEvent, received_ms: int) -> None:
        """As the writer does: parts first."""
        await self.pictures.add_many([picture(event, received_ms)])
        await self.pictures.add_details([details(event, received_ms)])
        await self.attendance.add_many([event])

    async def sweep(self, kind: Kept, limit: int = 10) -> int:
        """As the console does."""
        await self.retention.raise_floor(kind, FLOOR_MS)
        total = 0
        while deleted := await self.retention.delete(kind, FLOOR_MS, limit):
            assert deleted <= limit
            total += deleted
        return total

    async def is_whole(self, event: AttendanceEvent) -> bool:
        record = await self.attendance.find(event.event_id)
        has_extra = await self.pictures.extra([event.event_id]) == {event.event_id: '{"x":1}'}  # noqa: S610 - not Django's
        return (
            record is not None
            and record.event == event
            and record.has_image
            and await self.pictures.picture(event.event_id) is not None
            and has_extra
        )

    async def has_parts(self, event: AttendanceEvent) -> bool:
        extra = await self.pictures.extra([event.event_id])  # noqa: S610 - not Django's
        return bool(extra) or await self.pictures.picture(event.event_id) is not None


@pytest.fixture(params=["memory", "mongo"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "memory":
        memory = MemoryAttendance()
        yield Stores(memory.attendance_store, memory.picture_store, MemoryRetentionStore(memory))
        return
    settings: MongoSettings = request.getfixturevalue("mongo_settings")
    async with open_mongo(settings, "test") as database:
        await make_indexes(database)
        yield Stores(MongoAttendanceStore(database), MongoPictureStore(database), MongoRetentionStore(database))


def passage(received_ms: int, **members: object) -> AttendanceEvent:
    values = {"record_time": received_ms - 1000, "received_at": rfc3339(received_ms)} | members
    return with_picture(make_event(**values))


def picture(event: AttendanceEvent, received_ms: int) -> StoredPicture:
    return StoredPicture(
        event_id=event.event_id, sn=event.sn, content_type="image/jpeg", data=JPEG, received_at_ms=received_ms
    )


def details(event: AttendanceEvent, received_ms: int) -> StoredDetails:
    return StoredDetails(
        event_id=event.event_id, sn=event.sn, iris_info="iris", extra='{"x":1}', received_at_ms=received_ms
    )


async def test_the_pictures_received_before_the_floor_go_and_their_attendances_say_so(stores: Stores) -> None:
    old, new = passage(OLD_MS), passage(NEW_MS)
    await stores.put(old, OLD_MS)
    await stores.put(new, NEW_MS)
    assert await stores.sweep(Kept.PICTURES) == 1
    assert not await stores.has_parts(old)
    record = await stores.attendance.find(old.event_id)
    assert record is not None
    assert (record.has_image, record.event.image, record.event.image_dropped) == (False, None, "retention")
    assert (record.event.person_id, record.event.record_time) == (old.person_id, old.record_time)
    assert await stores.is_whole(new)


async def test_a_picture_whose_attendance_never_came_goes_too(stores: Stores) -> None:
    orphan = passage(OLD_MS)
    await stores.pictures.add_many([picture(orphan, OLD_MS)])
    assert await stores.sweep(Kept.PICTURES) == 1
    assert not await stores.has_parts(orphan)


async def test_an_attendance_that_had_no_picture_does_not_say_that_one_was_deleted(stores: Stores) -> None:
    plain = make_event(record_time=OLD_MS, received_at=rfc3339(OLD_MS))
    await stores.pictures.add_details([details(plain, OLD_MS)])
    await stores.attendance.add_many([plain])
    assert await stores.sweep(Kept.PICTURES) == 1
    record = await stores.attendance.find(plain.event_id)
    assert record is not None
    assert (record.event, record.has_image) == (plain, False)


@pytest.mark.parametrize("order", ["parts event", "event parts", "parts parts event event"])
async def test_neither_a_replay_nor_a_terminal_that_sends_again_brings_a_picture_back(
    stores: Stores, order: str
) -> None:
    event = passage(OLD_MS)
    await stores.put(event, OLD_MS)
    await stores.sweep(Kept.PICTURES)
    for received_ms in (OLD_MS, NEW_MS):  # a record of then; one that the terminal has sent anew
        again = passage(received_ms, person_id=event.person_id, record_time=event.record_time)
        assert again.event_id == event.event_id
        for what in order.split():
            if what == "parts":
                for added in (
                    await stores.pictures.add_many([picture(again, received_ms)]),
                    await stores.pictures.add_details([details(again, received_ms)]),
                ):
                    assert (added.new, added.past_retention) == (0, 1)
            else:
                assert (await stores.attendance.add_many([again])).new == 0
        assert not await stores.has_parts(event)
        record = await stores.attendance.find(event.event_id)
        assert record is not None
        assert (record.has_image, record.event.image_dropped) == (False, "retention")


async def test_a_whole_attendance_goes_with_its_parts_once_both_its_times_are_before_the_floor(stores: Stores) -> None:
    old, late, ahead = (
        passage(OLD_MS),
        passage(NEW_MS, record_time=OLD_MS),
        passage(FLOOR_MS - 1, record_time=FLOOR_MS + 1),
    )
    for event, received_ms in ((old, OLD_MS), (late, NEW_MS), (ahead, FLOOR_MS - 1)):
        await stores.put(event, received_ms)
    assert await stores.sweep(Kept.RECORDS) == 1
    assert await stores.attendance.find(old.event_id) is None
    assert not await stores.has_parts(old)
    assert await stores.is_whole(late)
    assert await stores.is_whole(ahead)


async def test_neither_a_replay_nor_a_terminal_that_sends_again_brings_an_attendance_back(stores: Stores) -> None:
    event = passage(OLD_MS)
    await stores.put(event, OLD_MS)
    await stores.sweep(Kept.PICTURES)
    await stores.sweep(Kept.RECORDS)
    for received_ms in (OLD_MS, NEW_MS):
        again = passage(received_ms, person_id=event.person_id, record_time=event.record_time)
        await stores.pictures.add_many([picture(again, received_ms)])
        await stores.pictures.add_details([details(again, received_ms)])
        added = await stores.attendance.add_many([again, passage(NEW_MS)])
        assert (added.new, added.past_retention, added.refused) == (1, 1, {})
        assert await stores.attendance.find(event.event_id) is None
        assert not await stores.has_parts(event)


async def test_an_attendance_that_is_still_kept_keeps_its_picture_though_it_is_sent_again(stores: Stores) -> None:
    late = passage(NEW_MS, record_time=OLD_MS)
    await stores.put(late, NEW_MS)
    await stores.sweep(Kept.RECORDS)
    assert (await stores.attendance.add_many([late])).past_retention == 1
    assert await stores.is_whole(late)


async def test_an_attendance_that_a_replay_brings_without_its_picture_says_why(stores: Stores) -> None:
    await stores.retention.raise_floor(Kept.PICTURES, FLOOR_MS)
    event = passage(OLD_MS)
    assert (await stores.attendance.add_many([event])).new == 1
    record = await stores.attendance.find(event.event_id)
    assert record is not None
    assert (record.has_image, record.event.image, record.event.image_dropped) == (False, None, "retention")


async def test_no_more_than_the_limit_goes_at_once_the_oldest_first(stores: Stores) -> None:
    events = [passage(OLD_MS + number) for number in range(5)]
    for number in (3, 0, 4, 1, 2):
        await stores.put(events[number], OLD_MS + number)
    assert await stores.retention.oldest_ms(Kept.PICTURES) == OLD_MS
    assert await stores.retention.oldest_ms(Kept.RECORDS) == OLD_MS
    assert await stores.retention.delete(Kept.RECORDS, FLOOR_MS, 2) == 2
    assert [await stores.attendance.find(event.event_id) is None for event in events] == [True, True, *3 * [False]]
    assert await stores.retention.oldest_ms(Kept.RECORDS) == OLD_MS + 2
    assert await stores.sweep(Kept.RECORDS, limit=2) == 3
    assert await stores.retention.oldest_ms(Kept.RECORDS) is None
    assert await stores.attendance.page(AttendanceQuery()) == []


async def test_a_deleted_persons_pictures_stay_away_after_the_attendance_is_gone(stores: Stores) -> None:
    event = passage(OLD_MS)
    await stores.put(event, OLD_MS)
    await stores.attendance.erase_person(event.person_id)
    assert await stores.sweep(Kept.PICTURES) == 0  # what was erased has no date, and is nobody's picture
    record = await stores.attendance.find(event.event_id)
    assert record is not None
    assert (record.erased, record.event.image_dropped) == (True, None)


async def test_a_floor_only_rises(stores: Stores) -> None:
    assert await stores.retention.floor(Kept.RECORDS) == Floor()
    await stores.retention.raise_floor(Kept.RECORDS, FLOOR_MS)
    await stores.retention.raise_floor(Kept.RECORDS, FLOOR_MS - DAY_MS)
    await stores.retention.swept(Kept.RECORDS, FLOOR_MS - DAY_MS)
    assert await stores.retention.floor(Kept.RECORDS) == Floor(floor_ms=FLOOR_MS, swept_ms=FLOOR_MS - DAY_MS)
    assert await stores.retention.floor(Kept.PICTURES) == Floor()


def test_the_floor_is_the_midnight_of_utc_so_many_days_ago() -> None:
    noon_ms = 1_764_072_000_000  # 2025-11-25T12:00:00Z
    assert floor_of(noon_ms, 1) == FLOOR_MS - DAY_MS
    assert floor_of(FLOOR_MS, 1) == floor_of(FLOOR_MS + DAY_MS - 1, 1) == FLOOR_MS - DAY_MS
