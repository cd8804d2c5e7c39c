"""The pending index is whole again after a flush, and gains what it lacks (design rule 3)."""

import pytest

import task_api.index_rebuilder
from shared.domain.control import TasksChanged
from shared.domain.tasks import TaskState
from shared.stores.interfaces import NewTask
from task_api.index_rebuilder import IndexRebuilder
from tests.support.task_api import TaskApi
from tests.support.task_values import make_task

HEAL_SECONDS = 300
IDS = [str(6_541_951_958_563_696_640 + number) for number in range(7)]


@pytest.fixture
async def api() -> TaskApi:
    """Tasks of two devices, one of them ended, none of them in the index."""
    made = TaskApi()
    await made.begin()
    tasks = [make_task(task_id, sn) for task_id, sn in zip(IDS, ["1", "2", "1", "1", "2", "1", "1"], strict=True)]
    await made.tasks.add_many([NewTask(task=task) for task in tasks])
    await made.end(IDS[2], TaskState.CANCELLED)
    made.metrics.close()
    return made


def rebuilder_of(api: TaskApi) -> IndexRebuilder:
    return IndexRebuilder(api.tasks, api.pending, api.lock, api.clock, api.metrics, HEAL_SECONDS)


@pytest.mark.parametrize("page", [1000, 6, 2, 1])
async def test_design_3_after_a_flush_every_open_task_is_listed_again(
    api: TaskApi, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_api.index_rebuilder, "PAGE", page)
    await rebuilder_of(api).work()
    assert await api.pending.is_whole()
    assert list(await api.listed("1")) == [IDS[0], IDS[3], IDS[5], IDS[6]]
    assert list(await api.listed("2")) == [IDS[1], IDS[4]]
    assert set(await api.changes_told() or ()) == {TasksChanged("1"), TasksChanged("2")}
    assert (api.metrics.index_rebuilds, api.metrics.index_additions) == (1, 6)


async def test_design_3_a_flush_during_the_rebuilding_leaves_the_index_to_be_rebuilt_again(
    api: TaskApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuilder = rebuilder_of(api)
    add_many = api.pending.add_many

    async def flushed(task_ids: dict[str, list[str]]) -> int:
        added = await add_many(task_ids)
        api.pending.flush()
        return added

    monkeypatch.setattr(api.pending, "add_many", flushed)
    await rebuilder.work()
    assert (await api.pending.is_whole(), api.metrics.index_rebuilds) == (False, 0)
    monkeypatch.undo()
    await rebuilder.work()
    assert (await api.pending.is_whole(), len(await api.listed("1"))) == (True, 4)


async def test_a_rebuilder_that_loses_its_lock_stops_and_claims_nothing(
    api: TaskApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_api.index_rebuilder, "PAGE", 2)
    api.lock.held_elsewhere = True
    await rebuilder_of(api).work()
    assert (await api.pending.is_whole(), api.metrics.index_rebuilds, api.metrics.index_additions) == (False, 0, 2)


async def test_an_index_that_is_whole_and_lacks_a_task_gains_it_within_the_interval(api: TaskApi) -> None:
    rebuilder = rebuilder_of(api)
    await rebuilder.work()
    await api.pending.remove_many({"2": [IDS[1]]})  # as if its maker had died before it was added
    api.clock.advance(HEAL_SECONDS - 1)
    await rebuilder.work()
    assert list(await api.listed("2")) == [IDS[4]]
    api.clock.advance(1)
    await rebuilder.work()
    assert list(await api.listed("2")) == [IDS[1], IDS[4]]
    assert (api.metrics.index_rebuilds, api.metrics.index_additions) == (1, 7)


async def test_a_process_that_takes_over_looks_at_once(api: TaskApi) -> None:
    await rebuilder_of(api).work()
    await api.pending.remove_many({"2": [IDS[1]]})
    await rebuilder_of(api).work()
    assert list(await api.listed("2")) == [IDS[1], IDS[4]]
