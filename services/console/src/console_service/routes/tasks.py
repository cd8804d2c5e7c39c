"""Tasks of terminals: what operators have them do, and what became of it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from console_service.audit import Auditor
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.operators import Operating, Viewing, check_site
from console_service.person_changes import sees_person
from console_service.task_answers import Task, Tasks, task_answer
from console_service.task_making import TaskMaker
from console_service.task_wishes import OF_PERSONS, NewTasks, TaskApicode
from shared.domain import tasks
from shared.domain.attendance import rfc3339
from shared.domain.devices import Device, stands_at
from shared.domain.firmware import FirmwareReference
from shared.domain.operators import Operator
from shared.domain.persons import PersonVersions
from shared.domain.rosters import NOBODY, ROSTER_APICODES
from shared.domain.tasks import HistoryEntry, TaskState, made_task
from shared.protocol.apicodes import Apicode
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.runtime.tracing import current_traceparent
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import DeviceStore, NewTask, PendingTasks, SiteStore, TaskQuery, TaskStore
from shared.stores.person_interfaces import FirmwareStore, PersonStore, RosterMarks

log = logging.getLogger(__name__)

LISTED = "tasks"
ENTERED_AT_ONCE = 20
"""Rosters that are changed side by side."""


class TaskPage(Tasks):
    """Tasks, newest first."""

    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


def task_routes(
    store: TaskStore,
    pending: PendingTasks,
    devices: DeviceStore,
    sites: SiteStore,
    persons: PersonStore,
    firmware: FirmwareStore,
    marks: RosterMarks,
    maker: TaskMaker,
    auditor: Auditor,
    clock: Clock,
) -> APIRouter:
    """The routes under /tasks."""
    router = APIRouter(prefix="/tasks", tags=["tasks"])

    @router.post(
        "", status_code=201, summary="Make tasks", responses={404: {"description": "There is no such device or site"}}
    )
    async def create_tasks(operator: Operating, wish: NewTasks) -> Tasks:
        """Terminals learn of them by their next heartbeat, or at once where they are pushed. Where the answer is 503
        some of the tasks may be made: look at the list before trying again. What they change of whom a terminal holds
        is made good again where it is not what the site should have."""
        what = {
            "apicode": wish.apicode,
            "personIds": None if wish.person_ids is None else len(wish.person_ids),
            "push": wish.push,
            "expiresAt": None if wish.expires_at is None else rfc3339(wish.expires_at),
        }
        async with auditor.change(operator.who, "task.create", wish.sn or wish.site_id, what):
            now_ms = clock.now_ms()
            if wish.expires_at is not None and wish.expires_at <= now_ms:
                raise Problem(422, "expiresAt has passed already")
            found = await addressed(operator, wish, now_ms)
            package = await package_of(wish)
            versions = await versions_of(operator, wish, found, now_ms)
            made = [
                _made(wish, device.sn, versions[device.sn], maker.next_id(), package, operator.who, now_ms)
                for device in found
            ]
            for start in range(0, len(made), ENTERED_AT_ONCE):
                part = made[start : start + ENTERED_AT_ONCE]
                await asyncio.gather(*(maker.enter(one.task, versions[one.task.sn]) for one in part))
            await maker.store(made)
        return Tasks(items=[task_answer(one.task) for one in made])

    @router.get("", summary="List tasks")
    async def list_tasks(
        operator: Viewing,
        sn: Annotated[str | None, Query(description="Of this terminal")] = None,
        site_id: Annotated[
            str | None, Query(alias="siteId", description="Of the terminals that stand at this site now")
        ] = None,
        state: TaskState | None = None,
        apicode: TaskApicode | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> TaskPage:
        """Newest first."""
        listed = f"{LISTED} {sn!r} {site_id!r} {state} {apicode}"
        before = None if cursor is None else decode_cursor(listed, cursor, tuple[str])[0]
        sns: tuple[str, ...] | None = None if sn is None else (sn,)
        site_ids = operator.site_ids if site_id is None else frozenset((site_id,)) & (operator.site_ids or {site_id})
        if site_ids is not None:
            now_ms = clock.now_ms()
            there = [device.sn for one in sorted(site_ids) for device in await devices.at_site(one, now_ms)]
            sns = tuple(one for one in there if sn in (None, one))
        found = await store.page(TaskQuery(sns=sns, state=state, apicode=apicode, before=before, limit=limit + 1))
        following = encode_cursor(listed, (found[limit - 1].task_id,)) if len(found) > limit else None
        return TaskPage(items=[task_answer(task) for task in found[:limit]], next=following)

    @router.get("/{taskid}", summary="Show a task")
    async def show_task(operator: Viewing, taskid: str) -> Task:
        """One task with its history."""
        return task_answer(await stored(operator, taskid))

    @router.post(
        "/{taskid}/cancel", summary="Cancel a task", responses={409: {"description": "The task has ended already"}}
    )
    async def cancel_task(operator: Operating, taskid: str) -> Task:
        """No heartbeat lists it from then on. What the terminal has begun it may still do: its report changes nothing
        any more. Harmless when repeated; 409 where the task has ended otherwise. What a terminal lacks of its site's
        roster is brought to it by another task."""
        async with auditor.change(operator.who, "task.cancel", taskid, {}) as change:
            change.before = {"state": (await stored(operator, taskid)).state}
            entry = HistoryEntry(
                at_ms=clock.now_ms(), state=TaskState.CANCELLED, actor=operator.who, traceparent=current_traceparent()
            )
            await store.change([taskid], entry)
            task = await stored(operator, taskid)
            change.after = {"state": task.state}
            if task.state is not TaskState.CANCELLED:
                raise Problem(409, f"the task has ended already: {task.state}")
        try:
            await pending.remove_many({task.sn: [taskid]})
        except Unavailable as error:
            log.warning("a cancelled task stays listed until its device asks for it: %s", error)
        if task.apicode in ROSTER_APICODES:
            try:
                await marks.mark_devices([task.sn])
            except Unavailable as error:
                log.warning("the planner finds a cancelled task with its next sweep only: %s", error)
        return task_answer(task)

    async def addressed(operator: Operator, wish: NewTasks, now_ms: int) -> Sequence[Device]:
        if wish.sn is not None:
            device = (await devices.find([wish.sn])).get(wish.sn)
            if device is None or not operator.sees(stands_at(device, now_ms)[0]):
                raise Problem(404, "no such device")
            return [device]
        site_id = str(wish.site_id)
        check_site(operator, site_id)
        if not await sites.find([site_id]):
            raise Problem(404, "no such site")
        return await devices.at_site(site_id, now_ms)

    async def package_of(wish: NewTasks) -> FirmwareReference | None:
        if wish.firmware_id is None:
            return None
        found = (await firmware.find([wish.firmware_id])).get(wish.firmware_id)
        if found is None:
            raise Problem(422, "there is no such firmware")
        return found.reference

    async def versions_of(
        operator: Operator, wish: NewTasks, found: Sequence[Device], now_ms: int
    ) -> Mapping[str, Mapping[str, PersonVersions]]:
        """Whom each device's task names, fixed now (T8), by sn."""
        if wish.apicode not in OF_PERSONS:
            return {device.sn: {} for device in found}
        if wish.person_ids is None:
            there = {device.sn: stands_at(device, now_ms)[0] for device in found}
            of_sites = {site: await persons.at_site(site) for site in {*there.values()} if site is not None}
            return {sn: of_sites.get(site or "", {}) for sn, site in there.items()}
        if wish.apicode is Apicode.T_DEL_DEVICE_PERSON:
            named = dict.fromkeys(wish.person_ids, NOBODY)
        else:
            known = await persons.find(wish.person_ids)
            if operator.site_ids is not None and not all(
                one in known and sees_person(operator, known[one]) for one in wish.person_ids
            ):
                raise Problem(422, "some of the persons are at none of your sites")
            # Who is not known yet is left out of the task's pages, unless they are entered before it is fetched (T8).
            named = {one: known[one].versions if one in known else NOBODY for one in wish.person_ids}
        return {device.sn: named for device in found}

    async def stored(operator: Operator, taskid: str) -> tasks.Task:
        task = (await store.find([taskid])).get(taskid)
        if task is not None and operator.site_ids is not None:
            device = (await devices.find([task.sn])).get(task.sn)
            if device is None or not operator.sees(stands_at(device, clock.now_ms())[0]):
                task = None
        if task is None:
            raise Problem(404, "no such task")
        return task

    return router


def _made(
    wish: NewTasks,
    sn: str,
    versions: Mapping[str, PersonVersions],
    task_id: str,
    package: FirmwareReference | None,
    actor: str,
    now_ms: int,
) -> NewTask:
    person_ids = tuple(versions) if wish.apicode in OF_PERSONS else None
    task = made_task(
        task_id,
        sn,
        wish.apicode,
        at_ms=now_ms,
        actor=actor,
        push=wish.push,
        expires_at_ms=wish.expires_at,
        exclude_fields=tuple(wish.exclude_fields or ()),
        named_persons=None if person_ids is None else len(person_ids),
        firmware=package,
        traceparent=current_traceparent(),
    )
    return NewTask(task=task, person_ids=person_ids)
