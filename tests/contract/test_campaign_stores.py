"""The store of campaigns behaves alike in memory and MongoDB."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

import msgspec
import pytest

from shared.domain.campaign_devices import (
    CampaignDevice,
    Errand,
    ErrandState,
    Way,
    ended,
    opened,
    opening,
    skipped,
    turned,
    with_errand,
)
from shared.domain.campaigns import CampaignState, Tally
from shared.stores.campaign_interfaces import CampaignDeviceQuery, CampaignStore
from shared.stores.memory_campaigns import MemoryCampaignStore
from shared.stores.mongo.campaigns import MongoCampaignStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.indexes import make_indexes
from tests.support.campaign_values import CAMPAIGN_ID, make_campaign, make_devices, make_package

OTHER = "c2"


@pytest.fixture(params=["memory", "mongo"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[CampaignStore]:
    if request.param == "memory":
        yield MemoryCampaignStore()
        return
    async with open_mongo(request.getfixturevalue("mongo_settings"), "test") as database:
        await make_indexes(database)
        yield MongoCampaignStore(database)


async def add(store: CampaignStore, size: int, campaign_id: str = CAMPAIGN_ID, **changes: object) -> None:
    campaign = make_campaign(size, campaign_id, **changes)
    await store.add(campaign, make_devices(campaign))


async def numbers(store: CampaignStore, campaign_id: str = CAMPAIGN_ID, **query: object) -> list[int]:
    asked = CampaignDeviceQuery(campaign_id=campaign_id, **query)  # type: ignore[arg-type]  # the test's own values
    return [device.number for device in await store.devices(asked)]


async def devices(
    store: CampaignStore, which: Collection[int] = range(100), campaign_id: str = CAMPAIGN_ID
) -> list[CampaignDevice]:
    found = await store.devices(CampaignDeviceQuery(campaign_id=campaign_id, limit=100))
    return [device for device in found if device.number in which]


def read_back(written: Sequence[CampaignDevice]) -> list[CampaignDevice]:
    return [msgspec.structs.replace(device, rev=device.rev + 1) for device in written]


async def test_a_campaign_and_its_devices_are_read_back_as_they_were_made(store: CampaignStore) -> None:
    campaign = make_campaign(3, stages=(34, 100), site_ids=("s1", None), reason="because")
    made = make_devices(campaign)
    await store.add(campaign, made)
    assert await store.find(CAMPAIGN_ID) == campaign
    assert await devices(store) == made
    assert await store.find(OTHER) is None
    assert await numbers(store, OTHER) == []


async def test_campaigns_are_listed_newest_first_and_paged(store: CampaignStore) -> None:
    for campaign_id in ("c2", "c1", "c3"):
        await add(store, 1, campaign_id)
    assert [one.campaign_id for one in await store.page(None, 2)] == ["c3", "c2"]
    assert [one.campaign_id for one in await store.page("c2", 2)] == ["c1"]


async def test_the_unsettled_are_oldest_first_and_without_the_settled(store: CampaignStore) -> None:
    for campaign_id in ("c2", "c1", "c3"):
        await add(store, 1, campaign_id)
    campaign = await store.find("c2")
    assert campaign is not None
    assert await store.replace(msgspec.structs.replace(campaign, is_settled=True))
    assert [one.campaign_id for one in await store.unsettled()] == ["c1", "c3"]


async def test_of_two_who_change_a_campaign_the_second_does_not(store: CampaignStore) -> None:
    await add(store, 1)
    read = await store.find(CAMPAIGN_ID)
    assert read is not None
    wishes = [msgspec.structs.replace(read, state=state) for state in (CampaignState.PAUSED, CampaignState.CANCELLED)]
    won = await asyncio.gather(*(store.replace(wish) for wish in wishes))
    assert sorted(won) == [False, True]
    assert await store.find(CAMPAIGN_ID) == msgspec.structs.replace(wishes[won.index(True)], rev=read.rev + 1)


async def test_devices_are_found_by_their_state_on_a_way_and_paged_in_order(store: CampaignStore) -> None:
    await add(store, 6)
    await store.put_devices(CAMPAIGN_ID, [opening(one, Way.FORWARD, "1") for one in await devices(store, {1, 4})])
    assert await numbers(store, state=ErrandState.WAITING) == [0, 2, 3, 5]
    assert await numbers(store, state=ErrandState.WAITING, limit=2) == [0, 2]
    assert await numbers(store, state=ErrandState.WAITING, after=2, limit=2) == [3, 5]
    assert await numbers(store, state=ErrandState.WAITING, before=3) == [0, 2]
    assert await numbers(store, state=ErrandState.OPENING) == [1, 4]
    assert await numbers(store, state=ErrandState.WAITING, way=Way.BACK) == []
    assert await numbers(store, after=1, limit=3) == [2, 3, 4]
    assert await numbers(store, after=3, before=5) == [4]
    back = [with_errand(one, Way.BACK, Errand()) for one in await devices(store, {2, 3})]
    await store.put_devices(CAMPAIGN_ID, back)
    assert await numbers(store, state=ErrandState.WAITING, way=Way.BACK) == [2, 3]


async def test_a_device_is_read_back_as_it_was_written_with_the_next_rev(store: CampaignStore) -> None:
    await add(store, 3)
    written = [opening(one, Way.FORWARD, "17", make_package("v1")) for one in await devices(store, {1})]
    await store.put_devices(CAMPAIGN_ID, written)
    await store.put_devices(CAMPAIGN_ID, [])
    assert await devices(store, {1}) == read_back(written)
    assert [device.rev for device in await devices(store)] == [0, 1, 0]


async def test_of_two_who_change_a_device_the_second_does_not(store: CampaignStore) -> None:
    await add(store, 2)
    (first, second) = await devices(store)
    await store.put_devices(CAMPAIGN_ID, [opening(first, Way.FORWARD, "1")])
    await store.put_devices(CAMPAIGN_ID, [opening(one, Way.FORWARD, "2") for one in (first, second)])
    assert [device.forward.task_id for device in await devices(store)] == ["1", "2"]


async def test_a_device_is_busy_in_one_campaign_at_a_time_and_waits_in_the_other(store: CampaignStore) -> None:
    await add(store, 3)
    await add(store, 3, OTHER)
    await store.put_devices(CAMPAIGN_ID, [opening(one, Way.FORWARD, "1") for one in await devices(store, {1})])
    drawn = [opening(one, Way.FORWARD, f"2{one.number}") for one in await devices(store, campaign_id=OTHER)]
    await store.put_devices(OTHER, drawn)
    assert await numbers(store, OTHER, state=ErrandState.OPENING) == [0, 2]
    await store.put_devices(CAMPAIGN_ID, [opened(one, Way.FORWARD) for one in await devices(store, {1})])
    await store.put_devices(OTHER, drawn)
    assert await numbers(store, OTHER, state=ErrandState.WAITING) == [1]
    await store.put_devices(CAMPAIGN_ID, [ended(one, Way.FORWARD, None) for one in await devices(store, {1})])
    await store.put_devices(OTHER, drawn)
    assert await numbers(store, OTHER, state=ErrandState.WAITING) == []


async def test_a_device_on_the_way_back_is_busy_too(store: CampaignStore) -> None:
    await add(store, 1)
    await add(store, 1, OTHER)
    (device,) = await devices(store)
    await store.put_devices(CAMPAIGN_ID, [opening(with_errand(device, Way.BACK, Errand()), Way.BACK, "1")])
    drawn = [opening(one, Way.FORWARD, "2") for one in await devices(store, campaign_id=OTHER)]
    await store.put_devices(OTHER, drawn)
    assert await numbers(store, OTHER, state=ErrandState.OPENING) == []


async def test_the_failed_wait_again_and_what_rested_on_their_failure_changes_nothing(store: CampaignStore) -> None:
    await add(store, 3)
    await add(store, 1, OTHER)
    read = await devices(store)
    v1 = make_package("v1")
    failed = [ended(opening(one, Way.FORWARD, "1", v1), Way.FORWARD, None) for one in read[:2]]
    await store.put_devices(CAMPAIGN_ID, [*failed, skipped(read[2], Way.FORWARD, "disabled")])
    (foreign,) = await devices(store, campaign_id=OTHER)
    await store.put_devices(OTHER, [ended(foreign, Way.FORWARD, None)])
    read = await devices(store)
    await store.retry_failed(CAMPAIGN_ID)
    await store.put_devices(CAMPAIGN_ID, [turned(one) for one in read[:2]])
    found = await devices(store)
    assert [device.forward for device in found[:2]] == [Errand(), Errand()]
    assert [(device.earlier, device.back) for device in found[:2]] == [(v1, None)] * 2
    assert found[2].forward.state is ErrandState.SKIPPED
    assert await numbers(store, OTHER, state=ErrandState.FAILED) == [0]


async def test_not_turned_are_those_without_a_way_back_that_are_not_busy(store: CampaignStore) -> None:
    await add(store, 4)
    read = await devices(store)
    await store.put_devices(CAMPAIGN_ID, [opening(read[0], Way.FORWARD, "1"), turned(read[2])])
    assert [device.number for device in await store.not_turned(CAMPAIGN_ID, 10)] == [1, 3]
    assert [device.number for device in await store.not_turned(CAMPAIGN_ID, 1)] == [1]


async def test_tallies_count_by_stage_and_by_both_ways(store: CampaignStore) -> None:
    await add(store, 5, stages=(40, 100))
    await add(store, 2, OTHER)
    read = await devices(store)
    left_out = [turned(skipped(device, Way.FORWARD, "disabled")) for device in read[3:]]
    await store.put_devices(CAMPAIGN_ID, [ended(read[0], Way.FORWARD, None), *left_out])
    tallies = await store.tallies(CAMPAIGN_ID)
    assert sorted(tallies, key=lambda one: (one.stage, one.forward)) == [
        Tally(stage=0, forward=ErrandState.FAILED, back=None, count=1),
        Tally(stage=0, forward=ErrandState.WAITING, back=None, count=1),
        Tally(stage=1, forward=ErrandState.SKIPPED, back=ErrandState.SKIPPED, count=2),
        Tally(stage=1, forward=ErrandState.WAITING, back=None, count=1),
    ]
