"""T_UPDATE_TASKS_STATUS (3.2): takes a device's report of how its tasks ended (T7)."""

import msgspec

from shared.domain.rosters import ROSTER_APICODES
from shared.domain.tasks import DEVICE, STATUS_STATES, Failure, HistoryEntry, Outcome, TaskState
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.params import Param
from shared.runtime.tracing import current_traceparent
from task_api.interfaces.interface import Parts, TaskCall, possible_ids
from task_api.task_spans import link_to_makers

MAX_FAILURES = 10_000
"""Failed persons and faces that are kept of a report, each: a task may name every person of a large site."""
MAX_CODE_CHARACTERS = 64


class StatusReport(msgspec.Struct, frozen=True):
    """One task object: its ids ended so."""

    task_ids: list[str]
    state: TaskState
    outcome: Outcome


async def handle(call: TaskCall, parts: Parts) -> str | None:
    """Ends the device's tasks as it reports; those that have ended stay as they did, and foreign ids are left out.
    There is no response."""
    sn = call.request.sn
    reports = read_reports(call.required_param())
    named = possible_ids([task_id for report in reports for task_id in report.task_ids])
    found = await parts.tasks.find(named)
    if not any(task.sn == sn for task in found.values()):
        raise ProtocolError(ErrorCode.PARAM, "none of the tasks is this device's")
    link_to_makers(task for task in found.values() if task.sn == sn)
    for report in reports:
        entry = HistoryEntry(
            at_ms=call.now_ms,
            state=report.state,
            actor=DEVICE,
            reason="reported",
            traceparent=current_traceparent(),
        )
        await parts.tasks.change(possible_ids(report.task_ids), entry, sn=sn, outcome=report.outcome)
    if any(task.sn == sn and task.apicode in ROSTER_APICODES for task in found.values()):
        await parts.roster_marks.mark_devices([sn])
    # Every one of them has ended now, or never was this device's.
    await parts.pending.remove_many({sn: named})
    return None


def read_reports(param: Param) -> list[StatusReport]:
    """The task objects; counts stand in them or beside them. Raises ProtocolError (400_02)."""
    tasks = param.read_objects("task")
    if not tasks:
        raise ProtocolError(ErrorCode.PARAM, "task missing")
    return [_read_report(task, param) for task in tasks]


def _read_report(task: Param, param: Param) -> StatusReport:
    task_ids = task.read_ids("taskid", "taskId")
    if not task_ids:
        raise ProtocolError(ErrorCode.PARAM, "taskid missing")
    status = task.read_whole_number("status")
    if status is None:
        raise ProtocolError(ErrorCode.PARAM, "status missing")
    state = STATUS_STATES.get(status)
    if state is None:
        raise ProtocolError(ErrorCode.PARAM, "status is not 1, 2 or 3")
    outcome = Outcome(
        person_count=_read_count("personCount", task, param),
        face_count=_read_count("faceCount", task, param),
        failed_persons=_read_failures("failedPersons", task),
        failed_faces=_read_failures("failedFaces", task),
    )
    return StatusReport(task_ids, state, outcome)


def _read_count(name: str, task: Param, param: Param) -> int | None:
    count = task.read_whole_number(name)
    if count is None:
        count = param.read_whole_number(name)
    if count is not None and count < 0:
        raise ProtocolError(ErrorCode.PARAM, f"{name} is below 0")
    return count


def _read_failures(name: str, task: Param) -> tuple[Failure, ...]:
    return tuple(_read_failure(name, failure) for failure in (task.read_objects(name) or ())[:MAX_FAILURES])


def _read_failure(name: str, failure: Param) -> Failure:
    person_id = failure.read_text("personId")
    if person_id is None or not 1 <= len(person_id) <= 64:
        raise ProtocolError(ErrorCode.PARAM, f"{name}: personId is not 1 to 64 characters")
    code = failure.read_text("errCode")
    return Failure(person_id, None if code is None else code[:MAX_CODE_CHARACTERS])
