"""Stores of rosters, and their marks, behave alike in memory and MongoDB."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.domain.devices import SiteSpan
from shared.domain.persons import PersonVersions
from shared.domain.roster_reports import Reported, ReportPage
from shared.domain.rosters import Failed, Held, Planned, Roster
from shared.protocol.apicodes import Apicode
from shared.runtime.clock import ManualClock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import DeviceStore
from shared.stores.memory import MemoryDeviceStore
from shared.stores.memory_rosters import MemoryRosterMarks, MemoryRosterStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.devices import MongoDeviceStore
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.rosters import MongoRosterMarks, MongoRosterStore
from shared.stores.person_interfaces import RosterMarks
from shared.stores.roster_interfaces import ATTEMPTS, KeptRoster, PagesSeen, RosterStore, change_roster
from tests.support.session_values import NOW_MS, make_device

A, B = "6541951958563696640", "6541951958563696641"

FULL = Roster(
    believed={"P1": Held(name=1, face=2), "P2": Held(sure=False, foreign=True)},
    open=(
        Planned(
            task_id=A,
            apicode=Apicode.T_SEND_PERSON,
            at_ms=NOW_MS,
            by_planner=True,
            persons={"P1": PersonVersions(1, 2, 2)},
            disturbed=frozenset(("P1",)),
            all_disturbed=True,
        ),
        Planned(task_id=B, apicode=Apicode.T_POST_DEVICE_PERSON, at_ms=NOW_MS, by_planner=False),
    ),
    failures={"P1": Failed(attempts=2, at_ms=NOW_MS, what="face", code="7", versions=PersonVersions(1, 2, 2))},
    back_off=Failed(attempts=1, at_ms=NOW_MS),
    report_id=B,
    reported_at_ms=NOW_MS,
    report_is_whole=True,
)


class Stores(msgspec.Struct):
    """One implementation."""

    rosters: RosterStore
    marks: RosterMarks
    devices: DeviceStore
    clock: ManualClock

    async def kept(self, sn: str = "SN1") -> KeptRoster:
        return (await self.rosters.find([sn]))[sn]


@pytest.fixture(params=["memory", "mongo"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    clock = ManualClock(NOW_MS)
    if request.param == "memory":
        memory, memory_devices = MemoryRosterStore(), MemoryDeviceStore()
        yield Stores(memory, MemoryRosterMarks(memory, memory_devices, clock), memory_devices, clock)
        return
    async with open_mongo(request.getfixturevalue("mongo_settings"), "test") as database:
        await make_indexes(database)
        devices = MongoDeviceStore(database)
        yield Stores(MongoRosterStore(database), MongoRosterMarks(database, devices, clock), devices, clock)


# ── rosters ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_roster_is_read_back_as_it_was_written(stores: Stores) -> None:
    assert await stores.rosters.replace(await stores.kept(), FULL)
    assert await stores.rosters.find(["SN1", "SN2"]) == {
        "SN1": KeptRoster(sn="SN1", roster=FULL, rev=1),
        "SN2": KeptRoster(sn="SN2"),
    }


async def test_of_two_who_write_at_once_one_wins(stores: Stores) -> None:
    for _ in range(3):
        kept = await stores.kept()
        rosters = [Roster(reported_at_ms=number) for number in range(5)]
        won = await asyncio.gather(*(stores.rosters.replace(kept, roster) for roster in rosters))
        assert sum(won) == 1
        assert (await stores.kept()).roster == rosters[won.index(True)]


async def test_a_first_roster_is_written_though_the_device_was_marked_before(stores: Stores) -> None:
    await stores.marks.mark_devices(["SN1"])
    kept = await stores.kept()
    assert (kept.rev, kept.marks) == (0, 1)
    assert await stores.rosters.replace(kept, FULL)
    assert not await stores.rosters.replace(kept, Roster())
    assert (await stores.kept()).roster == FULL


async def test_a_change_is_made_of_what_others_made_meanwhile(stores: Stores) -> None:
    async def change(number: int) -> None:
        await change_roster(
            stores.rosters,
            "SN1",
            lambda roster: msgspec.structs.replace(roster, believed={**roster.believed, f"P{number}": Held()}),
        )

    await asyncio.gather(*(change(number) for number in range(5)))
    assert sorted((await stores.kept()).roster.believed) == ["P0", "P1", "P2", "P3", "P4"]


async def test_a_change_that_changes_nothing_writes_nothing(stores: Stores) -> None:
    assert await change_roster(stores.rosters, "SN1", lambda roster: roster) == Roster()
    assert (await stores.kept()).rev == 0


async def test_a_change_that_others_always_overtake_is_no_fault_of_the_callers() -> None:
    class Overtaken(MemoryRosterStore):
        tries = 0

        async def replace(self, kept: KeptRoster, roster: Roster) -> bool:
            self.tries += 1
            return False

    rosters = Overtaken()
    with pytest.raises(Unavailable):
        await change_roster(rosters, "SN1", lambda _: FULL)
    assert rosters.tries == ATTEMPTS


async def test_rosters_with_open_tasks_are_found_in_pages(stores: Stores) -> None:
    for number in range(3):
        await stores.rosters.replace(await stores.kept(f"SN{number}"), FULL)
    await stores.rosters.replace(await stores.kept("SN1"), Roster())
    assert [(sn, list(ids)) for sn, ids in await stores.rosters.with_open_tasks(None, 1)] == [("SN0", [A, B])]
    assert [(sn, list(ids)) for sn, ids in await stores.rosters.with_open_tasks("SN0", 9)] == [("SN2", [A, B])]


# ── marks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_marked_device_is_due_until_it_was_planned(stores: Stores) -> None:
    await stores.marks.mark_devices(["SN2", "SN1"])
    assert list(await stores.rosters.due(NOW_MS - 1, 9)) == []
    assert sorted(await stores.rosters.due(NOW_MS, 9)) == ["SN1", "SN2"]
    assert len(await stores.rosters.due(NOW_MS, 1)) == 1
    await stores.rosters.planned(await stores.kept(), None)
    assert list(await stores.rosters.due(NOW_MS, 9)) == ["SN2"]


async def test_the_earliest_of_several_marks_counts_and_the_longest_due_comes_first(stores: Stores) -> None:
    await stores.marks.mark_devices(["SN1"], after_ms=60_000)
    await stores.marks.mark_devices(["SN2"], after_ms=10)
    assert list(await stores.rosters.due(NOW_MS + 9, 9)) == []
    await stores.marks.mark_devices(["SN1"])
    await stores.marks.mark_devices(["SN1"], after_ms=30_000)
    assert list(await stores.rosters.due(NOW_MS + 10, 9)) == ["SN1", "SN2"]
    kept = await stores.kept()
    assert (kept.marks, kept.later_ms) == (3, NOW_MS + 60_000)


async def test_a_mark_that_comes_while_a_device_is_planned_is_not_lost(stores: Stores) -> None:
    await stores.marks.mark_devices(["SN1"])
    kept = await stores.kept()
    await stores.rosters.replace(kept, FULL)
    await stores.marks.mark_devices(["SN1"])
    await stores.rosters.planned(kept, None)
    assert list(await stores.rosters.due(NOW_MS, 9)) == ["SN1"]
    await stores.rosters.planned(await stores.kept(), NOW_MS + 5)
    assert list(await stores.rosters.due(NOW_MS + 4, 9)) == []
    assert list(await stores.rosters.due(NOW_MS + 5, 9)) == ["SN1"]


async def test_a_device_that_was_never_marked_can_be_planned_for_later(stores: Stores) -> None:
    await stores.rosters.replace(await stores.kept(), FULL)
    await stores.rosters.planned(await stores.kept(), NOW_MS + 5)
    assert list(await stores.rosters.due(NOW_MS + 5, 9)) == ["SN1"]


async def test_marks_of_many_at_once_are_all_counted(stores: Stores) -> None:
    sns = [f"SN{number}" for number in range(20)]
    await asyncio.gather(*(stores.marks.mark_devices(sns) for _ in range(8)))
    assert {kept.marks for kept in (await stores.rosters.find(sns)).values()} == {8}


async def test_marking_nobody_is_nothing(stores: Stores) -> None:
    await stores.marks.mark_devices([])
    await stores.marks.mark_sites([])
    assert list(await stores.rosters.due(NOW_MS, 9)) == []


async def test_a_marked_site_means_the_devices_that_stand_there_now(stores: Stores) -> None:
    histories = {"SN1": ("s1",), "SN2": ("s1", "s2"), "SN3": ("s2",), "SN4": ("s3",), "SN5": ()}
    await stores.devices.register(
        [
            make_device(sn, site_history=tuple(SiteSpan(number, site, None) for number, site in enumerate(sites)))
            for sn, sites in histories.items()
        ]
    )
    await stores.marks.mark_sites(["s1", "s2"], after_ms=7)
    assert list(await stores.rosters.due(NOW_MS + 6, 9)) == []
    assert sorted(await stores.rosters.due(NOW_MS + 7, 9)) == ["SN1", "SN2", "SN3"]


async def test_a_device_whose_move_is_dated_by_a_clock_ahead_of_ours_is_marked_with_its_new_site(
    stores: Stores,
) -> None:
    history = (SiteSpan(0, "s1", None), SiteSpan(NOW_MS + 5000, "s2", None))
    await stores.devices.register([make_device("SN1", site_history=history)])
    await stores.marks.mark_sites(["s1"])
    assert list(await stores.rosters.due(NOW_MS, 9)) == []
    await stores.marks.mark_sites(["s2"])
    assert list(await stores.rosters.due(NOW_MS, 9)) == ["SN1"]


# ── reports ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_pages_of_a_report_are_kept_by_number_until_they_are_removed(stores: Stores) -> None:
    first = ReportPage(number=1, total=2, persons={"P1": Reported(name=1, has_face=True)})
    second = ReportPage(number=2, total=2, persons={"P2": Reported(name=None, has_face=None)})
    assert await stores.rosters.put_page(A, second) == PagesSeen(1, True)
    assert await stores.rosters.put_page(A, second) == PagesSeen(1, False)
    assert await stores.rosters.put_page(A, ReportPage(number=1, total=3, persons={})) == PagesSeen(1, True)
    assert await stores.rosters.put_page(A, first) == PagesSeen(2, True)
    assert await stores.rosters.put_page(B, first) == PagesSeen(1, True)
    assert sorted(await stores.rosters.pages(A), key=lambda page: page.number) == [first, second]
    await stores.rosters.remove_pages(A)
    assert list(await stores.rosters.pages(A)) == []
    assert list(await stores.rosters.pages(B)) == [first]
    assert await stores.rosters.put_page(A, second) == PagesSeen(1, True)
