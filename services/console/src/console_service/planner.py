"""The roster planner: makes the tasks that bring each device to what its site should hold (domain/roster_plans.py).

1. A task stands in its device's roster before it is stored, so no task of the planner's is unknown to it: what the
   store lacks some time after is made again, with the same id, or was never made by an operator.
2. What a device should hold is read after its tasks were found to have ended: else a change in between would be taken
   for one that the device has (domain/rosters.py, ended).
3. Every write is conditional on what was read, so two planners at once, or an operator's task in between, cost a turn.
   The mark that a device is to be planned goes last.
"""

from collections.abc import Mapping, Sequence

import msgspec

from console_service.metrics import ConsoleMetrics
from console_service.task_making import TaskMaker
from shared.domain.devices import Device, stands_at
from shared.domain.persons import PersonVersions
from shared.domain.roster_plans import Step, again_ms, planned, settled
from shared.domain.rosters import Planned, Roster, begun, ended, reconciled
from shared.domain.tasks import PLANNER, Outcome, Task, TaskState, made_task
from shared.protocol.apicodes import Apicode
from shared.runtime.clock import Clock
from shared.runtime.tracing import current_traceparent
from shared.stores.interfaces import DeviceStore, Lock, NewTask, TaskStore
from shared.stores.person_interfaces import PersonStore, RosterMarks
from shared.stores.roster_interfaces import KeptRoster, RosterStore, change_roster

DUE_AT_ONCE = 1_000
PLANNED_AT_ONCE = 20
"""Rosters that are read at once: one of 10,000 persons is about a megabyte."""
SWEPT_AT_ONCE = 500
MADE_WITHIN_MS = 20_000
"""A task of a planner that is not stored so long after it was entered never will be, but by another."""
ASKED_WITHIN_MS = 90_000
"""The same for an operator's, whose request may take a minute."""


class Planner:
    """One turn is one call of `work`."""

    def __init__(
        self,
        rosters: RosterStore,
        marks: RosterMarks,
        tasks: TaskStore,
        persons: PersonStore,
        devices: DeviceStore,
        maker: TaskMaker,
        clock: Clock,
        metrics: ConsoleMetrics,
        *,
        settle_seconds: float,
    ) -> None:
        self._rosters = rosters
        self._marks = marks
        self._tasks = tasks
        self._persons = persons
        self._devices = devices
        self._maker = maker
        self._clock = clock
        self._metrics = metrics
        self._settle_ms = int(settle_seconds * 1000)

    async def work(self, lock: Lock) -> None:
        """Plans every device that was marked some time ago, those of a site together. Raises Unavailable."""
        due = await self._rosters.due(self._clock.now_ms() - self._settle_ms, DUE_AT_ONCE)
        self._metrics.devices_due = len(due)
        devices = await self._devices.find(due)
        sites = {sn: (stands_at(devices[sn], self._clock.now_ms())[0] or "") if sn in devices else "" for sn in due}
        in_order = sorted(due, key=lambda sn: sites[sn])
        for start in range(0, len(in_order), PLANNED_AT_ONCE):
            await self.plan(in_order[start : start + PLANNED_AT_ONCE], PLANNER)
            if not await lock.hold():
                return

    async def sweep(self, lock: Lock) -> None:
        """Marks devices whose tasks ended, or got lost, without anybody's saying so. Raises Unavailable."""
        after: str | None = None
        while True:
            page = await self._rosters.with_open_tasks(after, SWEPT_AT_ONCE)
            found = await self._tasks.find([task_id for _, task_ids in page for task_id in task_ids])
            is_open = {task_id for task_id, task in found.items() if task.is_open}
            await self._marks.mark_devices([sn for sn, task_ids in page if not is_open.issuperset(task_ids)])
            if len(page) < SWEPT_AT_ONCE or not await lock.hold():
                return
            after = page[-1][0]

    async def reconcile(self, sn: str, actor: str) -> Sequence[Task]:
        """Makes good at once what differs, the foreign included; returns the planner's task that is open then, where
        there is one. Raises Unavailable."""
        await change_roster(self._rosters, sn, reconciled)
        await self.plan([sn], actor)
        (kept,) = (await self._rosters.find([sn])).values()
        found = await self._tasks.find([one.task_id for one in kept.roster.open if one.by_planner])
        return [task for task in found.values() if task.is_open]

    async def plan(self, sns: Sequence[str], actor: str) -> list[Task]:
        """Takes the end of tasks into account and makes what comes next, one task a device at most; returns what it
        made. Raises Unavailable."""
        kept = await self._rosters.find(sns)
        tasks = await self._tasks.find([one.task_id for each in kept.values() for one in each.roster.open])
        # Rule 2: only now.
        devices = await self._devices.find(sns)
        now_ms = self._clock.now_ms()
        sites = {sn: stands_at(device, now_ms)[0] for sn, device in devices.items()}
        desired = {site: await self._persons.at_site(site) for site in {*sites.values()} if site is not None}
        turns: list[_Turn] = []
        for sn, one in kept.items():
            turn = _turn(one, tasks, devices.get(sn), desired.get(sites.get(sn) or "", {}), now_ms)
            if turn.step is not None:
                turn = _with_step(turn, turn.step, self._maker.next_id(), now_ms)
            if await self._keep(turn):
                turns.append(turn)
        new = [_new_task(turn.kept.sn, one, actor) for turn in turns for one in turn.to_make]
        await self._maker.store(new)
        for turn in turns:
            await self._rosters.planned(turn.kept, turn.next_ms)
        self._metrics.planned_tasks += len(new)
        return [one.task for one in new]

    async def _keep(self, turn: "_Turn") -> bool:
        """False where another was faster."""
        before, after = turn.kept.roster, turn.roster
        if after == before:
            return True
        still_open = {one.task_id for one in after.open}
        for one in before.open:
            if one.apicode is Apicode.T_POST_DEVICE_PERSON and one.task_id not in still_open:
                await self._rosters.remove_pages(one.task_id)
        if not await self._rosters.replace(turn.kept, after):
            return False
        self._metrics.roster_failures += turn.failures
        return True


