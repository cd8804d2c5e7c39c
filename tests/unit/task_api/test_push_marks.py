import pytest

from shared.domain.tasks import PLATFORM, HistoryEntry, TaskState
from shared.runtime.unavailable import Unavailable
from shared.stores.memory_tasks import MemoryPushedTasks
from task_api import push_marks
from task_api.push_marks import PushMarks
from tests.support.session_values import NOW_MS
from tests.support.task_api import TaskApi
from tests.support.task_values import make_task

A, B, C = "6541951958563696640", "6541951958563696641", "6541951958563696642"


def make_marks(api: TaskApi) -> tuple[PushMarks, MemoryPushedTasks]:
    pushed = MemoryPushedTasks()
    return PushMarks(api.tasks, pushed, api.lock, api.clock), pushed


async def test_t5_a_pushed_task_is_delivered() -> None:
    api = TaskApi()
    await api.add(make_task(A), make_task(B))
    marks, pushed = make_marks(api)
    await pushed.add_many([A])
    await marks.work()
    assert (await api.task(A)).history[-1] == HistoryEntry(
        at_ms=NOW_MS, state=TaskState.DELIVERED, actor=PLATFORM, reason="pushed"
    )
    assert (await api.task(B)).state is TaskState.PENDING
    assert pushed.task_ids == set()


async def test_t7_a_task_that_its_device_ended_or_fetched_before_the_mark_stays_as_it_is() -> None:
    api = TaskApi()
    await api.add(make_task(A), make_task(B))
    await api.end(A)
    await api.end(B, TaskState.DELIVERED)
    before = await api.tasks.find([A, B])
    marks, pushed = make_marks(api)
    await pushed.add_many([A, B, C])
    await marks.work()
    assert await api.tasks.find([A, B]) == before
    assert pushed.task_ids == set()


async def test_what_could_not_be_marked_is_marked_later() -> None:
    api = TaskApi()
    await api.add(make_task(A))
    marks, pushed = make_marks(api)
    await pushed.add_many([A])
    api.tasks.available = False
    with pytest.raises(Unavailable):
        await marks.work()
    assert pushed.task_ids == {A}
    api.tasks.available = True
    await marks.work()
    assert (await api.task(A)).state is TaskState.DELIVERED


async def test_many_pushes_are_marked_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_marks, "PAGE", 2)
    api = TaskApi()
    await api.add(make_task(A), make_task(B), make_task(C))
    marks, pushed = make_marks(api)
    await pushed.add_many([A, B, C])
    await marks.work()
    assert [(await api.task(one)).state for one in (A, B, C)] == [TaskState.DELIVERED] * 3
