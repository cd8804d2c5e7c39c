"""The last known presence in MongoDB: fenced, and only of devices that are registered (design rules 3, 6)."""

from collections.abc import AsyncIterator

import pytest

from shared.domain.attendance import rfc3339
from shared.domain.devices import Direction, SiteSpan
from shared.domain.presence import OfflineReason, Presence, PresenceState
from shared.runtime.settings import MongoSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.credentials import MongoCredentialStore
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.presence import MongoPresenceRecordStore
from stack.mongo_part import MongoPart
from tests.support.presence import SN, make_presence
from tests.support.session_values import NOW_MS, make_device, make_vendor

HERE, THERE = (SiteSpan(NOW_MS, site_id, Direction.IN) for site_id in ("s1", "s2"))
NOWHERE = SiteSpan(NOW_MS + 1, None, None)
ONLINE, OFFLINE, CHANGED = PresenceState.ONLINE, PresenceState.OFFLINE, PresenceState.CHANGED


@pytest.fixture
async def database(mongo_settings: MongoSettings) -> AsyncIterator[Database]:
    async with open_mongo(mongo_settings, "test") as database:
        await make_indexes(database)
        await MongoDeviceStore(database).register([make_device(SN), make_device("other")])
        yield database


@pytest.fixture
def store(database: Database) -> MongoPresenceRecordStore:
    return MongoPresenceRecordStore(database)


async def online(store: MongoPresenceRecordStore) -> tuple[bool, int]:
    """Whether the device is, and under which epoch."""
    found = (await store.find([SN]))[SN]
    return found.online, found.epoch


async def test_what_an_event_knows_is_stored_and_what_it_does_not_know_stays(store: MongoPresenceRecordStore) -> None:
    facts = {"address": "192.0.2.1", "device_version": "v14", "device_ip": "10.0.0.2", "clock_skew_seconds": -3}
    await store.apply([make_presence(ONLINE, 7, **facts)])
    expected = Presence(sn=SN, vendor_id="v1", online=True, epoch=7, last_seen_ms=NOW_MS, **facts)  # type: ignore[arg-type]  # as named above
    assert await store.find([SN, "other"]) == {SN: expected}
    gone = make_presence(OFFLINE, 7, last_seen_at=rfc3339(NOW_MS + 9_000), reason=OfflineReason.INGRESS_LOST)
    await store.apply([gone])
    expected = Presence(sn=SN, vendor_id="v1", online=False, epoch=7, last_seen_ms=NOW_MS + 9_000, **facts)  # type: ignore[arg-type]  # as named above
    assert await store.find([SN]) == {SN: expected}


@pytest.mark.parametrize(
    ("earlier", "late"),
    [
        pytest.param((ONLINE, 8), (OFFLINE, 7), id="the offline of an earlier connection"),
        pytest.param((ONLINE, 8), (ONLINE, 7), id="the online of an earlier connection"),
        pytest.param((OFFLINE, 8), (CHANGED, 8), id="a change after the end of its connection"),
        pytest.param((OFFLINE, 8), (ONLINE, 8), id="a repeated online after the end of its connection"),
    ],
)
async def test_design_6_a_stale_event_changes_nothing(
    store: MongoPresenceRecordStore, earlier: tuple[PresenceState, int], late: tuple[PresenceState, int]
) -> None:
    await store.apply([make_presence(*earlier)])
    await store.apply([make_presence(*late, device_version="stale")])
    assert await online(store) == (earlier[0] is ONLINE, earlier[1])
    assert (await store.find([SN]))[SN].device_version is None


async def test_events_are_taken_in_order_and_a_replay_ends_the_same(store: MongoPresenceRecordStore) -> None:
    events = [
        make_presence(ONLINE, 1),
        make_presence(CHANGED, 1, last_seen_at=rfc3339(NOW_MS + 5)),
        make_presence(OFFLINE, 1, last_seen_at=rfc3339(NOW_MS + 6)),
        make_presence(ONLINE, 2, last_seen_at=rfc3339(NOW_MS + 7)),
    ]
    for _ in range(2):
        await store.apply(events)
        assert await online(store) == (True, 2)
        assert (await store.find([SN]))[SN].last_seen_ms == NOW_MS + 7


async def test_old_events_replayed_change_nothing_of_what_is_stored(
    store: MongoPresenceRecordStore, database: Database
) -> None:
    """As after a crash before the commit: every tail of the past comes again, each event with facts of its own."""
    past = [
        make_presence(ONLINE, 1, device_version="a"),
        make_presence(CHANGED, 1, last_seen_at=rfc3339(NOW_MS + 5), device_version="b"),
        make_presence(OFFLINE, 1, last_seen_at=rfc3339(NOW_MS + 6), device_version="c"),
        make_presence(ONLINE, 2, last_seen_at=rfc3339(NOW_MS + 7), device_version="d"),
        make_presence(CHANGED, 2, last_seen_at=rfc3339(NOW_MS + 9), device_version="e"),
    ]
    await store.apply(past)
    stored = await database["devices"].find_one({"_id": SN})
    assert stored is not None
    assert stored["presence"] == {"epoch": 2, "online": True, "lastSeenMs": NOW_MS + 9, "deviceVersion": "e"}
    for begin in range(len(past)):
        await store.apply(past[begin:-1])
        assert await database["devices"].find_one({"_id": SN}) == stored
        await store.apply(past[begin:])
        assert await database["devices"].find_one({"_id": SN}) == stored


