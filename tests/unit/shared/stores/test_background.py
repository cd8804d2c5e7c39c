"""Background work goes on in one process of several, whatever is out of reach for a while."""

import asyncio
import logging

import pytest

from shared.runtime.unavailable import Unavailable
from shared.stores.background import repeat_under_lock
from shared.stores.memory_tasks import MemoryLock
from tests.support.waiting import eventually


class Work:
    """Counts its turns; the first `failures` of them find nobody."""

    def __init__(self, failures: int = 0) -> None:
        self.turns = 0
        self._failures = failures

    async def __call__(self) -> None:
        self.turns += 1
        if self.turns <= self._failures:
            raise Unavailable("MongoDB: away")


async def stop(running: "asyncio.Task[None]") -> None:
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_work_is_done_again_and_again_while_the_lock_is_held_here() -> None:
    lock, work = MemoryLock(), Work()
    lock.held_elsewhere = True
    running = asyncio.ensure_future(repeat_under_lock("test", lock, work, 0.001))
    await asyncio.sleep(0.02)
    assert work.turns == 0
    lock.held_elsewhere = False
    await eventually(lambda: work.turns >= 3)
    await stop(running)
    assert lock.releases == 1


async def test_a_server_that_is_away_is_waited_for_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shared.stores.background")
    work = Work(failures=3)
    running = asyncio.ensure_future(repeat_under_lock("test", MemoryLock(), work, 0.001))
    await eventually(lambda: work.turns >= 5)
    await stop(running)
    assert [record.getMessage() for record in caplog.records] == ["test waits: MongoDB: away", "test goes on"]


async def test_a_fault_that_is_none_of_reach_ends_the_work() -> None:
    async def broken() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await repeat_under_lock("test", MemoryLock(), broken, 0.001)
