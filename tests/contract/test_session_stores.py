"""Stores of session behave alike in memory, Redis and MongoDB."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.domain.control import ControlEntry, CredentialRevoked, DeviceChanged, DeviceDisabled, SessionReplaced
from shared.domain.devices import Device, Direction, SiteSpan
from shared.domain.sites import Site
from shared.protocol.signatures import SignForm
from shared.runtime.clock import SystemClock
from shared.runtime.settings import MongoSettings
from shared.stores.interfaces import ControlStream, CredentialStore, DeviceStore, EndedStore, SessionStore, SiteStore
from shared.stores.memory import (
    MemoryControlStream,
    MemoryCredentialStore,
    MemoryDeviceStore,
    MemoryEndedStore,
    MemorySessionStore,
    MemorySiteStore,
)
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.credentials import MongoCredentialStore
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.sites import MongoSiteStore
from shared.stores.redis.client import open_redis
from shared.stores.redis.control_stream import RedisControlStream
from shared.stores.redis.ended import RedisEndedStore
from shared.stores.redis.sessions import RedisSessionStore
from tests.support.session_values import (
    NOW_MS,
    make_credential,
    make_device,
    make_new_session,
    make_vendor,
)


class Stores(msgspec.Struct):
    """One implementation of each."""

    credentials: CredentialStore
    devices: DeviceStore
    sites: SiteStore


class RedisLike(msgspec.Struct):
    """One implementation of each; `control` is a reader that has begun."""

    sessions: SessionStore
    ended: EndedStore
    control: ControlStream


@pytest.fixture(params=["memory", "mongo"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "memory":
        yield Stores(MemoryCredentialStore(), MemoryDeviceStore(), MemorySiteStore())
        return
    async with open_mongo(request.getfixturevalue("mongo_settings"), "test") as database:
        await make_indexes(database)
        yield Stores(MongoCredentialStore(database), MongoDeviceStore(database), MongoSiteStore(database))


@pytest.fixture(params=["memory", "redis"])
async def redis_like(request: pytest.FixtureRequest) -> AsyncIterator[RedisLike]:
    if request.param == "memory":
        clock, control = SystemClock(), MemoryControlStream()
        assert await control.read(1) is None
        yield RedisLike(MemorySessionStore(clock, control), MemoryEndedStore(clock, control), control)
        return
    async with open_redis(request.getfixturevalue("redis_settings")) as redis:
        reader = RedisControlStream(redis)
        assert await reader.read(1) is None
        yield RedisLike(RedisSessionStore(redis), RedisEndedStore(redis), reader)


# ── vendors and credentials ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_group_of_credentials_is_found_with_their_vendors_and_unknown_ones_are_absent(stores: Stores) -> None:
    pinned = make_vendor("v2", sign_form=SignForm.SORTED, time_window_seconds=3600, synthetic=True)
    await stores.credentials.add_vendor(make_vendor("v1"))
    await stores.credentials.add_vendor(pinned)
    first, second = make_credential("a1"), make_credential("a2", "v2", sealed_secret=bytes(range(256)))
    await stores.credentials.add_credential(first)
    await stores.credentials.add_credential(second)
    found = await stores.credentials.find_credentials(["a2", "nobody's", "a1", "a2"])
    assert found == {"a1": (first, make_vendor("v1")), "a2": (second, pinned)}


async def test_a_vendor_that_an_older_release_stored_is_not_synthetic(mongo_settings: MongoSettings) -> None:
    async with open_mongo(mongo_settings, "test") as database:
        stored = {"_id": "v1", "name": "Maker", "signForm": None, "timeWindowSeconds": None, "createdAtMs": NOW_MS}
        await database["vendors"].insert_one(stored)
        assert await MongoCredentialStore(database).vendor("v1") == make_vendor("v1")


async def test_vendors_are_paged_in_order_of_their_id(stores: Stores) -> None:
    for number in (3, 1, 2):
        await stores.credentials.add_vendor(make_vendor(f"v{number}"))
    first = await stores.credentials.vendors(None, 2)
    second = await stores.credentials.vendors(first[-1].vendor_id, 2)
    assert [vendor.vendor_id for vendor in [*first, *second]] == ["v1", "v2", "v3"]
    assert await stores.credentials.vendor("v2") == make_vendor("v2")
    assert await stores.credentials.vendor("v9") is None


async def test_credentials_of_vendors_come_oldest_first(stores: Stores) -> None:
    later, earlier = make_credential("a1", created_at_ms=NOW_MS + 1), make_credential("a2")
    await stores.credentials.add_credential(later)
    await stores.credentials.add_credential(earlier)
    assert await stores.credentials.credentials_of(["v1", "v2"]) == {"v1": [earlier, later], "v2": []}


async def test_a_revocation_keeps_its_first_time_and_is_the_vendors_own(stores: Stores) -> None:
    await stores.credentials.add_credential(make_credential("a1"))
    await stores.credentials.add_credential(make_credential("a2"))
    assert await stores.credentials.revoke("v2", "a1", NOW_MS) is None
    assert await stores.credentials.revoke("v1", "a9", NOW_MS) is None
    first = await stores.credentials.revoke("v1", "a1", NOW_MS + 5)
    again = await stores.credentials.revoke("v1", "a1", NOW_MS + 9)
    assert first == again == make_credential("a1", revoked_at_ms=NOW_MS + 5)
    assert await stores.credentials.revoked_since(NOW_MS + 5) == [first]
    assert await stores.credentials.revoked_since(NOW_MS + 6) == []


# ── devices ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_of_two_vendors_that_register_one_sn_the_first_keeps_it(stores: Stores) -> None:
    assert await stores.devices.register([make_device("1", "v1")]) == {"1": make_device("1", "v1")}
    both = await stores.devices.register([make_device("1", "v2"), make_device("2", "v2")])
    assert both == {"1": make_device("1", "v1"), "2": make_device("2", "v2")}


async def test_of_two_vendors_in_one_group_the_first_keeps_the_sn(stores: Stores) -> None:
    stored = await stores.devices.register([make_device("1", "v1"), make_device("1", "v2")])
    assert stored == {"1": make_device("1", "v1")} == await stores.devices.find(["1"])


async def test_many_vendors_that_race_for_one_sn_all_learn_the_same_owner(stores: Stores) -> None:
    answers = await asyncio.gather(*(stores.devices.register([make_device("1", f"v{number}")]) for number in range(8)))
    assert len({answer["1"].vendor_id for answer in answers}) == 1


async def test_a_device_is_read_back_as_it_was_stored(stores: Stores) -> None:
    history = (SiteSpan(NOW_MS, "s1", Direction.IN), SiteSpan(NOW_MS + 1, None, None))
    device = make_device(
        "设备-1", name="东门", disabled=True, disabled_at_ms=NOW_MS, time_window_seconds=90, site_history=history
    )
    await stores.devices.register([device])
    found = await stores.devices.find(["设备-1", "2", "设备-1"])
    assert found == {"设备-1": device}
    # An int of another type is equal, and fails where it is to be encoded: a session carries the history to Redis
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found["设备-1"]), type=Device) == device


async def test_devices_are_paged_in_order_of_sn(stores: Stores) -> None:
    await stores.devices.register([make_device(sn) for sn in ("c", "a", "b")])
    first = await stores.devices.page(None, 2)
    assert [device.sn for device in [*first, *await stores.devices.page("b", 2)]] == ["a", "b", "c"]


async def test_registering_nobody_asks_nothing(stores: Stores) -> None:
    assert await stores.devices.register([]) == {}


async def test_a_change_is_stored_once_and_a_racing_one_is_told_to_look_again(stores: Stores) -> None:
    device = make_device("1")
    await stores.devices.register([device])
    named = msgspec.structs.replace(device, name="东门", changed_at_ms=NOW_MS + 1)
    moved = msgspec.structs.replace(
        device, site_history=(SiteSpan(0, "s1", None),), time_window_seconds=90, changed_at_ms=NOW_MS + 1
    )
    assert await stores.devices.replace(device, named)
    assert not await stores.devices.replace(device, moved)
    assert await stores.devices.find(["1"]) == {"1": named}
    again = msgspec.structs.replace(moved, changed_at_ms=NOW_MS + 2)
    assert await stores.devices.replace(named, again)
    assert await stores.devices.find(["1"]) == {"1": again}


async def test_a_change_is_unsettled_until_it_is_settled_and_a_later_one_is_not_settled_with_it(
    stores: Stores,
) -> None:
    device = make_device("1")
    await stores.devices.register([device, make_device("2")])
    first = msgspec.structs.replace(device, name="a", changed_at_ms=NOW_MS + 1)
    second = msgspec.structs.replace(device, name="b", changed_at_ms=NOW_MS + 2)
    assert await stores.devices.unsettled(NOW_MS + 9, 10) == []
    await stores.devices.replace(device, first)
    await stores.devices.replace(first, second)
    await stores.devices.settle(first)
    assert await stores.devices.unsettled(NOW_MS + 1, 10) == []
    assert await stores.devices.unsettled(NOW_MS + 2, 10) == [second]
    await stores.devices.settle(second)
    assert await stores.devices.unsettled(NOW_MS + 9, 10) == []


async def test_unsettled_changes_come_oldest_first_and_not_more_than_asked(stores: Stores) -> None:
    for number in (3, 1, 2):
        device = make_device(str(number))
        await stores.devices.register([device])
        await stores.devices.replace(device, msgspec.structs.replace(device, changed_at_ms=NOW_MS + number))
    found = await stores.devices.unsettled(NOW_MS + 9, 2)
    assert [device.sn for device in found] == ["1", "2"]


async def test_rule_5_devices_disabled_since_a_time_are_found_though_they_are_enabled_again(stores: Stores) -> None:
    disabled = make_device("1", disabled=True, disabled_at_ms=NOW_MS, changed_at_ms=NOW_MS)
    enabled = make_device("2", disabled=False, disabled_at_ms=NOW_MS + 5, changed_at_ms=NOW_MS + 7)
    await stores.devices.register([disabled, enabled, make_device("3")])
    assert sorted(device.sn for device in await stores.devices.disabled_since(NOW_MS)) == ["1", "2"]
    assert await stores.devices.disabled_since(NOW_MS + 1) == [enabled]
    assert await stores.devices.disabled_since(NOW_MS + 6) == []


async def test_the_devices_of_a_site_are_those_that_stand_there_now(stores: Stores) -> None:
    def device(sn: str, *spans: tuple[int, str | None]) -> Device:
        return make_device(sn, site_history=tuple(SiteSpan(since_ms, site_id, None) for since_ms, site_id in spans))

    await stores.devices.register(
        [
            device("3", (0, "s1")),
            device("1", (0, "s2"), (NOW_MS, "s1")),
            device("moved-away", (0, "s1"), (NOW_MS, "s2")),
            device("moves-later", (0, None), (NOW_MS + 1, "s1")),
            device("nowhere"),
        ]
    )
    assert [one.sn for one in await stores.devices.at_site("s1", NOW_MS)] == ["1", "3"]
    assert list(await stores.devices.at_site("s9", NOW_MS)) == []


async def test_devices_at_some_sites_are_paged_and_those_that_stood_there_once_are_passed_over(stores: Stores) -> None:
    def device(sn: str, *site_ids: str | None, changed_at_ms: int = NOW_MS) -> Device:
        history = tuple(SiteSpan(NOW_MS + number, site_id, None) for number, site_id in enumerate(site_ids))
        return make_device(sn, site_history=history, changed_at_ms=changed_at_ms)

    await stores.devices.register(
        [
            *(device(f"a{number}", "s1", "s9") for number in range(1, 6)),
            device("b", "s1"),
            device("c", "s9"),
            device("d", "s2"),
            device("e", "s1", None),
            device("f", "s9", "s1", "s2"),
            device("g"),
            device("h", "s9", "s1"),
            # by the console's clock it is still at s9: session's, which dated the change, runs ahead
            device("i", "s9", "s9", "s9", "s1", changed_at_ms=NOW_MS + 3),
            # and this one moves in a time to come
            device("j", "s9", "s9", "s9", "s1"),
        ]
    )

    async def paged(after: str | None, limit: int) -> list[str]:
        found = await stores.devices.page_at_sites(frozenset({"s1", "s2"}), NOW_MS + 2, after, limit)
        return [one.sn for one in found]

    assert await paged(None, 9) == ["b", "d", "f", "h", "i"]
    assert await paged(None, 1) == ["b"]
    assert await paged("b", 2) == ["d", "f"]
    assert await paged("f", 2) == ["h", "i"]
    assert await paged("i", 2) == []
    assert list(await stores.devices.page_at_sites(frozenset({"s3"}), NOW_MS, None, 9)) == []


# ── sites ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_sites_are_found_and_paged_in_order_of_their_id(stores: Stores) -> None:
    sites = {number: Site(site_id=f"s{number}", name=f"工地 {number}", created_at_ms=NOW_MS) for number in (3, 1, 2)}
    for site in sites.values():
        await stores.sites.add(site)
    first = await stores.sites.page(None, 2)
    assert [*first, *await stores.sites.page(first[-1].site_id, 2)] == [sites[1], sites[2], sites[3]]
    assert await stores.sites.find(["s2", "s9", "s2"]) == {"s2": sites[2]}


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_t1_sessions_are_found_by_token_in_the_order_asked(redis_like: RedisLike) -> None:
    opened = await redis_like.sessions.open_many([make_new_session("t1", "设备/1"), make_new_session("t2", "2")])
    assert await redis_like.sessions.find(["t2", "none", "t1"]) == [opened[1], None, opened[0]]
    assert opened[0] == make_new_session("t1", "设备/1").session


async def test_t1_a_new_session_replaces_the_earlier_one_and_every_ingress_is_told(redis_like: RedisLike) -> None:
    await redis_like.sessions.open_many([make_new_session("t1", '"设备"/\\1')])
    await redis_like.sessions.open_many([make_new_session("t2", '"设备"/\\1')])
    assert [found is not None for found in await redis_like.sessions.find(["t1", "t2"])] == [False, True]
    assert await redis_like.control.read(100) == [SessionReplaced('"设备"/\\1', "t1")]


async def test_t1_within_a_group_the_later_session_of_an_sn_replaces_the_earlier(redis_like: RedisLike) -> None:
    await redis_like.sessions.open_many([make_new_session("t1"), make_new_session("t2")])
    assert [found is not None for found in await redis_like.sessions.find(["t1", "t2"])] == [False, True]


async def test_rule_4_a_changed_device_keeps_token_and_session_and_every_ingress_is_told_once(
    redis_like: RedisLike,
) -> None:
    (opened, other) = await redis_like.sessions.open_many(
        [make_new_session("t1", "设备"), make_new_session("t2", "other")]
    )
    history = (SiteSpan(0, "s1", Direction.BOTH), SiteSpan(NOW_MS, None, None))
    for _ in range(2):
        await redis_like.sessions.update_device("设备", history, 900)
    assert opened is not None
    updated = msgspec.structs.replace(opened, site_history=history, time_window_seconds=900)
    assert await redis_like.sessions.find(["t1", "t2"]) == [updated, other]
    assert await redis_like.control.read(100) == [DeviceChanged("设备")]


async def test_rule_4_a_device_without_a_session_is_none_that_changed(redis_like: RedisLike) -> None:
    await redis_like.sessions.update_device("1388186", (), 900)
    assert await redis_like.control.read(10) == []


async def test_e4_a_sign_opens_one_session_within_its_window(redis_like: RedisLike) -> None:
    first, within_group = await redis_like.sessions.open_many(
        [make_new_session("t1", sign="s"), make_new_session("t2", sign="s")]
    )
    assert (first is not None, within_group) == (True, None)
    assert await redis_like.sessions.open_many([make_new_session("t3", sign="s")]) == [None]
    assert (await redis_like.sessions.find(["t1"]))[0] == first  # a replay replaces nothing
    assert await redis_like.sessions.find(["t2", "t3"]) == [None, None]


async def test_e4_a_sign_may_open_a_session_again_after_its_window(redis_like: RedisLike) -> None:
    await redis_like.sessions.open_many([make_new_session("t1", sign="s", window_ms=30)])
    await asyncio.sleep(0.06)
    assert (await redis_like.sessions.open_many([make_new_session("t2", sign="s")]))[0] is not None


async def test_renewing_a_token_that_does_not_exist_makes_none(redis_like: RedisLike) -> None:
    await redis_like.sessions.renew([("none", "1388186")])
    await redis_like.sessions.renew([])
    assert await redis_like.sessions.find(["none"]) == [None]
    assert await redis_like.sessions.find([]) == []


async def test_failures_are_counted_for_each_source_within_a_window(redis_like: RedisLike) -> None:
    counts = await redis_like.sessions.count_failures(["a", "b", "a"], 60_000)
    assert [one.count for one in counts] == [1, 1, 2]
    assert all(59_000 < one.window_left_ms <= 60_000 for one in counts)
    assert [one.count for one in await redis_like.sessions.count_failures(["a"], 60_000)] == [3]
    assert await redis_like.sessions.count_failures([], 60_000) == []


async def test_a_window_of_failures_ends_though_failing_goes_on(redis_like: RedisLike) -> None:
    await redis_like.sessions.count_failures(["a"], 50)
    await asyncio.sleep(0.03)
    await redis_like.sessions.count_failures(["a"], 50)
    await asyncio.sleep(0.03)
    assert [one.count for one in await redis_like.sessions.count_failures(["a"], 50)] == [1]


# ── endings ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_ended_credential_covers_its_sessions_and_is_told_once(redis_like: RedisLike) -> None:
    await redis_like.ended.end_credential("a1")
    await asyncio.sleep(0.005)  # a later time, which must not count
    await redis_like.ended.end_credential("a1")
    ended = await redis_like.ended.load()
    (entry,) = await redis_like.control.read(100) or ()
    assert entry == CredentialRevoked("a1", ended.credentials["a1"])
    (opened,) = await redis_like.sessions.open_many([make_new_session("t1")])
    assert opened is not None
    assert ended.covers(opened)


async def test_a_disabled_device_ends_what_was_judged_before_and_each_later_time_is_told_once(
    redis_like: RedisLike,
) -> None:
    now_ms = SystemClock().now_ms()
    await redis_like.ended.end_device("设备", now_ms)
    await redis_like.ended.end_device("设备", now_ms)
    await redis_like.ended.end_device("设备", now_ms - 1)
    ended = await redis_like.ended.load()
    assert ended.devices == {"设备": now_ms}
    # Judged before, opened after
    new = make_new_session("t1", "设备")
    (late,) = await redis_like.sessions.open_many([new])
    judged_after = msgspec.structs.replace(new.session, token="t2", device_disabled_at_ms=now_ms)
    (after,) = await redis_like.sessions.open_many([msgspec.structs.replace(new, session=judged_after, sign="s2")])
    assert late is not None
    assert after is not None
    assert (ended.covers(late), ended.covers(after)) == (True, False)
    await redis_like.ended.end_device("设备", now_ms + 1)
    assert (await redis_like.ended.load()).covers(after)
    entries = await redis_like.control.read(100)
    assert entries == [
        DeviceDisabled("设备", now_ms),
        SessionReplaced("设备", "t1"),
        DeviceDisabled("设备", now_ms + 1),
    ]


# ── control stream ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_entries_are_read_once_and_in_order(redis_like: RedisLike) -> None:
    entries: list[ControlEntry] = [SessionReplaced("1", "t"), CredentialRevoked("a", 7), DeviceDisabled("2", 8)]
    for entry in entries:
        await redis_like.control.publish(entry)
    assert await redis_like.control.read(100) == entries
    assert await redis_like.control.read(10) == []


async def test_a_waiting_reader_is_woken_by_an_entry(redis_like: RedisLike) -> None:
    waiting = asyncio.ensure_future(redis_like.control.read(400))
    await asyncio.sleep(0.05)
    await redis_like.control.publish(SessionReplaced("1", "t"))
    async with asyncio.timeout(0.3):
        assert await waiting == [SessionReplaced("1", "t")]
