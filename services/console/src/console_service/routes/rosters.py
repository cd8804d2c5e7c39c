"""Rosters of terminals: how whom each holds differs from whom it should hold, and making that good."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.audit import Auditor
from console_service.operators import Operating, Viewing
from console_service.planner import Planner
from console_service.task_answers import Tasks, task_answer
from console_service.times import Moment
from shared.domain.attendance import rfc3339
from shared.domain.devices import Device, stands_at
from shared.domain.operators import Operator
from shared.domain.roster_plans import compared, settled
from shared.domain.rosters import Failed
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.stores.interfaces import DeviceStore, TaskStore
from shared.stores.person_interfaces import PersonStore
from shared.stores.roster_interfaces import RosterStore


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class DifferentPerson(_Answer):
    """A worker whom the terminal holds otherwise than it should."""

    person_id: str = Field(examples=["330100-0001"])
    fields: list[str] = Field(
        description="`name`; `hasImg`: one has a face and the other none; `img`: another face.", examples=[["name"]]
    )


class RosterFailure(_Answer):
    """What the terminal could not do of one worker. It is tried again after a pause, which grows with every attempt;
    at once where the worker's name or face is changed, or by a reconcile."""

    person_id: str = Field(examples=["330100-0001"])
    what: str = Field(description="`person`, or `face` where it took the worker without it.", examples=["face"])
    code: str | None = Field(description="The terminal's own code for why.", examples=["404_1"])
    at: Moment = Field(description="Of the last attempt.")
    attempts: int = Field(examples=[2])


class Roster(_Answer):
    """A terminal against its site: what follows from the tasks that it reported as ended, and from its own report."""

    sn: str = Field(examples=["84E0F42C5D1A"])
    reported_at: Moment | None = Field(description="When its report (T_POST_DEVICE_PERSON) was whole last.")
    complete: bool = Field(description="false where pages of its newest report are missing, or it never made one.")
    missing: list[str] = Field(
        description="Workers whom it should hold, and does not for sure.", examples=[["330100-0001"]]
    )
    extra: list[str] = Field(description="Workers whom it may hold, and should not.", examples=[["330100-0002"]])
    different: list[DifferentPerson]
    failed: list[RosterFailure]
    open_tasks: list[str] = Field(
        description="Tasks about its workers that have not ended.", examples=[["6541951958563696640"]]
    )


def roster_routes(
    rosters: RosterStore,
    tasks: TaskStore,
    persons: PersonStore,
    devices: DeviceStore,
    planner: Planner,
    auditor: Auditor,
    clock: Clock,
) -> APIRouter:
    """The routes under /devices/{sn} that are about rosters; they go before that of a device, whose sn is a path."""
    router = APIRouter(prefix="/devices", tags=["rosters"])

    @router.get("/{sn:path}/roster", summary="Show a device's roster")
    async def show_roster(operator: Viewing, sn: str) -> Roster:
        """Which workers of its site a terminal lacks, holds too many, or holds otherwise than it should, as far as is
        known. Have it report first (POST /tasks, T_POST_DEVICE_PERSON) where you must be sure."""
        device = await stored(operator, sn)
        roster = (await rosters.find([sn]))[sn].roster
        found = await tasks.find([one.task_id for one in roster.open])
        site_id, _ = stands_at(device, clock.now_ms())
        desired = {} if site_id is None else await persons.at_site(site_id)
        # What has ended counts at once here; the planner takes it into account a moment later.
        roster = settled(roster, found, desired, clock.now_ms())
        comparison = compared(roster, desired)
        return Roster(
            sn=sn,
            reported_at=None if roster.reported_at_ms is None else rfc3339(roster.reported_at_ms),
            complete=roster.report_is_whole,
            missing=list(comparison.missing),
            extra=list(comparison.extra),
            different=[
                DifferentPerson(person_id=person_id, fields=list(fields))
                for person_id, fields in comparison.different.items()
            ],
            failed=[_failure(person_id, failure) for person_id, failure in sorted(roster.failures.items())],
            open_tasks=[one.task_id for one in roster.open],
        )

    @router.post("/{sn:path}/reconcile", summary="Make a device's roster good")
    async def reconcile(operator: Operating, sn: str) -> Tasks:
        """Has a terminal brought to its site's roster at once: also workers are deleted there that it reported and
        the platform never sent, and what failed is tried again without waiting. Answers the planner's task that is
        open then: one of three at most, of which the others follow as it ends; none where nothing is to be done, an
        operator's task about its workers has not ended yet, or the device is disabled. Harmless when repeated."""
        async with auditor.change(operator.who, "device.reconcile", sn, {}):
            await stored(operator, sn)
            found = await planner.reconcile(sn, operator.who)
        return Tasks(items=[task_answer(task) for task in found])

    async def stored(operator: Operator, sn: str) -> Device:
        device = (await devices.find([sn])).get(sn)
        if device is None or not operator.sees(stands_at(device, clock.now_ms())[0]):
            raise Problem(404, "no such device")
        return device

    return router


def _failure(person_id: str, failure: Failed) -> RosterFailure:
    return RosterFailure(
        person_id=person_id,
        what=failure.what or "person",
        code=failure.code,
        at=rfc3339(failure.at_ms),
        attempts=failure.attempts,
    )
