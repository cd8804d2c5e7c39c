"""How the store of synthetic sign-ins behaves, in memory and in MongoDB alike."""

from collections.abc import AsyncIterator

import pytest

from shared.domain.attendance import AttendanceEvent, rfc3339
from shared.runtime.clock import SystemClock
from shared.runtime.settings import MongoSettings
from shared.stores.interfaces import SyntheticAttendanceStore
from shared.stores.memory_attendance import MemorySyntheticAttendanceStore
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.synthetic_attendance import MongoSyntheticAttendanceStore
from tests.support.attendance import make_event


@pytest.fixture(params=["memory", "mongo"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SyntheticAttendanceStore]:
    if request.param == "memory":
        yield MemorySyntheticAttendanceStore()
        return
    async with open_mongo(request.getfixturevalue("mongo_settings"), "test") as database:
        await make_indexes(database)
        yield MongoSyntheticAttendanceStore(database)


def of_now(**members: object) -> AttendanceEvent:
    """What was received long ago is taken away by MongoDB itself."""
    return make_event(received_at=rfc3339(SystemClock().now_ms()), **members)


async def test_what_is_added_is_found_by_its_id_as_it_was(store: SyntheticAttendanceStore) -> None:
    event = of_now(sn="SYNTHETIC0001", temperature=36.5)
    assert (await store.add_many([event])).new == 1
    assert await store.find(event.event_id) == event
    assert await store.find("00000000-0000-5000-8000-000000000000") is None


async def test_design_2_a_repetition_is_stored_once_and_the_first_wins(store: SyntheticAttendanceStore) -> None:
    person = "p1"
    first, again, other = (of_now(person_id=person), of_now(person_id=person, temperature=40.0), of_now())
    assert (await store.add_many([first, again])).new == 1
    assert (await store.add_many([again, other])).new == 1
    found = await store.find(first.event_id)
    assert found is not None
    assert found.temperature is None


async def test_nothing_added_is_nothing_new(store: SyntheticAttendanceStore) -> None:
    assert await store.add_many([]) == await store.add_many([])
    assert (await store.add_many([])).new == 0


async def test_in_mongodb_it_is_kept_apart_and_for_a_day(mongo_settings: MongoSettings) -> None:
    event = of_now()
    async with open_mongo(mongo_settings, "test") as database:
        await make_indexes(database)
        await MongoSyntheticAttendanceStore(database).add_many([event])
        assert await MongoAttendanceStore(database).find(event.event_id) is None
        assert await database["attendance"].count_documents({}) == 0
        assert await database["synthetic_attendance"].count_documents({}) == 1
        indexes = await database["synthetic_attendance"].index_information()
    assert indexes["kept"]["expireAfterSeconds"] == 24 * 60 * 60
    assert [member for member, _ in indexes["kept"]["key"]] == ["receivedAt"]
