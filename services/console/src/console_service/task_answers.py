"""Tasks as the REST API shows them."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.times import Moment
from shared.domain import tasks
from shared.domain.attendance import rfc3339
from shared.domain.tasks import TaskState
from shared.protocol.apicodes import Apicode


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class TaskChange(_Answer):
    """One change of a task's state."""

    at: Moment
    state: TaskState
    actor: str = Field(description="`device`, `platform`, `planner`, or an operator.", examples=["device"])
    reason: str | None = Field(examples=["fetched"])


class TaskFailure(_Answer):
    """A worker whom the terminal could not take."""

    person_id: str = Field(examples=["4508004291609636864"])
    code: str | None = Field(description="The terminal's own code for why.", examples=["404_1"])


class Task(_Answer):
    """What a terminal is to do, and what became of it."""

    taskid: str = Field(examples=["6541951958563696640"])
    sn: str = Field(examples=["84E0F42C5D1A"])
    apicode: Apicode
    state: TaskState
    history: list[TaskChange] = Field(description="Oldest first; the last one is the state.")
    push: bool
    exclude_fields: list[str] = Field(examples=[[]])
    named_persons: int | None = Field(description="How many workers it names; null: it names none.", examples=[120])
    firmware_id: str | None = Field(description="The package that is to be installed.", examples=[None])
    person_count: int | None = Field(description="As the terminal reported it.", examples=[119])
    face_count: int | None = Field(description="As the terminal reported it.", examples=[118])
    failed_persons: list[TaskFailure]
    failed_faces: list[TaskFailure]
    created_at: Moment
    expires_at: Moment | None


class Tasks(_Answer):
    """Tasks, of several terminals one each, in order of sn."""

    items: list[Task]


def task_answer(task: tasks.Task) -> Task:
    """The answer of one task."""
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
        firmware_id=None if task.firmware is None else task.firmware.firmware_id,
        person_count=task.outcome.person_count,
        face_count=task.outcome.face_count,
        failed_persons=[TaskFailure(person_id=one.person_id, code=one.code) for one in task.outcome.failed_persons],
        failed_faces=[TaskFailure(person_id=one.person_id, code=one.code) for one in task.outcome.failed_faces],
        created_at=rfc3339(task.history[0].at_ms),
        expires_at=None if task.expires_at_ms is None else rfc3339(task.expires_at_ms),
    )
