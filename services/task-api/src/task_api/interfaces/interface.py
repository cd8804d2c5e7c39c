"""The one shape of a T_ interface, and the reading that several of them share."""

from collections.abc import Awaitable, Callable

import msgspec

from shared.domain.links import Links
from shared.domain.tasks import Task, is_task_id
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_messages import TaskRequest
from shared.protocol.params import Param
from shared.stores.interfaces import DeviceStore, PendingTasks, TaskStore
from shared.stores.person_interfaces import PersonStore, RosterMarks
from shared.stores.roster_interfaces import RosterStore
from task_api.task_spans import link_to_makers

MAX_TASK_IDS = 1_000
"""Ids that one request may name. A heartbeat lists 50 at most (M7)."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the interfaces work with."""

    tasks: TaskStore
    pending: PendingTasks
    persons: PersonStore
    devices: DeviceStore
    rosters: RosterStore
    roster_marks: RosterMarks
    links: Links


class TaskCall(msgspec.Struct, frozen=True):
    """A request whose sign was right; what its param says is still to be read."""

    request: TaskRequest
    param: Param | None
    now_ms: int

    def required_param(self) -> Param:
        """The param. Raises ProtocolError (400_02) where the request has none."""
        if self.param is None:
            raise ProtocolError(ErrorCode.PARAM, "param missing")
        return self.param


Handler = Callable[[TaskCall, Parts], Awaitable[str | None]]
"""Carries a call out and gives the answer's response as compact JSON text, None where it has none.

Raises ProtocolError for what the device did wrong, Unavailable for what we did.
"""


def possible_ids(named: list[str]) -> list[str]:
    """Those that can be ids of tasks, each once; the others are unknown ids like any (T6, T7).

    Raises ProtocolError (400_02) where one request names too many.
    """
    if len(named) > MAX_TASK_IDS:
        raise ProtocolError(ErrorCode.PARAM, f"more than {MAX_TASK_IDS} task ids")
    return [task_id for task_id in dict.fromkeys(named) if is_task_id(task_id)]


async def named_task(call: TaskCall, tasks: TaskStore) -> Task:
    """The task that a request names (T12). Raises ProtocolError (400_02) where it is not this device's, has ended, or
    is for another interface: one text for all of them, since whose it is concerns nobody else."""
    request = call.request
    if not request.task_id:
        raise ProtocolError(ErrorCode.PARAM, "taskid missing")
    task = (await tasks.find(possible_ids([request.task_id]))).get(request.task_id)
    if task is None or task.sn != request.sn or not task.is_open_at(call.now_ms) or task.apicode != request.apicode:
        raise ProtocolError(ErrorCode.PARAM, "taskid names no open task of this device and apicode")
    link_to_makers([task])
    return task
