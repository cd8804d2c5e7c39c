"""Marks tasks as delivered that ingress has pushed (T5): it says so in Redis, since it does not talk to MongoDB."""

from shared.domain.tasks import PLATFORM, HistoryEntry, TaskState
from shared.runtime.clock import Clock
from shared.stores.interfaces import Lock, PushedTasks, TaskStore

PAGE = 500


class PushMarks:
    """Takes what was pushed from Redis into the tasks' histories."""

    def __init__(self, tasks: TaskStore, pushed: PushedTasks, lock: Lock, clock: Clock) -> None:
        self._tasks = tasks
        self._pushed = pushed
        self._lock = lock
        self._clock = clock

    async def work(self) -> None:
        """Marks all that are waiting. Raises Unavailable."""
        while task_ids := await self._pushed.oldest(PAGE):
            entry = HistoryEntry(at_ms=self._clock.now_ms(), state=TaskState.DELIVERED, actor=PLATFORM, reason="pushed")
            # MongoDB first: where this process dies in between, they are marked again, which changes nothing.
            await self._tasks.change(task_ids, entry)
            await self._pushed.remove_many(task_ids)
            if len(task_ids) < PAGE or not await self._lock.hold():
                return
