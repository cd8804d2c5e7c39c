"""A task in the trace of whoever made it: each change that is relayed is a span there, and links to the request that
made the change. A device's request links to the tasks that it is about."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from opentelemetry.trace import SpanKind

from shared.domain.events import TASK_TOPIC, Record
from shared.domain.task_events import task_record
from shared.domain.tasks import Task
from shared.kafka.record_spans import publish_attributes, with_traceparent
from shared.runtime.telemetry_names import APICODE, PUBLISH_SPAN, SN, TASK_ID, TASK_STATE
from shared.runtime.tracing import Tracing, current_span, sampled_parent


class Change(NamedTuple):
    """One entry of a task's history."""

    task: Task
    number: int


@contextmanager
def publishing(tracing: Tracing, changes: Sequence[Change]) -> Iterator[list[Record]]:
    """The changes' records, while they are sent."""
    with ExitStack() as stack:
        yield [_record(stack, tracing, change) for change in changes]


def _record(stack: ExitStack, tracing: Tracing, change: Change) -> Record:
    task, number = change
    record = task_record(task, number)
    maker = sampled_parent(task.history[0].traceparent) if tracing.is_on else None
    if maker is None:
        return record
    entry = task.history[number]
    changer = sampled_parent(entry.traceparent) if number else None
    span = tracing.start(
        PUBLISH_SPAN.format(topic=TASK_TOPIC),
        SpanKind.PRODUCER,
        {
            **publish_attributes(TASK_TOPIC),
            APICODE: task.apicode.value,
            SN: task.sn,
            TASK_ID: task.task_id,
            TASK_STATE: entry.state.value,
        },
        parent=maker,
        links=[] if changer is None else [changer],
    )
    return with_traceparent(record, stack.enter_context(span))


def link_to_makers(tasks: Iterable[Task]) -> None:
    """Links the current request, where it is traced, to the traces of these tasks."""
    if (span := current_span()) is not None:
        for task in tasks:
            if (maker := sampled_parent(task.history[0].traceparent)) is not None:
                span.link(maker)
