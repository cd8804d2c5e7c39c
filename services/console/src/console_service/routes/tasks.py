"""Tasks of terminals: what operators have them do, and what became of it."""

import logging
import secrets
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from console_service.audit import Auditor
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.metrics import ConsoleMetrics
from console_service.operators import ADMIN
from console_service.times import Moment, Time
from shared.domain import tasks
from shared.domain.attendance import rfc3339
from shared.domain.control import PushCommand
from shared.domain.tasks import NODE_BITS, HistoryEntry, TaskIds, TaskState, made_task, task_param
from shared.protocol.apicodes import Apicode
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.runtime.tracing import current_traceparent
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import DeviceStore, NewTask, PendingTasks, SiteStore, TaskQuery, TaskStore

log = logging.getLogger(__name__)

LISTED = "tasks"

TaskApicode = Literal[
    Apicode.T_SEND_PERSON,
    Apicode.T_UPDATE_DEVICE_PERSON,
    Apicode.T_DEL_DEVICE_PERSON,
    Apicode.T_CLEAR_DEVICE_PERSON,
    Apicode.T_UPDATE_DEVICE_VERSION,
    Apicode.T_POST_DEVICE_PERSON,
]
"""The interfaces that are tasks; T_GET_TASKS and T_UPDATE_TASKS_STATUS are how terminals deal with them."""

OF_PERSONS = (Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON, Apicode.T_DEL_DEVICE_PERSON)

PersonId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
ExcludedField = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]


def _each_once(values: list[str] | None) -> list[str] | None:
    return None if values is None else list(dict.fromkeys(values))


class NewTasks(BaseModel):
    """What one terminal, or every terminal of a site, is to do."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    apicode: TaskApicode
    sn: str | None = Field(None, description="The terminal; either it or siteId is given.", examples=["84E0F42C5D1A"])
    site_id: str | None = Field(None, description="Every terminal that stands at this site now.")
    person_ids: Annotated[list[PersonId] | None, AfterValidator(_each_once)] = Field(
        None,
        min_length=1,
        max_length=10_000,
        description="The workers; left out: those of the terminal's site. T_DEL_DEVICE_PERSON always names them.",
    )
    firmware_id: str | None = Field(None, description="The package of T_UPDATE_DEVICE_VERSION.")
    exclude_fields: Annotated[list[ExcludedField] | None, AfterValidator(_each_once)] = Field(
        None, max_length=20, description="T_POST_DEVICE_PERSON: members that the terminal leaves out of its report."
    )
    push: bool = Field(False, description="Also pushed over TCP at once, where the terminal is connected.")
    expires_at: Time = Field(None, description="From then on it is not given any more; it ends as expired.")

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if (self.sn is None) == (self.site_id is None):
            raise ValueError("exactly one of sn and siteId is needed")
        if self.apicode is Apicode.T_DEL_DEVICE_PERSON and self.person_ids is None:
            raise ValueError("T_DEL_DEVICE_PERSON needs personIds")
        if self.apicode not in OF_PERSONS and self.person_ids is not None:
            raise ValueError(f"{self.apicode} takes no personIds")
        if (self.apicode is Apicode.T_UPDATE_DEVICE_VERSION) != (self.firmware_id is not None):
            raise ValueError("firmwareId is needed for T_UPDATE_DEVICE_VERSION, and for nothing else")
        if self.apicode is not Apicode.T_POST_DEVICE_PERSON and self.exclude_fields is not None:
            raise ValueError(f"{self.apicode} takes no excludeFields")
        return self


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class TaskChange(_Answer):
    """One change of a task's state."""

    at: Moment
    state: TaskState
    actor: str = Field(description="`device`, `platform`, or an operator.", examples=["device"])
    reason: str | None = Field(examples=["fetched"])


class TaskFailure(_Answer):
    """A worker whom the terminal could not take."""

    person_id: str
    code: str | None = Field(description="The terminal's own code for why.")


class Task(_Answer):
    """What a terminal is to do, and what became of it."""

    taskid: str = Field(examples=["6541951958563696640"])
    sn: str = Field(examples=["84E0F42C5D1A"])
    apicode: Apicode
    state: TaskState
    history: list[TaskChange] = Field(description="Oldest first; the last one is the state.")
    push: bool
    exclude_fields: list[str]
    named_persons: int | None = Field(description="How many workers it names; null: it names none.")
    person_count: int | None = Field(description="As the terminal reported it.")
    face_count: int | None = Field(description="As the terminal reported it.")
    failed_persons: list[TaskFailure]
    failed_faces: list[TaskFailure]
    created_at: Moment
    expires_at: Moment | None


class Tasks(_Answer):
    """The tasks that were made, one a terminal, in order of sn."""

    items: list[Task]


class TaskPage(Tasks):
    """Tasks, newest first."""

    next: str | None = Field(description="Cursor of the next page; null on the last one.")