def known(epoch: int, online: bool, seen_ms: int) -> dict[str, object]:
    return {"epoch": epoch, "online": online, "lastSeenMs": seen_ms}


EARLIER, EARLIER_ENDED = known(6, True, NOW_MS + 1), known(6, False, NOW_MS + 1)
SAME, SAME_SEEN_LATER, SAME_ENDED = known(7, True, NOW_MS), known(7, True, NOW_MS + 1), known(7, False, NOW_MS - 1)
LATER, LATER_ENDED = known(8, True, NOW_MS - 1), known(8, False, NOW_MS - 1)


@pytest.mark.parametrize(
    ("state", "follows"),
    [
        (ONLINE, [None, EARLIER, EARLIER_ENDED, SAME]),
        (CHANGED, [None, EARLIER, EARLIER_ENDED, SAME]),
        (OFFLINE, [None, EARLIER, EARLIER_ENDED, SAME, SAME_SEEN_LATER, SAME_ENDED]),
    ],
)
async def test_design_6_an_event_follows_these_states_and_no_others(
    store: MongoPresenceRecordStore, database: Database, state: PresenceState, follows: list[dict[str, object] | None]
) -> None:
    for before in (None, EARLIER, EARLIER_ENDED, SAME, SAME_SEEN_LATER, SAME_ENDED, LATER, LATER_ENDED):
        change = {"$unset": {"presence": ""}} if before is None else {"$set": {"presence": before}}
        await database["devices"].update_one({"_id": SN}, change)
        await store.apply([make_presence(state, 7)])
        after = await database["devices"].find_one({"_id": SN})
        assert after is not None
        expected = known(7, state is not OFFLINE, NOW_MS) if before in follows else before
        assert after.get("presence") == expected, before


async def test_an_older_change_of_the_same_connection_changes_nothing(store: MongoPresenceRecordStore) -> None:
    await store.apply([make_presence(ONLINE, 1, last_seen_at=rfc3339(NOW_MS + 5), device_version="new")])
    await store.apply([make_presence(CHANGED, 1, device_version="old")])
    assert (await store.find([SN]))[SN].device_version == "new"


async def test_a_device_that_is_not_registered_is_not_made(store: MongoPresenceRecordStore, database: Database) -> None:
    await store.apply([make_presence(sn="unknown")])
    assert await store.find(["unknown"]) == {}
    assert await database["devices"].count_documents({}) == 2


async def test_the_devices_that_are_online_come_in_pages(store: MongoPresenceRecordStore, database: Database) -> None:
    sns = [f"sn-{number}" for number in range(5)]
    await MongoDeviceStore(database).register([make_device(sn) for sn in sns])
    await store.apply([make_presence(sn=sn) for sn in sns])
    await store.apply([make_presence(OFFLINE, sn="sn-1")])
    first = await store.online_page(None, 2)
    second = await store.online_page(first[-1].sn, 10)
    assert [one.sn for one in [*first, *second]] == ["sn-0", "sn-2", "sn-3", "sn-4"]


async def test_the_presence_of_a_device_leaves_what_it_is_as_it_is(
    store: MongoPresenceRecordStore, database: Database
) -> None:
    devices = MongoDeviceStore(database)
    before = await devices.find([SN])
    await store.apply([make_presence()])
    assert await devices.find([SN]) == before


async def test_mongodb_out_of_reach_is_unavailable(mongo_settings: MongoSettings, mongo_part: MongoPart) -> None:
    quick = mongo_settings.model_copy(update={"timeout_ms": 500})
    async with open_mongo(quick, "test") as database:
        store = MongoPresenceRecordStore(database)
        mongo_part.suspend()
        try:
            with pytest.raises(Unavailable):
                await store.apply([make_presence()])
        finally:
            mongo_part.resume()


async def test_devices_are_counted_by_the_site_where_they_stand_now_and_disabled_ones_are_left_out(
    database: Database, store: MongoPresenceRecordStore
) -> None:
    at_sites = {
        "moved": (THERE, HERE),
        "gone": (HERE,),
        "never-seen": (HERE,),
        "taken-away": (HERE, NOWHERE),
        "elsewhere": (THERE,),
    }
    devices = [make_device(sn, site_history=history) for sn, history in at_sites.items()]
    disabled = make_device("disabled", site_history=(HERE,), disabled=True)
    await MongoDeviceStore(database).register([*devices, disabled])
    events = {"moved": ONLINE, "gone": OFFLINE, "elsewhere": ONLINE, "disabled": ONLINE, SN: ONLINE}
    await store.apply([make_presence(state, sn=sn) for sn, state in events.items()])
    # without a site: the two of the fixture, of which one is online, and the one that was taken away
    assert await store.count_by_site() == {
        ("s1", True): 1,
        ("s1", False): 2,
        ("s2", True): 1,
        (None, True): 1,
        (None, False): 2,
    }


async def test_devices_of_synthetic_vendors_stand_at_no_site_and_are_not_counted(
    database: Database, store: MongoPresenceRecordStore
) -> None:
    before = await store.count_by_site()
    await MongoCredentialStore(database).add_vendor(make_vendor("v-measuring", synthetic=True))
    await MongoCredentialStore(database).add_vendor(make_vendor("v-real"))
    measuring = make_device("SYNTHETIC0001", "v-measuring", site_history=(HERE,))
    await MongoDeviceStore(database).register([measuring, make_device("real", "v-real", site_history=(HERE,))])
    assert await store.count_by_site() == {**before, ("s1", False): 1}
