"""Tasks whose time has passed expire, and leave the index (T5)."""

import pytest

import task_api.expiry
from shared.domain.tasks import TaskState
from task_api.expiry import Expiry
from tests.support.session_values import NOW_MS
from tests.support.task_api import SN, TaskApi
from tests.support.task_values import make_task

IDS = [str(6_541_951_958_563_696_640 + number) for number in range(5)]


def expiry_of(api: TaskApi) -> Expiry:
    return Expiry(api.tasks, api.pending, api.roster_marks, api.lock, api.clock, api.metrics)


@pytest.fixture
async def api() -> TaskApi:
    made = TaskApi()
    await made.begin()
    await made.add(*(make_task(task_id, expires_at_ms=NOW_MS + 1000 * number) for number, task_id in enumerate(IDS)))
    made.metrics.close()
    return made


@pytest.mark.parametrize("page", [500, 2, 1])
async def test_t5_what_is_overdue_expires_and_the_rest_goes_on(
    api: TaskApi, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_api.expiry, "PAGE", page)
    api.clock.advance(2)
    await expiry_of(api).work()
    assert [(await api.task(task_id)).state for task_id in IDS] == ["expired"] * 3 + ["pending"] * 2
    assert list(await api.listed(SN)) == IDS[3:]
    last = (await api.task(IDS[0])).history[-1]
    assert (last.at_ms, last.actor, last.reason) == (NOW_MS + 2000, "platform", "expiresAt passed")
    assert api.metrics.expired == 3
    assert list(await api.rosters.due(NOW_MS + 2000, 9)) == [SN]


async def test_t7_a_task_that_its_device_ended_first_does_not_expire(api: TaskApi) -> None:
    await api.end(IDS[0])
    await expiry_of(api).work()
    assert (await api.task(IDS[0])).state is TaskState.DONE
    assert api.metrics.expired == 0


async def test_an_expiry_that_loses_its_lock_stops_after_its_page(
    api: TaskApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_api.expiry, "PAGE", 2)
    api.lock.held_elsewhere = True
    api.clock.advance(10)
    await expiry_of(api).work()
    assert api.metrics.expired == 2
