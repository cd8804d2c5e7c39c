"""T_GET_TASKS (3.1): gives a device the tasks that it asks for (T5, T6)."""

import json

from shared.domain.links import Links
from shared.domain.tasks import DEVICE, HistoryEntry, Task, TaskState, task_param
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.params import Param
from shared.runtime.tracing import current_traceparent
from task_api.interfaces.interface import Parts, TaskCall, possible_ids
from task_api.task_spans import link_to_makers


async def handle(call: TaskCall, parts: Parts) -> str | None:
    """The device's open ones of the tasks asked for, in the order asked; those given first become delivered, and
    ended and foreign ids leave the pending index."""
    sn = call.request.sn
    asked = read_asked(call.required_param())
    found = await parts.tasks.find(asked)
    given = [
        task
        for task_id in asked
        if (task := found.get(task_id)) is not None and task.sn == sn and task.is_open_at(call.now_ms)
    ]
    link_to_makers(given)
    entry = HistoryEntry(
        at_ms=call.now_ms,
        state=TaskState.DELIVERED,
        actor=DEVICE,
        reason="fetched",
        traceparent=current_traceparent(),
    )
    await parts.tasks.change([task.task_id for task in given if task.state is TaskState.PENDING], entry)
    given_ids = {task.task_id for task in given}
    dropped = [task_id for task_id in asked if task_id not in given_ids]
    if dropped:
        await parts.pending.remove_many({sn: dropped})
    return response_text(given, parts.links, call.now_ms)


def read_asked(param: Param) -> list[str]:
    """The ids asked for, each once. Raises ProtocolError (400_02)."""
    asked = param.read_ids("taskids", "taskIds")
    if asked is None:
        raise ProtocolError(ErrorCode.PARAM, "taskids missing")
    return possible_ids(asked)


def response_text(given: list[Task], links: Links, now_ms: int) -> str:
    """The response, compact; param is JSON text, absent where empty (T6)."""
    return json.dumps(
        {"tasks": [_members(task, links, now_ms) for task in given]}, ensure_ascii=False, separators=(",", ":")
    )


def _members(task: Task, links: Links, now_ms: int) -> dict[str, str]:
    members = {"taskid": task.task_id, "apicode": task.apicode.value}
    param = task_param(task, links, now_ms)
    return members if param is None else {**members, "param": param}
