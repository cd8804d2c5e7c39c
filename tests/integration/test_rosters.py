"""The whole way of a site's roster to its terminals and back, over real MongoDB and Redis and task-api's endpoint."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

import console_service.planner
from shared.domain.devices import DeviceChange, changed
from shared.domain.roster_plans import compared
from shared.domain.rosters import reconciled
from shared.protocol.apicodes import Apicode
from shared.runtime.settings import MongoSettings, RedisSettings
from shared.stores.interfaces import NewTask
from shared.stores.roster_interfaces import change_roster
from tests.support.rosters import RosterPlatform, Terminal, open_roster_platform


@pytest.fixture
async def platform(mongo_settings: MongoSettings, redis_settings: RedisSettings) -> AsyncIterator[RosterPlatform]:
    async with open_roster_platform(mongo_settings, redis_settings) as opened:
        yield opened


async def come_to_rest(platform: RosterPlatform, *terminals: Terminal) -> int:
    """Planner and terminals in turn until neither has anything to do; returns how many tasks that took."""
    planner, lock, tasks = platform.new_planner(), platform.new_lock(), 0
    for _ in range(10):
        await planner.work(lock)
        done = sum([await terminal.work() for terminal in terminals])
        if not done:
            return tasks
        tasks += done
    raise AssertionError("there is no end to the tasks")


async def test_a_sites_persons_come_to_its_terminals_and_follow_every_change(platform: RosterPlatform) -> None:
    first, second = await platform.terminal("SN1", "s1"), await platform.terminal("SN2", "s1")
    await platform.put({f"P{number:03}": "张三" for number in range(150)}, "s1")
    await platform.set_face("P007", "a" * 64)
    assert await come_to_rest(platform, first, second) == 2
    assert first.held == second.held == await platform.site_content("s1")
    assert first.held["P007"] == ("张三", True)

    await platform.put({"P001": "李四"}, "s1")
    await platform.put({"P002": "张三"})
    await platform.put({"N1": "王五"}, "s1")
    await platform.set_face("P007", None)
    assert await come_to_rest(platform, first, second) == 2 * 3
    assert first.held == second.held == await platform.site_content("s1")
    assert ("P002" in first.held, first.held["P001"], first.held["P007"]) == (False, ("李四", False), ("张三", False))


async def test_t11_a_report_shows_what_somebody_changed_and_a_reconcile_makes_it_good(
    platform: RosterPlatform,
) -> None:
    terminal = await platform.terminal("SN1", "s1")
    await platform.put({f"P{number:03}": "张三" for number in range(250)}, "s1")
    await come_to_rest(platform, terminal)
    del terminal.held["P001"]
    terminal.held |= {"P002": ("王五", False), "P003": ("张三", True), "X9": ("somebody", False)}

    await platform.make("SN1", Apicode.T_POST_DEVICE_PERSON)
    assert await come_to_rest(platform, terminal) == 1  # nothing is done of itself
    roster = await platform.roster("SN1")
    comparison = compared(roster, await platform.persons.at_site("s1"))
    assert (comparison.missing, comparison.extra) == (["P001"], ["X9"])
    assert comparison.different == {"P002": ["name"], "P003": ["hasImg"]}
    assert roster.report_is_whole
    assert await platform.rosters.pages(roster.report_id or "") == []

    await change_roster(platform.rosters, "SN1", reconciled)
    (task,) = await platform.new_planner().plan(["SN1"], "operator")
    assert task.apicode is Apicode.T_DEL_DEVICE_PERSON
    assert await come_to_rest(platform, terminal) == 3
    assert terminal.held == await platform.site_content("s1")


async def test_who_failed_is_shown_with_the_devices_code_and_the_others_are_there(platform: RosterPlatform) -> None:
    terminal = await platform.terminal("SN1", "s1")
    await platform.put({"P1": "张三", "P2": "张三"}, "s1")
    planner, lock = platform.new_planner(), platform.new_lock()
    await planner.work(lock)
    await terminal.work(failed=["P1"])
    assert await come_to_rest(platform, terminal) == 0
    assert terminal.held == {"P2": ("张三", False)}
    (failure,) = (await platform.roster("SN1")).failures.items()
    assert (failure[0], failure[1].code, failure[1].what) == ("P1", "7", "person")
    await platform.put({"P1": "李四"}, "s1")
    assert await come_to_rest(platform, terminal) == 1
    assert terminal.held == await platform.site_content("s1")


async def test_of_two_planners_at_once_a_device_gets_one_task(platform: RosterPlatform) -> None:
    terminals = [await platform.terminal(f"SN{number}", "s1") for number in range(5)]
    await platform.put({"P1": "张三"}, "s1")
    sns = [terminal.sn for terminal in terminals]
    planners = [platform.new_planner() for _ in range(4)]
    made = await asyncio.gather(*(planner.plan(sns, "planner") for planner in planners))
    assert sorted(task.sn for tasks in made for task in tasks) == sns
    assert [len(await platform.tasks.open_of(sn)) for sn in sns] == [1] * 5
    assert await come_to_rest(platform, *terminals) == 5


async def test_a_console_killed_before_it_stored_a_task_leaves_it_to_the_next(
    platform: RosterPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = await platform.terminal("SN1", "s1")
    await platform.put({"P1": "张三"}, "s1")

    async def killed(new: Sequence[NewTask]) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(platform.maker, "store", killed)
        with pytest.raises(RuntimeError, match="killed"):
            await platform.new_planner().work(platform.new_lock())
    (entered,) = (await platform.roster("SN1")).open
    assert await terminal.tasks() == []
    monkeypatch.setattr(console_service.planner, "MADE_WITHIN_MS", 0)
    assert await come_to_rest(platform, terminal) == 1
    assert list(await platform.tasks.find([entered.task_id])) == [entered.task_id]
    assert terminal.held == await platform.site_content("s1")


async def test_a_moved_device_is_emptied_and_filled_anew(platform: RosterPlatform) -> None:
    terminal = await platform.terminal("SN1", "s1")
    await platform.put({"P1": "张三", "P2": "张三"}, "s1")
    await platform.put({"P3": "李四", "P4": "李四"}, "s2")
    await platform.put({"P2": "张三"}, "s1", "s2")
    await come_to_rest(platform, terminal)
    assert sorted(terminal.held) == ["P1", "P2"]
    device = (await platform.devices.find(["SN1"]))["SN1"]
    moved = changed(device, DeviceChange(site_id="s2"), platform.clock.now_ms())
    assert await platform.devices.replace(device, moved)
    await platform.marks.mark_devices(["SN1"])
    assert await come_to_rest(platform, terminal) == 2
    assert terminal.held == await platform.site_content("s2")
    assert sorted(terminal.held) == ["P2", "P3", "P4"]