class _Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of one device."""

    kept: KeptRoster
    roster: Roster
    to_make: Sequence[Planned]
    step: Step | None
    failures: int
    """Persons and faces that tasks which ended could not do."""
    next_ms: int | None
    """When it is to be planned again, though nobody marks it."""


def _turn(
    kept: KeptRoster,
    tasks: Mapping[str, Task],
    device: Device | None,
    desired: Mapping[str, PersonVersions],
    now_ms: int,
) -> _Turn:
    roster = settled(kept.roster, tasks, desired, now_ms)
    lost = [one for one in roster.open if one.task_id not in tasks and now_ms >= _stored_by_ms(one)]
    for one in lost:
        if not one.by_planner:
            roster = ended(roster, one, TaskState.CANCELLED, Outcome(), desired, now_ms)
    outcomes = [
        tasks[one.task_id].outcome for one in kept.roster.open if one not in roster.open and one.task_id in tasks
    ]
    is_served = device is not None and not device.disabled
    step = None
    if is_served:
        roster, step = planned(roster, desired, now_ms)
    awaited = [kept.later_ms, *(_stored_by_ms(one) for one in roster.open if one.task_id not in tasks)]
    if is_served and not roster.open:
        awaited.append(again_ms(roster, now_ms) or 0)
    return _Turn(
        kept=kept,
        roster=roster,
        to_make=[one for one in lost if one.by_planner],
        step=step,
        failures=sum(len(outcome.failed_persons) + len(outcome.failed_faces) for outcome in outcomes),
        next_ms=min((at_ms for at_ms in awaited if at_ms > now_ms), default=None),
    )


def _stored_by_ms(task: Planned) -> int:
    return task.at_ms + (MADE_WITHIN_MS if task.by_planner else ASKED_WITHIN_MS)


def _with_step(turn: _Turn, step: Step, task_id: str, now_ms: int) -> _Turn:
    new = Planned(task_id=task_id, apicode=step.apicode, at_ms=now_ms, by_planner=True, persons=step.persons)
    return msgspec.structs.replace(turn, roster=begun(turn.roster, new), to_make=[*turn.to_make, new])


def _new_task(sn: str, new: Planned, actor: str) -> NewTask:
    task = made_task(
        new.task_id,
        sn,
        new.apicode,
        at_ms=new.at_ms,
        actor=actor,
        push=True,  # else a device would learn of it by its next heartbeat only
        named_persons=len(new.persons),
        traceparent=current_traceparent(),
    )
    return NewTask(task=task, person_ids=tuple(new.persons))
