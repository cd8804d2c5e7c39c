"""The planner brings devices to their sites' rosters, one task at a time, whatever dies on the way."""

from collections.abc import Sequence

import pytest

import console_service.planner
from console_service.metrics import ConsoleMetrics
from console_service.planner import ASKED_WITHIN_MS, MADE_WITHIN_MS, Planner
from console_service.task_making import TaskMaker
from shared.domain.control import PushCommand, TasksChanged
from shared.domain.devices import SiteSpan
from shared.domain.links import Links
from shared.domain.persons import NewPerson, PersonVersions
from shared.domain.roster_reports import ReportPage
from shared.domain.rosters import Held, Roster
from shared.domain.tasks import DEVICE, PLANNER, Failure, HistoryEntry, Outcome, Task, TaskState
from shared.protocol.apicodes import Apicode
from shared.runtime.clock import ManualClock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import NewTask
from shared.stores.memory import MemoryControlStream, MemoryDeviceStore
from shared.stores.memory_persons import MemoryPersonStore
from shared.stores.memory_rosters import MemoryRosterMarks, MemoryRosterStore
from shared.stores.memory_tasks import MemoryLock, MemoryPendingTasks, MemoryTaskStore
from tests.support.session_values import NOW_MS, make_device
from tests.support.task_values import make_task

SEND, UPDATE = Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON
DEL, POST = Apicode.T_DEL_DEVICE_PERSON, Apicode.T_POST_DEVICE_PERSON
MINUTE_MS = 60_000


class DyingTaskStore(MemoryTaskStore):
    """Whose maker dies before it has stored anything, while `dies`."""

    dies = False

    async def add_many(self, new: Sequence[NewTask]) -> None:
        if self.dies and new:
            raise RuntimeError("killed")
        await super().add_many(new)