def task_routes(
    store: TaskStore,
    pending: PendingTasks,
    devices: DeviceStore,
    sites: SiteStore,
    auditor: Auditor,
    clock: Clock,
    metrics: ConsoleMetrics,
) -> APIRouter:
    """The routes under /tasks."""
    router = APIRouter(prefix="/tasks", tags=["tasks"])
    ids = TaskIds(clock.now_ms, secrets.randbits(NODE_BITS))

    @router.post("", status_code=201, summary="Make tasks")
    async def create_tasks(wish: NewTasks) -> Tasks:
        """Terminals learn of them by their next heartbeat, or at once where they are pushed. Where the answer is 503
        some of the tasks may be made: look at the list before trying again."""
        what = {
            "apicode": wish.apicode,
            "personIds": None if wish.person_ids is None else len(wish.person_ids),
            "push": wish.push,
            "expiresAt": None if wish.expires_at is None else rfc3339(wish.expires_at),
        }
        async with auditor.change(ADMIN, "task.create", wish.sn or wish.site_id, what):
            now_ms = clock.now_ms()
            if wish.expires_at is not None and wish.expires_at <= now_ms:
                raise Problem(422, "expiresAt has passed already")
            sns = await addressed(wish, now_ms)
            if wish.firmware_id is not None:
                raise Problem(422, "there is no such firmware")
            made = [_made(wish, sn, ids.next(), now_ms) for sn in sns]
            await store.add_many(made)
        await tell([one.task for one in made])
        return Tasks(items=[_answer(one.task) for one in made])

    @router.get("", summary="List tasks")
    async def list_tasks(
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
        if site_id is not None:
            there = [device.sn for device in await devices.at_site(site_id, clock.now_ms())]
            sns = tuple(one for one in there if sn in (None, one))
        found = await store.page(TaskQuery(sns=sns, state=state, apicode=apicode, before=before, limit=limit + 1))
        following = encode_cursor(listed, (found[limit - 1].task_id,)) if len(found) > limit else None
        return TaskPage(items=[_answer(task) for task in found[:limit]], next=following)

    @router.get("/{taskid}", summary="Show a task")
    async def show_task(taskid: str) -> Task:
        """One task with its history."""
        return _answer(await stored(taskid))

    @router.post("/{taskid}/cancel", summary="Cancel a task")
    async def cancel_task(taskid: str) -> Task:
        """No heartbeat lists it from then on. What the terminal has begun it may still do: its report changes nothing
        any more. Harmless when repeated; 409 where the task has ended otherwise."""
        async with auditor.change(ADMIN, "task.cancel", taskid, {}):
            entry = HistoryEntry(
                at_ms=clock.now_ms(), state=TaskState.CANCELLED, actor=ADMIN, traceparent=current_traceparent()
            )
            await store.change([taskid], entry)
            task = await stored(taskid)
            if task.state is not TaskState.CANCELLED:
                raise Problem(409, f"the task has ended already: {task.state}")
        try:
            await pending.remove_many({task.sn: [taskid]})
        except Unavailable as error:
            log.warning("a cancelled task stays listed until its device asks for it: %s", error)
        return _answer(task)

    async def addressed(wish: NewTasks, now_ms: int) -> list[str]:
        if wish.sn is not None:
            if not await devices.find([wish.sn]):
                raise Problem(404, "no such device")
            return [wish.sn]
        site_id = str(wish.site_id)
        if not await sites.find([site_id]):
            raise Problem(404, "no such site")
        return [device.sn for device in await devices.at_site(site_id, now_ms)]

    async def tell(made: list[tasks.Task]) -> None:
        trace = current_traceparent()
        push = [PushCommand(task.sn, task.task_id, task.apicode, task_param(task), trace) for task in made if task.push]
        try:
            await pending.add_many({task.sn: [task.task_id] for task in made}, push)
        except Unavailable as error:
            # The tasks are made; the index rebuilder of task-api finds what the index lacks, heartbeats list it then.
            metrics.tasks_unlisted += len(made)
            log.warning("%d new tasks are not in the pending index yet: %s", len(made), error)

    async def stored(taskid: str) -> tasks.Task:
        task = (await store.find([taskid])).get(taskid)
        if task is None:
            raise Problem(404, "no such task")
        return task

    return router


def _made(wish: NewTasks, sn: str, task_id: str, now_ms: int) -> NewTask:
    person_ids: tuple[str, ...] | None = None
    if wish.apicode in OF_PERSONS:
        # Left out: the persons of the site, fixed now (T8). Sites have no persons yet, so nobody.
        person_ids = tuple(wish.person_ids or ())
    task = made_task(
        task_id,
        sn,
        wish.apicode,
        at_ms=now_ms,
        actor=ADMIN,
        push=wish.push,
        expires_at_ms=wish.expires_at,
        exclude_fields=tuple(wish.exclude_fields or ()),
        named_persons=None if person_ids is None else len(person_ids),
        traceparent=current_traceparent(),
    )
    return NewTask(task=task, person_ids=person_ids)


def _answer(task: tasks.Task) -> Task:
    return Task(
        taskid=task.task_id,
        sn=task.sn,
        apicode=task.apicode,
        state=task.state,
        history=[
            TaskChange(at=rfc3339(entry.at_ms), state=entry.state, actor=entry.actor, reason=entry.reason)
            for entry in task.history
        ],
        push=task.push,
        exclude_fields=list(task.exclude_fields),
        named_persons=task.named_persons,
        person_count=task.outcome.person_count,
        face_count=task.outcome.face_count,
        failed_persons=[TaskFailure(person_id=one.person_id, code=one.code) for one in task.outcome.failed_persons],
        failed_faces=[TaskFailure(person_id=one.person_id, code=one.code) for one in task.outcome.failed_faces],
        created_at=rfc3339(task.history[0].at_ms),
        expires_at=None if task.expires_at_ms is None else rfc3339(task.expires_at_ms),
    )
