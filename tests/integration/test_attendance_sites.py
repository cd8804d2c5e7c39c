"""Device and attendance reach MongoDB in either order, and each attendance has its site in the end (design rule 11)."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from shared.domain.attendance import AttendanceEvent
from shared.domain.devices import Device, Direction, SiteSpan
from shared.runtime.settings import MongoSettings
from shared.stores.mongo import site_links
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.indexes import make_indexes
from tests.support.attendance import make_event
from tests.support.session_values import NOW_MS, make_device

SN = "1388186"
HISTORY = (SiteSpan(0, "s1", Direction.IN),)


class Stores:
    """The two sides, and what each does."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.attendance = MongoAttendanceStore(database)
        self.devices = MongoDeviceStore(database)

    async def assign(self, sn: str = SN, history: tuple[SiteSpan, ...] = HISTORY) -> None:
        """As session does: the device first, then the attendances."""
        earlier = (await self.devices.find([sn]))[sn]
        await self.devices.replace(earlier, assigned(earlier, history))
        await self.attendance.fill_in_site(sn, history)

    async def places(self, events: Sequence[AttendanceEvent]) -> list[tuple[str | None, Direction | None]]:
        """Where the stored attendances say that their terminal stood."""
        records = [await self.attendance.find(event.event_id) for event in events]
        return [(record.event.site_id, record.event.direction) for record in records if record is not None]


def assigned(device: Device, history: tuple[SiteSpan, ...]) -> Device:
    return msgspec.structs.replace(device, site_history=history, changed_at_ms=NOW_MS)


@pytest.fixture
async def stores(mongo_settings: MongoSettings) -> AsyncIterator[Stores]:
    async with open_mongo(mongo_settings, "test") as database:
        await make_indexes(database)
        stores = Stores(database)
        await stores.devices.register([make_device(SN)])
        yield stores


async def test_rule_11_attendances_first_and_the_device_assigned_later(stores: Stores) -> None:
    events = [make_event() for _ in range(5)]
    await stores.attendance.add_many(events)
    assert await stores.places(events) == [(None, None)] * 5
    await stores.assign()
    assert await stores.places(events) == [("s1", Direction.IN)] * 5


async def test_rule_11_the_device_assigned_first_and_an_event_of_before_stored_later(stores: Stores) -> None:
    await stores.assign(history=(SiteSpan(0, "s1", None), SiteSpan(2000, None, Direction.OUT)))
    early, late = make_event(record_time=1999), make_event(record_time=2000)
    foreign = make_event(sn="nobody's", record_time=1999)
    await stores.attendance.add_many([early, late, foreign])
    assert await stores.places([early, late, foreign]) == [("s1", None), (None, Direction.OUT), (None, None)]


async def test_rule_11_the_device_assigned_between_insert_and_look_up(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The assignment comes whole between the two steps of the writer: it sees the attendance, whose writer sees it."""
    fill_in_events = site_links.fill_in_events

    async def assigned_first(database: Database, events: Sequence[AttendanceEvent]) -> None:
        await stores.assign()
        await fill_in_events(database, events)

    monkeypatch.setattr("shared.stores.mongo.attendance.fill_in_events", assigned_first)
    event = make_event()
    await stores.attendance.add_many([event])
    assert await stores.places([event]) == [("s1", Direction.IN)]


async def test_rule_11_a_writer_that_ended_after_its_insert_leaves_nothing_without_its_site(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The assignment's update passed before the insert; the writer's first attempt ended right after it."""
    await stores.assign()

    async def crashed(_database: Database, _events: Sequence[AttendanceEvent]) -> None:
        raise asyncio.CancelledError

    event = make_event()
    with monkeypatch.context() as patched:
        patched.setattr("shared.stores.mongo.attendance.fill_in_events", crashed)
        with pytest.raises(asyncio.CancelledError):
            await stores.attendance.add_many([event])
    assert await stores.places([event]) == [(None, None)]
    await stores.attendance.add_many([event])
    assert await stores.places([event]) == [("s1", Direction.IN)]


async def test_rule_11_whoever_is_first_every_attendance_has_its_site(stores: Stores) -> None:
    """Thirty devices, each assigned while its attendances are being stored."""
    sns = [f"sn-{number}" for number in range(30)]
    await stores.devices.register([make_device(sn) for sn in sns])
    events = {sn: [make_event(sn=sn) for _ in range(4)] for sn in sns}

    async def store(sn: str, number: int) -> None:
        await asyncio.sleep(number % 7 / 1000)
        await stores.attendance.add_many(events[sn])

    async def assign(sn: str, number: int) -> None:
        await asyncio.sleep(number % 5 / 1000)
        await stores.assign(sn)

    await asyncio.gather(*(act(sn, number) for number, sn in enumerate(sns) for act in (store, assign)))
    for sn in sns:
        assert await stores.places(events[sn]) == [("s1", Direction.IN)] * 4


async def test_an_event_that_knows_its_place_asks_nothing_more() -> None:
    class NoDatabase:
        def __getitem__(self, name: str) -> object:
            raise AssertionError(f"{name} was asked")

    known = make_event(site_id="s1", direction=Direction.IN)
    await site_links.fill_in_events(NoDatabase(), [known])  # type: ignore[arg-type]  # must not be touched
    with pytest.raises(AssertionError, match="devices was asked"):
        await site_links.fill_in_events(NoDatabase(), [make_event()])  # type: ignore[arg-type]  # is touched
