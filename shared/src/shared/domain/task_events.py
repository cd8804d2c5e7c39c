"""`device.task.v1`: a change of a task as a CloudEvent, made from its history (design: Kafka)."""

import msgspec

from shared.domain.attendance import rfc3339
from shared.domain.events import (
    TASK_TOPIC,
    ConsumedRecord,
    Fault,
    InvalidRecord,
    Record,
    read_attribute,
    read_of_type,
    read_time,
)
from shared.domain.tasks import STATUS_STATES, Task, TaskState
from shared.protocol.apicodes import Apicode

TASK_TYPE = "device.task.v1"


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The value of `device.task.v1`: one entry of a task's history."""

    taskid: str
    sn: str
    apicode: Apicode
    state: TaskState
    at: str
    actor: str
    reason: str | None
    person_count: int | None
    """As the device reported it with the end of the task; None in every other entry."""
    face_count: int | None


def task_record(task: Task, number: int) -> Record:
    """The record of the history's entry of this number, from 0. The same at every call: an entry never changes."""
    entry = task.history[number]
    # Only what the device reported itself has counts: an earlier entry must not change when they come.
    reported = entry.state in STATUS_STATES.values()
    event = TaskEvent(
        taskid=task.task_id,
        sn=task.sn,
        apicode=task.apicode,
        state=entry.state,
        at=rfc3339(entry.at_ms),
        actor=entry.actor,
        reason=entry.reason,
        person_count=task.outcome.person_count if reported else None,
        face_count=task.outcome.face_count if reported else None,
    )
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{task.task_id}-{number}".encode()),
        ("ce_source", b"/task-api"),
        ("ce_type", TASK_TYPE.encode()),
        ("ce_time", event.at.encode()),
        ("ce_datacontenttype", b"application/json"),
        ("content-type", b"application/json"),
    )
    return Record(TASK_TOPIC, task.sn.encode(), msgspec.json.encode(event), headers, entry.at_ms)


def read_task(record: ConsumedRecord) -> TaskEvent:
    """The reverse of task_record. Raises InvalidRecord."""
    event, headers = read_of_type(record, TASK_TYPE, TaskEvent)
    if record.key != event.sn.encode():
        raise InvalidRecord(Fault.KEY, "the key is not sn")
    read_time(event.at)
    if not read_attribute(headers, "ce_id").startswith(f"{event.taskid}-"):
        raise InvalidRecord(Fault.ID, "ce_id is not one of the task's")
    return event
