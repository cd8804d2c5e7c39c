"""Stores of tasks behave alike in memory, Redis and MongoDB."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from opentelemetry.trace import SpanKind

from shared.domain.control import PushCommand, TasksChanged
from shared.domain.tasks import DEVICE, Failure, HistoryEntry, Outcome, TaskState
from shared.protocol.apicodes import Apicode
from shared.runtime.tracing import as_current
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import ControlStream, NewTask, PendingTasks, PushedTasks, TaskQuery, TaskStore
from shared.stores.memory import MemoryControlStream
from shared.stores.memory_tasks import MemoryPendingTasks, MemoryPushedTasks, MemoryTaskStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.tasks import MongoTaskStore
from shared.stores.redis.client import open_redis
from shared.stores.redis.control_stream import RedisControlStream
from shared.stores.redis.pending_tasks import RedisPendingTasks
from shared.stores.redis.pushed_tasks import RedisPushedTasks
from tests.support.session_values import NOW_MS
from tests.support.spans import KeptSpans
from tests.support.task_values import make_task

A, B, C, D = "6541951958563696640", "6541951958563696641", "6541951958563696642", "6541951958563696643"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Index(msgspec.Struct):
    """One implementation, and a reader of the control stream that has begun."""

    pending: PendingTasks
    control: ControlStream


@pytest.fixture(params=["memory", "mongo"])
async def tasks(request: pytest.FixtureRequest) -> AsyncIterator[TaskStore]:
    if request.param == "memory":
        yield MemoryTaskStore()
        return
    async with open_mongo(request.getfixturevalue("mongo_settings"), "test") as database:
        await make_indexes(database)
        yield MongoTaskStore(database)


@pytest.fixture(params=["memory", "redis"])
async def index(request: pytest.FixtureRequest) -> AsyncIterator[Index]:
    if request.param == "memory":
        control = MemoryControlStream()
        assert await control.read(1) is None
        yield Index(MemoryPendingTasks(control), control)
        return
    async with open_redis(request.getfixturevalue("redis_settings")) as redis:
        reader = RedisControlStream(redis)
        assert await reader.read(1) is None
        yield Index(RedisPendingTasks(redis), reader)


@pytest.fixture(params=["memory", "redis"])
async def pushed(request: pytest.FixtureRequest) -> AsyncIterator[PushedTasks]:
    if request.param == "memory":
        yield MemoryPushedTasks()
        return
    async with open_redis(request.getfixturevalue("redis_settings")) as redis:
        yield RedisPushedTasks(redis)


def entry(state: TaskState, at_ms: int = NOW_MS + 1000, reason: str | None = None) -> HistoryEntry:
    return HistoryEntry(at_ms=at_ms, state=state, actor=DEVICE, reason=reason)


async def add(tasks: TaskStore, *task_ids: str, sn: str = "1388186", **changes: object) -> None:
    await tasks.add_many([NewTask(task=make_task(task_id, sn, **changes)) for task_id in task_ids])


# ── tasks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_task_is_read_back_as_it_was_made(tasks: TaskStore) -> None:
    made = make_task(
        A,
        apicode=Apicode.T_POST_DEVICE_PERSON,
        push=True,
        expires_at_ms=NOW_MS + 5,
        exclude_fields=("img", "name"),
        named_persons=2,
        traceparent=TRACEPARENT,
    )
    await tasks.add_many([NewTask(task=made, person_ids=("1", "2"))])
    assert await tasks.find([A, B]) == {A: made}
    assert list(await tasks.person_ids(A) or ()) == ["1", "2"]


async def test_persons_that_a_task_does_not_name_are_none(tasks: TaskStore) -> None:
    await add(tasks, A)
    assert await tasks.person_ids(A) is None
    assert await tasks.person_ids(B) is None
    assert list(await tasks.person_ids_page(A, 0, 10)) == []
    assert list(await tasks.person_ids_page(B, 0, 10)) == []


@pytest.mark.parametrize(
    ("start", "length", "numbers"),
    [
        (0, 10, range(10)),
        (10, 10, range(10, 20)),
        (20, 10, range(20, 25)),
        (24, 1, [24]),
        (25, 10, []),
        (0, 100, range(25)),
    ],
)
async def test_t8_part_of_the_named_persons_is_read_in_the_order_in_which_they_were_named(
    tasks: TaskStore, start: int, length: int, numbers: list[int]
) -> None:
    # Not in the order of their ids, nor each once in it.
    named = tuple(f"{number * 7 % 25:02}" for number in range(25))
    await tasks.add_many([NewTask(task=make_task(A, named_persons=25), person_ids=named)])
    assert list(await tasks.person_ids_page(A, start, length)) == [named[number] for number in numbers]


async def test_an_id_that_is_taken_is_no_fault_of_the_callers_and_those_before_it_stand(tasks: TaskStore) -> None:
    await add(tasks, B)
    with pytest.raises(Unavailable):
        await add(tasks, A, B, C, sn="another")
    found = await tasks.find([A, B, C])
    assert {task_id: task.sn for task_id, task in found.items()} == {A: "another", B: "1388186"}


async def test_t5_a_change_is_the_state_and_one_entry_of_the_history(tasks: TaskStore) -> None:
    await add(tasks, A)
    delivered = entry(TaskState.DELIVERED, reason="fetched")
    assert await tasks.change([A], delivered) == 1
    task = (await tasks.find([A]))[A]
    assert task.state is TaskState.DELIVERED
    assert task.history[1:] == (delivered,)
    assert task.history[0].state is TaskState.PENDING


async def test_t7_what_has_ended_stays_as_it_ended(tasks: TaskStore) -> None:
    await add(tasks, A)
    reported = Outcome(person_count=300, face_count=200, failed_persons=(Failure("1", "404_1"),))
    assert await tasks.change([A], entry(TaskState.DONE), outcome=reported) == 1
    ended = await tasks.find([A])
    for state in TaskState:
        assert await tasks.change([A], entry(state), outcome=Outcome(person_count=1)) == 0, state
    assert await tasks.find([A]) == ended
    assert ended[A].outcome == reported


async def test_a_change_to_delivered_leaves_delivered_tasks_alone(tasks: TaskStore) -> None:
    await add(tasks, A, B)
    assert await tasks.change([A], entry(TaskState.DELIVERED)) == 1
    assert await tasks.change([A, B, C], entry(TaskState.DELIVERED)) == 1
    assert [len(task.history) for task in (await tasks.find([A, B])).values()] == [2, 2]


async def test_a_change_of_one_devices_tasks_leaves_anothers_alone(tasks: TaskStore) -> None:
    await add(tasks, A, sn="1")
    await add(tasks, B, sn="2")
    assert await tasks.change([A, B], entry(TaskState.DONE), sn="2") == 1
    assert (await tasks.find([A]))[A].state is TaskState.PENDING


async def test_of_racers_for_the_end_of_a_task_one_wins(tasks: TaskStore) -> None:
    await add(tasks, A)
    ends = [TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED, TaskState.EXPIRED] * 5
    won = await asyncio.gather(*(tasks.change([A], entry(state)) for state in ends))
    assert sum(won) == 1
    task = (await tasks.find([A]))[A]
    assert [one.state for one in task.history] == [TaskState.PENDING, ends[won.index(1)]]


async def test_lists_are_newest_first_and_paged(tasks: TaskStore) -> None:
    await add(tasks, A, C, D, sn="1")
    await add(tasks, B, sn="2", apicode=Apicode.T_CLEAR_DEVICE_PERSON)
    await tasks.change([C], entry(TaskState.DONE))

    async def listed(**query: object) -> list[str]:
        return [task.task_id for task in await tasks.page(TaskQuery(**query))]  # type: ignore[arg-type]  # the test's own values

    assert await listed() == [D, C, B, A]
    assert await listed(limit=3) == [D, C, B]
    assert await listed(before=B) == [A]
    assert await listed(sns=("1",)) == [D, C, A]
    assert await listed(sns=("1",), before=D, limit=1) == [C]
    assert await listed(sns=("2", "3", "1"), limit=2) == [D, C]
    assert await listed(sns=()) == []
    assert await listed(state=TaskState.PENDING) == [D, B, A]
    assert await listed(apicode=Apicode.T_CLEAR_DEVICE_PERSON) == [B]
    assert await listed(sns=("2",), apicode=Apicode.T_SEND_PERSON) == []


async def test_open_tasks_are_oldest_first_and_without_the_ended(tasks: TaskStore) -> None:
    await add(tasks, D, A, B, sn="1")
    await add(tasks, C, sn="2")
    await tasks.change([B], entry(TaskState.CANCELLED))
    await tasks.change([A], entry(TaskState.DELIVERED))
    assert [task.task_id for task in await tasks.open_of("1")] == [A, D]
    assert list(await tasks.open_ids(None, 10)) == [(A, "1"), (C, "2"), (D, "1")]
    assert list(await tasks.open_ids(A, 1)) == [(C, "2")]


async def test_overdue_are_the_open_ones_whose_time_has_come(tasks: TaskStore) -> None:
    await add(tasks, A, expires_at_ms=NOW_MS)
    await add(tasks, B, expires_at_ms=NOW_MS - 1)
    await add(tasks, C, expires_at_ms=NOW_MS + 1)
    await add(tasks, D)
    assert [task.task_id for task in await tasks.overdue(NOW_MS, 10)] == [B, A]
    assert [task.task_id for task in await tasks.overdue(NOW_MS, 1)] == [B]
    await tasks.change([B], entry(TaskState.EXPIRED))
    assert [task.task_id for task in await tasks.overdue(NOW_MS, 10)] == [A]


async def test_the_outbox_holds_each_history_until_it_was_relayed_to_its_end(tasks: TaskStore) -> None:
    await add(tasks, A, B)
    assert {one.task.task_id: one.relayed for one in await tasks.unrelayed(10)} == {A: 0, B: 0}
    await tasks.mark_relayed({A: 1, B: 1})
    assert list(await tasks.unrelayed(10)) == []
    await tasks.change([A], entry(TaskState.DELIVERED))
    await tasks.change([A], entry(TaskState.DONE))
    assert [(one.task.task_id, one.relayed, len(one.task.history)) for one in await tasks.unrelayed(10)] == [(A, 1, 3)]
    await tasks.mark_relayed({A: 2})  # the last entry came while the one before it was relayed
    assert [(one.task.task_id, one.relayed) for one in await tasks.unrelayed(10)] == [(A, 2)]
    await tasks.mark_relayed({A: 1})  # late, from a relay whose lock had expired
    assert [(one.task.task_id, one.relayed) for one in await tasks.unrelayed(10)] == [(A, 2)]
    await tasks.mark_relayed({A: 3})
    assert list(await tasks.unrelayed(10)) == []


async def test_the_outbox_gives_all_of_a_device_or_nothing(tasks: TaskStore) -> None:
    await add(tasks, A, D, sn="1")
    await add(tasks, B, C, sn="2")
    given = await tasks.unrelayed(1)
    assert len(given) == 2
    assert len({one.task.sn for one in given}) == 1


# ── pending index ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_m7_pending_ids_are_given_oldest_first_and_at_most_so_many(index: Index) -> None:
    await index.pending.add_many({"1": [C, A, B], "2": [D]})
    assert [list(ids) for ids in await index.pending.oldest(["2", "1", "3"], 2)] == [[D], [A, B], []]


async def test_what_is_added_or_removed_is_told_once_a_device_and_only_where_it_changed(index: Index) -> None:
    assert await index.pending.add_many({"1": [A, B], "2": [C]}) == 3
    assert await index.control.read(100) == [TasksChanged("1"), TasksChanged("2")]
    assert await index.pending.add_many({"1": [A], "2": [C, D]}) == 1
    assert await index.control.read(100) == [TasksChanged("2")]
    assert await index.pending.remove_many({"1": [A, D], "3": [A]}) == 1
    assert await index.control.read(100) == [TasksChanged("1")]
    assert [list(ids) for ids in await index.pending.oldest(["1", "2", "3"], 50)] == [[B], [C, D], []]
    assert await index.pending.add_many({}) == await index.pending.remove_many({}) == 0


async def test_c1_a_push_is_told_after_the_index_knows_the_task(index: Index) -> None:
    push = PushCommand("1", A, "T_POST_DEVICE_PERSON", '{"excludeFields":"img"}')
    assert await index.pending.add_many({"1": [A], "2": [B]}, [push]) == 2
    assert await index.control.read(100) == [TasksChanged("1"), TasksChanged("2"), push]


async def test_what_is_added_in_a_traced_request_is_told_with_its_trace_and_what_is_removed_is_not(
    index: Index,
) -> None:
    with KeptSpans().tracing.start("a request", SpanKind.SERVER) as span, as_current(span):
        await index.pending.add_many({"1": [A], "2": [B]}, [PushCommand("1", A, "T_CLEAR_DEVICE_PERSON")])
        await index.pending.remove_many({"2": [B]})
    await index.pending.add_many({"2": [B]})
    assert await index.control.read(100) == [
        TasksChanged("1", span.traceparent),
        TasksChanged("2", span.traceparent),
        PushCommand("1", A, "T_CLEAR_DEVICE_PERSON"),
        TasksChanged("2"),
        TasksChanged("2"),
    ]


async def test_an_sn_of_any_characters_is_told_as_it_is(index: Index) -> None:
    sn = '终端 "1"\\/\n'
    await index.pending.add_many({sn: [A]})
    assert await index.control.read(100) == [TasksChanged(sn)]


async def test_design_3_the_index_is_whole_once_a_rebuilding_has_ended(index: Index) -> None:
    assert not await index.pending.is_whole()
    mark = await index.pending.begin_rebuild()
    assert not await index.pending.is_whole()
    assert await index.pending.end_rebuild(mark)
    assert await index.pending.is_whole()
    assert not await index.pending.end_rebuild(mark)


async def test_a_rebuilding_that_another_has_overtaken_ends_nothing(index: Index) -> None:
    first = await index.pending.begin_rebuild()
    second = await index.pending.begin_rebuild()
    assert not await index.pending.end_rebuild(first)
    assert not await index.pending.is_whole()
    assert await index.pending.end_rebuild(second)


# ── pushed tasks ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_t5_a_pushed_task_is_kept_once_until_it_is_removed(pushed: PushedTasks) -> None:
    await pushed.add_many([C, A])
    await pushed.add_many([A, B])
    await pushed.add_many([])
    assert list(await pushed.oldest(2)) == [A, B]
    await pushed.remove_many([A, B, D])
    await pushed.remove_many([])
    assert list(await pushed.oldest(10)) == [C]