class Site:
    """A site s1 with devices, and their planner, over stores in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_MS)
        self.control = MemoryControlStream()
        self.tasks = DyingTaskStore()
        self.pending = MemoryPendingTasks(self.control)
        self.persons = MemoryPersonStore()
        self.devices = MemoryDeviceStore()
        self.rosters = MemoryRosterStore()
        self.marks = MemoryRosterMarks(self.rosters, self.devices, self.clock)
        self.metrics = ConsoleMetrics()
        self.metrics.close()
        self.lock = MemoryLock()
        self.planner = self.new_planner()

    def new_planner(self) -> Planner:
        links = Links({"k1": b"1" * 32}, "https://devices.example")
        maker = TaskMaker(self.tasks, self.pending, self.rosters, links, self.clock, self.metrics)
        return Planner(
            self.rosters,
            self.marks,
            self.tasks,
            self.persons,
            self.devices,
            maker,
            self.clock,
            self.metrics,
            settle_seconds=1,
        )

    async def work(self) -> list[Task]:
        """A turn, some time later; the tasks that it made, in order of their devices."""
        before = set(await self.task_ids())
        self.clock.advance(1)
        await self.planner.work(self.lock)
        new = await self.tasks.find([one for one in await self.task_ids() if one not in before])
        return sorted(new.values(), key=lambda task: task.sn)

    async def task_ids(self) -> list[str]:
        return [task_id for sn in ("SN1", "SN2", "SN3") for task_id in await self.all_of(sn)]

    async def all_of(self, sn: str) -> list[str]:
        return [task.task_id for task in self.tasks._tasks.values() if task.sn == sn]

    async def put(self, *person_ids: str, name: str = "a", site_ids: tuple[str, ...] = ("s1",)) -> None:
        new = [NewPerson(person_id=one, name=name, site_ids=site_ids) for one in person_ids]
        await self.persons.put_many(new, self.clock.now_ms())
        await self.marks.mark_sites(["s1"])

    async def end(self, task: Task, state: TaskState = TaskState.DONE, outcome: Outcome | None = None) -> None:
        """As task-api does."""
        entry = HistoryEntry(at_ms=self.clock.now_ms(), state=state, actor=DEVICE)
        assert await self.tasks.change([task.task_id], entry, outcome=outcome) == 1
        await self.marks.mark_devices([task.sn])

    async def roster(self, sn: str = "SN1") -> Roster:
        return (await self.rosters.find([sn]))[sn].roster

    async def named(self, task: Task) -> tuple[Apicode, list[str]]:
        """What a task is to do, and for whom."""
        return task.apicode, list(await self.tasks.person_ids(task.task_id) or ())


@pytest.fixture
async def site() -> Site:
    made = Site()
    await made.devices.register([make_device("SN1", site_history=(SiteSpan(0, "s1", None),))])
    assert await made.control.read(1) is None
    return made


async def test_a_device_is_brought_to_its_sites_roster_by_one_task_after_the_other(site: Site) -> None:
    await site.put("P1", "P2")
    (sent,) = await site.work()
    assert await site.named(sent) == (SEND, ["P1", "P2"])
    await site.put("P3")
    await site.put("P1", name="b")
    await site.put("P2", site_ids=())
    assert await site.work() == []  # one open task at most
    await site.end(sent)
    (deleted,) = await site.work()
    assert await site.named(deleted) == (DEL, ["P2"])
    await site.end(deleted)
    (sent,) = await site.work()
    assert await site.named(sent) == (SEND, ["P3"])
    await site.end(sent)
    (updated,) = await site.work()
    assert await site.named(updated) == (UPDATE, ["P1"])
    await site.end(updated)
    assert await site.work() == []
    assert (await site.roster()).believed == {"P1": Held(name=2, face=0), "P3": Held(name=1, face=0)}
    assert site.metrics.planned_tasks == 4


async def test_c1_a_planned_task_is_pushed_and_says_who_made_it(site: Site) -> None:
    await site.put("P1")
    (task,) = await site.work()
    assert (task.push, task.named_persons, task.history[0].actor) == (True, 1, PLANNER)
    assert await site.control.read(1) == [TasksChanged("SN1"), PushCommand("SN1", task.task_id, SEND)]
    assert list((await site.pending.oldest(["SN1"], 9))[0]) == [task.task_id]


async def test_design_3_a_task_is_made_though_redis_is_away(site: Site) -> None:
    site.pending.available = False
    await site.put("P1")
    assert len(await site.work()) == 1
    assert site.metrics.tasks_unlisted == 1


async def test_changes_that_follow_one_another_are_planned_together(site: Site) -> None:
    await site.put("P1")
    await site.planner.work(site.lock)
    assert await site.task_ids() == []
    await site.put("P2")
    (task,) = await site.work()
    assert await site.named(task) == (SEND, ["P1", "P2"])
    assert site.metrics.devices_due == 1
    assert await site.work() == []
    assert site.metrics.devices_due == 0


async def test_devices_are_planned_that_stand_at_the_site_now_and_are_not_disabled(site: Site) -> None:
    history = (SiteSpan(0, "s1", None), SiteSpan(1, None, None))
    await site.devices.register([make_device("SN2", site_history=history), make_device("SN3", disabled=True)])
    held = Roster(believed={"P9": Held(name=1, face=0)})
    for sn in ("SN2", "SN3"):
        await site.rosters.replace((await site.rosters.find([sn]))[sn], held)
    await site.put("P1")
    await site.marks.mark_devices(["SN2", "SN3", "unknown"])
    assert [(task.sn, *await site.named(task)) for task in await site.work()] == [
        ("SN1", SEND, ["P1"]),
        ("SN2", DEL, ["P9"]),
    ]
    assert await site.rosters.due(site.clock.now_ms(), 9) == []


async def test_what_a_device_should_hold_is_asked_once_a_site(site: Site) -> None:
    class Counted(MemoryPersonStore):
        asked = 0

        async def at_site(self, site_id: str) -> dict[str, PersonVersions]:
            self.asked += 1
            return await super().at_site(site_id)

    site.persons = Counted()
    site.planner = site.new_planner()
    history = (SiteSpan(0, "s1", None),)
    await site.devices.register([make_device("SN2", site_history=history), make_device("SN3", site_history=history)])
    await site.put("P1")
    assert len(await site.work()) == 3
    assert site.persons.asked == 1


async def test_a_planner_that_loses_its_lock_stops_after_its_part(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_service.planner, "PLANNED_AT_ONCE", 1)
    await site.devices.register([make_device("SN2", site_history=(SiteSpan(0, "s1", None),))])
    await site.put("P1")
    site.lock.held_elsewhere = True
    assert len(await site.work()) == 1
    site.lock.held_elsewhere = False
    assert len(await site.work()) == 1


# ── faults ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_task_whose_maker_died_is_made_again_with_its_id_and_its_persons(site: Site) -> None:
    await site.put("P1", "P2")
    site.tasks.dies = True
    with pytest.raises(RuntimeError, match="killed"):
        await site.work()
    site.tasks.dies = False
    site.planner = site.new_planner()
    (entered,) = (await site.roster()).open
    await site.put("P2", site_ids=())
    assert await site.work() == []  # it may still be on its way
    site.clock.advance(MADE_WITHIN_MS / 1000)
    (task,) = await site.work()
    assert task.task_id == entered.task_id
    assert await site.named(task) == (SEND, ["P1", "P2"])
    assert task.history[0].at_ms == entered.at_ms
    assert (await site.roster()).open == (entered,)


async def test_an_operators_task_that_was_never_made_is_taken_as_cancelled_and_the_planner_goes_on(site: Site) -> None:
    await site.put("P1")
    await site.planner._maker.enter(make_task("77", "SN1", apicode=DEL, at_ms=NOW_MS), {"P1": PersonVersions(0, 0, 0)})
    assert await site.work() == []
    site.clock.advance(MADE_WITHIN_MS / 1000)
    assert await site.work() == []  # many may be asked for at once
    site.clock.advance(ASKED_WITHIN_MS / 1000)
    (task,) = await site.work()
    assert await site.named(task) == (SEND, ["P1"])
    assert "77" not in await site.tasks.find(["77"])


async def test_a_roster_that_was_changed_meanwhile_is_planned_in_the_next_turn(site: Site) -> None:
    class Overtaken(MemoryRosterStore):
        overtaken = True

        async def replace(self, kept: object, roster: Roster) -> bool:
            if self.overtaken:
                return False
            return await super().replace(kept, roster)  # type: ignore[arg-type]  # as it came

    site.rosters = Overtaken()
    site.marks = MemoryRosterMarks(site.rosters, site.devices, site.clock)
    site.planner = site.new_planner()
    await site.put("P1")
    assert await site.work() == []
    assert site.metrics.planned_tasks == 0
    site.rosters.overtaken = False
    assert len(await site.work()) == 1


async def test_a_mark_that_comes_while_its_device_is_planned_is_not_lost(site: Site) -> None:
    class Busy(MemoryPersonStore):
        """Somebody is put on the site right after the planner has asked who is there."""

        is_busy = True

        async def at_site(self, site_id: str) -> dict[str, PersonVersions]:
            found = await super().at_site(site_id)
            if self.is_busy:
                self.is_busy = False
                await site.put("P2")
            return found

    site.persons = Busy()
    site.planner = site.new_planner()
    await site.put("P1")
    (sent,) = await site.work()
    await site.end(sent)
    (task,) = await site.work()
    assert await site.named(task) == (SEND, ["P2"])


async def test_a_change_whose_maker_died_is_planned_though_the_device_was_planned_in_between(site: Site) -> None:
    await site.put("P1")
    await site.marks.mark_sites(["s1"], after_ms=MINUTE_MS)  # before a change
    (sent,) = await site.work()
    await site.end(sent)
    await site.work()
    new = NewPerson(person_id="P2", name="a", site_ids=("s1",))
    await site.persons.put_many([new], NOW_MS)  # and here it died
    assert await site.work() == []
    site.clock.advance(60)
    (task,) = await site.work()
    assert await site.named(task) == (SEND, ["P2"])


async def test_nothing_is_done_while_mongodb_is_away_and_everything_afterwards(site: Site) -> None:
    await site.put("P1")
    site.persons.available = False
    with pytest.raises(Unavailable):
        await site.work()
    site.persons.available = True
    assert len(await site.work()) == 1


async def test_who_failed_is_tried_again_after_a_pause_though_nobody_marks_the_device(site: Site) -> None:
    await site.put("P1", "P2")
    (sent,) = await site.work()
    await site.end(sent, outcome=Outcome(failed_persons=(Failure("P1", "7"),)))
    assert await site.work() == []
    assert site.metrics.roster_failures == 1
    site.clock.advance(50)
    assert await site.work() == []
    site.clock.advance(10)
    (task,) = await site.work()
    assert await site.named(task) == (SEND, ["P1"])


async def test_the_sweep_finds_tasks_whose_end_nobody_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_service.planner, "SWEPT_AT_ONCE", 1)
    await site.devices.register([make_device("SN2", site_history=(SiteSpan(0, "s1", None),))])
    await site.put("P1")
    first, second = await site.work()
    entry = HistoryEntry(at_ms=NOW_MS, state=TaskState.FAILED, actor=DEVICE)
    await site.tasks.change([second.task_id], entry)
    assert await site.work() == []
    assert len((await site.roster("SN2")).open) == 1
    await site.planner.sweep(site.lock)
    assert list(await site.rosters.due(site.clock.now_ms(), 9)) == ["SN2"]
    await site.work()
    assert (await site.roster("SN2")).open == ()
    assert [one.task_id for one in (await site.roster("SN1")).open] == [first.task_id]


async def test_pages_of_a_report_are_removed_when_its_task_has_ended(site: Site) -> None:
    report = make_task("77", "SN1", apicode=POST, at_ms=NOW_MS)
    await site.planner._maker.enter(report, {})
    await site.tasks.add_many([NewTask(task=report)])
    await site.rosters.put_page("77", ReportPage(number=1, total=2, persons={}))
    await site.end(report)
    await site.work()
    assert await site.rosters.pages("77") == []
    assert (await site.roster()).open == ()
